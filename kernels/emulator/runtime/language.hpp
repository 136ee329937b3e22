// The CUDA language for a host C++ compiler: this file is included before every kernel (`-include language.hpp`).
//
// A kernel becomes an ordinary function. Each CUDA thread calls it on a stack of its own (see scheduler.hpp), so the
// built-in variables are function calls that ask which thread is running. What is missing here is missing on purpose,
// so that a kernel that uses it does not compile: float atomics, partial-mask collectives' helpers, grid-wide barriers.
#pragma once

#include "api.hpp"

#define CUDA_EMULATOR 1

// ---------------------------------------------------------------------------------------------------------------------
// Qualifiers.

#ifdef CUDA_EMULATOR_LIST_KERNELS
// The builder finds the kernels of a file by these words in the preprocessed text.
#define __global__ CUDA_EMULATOR_GLOBAL
#define __launch_bounds__(...) CUDA_EMULATOR_LAUNCH_BOUNDS(__VA_ARGS__)
#else
#define __global__
#define __launch_bounds__(...)
#endif
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __grid_constant__

// Shared memory is one static variable, since one block runs at a time. The runtime finds these variables, with names
// and sizes, in the symbol table of the kernels' library. When checking, a gap before each one makes an index past its
// end fall on nobody's memory instead of on its neighbour.
#ifdef CUDA_EMULATOR_CHECKED
#define CUDA_EMULATOR_JOIN_(a, b) a##b
#define CUDA_EMULATOR_JOIN(a, b) CUDA_EMULATOR_JOIN_(a, b)
#define __shared__                                                                                                     \
    static char CUDA_EMULATOR_JOIN(cuda_emulator_gap_, __COUNTER__)[256] __attribute__((used, aligned(16)));           \
    static
#else
#define __shared__ static
#endif

/// The builder writes one of these for each kernel, after the text of its file.
#define CUDA_EMULATOR_EXPORT(name, ...)                                                                                \
    extern "C" {                                                                                                       \
    extern const emulator::Kernel cuda_emulator_kernel_##name;                                                         \
    const emulator::Kernel cuda_emulator_kernel_##name = emulator::describe(#name, &name __VA_OPT__(, ) __VA_ARGS__);  \
    }

namespace emulator {
// Questions for axes that are not used are removed by the compiler.
inline uint3 thread_index() { return {thread_index(0), thread_index(1), thread_index(2)}; }
inline uint3 block_index() { return {block_index(0), block_index(1), block_index(2)}; }
inline dim3 block_dimensions() { return {block_dimension(0), block_dimension(1), block_dimension(2)}; }
inline dim3 grid_dimensions() { return {grid_dimension(0), grid_dimension(1), grid_dimension(2)}; }
} // namespace emulator

#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_dimensions())
#define gridDim (emulator::grid_dimensions())
#define warpSize 32

// ---------------------------------------------------------------------------------------------------------------------
// Barriers and warp collectives.

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulator::sync_threads(file, line);
}

inline void __syncwarp(unsigned int mask = 0xffffffffu, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
    emulator::sync_warp(mask, file, line);
}

