// Joseph's projection of the base rays of a symmetric scan, and its transpose, without a matrix.
//
// Arrays are the folded ones of symmetry.py: images (column, 1 + edge + 1, lanes) with a zero border along
// the interpolated axis and zero columns up to a multiple of 16, sinograms (angle, bin, lanes); a lane is
// one of the 8 copies of one image of the batch. A ray makes one step a column of the image, and reads or
// writes two neighbouring pixels of it, each with all its lanes at once. Strips of columns that fit the
// second-level cache are finished before the next is begun. Every output is summed in the same order
// whatever the number of lanes and threads, so results do not depend on either.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

constexpr int kStrip = 16;  // columns: their 32 lanes of some hundred pixels fit the second-level cache

struct Scan {
    int edge;              // pixels along each axis
    int num_angles;        // base angles, all below 45 degrees
    int num_bins;          // base bins
    double first_bin;      // detector coordinate of bin 0, in pixel edges
    double bin_spacing;    // in pixel edges
    double length;         // a pixel edge in the unit of path lengths
    const double* angles;  // rad
};

typedef float Vector8 __attribute__((vector_size(32)));
typedef float Vector16 __attribute__((vector_size(64)));
typedef int32_t Whole16 __attribute__((vector_size(64)));

// Where one ray crosses the columns of a strip: the lower pixel, and both interpolation weights.
union Floats {
    Vector16 vector;
    float each[kStrip];
};
union Wholes {
    Whole16 vector;
    int32_t each[kStrip];
};
struct Crossings {
    Wholes pixel;
    Floats lower, upper;
};

#if !defined(__x86_64__)
#define FOR_EACH_PROCESSOR
#define IS_FAST true
#elif defined(__linux__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define IS_FAST (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else  // the plain instructions of all x86 processors are slower here than the matrix
#define FOR_EACH_PROCESSOR
#define IS_FAST false
#endif
#define INLINE inline __attribute__((always_inline))

// Positions are clamped to the zero border, where both weights meet zeros. They are counted from a whole
// pixel near the entry, so that float32 holds them to a millionth of a pixel.
INLINE void cross(double entry, float slope, int edge, Crossings& crossings) {
    const Vector16 steps = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const double whole = std::floor(entry);
    const int32_t origin = int32_t(whole) + 1;  // in the bordered column
    const Vector16 low = Vector16{} - float(origin), high = low + float(edge + 1);
    Vector16 position = float(entry - whole) + slope * steps;
    position = position > low ? position : low;
    position = position < high ? position : high;
    Whole16 pixel = __builtin_convertvector(position, Whole16);  // towards zero
    pixel += __builtin_convertvector(pixel, Vector16) > position;  // true is -1: the floor
    const Whole16 last = Whole16{} + (edge - origin);
    pixel = pixel < last ? pixel : last;
    crossings.pixel.vector = pixel + origin;
    crossings.upper.vector = position - __builtin_convertvector(pixel, Vector16);
    crossings.lower.vector = 1.0f - crossings.upper.vector;
}

// A strip of columns seen from one angle: the bins whose rays meet it, and where the first ray enters.
struct View {
    int begin, end;
    double entry, entry_spacing, slope;
    float weight;
};

INLINE View view_of(const Scan& scan, int angle, int column) {
    const double cosine = std::cos(scan.angles[angle]), sine = std::sin(scan.angles[angle]);
    const double centre = 0.5 * (scan.edge - 1);
    View view;
    view.slope = -sine / cosine;
    view.entry_spacing = scan.bin_spacing / cosine;
    view.entry = scan.first_bin / cosine + centre + view.slope * (column - centre);
    view.weight = float(scan.length / cosine);
    const double falls = view.slope * (kStrip - 1);  // not positive: rays run towards smaller pixels
    const double first = std::floor((-1.0 - view.entry) / view.entry_spacing);
    const double last = std::ceil((scan.edge - view.entry - falls) / view.entry_spacing);
    view.begin = int(std::min(std::max(first, 0.0), double(scan.num_bins)));
    view.end = int(std::min(std::max(last + 1.0, 0.0), double(scan.num_bins)));
    return view;
}

// Add to the sinogram of one angle what the strip of columns starting at `column` gives.
template <typename Vector, int kVectors>
INLINE void project_strip(const Scan& scan, const Vector* image, Vector* sinogram, int angle, int column) {
    const View view = view_of(scan, angle, column);
    const std::ptrdiff_t column_stride = std::ptrdiff_t(scan.edge + 2) * kVectors;
    const Vector* strip = image + column * column_stride;
    Crossings crossings;
    for (int bin = view.begin; bin < view.end; ++bin) {
        cross(view.entry + view.entry_spacing * bin, float(view.slope), scan.edge, crossings);
        // Four sums a vector, since an addition takes several cycles and a sum waits for each of its own.
        Vector even_lower[kVectors] = {}, even_upper[kVectors] = {};
        Vector odd_lower[kVectors] = {}, odd_upper[kVectors] = {};
        for (int step = 0; step < kStrip; step += 2) {
            const Vector* even = strip + step * column_stride + crossings.pixel.each[step] * kVectors;
            const Vector* odd = strip + (step + 1) * column_stride + crossings.pixel.each[step + 1] * kVectors;
            for (int v = 0; v < kVectors; ++v) {
                even_lower[v] += crossings.lower.each[step] * even[v];
                even_upper[v] += crossings.upper.each[step] * even[kVectors + v];
                odd_lower[v] += crossings.lower.each[step + 1] * odd[v];
                odd_upper[v] += crossings.upper.each[step + 1] * odd[kVectors + v];
            }
        }
        Vector* output = sinogram + (std::ptrdiff_t(angle) * scan.num_bins + bin) * kVectors;
        for (int v = 0; v < kVectors; ++v)
            output[v] += view.weight * ((even_lower[v] + odd_lower[v]) + (even_upper[v] + odd_upper[v]));
    }
}

