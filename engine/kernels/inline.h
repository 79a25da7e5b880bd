// What is compiled once for every processor it may run on: into each function that has a target of its own.

#pragma once

#if defined(__GNUC__)
#define TUBES_INLINE inline __attribute__((always_inline))
#else
#define TUBES_INLINE inline
#endif
