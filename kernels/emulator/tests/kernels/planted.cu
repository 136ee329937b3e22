// Kernels with one bug each. The bug stands in a line that ends with `// BUG`, which is the line that must be reported;
// where two lines make the bug, both are marked, and either may be named.
//
// Every kernel takes x and y, 1024 floats each. Grid: 2 (1 where the text says so); block: 64.
#include "device.cuh"

#define KERNEL extern "C" __global__ void __launch_bounds__(64)

// ---------------------------------------------------------------------------------------------------------------------
// Races in shared memory.

/// No barrier between writing a tile and reading a neighbour's part.
KERNEL race_missing_barrier(const float* x, float* y) {
    __shared__ float tile[64];
    const int t = static_cast<int>(threadIdx.x);
    tile[t] = x[t]; // BUG
    y[blockIdx.x * 64 + t] = tile[63 - t]; // BUG
}

/// A tile is filled again while others still read it.
KERNEL race_missing_second_barrier(const float* x, float* y) {
    __shared__ float tile[64];
    const int t = static_cast<int>(threadIdx.x);
    float sum = 0.0f;
    for (int part = 0; part < 2; ++part) {
        tile[t] = x[part * 64 + t]; // BUG
        __syncthreads();
        sum += tile[63 - t]; // BUG
    }
    y[blockIdx.x * 64 + t] = sum;
}

/// Lanes of a warp exchange values without `__syncwarp`.
KERNEL race_missing_syncwarp(const float* x, float* y) {
    __shared__ float tile[64];
    const int t = static_cast<int>(threadIdx.x);
    tile[t] = x[t]; // BUG
    y[blockIdx.x * 64 + t] = tile[t ^ 1]; // BUG
}

/// A shuffle is no barrier for memory.
KERNEL race_shuffle_is_no_barrier(const float* x, float* y) {
    __shared__ float tile[64];
    const int t = static_cast<int>(threadIdx.x);
    tile[t] = x[t]; // BUG
    const float other = __shfl_xor_sync(FULL_WARP, x[t], 1);
    y[blockIdx.x * 64 + t] = tile[t ^ 1] + other; // BUG
}

/// `__syncwarp` orders one warp, not two.
KERNEL race_syncwarp_across_warps(const float* x, float* y) {
    __shared__ float tile[64];
    const int t = static_cast<int>(threadIdx.x);
    tile[t] = x[t]; // BUG
    __syncwarp();
    y[blockIdx.x * 64 + t] = tile[t ^ 32]; // BUG
}

/// Many read a word that one of them then writes.
KERNEL race_write_after_many_reads(const float* x, float* y) {
    __shared__ float scale;
    const int t = static_cast<int>(threadIdx.x);
    if (t == 0) scale = x[0];
    __syncthreads();
    y[blockIdx.x * 64 + t] = scale; // BUG
    if (t == 7) scale = 1.0f; // BUG
}

/// Two threads write one word.
KERNEL race_two_writers(const float* x, float* y) {
    __shared__ float tile[32];
    const int t = static_cast<int>(threadIdx.x);
    tile[t % 32] = x[t]; // BUG
    __syncthreads();
    y[blockIdx.x * 64 + t] = tile[t % 32];
}

/// Two threads write one byte; neighbouring bytes would be fine.
KERNEL race_one_byte(const float* x, float* y) {
    __shared__ u8 tile[64];
    const int t = static_cast<int>(threadIdx.x);
    tile[t & 62] = static_cast<u8>(x[t]); // BUG
    tile[t | 1] = 0; // BUG
    __syncthreads();
    y[blockIdx.x * 64 + t] = tile[t];
}

/// An atomic counter is read plainly, with no barrier after the last addition.
KERNEL race_atomic_and_plain(const float* x, float* y) {
    __shared__ u32 count;
    const int t = static_cast<int>(threadIdx.x);
    if (t == 0) count = 0;
    __syncthreads();
    if (x[t] >= 0.0f) atomicAdd(&count, 1u); // BUG
    y[blockIdx.x * 64 + t] = static_cast<float>(count); // BUG
}

// ---------------------------------------------------------------------------------------------------------------------
// Races in global memory.

/// Blocks add to one word.
KERNEL race_between_blocks(const float* x, float* y) {
    if (threadIdx.x == 0) y[0] += x[0]; // BUG
}

/// A block reads what its neighbour writes.
KERNEL race_reads_other_block(const float* x, float* y) {
    const int t = static_cast<int>(blockIdx.x * 64 + threadIdx.x);
    y[t] = x[t]; // BUG
    y[256 + t] = y[127 - t]; // BUG
}

