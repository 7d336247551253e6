// Joseph's projection of the base rays of a symmetric scan, and its transpose, without a matrix.
//
// Arrays are the folded ones of symmetry.py: images (column, 1 + edge + 1, lanes) with a zero border along
// the interpolated axis and zero columns up to a multiple of 8, sinograms (angle, bin, lanes); a lane is
// one of the 8 copies of one image of the batch. A ray makes one step a column of the image, and reads or
// writes two neighbouring pixels of it, each with all its lanes at once.
//
// Work is ordered by tiles: some neighbouring bins of some neighbouring angles cross the same few pixels of
// a strip of columns, which stay in the first-level cache meanwhile. Every output is summed in the same
// order whatever the number of lanes and threads and the width of the vectors, so results do not depend on
// them (those of the baseline instructions, which may lack a fused multiplication and addition, excepted).

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

constexpr int kStrip = 8;                        // columns
constexpr int kTileBins = 16, kTileAngles = 16;  // with 32 lanes, the pixels of a tile take some 40 kB
constexpr std::int64_t kWorkAThread = 1 << 21;   // multiplications for which a thread is worth its start

struct Scan {
    int edge;            // pixels along each axis
    int num_angles;      // base angles, all below 45 degrees
    int num_bins;        // base bins
    const double* rays;  // angle by angle, what Ray holds
};

// The ray of bin 0 at one angle enters column 0 at pixel `entry`; each next bin's does `spacing` above, and
// rays fall by `-slope` a column. `length` is that of the ray in one column, in the unit of path lengths.
struct Ray {
    double entry, spacing, slope, length;
};

typedef float Vector8 __attribute__((vector_size(32)));
typedef float Vector16 __attribute__((vector_size(64)));
typedef int32_t Whole8 __attribute__((vector_size(32)));

// Where one ray crosses the columns of a strip: the lower pixel, in bytes from the strip's first, and the
// interpolation weights of it and the next. Stored, since a load broadcasts an element in one instruction.
struct Crossings {
    alignas(32) int32_t offset[kStrip];
    alignas(32) float lower[kStrip];
    alignas(32) float upper[kStrip];
};

#define INLINE inline __attribute__((always_inline))

INLINE Ray ray_of(const Scan& scan, int angle) {
    const double* ray = scan.rays + 4 * std::ptrdiff_t(angle);
    return {ray[0], ray[1], ray[2], ray[3]};
}

// Positions are counted from a whole pixel near the entry, so that float32 holds them to a millionth of a
// pixel. Those outside the image are clamped to the zero border, where both weights meet zeros.
template <int kPixelBytes>
INLINE void cross(double entry, double slope, int edge, Crossings& crossings) {
    const Vector8 steps = {0, 1, 2, 3, 4, 5, 6, 7};
    const Whole8 columns = {0, 1, 2, 3, 4, 5, 6, 7};
    const double whole = std::floor(entry);
    const int32_t origin = int32_t(whole) + 1;  // in the bordered column
    Vector8 position = float(entry - whole) + float(slope) * steps;
    const bool inside = entry + slope * (kStrip - 1) > -0.99 && entry < edge - 0.01;
    if (!inside) {
        const Vector8 low = Vector8{} - float(origin), high = low + float(edge + 1);
        position = position > low ? position : low;
        position = position < high ? position : high;
    }
    Whole8 pixel = __builtin_convertvector(position, Whole8);  // towards zero
    pixel += __builtin_convertvector(pixel, Vector8) > position;  // true is -1: the floor
    if (!inside) {
        const Whole8 last = Whole8{} + (edge - origin);
        pixel = pixel < last ? pixel : last;
    }
    const Vector8 upper = position - __builtin_convertvector(pixel, Vector8);
    *(Whole8*)crossings.offset = (pixel + origin + columns * (edge + 2)) * kPixelBytes;
    *(Vector8*)crossings.upper = upper;
    *(Vector8*)crossings.lower = 1.0f - upper;
}

struct Range {
    int begin, end;
};

// The bins of a tile, from `first`, whose rays at an angle may meet the strip that they enter at `entry`.
INLINE Range bins_meeting(const Scan& scan, const Ray& ray, double entry, int first) {
    const double last = std::min(first + kTileBins, scan.num_bins);
    const double lowest = (-1.0 - entry) / ray.spacing;
    const double highest = (scan.edge - entry - ray.slope * (kStrip - 1)) / ray.spacing + 1.0;
    return {int(std::min(std::max(lowest, double(first)), last)),
            int(std::max(std::min(highest, last), double(first)))};
}

// What the rays of one angle's bins of a tile have in common with a strip of columns, and their crossings.
struct Bundle {
    Range bins;
    float length;
    Crossings crossings[kTileBins];
};

