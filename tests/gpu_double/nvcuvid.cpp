// libnvcuvid.so.1, without which GStreamer's plugin nvcodec registers no element and PyNvVideoCodec opens no decoder:
// decodes nothing.

#define ABSENT(name) \
    extern "C" __attribute__((visibility("default"))) int name(void) { return 801; }  // CUDA_ERROR_NOT_SUPPORTED

ABSENT(cuvidCtxLock)
ABSENT(cuvidCtxLockCreate)
ABSENT(cuvidCtxLockDestroy)
ABSENT(cuvidCtxUnlock)
ABSENT(cuvidCreateDecoder)
ABSENT(cuvidDestroyDecoder)
ABSENT(cuvidDecodePicture)
ABSENT(cuvidReconfigureDecoder)
ABSENT(cuvidGetDecodeStatus)
ABSENT(cuvidCreateVideoParser)
ABSENT(cuvidDestroyVideoParser)
ABSENT(cuvidParseVideoData)
ABSENT(cuvidMapVideoFrame)
ABSENT(cuvidUnmapVideoFrame)
ABSENT(cuvidMapVideoFrame64)
ABSENT(cuvidUnmapVideoFrame64)
ABSENT(cuvidGetDecoderCaps)
ABSENT(cuvidCreateVideoSource)
ABSENT(cuvidCreateVideoSourceW)
ABSENT(cuvidDestroyVideoSource)
ABSENT(cuvidSetVideoSourceState)
ABSENT(cuvidGetVideoSourceState)
ABSENT(cuvidGetSourceVideoFormat)
ABSENT(cuvidGetSourceAudioFormat)
