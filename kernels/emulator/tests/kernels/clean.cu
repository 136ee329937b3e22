// Kernels without bugs: the checker must not report them, and `clean.rs` knows their results.
#include "device.cuh"

/// y = a x. Grid: ceil(n / 256); block: 256.
extern "C" __global__ void __launch_bounds__(256) scale(const float* x, float* y, float a, int n) {
    const int i = static_cast<int>(blockIdx.x * 256 + threadIdx.x);
    if (i < n) y[i] = a * x[i];
}

/// out[block] = the sum of 256 values. Grid: n / 256; block: 256.
extern "C" __global__ void __launch_bounds__(256) sum_blocks(const float* x, float* out) {
    __shared__ float scratch[8];
    const float sum = block_sum<256>(x[blockIdx.x * 256 + threadIdx.x], scratch);
    const float largest = block_max<256>(x[blockIdx.x * 256 + threadIdx.x], scratch);
    if (threadIdx.x == 0) {
        out[2 * blockIdx.x] = sum;
        out[2 * blockIdx.x + 1] = largest;
    }
}

/// Transposes a 40 x 40 matrix in tiles of 16 x 16, partly outside of it. Grid: (3, 3); block: 16 x 16.
extern "C" __global__ void __launch_bounds__(256) transpose(const float* x, float* y) {
    __shared__ float tile[16][17];
    const u32 column = blockIdx.x * 16 + threadIdx.x, row = blockIdx.y * 16 + threadIdx.y;
    if (row < 40 && column < 40) tile[threadIdx.y][threadIdx.x] = x[row * 40 + column];
    __syncthreads();
    const u32 to_row = blockIdx.x * 16 + threadIdx.y, to_column = blockIdx.y * 16 + threadIdx.x;
    if (to_row < 40 && to_column < 40) y[to_row * 40 + to_column] = tile[threadIdx.x][threadIdx.y];
}

/// Running sums of 2048 floats, 128 at a time, through two buffers that are filled ahead by asynchronous copies.
/// Dynamic shared memory: 2 x 128 floats. Grid: 1; block: 32.
extern "C" __global__ void __launch_bounds__(32) copy_ahead(const float* x, float* y) {
    DYNAMIC_SHARED(float, buffers);
    const int t = static_cast<int>(threadIdx.x);
    const auto fill = [&](int part) {
        // The last part does not exist: zeros.
        const bool valid = part < 16;
        cp_async_16(buffers + part % 2 * 128 + 4 * t, x + (valid ? part : 0) * 128 + 4 * t, valid);
        cp_async_commit();
    };
    float sum = 0.0f;
    fill(0);
    for (int part = 0; part < 17; ++part) {
        if (part < 16) {
            fill(part + 1);
            cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        __syncwarp();
        for (int i = 0; i < 4; ++i) sum += buffers[part % 2 * 128 + (4 * t + 5 * i) % 128];
        __syncwarp();
    }
    y[t] = sum;
}

/// A tile as a template's shared memory: two instances are two variables.
template <class T>
__device__ T reversed(T value) {
    __shared__ T tile[64];
    tile[threadIdx.x] = value;
    __syncthreads();
    return tile[63 - threadIdx.x];
}

/// Bytes, halves and words of shared memory; neighbouring bytes by different threads. Grid: 1; block: 64.
extern "C" __global__ void __launch_bounds__(64) small_types(const u8* bytes, bf16* halves, float* words) {
    const int t = static_cast<int>(threadIdx.x);
    const u8 byte = reversed(bytes[t]);
    halves[t] = reversed(to_bf16(static_cast<float>(byte)));
    words[t] = reversed(static_cast<float>(byte));
}

__constant__ float TABLE[4] = {1.0f, 10.0f, 100.0f, 1000.0f};

/// Shuffles, votes, atomics, a table; threads that return early. Grid: 2; block: 80, of which the last 10 return.
extern "C" __global__ void __launch_bounds__(96) warp_functions(const float* x, float* y, u32* counts) {
    const int t = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
    atomicAdd(&counts[1], 1u);
    if (t >= 64) return;
    float value = x[block * 64 + t];
    value = __shfl_down_sync(FULL_WARP, value, 1, 8) + __shfl_up_sync(FULL_WARP, value, 1) +
            __shfl_sync(FULL_WARP, value, t % 4 * 8);
    const u32 votes = __ballot_sync(FULL_WARP, t % 3 == 0);
    if (lane_index() == 0) atomicMax(&counts[0], votes);
    y[block * 64 + t] = value + TABLE[t % 4];
}

/// d = a b in TF32, a and b as the fragments' layouts have them. Grid: 1; block: 32.
extern "C" __global__ void __launch_bounds__(32) multiply_tf32(const float* a, const float* b, float* d) {
    const int group = lane_index() / 4, member = lane_index() % 4;
    const auto left = [&](int row, int k) { return to_tf32(a[row * 8 + k]); };
    const u32 as[4] = {left(group, member), left(group + 8, member), left(group, member + 4), left(group + 8, member + 4)};
    const u32 bs[2] = {to_tf32(b[member * 8 + group]), to_tf32(b[(member + 4) * 8 + group])};
    float ds[4] = {};
    mma_m16n8k8_tf32(ds, as, bs);
    for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + 2 * member + i % 2] = ds[i];
}

/// d = a b in bfloat16; a (16 x 16, row by row) by `ldmatrix`, b (16 x 8, row by row) by `ldmatrix` with transposition.
/// Grid: 1; block: 32.
extern "C" __global__ void __launch_bounds__(32) multiply_bf16(const float* a, const float* b, float* d) {
    __shared__ __align__(16) bf16 left[16][24];
    __shared__ __align__(16) bf16 right[16][8];
    const int lane = lane_index();
    for (int i = lane; i < 256; i += 32) left[i / 16][i % 16] = to_bf16(a[i]);
    for (int i = lane; i < 128; i += 32) right[i / 8][i % 8] = to_bf16(b[i]);
    __syncwarp();
    u32 as[4], bs[2];
    // Matrices 0 to 3 are rows 0 to 7 and 8 to 15 of columns 0 to 7, then of columns 8 to 15.
    ldmatrix_x4(as, &left[lane % 16][lane / 16 * 8]);
    ldmatrix_x2_trans(bs, &right[lane % 16][0]);
    float ds[4] = {};
    mma_m16n8k16_bf16(ds, as, bs);
    for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + 2 * (lane % 4) + i % 2] = ds[i];
}

struct Draw {
    u64 seed;
    u64 step;
    u32 stream;
};

/// The words, floats and integers below 1000 of a stream. Grid: ceil(n / 64); block: 64.
extern "C" __global__ void __launch_bounds__(64) draw(Draw from, u32* words, float* floats, u32* integers, int n) {
    const int i = static_cast<int>(blockIdx.x * 64 + threadIdx.x);
    if (i >= n) return;
    words[i] = philox_word(from.seed, from.stream, from.step, static_cast<u64>(i));
    floats[i] = uniform(words[i]);
    integers[i] = below(words[i], 1000u);
}

/// Rounds to TF32 and bfloat16. Grid: 1; block: 32, of which n work.
extern "C" __global__ void __launch_bounds__(32) round_floats(const float* x, u32* tf32, u32* bf16s, int n) {
    const int t = static_cast<int>(threadIdx.x);
    if (t >= n) return;
    tf32[t] = to_tf32(x[t]);
    bf16s[t] = pack_bf16(x[t], -x[t]);
}
