// saliency_tubes.engine._overlay: the work on every pixel, for Python: drawing, and sampling for the network.
// Called by engine/draw/overlay.py and engine/resize.py.
//
// All arguments are checked before memory is touched. Other Python threads run while it draws.

#include <patchlevel.h>
// Python's limited API has buffers from 3.11 on: one wheel serves all later versions, and 3.10 has a wheel of its own.
#if PY_VERSION_HEX >= 0x030B0000
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "plane.h"
#include "rows_avx2.h"
#include "rows_avx512.h"
#include "rows_neon.h"

namespace {

using namespace tubes;

constexpr int MOST_PATHS = 3;
constexpr Py_ssize_t MOST_CELLS = 1026;  // along one axis: 1024 and zeros at both ends
constexpr Py_ssize_t MOST_SAMPLES = 1 << 20;  // along one axis
constexpr int MOST_PARTS = 16;
constexpr int MOST_PLANES = 3;
constexpr size_t ALIGNMENT = 64;  // bytes, of scratch memory: a vector that crosses a cache line takes two loads

const Path* available[MOST_PATHS];  // the best first
int available_count = 0;

void find_paths() {
    available_count = 0;
#if defined(TUBES_AVX512)
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        available[available_count++] = &AVX512;
    if (__builtin_cpu_supports("avx2")) available[available_count++] = &AVX2;
#elif defined(TUBES_NEON)
    available[available_count++] = &NEON;
#endif
    available[available_count++] = &GENERIC;
}

// A buffer of another object, given back at the end of its scope.
class Buffer {
  public:
    Py_buffer view{};

    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() {
        if (view.obj) PyBuffer_Release(&view);
    }

    // Raises what the object raises where it has no such memory.
    bool get(PyObject* object, int flags) { return PyObject_GetBuffer(object, &view, flags | PyBUF_FORMAT) == 0; }

