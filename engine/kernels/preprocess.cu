// From a decoded frame to what the network sees of it, as RGB bytes, in one pass: no full-size RGB ever exists.

#include "resample.h"

namespace tubes {

struct Shot {
    PlaneSource planes[3];
    uint8_t* out;  // RGB [3, height, width]
    int32_t width, height;
    int32_t plane_count;  // 1: RGB. 2: Y, UV. 3: Y, U, V
    int32_t unused;
    float matrix[3][4];  // rgb = matrix (a, b, c, 1), of the channels a, b and c in their order in memory
};

static_assert(sizeof(Shot) == 288, "a contract");

template <class T>
TUBES_DEVICE void sample_pixel(const Shot& shot) {
    const int x = (int)(blockIdx.x * 32 + threadIdx.x), y = (int)(blockIdx.y * 8 + threadIdx.y);
    if (x >= shot.width || y >= shot.height) return;
    const bool seen = shot.planes[0].across.first[x] >= 0 && shot.planes[0].down.first[y] >= 0;
    float channels[3] = {0.0f, 0.0f, 0.0f};
    if (seen) resized_planes<T>(shot.planes, shot.plane_count, x, y, channels);
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
