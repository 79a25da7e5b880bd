// Which GPUs there are, what their errors are called, and where the functions of the driver are found.

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "contexts.h"

using namespace gpu;

namespace {

const std::map<CUresult, std::pair<const char*, const char*>> ERRORS = {
    {0, {"CUDA_SUCCESS", "no error"}},
    {1, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
    {2, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
    {3, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}},
    {4, {"CUDA_ERROR_DEINITIALIZED", "driver shutting down"}},
    {46, {"CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"}},
    {100, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {101, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
    {200, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
    {201, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
    {209, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
    {222, {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."}},
    {400, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
    {401, {"CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"}},
    {500, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
    {600, {"CUDA_ERROR_NOT_READY", "device not ready"}},
    {700, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
    {702, {"CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"}},
    {709, {"CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"}},
    {719, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}},
    {801, {"CUDA_ERROR_NOT_SUPPORTED", "operation not supported"}},
    {803, {"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"}},
    {900, {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"}},
    {901, {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"}},
    {999, {"CUDA_ERROR_UNKNOWN", "unknown error"}},
};

// By the numbers of CUdevice_attribute; what is not here is 0.
const std::map<int, int> ATTRIBUTES = {
    {1, 1024},  {2, 1024},      {3, 1024},  {4, 64},     {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152},
    {9, 65536}, {10, 32},       {11, 2147483647}, {12, 65536}, {14, 512},  {15, 1},    {16, 24},   {19, 1},
    {31, 1},    {38, 4194304},  {39, 1536}, {40, 2},     {41, 1},         {51, 32},   {78, 1},    {81, 102400},
    {82, 65536}, {83, 1},       {90, 1},    {95, 1},     {97, 101376},    {99, 1},
};

CUresult about_device(const char* function, CUdevice device, const std::function<void(const Settings&)>& tell) {
    return call(function, DRIVER, [&](Lock&) {
        if (device < 0 || device >= world().settings.gpus) return CUDA_ERROR_INVALID_DEVICE;
        tell(world().settings);
        return CUDA_SUCCESS;
    });
}

}  // namespace

API CUresult cuInit(unsigned flags) {
    Lock lock(world().mutex);
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult code = failure_of("cuInit")) return code;
    if (!world().settings.present || world().settings.gpus < 1) return CUDA_ERROR_NO_DEVICE;
    ++world().counters.calls["cuInit"];
    world().initialized = true;
    return CUDA_SUCCESS;
}
API CUresult cuDriverGetVersion(int* version) {
    *version = world().settings.driver_version;
    return CUDA_SUCCESS;
}
API CUresult cuGetErrorName(CUresult code, const char** text) {
    const auto found = ERRORS.find(code);
    *text = found == ERRORS.end() ? nullptr : found->second.first;
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API CUresult cuGetErrorString(CUresult code, const char** text) {
    const auto found = ERRORS.find(code);
    *text = found == ERRORS.end() ? nullptr : found->second.second;
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API CUresult cuDeviceGetCount(int* count) {
    return call("cuDeviceGetCount", DRIVER, [&](Lock&) {
        *count = world().settings.gpus;
        return CUDA_SUCCESS;
    });
}
API CUresult cuDeviceGet(CUdevice* device, int index) {
    return about_device("cuDeviceGet", index, [&](const Settings&) { *device = index; });
}
API CUresult cuDeviceGetName(char* text, int size, CUdevice device) {
    return about_device("cuDeviceGetName", device, [&](const Settings& all) { snprintf(text, size, "%s", all.name.c_str()); });
}
API CUresult cuDeviceGetUuid_v2(char* uuid, CUdevice device) {
    return about_device("cuDeviceGetUuid", device, [&](const Settings&) { memset(uuid, 0x42 + device, 16); });
}
API CUresult cuDeviceGetUuid(char* uuid, CUdevice device) {
    return cuDeviceGetUuid_v2(uuid, device);
}
API CUresult cuDeviceGetPCIBusId(char* text, int size, CUdevice device) {
    return about_device("cuDeviceGetPCIBusId", device,
                        [&](const Settings&) { snprintf(text, size, "0000:%02X:00.0", device + 1); });
}
API CUresult cuDeviceTotalMem_v2(size_t* size, CUdevice device) {
    return about_device("cuDeviceTotalMem", device, [&](const Settings& all) { *size = all.memory; });
}
API CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
    return about_device("cuDeviceComputeCapability", device, [&](const Settings& all) { *major = all.major, *minor = all.minor; });
}
API CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice device) {
    return about_device("cuDeviceGetAttribute", device, [&](const Settings& all) {
        const auto found = ATTRIBUTES.find(attribute);
        *value = found == ATTRIBUTES.end() ? 0 : found->second;
        if (attribute == 18) *value = all.integrated;
        if (attribute == 33) *value = device + 1;
        if (attribute == 75) *value = all.major;
        if (attribute == 76) *value = all.minor;
    });
}
API CUresult cuDeviceCanAccessPeer(int* can, CUdevice, CUdevice) {
    *can = 0;
    return CUDA_SUCCESS;
}
API CUresult cuProfilerStart(void) {
    return CUDA_SUCCESS;
}
API CUresult cuProfilerStop(void) {
    return CUDA_SUCCESS;
}

// What GStreamer looks for when it opens the driver, and does not need here.
#define NOT_HERE(name) \
    API CUresult name() { return CUDA_ERROR_NOT_SUPPORTED; }
NOT_HERE(cuGraphicsMapResources)
NOT_HERE(cuGraphicsUnmapResources)
NOT_HERE(cuGraphicsUnregisterResource)
NOT_HERE(cuGraphicsGLRegisterImage)
NOT_HERE(cuGraphicsGLRegisterBuffer)
NOT_HERE(cuGLGetDevices_v2)
NOT_HERE(cuGraphicsResourceSetMapFlags_v2)
NOT_HERE(cuGraphicsSubResourceGetMappedArray)
NOT_HERE(cuGraphicsResourceGetMappedPointer_v2)
NOT_HERE(cuTexObjectCreate)
NOT_HERE(cuTexObjectDestroy)
NOT_HERE(cuMemAllocAsync)
NOT_HERE(cuMemFreeAsync)

// The newest function of a name that a driver of the version has. Names that changed what they take more than once:
static void* found(const char* name, int version) {
    struct Form {
        const char* name;
        int version;
        const char* symbol;
    };
    static const Form FORMS[] = {
        {"cuCtxCreate", 13000, "cuCtxCreate_v4"},
        {"cuGraphInstantiate", 12000, "cuGraphInstantiateWithFlags"},
        {"cuStreamGetCaptureInfo", 12030, "cuStreamGetCaptureInfo_v3"},
        {"cuGetProcAddress", 12000, "cuGetProcAddress_v2"},
    };
    static void* library = nullptr;
    if (!library) {
        Dl_info about;
        dladdr((void*)found, &about);
        library = dlopen(about.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    }
    for (const Form& form : FORMS)
        if (!strcmp(name, form.name)) return version >= form.version ? dlsym(library, form.symbol) : nullptr;
    char text[128];
    snprintf(text, sizeof text, "%s_v2", name);
    void* symbol = dlsym(library, text);
    return symbol ? symbol : dlsym(library, name);
}

API CUresult cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t, int* status) {
    const Settings& all = world().settings;
    *function = all.only_its_own && version > all.driver_version ? nullptr : found(name, version);
    if (status) *status = *function ? 0 : 1;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
API CUresult cuGetProcAddress(const char* name, void** function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
API CUresult cuGetExportTable(const void** table, const void*) {
    *table = nullptr;
    return CUDA_ERROR_NOT_FOUND;
}
