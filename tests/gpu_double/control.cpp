// What tests tell the double and ask it, from Python by ctypes (double.py), or for a child process by its environment.
//
// GPU_DOUBLE holds settings as NAME=VALUE, separated by blanks: kind, gpus, seed, driver, memory, name, capability, and
// fail=FUNCTION:CODE:AFTER:TIMES:STICKY. GPU_DOUBLE_REPORT names the file that the report is written to at the end.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sstream>

#include "contexts.h"
#include "graphs.h"
#include "memory.h"
#include "modules.h"

using namespace gpu;

namespace {

std::string quoted(const std::string& text) {
    std::string made = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') made += '\\';
        made += (unsigned char)c < 32 ? ' ' : c;
    }
    return made + "\"";
}

std::string object(const std::map<std::string, long>& values) {
    std::string made = "{";
    for (auto& [name, value] : values)
        made += (made.size() > 1 ? ", " : "") + quoted(name) + ": " + std::to_string(value);
    return made + "}";
}

std::string report() {
    const Counters& all = world().counters;
    const std::map<std::string, long> single = {
        {"allocations", all.allocations},       {"frees", all.frees},
        {"pinned_allocations", all.pinned_allocations}, {"pinned_frees", all.pinned_frees},
        {"modules_loaded", all.modules_loaded}, {"contexts_made", all.contexts_made},
        {"streams_made", all.streams_made},     {"events_made", all.events_made},
        {"pageable_copies", all.pageable_copies}, {"graphs_made", all.graphs_made},       {"graph_launches", all.graph_launches},
        {"memory_peak", (long)all.memory_peak}, {"pending", (long)pending()},
        {"pushed", pushed_here()},
    };
    std::map<std::string, long> live = {
        {"streams", (long)live_streams()}, {"events", (long)live_events()}, {"modules", (long)live_modules()},
        {"graphs", (long)live_graphs()}, {"device", 0}, {"device_bytes", 0}, {"pinned", 0}, {"registered", 0},
    };
    for (const AllocationPtr& allocation : live_allocations()) {
        if (!allocation->context) continue;  // a test's own
        const char* kinds[] = {"device", "pinned", "registered"};
        ++live[kinds[(int)allocation->kind]];
        if (allocation->kind == Kind::DEVICE) live["device_bytes"] += allocation->size;
    }
    std::string violations;
    for (const std::string& text : world().violations) violations += (violations.empty() ? "" : ", ") + quoted(text);
    return "{\"counts\": " + object(single) + ", \"live\": " + object(live) + ", \"calls\": " + object(all.calls) +
           ", \"launches\": " + object(all.launches) + ", \"launched_on\": " + object(all.launched_on) + ", \"copies\": " + object(all.copies) +
           ", \"copied_bytes\": " + object(all.copied_bytes) + ", \"waits\": " + object(all.waits) +
           ", \"broken\": " + std::to_string(world().broken) + ", \"violations\": [" + violations + "]}";
}

void add_failure(const std::string& text) {
    std::stringstream fields(text);
    std::string function, field;
    int numbers[4] = {1, 0, 1, 0};
    std::getline(fields, function, ':');
    for (int i = 0; i < 4 && std::getline(fields, field, ':'); ++i) numbers[i] = atoi(field.c_str());
    world().failures.push_back({function, numbers[0], numbers[1], numbers[2], numbers[3] != 0});
}

void set(const std::string& name, const std::string& value) {
    Settings& all = world().settings;
    if (name == "kind") all.present = value != "absent", all.integrated = value == "integrated";
    if (name == "gpus") all.gpus = atoi(value.c_str());
    if (name == "seed") all.seed = strtoul(value.c_str(), nullptr, 10);
    if (name == "driver") all.driver_version = atoi(value.c_str());
    if (name == "memory") all.memory = strtoull(value.c_str(), nullptr, 10);
    if (name == "name") all.name = value;
    if (name == "backwards") all.backwards = atoi(value.c_str());
    if (name == "rubbish") all.rubbish = atoi(value.c_str());
    if (name == "keeps_launches") all.keeps_launches = value == "1";
    if (name == "loud") all.loud = value == "1";
    if (name == "capability") sscanf(value.c_str(), "%d.%d", &all.major, &all.minor);
    if (name == "fail") add_failure(value);
}

// NAME=VALUE, separated by blanks; a + stands for a blank in a value.
void set_all(const char* text) {
    std::stringstream words(text);
    for (std::string word; words >> word;) {
        const size_t at = word.find('=');
        if (at == std::string::npos) continue;
        std::string value = word.substr(at + 1);
        std::replace(value.begin(), value.end(), '+', ' ');
        set(word.substr(0, at), value);
    }
}

