#include "modules.h"

#include <string.h>

#include "../kernels/bodies.h"
#include "contexts.h"
#include "memory.h"

namespace gpu {

namespace {

struct Module {
    uint64_t context;
    std::string image;
};
struct Function {
    uint64_t module;
    std::string name;
};
auto& modules = *new std::map<uint64_t, Module>;  // never destroyed: threads may end after that
auto& functions = *new std::map<uint64_t, Function>;

// Images have no length: that of machine code (ELF) is in its header, PTX and others end with a zero.
std::string text_of(const void* image) {
    const char* bytes = (const char*)image;
    if (memcmp(bytes, "\177ELF", 4)) return bytes;
    const auto field = [&](size_t at, size_t size) {
        uint64_t value = 0;
        memcpy(&value, bytes + at, size);
        return value;
    };
    const size_t sections = field(0x28, 8), entry = field(0x3a, 2), count = field(0x3c, 2);
    return std::string(bytes, sections + entry * count);
}

}  // namespace

void unload_modules(uint64_t context) {
    for (auto module = modules.begin(); module != modules.end();)
        module = module->second.context == context ? modules.erase(module) : std::next(module);
}
size_t live_modules() {
    return modules.size();
}
void forget_modules() {
    modules.clear();
    functions.clear();
}

// Starts the work of a kernel: the arguments are copied now, as the driver does it.
CUresult launch(const StreamPtr& stream, const std::string& name, Dim3 grid, Dim3 block, void** arguments) {
    const Body& body = bodies().at(name);
    if (block.x * block.y * block.z != body.threads || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535) {
        violation("%s was launched with %u x %u x %u threads a block, and is bounded to %u", name.c_str(), block.x,
                  block.y, block.z, body.threads);
        return CUDA_ERROR_INVALID_VALUE;
    }
    const auto kept = std::make_shared<std::vector<std::vector<char>>>();
    for (size_t i = 0; i < body.sizes.size(); ++i)
        kept->emplace_back((char*)arguments[i], (char*)arguments[i] + body.sizes[i]);
    const auto pointers = [kept] {
        std::vector<void*> found;
        for (auto& argument : *kept) found.push_back(argument.data());
        return found;
    };
    if (world().settings.keeps_launches) world().launched.push_back({name, {grid.x, grid.y, grid.z}, *kept});
    ++world().counters.launches[name];
    ++world().counters.launched_on[name + "|" + name_of(stream)];
    enqueue(stream, {"kernel " + name, [=, &body](Reach& reach) { body.reach(reach, grid, pointers().data()); },
                     [=, &body] {
                         auto found = pointers();
                         const Settings& all = world().settings;
                         shim::rubbish = all.rubbish < 0 ? 1000 + world().random() % 100000 : all.rubbish;
                         const bool backwards = all.backwards < 0 ? world().random() % 2 : all.backwards;
                         shim::launch(grid, block, backwards, [&] { body.run(found.data()); });
                     }});
    return CUDA_SUCCESS;
}

}  // namespace gpu

using namespace gpu;

API CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    return call("cuModuleLoadData", CONTEXT, [&](Lock&) {
        if (!image || !*(const char*)image) return CUDA_ERROR_INVALID_IMAGE;
        *module = (CUmodule)new_handle();
        modules[(uint64_t)*module] = {(uint64_t)current()->handle, text_of(image)};
        ++world().counters.modules_loaded;
        return CUDA_SUCCESS;
    });
}
API CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, void*, void**) {
    return cuModuleLoadData(module, image);
}
API CUresult cuModuleUnload(CUmodule module) {
    return call("cuModuleUnload", DRIVER, [&](Lock&) {
        return modules.erase((uint64_t)module) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    });
}
API CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    return call("cuModuleGetFunction", CONTEXT, [&](Lock&) {
        const auto found = modules.find((uint64_t)module);
        if (found == modules.end()) return CUDA_ERROR_INVALID_HANDLE;
        if (found->second.image.find(name) == std::string::npos) return CUDA_ERROR_NOT_FOUND;
        *function = (CUfunction)new_handle();
        functions[(uint64_t)*function] = {(uint64_t)module, name};
        return CUDA_SUCCESS;
    });
}
API CUresult cuFuncGetAttribute(int* value, int, CUfunction) {
    *value = 0;
    return CUDA_SUCCESS;
}
API CUresult cuFuncSetAttribute(CUfunction, int, int) {
    return CUDA_SUCCESS;
}
API CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                            unsigned bz, unsigned shared, CUstream handle, void** arguments, void** extra) {
    return call("cuLaunchKernel", CONTEXT, [&](Lock&) -> CUresult {
        const auto found = functions.find((uint64_t)function);
        if (found == functions.end()) return CUDA_ERROR_INVALID_HANDLE;
        const auto module = modules.find(found->second.module);
        if (module == modules.end() || module->second.context != (uint64_t)current()->handle) {
            violation("%s was launched, and its module is not loaded in the current context", found->second.name.c_str());
            return CUDA_ERROR_INVALID_HANDLE;
        }
        const StreamPtr stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (shared || extra) return CUDA_ERROR_NOT_SUPPORTED;
        if (!bodies().count(found->second.name)) {
            violation("the kernel %s is not in the table of tests/kernels/bodies.h", found->second.name.c_str());
            return CUDA_SUCCESS;
        }
        return launch(stream, found->second.name, {gx, gy, gz}, {bx, by, bz}, arguments);
    });
}
API CUresult cuLaunchKernelEx(const CUlaunchConfig* how, CUfunction function, void** arguments, void** extra) {
    return cuLaunchKernel(function, how->gridDimX, how->gridDimY, how->gridDimZ, how->blockDimX, how->blockDimY,
                          how->blockDimZ, how->sharedMemBytes, how->hStream, arguments, extra);
}
