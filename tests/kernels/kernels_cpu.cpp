// The CUDA kernels on the CPU, and beside them the C++ path that they must equal, for ctypes.

#include "bodies.h"

#include "../../engine/kernels/plane.h"

using namespace tubes;

extern "C" {

// What shared memory holds before a block, from now on: see cuda_shim.h.
void set_rubbish(uint32_t rubbish) { shim::rubbish = rubbish; }

// As cuLaunchKernel: `arguments` holds a pointer to each. Returns 0, or 1 for a name that is no kernel.
int run_kernel(const char* name, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
               void** arguments, int backwards) {
    const auto found = bodies().find(name);
    if (found == bodies().end()) return 1;
    shim::launch({gx, gy, gz}, {bx, by, bz}, backwards, [&] { found->second.run(arguments); });
    return 0;
}

// The C++ path, generic, on a job as the GPU gets it. What it has no rows for is done here, sample by sample, from the
// same steps: 16-bit samples, and alpha.
void run_twin(const Job* job, int is_cubic) {
    const int height = job->ringed_height(), width = job->ringed_width(), cells = job->height * job->width;
    std::vector<uint16_t> quantised(height * width);  // zeros where no cell is
    for (int i = 0, odd = 0; i < cells && !is_cubic; ++i) {
        const int place = (job->above + i / job->width) * width + job->before + i % job->width;
        quantised[place] = (uint16_t)quantized(blended(job->parts, job->part_count, i, &odd));
        if (i + 1 == cells && job->odd) *job->odd += odd;
    }
    for (int index = 0; index < job->plane_count; ++index) {
        const PlaneJob& plane = job->planes[index];
        const Axis down = {plane.down, plane.rows}, across = {plane.across, plane.columns};
        std::vector<char> scratch(Scratch::bytes(plane.columns, is_cubic ? job->height : 0) + 64);
        const bool plain = plane.sample_bytes == 1 && plane.channels < 4;
        // else the levels are drawn first, as a picture, with a table that says nothing else
        Table levels = *job->table;
        std::vector<uint8_t> picture(plain ? 0 : (size_t)plane.rows * plane.columns);
        for (int level = 0; level < LEVELS; ++level) levels.keep[level] = 0, levels.offset[0][level] = level * 256;
        levels.first = 0, levels.top = 255;
        const Plane to = plain ? Plane{plane.data, (ptrdiff_t)plane.pitch, plane.channels, plane.channel}
                               : Plane{picture.data(), plane.columns, 1, 0};
        const Table& table = plain ? *job->table : levels;
        if (is_cubic)
            draw_cubic(GENERIC, to, job->coefficients, job->height, job->width, down, across, table, 0, plane.rows,
                       scratch.data());
        else
            draw_linear(GENERIC, to, quantised.data(), height, width, down, across, table, 0, plane.rows,
                        scratch.data());
        if (plain) continue;
        for (int y = 0; y < plane.rows; ++y)
            for (int x = 0; x < plane.columns; ++x) {
                const int level = picture[(size_t)y * plane.columns + x];
                if (level < job->table->first) continue;
                uint8_t* column = plane.data + y * plane.pitch + (ptrdiff_t)x * plane.channels * plane.sample_bytes;
                for (int c = 0; c < std::min(plane.channels, 3); ++c)
                    if (plane.sample_bytes == 1) {
                        column[c] = (uint8_t)mixed(*job->table, plane.channel + c, level, column[c]);
                    } else {
                        uint16_t& sample = ((uint16_t*)column)[c];
                        sample = (uint16_t)(mixed(*job->table, plane.channel + c, level, sample >> 6) << 6);
                    }
            }
    }
}

int size_of(const char* name) {
    const auto is = [&](const char* other) { return strcmp(name, other) == 0; };
    return is("Jobs") ? sizeof(Jobs) : is("Job") ? sizeof(Job) : is("PlaneJob") ? sizeof(PlaneJob)
         : is("Part") ? sizeof(Part) : is("Table") ? sizeof(Table) : is("Shot") ? sizeof(Shot) : is("Gathered") ? sizeof(Gathered)
         : is("Marks") ? sizeof(Marks) : is("Fit") ? sizeof(Fit) : -1;
}

uint16_t half_of(float value) { return to_half(value); }
float of_half(uint16_t bits) { return from_half(bits); }
}
