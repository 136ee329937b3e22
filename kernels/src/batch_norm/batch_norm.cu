// Batch normalisation. Each pass is two launches: the first sums chunks of rows, the second puts the chunks together, in
// order and in float64, in every block anew, and goes through the rows. That costs each block some KiB from the L2 cache and
// saves a launch.
//
// A row is a pixel. Grid: x = chunk, y = tile of channels, z = lane. A block has 256 threads: `columns` (1, 2, 4 or 8) groups
// of `width` channels side by side (4 where everything is aligned, else 1), and 256 / columns rows one below the other.
#include "device.cuh"

namespace batch_norm {

constexpr u32 THREADS = 256;
/// Rows that a thread has in registers at a time.
constexpr u32 ROWS = 8;
/// Channels of a block, at most.
constexpr u32 MOST_CHANNELS = 32;

/// Mirrors `LaunchShape` in cuda.rs.
struct LaunchShape {
    u32 rows, channels;
    /// Rows of a chunk, a multiple of 8 x 256 / columns, and how many chunks there are.
    u32 chunk_rows, chunks;
    u32 columns, width;
    float epsilon;
    /// 1 if there are weights and biases.
    u32 affine;
};

/// What becomes of the statistics between steps. Mirrors `Remembered` in cuda.rs.
struct Memory {
    /// 0: Caffe's sums, which are divided by the sum of their weights; 1: PyTorch's running averages.
    u32 form;
    /// What is kept of the old, and what is added of the new.
    float keep, add;
    /// Makes a biased variance unbiased.
    float unbiased;
};

/// Where a thread works.
struct Position {
    /// Of the chunk: the first row, and the row after the last.
    u32 first_row, end_row;
    /// Its own first row and how far its rows are apart.
    u32 row, step;
    /// Its first channel, and where that is in the tile.
    u32 channel, column;
    bool inside;
};

__device__ __forceinline__ Position position(const LaunchShape& shape) {
    Position at;
    at.first_row = blockIdx.x * shape.chunk_rows;
    at.end_row = min(at.first_row + shape.chunk_rows, shape.rows);
    at.step = THREADS / shape.columns;
    at.row = at.first_row + threadIdx.x / shape.columns;
    at.column = threadIdx.x % shape.columns * shape.width;
    at.channel = blockIdx.y * shape.columns * shape.width + at.column;
    at.inside = at.channel < shape.channels;
    return at;
}

/// Sums each thread's values over the rows of the block: the threads of the first row have the result.
template <int N>
__device__ __forceinline__ void sum_rows(const LaunchShape& shape, Floats<N>& values, Floats<4>* shared) {
    Floats<4>& own = shared[threadIdx.x];
#pragma unroll
    for (int i = 0; i < N; ++i) own.at[i] = values.at[i];
    for (u32 half = THREADS / 2; half >= shape.columns; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
#pragma unroll
            for (int i = 0; i < N; ++i) own.at[i] += shared[threadIdx.x + half].at[i];
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; ++i) values.at[i] = shared[threadIdx.x % shape.columns].at[i];
    __syncthreads();
}

/// Mean and sum of squared differences to it, of one channel of a chunk: `[chunk][2][channels]`.
template <int N>
__device__ __forceinline__ void statistics(const LaunchShape& shape, const float* x, float* partial, Floats<4>* shared) {
    const Position at = position(shape);
    Floats<N> mean = filled<N>(0.0f), squares = filled<N>(0.0f);
    float before = 0.0f;
    // 8 rows of each thread at a time, whose squares are of differences to their own mean: no digits are lost where the mean
    // is large. What came before is joined to them as by Chan et al. (1979).
    for (u32 first = at.first_row; first < at.end_row; first += ROWS * at.step) {
        Floats<N> values[ROWS];
        Floats<N> sum = filled<N>(0.0f), square = filled<N>(0.0f);
        const u32 own = first + (at.row - at.first_row);
#pragma unroll
        for (u32 i = 0; i < ROWS; ++i) {
            const u32 row = own + i * at.step;
            const bool exists = at.inside && row < at.end_row;
            values[i] = exists ? load<N>(x + u64{row} * shape.channels + at.channel) : filled<N>(0.0f);
#pragma unroll
            for (int n = 0; n < N; ++n) sum.at[n] += values[i].at[n];
        }
        const float count = static_cast<float>(min(ROWS * at.step, at.end_row - first));
        sum_rows<N>(shape, sum, shared);
#pragma unroll
        for (int n = 0; n < N; ++n) sum.at[n] /= count;
#pragma unroll
        for (u32 i = 0; i < ROWS; ++i) {
            if (own + i * at.step < at.end_row) {
#pragma unroll
                for (int n = 0; n < N; ++n) {
                    const float difference = values[i].at[n] - sum.at[n];
                    square.at[n] += difference * difference;
                }
            }
        }
        sum_rows<N>(shape, square, shared);
        const float all = before + count;
#pragma unroll
        for (int n = 0; n < N; ++n) {
            const float difference = sum.at[n] - mean.at[n];
            mean.at[n] += difference * (count / all);
            squares.at[n] += square.at[n] + difference * difference * (before * (count / all));
        }
        before = all;
    }
    if (threadIdx.x < shape.columns && at.inside) {
        float* to = partial + u64{blockIdx.x} * 2 * shape.channels + at.channel;
        store(to, mean);
        store(to + shape.channels, squares);
    }
}

/// Mean and biased variance of a channel.
struct Moments {
    float mean, variance;
};

/// The chunks' put together, in order.
__device__ __forceinline__ Moments join(const LaunchShape& shape, const float* partial, u32 channel) {
    double sum = 0.0, squares = 0.0;
    for (u32 chunk = 0; chunk < shape.chunks; ++chunk) {
        const u32 rows = min(shape.chunk_rows, shape.rows - chunk * shape.chunk_rows);
        sum += static_cast<double>(rows) * static_cast<double>(partial[u64{chunk} * 2 * shape.channels + channel]);
    }
    const double mean = sum / shape.rows;
    for (u32 chunk = 0; chunk < shape.chunks; ++chunk) {
        const u32 rows = min(shape.chunk_rows, shape.rows - chunk * shape.chunk_rows);
        const float* at = partial + u64{chunk} * 2 * shape.channels + channel;
        const double difference = static_cast<double>(at[0]) - mean;
        squares += static_cast<double>(at[shape.channels]) + rows * difference * difference;
    }
    return {static_cast<float>(mean), static_cast<float>(squares / shape.rows)};
}

/// The tile's channels: `(x - mean) scale + shift`.
struct Constants {
    float mean[MOST_CHANNELS], scale[MOST_CHANNELS], shift[MOST_CHANNELS];
};

__device__ __forceinline__ void set(Constants& constants, const LaunchShape& shape, const Moments& moments, const float* affine,
                                    u32 channel) {
    const float weight = shape.affine ? affine[channel] : 1.0f;
    constants.mean[threadIdx.x] = moments.mean;
    constants.scale[threadIdx.x] = weight / sqrtf(moments.variance + shape.epsilon);
    constants.shift[threadIdx.x] = shape.affine ? affine[shape.channels + channel] : 0.0f;
}

template <int N>
__device__ __forceinline__ void normalise(const LaunchShape& shape, const Constants& constants, u32 activation, const float* x,
                                          float* y) {
    const Position at = position(shape);
    if (!at.inside) return;
    for (u32 row = at.row; row < at.end_row; row += at.step) {
        const u64 place = u64{row} * shape.channels + at.channel;
        Floats<N> values = load<N>(x + place);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const float difference = values.at[i] - constants.mean[at.column + i];
            values.at[i] = activate(activation, difference * constants.scale[at.column + i] +
                                                    constants.shift[at.column + i]);
        }
        store(y + place, values);
    }
}

