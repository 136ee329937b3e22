// What kernels and the runtime share: CUDA's vector types, and the functions that a kernel calls.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

// ---------------------------------------------------------------------------------------------------------------------
// Vector types, aligned as on the GPU.

#define CUDA_EMULATOR_VECTOR(scalar, name, alignment2, alignment4)                                                     \
    struct alignas(alignment2) name##2 {                                                                               \
        scalar x, y;                                                                                                   \
    };                                                                                                                 \
    struct name##3 {                                                                                                   \
        scalar x, y, z;                                                                                                \
    };                                                                                                                 \
    struct alignas(alignment4) name##4 {                                                                               \
        scalar x, y, z, w;                                                                                             \
    };                                                                                                                 \
    constexpr name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }                                            \
    constexpr name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; }                               \
    constexpr name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

CUDA_EMULATOR_VECTOR(unsigned char, uchar, 2, 4)
CUDA_EMULATOR_VECTOR(unsigned short, ushort, 4, 8)
CUDA_EMULATOR_VECTOR(int, int, 8, 16)
CUDA_EMULATOR_VECTOR(unsigned int, uint, 8, 16)
CUDA_EMULATOR_VECTOR(float, float, 8, 16)
CUDA_EMULATOR_VECTOR(double, double, 16, 16)
#undef CUDA_EMULATOR_VECTOR

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

// ---------------------------------------------------------------------------------------------------------------------
// What the runtime offers to kernels.

/// For code that the compiler must not instrument: what the runtime does in a kernel's name.
#define CUDA_EMULATOR_UNCHECKED __attribute__((no_sanitize("thread")))

namespace emulator {

#pragma GCC visibility push(default)

// Where the running thread is: `axis` is 0, 1 or 2 for x, y, z. Constant for a thread, so the compiler may ask once: one
// call of a kernel runs on behalf of one thread. Single numbers, since the compiler remembers no calls that give structs.
[[gnu::const]] unsigned int thread_index(unsigned int axis) noexcept;
[[gnu::const]] unsigned int block_index(unsigned int axis) noexcept;
[[gnu::const]] unsigned int block_dimension(unsigned int axis) noexcept;
[[gnu::const]] unsigned int grid_dimension(unsigned int axis) noexcept;
[[gnu::const]] unsigned int lane() noexcept;

// `file` and `line` say where the kernel called: threads must meet at the same place.
void sync_threads(const char* file, int line);
void sync_warp(unsigned int mask, const char* file, int line);
std::uint64_t shuffle(unsigned int mask, std::uint64_t value, unsigned int source, const char* file, int line);
unsigned int ballot(unsigned int mask, bool predicate, const char* file, int line);

/// Tells the checker of an atomic operation on `bytes` at `address`.
void atomic(const void* address, std::size_t bytes);

// The instructions that `device.cuh` writes in PTX.

void* dynamic_shared();

void cp_async(void* shared, const void* global, std::size_t bytes, bool valid);
void cp_async_commit();
void cp_async_wait(int pending);

/// Loads `count` 8x8 matrices of 16-bit elements into `fragments[0..count]`.
void ldmatrix(std::uint32_t* fragments, int count, bool transposed, const void* row, const char* file, int line);

/// Multiplies fragments with a depth of 8 (TF32) or 16 (bfloat16); adds to `d`.
void mma_tf32(float* d, const std::uint32_t* a, const std::uint32_t* b, const char* file, int line);
void mma_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, const char* file, int line);

#pragma GCC visibility pop

/// What the driver needs to launch a kernel: exported by the kernels' library as `cuda_emulator_kernel_NAME`.
struct Kernel {
    const char* name;
    /// Calls the kernel for one thread; one pointer for each parameter.
    void (*call)(void (*kernel)(), void* const* parameters);
    void (*kernel)();
    unsigned int parameter_count;
    const std::size_t* parameter_sizes;
    /// The first argument of `__launch_bounds__`, or 1024.
    unsigned int max_threads_per_block;
};

template <class... Parameters>
struct Signature {
    static constexpr std::size_t sizes[sizeof...(Parameters) + 1] = {sizeof(Parameters)..., 0};

    template <std::size_t... Index>
    CUDA_EMULATOR_UNCHECKED static void
    unpack(void (*kernel)(Parameters...), void* const* parameters, std::index_sequence<Index...>) {
        kernel(*static_cast<Parameters*>(parameters[Index])...);
    }

    CUDA_EMULATOR_UNCHECKED static void call(void (*kernel)(), void* const* parameters) {
        unpack(reinterpret_cast<void (*)(Parameters...)>(kernel), parameters, std::index_sequence_for<Parameters...>{});
    }
};

template <class... Parameters>
Kernel describe(const char* name, void (*kernel)(Parameters...), unsigned int max_threads = 1024, unsigned int = 1) {
    using Of = Signature<Parameters...>;
    return {name,      &Of::call,   reinterpret_cast<void (*)()>(kernel), static_cast<unsigned int>(sizeof...(Parameters)),
            Of::sizes, max_threads};
}

} // namespace emulator
