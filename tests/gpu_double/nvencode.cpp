// libnvidia-encode.so.1, the encoder of the GPU that is not there: H.264 whose pictures come back as they were (h264.h).
// GStreamer registers its encoders with it, and PyNvVideoCodec can be imported. It is strict where the real one is
// silently wrong: it reads a picture when it is told to encode it, ordered behind the default stream alone, or behind
// the stream that was named to it. It lies in a folder of its own, since GStreamer would take its encoders.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <string>
#include <vector>

#include "cuda_api.h"
#include "h264.h"

extern "C" {
CUresult cuCtxPushCurrent_v2(CUcontext);
CUresult cuCtxPopCurrent_v2(CUcontext*);
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D*, CUstream);
CUresult cuStreamSynchronize(CUstream);
}

namespace {

enum Status { OK = 0, NO_DEVICE = 1, BAD_PARAMETER = 8, UNSUPPORTED = 12 };
enum Format { NV12 = 1, YV12 = 0x10, IYUV = 0x100 };

struct Guid {
    uint32_t words[4];
    bool operator==(const Guid& other) const { return !memcmp(this, &other, sizeof other); }
};
const Guid H264{{0x6bc82762, 0x4ca44e63, 0x501e85aa, 0xbff621f3}}, HEVC{{0x790cdc88, 0x4d7b4522, 0xa9bd2594, 0x03765f97}};
const Guid BASELINE{{0x0727bcaa, 0x4c8378c4, 0x3def2f8c, 0x6a7c26ff}}, MAIN{{0x60b5c1d4, 0x479067fe, 0x72c4d594, 0x6d6e7b6d}};
const Guid HIGH{{0xe7cbc309, 0x4b894f7a, 0x37d52aaf, 0x10e32bc9}}, HEVC_MAIN{{0xb514c39a, 0x40fab55b, 0x25f18f87, 0xecfd4d3b}};
const Guid P4{{0x90a7b826, 0x4862df06, 0x6dcdd2b9, 0x8186a073}}, LOW_LATENCY_HQ{{0xc5f733b9, 0x4cf9ea97, 0x78bfc2be, 0x05d14fa7}};
const Guid DEFAULT{{0xb2dfb705, 0x4c494ebd, 0xa7245f9b, 0x87e5d377}};

// The structs of nvEncodeAPI.h, whose beginnings are the same from version 10 to 13.
struct Config {
    uint32_t version;
    Guid profile;
    uint32_t gop;
    int32_t interval_p;
    uint32_t monochrome, field_mode, mv_precision, rate[32], codec[256];
};
static_assert(offsetof(Config, rate) == 40 && offsetof(Config, codec) == 168, "NV_ENC_CONFIG");
struct PresetConfig {
    uint32_t version, reserved;
    Config config;
};
struct Initialize {
    uint32_t version;
    Guid codec, preset;
    uint32_t width, height, dar[2], rate[2], async, decides, flags, private_size;
    void* private_data;
    Config* config;
};
static_assert(offsetof(Initialize, config) == 88, "NV_ENC_INITIALIZE_PARAMS");
struct Open {
    uint32_t version, kind;
    CUcontext context;
};
struct Register {
    uint32_t version, kind, width, height, pitch, sub;
    CUdeviceptr pointer;
    void* made;
    uint32_t format;
};
struct CreateInput {
    uint32_t version, width, height, heap, format, reserved;
    void* made;
};
struct LockInput {
    uint32_t version, flags;
    void *input, *bytes;
    uint32_t pitch;
};
struct Map {
    uint32_t version, sub;
    void *old, *registered, *mapped;
    uint32_t format;
};
struct Create {
    uint32_t version, size, heap, reserved;
    void* made;
};
struct Encode {
    uint32_t version, width, height, pitch, flags, index;
    uint64_t stamp, duration;
    void *input, *output, *event;
    uint32_t format, structure, type;
};
struct Lock {
    uint32_t version, flags;
    void* output;
    uint32_t* offsets;
    uint32_t index, status, slices, size;
    uint64_t stamp, duration;
    void* bytes;
    uint32_t type, structure;
};
static_assert(offsetof(Encode, input) == 40 && offsetof(Lock, bytes) == 56, "NV_ENC_PIC_PARAMS, NV_ENC_LOCK_BITSTREAM");
struct Sequence {
    uint32_t version, room, sps, pps;
    void* bytes;
    uint32_t* size;
};
struct Caps {
    uint32_t version, asked;
};

struct Output {
    h264::Bytes bytes;
    uint64_t stamp = 0, duration = 0;
    uint32_t index = 0, type = 0;
};
struct Session {
    CUcontext context;
    CUstream stream = nullptr;
    Initialize how{};
    Config config{};
    std::map<Register*, Register> inputs;
    std::map<Output*, Output*> outputs;
    unsigned count = 0, keys = 0, since_key = 0;

