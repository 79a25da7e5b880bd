// Enough of CUDA for the kernels to run on the CPU as they are: for tests, not for speed.
//
// Every thread of a block is a coroutine, with registers and a stack of its own, that runs until it meets a barrier; then
// the next one runs. So barriers are barriers, and a missing one shows: `launch` runs blocks and threads forwards or
// backwards, and the results must not differ. A thread that ends while others wait at a barrier is an error, as it is
// undefined in CUDA. Before each block shared memory is filled with what another kernel may have left there: `rubbish`
// says what.

#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "coroutine.h"

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static __attribute__((section("tubes_shared")))
#define TUBES_DEVICE inline

extern char __start_tubes_shared[], __stop_tubes_shared[];  // the linker's names for the ends of the section

using std::max;
using std::min;

struct Dim3 {
    unsigned x, y, z;
};
inline Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

constexpr size_t STACK = 64 * 1024;

struct Thread {
    Coroutine context;
    bool done;
};
inline Coroutine home;
inline std::vector<Thread> threads;
inline std::vector<char> stacks;
inline int running;
inline bool any, last_any;  // of __syncthreads_or
inline uint32_t rubbish = 1000;  // what shared memory holds before a block: 0..255 that byte, else random ones of this seed
inline const std::function<void()>* body;

inline void enter() {
    (*body)();
    threads[running].done = true;
    threads[running].context.leave(home);  // for good
}

inline void run_block(bool backwards) {
    const int count = (int)threads.size();
    uint32_t state = rubbish;
    for (char* byte = __start_tubes_shared; byte < __stop_tubes_shared; ++byte) {
        state = rubbish < 256 ? rubbish << 24 : state * 1664525u + 1013904223u;  // Numerical Recipes' generator
        *byte = (char)(state >> 24);
    }
    for (int i = 0; i < count; ++i) {
        Thread& thread = threads[i];
        thread.done = false;
        thread.context.prepare(&stacks[i * STACK], STACK, enter);
    }
    for (int alive = count; alive;) {  // once around: up to the next barrier, or to the end
        const int before = alive;
        any = false;
        for (int i = 0; i < count; ++i) {
            running = backwards ? count - 1 - i : i;
            if (threads[running].done) continue;
            threadIdx = {running % blockDim.x, running / blockDim.x % blockDim.y, running / blockDim.x / blockDim.y};
            home.leave(threads[running].context);
            alive -= threads[running].done;
        }
        if (alive && alive != before) {
            fprintf(stderr, "%d threads ended while %d wait at a barrier\n", before - alive, alive);
            abort();
        }
        last_any = any;
    }
}

inline void launch(Dim3 grid, Dim3 block, bool backwards, const std::function<void()>& kernel) {
    gridDim = grid, blockDim = block, body = &kernel;
    threads.resize(block.x * block.y * block.z);
    stacks.resize(threads.size() * STACK);
    const unsigned blocks = grid.x * grid.y * grid.z;
    for (unsigned i = 0; i < blocks; ++i) {
        const unsigned at = backwards ? blocks - 1 - i : i;
        blockIdx = {at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
        run_block(backwards);
    }
}

}  // namespace shim

inline void __syncthreads() {
    const Dim3 index = threadIdx;
    shim::threads[shim::running].context.leave(shim::home);
    threadIdx = index;
}

inline int __syncthreads_or(int value) {
    shim::any |= value != 0;
    __syncthreads();
    return shim::last_any;
}

inline uint32_t atomicAdd(uint32_t* to, uint32_t value) {
    const uint32_t before = *to;
    *to += value;
    return before;
}

namespace tubes {

// Halves, to the nearest, ties to even; from the definition, so that the GPU's own instructions have something to meet.
inline float from_half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float size = exponent == 31 ? (mantissa ? NAN : INFINITY)
                       : exponent     ? ldexpf((float)(1024 + mantissa), exponent - 25)
                                      : ldexpf((float)mantissa, -24);
    return bits >> 15 ? -size : size;
}

inline uint16_t to_half(float value) {
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const float size = fabsf(value);
    if (isnan(value)) return 0x7fff;
    if (size >= 65520.0f) return sign | 0x7c00;  // rounds beyond the greatest
    if (size < 0x1p-14f) return sign | (uint16_t)nearbyintf(ldexpf(size, 24));
    int exponent;
    const float mantissa = frexpf(size, &exponent);  // 0.5..1
    const int steps = (int)nearbyintf(ldexpf(mantissa, 11));  // 1024..2048: what carries over raises the exponent
    return sign | (uint16_t)(((exponent + 13) << 10) + steps);
}

}  // namespace tubes
