// Writes H.264 whose macroblocks hold their samples as they are (I_PCM): what a decoder gives back is what was encoded.
// Clauses are those of ITU-T H.264.

#pragma once

#include <stdint.h>

#include <vector>

namespace h264 {

using Bytes = std::vector<uint8_t>;

class Bits {
   public:
    void u(unsigned value, int count) {
        while (count--) bit(value >> count & 1);
    }
    void ue(unsigned value) {  // 9.1
        int length = 0;
        while ((value + 1) >> (length + 1)) ++length;
        u(0, length);
        u(value + 1, length + 1);
    }
    void align() {
        while (filled) bit(0);
    }
    void byte(uint8_t value) {  // where aligned
        bytes.push_back(value);
    }
    Bytes ended() {  // 7.3.2.11
        bit(1);
        align();
        return bytes;
    }

   private:
    void bit(unsigned value) {
        if (!filled) bytes.push_back(0);
        bytes.back() |= value << (7 - filled);
        filled = (filled + 1) % 8;
    }
    Bytes bytes;
    int filled = 0;
};

// A NAL unit behind its start code, 7.3.1 and annex B.
inline void append(Bytes& to, uint8_t header, const Bytes& payload) {
    to.insert(to.end(), {0, 0, 0, 1, header});
    int zeros = 0;
    for (const uint8_t value : payload) {
        if (zeros >= 2 && value <= 3) to.push_back(3), zeros = 0;
        to.push_back(value);
        zeros = value ? 0 : zeros + 1;
    }
}

// Sequence and picture parameter sets, 7.3.2.1 and 7.3.2.2. profile: 66, 77 or 100.
inline Bytes headers(unsigned width, unsigned height, unsigned profile) {
    const unsigned across = (width + 15) / 16, down = (height + 15) / 16;
    Bits sps, pps;
    sps.u(profile, 8), sps.u(profile == 66 ? 0xc0 : 0x40, 8), sps.u(51, 8), sps.ue(0);
    if (profile == 100) sps.ue(1), sps.ue(0), sps.ue(0), sps.u(0, 2);
    sps.ue(0), sps.ue(2), sps.ue(1), sps.u(0, 1);  // no picture is shown after one that is coded later
    sps.ue(across - 1), sps.ue(down - 1), sps.u(3, 2);
    const bool cropped = across * 16 != width || down * 16 != height;
    sps.u(cropped, 1);
    if (cropped) sps.ue(0), sps.ue((across * 16 - width) / 2), sps.ue(0), sps.ue((down * 16 - height) / 2);
    sps.u(0, 1);
    pps.ue(0), pps.ue(0), pps.u(0, 2), pps.ue(0), pps.ue(0), pps.ue(0), pps.u(0, 3);
    pps.ue(0), pps.ue(0), pps.ue(0), pps.u(4, 3);  // the deblocking filter can be turned off
    Bytes all;
    append(all, 0x67, sps.ended());
    append(all, 0x68, pps.ended());
    return all;
}

// One picture, 7.3.3. planes: Y, U, V of `rows` and `columns` that the pointers of `at` give.
template <class At>
Bytes picture(unsigned width, unsigned height, bool key, unsigned number, unsigned key_number, At at) {
    const unsigned across = (width + 15) / 16, down = (height + 15) / 16;
    Bits bits;
    bits.ue(0), bits.ue(key ? 7 : 5), bits.ue(0), bits.u(number % 16, 4);  // a slice of type I or P
    if (key) bits.ue(key_number % 65536), bits.u(0, 2);
    else bits.u(0, 3);
    bits.ue(0), bits.ue(1);
    for (unsigned block = 0; block < across * down; ++block) {
        if (!key) bits.ue(0);  // no macroblock is skipped
        bits.ue(key ? 25 : 30), bits.align();
        for (unsigned plane = 0; plane < 3; ++plane) {
            const unsigned size = plane ? 8 : 16, left = block % across * size, top = block / across * size;
            const unsigned columns = plane ? width / 2 : width, rows = plane ? height / 2 : height;
            for (unsigned y = top; y < top + size; ++y)
                for (unsigned x = left; x < left + size; ++x)
                    bits.byte(at(plane, y < rows ? y : rows - 1, x < columns ? x : columns - 1));
        }
    }
    Bytes all;
    append(all, key ? 0x65 : 0x61, bits.ended());
    return all;
}

}  // namespace h264
