// Sums of two values.
//
// Grid: x = 256 groups of `width` neighbouring values (4 where everything is aligned, else 1), y = lane.
#include "device.cuh"

namespace add {

constexpr u32 THREADS = 256;

template <int N>
__device__ __forceinline__ void forward(u32 activation, const float* a, const float* b, float* y) {
    Floats<N> sum = load<N>(a);
    const Floats<N> terms = load<N>(b);
#pragma unroll
    for (int i = 0; i < N; ++i) sum.at[i] = activate(activation, sum.at[i] + terms.at[i]);
    store(y, sum);
}

} // namespace add

/// `y = activation(a + b)`; `y` may be one of them.
extern "C" __global__ void __launch_bounds__(add::THREADS)
    add_forward(u32 groups, u32 width, u32 activation, Lanes<const float> a, Lanes<const float> b, Lanes<float> y) {
    const u32 group = blockIdx.x * add::THREADS + threadIdx.x, lane = blockIdx.y;
    if (group >= groups) return;
    const u64 at = u64{group} * width;
    if (width == 4) {
        add::forward<4>(activation, a[lane] + at, b[lane] + at, y[lane] + at);
    } else {
        add::forward<1>(activation, a[lane] + at, b[lane] + at, y[lane] + at);
    }
}