/// The gradient of what the activation was applied to. ReLU's slope follows from `x`, the sigmoid's from `y`.
template <int N>
__device__ __forceinline__ Floats<N> gradient(const Constants& constants, u32 activation, u32 column,
                                              const Floats<N>& difference, const float* y, const float* dy) {
    Floats<N> gradients = load<N>(dy);
    if (activation == RELU) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const float value = difference.at[i] * constants.scale[column + i] + constants.shift[column + i];
            gradients.at[i] = differentiate(RELU, value, gradients.at[i]);
        }
    } else if (activation == SIGMOID) {
        const Floats<N> outputs = load<N>(y);
#pragma unroll
        for (int i = 0; i < N; ++i) gradients.at[i] = differentiate(SIGMOID, outputs.at[i], gradients.at[i]);
    }
    return gradients;
}

/// `Σ g` and `Σ g (x - mean)` of a chunk: `[chunk][2][channels]`.
template <int N>
__device__ __forceinline__ void sums(const LaunchShape& shape, const Constants& constants, u32 activation, const float* x,
                                     const float* y, const float* dy, float* partial, Floats<4>* shared) {
    const Position at = position(shape);
    Floats<N> sum = filled<N>(0.0f), product = filled<N>(0.0f);
    for (u32 row = at.row; at.inside && row < at.end_row; row += at.step) {
        const u64 place = u64{row} * shape.channels + at.channel;
        Floats<N> difference = load<N>(x + place);
#pragma unroll
        for (int i = 0; i < N; ++i) difference.at[i] -= constants.mean[at.column + i];
        const Floats<N> gradients = gradient<N>(constants, activation, at.column, difference, y + place, dy + place);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            sum.at[i] += gradients.at[i];
            product.at[i] += gradients.at[i] * difference.at[i];
        }
    }
    sum_rows<N>(shape, sum, shared);
    sum_rows<N>(shape, product, shared);
    if (threadIdx.x < shape.columns && at.inside) {
        float* to = partial + u64{blockIdx.x} * 2 * shape.channels + at.channel;
        store(to, sum);
        store(to + shape.channels, product);
    }
}

