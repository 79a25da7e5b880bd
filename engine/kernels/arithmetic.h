// The overlay's arithmetic, the same on every processor: from evidence to a level, from a level to a sample.
//
// Plain C++ that nvcc compiles too: the CPU's rows (rows.h and its SIMD versions) and the CUDA kernel (overlay.cu) include
// it, so that both compute the same bits. From the quantised cell on everything is an integer; the few floating-point
// steps before it are written so that no compiler may contract them.
//
// Units: evidence 0..1 is 0..ONE in 16 bits. A level, 0..255, is the upper byte of evidence plus bias.

#pragma once

#include <stdint.h>

#if defined(__CUDACC__)
#define TUBES_FN __host__ __device__ inline
#else
#define TUBES_FN inline
#endif

// A product and a sum, each of them rounded: fused into one step, the GPU's result would differ from the CPU's in the
// last bit. On the CPU the compiler option -ffp-contract=off has the same effect.
#if defined(__CUDA_ARCH__)
#define TUBES_MUL(a, b) __fmul_rn(a, b)
#define TUBES_ADD(a, b) __fadd_rn(a, b)
#else
#define TUBES_MUL(a, b) ((a) * (b))
#define TUBES_ADD(a, b) ((a) + (b))
#endif

namespace tubes {

constexpr int LEVELS = 256;
constexpr uint32_t ONE = 255 * 256;  // evidence 1.0: 255 levels of 256 steps; leaves room for the bias in 16 bits
constexpr int COEFFICIENT_LIMIT = 1 << 22;  // maximum absolute value of a spline's coefficient: 64 times evidence 1.0

// What a style does to a sample at each level, made once in Python (engine/draw/fixed.py, TABLE, has the same fields).
struct Table {
    int32_t keep[LEVELS];  // 0..256: how much of the sample is kept, in 256ths
    int32_t offset[3][LEVELS];  // by channel: what is added before the shift by 8, rounding included
    uint8_t keep8[LEVELS];  // the same in bytes, for SIMD: sample -> add8 + ((keep8 * (sample - 128)) >> 8)
    uint8_t add8[3][LEVELS];
    int32_t first;  // levels below it leave the sample untouched; 256: all do
    int32_t bias;  // what is added to evidence before its lower byte is dropped: 128 rounds, 0 truncates
    int32_t top;  // the largest sample: 255, or 1023 for 10 bits
    int32_t bytes;  // whether keep8 and add8 give the same results as keep and offset, and no result needs limiting
    uint8_t unused[64];  // SIMD look-ups may read up to this far beyond the last level
};

// Where the samples of a plane lie between cells, along one axis: rows of `count` 16-bit numbers.
// linear: [0] the cell, [1] the fraction towards the next. Across: cells are columns, fractions 65536ths. Down: cells are
// half steps (see `Step`), fractions 32768ths.
// cubic: [0..3] four coefficients, [4..7] their weights, int16, none negative, that add up to 32768.
struct Axis {
    const uint16_t* data;
    int count;
};

// One window's part of what is drawn on a frame, which lies between two slices of the window's tube.
struct Part {
    const float* slice;  // [h, w] evidence, in logits
    const float* next;  // the slice after it; the same slice again if it is the last
    float fraction;  // towards `next`
    float low, scale;  // drawn evidence = (evidence - low) * scale
    float none;  // drawn evidence for a cell that is not a number: evidence 0, limited to 0..1
    float share;  // weight of the part in the frame; opacity included
};

TUBES_FN bool is_finite(float value) {
    return value - value == 0.0f;  // NaN and the infinities give NaN here
}

// Evidence of one cell at one frame, 0..1: lerp in time, normalise, limit, cross-fade. geometry.blend_cells defines it.
TUBES_FN float blended(const Part* parts, int count, int cell, int* odd) {
    float total = 0.0f;
    for (int i = 0; i < count; ++i) {
        const Part& part = parts[i];
        float from = part.slice[cell], to = part.next[cell];
        *odd += !is_finite(from) || !is_finite(to);
        from = is_finite(from) ? from : part.none;
        to = is_finite(to) ? to : part.none;
        float value = TUBES_ADD(from, TUBES_MUL(TUBES_ADD(to, -from), part.fraction));
        value = TUBES_MUL(TUBES_ADD(value, -part.low), part.scale);
        value = value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
        total = TUBES_ADD(total, TUBES_MUL(part.share, value));
    }
    return total;
}

// 0..1 to 0..ONE. A cell that is not a finite number has no evidence.
TUBES_FN uint32_t quantized(float value) {
    if (!is_finite(value) || !(value > 0.0f)) return 0;
    return value < 1.0f ? (uint32_t)TUBES_ADD(TUBES_MUL(value, (float)ONE), 0.5f) : ONE;
}

// Between two cells of a row, to the nearest step: ONE * 65536 + 32768 still fits 32 bits.
TUBES_FN uint32_t across(uint32_t cell, uint32_t next, uint32_t fraction) {
    return (cell * (65536u - fraction) + next * fraction + 32768u) >> 16;
}

// Between two rows of cells there are two half steps, so that what a half step spans fits 16 bits with its sign.
// Half step 2j starts at row j of the cells, half step 2j + 1 midway to row j + 1.
struct Step {
    uint16_t base;  // bias included
    int16_t delta;
};

TUBES_FN Step half_step(uint32_t row, uint32_t next, int odd, int bias) {
    uint32_t middle = (row + next + 1) >> 1;
    uint32_t from = odd ? middle : row, to = odd ? next : middle;
    return {(uint16_t)(from + (uint32_t)bias), (int16_t)((int32_t)to - (int32_t)from)};
}

// A value within a half step; the instructions pmulhrsw and vqrdmulh compute exactly this product.
TUBES_FN uint32_t down(Step step, int fraction) {
    return (uint32_t)(step.base + ((step.delta * fraction + 16384) >> 15));
}

TUBES_FN int level(uint32_t biased) {
    return (int)(biased >> 8);
}

// A spline's value from four coefficients (evidence 1.0 is ONE) and their weights, to the nearest.
TUBES_FN int32_t cubic(const int32_t values[4], const int32_t weights[4]) {
    int64_t sum = 16384;
    for (int i = 0; i < 4; ++i) sum += (int64_t)values[i] * weights[i];
    return (int32_t)(sum >> 15);
}

// A spline overshoots, so its value is limited; then the bias is added, as `half_step` does.
TUBES_FN uint32_t limited(int32_t value, int bias) {
    return (uint32_t)(value < 0 ? 0 : value > (int32_t)ONE ? (int32_t)ONE : value) + (uint32_t)bias;
}

// The new sample, for a level that draws.
TUBES_FN int32_t mixed(const Table& table, int channel, int level, int32_t sample) {
    int32_t value = (table.keep[level] * sample + table.offset[channel][level]) >> 8;
    return value < 0 ? 0 : value > table.top ? table.top : value;
}

}  // namespace tubes
