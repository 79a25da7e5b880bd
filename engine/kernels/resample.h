// Pixels made of a picture's planes, on a GPU: the weights along each axis, and the sums. For preprocess.cu and fit.cu.
//
// Each pixel is a weighted sum of the samples of each plane, then a colour. The weights of both axes come from
// engine/resample.py: areas where the picture shrinks, neighbours where it grows. The sums are those of sample.h, in its
// order, so that the bytes are the same whichever of the two made them.

#pragma once

#include "device.h"

namespace tubes {

// One axis: which samples of the plane count for each pixel, and by which weights.
struct Filter {
    const int32_t* first;  // the first sample, or -1 where the frame has none (black bars)
    const float* weights;  // [pixels, taps]
    int32_t taps;  // 0: the plane does not count
    int32_t unused;
};

struct PlaneSource {
    const uint8_t* data;
    int64_t pitch;  // bytes
    Filter across, down;
    int32_t step;  // samples from one column to the next: 1, 2 (UV), 3 (RGB) or 4 (RGBA)
    int32_t unused;
};

static_assert(sizeof(Filter) == 24 && sizeof(PlaneSource) == 72, "a contract");

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

// The three channels of all planes. count: 1 of RGB, 2 of Y and UV, 3 of Y, U and V.
template <class T>
TUBES_DEVICE void resized_planes(const PlaneSource* planes, int count, int x, int y, float* channels) {
    if (count == 1) {
        resized<T, 3>(planes[0], x, y, channels);
        return;
    }
    resized<T, 1>(planes[0], x, y, channels);
    if (count == 2) {
        resized<T, 2>(planes[1], x, y, channels + 1);
    } else {
        resized<T, 1>(planes[1], x, y, channels + 1);
        resized<T, 1>(planes[2], x, y, channels + 2);
    }
}

// To a byte: one row of a matrix times the channels and 1, to the nearest, limited.
TUBES_DEVICE int color_of(const float* row, const float* channels) {
    float value = TUBES_ADD(TUBES_MUL(row[0], channels[0]), TUBES_MUL(row[1], channels[1]));
    value = TUBES_ADD(TUBES_ADD(TUBES_ADD(value, TUBES_MUL(row[2], channels[2])), row[3]), 0.5f);
    return (int)(value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value);
}

}  // namespace tubes
