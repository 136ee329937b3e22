// The L2 norm of a lane's gradients: partial sums of squares, in float64. Whoever needs the norm adds them in order.
#include "device.cuh"

namespace l2_norm {

constexpr u32 THREADS = 256;

template <int N>
__device__ __forceinline__ double sum_of_squares(const float* values, u32 first, u32 end) {
    double sum = 0.0;
    for (u32 at = first + threadIdx.x * N; at < end; at += THREADS * N) {
        const Floats<N> group = load<N>(values + at);
#pragma unroll
        for (int i = 0; i < N; ++i) sum += static_cast<double>(group.at[i]) * static_cast<double>(group.at[i]);
    }
    return sum;
}

} // namespace l2_norm

/// `partial`, `[chunk]`: the sum of squares of each `chunk_len` values. Grid: x = chunk, y = lane.
extern "C" __global__ void __launch_bounds__(l2_norm::THREADS)
    norm_partials(u32 len, u32 chunk_len, u32 width, Lanes<const float> values, Lanes<double> partial) {
    __shared__ double scratch[l2_norm::THREADS / 32];
    const u32 first = blockIdx.x * chunk_len, end = min(first + chunk_len, len), lane = blockIdx.y;
    const double own = width == 4 ? l2_norm::sum_of_squares<4>(values[lane], first, end)
                                  : l2_norm::sum_of_squares<1>(values[lane], first, end);
    const double sum = block_sum<l2_norm::THREADS>(own, scratch);
    if (threadIdx.x == 0) partial[lane][blockIdx.x] = sum;
}
