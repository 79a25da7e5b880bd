// Functions that must be inlined: each SIMD path compiles them again for its own processor.

#pragma once

#if defined(__GNUC__)
#define TUBES_INLINE inline __attribute__((always_inline))
#else
#define TUBES_INLINE inline
#endif
