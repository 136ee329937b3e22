// Concatenation of channels. A thread has one pixel and `width` channels (4 where everything is aligned, else 1) of one of the
// values.
//
// Grid: x = 256 groups of the value, y = lane.
#include "device.cuh"

namespace concat {

constexpr u32 THREADS = 256;

/// Mirrors `LaunchShape` in cuda.rs. Channels are in groups.
struct LaunchShape {
    /// Groups of the value.
    u32 groups;
    u32 channels;
    /// Channels before those of the value in a pixel of the concatenation, and all of them.
    u32 first, of;
    u32 width;
};

/// The group of the concatenation in which group `index` of the value stands.
__device__ __forceinline__ u64 place_of(const LaunchShape& shape, u32 index) {
    return u64{index / shape.channels} * shape.of + shape.first + index % shape.channels;
}

template <int N>
__device__ __forceinline__ void backward(const LaunchShape& shape, u32 adds, u32 index, const float* dy, float* dx) {
    Floats<N> gradients = load<N>(dy + place_of(shape, index) * N);
    if (adds) {
        const Floats<N> before = load<N>(dx + u64{index} * N);
#pragma unroll
        for (int i = 0; i < N; ++i) gradients.at[i] = before.at[i] + gradients.at[i];
    }
    store(dx + u64{index} * N, gradients);
}

} // namespace concat

/// The value's channels of `y` become `x`; the others stay.
extern "C" __global__ void __launch_bounds__(concat::THREADS)
    concat_forward(concat::LaunchShape shape, Lanes<const float> x, Lanes<float> y) {
    const u32 index = blockIdx.x * concat::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    const u64 place = concat::place_of(shape, index);
    if (shape.width == 4) {
        store(y[lane] + place * 4, load<4>(x[lane] + u64{index} * 4));
    } else {
        store(y[lane] + place, load<1>(x[lane] + index));
    }
}

/// `dx`: the value's channels of `dy`, or what it holds and these.
extern "C" __global__ void __launch_bounds__(concat::THREADS)
    concat_backward(concat::LaunchShape shape, u32 adds, Lanes<const float> dy, Lanes<float> dx) {
    const u32 index = blockIdx.x * concat::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.width == 4) {
        concat::backward<4>(shape, adds, index, dy[lane], dx[lane]);
    } else {
        concat::backward<1>(shape, adds, index, dy[lane], dx[lane]);
    }
}