// Transpose of project_strip: add what one angle gives to the strip.
template <typename Vector, int kVectors>
INLINE void backproject_strip(const Scan& scan, Vector* image, const Vector* sinogram, int angle, int column) {
    const View view = view_of(scan, angle, column);
    const std::ptrdiff_t column_stride = std::ptrdiff_t(scan.edge + 2) * kVectors;
    Vector* strip = image + column * column_stride;
    Crossings crossings;
    for (int bin = view.begin; bin < view.end; ++bin) {
        cross(view.entry + view.entry_spacing * bin, float(view.slope), scan.edge, crossings);
        const Vector* input = sinogram + (std::ptrdiff_t(angle) * scan.num_bins + bin) * kVectors;
        Vector value[kVectors];
        for (int v = 0; v < kVectors; ++v) value[v] = view.weight * input[v];
        for (int step = 0; step < kStrip; ++step) {
            Vector* pixel = strip + step * column_stride + crossings.pixel.each[step] * kVectors;
            for (int v = 0; v < kVectors; ++v) {
                pixel[v] += crossings.lower.each[step] * value[v];
                pixel[kVectors + v] += crossings.upper.each[step] * value[v];
            }
        }
    }
}

// All strips for the angles [begin, end): threads share the angles, so that each owns its outputs.
template <typename Vector, int kVectors>
INLINE void project_angles(const Scan& scan, const float* image, float* sinogram, int begin, int end) {
    for (int column = 0; column < scan.edge; column += kStrip)
        for (int angle = begin; angle < end; ++angle)
            project_strip<Vector, kVectors>(scan, (const Vector*)image, (Vector*)sinogram, angle, column);
}

// All angles for the strips [begin, end): threads share the strips.
template <typename Vector, int kVectors>
INLINE void backproject_strips(const Scan& scan, float* image, const float* sinogram, int begin, int end) {
    for (int column = begin * kStrip; column < std::min(end * kStrip, scan.edge); column += kStrip)
        for (int angle = 0; angle < scan.num_angles; ++angle)
            backproject_strip<Vector, kVectors>(scan, (Vector*)image, (const Vector*)sinogram, angle, column);
}

// The processor's best version is chosen as the library loads; templates cannot be cloned themselves.
#define DEFINE_KERNELS(LANES, VECTOR, COUNT)                                                                 \
    FOR_EACH_PROCESSOR void project_##LANES(const Scan& scan, const float* image, float* sinogram, int begin, \
                                            int end) {                                                       \
        project_angles<VECTOR, COUNT>(scan, image, sinogram, begin, end);                                    \
    }                                                                                                        \
    FOR_EACH_PROCESSOR void backproject_##LANES(const Scan& scan, float* image, const float* sinogram,       \
                                                int begin, int end) {                                        \
        backproject_strips<VECTOR, COUNT>(scan, image, sinogram, begin, end);                                \
    }

DEFINE_KERNELS(8, Vector8, 1)
DEFINE_KERNELS(16, Vector16, 1)
DEFINE_KERNELS(32, Vector16, 2)

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

}  // namespace

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Whether this processor runs a version that is faster than the sparse matrix.
EXPORT int taskct_is_fast() { return IS_FAST; }

// Lanes must be 8, 16 or 32; arrays must be aligned to 64 bytes; the output must be zero at first.
EXPORT void taskct_project(int edge, int num_angles, int num_bins, double first_bin, double bin_spacing, double length,
                           const double* angles, int lanes, int threads, const float* image, float* sinogram) {
    const Scan scan{edge, num_angles, num_bins, first_bin, bin_spacing, length, angles};
    const auto kernel = lanes == 8 ? project_8 : lanes == 16 ? project_16 : project_32;
    share(num_angles, threads, [&](int begin, int end) { kernel(scan, image, sinogram, begin, end); });
}

EXPORT void taskct_backproject(int edge, int num_angles, int num_bins, double first_bin, double bin_spacing,
                               double length, const double* angles, int lanes, int threads, float* image,
                               const float* sinogram) {
    const Scan scan{edge, num_angles, num_bins, first_bin, bin_spacing, length, angles};
    const auto kernel = lanes == 8 ? backproject_8 : lanes == 16 ? backproject_16 : backproject_32;
    const int strips = (edge + kStrip - 1) / kStrip;
    share(strips, threads, [&](int begin, int end) { kernel(scan, image, sinogram, begin, end); });
}

// An empty Python module, so that setuptools builds and installs this file; ctypes calls it.
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit__kernel(void) { return PyModule_Create(&module); }