    unsigned profile() const { return config.profile == BASELINE ? 66 : config.profile == HIGH ? 100 : 77; }
    h264::Bytes headers() const { return h264::headers(how.width, how.height, profile()); }
    bool flag(int bit) const { return config.codec[0] >> bit & 1; }  // of NV_ENC_CONFIG_H264
};
constexpr int DISABLE_HEADERS = 7, REPEAT_HEADERS = 12;
constexpr uint32_t ON_GPU = 1, ON_HOST = 99;  // NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR, and buffers of the encoder's

// What a picture holds now: Y, then U and V, each without gaps.
std::vector<uint8_t> fetched(Session* session, const Register& input) {
    const uint32_t width = session->how.width, height = session->how.height;
    std::vector<uint8_t> raw(width * height * 3 / 2), planes(raw.size());
    const bool planar = input.format == IYUV;
    size_t from = 0, to = 0;
    cuCtxPushCurrent_v2(session->context);
    for (int plane = 0; plane < (planar ? 3 : 2); ++plane) {
        const size_t pitch = plane && planar ? input.pitch / 2 : input.pitch, rows = plane ? height / 2 : height;
        const size_t length = plane && planar ? width / 2 : width;
        if (input.kind == ON_HOST) {
            const auto* bytes = (const uint8_t*)input.pointer + from;
            for (size_t row = 0; row < rows; ++row) memcpy(raw.data() + to + row * length, bytes + row * pitch, length);
        } else {
            CUDA_MEMCPY2D job{};
            job.srcMemoryType = CU_MEMORYTYPE_DEVICE, job.srcDevice = input.pointer + from, job.srcPitch = pitch;
            job.dstMemoryType = CU_MEMORYTYPE_HOST, job.dstHost = raw.data() + to, job.dstPitch = length;
            job.WidthInBytes = length, job.Height = rows;
            cuMemcpy2DAsync_v2(&job, session->stream);
        }
        from += pitch * (plane ? rows : input.height), to += length * rows;
    }
    cuStreamSynchronize(session->stream);
    cuCtxPopCurrent_v2(nullptr);
    if (planar) return raw;
    const size_t luma = width * height, quarter = luma / 4;
    memcpy(planes.data(), raw.data(), luma);
    for (size_t i = 0; i < 2 * quarter; ++i) planes[luma + i % 2 * quarter + i / 2] = raw[luma + i];
    return planes;
}

Status open(Open* how, Session** made) {
    if (how->kind != 1 || !how->context) return NO_DEVICE;  // NV_ENC_DEVICE_TYPE_CUDA
    *made = new Session{how->context};
    return OK;
}
Status destroy(Session* session) {
    delete session;
    return OK;
}
Status profile_count(Session*, Guid codec, uint32_t* count) {
    *count = codec == H264 ? 3 : 1;
    return OK;
}
Status codec_count(Session*, uint32_t* count) {
    *count = 2;
    return OK;
}
Status three_of(Session*, Guid, uint32_t* count) {  // presets, and formats
    *count = 3;
    return OK;
}
Status codecs(Session*, Guid* all, uint32_t most, uint32_t* count) {
    *count = most < 2 ? most : 2;
    for (uint32_t i = 0; i < *count; ++i) all[i] = i ? HEVC : H264;
    return OK;
}
Status profiles(Session*, Guid codec, Guid* all, uint32_t most, uint32_t* count) {
    const std::vector<Guid> known = codec == H264 ? std::vector<Guid>{BASELINE, MAIN, HIGH} : std::vector<Guid>{HEVC_MAIN};
    for (*count = 0; *count < most && *count < known.size(); ++*count) all[*count] = known[*count];
    return OK;
}
Status presets(Session*, Guid, Guid* all, uint32_t most, uint32_t* count) {
    const Guid known[] = {DEFAULT, LOW_LATENCY_HQ, P4};
    for (*count = 0; *count < most && *count < 3; ++*count) all[*count] = known[*count];
    return OK;
}
Status formats(Session*, Guid, uint32_t* all, uint32_t most, uint32_t* count) {
    const uint32_t known[] = {NV12, YV12, IYUV};
    for (*count = 0; *count < most && *count < 3; ++*count) all[*count] = known[*count];
    return OK;
}
Status caps(Session*, Guid, Caps* asked, int* value) {
    // Their numbers in NV_ENC_CAPS.
    static const std::map<uint32_t, int> known{{0, 4},     {1, 63},  {7, 1},   {13, 62}, {14, 10},   {16, 4096},
                                               {17, 4096}, {20, 1},  {26, 1},  {27, 1},  {31, 65536}, {32, 983040},
                                               {37, 1},    {45, 33}, {46, 17}, {49, 1}};
    const auto found = known.find(asked->asked);
    *value = found == known.end() ? 0 : found->second;
    return OK;
}
Status preset(Session*, Guid, Guid, PresetConfig* made) {
    made->config.profile = {}, made->config.gop = 30, made->config.interval_p = 1, made->config.field_mode = 1;
    return OK;
}
Status preset_tuned(Session* session, Guid codec, Guid name, uint32_t, PresetConfig* made) {
    return preset(session, codec, name, made);
}
Status initialize(Session* session, Initialize* how) {
    if (!(how->codec == H264) || how->width % 2 || how->height % 2 || how->async) return UNSUPPORTED;
    session->how = *how;
    if (how->config) session->config = *how->config;
    return OK;
}
Status reconfigure(Session*, void*) {
    return OK;
}
Status streams(Session* session, CUstream* in, CUstream*) {
    session->stream = *in;
    return OK;
}
Status enroll(Session* session, Register* how) {
    if (how->kind != ON_GPU) return UNSUPPORTED;
    if (how->format != NV12 && how->format != IYUV) return UNSUPPORTED;
    auto* key = new Register(*how);
    session->inputs[key] = *how;
    how->made = key;
    return OK;
}
Status discharge(Session* session, Register* key) {
    if (!session->inputs.erase(key)) return BAD_PARAMETER;
    delete key;
    return OK;
}
Status create_input(Session* session, CreateInput* how) {
    const uint32_t pitch = (how->width + 63) / 64 * 64;
    auto* key = new Register{0, ON_HOST, how->width, how->height, pitch, 0, 0, nullptr, how->format};
    key->pointer = (CUdeviceptr)calloc(pitch * how->height, 2);
    session->inputs[key] = *key;
    how->made = key;
    return OK;
}
Status destroy_input(Session* session, Register* key) {
    free((void*)key->pointer);
    return discharge(session, key);
}
Status lock_input(Session*, LockInput* what) {
    const auto* input = static_cast<Register*>(what->input);
    what->bytes = (void*)input->pointer, what->pitch = input->pitch;
    return OK;
}
Status map(Session* session, Map* how) {
    const auto found = session->inputs.find(static_cast<Register*>(how->registered));
    if (found == session->inputs.end()) return BAD_PARAMETER;
    how->mapped = how->registered, how->format = found->second.format;
    return OK;
}
Status unmap(Session*, void*) {
    return OK;
}
Status create_output(Session* session, Create* how) {
    auto* made = new Output;
    session->outputs[made] = made;
    how->made = made;
    return OK;
}
Status destroy_output(Session* session, Output* output) {
    if (!session->outputs.erase(output)) return BAD_PARAMETER;
    delete output;
    return OK;
}
Status encode(Session* session, Encode* what) {
    constexpr uint32_t FORCE_IDR = 2, WITH_HEADERS = 4, END = 8;
    if (what->flags & END) return OK;
    const auto input = session->inputs.find(static_cast<Register*>(what->input));
    const auto output = session->outputs.find(static_cast<Output*>(what->output));
    if (input == session->inputs.end() || output == session->outputs.end()) return BAD_PARAMETER;
    const uint32_t gop = session->config.gop, width = session->how.width, height = session->how.height;
    const bool key = !session->count || (what->flags & FORCE_IDR) || (gop && gop != ~0u && session->since_key >= gop);
    if (key) session->since_key = 0, ++session->keys;
    const std::vector<uint8_t> planes = fetched(session, input->second);
    const auto at = [&](unsigned plane, unsigned y, unsigned x) {
        const size_t luma = width * height;
        return plane ? planes[luma + (plane - 1) * luma / 4 + y * (width / 2) + x] : planes[y * width + x];
    };
    h264::Bytes bytes;
    const bool repeats = session->flag(REPEAT_HEADERS) || !session->count;
    if ((key && repeats && !session->flag(DISABLE_HEADERS)) || (what->flags & WITH_HEADERS)) bytes = session->headers();
    const h264::Bytes coded = h264::picture(width, height, key, session->since_key, session->keys, at);
    bytes.insert(bytes.end(), coded.begin(), coded.end());
    *output->second = {bytes, what->stamp, what->duration, session->count, key ? 3u : 0u};  // NV_ENC_PIC_TYPE_IDR, _P
    ++session->count, ++session->since_key;
    return OK;
}
Status lock(Session* session, Lock* what) {
    const auto found = session->outputs.find(static_cast<Output*>(what->output));
    if (found == session->outputs.end()) return BAD_PARAMETER;
    Output& output = *found->second;
    what->bytes = output.bytes.data(), what->size = (uint32_t)output.bytes.size();
    what->stamp = output.stamp, what->duration = output.duration, what->index = output.index;
    what->type = output.type, what->structure = 1, what->slices = 1, what->status = 0;
    return OK;
}
Status unlock(Session*, void*) {
    return OK;
}
Status sequence(Session* session, Sequence* what) {
    const h264::Bytes bytes = session->headers();
    if (bytes.size() > what->room) return BAD_PARAMETER;
    memcpy(what->bytes, bytes.data(), bytes.size());
    *what->size = (uint32_t)bytes.size();
    return OK;
}
Status absent() {
    return UNSUPPORTED;
}
const char* last_error(Session*) {
    return "the encoder that is not there does not do that";
}

}  // namespace

API int NvEncodeAPIGetMaxSupportedVersion(uint32_t* version) {
    *version = 13 << 4;
    return OK;
}
API int NvEncodeAPICreateInstance(void** list) {
    // In the order of NV_ENCODE_API_FUNCTION_LIST, behind its version.
    const void* all[] = {
        (void*)absent,       (void*)codec_count,      (void*)profile_count,  (void*)profiles,       (void*)codecs,
        (void*)three_of,     (void*)formats,    (void*)caps,           (void*)three_of,         (void*)presets,
        (void*)preset,       (void*)initialize, (void*)create_input,   (void*)destroy_input,  (void*)create_output,
        (void*)destroy_output, (void*)encode,   (void*)lock,           (void*)unlock,         (void*)lock_input,
        (void*)unlock,       (void*)absent,     (void*)sequence,       (void*)absent,         (void*)absent,
        (void*)map,          (void*)unmap,      (void*)destroy,        (void*)absent,         (void*)open,
        (void*)enroll,       (void*)discharge,  (void*)reconfigure,    nullptr,               (void*)absent,
        (void*)absent,       (void*)absent,     (void*)last_error,     (void*)streams,        (void*)preset_tuned,
    };
    memcpy(list + 1, all, sizeof all);
    return OK;
}
