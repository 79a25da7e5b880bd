// Rows by NEON (every 64-bit ARM): 16 columns at a time, look-ups of all 256 levels by four table instructions.

#pragma once

#if defined(__aarch64__) && defined(__GNUC__)

#include <arm_neon.h>
#include <string.h>

#include "rows.h"

#define TUBES_NEON

namespace tubes {
namespace neon {

struct Bytes {
    uint8x16x4_t part[4];
};

TUBES_INLINE Bytes load(const uint8_t* table) {
    Bytes bytes;
    for (int i = 0; i < 4; ++i) bytes.part[i] = vld1q_u8_x4(table + 64 * i);
    return bytes;
}

// An index beyond the 64 entries of a part gives 0, or leaves what is there: each part adds what is its own.
TUBES_INLINE uint8x16_t look_up(const Bytes& table, uint8x16_t index) {
    uint8x16_t value = vqtbl4q_u8(table.part[0], index);
    for (int i = 1; i < 4; ++i) {
        index = vsubq_u8(index, vdupq_n_u8(64));
        value = vqtbx4q_u8(value, table.part[i], index);
    }
    return value;
}

// Levels of 8 columns down a half step; vqrdmulh doubles the product and drops 16 bits: `down` of arithmetic.h.
TUBES_INLINE uint16x8_t descend(const Line& line, int x, int16x8_t fraction) {
    const int16x8_t more = vqrdmulhq_s16(vld1q_s16(line.delta + x), fraction);
    return vaddq_u16(vld1q_u16(line.base + x), vreinterpretq_u16_s16(more));
}

// add + ((keep * (sample - 128)) >> 8), which is (keep * sample + 256 * add - 128 * keep) >> 8.
TUBES_INLINE uint8x16_t mix(uint8x16_t sample, uint8x16_t keep, uint8x16_t add) {
    uint16x8_t low = vmull_u8(vget_low_u8(keep), vget_low_u8(sample));
    uint16x8_t high = vmull_high_u8(keep, sample);
    low = vaddq_u16(vsubq_u16(low, vshll_n_u8(vget_low_u8(keep), 7)), vshll_n_u8(vget_low_u8(add), 8));
    high = vaddq_u16(vsubq_u16(high, vshll_high_n_u8(keep, 7)), vshll_high_n_u8(add, 8));
    return vuzp2q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
}

template <int CHANNELS>
struct Samples;

template <>
struct Samples<1> {
    uint8x16_t val[1];
    static Samples load(const uint8_t* at) { return {{vld1q_u8(at)}}; }
    void store(uint8_t* at) const { vst1q_u8(at, val[0]); }
};

template <>
struct Samples<2> {
    uint8x16_t val[2];
    static Samples load(const uint8_t* at) {
        const uint8x16x2_t loaded = vld2q_u8(at);
        return {{loaded.val[0], loaded.val[1]}};
    }
    void store(uint8_t* at) const { vst2q_u8(at, uint8x16x2_t{{val[0], val[1]}}); }
};

template <>
struct Samples<3> {
    uint8x16_t val[3];
    static Samples load(const uint8_t* at) {
        const uint8x16x3_t loaded = vld3q_u8(at);
        return {{loaded.val[0], loaded.val[1], loaded.val[2]}};
    }
    void store(uint8_t* at) const { vst3q_u8(at, uint8x16x3_t{{val[0], val[1], val[2]}}); }
};

template <int CHANNELS>
TUBES_INLINE void paint_16(uint8_t* at, uint8x16_t found, uint8x16_t drawn, const Bytes& keep, const Bytes* add) {
    Samples<CHANNELS> samples = Samples<CHANNELS>::load(at);
    const uint8x16_t kept = look_up(keep, found);
    for (int c = 0; c < CHANNELS; ++c) {
        const uint8x16_t value = mix(samples.val[c], kept, look_up(add[c], found));
        samples.val[c] = vbslq_u8(drawn, value, samples.val[c]);
    }
    samples.store(at);
}

template <int CHANNELS>
inline void paint(const Rows& rows, const Steps& steps, const Table& table) {
    const Bytes keep = load(table.keep8);
    Bytes add[CHANNELS];
    for (int c = 0; c < CHANNELS; ++c) add[c] = load(table.add8[rows.channel + c]);
    const uint8x16_t first = vdupq_n_u8((uint8_t)table.first);
    for (int y = 0; y < rows.count; ++y) {
        const int16x8_t along = vdupq_n_s16((int16_t)rows.fractions[y]);
        for (int x = 0; x < rows.columns; x += 16) {
            const uint16x8_t low = descend(steps.columns, x, along), high = descend(steps.columns, x + 8, along);
            const uint8x16_t found = vuzp2q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
            const uint8x16_t drawn = vcgeq_u8(found, first);
            if (!vmaxvq_u8(drawn)) continue;
            uint8_t* at = rows.data + y * rows.pitch + (ptrdiff_t)x * CHANNELS;
            const int left = rows.columns - x;
            if (left >= 16) {
                paint_16<CHANNELS>(at, found, drawn, keep, add);
                continue;
            }
            uint8_t rest[16 * CHANNELS] = {};
            memcpy(rest, at, (size_t)left * CHANNELS);
            paint_16<CHANNELS>(rest, found, drawn, keep, add);
            memcpy(at, rest, (size_t)left * CHANNELS);
        }
    }
}

inline void paint_any(const Rows& rows, const Steps& steps, const Table& table) {
    if (!table.bytes || table.first >= LEVELS) return paint_generic(rows, steps, table);
    if (rows.channels == 1) return paint<1>(rows, steps, table);
    if (rows.channels == 2) return paint<2>(rows, steps, table);
    return paint<3>(rows, steps, table);
}

}  // namespace neon

constexpr Path NEON = {"neon", expand_generic, neon::paint_any, sample_generic};

}  // namespace tubes

#endif