template <int kPixelBytes>
INLINE void cross_strip(const Scan& scan, int angle, int first_bin, int column, Bundle& bundle) {
    const Ray ray = ray_of(scan, angle);
    const double entry = ray.entry + ray.slope * column;
    bundle.bins = bins_meeting(scan, ray, entry, first_bin);
    bundle.length = float(ray.length);
    Crossings* crossings = bundle.crossings;
    for (int bin = bundle.bins.begin; bin < bundle.bins.end; ++bin)
        cross<kPixelBytes>(entry + ray.spacing * bin, ray.slope, scan.edge, *crossings++);
}

// Add to the sinogram of one angle's bins what the strip of columns starting at `column` gives.
template <typename Vector, int kVectors>
INLINE void project_strip(const Scan& scan, const Vector* image, Vector* sinogram, int angle, int bin,
                          int column) {
    Bundle bundle;
    cross_strip<kVectors * sizeof(Vector)>(scan, angle, bin, column, bundle);
    const char* strip = (const char*)(image + column * std::ptrdiff_t(scan.edge + 2) * kVectors);
    Vector* output = sinogram + (std::ptrdiff_t(angle) * scan.num_bins + bundle.bins.begin) * kVectors;
    const int count = bundle.bins.end - bundle.bins.begin;
    for (int bin = 0; bin < count; ++bin, output += kVectors) {
        const Crossings& crossings = bundle.crossings[bin];
        Vector lower[kVectors] = {}, upper[kVectors] = {};
#pragma GCC unroll 8
        for (int step = 0; step < kStrip; ++step) {
            const Vector* pixel = (const Vector*)(strip + crossings.offset[step]);
            for (int v = 0; v < kVectors; ++v) {
                lower[v] += crossings.lower[step] * pixel[v];
                upper[v] += crossings.upper[step] * pixel[kVectors + v];
            }
        }
        for (int v = 0; v < kVectors; ++v) output[v] += bundle.length * (lower[v] + upper[v]);
    }
}

// Transpose of project_strip: add what one angle's bins give to the strip.
template <typename Vector, int kVectors>
INLINE void backproject_strip(const Scan& scan, Vector* image, const Vector* sinogram, int angle, int bin,
                              int column) {
    Bundle bundle;
    cross_strip<kVectors * sizeof(Vector)>(scan, angle, bin, column, bundle);
    char* strip = (char*)(image + column * std::ptrdiff_t(scan.edge + 2) * kVectors);
    const Vector* input = sinogram + (std::ptrdiff_t(angle) * scan.num_bins + bundle.bins.begin) * kVectors;
    const int count = bundle.bins.end - bundle.bins.begin;
    for (int bin = 0; bin < count; ++bin, input += kVectors) {
        const Crossings& crossings = bundle.crossings[bin];
        Vector value[kVectors];
        for (int v = 0; v < kVectors; ++v) value[v] = bundle.length * input[v];
#pragma GCC unroll 8
        for (int step = 0; step < kStrip; ++step) {
            Vector* pixel = (Vector*)(strip + crossings.offset[step]);
            for (int v = 0; v < kVectors; ++v) {
                pixel[v] += crossings.lower[step] * value[v];
                pixel[kVectors + v] += crossings.upper[step] * value[v];
            }
        }
    }
}

// The angles [begin, end): threads share the angles, so that each owns its outputs.
template <typename Vector, int kVectors>
INLINE void project_angles(const Scan& scan, const float* pixels, float* bins, int begin, int end) {
    const Vector* image = (const Vector*)pixels;
    Vector* sinogram = (Vector*)bins;
    for (int first = begin; first < end; first += kTileAngles)
        for (int bin = 0; bin < scan.num_bins; bin += kTileBins)
            for (int column = 0; column < scan.edge; column += kStrip)
                for (int angle = first; angle < std::min(first + kTileAngles, end); ++angle)
                    project_strip<Vector, kVectors>(scan, image, sinogram, angle, bin, column);
}

// All angles for the strips [begin, end): threads share the strips.
template <typename Vector, int kVectors>
INLINE void backproject_strips(const Scan& scan, float* pixels, const float* bins, int begin, int end) {
    Vector* image = (Vector*)pixels;
    const Vector* sinogram = (const Vector*)bins;
    for (int column = begin * kStrip; column < std::min(end * kStrip, scan.edge); column += kStrip)
        for (int first = 0; first < scan.num_angles; first += kTileAngles)
            for (int bin = 0; bin < scan.num_bins; bin += kTileBins)
                for (int angle = first; angle < std::min(first + kTileAngles, scan.num_angles); ++angle)
                    backproject_strip<Vector, kVectors>(scan, image, sinogram, angle, bin, column);
}

// For 1 to 4 images, whose lanes fill one vector each, or one `Wide` vector by twos.
template <typename Wide>
INLINE void project_images(const Scan& scan, int images, const float* image, float* sinogram, int begin,
                           int end) {
    constexpr int kTwo = 2 * sizeof(Vector8) / sizeof(Wide);
    if (images == 1) project_angles<Vector8, 1>(scan, image, sinogram, begin, end);
    if (images == 2) project_angles<Wide, kTwo>(scan, image, sinogram, begin, end);
    if (images == 3) project_angles<Vector8, 3>(scan, image, sinogram, begin, end);
    if (images == 4) project_angles<Wide, 2 * kTwo>(scan, image, sinogram, begin, end);
}

