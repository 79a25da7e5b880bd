// A libnvcuvid.so.1 with a decoder: GStreamer's elements nvh264dec and its like are there. Those that parse the stream
// themselves decode: nvh264sldec in GStreamer 1.22, which is nvh264dec from 1.24 on.
//
// A decoder has no H.264 in it. The n-th picture that it is given becomes grey: luma is 16 + 8 n, modulo 128, chroma 128.
// Its frames are as a decoder's are: few, in memory of its own, written on the stream that the caller names, and used
// again as soon as the caller unmaps them. It lies in a folder of its own, since decodebin would take its elements.

#include <stdint.h>
#include <string.h>

#include <vector>

#include "cuda_api.h"

extern "C" {
CUresult cuCtxPushCurrent_v2(CUcontext);
CUresult cuCtxPopCurrent_v2(CUcontext*);
CUresult cuCtxGetCurrent(CUcontext*);
CUresult cuMemAllocPitch_v2(CUdeviceptr*, size_t*, size_t, size_t, unsigned);
CUresult cuMemFree_v2(CUdeviceptr);
CUresult cuMemsetD2D8Async(CUdeviceptr, size_t, unsigned char, size_t, size_t, CUstream);
CUresult cuStreamSynchronize(CUstream);
}

namespace {

// The structs of cuviddec.h, as far as they are read or written here.
struct Capabilities {
    int codec, chroma;
    unsigned depth_minus_8, reserved1[3];
    unsigned char is_supported, decoders;
    unsigned short formats;
    unsigned most_width, most_height, most_macroblocks;
    unsigned short least_width, least_height;
    unsigned char histogram, counter_depth;
    unsigned short bins;
    unsigned reserved3[10];
};
static_assert(sizeof(Capabilities) == 88, "CUVIDDECODECAPS");

struct CreateInfo {
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, depth_minus_8, intra_only, most_width, most_height, reserved1;
    short display[4];
    int format, deinterlace;
    unsigned long target_width, target_height, outputs;
    void* lock;
    short target[4];
    unsigned long histogram, reserved2[4];
};

struct Picture {
    int macroblocks_across, macroblocks_down, index;
};

struct How {
    int progressive, second_field, top_field_first, unpaired_field;
    unsigned flags, zero;
    unsigned long long raw_input;
    unsigned raw_input_pitch, raw_input_format;
    unsigned long long raw_output;
    unsigned raw_output_pitch, reserved1;
    CUstream stream;
};

struct Decoder {
    CUcontext context;
    size_t width, height, pitch = 0;
    std::vector<CUdeviceptr> outputs;
    std::vector<bool> mapped;
    std::vector<int> numbers;  // for each of its surfaces, which picture it holds
    int count = 0;
};

constexpr int NV12 = 0;

}  // namespace

API CUresult cuvidCtxLockCreate(void** lock, CUcontext context) {
    *lock = context;
    return CUDA_SUCCESS;
}
API CUresult cuvidCtxLockDestroy(void*) {
    return CUDA_SUCCESS;
}
API CUresult cuvidCtxLock(void*, unsigned) {
    return CUDA_SUCCESS;
}
API CUresult cuvidCtxUnlock(void*, unsigned) {
    return CUDA_SUCCESS;
}
API CUresult cuvidGetDecoderCaps(Capabilities* all) {
    all->is_supported = all->chroma == 1 && all->depth_minus_8 == 0;
    all->decoders = 1, all->formats = 1 << NV12;
    all->most_width = all->most_height = 4096, all->most_macroblocks = 65536;
    all->least_width = all->least_height = 48;
    return CUDA_SUCCESS;
}
API CUresult cuvidCreateDecoder(Decoder** made, CreateInfo* info) {
    CUcontext context = nullptr;
    cuCtxGetCurrent(&context);
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    if (info->format != NV12 || !info->surfaces || !info->outputs) return CUDA_ERROR_NOT_SUPPORTED;
    Decoder* decoder = new Decoder{context, info->target_width, info->target_height};
    decoder->numbers.resize(info->surfaces);
    decoder->mapped.resize(info->outputs);
    for (unsigned long i = 0; i < info->outputs; ++i) {
        CUdeviceptr memory = 0;
        const CUresult code = cuMemAllocPitch_v2(&memory, &decoder->pitch, decoder->width, decoder->height * 3 / 2, 16);
        if (code) return code;
        decoder->outputs.push_back(memory);
    }
    *made = decoder;
    return CUDA_SUCCESS;
}
API CUresult cuvidDestroyDecoder(Decoder* decoder) {
    cuCtxPushCurrent_v2(decoder->context);
    for (const CUdeviceptr memory : decoder->outputs) cuMemFree_v2(memory);
    cuCtxPopCurrent_v2(nullptr);
    delete decoder;
    return CUDA_SUCCESS;
}
API CUresult cuvidDecodePicture(Decoder* decoder, const Picture* picture) {
    if (picture->index < 0 || picture->index >= (int)decoder->numbers.size()) return CUDA_ERROR_INVALID_VALUE;
    decoder->numbers[picture->index] = decoder->count++;
    return CUDA_SUCCESS;
}
API CUresult cuvidGetDecodeStatus(Decoder*, int, int* status) {
    *status = 2;  // cuvidDecodeStatus_Success
    return CUDA_SUCCESS;
}
API CUresult cuvidMapVideoFrame64(Decoder* decoder, int index, unsigned long long* pointer, unsigned* pitch, const How* how) {
    if (index < 0 || index >= (int)decoder->numbers.size()) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < decoder->outputs.size(); ++i) {
        if (decoder->mapped[i]) continue;
        decoder->mapped[i] = true;
        const CUdeviceptr memory = decoder->outputs[i];
        const size_t luma = decoder->pitch * decoder->height;
        const unsigned char value = 16 + 8 * decoder->numbers[index] % 128;
        cuMemsetD2D8Async(memory, decoder->pitch, value, decoder->width, decoder->height, how->stream);
        cuMemsetD2D8Async(memory + luma, decoder->pitch, 128, decoder->width, decoder->height / 2, how->stream);
        *pointer = memory, *pitch = (unsigned)decoder->pitch;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_OUT_OF_MEMORY;  // all are mapped
}
API CUresult cuvidMapVideoFrame(Decoder* decoder, int index, unsigned long long* pointer, unsigned* pitch, const How* how) {
    return cuvidMapVideoFrame64(decoder, index, pointer, pitch, how);
}
API CUresult cuvidUnmapVideoFrame64(Decoder* decoder, unsigned long long pointer) {
    for (size_t i = 0; i < decoder->outputs.size(); ++i)
        if (decoder->outputs[i] == pointer && decoder->mapped[i]) {
            decoder->mapped[i] = false;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_VALUE;
}
API CUresult cuvidUnmapVideoFrame(Decoder* decoder, unsigned pointer) {
    return cuvidUnmapVideoFrame64(decoder, pointer);
}

// The parser, which stateless elements do not need: they have their own.
#define ABSENT(name) \
    API int name(void) { return CUDA_ERROR_NOT_SUPPORTED; }
ABSENT(cuvidReconfigureDecoder)
ABSENT(cuvidCreateVideoParser)
ABSENT(cuvidDestroyVideoParser)
ABSENT(cuvidParseVideoData)