/// `dx = weight / sqrt(variance + epsilon) (g - Σ g / rows - (x - mean) slope)`.
template <int N>
__device__ __forceinline__ void gradients(const LaunchShape& shape, const Constants& constants, const float* constant,
                                          const float* slope, u32 activation, const float* x, const float* y,
                                          const float* dy, float* dx) {
    const Position at = position(shape);
    if (!at.inside) return;
    for (u32 row = at.row; row < at.end_row; row += at.step) {
        const u64 place = u64{row} * shape.channels + at.channel;
        Floats<N> difference = load<N>(x + place);
#pragma unroll
        for (int i = 0; i < N; ++i) difference.at[i] -= constants.mean[at.column + i];
        Floats<N> values = gradient<N>(constants, activation, at.column, difference, y + place, dy + place);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const u32 column = at.column + i;
            const float rest = values.at[i] - constant[column] - difference.at[i] * slope[column];
            values.at[i] = constants.scale[column] * rest;
        }
        store(dx + place, values);
    }
}

/// The first channel of the block, and whether this thread has one of the tile's channels to itself.
struct Own {
    u32 channel;
    bool exists;
};

__device__ __forceinline__ Own own_channel(const LaunchShape& shape) {
    const u32 tile = shape.columns * shape.width, channel = blockIdx.y * tile + threadIdx.x;
    return {channel, threadIdx.x < tile && channel < shape.channels};
}

} // namespace batch_norm

/// `partial`: mean and squares of each chunk.
extern "C" __global__ void __launch_bounds__(batch_norm::THREADS)
    batch_norm_statistics(batch_norm::LaunchShape shape, Lanes<const float> x, Lanes<float> partial) {
    __shared__ Floats<4> shared[batch_norm::THREADS];
    const u32 lane = blockIdx.z;
    if (shape.width == 4) {
        batch_norm::statistics<4>(shape, x[lane], partial[lane], shared);
    } else {
        batch_norm::statistics<1>(shape, x[lane], partial[lane], shared);
    }
}

/// `y`, from the chunks' statistics. The blocks of the first chunk also write `moments`, `[2][channels]`, for the backward
/// pass, and take them into `running`: `[2][channels]`, and one more for Caffe's sum of weights. `affine` is
/// `[2][channels]`, weights and biases.
extern "C" __global__ void __launch_bounds__(batch_norm::THREADS)
    batch_norm_forward(batch_norm::LaunchShape shape, batch_norm::Memory memory, u32 activation, u32 update,
                       const LaneStep* steps, Lanes<const float> x, Lanes<const float> partial,
                       Lanes<const float> affine, Lanes<float> moments, Lanes<float> running, Lanes<float> y) {
    __shared__ batch_norm::Constants constants;
    const u32 lane = blockIdx.z;
    const batch_norm::Own own = batch_norm::own_channel(shape);
    if (own.exists) {
        const batch_norm::Moments found = batch_norm::join(shape, partial[lane], own.channel);
        batch_norm::set(constants, shape, found, affine[lane], own.channel);
        if (blockIdx.x == 0) {
            moments[lane][own.channel] = found.mean;
            moments[lane][shape.channels + own.channel] = found.variance;
            if (steps[lane].samples == update) {
                float* mean = running[lane] + own.channel;
                float* variance = mean + shape.channels;
                *mean = memory.keep * *mean + memory.add * found.mean;
                *variance = memory.keep * *variance + memory.add * memory.unbiased * found.variance;
                if (memory.form == 0 && own.channel == 0) {
                    float* weights = running[lane] + 2 * shape.channels;
                    *weights = memory.keep * *weights + 1.0f;
                }
            }
        }
    }
    __syncthreads();
    if (shape.width == 4) {
        batch_norm::normalise<4>(shape, constants, activation, x[lane], y[lane]);
    } else {
        batch_norm::normalise<1>(shape, constants, activation, x[lane], y[lane]);
    }
}

