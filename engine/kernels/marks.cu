// What is written on frames beside their evidence, drawn on a GPU by one launch, in place: the outline of what the network
// sees, and over it the caption.
//
// Both are made on the CPU, by engine/draw/outline.py and engine/draw/caption.py: the outline is a few rectangles of one
// colour, the caption a patch for each plane. The arithmetic is that of caption.py, so the bytes are the CPU's.

#include "device.h"

namespace tubes {

constexpr int MARK_THREADS = 256;
constexpr int MARK_PLANES = 3;
constexpr int MOST_LINES = 8;  // four sides, of two colours

// These structs are mirrored in engine/cuda/marks.py.
struct Box {
    uint16_t top, left, rows, columns;  // columns hold all channels of a pixel

    TUBES_DEVICE bool holds(int y, int x) const {
        return y >= top && y < top + rows && x >= left && x < left + columns;
    }
    TUBES_DEVICE int blocks() const { return (rows * columns + MARK_THREADS - 1) / MARK_THREADS; }
};

struct MarkedPlane {
    uint8_t* data;
    int64_t pitch;  // bytes from one row to the next
    // Of the patch: [rows, columns] how much of the sample is kept, then [rows, columns, drawn] what is added to it.
    const float* cover;
    Box patch;  // rows is 0 where there is none
    uint8_t sample_bytes, channels;
    uint8_t drawn;  // channels that are drawn: a fourth is alpha, left as it is
    uint8_t line_count;
    uint8_t first_lines;  // so many lines have the first colour, the rest the second
    uint8_t unused[3];
    uint16_t colors[2][4];  // of each channel, as it lies in memory
    Box lines[MOST_LINES];  // they do not overlap

    TUBES_DEVICE const float* added() const { return cover + patch.rows * patch.columns; }
    TUBES_DEVICE int color(int line, int channel) const { return colors[line >= first_lines][channel]; }
};

struct Marks {
    MarkedPlane planes[MARK_PLANES];
    int32_t plane_count, unused;
};

struct MarkedFrames {
    Marks frames[MOST_JOBS];
};

static_assert(sizeof(MarkedPlane) == 120 && sizeof(Marks) == 368, "a contract");
static_assert(sizeof(MarkedFrames) <= 4096, "a kernel's arguments");

// The sample with the caption over it, as numpy rounds: after each step.
TUBES_DEVICE int32_t captioned(int32_t sample, float kept, float added, float top) {
    const float value = TUBES_ADD(TUBES_ADD(TUBES_MUL((float)sample, kept), added), 0.5f);
    return (int32_t)(value > 0.0f ? value < top ? value : top : 0.0f);
}

// One pixel of a box: the patch, for which `line` is -1, or a line. Where a line lies under the patch, the patch's thread
// draws both.
template <class T>
TUBES_DEVICE void mark(const MarkedPlane& plane, int line, int index) {
    const Box& box = line < 0 ? plane.patch : plane.lines[line];
    if (index >= box.rows * box.columns) return;
    const int y = box.top + index / box.columns, x = box.left + index % box.columns;
    const bool covered = line < 0;
    if (!covered && plane.patch.holds(y, x)) return;
    for (int i = 0; covered && i < plane.line_count; ++i)
        if (plane.lines[i].holds(y, x)) line = i;
    T* samples = (T*)(plane.data + y * plane.pitch) + (int64_t)x * plane.channels;
    constexpr int SHIFT = sizeof(T) == 1 ? 0 : 6;  // 16-bit samples hold ten bits, in the upper ones (P010)
    const float kept = covered ? plane.cover[index] : 0.0f;
    for (int c = 0; c < plane.drawn; ++c) {
        int32_t sample = (line < 0 ? samples[c] : plane.color(line, c)) >> SHIFT;
        if (covered)
            sample = captioned(sample, kept, plane.added()[index * plane.drawn + c], sizeof(T) == 1 ? 255.0f : 1023.0f);
        samples[c] = (T)(sample << SHIFT);
    }
}

}  // namespace tubes

// Grid: x as many blocks as all patches and lines of any frame have, y the frames. Blocks of MARK_THREADS.
extern "C" __global__ void __launch_bounds__(tubes::MARK_THREADS) marks(const __grid_constant__ tubes::MarkedFrames marked) {
    const tubes::Marks& marks = marked.frames[blockIdx.y];
    int block = blockIdx.x;
    for (int index = 0; index < marks.plane_count; ++index) {
        const tubes::MarkedPlane& plane = marks.planes[index];
        for (int line = -1; line < plane.line_count; ++line) {
            const int blocks = (line < 0 ? plane.patch : plane.lines[line]).blocks();
            if (block < blocks) {
                const int pixel = block * tubes::MARK_THREADS + threadIdx.x;
                return plane.sample_bytes == 1 ? tubes::mark<uint8_t>(plane, line, pixel)
                                               : tubes::mark<uint16_t>(plane, line, pixel);
            }
            block -= blocks;
        }
    }
}
