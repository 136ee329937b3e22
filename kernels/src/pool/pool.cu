// Max and average pooling. The channels of a pixel are neighbours in memory: a thread has one pixel and `width` channels (4
// where everything is aligned, else 1), so a warp reads and writes in a row. Both backward passes go through the input, whose
// pixels each lie in few windows: every gradient is written once.
//
// Grid: x = 256 groups of output (forward) or input (backward) values, y = lane.
#include "device.cuh"

namespace pool {

constexpr u32 THREADS = 256;
/// The argmax where ReLU lets no gradient through. Windows have fewer places.
constexpr u32 NOTHING = 255;

/// Mirrors `LaunchShape` in cuda.rs.
struct LaunchShape {
    /// Groups of the target of the pass.
    u32 groups;
    /// Groups of a pixel.
    u32 channels;
    u32 in_h, in_w, out_h, out_w;
    u32 size, stride, pad;
    /// Whether padding counts in a mean.
    u32 counts_padding;
    /// Whether a mean's rows are summed apart.
    u32 sums_rows;
    u32 width;
};

/// A pixel and a group of its channels.
struct Place {
    u32 image, y, x, group;
};

__device__ __forceinline__ Place place_of(u32 index, u32 width, u32 height, u32 channels) {
    const u32 pixel = index / channels, row = pixel / width;
    return {row / height, row % height, pixel % width, index % channels};
}

/// Rows or columns of a window that lie in the image, from `first` to before `end`.
struct Span {
    u32 first, end;
    /// How many count in a mean.
    u32 counted;
};

__device__ __forceinline__ Span span_of(const LaunchShape& shape, u32 index, u32 len) {
    // In padded coordinates, where the image begins at `pad`.
    const u32 first = index * shape.stride, end = min(first + shape.size, len + 2 * shape.pad);
    Span span = {max(first, shape.pad) - shape.pad, max(min(end, len + shape.pad), shape.pad) - shape.pad, end - first};
    if (!shape.counts_padding) span.counted = span.end - span.first;
    return span;
}

/// Windows that cover a row or a column of the image, from `first` to before `end`.
struct Windows {
    u32 first, end;
};

__device__ __forceinline__ Windows windows_of(const LaunchShape& shape, u32 index, u32 count) {
    const u32 at = index + shape.pad;
    return {at < shape.size ? 0 : (at - shape.size) / shape.stride + 1, min(at / shape.stride + 1, count)};
}

/// What a window's sum is multiplied by to make its mean. What hangs over beyond the padding does not count.
__device__ __forceinline__ float share_of(const Span& rows, const Span& columns) {
    return 1.0f / static_cast<float>(rows.counted * columns.counted);
}

template <int N>
__device__ __forceinline__ u64 offset_of(u32 image, u32 y, u32 x, u32 group, u32 height, u32 width, u32 channels) {
    return (((u64{image} * height + y) * width + x) * channels + group) * N;
}

template <int N>
__device__ __forceinline__ void max_forward(const LaunchShape& shape, u32 activation, u32 index, const float* x, float* y,
                                            u8* argmax) {
    const Place place = place_of(index, shape.out_w, shape.out_h, shape.channels);
    const Span rows = span_of(shape, place.y, shape.in_h), columns = span_of(shape, place.x, shape.in_w);
    Floats<N> best = filled<N>(-infinity());
    u32 chosen[N] = {};
    for (u32 in_y = rows.first; in_y < rows.end; ++in_y) {
        for (u32 in_x = columns.first; in_x < columns.end; ++in_x) {
            const u32 here = (in_y + shape.pad - place.y * shape.stride) * shape.size + in_x + shape.pad -
                             place.x * shape.stride;
            const Floats<N> values =
                load<N>(x + offset_of<N>(place.image, in_y, in_x, place.group, shape.in_h, shape.in_w, shape.channels));
#pragma unroll
            for (int i = 0; i < N; ++i) {
                // The first of equals, and NaN before all others.
                if (values.at[i] > best.at[i] || values.at[i] != values.at[i]) {
                    best.at[i] = values.at[i];
                    chosen[i] = here;
                }
            }
        }
    }
    u32 packed = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (activation == RELU && !(best.at[i] > 0.0f)) chosen[i] = NOTHING;
        best.at[i] = activate(activation, best.at[i]);
        packed |= chosen[i] << (8 * i);
    }
    store(y + u64{index} * N, best);
    if constexpr (N == 4) {
        *reinterpret_cast<u32*>(argmax + u64{index} * N) = packed;
    } else {
        argmax[index] = static_cast<u8>(packed);
    }
}

template <int N>
__device__ __forceinline__ void max_backward(const LaunchShape& shape, u32 activation, u32 index, const float* y,
                                             const u8* argmax, const float* dy, float* dx) {
    const Place place = place_of(index, shape.in_w, shape.in_h, shape.channels);
    const Windows rows = windows_of(shape, place.y, shape.out_h), columns = windows_of(shape, place.x, shape.out_w);
    Floats<N> sum = filled<N>(0.0f);
    for (u32 out_y = rows.first; out_y < rows.end; ++out_y) {
        for (u32 out_x = columns.first; out_x < columns.end; ++out_x) {
            const u32 here = (place.y + shape.pad - out_y * shape.stride) * shape.size + place.x + shape.pad -
                             out_x * shape.stride;
            const u64 at =
                offset_of<N>(place.image, out_y, out_x, place.group, shape.out_h, shape.out_w, shape.channels);
            u32 chosen = 0;
            if constexpr (N == 4) {
                chosen = *reinterpret_cast<const u32*>(argmax + at);
            } else {
                chosen = argmax[at];
            }
            Floats<N> gradients = load<N>(dy + at);
            if (activation == SIGMOID) {
                const Floats<N> outputs = load<N>(y + at);
#pragma unroll
                for (int i = 0; i < N; ++i) {
                    gradients.at[i] = differentiate(SIGMOID, outputs.at[i], gradients.at[i]);
                }
            }
#pragma unroll
            for (int i = 0; i < N; ++i) {
                if ((chosen >> (8 * i) & 255u) == here) sum.at[i] += gradients.at[i];
            }
        }
    }
    store(dx + u64{index} * N, sum);
}

