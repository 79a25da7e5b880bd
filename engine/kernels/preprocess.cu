// From a decoded frame to what the network sees of it, as RGB bytes, in one pass: no full-size RGB ever exists.

#include "resample.h"

namespace tubes {

struct Shot {
    PlaneSource planes[3];
    uint8_t* out;  // RGB [3, height, width]
    int32_t width, height;
    int32_t plane_count;  // 1: RGB. 2: Y, UV. 3: Y, U, V
    int32_t sample_bytes;  // 1, or 2 of which the upper ten bits count (P010)
    float matrix[3][4];  // rgb = matrix (a, b, c, 1), of the channels a, b and c in their order in memory
};

struct Shots {
    Shot shots[MOST_JOBS];
};

static_assert(sizeof(Shot) == 288, "a contract");
static_assert(sizeof(Shots) <= 4096, "a kernel's arguments");

constexpr int SHOT_COLUMNS = 32, SHOT_ROWS = 8;  // pixels of a block

template <class T>
TUBES_DEVICE void sample_pixel(const Shot& shot) {
    const int across = (shot.width + SHOT_COLUMNS - 1) / SHOT_COLUMNS;
    const int x = (int)(blockIdx.x % across * SHOT_COLUMNS + threadIdx.x);
    const int y = (int)(blockIdx.x / across * SHOT_ROWS + threadIdx.y);
    if (x >= shot.width || y >= shot.height) return;
    const bool seen = shot.planes[0].across.first[x] >= 0 && shot.planes[0].down.first[y] >= 0;
    float channels[3] = {0.0f, 0.0f, 0.0f};
    if (seen) resized_planes<T>(shot.planes, shot.plane_count, x, y, channels);
    for (int c = 0; c < 3; ++c)
        shot.out[((int64_t)c * shot.height + y) * shot.width + x] =
            (uint8_t)(seen ? color_of(shot.matrix[c], channels) : 0);
}

}  // namespace tubes

// Grid: x the most blocks of any shot, y the shots. Blocks of SHOT_COLUMNS x SHOT_ROWS.
extern "C" __global__ void __launch_bounds__(tubes::SHOT_COLUMNS * tubes::SHOT_ROWS)
preprocess(const __grid_constant__ tubes::Shots shots) {
    const tubes::Shot& shot = shots.shots[blockIdx.y];
    shot.sample_bytes == 1 ? tubes::sample_pixel<uint8_t>(shot) : tubes::sample_pixel<uint16_t>(shot);
}