/// As in shared memory, a barrier is missing.
KERNEL race_global_missing_barrier(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x), base = static_cast<int>(blockIdx.x * 64);
    y[base + t] = x[t]; // BUG
    y[256 + base + t] = y[base + 63 - t]; // BUG
}

// ---------------------------------------------------------------------------------------------------------------------
// Bounds and alignment.

/// One float past the end of y.
KERNEL bounds_past_global(const float* x, float* y) {
    y[960 + threadIdx.x + 1] = x[threadIdx.x]; // BUG
}

/// One float before x.
KERNEL bounds_before_global(const float* x, float* y) {
    y[blockIdx.x * 64 + threadIdx.x] = *(x + threadIdx.x - 1); // BUG
}

/// A load of 16 B that ends past the end.
KERNEL bounds_across_end(const float* x, float* y) {
    const float2 pair = *reinterpret_cast<const float2*>(x + 2 * (512 - 63) + 2 * threadIdx.x); // BUG
    y[blockIdx.x * 64 + threadIdx.x] = pair.x + pair.y;
}

/// Past a shared array, into the memory of the next one.
KERNEL bounds_past_shared(const float* x, float* y) {
    __shared__ float first[64];
    __shared__ float second[64];
    const int t = static_cast<int>(threadIdx.x);
    float* slot = first + t + static_cast<int>(x[1]);
    *slot = x[t]; // BUG
    second[t] = x[t];
    __syncthreads();
    y[blockIdx.x * 64 + t] = first[t] + second[t];
}

/// Past the dynamic shared memory, of which the launch has 256 B.
KERNEL bounds_past_dynamic(const float* x, float* y) {
    DYNAMIC_SHARED(float, tile);
    const int t = static_cast<int>(threadIdx.x);
    tile[t + 1] = x[t]; // BUG
    __syncthreads();
    y[blockIdx.x * 64 + t] = tile[t];
}

/// Past an array in registers.
KERNEL bounds_past_registers(const float* x, float* y) {
    float values[4] = {x[0], x[1], x[2], x[3]};
    const int t = static_cast<int>(threadIdx.x);
    y[blockIdx.x * 64 + t] = values[t / 15]; // BUG
}

/// A vector load from an address that is not a multiple of its size.
KERNEL misaligned_vector(const float* x, float* y) {
    const float4 values = *reinterpret_cast<const float4*>(x + threadIdx.x); // BUG
    y[blockIdx.x * 64 + threadIdx.x] = values.x + values.w;
}

