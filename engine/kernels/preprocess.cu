// From a decoded frame to one slot of the network's clip, in one pass: no full-size RGB ever exists.
//
// Each pixel of the clip is a weighted sum of the samples of each plane, then a colour in bytes, then a number. The
// weights of both axes come from engine/resample.py: areas where the picture shrinks, neighbours where it grows. The
// sums are those of sample.h, in its order, so that the network sees the same numbers whichever of the two made them.

#include "device.h"

namespace tubes {

// One axis: which samples of the plane count for each of the clip's pixels, and by which weights.
struct Filter {
    const int32_t* first;  // the first sample, or -1 where the frame has none (black bars)
    const float* weights;  // [pixels, taps]
    int32_t taps;
    int32_t unused;
};

struct PlaneSource {
    const uint8_t* data;
    int64_t pitch;  // bytes
    Filter across, down;
    int32_t step;  // bytes from one sample to the next in a row
    int32_t unused;
};

struct Shot {
    PlaneSource planes[3];  // Y, U, V
    void* out;  // [3, ..., height, width]: the slot's first number
    int64_t channel_stride;  // numbers from one channel of the clip to the next
    int32_t width, height;
    int32_t half;  // whether numbers are float16; else float32
    int32_t unused;
    float matrix[3][4];  // rgb = matrix (y, u, v, 1)
    const float* table;  // [3, 256]: what each byte of a channel becomes
};

static_assert(sizeof(Filter) == 24 && sizeof(PlaneSource) == 72 && sizeof(Shot) == 304, "a contract");

// Sums over rows first, then over columns, with no fused steps: the order of sample.h.
TUBES_DEVICE float resized(const PlaneSource& plane, int x, int y) {
    const int left = plane.across.first[x], top = plane.down.first[y];
    const float* across = plane.across.weights + (int64_t)x * plane.across.taps;
    const float* down = plane.down.weights + (int64_t)y * plane.down.taps;
    float sum = 0.0f;
#pragma unroll 1
    for (int i = 0; i < plane.across.taps; ++i) {
        if (across[i] == 0.0f) continue;  // this sample does not count, and may lie outside of the plane
        const uint8_t* at = plane.data + top * plane.pitch + (int64_t)(left + i) * plane.step;
        float column = 0.0f;
#pragma unroll 2
        for (int j = 0; j < plane.down.taps; ++j, at += plane.pitch)
            if (down[j] != 0.0f) column = TUBES_ADD(column, TUBES_MUL(down[j], (float)*at));
        sum = TUBES_ADD(sum, TUBES_MUL(across[i], column));
    }
    return sum;
}

// To a byte: one row of the matrix to RGB times (y, u, v, 1), to the nearest, limited.
TUBES_DEVICE int color_of(const float* row, const float* yuv) {
    float value = TUBES_ADD(TUBES_MUL(row[0], yuv[0]), TUBES_MUL(row[1], yuv[1]));
    value = TUBES_ADD(TUBES_ADD(TUBES_ADD(value, TUBES_MUL(row[2], yuv[2])), row[3]), 0.5f);
    return (int)(value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value);
}

}  // namespace tubes

// Grid: width / 32 and height / 8, rounded up. Blocks of 32 x 8.
extern "C" __global__ void __launch_bounds__(256) preprocess(const __grid_constant__ tubes::Shot shot) {
    const int x = (int)(blockIdx.x * 32 + threadIdx.x), y = (int)(blockIdx.y * 8 + threadIdx.y);
    if (x >= shot.width || y >= shot.height) return;
    const bool seen = shot.planes[0].across.first[x] >= 0 && shot.planes[0].down.first[y] >= 0;
    float yuv[3] = {0.0f, 0.0f, 0.0f};
    if (seen)
        for (int i = 0; i < 3; ++i) yuv[i] = tubes::resized(shot.planes[i], x, y);
    for (int c = 0; c < 3; ++c) {
        const float number = shot.table[256 * c + (seen ? tubes::color_of(shot.matrix[c], yuv) : 0)];
        const int64_t at = c * shot.channel_stride + (int64_t)y * shot.width + x;
        if (shot.half)
            ((uint16_t*)shot.out)[at] = tubes::to_half(number);
        else
            ((float*)shot.out)[at] = number;
    }
}
