// From the samples of clips, as RGB bytes wherever they lie, to the network's input [clips, 3, T, height, width].
//
// A table says which number each byte of a channel becomes: the same one as on the CPU, so the numbers are the same too.
// Its time is that of writing the input.

#include "device.h"

namespace tubes {

constexpr int MOST_SAMPLES = 256;  // of one launch
constexpr int GATHER_THREADS = 256, GATHER_STEPS = 4;  // a thread takes four pixels of each channel at each step

struct Gathered {
    const uint8_t* samples[MOST_SAMPLES];  // each [3, pixels]
    void* out;  // [clips, 3, clip_length, pixels]
    const float* table;  // [3, 256]
    int32_t first;  // number of the first of these samples among those of all clips
    int32_t clip_length;
    int32_t pixels;
    int32_t half;  // whether numbers are float16; else float32
};

static_assert(sizeof(Gathered) == 2080, "a contract");

struct alignas(16) FourFloats {
    float values[4];
};

struct alignas(8) FourHalves {
    uint16_t values[4];
};

// Four pixels of one channel, or what is left of them.
TUBES_DEVICE void gather_four(const uint8_t* from, const float* table, void* out, int left, int half) {
    if (left >= 4 && (uint64_t)from % 4 == 0 && (uint64_t)out % (half ? 8 : 16) == 0) {
        const uint32_t bytes = *(const uint32_t*)from;
        FourFloats four;
#pragma unroll
        for (int i = 0; i < 4; ++i) four.values[i] = table[bytes >> 8 * i & 255u];
        if (half) {
            FourHalves halves;
#pragma unroll
            for (int i = 0; i < 4; ++i) halves.values[i] = to_half(four.values[i]);
            *(FourHalves*)out = halves;
        } else {
            *(FourFloats*)out = four;
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if (i >= left) break;
        if (half)
            ((uint16_t*)out)[i] = to_half(table[from[i]]);
        else
            ((float*)out)[i] = table[from[i]];
    }
}

}  // namespace tubes

// Grid: pixels / (4 * GATHER_STEPS * GATHER_THREADS), rounded up, and the number of samples. Blocks of GATHER_THREADS.
extern "C" __global__ void __launch_bounds__(tubes::GATHER_THREADS) gather(const __grid_constant__ tubes::Gathered job) {
    __shared__ float table[3][256];
    for (int c = 0; c < 3; ++c) table[c][threadIdx.x] = job.table[256 * c + threadIdx.x];
    __syncthreads();
    const int sample = job.first + (int)blockIdx.y, clip = sample / job.clip_length, t = sample % job.clip_length;
    const uint8_t* from = job.samples[blockIdx.y];
    const int begin = (int)(blockIdx.x * tubes::GATHER_STEPS * tubes::GATHER_THREADS + threadIdx.x) * 4;
    for (int c = 0; c < 3; ++c) {
        const int64_t target = ((int64_t)(clip * 3 + c) * job.clip_length + t) * job.pixels;
        for (int i = 0; i < tubes::GATHER_STEPS; ++i) {
            const int pixel = begin + i * tubes::GATHER_THREADS * 4;
            if (pixel >= job.pixels) break;
            tubes::gather_four(from + (int64_t)c * job.pixels + pixel, table[c],
                               (char*)job.out + (target + pixel) * (job.half ? 2 : 4), job.pixels - pixel, job.half);
        }
    }
}