/// An asynchronous copy from such an address.
KERNEL misaligned_copy(const float* x, float* y) {
    __shared__ __align__(16) float tile[256];
    const int t = static_cast<int>(threadIdx.x);
    cp_async_16(&tile[4 * t], &x[4 * t + 1]); // BUG
    cp_async_commit();
    cp_async_wait<0>();
    y[blockIdx.x * 64 + t] = tile[4 * t];
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory that nobody has written.

/// One word of a tile is never filled.
KERNEL uninitialised_shared(const float* x, float* y) {
    __shared__ float tile[64];
    const int t = static_cast<int>(threadIdx.x);
    if (t != 5) tile[t] = x[t];
    __syncthreads();
    y[blockIdx.x * 64 + t] = tile[t]; // BUG
}

/// What an earlier block left in shared memory is gone.
KERNEL uninitialised_stale_shared(const float* x, float* y) {
    __shared__ float tile[64];
    const int t = static_cast<int>(threadIdx.x);
    if (blockIdx.x == 0) tile[t] = x[t];
    __syncthreads();
    y[blockIdx.x * 64 + t] = tile[t]; // BUG
}

/// The second half of y was never written.
KERNEL uninitialised_global(const float* x, float* y) {
    y[blockIdx.x * 64 + threadIdx.x] = x[threadIdx.x] + y[512 + threadIdx.x]; // BUG
}

// ---------------------------------------------------------------------------------------------------------------------
// Asynchronous copies.

/// The copy is read before its thread waits for it.
KERNEL copy_without_wait(const float* x, float* y) {
    __shared__ __align__(16) float tile[256];
    const int t = static_cast<int>(threadIdx.x);
    cp_async_16(&tile[4 * t], &x[4 * t]); // BUG
    cp_async_commit();
    __syncthreads();
    y[blockIdx.x * 64 + t] = tile[t]; // BUG
}

/// The wait is for an earlier group.
KERNEL copy_wait_for_too_few(const float* x, float* y) {
    __shared__ __align__(16) float tile[2][256];
    const int t = static_cast<int>(threadIdx.x);
    for (int stage = 0; stage < 2; ++stage) {
        cp_async_16(&tile[stage][4 * t], &x[256 * stage + 4 * t]); // BUG
        cp_async_commit();
    }
    cp_async_wait<1>();
    __syncthreads();
    y[blockIdx.x * 64 + t] = tile[0][t] + tile[1][t]; // BUG
}

/// Everybody waits for the own copy, and reads another's without a barrier.
KERNEL copy_without_barrier(const float* x, float* y) {
    __shared__ __align__(16) float tile[256];
    const int t = static_cast<int>(threadIdx.x);
    cp_async_16(&tile[4 * t], &x[4 * t]); // BUG
    cp_async_commit();
    cp_async_wait<0>(); // BUG
    y[blockIdx.x * 64 + t] = tile[255 - 4 * t]; // BUG
}

/// A copy into a buffer that others may still read: the barrier comes after its start.
KERNEL copy_into_used_buffer(const float* x, float* y) {
    __shared__ __align__(16) float tile[256];
    const int t = static_cast<int>(threadIdx.x);
    for (int i = 0; i < 4; ++i) tile[4 * t + i] = x[4 * t + i];
    __syncthreads();
    const float old = tile[255 - 4 * t]; // BUG
    cp_async_16(&tile[4 * t], &x[256 + 4 * t]); // BUG
    cp_async_commit();
    __syncthreads();
    cp_async_wait<0>();
    y[blockIdx.x * 64 + t] = old + tile[4 * t];
}

/// The source changes while it is copied.
KERNEL copy_source_overwritten(const float* x, float* y) {
    __shared__ __align__(16) float tile[256];
    const int t = static_cast<int>(threadIdx.x), base = static_cast<int>(blockIdx.x * 256);
    for (int i = 0; i < 4; ++i) y[base + 4 * t + i] = x[t];
    __syncthreads();
    cp_async_16(&tile[4 * t], &y[base + 4 * t]); // BUG
    cp_async_commit();
    y[base + (4 * t + 4) % 256] = 0.0f; // BUG
    cp_async_wait<0>(); // BUG
    y[512 + blockIdx.x * 64 + t] = tile[4 * t];
}

// ---------------------------------------------------------------------------------------------------------------------
// Barriers and collectives.

/// Half of the block waits in one barrier, half in another.
KERNEL divergence_two_barriers(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x);
    if (t < 32) {
        __syncthreads(); // BUG
    } else {
        __syncthreads(); // BUG
    }
    y[blockIdx.x * 64 + t] = x[t];
}

/// Some threads return before a barrier.
KERNEL divergence_early_return(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x);
    if (t >= 40) return;
    __syncthreads(); // BUG
    y[blockIdx.x * 64 + t] = x[t];
}

/// Half of a warp waits in a warp collective for the other half, which waits in the block's barrier.
KERNEL deadlock_collective_and_barrier(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x);
    if (t % 32 < 16) {
        __syncwarp(); // BUG
    } else {
        __syncthreads(); // BUG
    }
    y[blockIdx.x * 64 + t] = x[t];
}

/// Lanes of a warp are in different collectives.
KERNEL divergence_two_shuffles(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x);
    float value = x[t];
    if (t % 2 == 0) {
        value += __shfl_xor_sync(FULL_WARP, value, 1); // BUG
    } else {
        value -= __shfl_xor_sync(FULL_WARP, value, 1); // BUG
    }
    y[blockIdx.x * 64 + t] = value;
}

/// A shuffle reads from lanes that have returned.
KERNEL divergence_shuffle_from_nobody(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x);
    if (t % 32 >= 16) return;
    y[blockIdx.x * 64 + t] = __shfl_xor_sync(FULL_WARP, x[t], 16); // BUG
}

/// A shuffle for some lanes only.
KERNEL divergence_partial_mask(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x);
    float value = x[t];
    if (t % 32 < 16) value += __shfl_xor_sync(0x0000ffffu, value, 1); // BUG
    y[blockIdx.x * 64 + t] = value;
}

/// A tensor-core instruction in a warp that has lost lanes.
KERNEL divergence_mma_in_part(const float* x, float* y) {
    const int t = static_cast<int>(threadIdx.x);
    if (t % 32 == 31) return;
    float d[4] = {};
    const u32 a[4] = {to_tf32(x[t]), 0, 0, 0}, b[2] = {to_tf32(x[t]), 0};
    mma_m16n8k8_tf32(d, a, b); // BUG
    y[blockIdx.x * 64 + t] = d[0];
}
