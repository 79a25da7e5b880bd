// Functions that FFmpeg looks for before it uses a GPU, and does not call on its way to the encoder.

#include "cuda_api.h"

#define ABSENT(name) \
    API CUresult name(void) { return CUDA_ERROR_NOT_SUPPORTED; }

ABSENT(cuCtxSetLimit)
ABSENT(cuDevicePrimaryCtxReset)
ABSENT(cuDevicePrimaryCtxSetFlags)
ABSENT(cuMemAllocManaged)
ABSENT(cuModuleGetGlobal)
ABSENT(cuStreamAddCallback)
ABSENT(cuLinkCreate)
ABSENT(cuLinkAddData)
ABSENT(cuLinkComplete)
ABSENT(cuLinkDestroy)
ABSENT(cuArrayCreate_v2)
ABSENT(cuArray3DCreate_v2)
ABSENT(cuArrayDestroy)
