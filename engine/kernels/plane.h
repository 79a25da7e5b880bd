// One plane of a picture, row by row.

#pragma once

#include <string.h>

#include "rows.h"

namespace tubes {

struct Plane {
    uint8_t* data;  // its first sample that lies in the crop
    ptrdiff_t pitch;  // bytes from one row to the next
    int channels;  // samples side by side: 1, 2 (UV) or 3 (RGB)
    int channel;  // which channel of the table the first is

    Rows rows(int y, const uint16_t* fractions, int count, int columns) const {
        return {data + y * pitch, pitch, fractions, count, columns, channels, channel};
    }
};

// Memory that one plane needs.
struct Scratch {
    Steps steps;
    int32_t* spline;  // [cells, padded columns]: rows of cells expanded to columns; for cubic only
    int32_t* ends;  // of the runs of `Columns`
    int padded;

    static size_t bytes(int columns, int cubic_rows) {
        const size_t lines = (size_t)whole(columns) * 4 + (size_t)whole_blocks(columns) * 8;
        return lines + (size_t)whole(columns) * sizeof(int32_t) * (cubic_rows + 1);
    }

    Scratch(void* memory, int columns, int cubic_rows) : spline((int32_t*)memory), padded(whole(columns)) {
        ends = spline + (size_t)padded * cubic_rows;
        uint16_t* next = (uint16_t*)(ends + padded);
        memset(next, 0, bytes(columns, 0) - padded * sizeof(int32_t));
        steps.columns = take(next, padded);
        steps.least = take(next, whole_blocks(columns));
        steps.most = take(next, whole_blocks(columns));
    }

  private:
    // Rows are read in whole vectors, of columns and of blocks.
    static int whole(int columns) { return blocks(columns) * BLOCK; }
    static int whole_blocks(int columns) { return (blocks(columns) + 31) / 32 * 32; }

    static Line take(uint16_t*& next, int count) {
        const Line line = {next, (int16_t*)(next + count)};
        next += 2 * (size_t)count;
        return line;
    }
};

inline Columns find_runs(Axis axis, int32_t* ends) {
    int count = 0;
    for (int x = 1; x <= axis.count; ++x)
        if (x == axis.count || axis.data[x] != axis.data[x - 1]) ends[count++] = x;
    return {axis, ends};
}

// Draws rows [top, bottom) of the crop, linear. cells: [height, width] quantised. memory: of `Scratch::bytes`.
inline void draw_linear(const Path& path, Plane plane, const uint16_t* cells, int height, int width, Axis rows,
                        Axis columns, const Table& table, int top, int bottom, void* memory) {
    const Scratch scratch(memory, columns.count, 0);
    const Columns runs = find_runs(columns, scratch.ends);
    const uint16_t* fractions = rows.data + rows.count;
    for (int y = top, end; y < bottom; y = end) {
        const int half = rows.data[y], row = half / 2, next = row + 1 < height ? row + 1 : row;
        for (end = y + 1; end < bottom && rows.data[end] == half;) ++end;
        path.expand(cells + row * width, cells + next * width, width, runs, half % 2, table.bias, scratch.steps);
        path.paint(plane.rows(y, fractions + y, end - y, columns.count), scratch.steps, table);
    }
}

inline int32_t cubic_at(const int32_t* values, ptrdiff_t stride, Axis axis, int i) {
    int32_t four[4], weights[4];
    for (int k = 0; k < 4; ++k) {
        four[k] = values[axis.data[(size_t)k * axis.count + i] * stride];
        weights[k] = axis.data[(size_t)(4 + k) * axis.count + i];
    }
    return cubic(four, weights);
}

// The same by cubic splines. cells: [height, width] coefficients.
inline void draw_cubic(const Path& path, Plane plane, const int32_t* cells, int height, int width, Axis rows,
                       Axis columns, const Table& table, int top, int bottom, void* memory) {
    const Scratch scratch(memory, columns.count, height);
    const uint16_t start = 0;
    for (int cell = 0; cell < height; ++cell)
        for (int x = 0; x < columns.count; ++x)
            scratch.spline[cell * scratch.padded + x] = cubic_at(cells + cell * width, 1, columns, x);
    for (int y = top; y < bottom; ++y) {
        uint16_t* base = scratch.steps.columns.base;
        for (int x = 0; x < columns.count; ++x)
            base[x] = (uint16_t)limited(cubic_at(scratch.spline + x, scratch.padded, rows, y), table.bias);
        bound_body(columns.count, scratch.steps);
        path.paint(plane.rows(y, &start, 1, columns.count), scratch.steps, table);
    }
}

}  // namespace tubes
