// The evidence of one class, straight from the network's activation on the GPU: S[i] = sum over k of w[k] A[k, i].
//
// Its time is that of reading A once. A block has CELLS cells with LANES threads each: a thread sums every LANES-th
// channel, then the sums of a cell are added in pairs. The order is fixed, so equal activations give equal evidence.

#include "device.h"

namespace tubes {

constexpr int CELLS = 8;  // 32 bytes of float32: what a GPU reads at once
constexpr int LANES = 64;

TUBES_DEVICE float value_of(float value) {
    return value;
}

TUBES_DEVICE float value_of(uint16_t half) {
    return from_half(half);
}

// activation: [channels, cells], weights: [channels], out: [cells].
template <class T>
TUBES_DEVICE void sum_channels(const T* activation, const float* weights, float* out, int channels, int cells,
                               float (&sums)[LANES][CELLS]) {
    const int cell = threadIdx.x % CELLS, lane = threadIdx.x / CELLS;
    const int64_t index = (int64_t)blockIdx.x * CELLS + cell;
    float sum = 0.0f;
    if (index < cells)
#pragma unroll 8
        for (int k = lane; k < channels; k += LANES) sum = fmaf(weights[k], value_of(activation[k * (int64_t)cells + index]), sum);
    sums[lane][cell] = sum;
    for (int half = LANES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) sums[lane][cell] += sums[lane + half][cell];
    }
    if (lane == 0 && index < cells) out[index] = sums[0][cell];
}

}  // namespace tubes

// Grid: cells / CELLS, rounded up. Blocks of CELLS * LANES.
extern "C" __global__ void __launch_bounds__(tubes::CELLS * tubes::LANES)
evidence_float(const float* activation, const float* weights, float* out, int32_t channels, int32_t cells) {
    __shared__ float sums[tubes::LANES][tubes::CELLS];
    tubes::sum_channels(activation, weights, out, channels, cells, sums);
}

extern "C" __global__ void __launch_bounds__(tubes::CELLS * tubes::LANES)
evidence_half(const uint16_t* activation, const float* weights, float* out, int32_t channels, int32_t cells) {
    __shared__ float sums[tubes::LANES][tubes::CELLS];
    tubes::sum_channels(activation, weights, out, channels, cells, sums);
}
