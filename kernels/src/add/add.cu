// Sums of two values, and what a value is multiplied by in a lane.
//
// Grid: x = 256 groups of `width` neighbouring values (4 where everything is aligned, else 1), y = lane.
#include "device.cuh"

namespace add {

constexpr u32 THREADS = 256;

/// The lane's scale; 1 where there are none.
__device__ __forceinline__ float scale_of(const float* scales, u32 lane) {
    return scales == nullptr ? 1.0f : scales[lane];
}

/// A term of a sum. With a scale of 0 it is left out, whatever its values are.
template <int N>
__device__ __forceinline__ Floats<N> term(float scale, const float* from) {
    if (scale == 0.0f) return filled<N>(0.0f);
    Floats<N> values = load<N>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) values.at[i] *= scale;
    return values;
}

template <int N>
__device__ __forceinline__ void forward(u32 activation, float scale_a, float scale_b, const float* a, const float* b,
                                        float* y) {
    Floats<N> sum = term<N>(scale_a, a);
    const Floats<N> terms = term<N>(scale_b, b);
#pragma unroll
    for (int i = 0; i < N; ++i) sum.at[i] = activate(activation, sum.at[i] + terms.at[i]);
    store(y, sum);
}

} // namespace add

/// `y = activation(a + b)`, each term multiplied by its scale of the lane where it has any, `[lanes]`; `y` may be one of them.
extern "C" __global__ void __launch_bounds__(add::THREADS)
    add_forward(u32 groups, u32 width, u32 activation, const float* scales_a, const float* scales_b,
                Lanes<const float> a, Lanes<const float> b, Lanes<float> y) {
    const u32 group = blockIdx.x * add::THREADS + threadIdx.x, lane = blockIdx.y;
    if (group >= groups) return;
    const u64 at = u64{group} * width;
    const float scale_a = add::scale_of(scales_a, lane), scale_b = add::scale_of(scales_b, lane);
    if (width == 4) {
        add::forward<4>(activation, scale_a, scale_b, a[lane] + at, b[lane] + at, y[lane] + at);
    } else {
        add::forward<1>(activation, scale_a, scale_b, a[lane] + at, b[lane] + at, y[lane] + at);
    }
}

/// `y = x`, multiplied by the scale of the lane, `[lanes]`; both may be the same.
extern "C" __global__ void __launch_bounds__(add::THREADS)
    add_scale(u32 groups, u32 width, const float* scales, Lanes<const float> x, Lanes<float> y) {
    const u32 group = blockIdx.x * add::THREADS + threadIdx.x, lane = blockIdx.y;
    if (group >= groups) return;
    const u64 at = u64{group} * width;
    if (width == 4) {
        store(y[lane] + at, add::term<4>(scales[lane], x[lane] + at));
    } else {
        store(y[lane] + at, add::term<1>(scales[lane], x[lane] + at));
    }
}