template <typename Wide>
INLINE void backproject_images(const Scan& scan, int images, float* image, const float* sinogram, int begin,
                               int end) {
    constexpr int kTwo = 2 * sizeof(Vector8) / sizeof(Wide);
    if (images == 1) backproject_strips<Vector8, 1>(scan, image, sinogram, begin, end);
    if (images == 2) backproject_strips<Wide, kTwo>(scan, image, sinogram, begin, end);
    if (images == 3) backproject_strips<Vector8, 3>(scan, image, sinogram, begin, end);
    if (images == 4) backproject_strips<Wide, 2 * kTwo>(scan, image, sinogram, begin, end);
}

// Both operations with the instructions of one kind of processor.
#define DEFINE_KERNEL(NAME, TARGET, WIDE)                                                                     \
    TARGET void project_##NAME(const Scan& scan, int images, const float* image, float* sinogram, int begin,  \
                               int end) {                                                                     \
        project_images<WIDE>(scan, images, image, sinogram, begin, end);                                      \
    }                                                                                                         \
    TARGET void backproject_##NAME(const Scan& scan, int images, float* image, const float* sinogram,         \
                                   int begin, int end) {                                                      \
        backproject_images<WIDE>(scan, images, image, sinogram, begin, end);                                  \
    }

struct Kernel {
    const char* name;
    bool (*runs_here)();
    void (*project)(const Scan&, int, const float*, float*, int, int);
    void (*backproject)(const Scan&, int, float*, const float*, int, int);
};

// On x86 the baseline has vectors of 4, and no fused multiplication and addition.
DEFINE_KERNEL(baseline, , Vector8)
#if defined(__x86_64__)
DEFINE_KERNEL(avx2, __attribute__((target("avx2,fma"))), Vector8)
DEFINE_KERNEL(avx512, __attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))), Vector16)

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
bool lacks_avx2() { return !has_avx2(); }

const Kernel kKernels[] = {{"avx512", has_avx512, project_avx512, backproject_avx512},
                           {"avx2", has_avx2, project_avx2, backproject_avx2},
                           {"baseline", lacks_avx2, project_baseline, backproject_baseline}};
#else
bool always() { return true; }

const Kernel kKernels[] = {{"baseline", always, project_baseline, backproject_baseline}};
#endif
constexpr int kNumKernels = sizeof(kKernels) / sizeof(Kernel);

// Share [0, items) among threads.
template <typename Work>
void share(int items, int threads, Work work) {
    threads = std::max(1, std::min(threads, items));
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t)
        others.emplace_back([=] { work(items * t / threads, items * (t + 1) / threads); });
    work(0, items / threads);
    for (std::thread& other : others) other.join();
}

int worthwhile_threads(const Scan& scan, int images, int threads) {
    const std::int64_t work = std::int64_t(scan.edge) * scan.num_angles * scan.num_bins * images * 8;
    return int(std::min<std::int64_t>(threads, 1 + work / kWorkAThread));
}

}  // namespace

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

// KERNEL_VERSION of kernel.py: what calls this library must be of its time.
EXPORT int taskct_kernel_version() { return 2; }

EXPORT int taskct_num_kernels() { return kNumKernels; }

EXPORT const char* taskct_kernel_name(int kernel) { return kKernels[kernel].name; }

// Whether a kernel is a candidate here: the processor has its instructions, and for the baseline no better ones.
EXPORT int taskct_kernel_runs_here(int kernel) { return kKernels[kernel].runs_here(); }

EXPORT const char* taskct_compiler() {
#if defined(__clang__)
    return __VERSION__;
#else
    return "GCC " __VERSION__;
#endif
}

// Images must be 1 to 4; arrays must be aligned to 64 bytes; the output must be zero at first.
EXPORT void taskct_project(int kernel, int edge, int num_angles, int num_bins, const double* rays, int images,
                           int threads, const float* image, float* sinogram) {
    const Scan scan{edge, num_angles, num_bins, rays};
    share(num_angles, worthwhile_threads(scan, images, threads), [&](int begin, int end) {
        kKernels[kernel].project(scan, images, image, sinogram, begin, end);
    });
}

EXPORT void taskct_backproject(int kernel, int edge, int num_angles, int num_bins, const double* rays, int images,
                               int threads, float* image, const float* sinogram) {
    const Scan scan{edge, num_angles, num_bins, rays};
    share((edge + kStrip - 1) / kStrip, worthwhile_threads(scan, images, threads), [&](int begin, int end) {
        kKernels[kernel].backproject(scan, images, image, sinogram, begin, end);
    });
}

// An empty Python module, so that setuptools builds and installs this file; ctypes calls it.
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_kernel", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit__kernel(void) { return PyModule_Create(&module); }