// Fences order nothing that the checker would count: blocks of one launch must not talk to each other.
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace emulator {
template <class T>
T shuffle_value(unsigned int mask, T value, unsigned int source, const char* file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = shuffle(mask, bits, source, file, line);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
} // namespace emulator

template <class T>
T __shfl_sync(unsigned int mask, T value, int source, int width = 32, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
    const unsigned int segment = emulator::lane() & ~(width - 1u);
    return emulator::shuffle_value(mask, value, segment | (source & (width - 1u)), file, line);
}

template <class T>
T __shfl_xor_sync(unsigned int mask, T value, int lane_mask, int width = 32, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
    const unsigned int lane = emulator::lane(), source = lane ^ static_cast<unsigned int>(lane_mask);
    return emulator::shuffle_value(mask, value, source > (lane | (width - 1u)) ? lane : source, file, line);
}

template <class T>
T __shfl_down_sync(unsigned int mask, T value, unsigned int delta, int width = 32, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
    const unsigned int lane = emulator::lane(), source = lane + delta;
    return emulator::shuffle_value(mask, value, source > (lane | (width - 1u)) ? lane : source, file, line);
}

template <class T>
T __shfl_up_sync(unsigned int mask, T value, unsigned int delta, int width = 32, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
    const unsigned int lane = emulator::lane(), first = lane & ~(width - 1u);
    return emulator::shuffle_value(mask, value, lane < first + delta ? lane : lane - delta, file, line);
}

inline unsigned int __ballot_sync(unsigned int mask, int predicate, const char* file = __builtin_FILE(),
                                  int line = __builtin_LINE()) {
    return emulator::ballot(mask, predicate != 0, file, line);
}

inline int __any_sync(unsigned int mask, int predicate, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
    return emulator::ballot(mask, predicate != 0, file, line) != 0;
}

inline int __all_sync(unsigned int mask, int predicate, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
    return emulator::ballot(mask, predicate == 0, file, line) == 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Atomics on integers. Float atomics are left out: their order, and so the sum's bits, would differ between runs.
// One CUDA thread runs at a time, so a plain read and write is atomic; it stays unseen by the race checker, which is
// told of an atomic operation instead.

#define CUDA_EMULATOR_ATOMIC(type, name, expression)                                                                   \
    CUDA_EMULATOR_UNCHECKED inline type name(type* address, type value) {                               \
        emulator::atomic(address, sizeof(type));                                                                       \
        const type old = *address;                                                                                     \
        *address = (expression);                                                                                       \
        return old;                                                                                                    \
    }
#define CUDA_EMULATOR_ATOMICS(type)                                                                                    \
    CUDA_EMULATOR_ATOMIC(type, atomicAdd, static_cast<type>(old + value))                                              \
    CUDA_EMULATOR_ATOMIC(type, atomicMax, value > old ? value : old)                                                   \
    CUDA_EMULATOR_ATOMIC(type, atomicMin, value < old ? value : old)                                                   \
    CUDA_EMULATOR_ATOMIC(type, atomicOr, old | value)                                                                  \
    CUDA_EMULATOR_ATOMIC(type, atomicAnd, old & value)                                                                 \
    CUDA_EMULATOR_ATOMIC(type, atomicExch, value)                                                                      \
    CUDA_EMULATOR_UNCHECKED inline type atomicCAS(type* address, type expected, type value) {           \
        emulator::atomic(address, sizeof(type));                                                                       \
        const type old = *address;                                                                                     \
        *address = old == expected ? value : old;                                                                      \
        return old;                                                                                                    \
    }
CUDA_EMULATOR_ATOMICS(int)
CUDA_EMULATOR_ATOMICS(unsigned int)
CUDA_EMULATOR_ATOMICS(unsigned long long)
#undef CUDA_EMULATOR_ATOMICS
#undef CUDA_EMULATOR_ATOMIC

// ---------------------------------------------------------------------------------------------------------------------
// Built-in functions.

template <class T>
T __ldg(const T* pointer) {
    return *pointer;
}

inline int __float_as_int(float value) { return __builtin_bit_cast(int, value); }
inline unsigned int __float_as_uint(float value) { return __builtin_bit_cast(unsigned int, value); }
inline float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
inline float __uint_as_float(unsigned int bits) { return __builtin_bit_cast(float, bits); }

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned int min(unsigned int a, unsigned int b) { return a < b ? a : b; }
inline unsigned int max(unsigned int a, unsigned int b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }

inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float value) { return std::sqrt(value); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __float2int_rn(float value) { return static_cast<int>(std::nearbyint(value)); }
inline unsigned int __umulhi(unsigned int a, unsigned int b) {
    return static_cast<unsigned int>((static_cast<unsigned long long>(a) * b) >> 32);
}
inline int __popc(unsigned int value) { return __builtin_popcount(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned int>(value)); }
inline int __ffs(int value) { return __builtin_ffs(value); }