/// `y`, from what is remembered.
extern "C" __global__ void __launch_bounds__(batch_norm::THREADS)
    batch_norm_evaluate(batch_norm::LaunchShape shape, batch_norm::Memory memory, u32 activation, Lanes<const float> x,
                        Lanes<const float> affine, Lanes<const float> running, Lanes<float> y) {
    __shared__ batch_norm::Constants constants;
    const u32 lane = blockIdx.z;
    const batch_norm::Own own = batch_norm::own_channel(shape);
    if (own.exists) {
        const float* mean = running[lane] + own.channel;
        float scale = 1.0f;
        if (memory.form == 0) {
            // As Caffe: before the first step all is 0.
            const float weights = running[lane][2 * shape.channels];
            scale = weights == 0.0f ? 0.0f : 1.0f / weights;
        }
        const batch_norm::Moments found = {scale * mean[0], scale * mean[shape.channels]};
        batch_norm::set(constants, shape, found, affine[lane], own.channel);
    }
    __syncthreads();
    if (shape.width == 4) {
        batch_norm::normalise<4>(shape, constants, activation, x[lane], y[lane]);
    } else {
        batch_norm::normalise<1>(shape, constants, activation, x[lane], y[lane]);
    }
}

/// `partial`: sums of gradients, and of gradients times differences, of each chunk.
extern "C" __global__ void __launch_bounds__(batch_norm::THREADS)
    batch_norm_sums(batch_norm::LaunchShape shape, u32 activation, Lanes<const float> x, Lanes<const float> moments,
                    Lanes<const float> affine, Lanes<const float> y, Lanes<const float> dy, Lanes<float> partial) {
    __shared__ Floats<4> shared[batch_norm::THREADS];
    __shared__ batch_norm::Constants constants;
    const u32 lane = blockIdx.z;
    const batch_norm::Own own = batch_norm::own_channel(shape);
    if (own.exists) {
        const batch_norm::Moments found = {moments[lane][own.channel], moments[lane][shape.channels + own.channel]};
        batch_norm::set(constants, shape, found, affine[lane], own.channel);
    }
    __syncthreads();
    if (shape.width == 4) {
        batch_norm::sums<4>(shape, constants, activation, x[lane], y[lane], dy[lane], partial[lane], shared);
    } else {
        batch_norm::sums<1>(shape, constants, activation, x[lane], y[lane], dy[lane], partial[lane], shared);
    }
}

/// `dx`, where it is asked for, from the chunks' sums. The blocks of the first chunk also write `daffine`, `[2][channels]`,
/// where there are weights.
extern "C" __global__ void __launch_bounds__(batch_norm::THREADS)
    batch_norm_backward(batch_norm::LaunchShape shape, u32 activation, Lanes<const float> x, Lanes<const float> moments,
                        Lanes<const float> affine, Lanes<const float> y, Lanes<const float> dy,
                        Lanes<const float> partial, Lanes<float> daffine, Lanes<float> dx) {
    __shared__ batch_norm::Constants constants;
    __shared__ float constant[batch_norm::MOST_CHANNELS], slope[batch_norm::MOST_CHANNELS];
    const u32 lane = blockIdx.z;
    const batch_norm::Own own = batch_norm::own_channel(shape);
    if (own.exists) {
        const batch_norm::Moments found = {moments[lane][own.channel], moments[lane][shape.channels + own.channel]};
        batch_norm::set(constants, shape, found, affine[lane], own.channel);
        double sum = 0.0, product = 0.0;
        for (u32 chunk = 0; chunk < shape.chunks; ++chunk) {
            const float* at = partial[lane] + u64{chunk} * 2 * shape.channels + own.channel;
            sum += static_cast<double>(at[0]);
            product += static_cast<double>(at[shape.channels]);
        }
        const float inverse = 1.0f / sqrtf(found.variance + shape.epsilon), rows = static_cast<float>(shape.rows);
        const float dweight = static_cast<float>(product * static_cast<double>(inverse));
        const float dbias = static_cast<float>(sum);
        constant[threadIdx.x] = dbias / rows;
        slope[threadIdx.x] = inverse * dweight / rows;
        if (blockIdx.x == 0 && shape.affine) {
            daffine[lane][own.channel] = dweight;
            daffine[lane][shape.channels + own.channel] = dbias;
        }
    }
    __syncthreads();
    if (!dx.exists()) return;
    if (shape.width == 4) {
        batch_norm::gradients<4>(shape, constants, constant, slope, activation, x[lane], y[lane], dy[lane], dx[lane]);
    } else {
        batch_norm::gradients<1>(shape, constants, constant, slope, activation, x[lane], y[lane], dy[lane], dx[lane]);
    }
}
