// Planes made of planes: what the network sees, a part of a picture resized, as RGB; and a picture in another size,
// layout or colour (engine/fit.py). No full-size RGB is ever made.
//
// Resizing is a weighted sum of neighbours along each axis (engine/resample.py makes the weights). Sums are elementwise
// and in one order, so that every path gives the same bytes.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "inline.h"

namespace tubes {

// Which samples make each output along one axis: `taps` from `first[i]` on, by weights [count, taps].
struct Taps {
    const int32_t* first;
    const float* weights;
    int count;
    int taps;
};

// One plane of the picture, and which of its samples make the output.
struct Source {
    const uint8_t* data;
    ptrdiff_t pitch;
    int channels;
    Taps rows, columns;
};

// Floats that `sample` needs: a row of weighted sums, and three channels of one row of the output.
inline size_t sample_floats(const Source* sources, int planes, int width) {
    size_t widest = 0;
    for (int i = 0; i < planes; ++i) {
        const Taps& columns = sources[i].columns;
        const size_t reach = (size_t)(columns.first[columns.count - 1] + columns.taps) * sources[i].channels;
        widest = reach > widest ? reach : widest;
    }
    return widest + 3 * (size_t)width;
}

// Columns [begin, end) of row y: the sum of `taps` rows of the plane.
TUBES_INLINE void sum_rows(const Source& source, int y, int begin, int end, float* __restrict sums) {
    const float* weights = source.rows.weights + (ptrdiff_t)y * source.rows.taps;
    const uint8_t* __restrict row = source.data + source.rows.first[y] * source.pitch;
    for (int x = begin; x < end; ++x) sums[x] = 0.0f;
    for (int tap = 0; tap < source.rows.taps; ++tap, row += source.pitch) {
        const float weight = weights[tap];
        if (weight == 0.0f) continue;
        for (int x = begin; x < end; ++x) sums[x] += weight * row[x];
    }
}

// TAPS: how many there are, known when compiled; 0: it is not.
template <int TAPS>
TUBES_INLINE void sum_taps(const Source& source, const float* __restrict sums, float* __restrict out) {
    const Taps& columns = source.columns;
    const int taps = TAPS ? TAPS : columns.taps, stride = source.channels;
    const float* __restrict weights = columns.weights;
    for (int x = 0; x < columns.count; ++x, weights += taps) {
        const float* from = sums + (ptrdiff_t)columns.first[x] * stride;
        float sum = 0.0f;
        for (int tap = 0; tap < taps; ++tap) sum += weights[tap] * from[(ptrdiff_t)tap * stride];
        out[x] = sum;
    }
}

TUBES_INLINE void sum_columns(const Source& source, const float* sums, float* out) {
    switch (source.columns.taps) {
        case 2: return sum_taps<2>(source, sums, out);
        case 3: return sum_taps<3>(source, sums, out);
        case 4: return sum_taps<4>(source, sums, out);
        case 5: return sum_taps<5>(source, sums, out);
        case 6: return sum_taps<6>(source, sums, out);
        default: return sum_taps<0>(source, sums, out);
    }
}

// To bytes: one row [4] of the matrix times (a, b, c, 1), to the nearest, limited.
TUBES_INLINE void convert(const float* channels, int width, const float* row, uint8_t* __restrict out) {
    const float *__restrict a = channels, *__restrict b = channels + width, *__restrict c = b + width;
    for (int x = 0; x < width; ++x) {
        float value = row[0] * a[x] + row[1] * b[x] + row[2] * c[x] + row[3] + 0.5f;
        value = value > 0.0f ? (value < 255.0f ? value : 255.0f) : 0.0f;  // 0 for what is no number, too
        out[x] = (uint8_t)(int)value;
    }
}

// Fills [made, rows, columns] by a matrix [made, 4]. The planes have up to three channels together; others count as 0.
// memory: of `sample_floats`.
TUBES_INLINE void sample_body(const Source* sources, int planes, const float* matrix, int made, uint8_t* out,
                              float* memory) {
    const int height = sources[0].rows.count, width = sources[0].columns.count;
    float *channels = memory, *sums = memory + 3 * (ptrdiff_t)width;
    for (float* channel = channels; channel < sums; ++channel) *channel = 0.0f;
    for (int y = 0; y < height; ++y) {
        float* channel = channels;
        for (int i = 0; i < planes; ++i) {
            const Source& source = sources[i];
            const int begin = source.columns.first[0] * source.channels;
            const int end = (source.columns.first[width - 1] + source.columns.taps) * source.channels;
            sum_rows(source, y, begin, end, sums);
            for (int c = 0; c < source.channels; ++c, channel += width) sum_columns(source, sums + c, channel);
        }
        for (int i = 0; i < made; ++i)
            convert(channels, width, matrix + 4 * i, out + ((ptrdiff_t)i * height + y) * width);
    }
}

}  // namespace tubes