template <int N>
__device__ __forceinline__ void average_forward(const LaunchShape& shape, u32 index, const float* x, float* y) {
    const Place place = place_of(index, shape.out_w, shape.out_h, shape.channels);
    const Span rows = span_of(shape, place.y, shape.in_h), columns = span_of(shape, place.x, shape.in_w);
    const float share = share_of(rows, columns);
    // Of all rows, or of those before the one at hand.
    Floats<N> sum = filled<N>(0.0f), before = filled<N>(0.0f);
    for (u32 in_y = rows.first; in_y < rows.end; ++in_y) {
        if (shape.sums_rows) {
#pragma unroll
            for (int i = 0; i < N; ++i) before.at[i] += sum.at[i];
            sum = filled<N>(0.0f);
        }
        for (u32 in_x = columns.first; in_x < columns.end; ++in_x) {
            const Floats<N> values =
                load<N>(x + offset_of<N>(place.image, in_y, in_x, place.group, shape.in_h, shape.in_w, shape.channels));
#pragma unroll
            for (int i = 0; i < N; ++i) sum.at[i] += values.at[i];
        }
    }
#pragma unroll
    for (int i = 0; i < N; ++i) sum.at[i] = (before.at[i] + sum.at[i]) * share;
    store(y + u64{index} * N, sum);
}

template <int N>
__device__ __forceinline__ void average_backward(const LaunchShape& shape, u32 activation, u32 index, const float* x,
                                                 const float* dy, float* dx) {
    const Place place = place_of(index, shape.in_w, shape.in_h, shape.channels);
    const Windows rows = windows_of(shape, place.y, shape.out_h), columns = windows_of(shape, place.x, shape.out_w);
    Floats<N> sum = filled<N>(0.0f);
    for (u32 out_y = rows.first; out_y < rows.end; ++out_y) {
        const Span height = span_of(shape, out_y, shape.in_h);
        for (u32 out_x = columns.first; out_x < columns.end; ++out_x) {
            const float share = share_of(height, span_of(shape, out_x, shape.in_w));
            const Floats<N> gradients =
                load<N>(dy + offset_of<N>(place.image, out_y, out_x, place.group, shape.out_h, shape.out_w,
                                          shape.channels));
#pragma unroll
            for (int i = 0; i < N; ++i) sum.at[i] += gradients.at[i] * share;
        }
    }
    if (activation != NO_ACTIVATION) {
        const Floats<N> outputs = load<N>(x + u64{index} * N);
#pragma unroll
        for (int i = 0; i < N; ++i) sum.at[i] = differentiate(activation, outputs.at[i], sum.at[i]);
    }
    store(dx + u64{index} * N, sum);
}

} // namespace pool

/// `y`: the activation of the largest value of each window. `argmax`: its place in the window.
extern "C" __global__ void __launch_bounds__(pool::THREADS)
    pool_max_forward(pool::LaunchShape shape, u32 activation, Lanes<const float> x, Lanes<float> y, Lanes<u8> argmax) {
    const u32 index = blockIdx.x * pool::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.width == 4) {
        pool::max_forward<4>(shape, activation, index, x[lane], y[lane], argmax[lane]);
    } else {
        pool::max_forward<1>(shape, activation, index, x[lane], y[lane], argmax[lane]);
    }
}

/// `dx`: each gradient of `dy` goes to the pixel that was chosen. ReLU's slope is in the argmax; the sigmoid's
/// follows from `y`, which is read for nothing else.
extern "C" __global__ void __launch_bounds__(pool::THREADS)
    pool_max_backward(pool::LaunchShape shape, u32 activation, Lanes<const float> y, Lanes<const u8> argmax,
                      Lanes<const float> dy, Lanes<float> dx) {
    const u32 index = blockIdx.x * pool::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.width == 4) {
        pool::max_backward<4>(shape, activation, index, y[lane], argmax[lane], dy[lane], dx[lane]);
    } else {
        pool::max_backward<1>(shape, activation, index, y[lane], argmax[lane], dy[lane], dx[lane]);
    }
}

/// `y`: the mean of each window.
extern "C" __global__ void __launch_bounds__(pool::THREADS, 4)
    pool_average_forward(pool::LaunchShape shape, Lanes<const float> x, Lanes<float> y) {
    const u32 index = blockIdx.x * pool::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.width == 4) {
        pool::average_forward<4>(shape, index, x[lane], y[lane]);
    } else {
        pool::average_forward<1>(shape, index, x[lane], y[lane]);
    }
}

/// `dx`: each gradient of `dy` is shared out among the pixels of its window, then goes through the slope of the activation
/// whose output `x` is.
extern "C" __global__ void __launch_bounds__(pool::THREADS, 4)
    pool_average_backward(pool::LaunchShape shape, u32 activation, Lanes<const float> x, Lanes<const float> dy,
                          Lanes<float> dx) {
    const u32 index = blockIdx.x * pool::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.width == 4) {
        pool::average_backward<4>(shape, activation, index, x[lane], dy[lane], dx[lane]);
    } else {
        pool::average_backward<1>(shape, activation, index, x[lane], dy[lane], dx[lane]);
    }
}