    bool is(const char* format, int dimensions) const {
        const char* found = view.format ? view.format : "B";
        if (*found == '<' || *found == '=' || *found == '@') ++found;
        return strcmp(found, format) == 0 && view.ndim == dimensions;
    }
};

bool refuse(const char* text) {
    PyErr_SetString(PyExc_ValueError, text);
    return false;
}

bool get_plane(PyObject* object, Buffer& buffer, Plane& plane, Py_ssize_t& height, Py_ssize_t& width,
               bool writable = true) {
    if (!buffer.get(object, writable ? PyBUF_STRIDED : PyBUF_STRIDED_RO)) return false;
    const Py_buffer& view = buffer.view;
    if (!buffer.is("B", 2) && !buffer.is("B", 3)) return refuse("a plane must be uint8, [rows, columns] or [rows, columns, channels]");
    height = view.shape[0], width = view.shape[1];
    const Py_ssize_t channels = view.ndim == 3 ? view.shape[2] : 1;
    if (channels < 1 || channels > 3) return refuse("a plane must have 1, 2 or 3 channels");
    if (height > MOST_SAMPLES || width > MOST_SAMPLES) return refuse("a plane may have 1048576 samples along an axis");
    const bool dense = width < 2 || (view.strides[1] == channels);
    const bool packed = view.ndim == 2 || channels < 2 || view.strides[2] == 1;
    if (!dense || !packed) return refuse("the samples of a row must lie side by side");
    if (height > 1 && view.strides[0] < width * channels) return refuse("rows must be apart by at least their length");
    plane = {(uint8_t*)view.buf, height > 1 ? view.strides[0] : 0, (int)channels, 0};
    return true;
}

// cells along this axis decide how far its numbers may go: half steps down, columns across.
bool get_axis(PyObject* object, Buffer& buffer, Axis& axis, bool cubic, Py_ssize_t limit) {
    if (!buffer.get(object, PyBUF_C_CONTIGUOUS)) return false;
    const Py_buffer& view = buffer.view;
    if (!buffer.is("H", 2) || view.shape[0] != (cubic ? 8 : 2)) return refuse("places must be uint16, [2, n] linear or [8, n] cubic");
    if (view.shape[1] > MOST_SAMPLES) return refuse("there may be 1048576 places along an axis");
    axis = {(const uint16_t*)view.buf, (int)view.shape[1]};
    const Py_ssize_t cells = view.shape[1] * (cubic ? 4 : 1);
    uint16_t most = 0;
    for (Py_ssize_t i = 0; i < cells; ++i) most = axis.data[i] > most ? axis.data[i] : most;
    return cells == 0 || most < limit || refuse("a place lies beyond the last cell");
}

bool get_table(PyObject* object, Buffer& buffer) {
    if (!buffer.get(object, PyBUF_C_CONTIGUOUS)) return false;
    if (buffer.view.len != (Py_ssize_t)sizeof(Table)) return refuse("the table must be one record of fixed.TABLE");
    const Table& table = *(const Table*)buffer.view.buf;
    if (table.first < 0 || table.first > LEVELS || table.bias < 0 || table.bias > 255 || table.top != 255)
        return refuse("the table must be for samples of 8 bits");
    int32_t bits = 0;
    for (int level = 0; level < LEVELS; ++level) {
        bits |= table.keep[level];
        for (int c = 0; c < 3; ++c) bits |= table.offset[c][level] < 0 ? ~table.offset[c][level] : table.offset[c][level];
    }
    return (uint32_t)bits >> 24 == 0 || refuse("the table keeps or adds too much");
}

PyObject* paths(PyObject*, PyObject*) {
    PyObject* names = PyTuple_New(available_count);
    for (int i = 0; names && i < available_count; ++i) {
        PyObject* name = PyUnicode_FromString(available[i]->name);
        if (!name || PyTuple_SetItem(names, i, name) < 0) {
            Py_DECREF(names);
            return nullptr;
        }
    }
    return names;
}

// Everything that one call draws, after the checks.
struct Work {
    const Path* path;
    Plane plane;
    Axis rows, columns;
    const Table* table;
    const void* cells;
    int height, width;
    bool cubic;
    int top, bottom;
};

int count_odd(const float* cells, int count) {
    int odd = 0;
    for (int i = 0; i < count; ++i) odd += !is_finite(cells[i]);
    return odd;
}

// Returns whether memory could be allocated. Runs without Python's lock.
bool run(const Work& work) {
    const int cells = work.height * work.width;
    const size_t quantised = work.cubic ? 0 : (cells * sizeof(uint16_t) + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    const size_t bytes = Scratch::bytes(work.columns.count, work.cubic ? work.height : 0);
    void* memory = malloc(ALIGNMENT + quantised + bytes);
    if (!memory) return false;
    char* aligned = (char*)(((uintptr_t)memory + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (work.cubic) {
        draw_cubic(*work.path, work.plane, (const int32_t*)work.cells, work.height, work.width, work.rows,
                   work.columns, *work.table, work.top, work.bottom, aligned);
    } else {
        const float* evidence = (const float*)work.cells;
        uint16_t* steps = (uint16_t*)aligned;
        for (int i = 0; i < cells; ++i) steps[i] = (uint16_t)quantized(evidence[i]);
        draw_linear(*work.path, work.plane, steps, work.height, work.width, work.rows, work.columns, *work.table,
                    work.top, work.bottom, aligned + quantised);
    }
    free(memory);
    return true;
}

constexpr char DRAW_DOC[] =
    "draw(path, planes, places, cells, table, band, bands) -> int\n\n"
    "Draws a crop on the planes of a picture, in place, and returns how many cells are no finite numbers.\n\n"
    "path: an index into paths(). planes: a tuple of uint8 [H, W] or [H, W, channels], writable. places: for each plane\n"
    "(top, left, rows, columns, channel): where the crop starts, uint16 places (fixed.py), and which channel of the\n"
    "table its first is. cells: float32 [h, w], or int32 coefficients [h, w] where places are cubic. table: a record of\n"
    "fixed.TABLE. Of `bands` bands of rows only number `band` is drawn. Raises ValueError for what does not fit,\n"
    "BufferError for what is no such memory.";

struct PlaneBuffers {
    Buffer plane, rows, columns;
};

// Adds one plane, and where it lies, to `work`, which has the cells already.
bool get_work(PyObject* plane_object, PyObject* place, PlaneBuffers& buffers, int band, int bands, Work& work) {
    int top, left, channel;
    PyObject *rows_object, *columns_object;
    Py_ssize_t height, width;
    if (!PyTuple_Check(place)) return refuse("a place must be a tuple");
    if (!PyArg_ParseTuple(place, "iiOOi:place", &top, &left, &rows_object, &columns_object, &channel)) return false;
    if (!get_plane(plane_object, buffers.plane, work.plane, height, width)) return false;
    const Py_ssize_t half_steps = work.cubic ? work.height : 2 * work.height - 1;
    if (!get_axis(rows_object, buffers.rows, work.rows, work.cubic, half_steps)) return false;
    if (!get_axis(columns_object, buffers.columns, work.columns, work.cubic, work.width)) return false;
    if (channel < 0 || channel + work.plane.channels > 3) return refuse("the table has 3 channels");
    if (top < 0 || left < 0 || top + (Py_ssize_t)work.rows.count > height ||
        left + (Py_ssize_t)work.columns.count > width)
        return refuse("the crop must lie within the plane");
    work.plane.channel = channel;
    work.plane.data += top * work.plane.pitch + (ptrdiff_t)left * work.plane.channels;
    work.top = (int)((int64_t)work.rows.count * band / bands);
    work.bottom = (int)((int64_t)work.rows.count * (band + 1) / bands);
    return true;
}

bool get_cells(PyObject* object, Buffer& buffer, Work& work) {
    if (!buffer.get(object, PyBUF_C_CONTIGUOUS)) return false;
    work.cubic = buffer.is("i", 2) && buffer.view.itemsize == 4;
    if (!work.cubic && !buffer.is("f", 2)) return refuse("cells must be float32 or int32, [h, w]");
    const Py_ssize_t* shape = buffer.view.shape;
    if (shape[0] < 1 || shape[1] < 1 || shape[0] > MOST_CELLS || shape[1] > MOST_CELLS)
        return refuse("there must be 1 to 1026 cells along an axis");
    work.cells = buffer.view.buf, work.height = (int)shape[0], work.width = (int)shape[1];
    return true;
}

PyObject* draw(PyObject*, PyObject* args) {
    int path, band, bands;
    PyObject *planes_object, *places_object, *cells_object, *table_object;
    if (!PyArg_ParseTuple(args, "iO!O!OOii:draw", &path, &PyTuple_Type, &planes_object, &PyTuple_Type, &places_object,
                          &cells_object, &table_object, &band, &bands))
        return nullptr;
    if (path < 0 || path >= available_count) return refuse("no such path"), nullptr;
    if (band < 0 || bands <= band || bands > MOST_SAMPLES) return refuse("there is no such band"), nullptr;
    const Py_ssize_t count = PyTuple_Size(planes_object);
    if (count < 1 || count > MOST_PLANES || PyTuple_Size(places_object) != count)
        return refuse("there must be 1 to 3 planes, and a place for each"), nullptr;
    Buffer cells, table;
    PlaneBuffers buffers[MOST_PLANES];
    Work works[MOST_PLANES];
    Work common{};
    common.path = available[path];
    if (!get_cells(cells_object, cells, common) || !get_table(table_object, table)) return nullptr;
    common.table = (const Table*)table.view.buf;
    for (Py_ssize_t i = 0; i < count; ++i) {
        works[i] = common;
        if (!get_work(PyTuple_GetItem(planes_object, i), PyTuple_GetItem(places_object, i), buffers[i], band, bands,
                      works[i]))
            return nullptr;
    }
    bool drawn = true;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; ++i)
        if (works[i].top < works[i].bottom && works[i].columns.count) drawn = run(works[i]) && drawn;
    Py_END_ALLOW_THREADS
    if (!drawn) return PyErr_NoMemory();
    return PyLong_FromLong(common.cubic ? 0 : count_odd((const float*)common.cells, common.height * common.width));
}

// (evidence [t, h, w] float32, slice, fraction, low, scale, none, share)
bool get_part(PyObject* item, Buffer& evidence, Part& part, Py_ssize_t cells[2]) {
    PyObject* object;
    int slice;
    if (!PyTuple_Check(item)) return refuse("a part must be a tuple");
    if (!PyArg_ParseTuple(item, "Oifffff:part", &object, &slice, &part.fraction, &part.low, &part.scale, &part.none,
                          &part.share))
        return false;
    if (!evidence.get(object, PyBUF_C_CONTIGUOUS)) return false;
    const Py_buffer& view = evidence.view;
    if (!evidence.is("f", 3) || view.shape[1] != cells[0] || view.shape[2] != cells[1])
        return refuse("evidence must be float32 [t, h, w], of the same h and w as what is made of it");
    if (slice < 0 || slice >= view.shape[0]) return refuse("there is no such slice");
    part.slice = (const float*)view.buf + (ptrdiff_t)slice * cells[0] * cells[1];
    part.next = slice + 1 < view.shape[0] ? part.slice + cells[0] * cells[1] : part.slice;
    return true;
}

constexpr char BLEND_DOC[] =
    "blend(parts, out) -> int\n\n"
    "Fills float32 [h, w] with the evidence at one frame, 0..1, and returns how many values were no finite numbers.\n\n"
    "parts: a list of up to 16 tuples (evidence float32 [t, h, w], slice, fraction towards the next slice, low, scale,\n"
    "what counts instead of values that are not finite, share). Defined by geometry.blend_cells.";

PyObject* blend(PyObject*, PyObject* args) {
    PyObject *parts_object, *out_object;
    if (!PyArg_ParseTuple(args, "OO:blend", &parts_object, &out_object)) return nullptr;
    if (!PyList_Check(parts_object)) return refuse("parts must be a list"), nullptr;
    const Py_ssize_t count = PyList_Size(parts_object);
    if (count > MOST_PARTS) return refuse("a frame may have 16 parts"), nullptr;
    Buffer out, evidence[MOST_PARTS];
    if (!out.get(out_object, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) return nullptr;
    if (!out.is("f", 2)) return refuse("out must be float32 [h, w]"), nullptr;
    Part parts[MOST_PARTS];
    for (Py_ssize_t i = 0; i < count; ++i)
        if (!get_part(PyList_GetItem(parts_object, i), evidence[i], parts[i], out.view.shape)) return nullptr;
    int odd = 0;
    const Py_ssize_t cells = out.view.shape[0] * out.view.shape[1];
    for (Py_ssize_t cell = 0; cell < cells; ++cell)
        ((float*)out.view.buf)[cell] = blended(parts, (int)count, (int)cell, &odd);
    return PyLong_FromLong(odd);
}

bool get_floats(PyObject* object, Buffer& buffer, Py_ssize_t rows, Py_ssize_t columns, const float*& data) {
    if (!buffer.get(object, PyBUF_C_CONTIGUOUS)) return false;
    if (!buffer.is("f", 2) || buffer.view.shape[0] != rows || (columns && buffer.view.shape[1] != columns))
        return refuse("weights must be float32, [n, taps], and the matrix [channels, 4]");
    data = (const float*)buffer.view.buf;
    return true;
}

// first: int32 [n], weights: float32 [n, taps]; all taps lie within `limit` samples.
bool get_taps(PyObject* first, PyObject* weights, Buffer buffers[2], Py_ssize_t count, Py_ssize_t limit, Taps& taps) {
    if (!buffers[0].get(first, PyBUF_C_CONTIGUOUS)) return false;
    if (!buffers[0].is("i", 1) || buffers[0].view.itemsize != 4 || buffers[0].view.shape[0] != count)
        return refuse("first taps must be int32, one for each row or column of what is made");
    if (!get_floats(weights, buffers[1], count, 0, taps.weights)) return false;
    taps.first = (const int32_t*)buffers[0].view.buf;
    taps.count = (int)count, taps.taps = (int)buffers[1].view.shape[1];
    if (buffers[1].view.shape[1] < 1 || buffers[1].view.shape[1] > limit) return refuse("there are too many taps");
    for (Py_ssize_t i = 0; i < count; ++i)
        if (taps.first[i] < 0 || taps.first[i] > limit - taps.taps || (i && taps.first[i] < taps.first[i - 1]))
            return refuse("taps must lie within the plane, in order");
    return true;
}

constexpr char SAMPLE_DOC[] =
    "sample(path, sources, matrix, out)\n\n"
    "Fills uint8 [n, h, w], n of 1 to 3, with a part of a picture, resized.\n\n"
    "sources: for each plane (plane, first rows, row weights, first columns, column weights), int32 [n] and float32\n"
    "[n, taps]. matrix: float32 [n, 4], from the planes' channels, up to 3, and 1 to what is made. Raises as `draw` does.";

PyObject* sample_planes(PyObject*, PyObject* args) {
    int path;
    PyObject *sources_object, *matrix_object, *out_object;
    if (!PyArg_ParseTuple(args, "iO!OO:sample", &path, &PyTuple_Type, &sources_object, &matrix_object, &out_object))
        return nullptr;
    if (path < 0 || path >= available_count) return refuse("no such path"), nullptr;
    Buffer matrix, out, planes[MOST_PLANES], taps[MOST_PLANES][4];
    if (!out.get(out_object, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) return nullptr;
    const Py_ssize_t* shape = out.view.shape;
    const Py_ssize_t count = PyTuple_Size(sources_object);
    if (!out.is("B", 3) || shape[0] < 1 || shape[0] > 3 || count < 1 || count > MOST_PLANES || out.view.len == 0 ||
        shape[1] > MOST_SAMPLES || shape[2] > MOST_SAMPLES)
        return refuse("1 to 3 planes make uint8 [1 to 3, h, w]"), nullptr;
    const Py_ssize_t height = shape[1], width = shape[2];
    const float* coefficients;
    if (!get_floats(matrix_object, matrix, shape[0], 4, coefficients)) return nullptr;
    Source sources[MOST_PLANES];
    int channels = 0;
    for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject *plane_object, *first_row, *rows, *first_column, *columns;
        PyObject* source = PyTuple_GetItem(sources_object, i);
        if (!PyTuple_Check(source)) return refuse("a source must be a tuple"), nullptr;
        if (!PyArg_ParseTuple(source, "OOOOO:source", &plane_object, &first_row, &rows, &first_column, &columns))
            return nullptr;
        Plane plane;
        Py_ssize_t lines, samples;
        if (!get_plane(plane_object, planes[i], plane, lines, samples, false)) return nullptr;
        sources[i] = {plane.data, plane.pitch, plane.channels, {}, {}};
        if (!get_taps(first_row, rows, taps[i], height, lines, sources[i].rows)) return nullptr;
        if (!get_taps(first_column, columns, taps[i] + 2, width, samples, sources[i].columns)) return nullptr;
        channels += plane.channels;
    }
    if (channels > 3) return refuse("the planes may have 3 channels together"), nullptr;
    float* memory = (float*)malloc(sample_floats(sources, (int)count, (int)width) * sizeof(float));
    if (!memory) return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    available[path]->sample(sources, (int)count, coefficients, (int)shape[0], (uint8_t*)out.view.buf, memory);
    Py_END_ALLOW_THREADS
    free(memory);
    return Py_NewRef(Py_None);
}

PyMethodDef methods[] = {
    {"paths", paths, METH_NOARGS, "paths() -> tuple[str, ...]\n\nWhat this processor can do, the best first."},
    {"draw", draw, METH_VARARGS, DRAW_DOC},
    {"blend", blend, METH_VARARGS, BLEND_DOC},
    {"sample", sample_planes, METH_VARARGS, SAMPLE_DOC},
    {nullptr, nullptr, 0, nullptr},
};

int execute(PyObject*) {
    find_paths();
    return 0;
}

PyModuleDef_Slot slots[] = {{Py_mod_exec, (void*)execute}, {0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_overlay", "The overlay's rows.", 0, methods, slots, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__overlay() {
    return PyModuleDef_Init(&definition);
}
