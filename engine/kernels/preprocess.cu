// From a decoded frame to what the network sees of it, as RGB bytes, in one pass: no full-size RGB ever exists.
//
// Each pixel is a weighted sum of the samples of each plane, then a colour. The weights of both axes come from
// engine/resample.py: areas where the picture shrinks, neighbours where it grows. The sums are those of sample.h, in its
// order, so that the network sees the same bytes whichever of the two made them.

#include "device.h"

namespace tubes {

// One axis: which samples of the plane count for each pixel, and by which weights.
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
    int32_t step;  // samples from one column to the next: 1, 2 (UV), 3 (RGB) or 4 (RGBA)
    int32_t unused;
};

struct Shot {
    PlaneSource planes[3];
    uint8_t* out;  // RGB [3, height, width]
    int32_t width, height;
    int32_t plane_count;  // 1: RGB. 2: Y, UV. 3: Y, U, V
    int32_t unused;
    float matrix[3][4];  // rgb = matrix (a, b, c, 1), of the channels a, b and c in their order in memory
};

static_assert(sizeof(Filter) == 24 && sizeof(PlaneSource) == 72 && sizeof(Shot) == 288, "a contract");

TUBES_DEVICE float level_of(uint8_t sample) {
    return (float)sample;
}

// P010: the upper ten bits count. On the scale of bytes, exactly.
TUBES_DEVICE float level_of(uint16_t sample) {
    return (float)sample * (1.0f / 256.0f);
}

// The channels of one plane. Sums over rows first, then over columns, with no fused steps: the order of sample.h.
template <class T, int CHANNELS>
TUBES_DEVICE void resized(const PlaneSource& plane, int x, int y, float* sums) {
    const int left = plane.across.first[x], top = plane.down.first[y];
    const float* across = plane.across.weights + (int64_t)x * plane.across.taps;
    const float* down = plane.down.weights + (int64_t)y * plane.down.taps;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) sums[c] = 0.0f;
#pragma unroll 1
    for (int i = 0; i < plane.across.taps; ++i) {
        if (across[i] == 0.0f) continue;  // this sample does not count, and may lie outside of the plane
        const uint8_t* at = plane.data + top * plane.pitch + (int64_t)(left + i) * plane.step * (int)sizeof(T);
        float column[CHANNELS] = {};
#pragma unroll 2
        for (int j = 0; j < plane.down.taps; ++j, at += plane.pitch)
            if (down[j] != 0.0f)
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c)
                    column[c] = TUBES_ADD(column[c], TUBES_MUL(down[j], level_of(((const T*)at)[c])));
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) sums[c] = TUBES_ADD(sums[c], TUBES_MUL(across[i], column[c]));
    }
}

// To a byte: one row of the matrix times the channels, to the nearest, limited.
TUBES_DEVICE int color_of(const float* row, const float* channels) {
    float value = TUBES_ADD(TUBES_MUL(row[0], channels[0]), TUBES_MUL(row[1], channels[1]));
    value = TUBES_ADD(TUBES_ADD(TUBES_ADD(value, TUBES_MUL(row[2], channels[2])), row[3]), 0.5f);
    return (int)(value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value);
}

template <class T>
TUBES_DEVICE void sample_pixel(const Shot& shot) {
    const int x = (int)(blockIdx.x * 32 + threadIdx.x), y = (int)(blockIdx.y * 8 + threadIdx.y);
    if (x >= shot.width || y >= shot.height) return;
    const bool seen = shot.planes[0].across.first[x] >= 0 && shot.planes[0].down.first[y] >= 0;
    float channels[3] = {0.0f, 0.0f, 0.0f};
    if (seen) {
        if (shot.plane_count == 1) {
            resized<T, 3>(shot.planes[0], x, y, channels);
        } else {
            resized<T, 1>(shot.planes[0], x, y, channels);
            if (shot.plane_count == 2) {
                resized<T, 2>(shot.planes[1], x, y, channels + 1);
            } else {
                resized<T, 1>(shot.planes[1], x, y, channels + 1);
                resized<T, 1>(shot.planes[2], x, y, channels + 2);
            }
        }
    }
    for (int c = 0; c < 3; ++c)
        shot.out[((int64_t)c * shot.height + y) * shot.width + x] =
            (uint8_t)(seen ? color_of(shot.matrix[c], channels) : 0);
}

}  // namespace tubes

// Grid: width / 32 and height / 8, rounded up. Blocks of 32 x 8.
extern "C" __global__ void __launch_bounds__(256) preprocess(const __grid_constant__ tubes::Shot shot) {
    tubes::sample_pixel<uint8_t>(shot);
}

// The same for planes of 16 bits a sample.
extern "C" __global__ void __launch_bounds__(256) preprocess_wide(const __grid_constant__ tubes::Shot shot) {
    tubes::sample_pixel<uint16_t>(shot);
}
