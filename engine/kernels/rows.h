// One row of a plane: interpolate it, look its levels up, mix. The plain form; SIMD twins must give the same bytes.

#pragma once

#include <stddef.h>

#include "arithmetic.h"
#include "inline.h"
#include "sample.h"

namespace tubes {

constexpr int BLOCK = 64;  // columns that are looked at together

TUBES_INLINE int blocks(int columns) {
    return (columns + BLOCK - 1) / BLOCK;
}

// Evidence at one end of a half step, and how much more there is at the other.
struct Line {
    uint16_t* base;
    int16_t* delta;
};

// Where columns lie between cells, and where runs of columns between the same two cells end.
struct Columns {
    Axis axis;
    const int32_t* ends;
};

// One half step of a plane.
struct Steps {
    Line columns;
    Line least, most;  // of each block: what lies between two ends lies between what their extremes give
};

// Rows to draw on, all within one half step.
struct Rows {
    uint8_t* data;
    ptrdiff_t pitch;  // bytes from one row to the next
    const uint16_t* fractions;  // where each lies in the half step
    int count;
    int columns;
    int channels;  // samples side by side for each column: 1, 2 (UV) or 3 (RGB)
    int channel;  // which of the table's the first is
};

// How one processor does it.
struct Path {
    const char* name;
    // Fills `steps` for the half step between two rows of cells.
    void (*expand)(const uint16_t* row, const uint16_t* next, int cells, const Columns& columns, int odd, int bias,
                   const Steps& steps);
    void (*paint)(const Rows& rows, const Steps& steps, const Table& table);
    void (*sample)(const Source* sources, int planes, const float* matrix, int made, uint8_t* out,
                   float* memory);
};

TUBES_INLINE void bound_body(int columns, const Steps& steps) {
    const uint16_t* __restrict base = steps.columns.base;
    const int16_t* __restrict delta = steps.columns.delta;
    for (int block = 0; block < blocks(columns); ++block) {
        const int begin = block * BLOCK, end = begin + BLOCK < columns ? begin + BLOCK : columns;
        uint16_t least[2] = {0xffff, 0xffff}, most[2] = {0, 0};
        for (int x = begin; x < end; ++x) {
            const uint16_t from = base[x], to = (uint16_t)(from + delta[x]);
            least[0] = from < least[0] ? from : least[0];
            most[0] = from > most[0] ? from : most[0];
            least[1] = to < least[1] ? to : least[1];
            most[1] = to > most[1] ? to : most[1];
        }
        steps.least.base[block] = least[0], steps.least.delta[block] = (int16_t)(least[1] - least[0]);
        steps.most.base[block] = most[0], steps.most.delta[block] = (int16_t)(most[1] - most[0]);
    }
}

TUBES_INLINE void expand_body(const uint16_t* row, const uint16_t* next, int cells, const Columns& columns, int odd,
                              int bias, const Steps& steps) {
    const int count = columns.axis.count;
    const uint16_t* __restrict cell = columns.axis.data;
    const uint16_t* __restrict fraction = cell + count;
    uint16_t* __restrict base = steps.columns.base;
    int16_t* __restrict delta = steps.columns.delta;
    const int32_t* end = columns.ends;
    for (int begin = 0; begin < count; begin = *end++) {
        const int left = cell[begin], right = left + 1 < cells ? left + 1 : left;
        const uint32_t a = row[left], b = row[right], c = next[left], d = next[right];
        for (int x = begin; x < *end; ++x) {
            const Step step = half_step(across(a, b, fraction[x]), across(c, d, fraction[x]), odd, bias);
            base[x] = step.base;
            delta[x] = step.delta;
        }
    }
    bound_body(count, steps);
}

inline void expand_generic(const uint16_t* row, const uint16_t* next, int cells, const Columns& columns, int odd,
                           int bias, const Steps& steps) {
    expand_body(row, next, cells, columns, odd, bias, steps);
}

inline void paint_generic(const Rows& rows, const Steps& steps, const Table& table) {
    for (int y = 0; y < rows.count; ++y) {
        for (int x = 0; x < rows.columns; ++x) {
            const int found = level(down({steps.columns.base[x], steps.columns.delta[x]}, rows.fractions[y]));
            if (found < table.first) continue;
            for (int c = 0; c < rows.channels; ++c) {
                uint8_t* sample = rows.data + y * rows.pitch + (ptrdiff_t)x * rows.channels + c;
                *sample = (uint8_t)mixed(table, rows.channel + c, found, *sample);
            }
        }
    }
}

inline void sample_generic(const Source* sources, int planes, const float* matrix, int made, uint8_t* out,
                           float* memory) {
    sample_body(sources, planes, matrix, made, out, memory);
}

constexpr Path GENERIC = {"generic", expand_generic, paint_generic, sample_generic};

}  // namespace tubes
