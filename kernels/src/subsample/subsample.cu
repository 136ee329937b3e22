// Subsampling: every so manieth pixel, with channels of zeros around its own. A thread has one pixel and `width` channels (4
// where everything is aligned, else 1).
//
// Grid: x = 256 groups of output (forward) or input (backward) values, y = lane.
#include "device.cuh"

namespace subsample {

constexpr u32 THREADS = 256;

/// Mirrors `LaunchShape` in cuda.rs. Channels are in groups.
struct LaunchShape {
    /// Groups of the target of the pass.
    u32 groups;
    u32 in_h, in_w, in_channels;
    u32 out_h, out_w, out_channels;
    /// Channels of zeros before those of the input.
    u32 before;
    u32 stride;
    u32 width;
};

template <int N>
__device__ __forceinline__ void forward(const LaunchShape& shape, u32 index, const float* x, float* y) {
    const u32 pixel = index / shape.out_channels, row = pixel / shape.out_w;
    const u32 image = row / shape.out_h, out_y = row % shape.out_h, out_x = pixel % shape.out_w;
    // Wraps around before the first channel: then it is no channel either.
    const u32 channel = index % shape.out_channels - shape.before;
    Floats<N> values = filled<N>(0.0f);
    if (channel < shape.in_channels) {
        const u64 from = (u64{image} * shape.in_h + out_y * shape.stride) * shape.in_w + out_x * shape.stride;
        values = load<N>(x + (from * shape.in_channels + channel) * N);
    }
    store(y + u64{index} * N, values);
}

template <int N>
__device__ __forceinline__ void backward(const LaunchShape& shape, u32 index, const float* dy, float* dx) {
    const u32 pixel = index / shape.in_channels, row = pixel / shape.in_w, channel = index % shape.in_channels;
    const u32 image = row / shape.in_h, in_y = row % shape.in_h, in_x = pixel % shape.in_w;
    Floats<N> gradients = filled<N>(0.0f);
    if (in_y % shape.stride == 0 && in_x % shape.stride == 0) {
        const u64 from = (u64{image} * shape.out_h + in_y / shape.stride) * shape.out_w + in_x / shape.stride;
        gradients = load<N>(dy + (from * shape.out_channels + shape.before + channel) * N);
    }
    store(dx + u64{index} * N, gradients);
}

} // namespace subsample

/// `y`: the pixels that are taken, and zeros in the channels that are new.
extern "C" __global__ void __launch_bounds__(subsample::THREADS)
    subsample_forward(subsample::LaunchShape shape, Lanes<const float> x, Lanes<float> y) {
    const u32 index = blockIdx.x * subsample::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.width == 4) {
        subsample::forward<4>(shape, index, x[lane], y[lane]);
    } else {
        subsample::forward<1>(shape, index, x[lane], y[lane]);
    }
}

/// `dx`: the gradients of the pixels that were taken, and zeros.
extern "C" __global__ void __launch_bounds__(subsample::THREADS)
    subsample_backward(subsample::LaunchShape shape, Lanes<const float> dy, Lanes<float> dx) {
    const u32 index = blockIdx.x * subsample::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.width == 4) {
        subsample::backward<4>(shape, index, dy[lane], dx[lane]);
    } else {
        subsample::backward<1>(shape, index, dy[lane], dx[lane]);
    }
}
