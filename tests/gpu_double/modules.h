// Programs: any image is taken, and its kernels run by their bodies of tests/kernels/bodies.h.

#pragma once

#include "world.h"

namespace gpu {

void unload_modules(uint64_t context);
size_t live_modules();
void forget_modules();

}  // namespace gpu
