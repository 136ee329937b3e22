// What all kernels share: indices, asynchronous copies, tensor-core instructions, reductions in a fixed order, Philox.
//
// Every kernel includes this header; one that lies beside a kernel is its operation's own. On the GPU the instructions are inline PTX (sm_80 and later), because
// NVRTC has no CUDA headers. On the CPU, under `kernels/emulator`, the same names come from its `instructions.hpp`.
//
// Rules for kernels: `extern "C" __global__`, named `operation_pass`, with `__launch_bounds__`; blocks are
// one-dimensional; warp collectives have all 32 lanes; no float atomics; no block waits for another block.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

constexpr u32 FULL_WARP = 0xffffffffu;

// ---------------------------------------------------------------------------------------------------------------------
// Indices. Blocks are one-dimensional.

/// The lane of this thread in its warp: 0 to 31.
__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x & 31u); }

/// The warp of this thread in its block.
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x >> 5); }

/// `numerator / denominator`, rounded up; both at least 0.
template <class T>
__host__ __device__ constexpr T ceil_div(T numerator, T denominator) {
    return (numerator + denominator - 1) / denominator;
}

// ---------------------------------------------------------------------------------------------------------------------
// bfloat16 as bits: the upper half of a float32.

struct bf16 {
    u16 bits;
};

__device__ __forceinline__ float to_float(bf16 value) { return __uint_as_float(static_cast<u32>(value.bits) << 16); }

// ---------------------------------------------------------------------------------------------------------------------
// Instructions.

#ifdef CUDA_EMULATOR
#include "instructions.hpp"
#else

/// `DYNAMIC_SHARED(float, tile);` declares `float* tile`: the shared memory that the launch asked for, aligned to 16 B.
#define DYNAMIC_SHARED(type, name)                                                                                     \
    extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];                                             \
    type* const name = reinterpret_cast<type*>(dynamic_shared_memory)

/// A shared-memory pointer as PTX wants it: an offset in the block's window.
__device__ __forceinline__ u32 shared_address(const void* pointer) {
    return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

/// Two floats rounded to nearest even, `low` in the lower half.
__device__ __forceinline__ u32 pack_bf16(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

/// Rounded to nearest even.
__device__ __forceinline__ bf16 to_bf16(float value) { return bf16{static_cast<u16>(pack_bf16(value, 0.0f))}; }

/// A float rounded to TF32 (10 bits of mantissa, halves away from zero), as the bits that `mma_m16n8k8_tf32` takes.
__device__ __forceinline__ u32 to_tf32(float value) {
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
}

/// Starts a copy of 4 B from global to shared memory. Both addresses are multiples of 4.
///
/// The data may be read after `cp_async_wait` by the same thread, and by others after a barrier that follows it.
/// Where `valid` is false, nothing is read and zeros are stored: the padding of a convolution.
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, bool valid = true) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 4 : 0)
                 : "memory");
}

/// Starts a copy of 8 B; both addresses are multiples of 8. See `cp_async_4`.
__device__ __forceinline__ void cp_async_8(void* shared, const void* global, bool valid = true) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 8 : 0)
                 : "memory");
}

/// Starts a copy of 16 B past the L1 cache; both addresses are multiples of 16. See `cp_async_4`.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid = true) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

/// Ends a group: the copies that this thread started since the last commit.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most the `PENDING` youngest groups of this thread are still being copied.
template <int PENDING>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/// Loads one 8x8 matrix of 16-bit elements: lane l (0 to 7) gives the address of row l, aligned to 16 B.
///
/// Lane l receives elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4.
__device__ __forceinline__ void ldmatrix_x1(u32& fragment, const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(fragment)
                 : "r"(shared_address(row))
                 : "memory");
}

/// Loads two 8x8 matrices: lanes 8 m to 8 m + 7 give the rows of matrix m. See `ldmatrix_x1`.
__device__ __forceinline__ void ldmatrix_x2(u32 (&fragments)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragments[0]), "=r"(fragments[1])
                 : "r"(shared_address(row))
                 : "memory");
}

/// Loads four 8x8 matrices: lanes 8 m to 8 m + 7 give the rows of matrix m. See `ldmatrix_x1`.
__device__ __forceinline__ void ldmatrix_x4(u32 (&fragments)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// As `ldmatrix_x2`, each matrix transposed: lane l receives rows 2 (l % 4) and 2 (l % 4) + 1 of column l / 4.
__device__ __forceinline__ void ldmatrix_x2_trans(u32 (&fragments)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragments[0]), "=r"(fragments[1])
                 : "r"(shared_address(row))
                 : "memory");
}