void configure(const char* text) {
    set_all(text);
    world().random.seed(world().settings.seed);
}

void reset() {
    World& here = world();
    forget_streams();
    forget_graphs();
    forget_modules();
    forget_memory();
    forget_contexts();
    here.settings = {};
    here.initialized = false;
    here.broken = CUDA_SUCCESS;
    here.failures.clear(), here.violations.clear(), here.launched.clear();
    here.counters = {};
    here.host = {};
    here.lanes = 0;
    here.oldest_handle = here.next_handle;
}

struct AtTheEnds {
    AtTheEnds() {
        if (const char* text = getenv("GPU_DOUBLE")) configure(text), world().settings.only_its_own = true;
    }
    ~AtTheEnds() {
        const char* path = getenv("GPU_DOUBLE_REPORT");
        if (!path) return;
        if (FILE* file = fopen(path, "a")) {
            fprintf(file, "%s\n", report().c_str());
            fclose(file);
        }
    }
} at_the_ends;

}  // namespace

// Forgets everything, and starts as the text says; "" for a machine without a GPU.
API void gpu_double_start(const char* settings) {
    Lock lock(world().mutex);
    reset();
    configure(settings);
}

API void gpu_double_set(const char* settings) {
    Lock lock(world().mutex);
    set_all(settings);
}

// The report as JSON; to be freed by gpu_double_free.
API char* gpu_double_report() {
    Lock lock(world().mutex);
    return strdup(report().c_str());
}
API void gpu_double_free(char* text) {
    free(text);
}

// The launches since the last call as JSON, if they are kept: the kernel, its grid, and its arguments in hex. To be freed
// by gpu_double_free.
API char* gpu_double_launched() {
    Lock lock(world().mutex);
    std::string made = "[";
    for (const Launched& each : world().launched) {
        made += made.size() > 1 ? ", [" : "[";
        made += quoted(each.kernel) + ", [" + std::to_string(each.grid[0]) + ", " + std::to_string(each.grid[1]) + ", " +
                std::to_string(each.grid[2]) + "], [";
        for (size_t i = 0; i < each.arguments.size(); ++i) {
            made += i ? ", \"" : "\"";
            for (const unsigned char byte : each.arguments[i]) made += "0123456789abcdef"[byte >> 4], made += "0123456789abcdef"[byte & 15];
            made += "\"";
        }
        made += "]]";
    }
    world().launched.clear();
    return strdup((made + "]").c_str());
}

// Forgets which rules were broken.
API void gpu_double_forgive() {
    Lock lock(world().mutex);
    world().violations.clear();
}

// Memory on a GPU that belongs to the test, not to the program.
API uint64_t gpu_double_place(size_t size, int device) {
    Lock lock(world().mutex);
    const AllocationPtr made = allocate(size, device, 0);
    return made ? made->begin : 0;
}
API void gpu_double_take_back(uint64_t pointer) {
    Lock lock(world().mutex);
    const AllocationPtr found = find(pointer);
    if (found && !found->freed && found->begin == pointer) release(found);
}

// The address by which the test itself may read and write memory of the device at any time; 0 if there is none.
API uint64_t gpu_double_own(uint64_t pointer, size_t size) {
    Lock lock(world().mutex);
    const AllocationPtr found = find(pointer);
    const bool inside = found && !found->freed && pointer + size <= found->begin + found->size;
    return inside ? (uint64_t)own(pointer) : 0;
}

// Queues work of the test's own on a stream: `ranges` holds address, size and 0 (reads) or 1 (writes) for each.
API CUresult gpu_double_work(CUstream handle, const char* name, void (*function)(void), const uint64_t* ranges,
                             size_t count) {
    return call("gpu_double_work", CONTEXT, [&](Lock&) -> CUresult {
        const StreamPtr stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        std::vector<uint64_t> kept(ranges, ranges + 3 * count);
        const auto reach = [kept](Reach& to) {
            for (size_t i = 0; i < kept.size(); i += 3)
                to.ranges.push_back({kept[i], (size_t)kept[i + 1], kept[i + 2] ? How::WRITE : How::READ});
        };
        enqueue(stream, {name, reach, [function] { function(); }, true});
        return CUDA_SUCCESS;
    });
}

// Carries out up to `most` operations; returns how many.
API int gpu_double_step(int most) {
    Lock lock(world().mutex);
    int count = 0;
    while (count < most && step(lock)) ++count;
    return count;
}
API size_t gpu_double_pending(uint64_t handle) {
    Lock lock(world().mutex);
    const StreamPtr stream = stream_of((CUstream)handle);
    return stream ? pending(stream) : 0;
}

