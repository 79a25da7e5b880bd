// libnvidia-encode.so.1, which PyNvVideoCodec opens when it is imported: encodes nothing. GStreamer would try to open an
// encoder with it, so it lies in a folder of its own.

#include <stdint.h>

#define API extern "C" __attribute__((visibility("default")))

API int NvEncodeAPIGetMaxSupportedVersion(uint32_t* version) {
    *version = 13 << 4;
    return 0;
}
API int NvEncodeAPICreateInstance(void*) {
    return 0;
}