/// As `ldmatrix_x4`, each matrix transposed. See `ldmatrix_x2_trans`.
__device__ __forceinline__ void ldmatrix_x4_trans(u32 (&fragments)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// `d += a b` with a 16x8 (rows), b 8x8 (columns) in TF32 and d 16x8 in float32.
///
/// With g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k8"):
/// a = {a[g][t], a[g + 8][t], a[g][t + 4], a[g + 8][t + 4]}, b = {b[t][g], b[t + 4][g]},
/// d = {d[g][2t], d[g][2t + 1], d[g + 8][2t], d[g + 8][2t + 1]}.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// `d += a b` with a 16x16 (rows), b 16x8 (columns) in bfloat16, two to a register, and d 16x8 in float32.
///
/// With g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k16"), the pair at k being k and k + 1:
/// a = {a[g][2t], a[g + 8][2t], a[g][2t + 8], a[g + 8][2t + 8]}, b = {b[2t][g], b[2t + 8][g]},
/// d = {d[g][2t], d[g][2t + 1], d[g + 8][2t], d[g + 8][2t + 1]}.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

// ---------------------------------------------------------------------------------------------------------------------
// Reductions. The order of additions is fixed, so a sum has the same bits in every run.

/// The sum over the 32 lanes, in every lane: a butterfly, so all lanes add in the same tree.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(FULL_WARP, value, distance);
    return value;
}

/// The largest value of the 32 lanes, in every lane. NaN is ignored where a lane has a number, as in `fmaxf`.
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, distance));
    }
    return value;
}

/// The sum over a block of `THREADS` threads (a multiple of 32), in every thread: first in warps, then over the warps
/// from first to last.
///
/// `scratch` is shared memory for `THREADS / 32` values. It may be used again right after.
template <int THREADS, class T>
__device__ __forceinline__ T block_sum(T value, T* scratch) {
    static_assert(THREADS % 32 == 0, "whole warps");
    value = warp_sum(value);
    if (lane_index() == 0) scratch[warp_index()] = value;
    __syncthreads();
    T sum = scratch[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; ++warp) sum += scratch[warp];
    __syncthreads();
    return sum;
}

/// The largest value of a block of `THREADS` threads, in every thread. `scratch` is as in `block_sum`.
template <int THREADS>
__device__ __forceinline__ float block_max(float value, float* scratch) {
    static_assert(THREADS % 32 == 0, "whole warps");
    value = warp_max(value);
    if (lane_index() == 0) scratch[warp_index()] = value;
    __syncthreads();
    float largest = scratch[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; ++warp) largest = fmaxf(largest, scratch[warp]);
    __syncthreads();
    return largest;
}

// ---------------------------------------------------------------------------------------------------------------------
// Philox 4x32-10 (Salmon et al. 2011), word for word that of the crate `clr-rng`.

/// The Philox 4x32 bijection with ten rounds.
__device__ __forceinline__ uint4 philox_4x32_10(uint4 counter, uint2 key) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 product_0 = u64{0xD2511F53u} * counter.x;
        const u64 product_1 = u64{0xCD9E8D57u} * counter.z;
        counter = make_uint4(static_cast<u32>(product_1 >> 32) ^ counter.y ^ key.x, static_cast<u32>(product_1),
                             static_cast<u32>(product_0 >> 32) ^ counter.w ^ key.y, static_cast<u32>(product_0));
        key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
    }
    return counter;
}

/// The four words at (`step`, `index`) of a stream: `clr_rng::Philox::block`.
__device__ __forceinline__ uint4 philox_block(u64 seed, u32 stream, u64 step, u32 index) {
    return philox_4x32_10(make_uint4(index, static_cast<u32>(step), static_cast<u32>(step >> 32), stream),
                          make_uint2(static_cast<u32>(seed), static_cast<u32>(seed >> 32)));
}

/// Word `index` of `step`: `clr_rng::Philox::word`. Four neighbours cost less with `philox_block`.
__device__ __forceinline__ u32 philox_word(u64 seed, u32 stream, u64 step, u64 index) {
    const uint4 block = philox_block(seed, stream, step, static_cast<u32>(index / 4));
    const u32 lane = static_cast<u32>(index % 4);
    return lane == 0 ? block.x : lane == 1 ? block.y : lane == 2 ? block.z : block.w;
}

/// An integer in `0..bound` from 32 random bits: `clr_rng::below`.
__device__ __forceinline__ u32 below(u32 bits, u32 bound) { return static_cast<u32>((u64{bits} * bound) >> 32); }

/// A float in [0, 1), a multiple of 2^-24: `clr_rng::uniform`.
__device__ __forceinline__ float uniform(u32 bits) { return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f); }

