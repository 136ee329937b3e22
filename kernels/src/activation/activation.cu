// Activations by themselves, and copies, which are what no activation leaves of them.
//
// Grid: x = 256 groups of `width` neighbouring values (4 where everything is aligned, else 1), y = lane.
#include "device.cuh"

namespace activation {

constexpr u32 THREADS = 256;

template <int N>
__device__ __forceinline__ void forward(u32 activation, const float* x, float* y) {
    Floats<N> values = load<N>(x);
#pragma unroll
    for (int i = 0; i < N; ++i) values.at[i] = activate(activation, values.at[i]);
    store(y, values);
}

template <int N>
__device__ __forceinline__ void backward(u32 activation, const float* y, const float* dy, float* dx) {
    const Floats<N> outputs = load<N>(y);
    Floats<N> gradients = load<N>(dy);
#pragma unroll
    for (int i = 0; i < N; ++i) gradients.at[i] = differentiate(activation, outputs.at[i], gradients.at[i]);
    store(dx, gradients);
}

} // namespace activation

/// `y = activation(x)`; both may be the same.
extern "C" __global__ void __launch_bounds__(activation::THREADS)
    activation_forward(u32 groups, u32 width, u32 activation, Lanes<const float> x, Lanes<float> y) {
    const u32 group = blockIdx.x * activation::THREADS + threadIdx.x, lane = blockIdx.y;
    if (group >= groups) return;
    const u64 at = u64{group} * width;
    if (width == 4) {
        activation::forward<4>(activation, x[lane] + at, y[lane] + at);
    } else {
        activation::forward<1>(activation, x[lane] + at, y[lane] + at);
    }
}

/// `dx`: the gradient of the input from that of the output, `dy`, and the output. `dx` may be `dy`.
extern "C" __global__ void __launch_bounds__(activation::THREADS)
    activation_backward(u32 groups, u32 width, u32 activation, Lanes<const float> y, Lanes<const float> dy,
                        Lanes<float> dx) {
    const u32 group = blockIdx.x * activation::THREADS + threadIdx.x, lane = blockIdx.y;
    if (group >= groups) return;
    const u64 at = u64{group} * width;
    if (width == 4) {
        activation::backward<4>(activation, y[lane] + at, dy[lane] + at, dx[lane] + at);
    } else {
        activation::backward<1>(activation, y[lane] + at, dy[lane] + at, dx[lane] + at);
    }
}
