// What the CUDA kernels share beside arithmetic.h. float16 is read without cuda_fp16.h, which some NVRTC do not include.

#pragma once

#include "arithmetic.h"

namespace tubes {

// Frames of one launch of the kernels that prepare and draw frames: what these are told of so many fits the 4 KB of a
// kernel's arguments, and needs no upload. A constant of engine/cuda/jobs.py too.
constexpr int MOST_JOBS = 8;

}  // namespace tubes

#if defined(__CUDACC__)
#define TUBES_DEVICE __device__ __forceinline__

namespace tubes {

TUBES_DEVICE float from_half(uint16_t bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

TUBES_DEVICE uint16_t to_half(float value) {
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

}  // namespace tubes
#endif  // else tests/kernels/cuda_shim.h has them