// ---------------------------------------------------------------------------------------------------------------------
// What `<math.h>` has under names that NVRTC does not know.

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }
__device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7fffffffu); }

// ---------------------------------------------------------------------------------------------------------------------
// Lanes: K tensors of one shape.

/// Where they lie: lane k's tensor begins at `first + k * stride`. A stride of 0 is one tensor that all lanes read.
template <class T>
struct Lanes {
    T* first;
    u64 stride;

    __device__ __forceinline__ T* operator[](u32 lane) const { return first + lane * stride; }
    /// Whether there is such a tensor.
    __device__ __forceinline__ bool exists() const { return first != nullptr; }
};

// ---------------------------------------------------------------------------------------------------------------------
// Groups of neighbouring floats: 4 that are read and written at once, aligned to 16 B, or 1.

template <int N>
struct Floats {
    float at[N];
};

template <int N>
__device__ __forceinline__ Floats<N> load(const float* from) {
    if constexpr (N == 4) {
        const float4 values = *reinterpret_cast<const float4*>(from);
        return {values.x, values.y, values.z, values.w};
    } else {
        return {*from};
    }
}

template <int N>
__device__ __forceinline__ void store(float* to, const Floats<N>& values) {
    if constexpr (N == 4) {
        *reinterpret_cast<float4*>(to) = make_float4(values.at[0], values.at[1], values.at[2], values.at[3]);
    } else {
        *to = values.at[0];
    }
}

template <int N>
__device__ __forceinline__ Floats<N> filled(float value) {
    Floats<N> values;
#pragma unroll
    for (int i = 0; i < N; ++i) values.at[i] = value;
    return values;
}

// ---------------------------------------------------------------------------------------------------------------------
// Activations: functions of each value by itself, whose slope follows from the output. The numbers are those of
// `clr_kernels::Activation`.

enum Activation : u32 { NO_ACTIVATION = 0, RELU = 1, SIGMOID = 2 };

/// exp(x) without branches, as on the CPU: with n the integer nearest x / ln 2 it is 2^n exp(r), and the polynomial for
/// exp(r), |r| <= ln 2 / 2, is that of Cephes' `expf`. Arguments beyond +-87 count as +-87; NaN stays.
__device__ __forceinline__ float bounded_exp(float x) {
    // Adding 1.5 x 2^23 leaves no bits for a fraction: it rounds to an integer, which stands in the low bits.
    constexpr float ROUND = 12582912.0f;
    x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
    const float shifted = x * 1.44269504f + ROUND;
    const float n = shifted - ROUND;
    // ln 2 in two parts, the first with few enough bits that its product with n is exact.
    const float r = x - n * 0.693359375f - n * -2.12194440e-4f;
    float p = 1.9875691e-4f;
    p = p * r + 1.3981999e-3f;
    p = p * r + 8.333452e-3f;
    p = p * r + 4.1665796e-2f;
    p = p * r + 0.16666665f;
    p = p * r + 0.5f;
    const float exp_r = p * r * r + r + 1.0f;
    return exp_r * __uint_as_float((__float_as_uint(shifted) << 23) + 0x3f800000u);
}

/// The output. NaN stays, so that divergence shows.
__device__ __forceinline__ float activate(u32 activation, float x) {
    if (activation == RELU) return x < 0.0f ? 0.0f : x;
    if (activation == SIGMOID) return 1.0f / (1.0f + bounded_exp(-x));
    return x;
}

/// The gradient of what the function was applied to, from that of its output `y`.
__device__ __forceinline__ float differentiate(u32 activation, float y, float gradient) {
    if (activation == RELU) return y > 0.0f ? gradient : 0.0f;
    if (activation == SIGMOID) return gradient * (y * (1.0f - y));
    return gradient;
}

// ---------------------------------------------------------------------------------------------------------------------
// What a lane does in one step: written by `step_begin`, read by all that differs between steps. Mirrors `LaneStep` in
// step/mod.rs.

/// Mirrors `Hypers` in step/mod.rs.
struct Hypers {
    float lr, momentum, weight_decay, beta1, beta2;
};

struct LaneStep {
    /// Updates before this one.
    u64 step;
    /// Of the call's tables.
    u32 row;
    /// Of its batch. Where it is not the batch that a launch works on, the lane's state stays as it is.
    u32 samples;
    Hypers hypers;
    /// 1 / sqrt(1 - beta2^t), with t = step + 1.
    float second_correction;
    /// 1 / (1 - beta1^t), and that times sqrt(1 - beta2^t).
    double first_correction, both_corrections;
};
