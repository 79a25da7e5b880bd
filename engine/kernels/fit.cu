// A picture in another size, layout or colour, in one launch: the bytes of engine/fit.py.

#include "resample.h"

namespace tubes {

// Planes of one size that are made of the same sums: Y, or U and V, or RGB.
struct FitGroup {
    PlaneSource planes[3];
    uint8_t* out[3];  // of each channel that is made, its first sample
    int64_t pitch;  // bytes from one row to the next
    int32_t step;  // bytes from one sample of a channel to the next
    int32_t width, height;
    int32_t channels;  // number of channels that are made
    int32_t plane_count;  // as in `resized_planes`
    int32_t unused;
    float matrix[3][4];  // made = matrix (a, b, c, 1), of the channels a, b and c in their order in memory
};

struct Fit {
    FitGroup groups[2];
};

static_assert(sizeof(FitGroup) == 320 && sizeof(Fit) == 640, "a contract");

template <class T>
TUBES_DEVICE void fit_pixel(const FitGroup& group) {
    const int x = (int)(blockIdx.x * 32 + threadIdx.x), y = (int)(blockIdx.y * 8 + threadIdx.y);
    if (x >= group.width || y >= group.height) return;
    float channels[3];
    resized_planes<T>(group.planes, group.plane_count, x, y, channels);
    for (int c = 0; c < group.channels; ++c)
        group.out[c][y * group.pitch + (int64_t)x * group.step] = (uint8_t)color_of(group.matrix[c], channels);
}

}  // namespace tubes

// Grid: width / 32 and height / 8 of the larger group, rounded up, and the number of groups. Blocks of 32 x 8.
extern "C" __global__ void __launch_bounds__(256) fit(const __grid_constant__ tubes::Fit fit) {
    tubes::fit_pixel<uint8_t>(fit.groups[blockIdx.z]);
}

// The same of planes of 16 bits a sample.
extern "C" __global__ void __launch_bounds__(256) fit_wide(const __grid_constant__ tubes::Fit fit) {
    tubes::fit_pixel<uint16_t>(fit.groups[blockIdx.z]);
}
