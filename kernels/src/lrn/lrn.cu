// Local response normalisation: `y = x s^-beta` with `s = k + alpha / n Σ x²` over the neighbours of each value, and
// `dx = dy s^-beta - 2 beta alpha / n x Σ (dy x s^-beta / s)` over the same ones. The forward pass keeps nothing: computing s
// again costs less than fetching it.
//
// Backward, a block has a tile of values. It puts the products `dy x s^-beta / s` of the tile and of what its windows reach
// beyond it into shared memory, so that x and dy are read from global memory once, but for the tile's margin.
#include "device.cuh"

namespace lrn {

constexpr u32 THREADS = 256;

/// The constants. Mirrors `Constants` in cuda.rs.
struct Constants {
    float k;
    /// `alpha / n`.
    float factor;
    float beta;
    /// `2 beta alpha / n`.
    float slope;
};

/// s^-beta, and s^-beta / s.
struct Powers {
    float power, over;
};

__device__ __forceinline__ Powers powers_of(const Constants& constants, float sum) {
    const float s = constants.k + constants.factor * sum;
    if (constants.beta == 0.75f) {
        // Both functions are instructions, within 2 units in the last place.
        const float root = rsqrtf(s * rsqrtf(s)), square = root * root;
        const float power = square * root;
        return {power, power * (square * square)};
    }
    const float power = powf(s, -constants.beta);
    return {power, power / s};
}

// ---------------------------------------------------------------------------------------------------------------------
// Within a channel: windows of `2 reach + 1` squared pixels.

/// Mirrors `Within` in cuda.rs.
struct Within {
    u32 height, width;
    /// Groups of a pixel's channels.
    u32 channels;
    /// Groups of all images.
    u32 groups;
    u32 reach;
    /// Of the backward pass: pixels and groups of channels of a block's tile, and how many tiles there are.
    u32 tile_h, tile_w, tile_channels;
    u32 tiles_y, tiles_x, tiles_channels;
    /// Floats of a group.
    u32 floats;
};

template <int N>
__device__ __forceinline__ Floats<N> squares_around(const Within& shape, const float* image, u32 y, u32 x, u32 group) {
    Floats<N> sum = filled<N>(0.0f);
    const u32 first_y = y - min(y, shape.reach), end_y = min(y + shape.reach + 1, shape.height);
    const u32 first_x = x - min(x, shape.reach), end_x = min(x + shape.reach + 1, shape.width);
    for (u32 at_y = first_y; at_y < end_y; ++at_y) {
        for (u32 at_x = first_x; at_x < end_x; ++at_x) {
            const Floats<N> values = load<N>(image + ((at_y * shape.width + at_x) * shape.channels + group) * N);
#pragma unroll
            for (int i = 0; i < N; ++i) sum.at[i] += values.at[i] * values.at[i];
        }
    }
    return sum;
}

template <int N>
__device__ __forceinline__ void within_forward(const Within& shape, const Constants& constants, u32 index, const float* x,
                                               float* y) {
    const u32 pixel = index / shape.channels, row = pixel / shape.width;
    const u32 in_y = row % shape.height, in_x = pixel % shape.width;
    const float* image = x + u64{row / shape.height} * shape.height * shape.width * shape.channels * N;
    const Floats<N> sum = squares_around<N>(shape, image, in_y, in_x, index % shape.channels);
    Floats<N> values = load<N>(x + u64{index} * N);
#pragma unroll
    for (int i = 0; i < N; ++i) values.at[i] *= powers_of(constants, sum.at[i]).power;
    store(y + u64{index} * N, values);
}

template <int N>
__device__ __forceinline__ void within_backward(const Within& shape, const Constants& constants, const float* x,
                                                const float* dy, float* dx) {
    // The tile and its margin, in rows of pixels of `tile_channels` groups. First the products; then, of the tile alone,
    // `dy s^-beta`.
    DYNAMIC_SHARED(float, products);
    const u32 reach = shape.reach, depth = shape.tile_channels;
    const u32 wide = shape.tile_w + 2 * reach, high = shape.tile_h + 2 * reach;
    float* const scaled = products + high * wide * depth * N;
    u32 tile = blockIdx.x;
    const u32 first_channel = tile % shape.tiles_channels * depth;
    tile /= shape.tiles_channels;
    const u32 first_x = tile % shape.tiles_x * shape.tile_w;
    tile /= shape.tiles_x;
    const u32 first_y = tile % shape.tiles_y * shape.tile_h;
    const u64 image = u64{tile / shape.tiles_y} * shape.height * shape.width * shape.channels * N;

    for (u32 index = threadIdx.x; index < high * wide * depth; index += THREADS) {
        const u32 group = first_channel + index % depth, pixel = index / depth;
        // Before the first row or column these wrap around, and are none of the image either.
        const u32 in_y = first_y + pixel / wide - reach, in_x = first_x + pixel % wide - reach;
        Floats<N> product = filled<N>(0.0f);
        if (in_y < shape.height && in_x < shape.width && group < shape.channels) {
            const Floats<N> sum = squares_around<N>(shape, x + image, in_y, in_x, group);
            const u64 at = image + ((u64{in_y} * shape.width + in_x) * shape.channels + group) * N;
            const Floats<N> values = load<N>(x + at);
            Floats<N> gradients = load<N>(dy + at);
#pragma unroll
            for (int i = 0; i < N; ++i) {
                const Powers powers = powers_of(constants, sum.at[i]);
                product.at[i] = gradients.at[i] * values.at[i] * powers.over;
                gradients.at[i] *= powers.power;
            }
            const u32 tile_y = in_y - first_y, tile_x = in_x - first_x;
            if (tile_y < shape.tile_h && tile_x < shape.tile_w) {
                store(scaled + ((tile_y * shape.tile_w + tile_x) * depth + index % depth) * N, gradients);
            }
        }
        store(products + index * N, product);
    }
    __syncthreads();

    for (u32 index = threadIdx.x; index < shape.tile_h * shape.tile_w * depth; index += THREADS) {
        const u32 group = first_channel + index % depth, pixel = index / depth;
        const u32 tile_y = pixel / shape.tile_w, tile_x = pixel % shape.tile_w;
        const u32 in_y = first_y + tile_y, in_x = first_x + tile_x;
        if (in_y >= shape.height || in_x >= shape.width || group >= shape.channels) continue;
        Floats<N> sum = filled<N>(0.0f);
        for (u32 row = tile_y; row <= tile_y + 2 * reach; ++row) {
            for (u32 column = tile_x; column <= tile_x + 2 * reach; ++column) {
                const Floats<N> product = load<N>(products + ((row * wide + column) * depth + index % depth) * N);
#pragma unroll
                for (int i = 0; i < N; ++i) sum.at[i] += product.at[i];
            }
        }
        const u64 at = image + ((u64{in_y} * shape.width + in_x) * shape.channels + group) * N;
        const Floats<N> values = load<N>(x + at);
        Floats<N> gradients = load<N>(scaled + index * N);
#pragma unroll
        for (int i = 0; i < N; ++i) gradients.at[i] -= constants.slope * values.at[i] * sum.at[i];
        store(dx + at, gradients);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Across channels: windows of `2 reach + 1` channels of one pixel.

/// Mirrors `Across` in cuda.rs.
struct Across {
    /// Of all images.
    u32 pixels;
    u32 channels;
    u32 reach;
    /// Of the backward pass: pixels and channels of a block's tile, and tiles along the channels.
    u32 tile_pixels, tile_channels, tiles_channels;
};

__device__ __forceinline__ float squares_beside(const Across& shape, const float* pixel, u32 channel) {
    float sum = 0.0f;
    const u32 end = min(channel + shape.reach + 1, shape.channels);
    for (u32 at = channel - min(channel, shape.reach); at < end; ++at) sum += pixel[at] * pixel[at];
    return sum;
}

} // namespace lrn

/// Grid: x = 256 groups of `floats` channels, y = lane.
extern "C" __global__ void __launch_bounds__(lrn::THREADS)
    lrn_within_forward(lrn::Within shape, lrn::Constants constants, Lanes<const float> x, Lanes<float> y) {
    const u32 index = blockIdx.x * lrn::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.groups) return;
    if (shape.floats == 4) {
        lrn::within_forward<4>(shape, constants, index, x[lane], y[lane]);
    } else {
        lrn::within_forward<1>(shape, constants, index, x[lane], y[lane]);
    }
}

/// Grid: x = image, tile down, tile right, tile of channels (fastest); y = lane. Shared memory: products and scaled
/// gradients of a tile.
extern "C" __global__ void __launch_bounds__(lrn::THREADS)
    lrn_within_backward(lrn::Within shape, lrn::Constants constants, Lanes<const float> x, Lanes<const float> dy,
                        Lanes<float> dx) {
    const u32 lane = blockIdx.y;
    if (shape.floats == 4) {
        lrn::within_backward<4>(shape, constants, x[lane], dy[lane], dx[lane]);
    } else {
        lrn::within_backward<1>(shape, constants, x[lane], dy[lane], dx[lane]);
    }
}

/// Grid: x = 256 values, y = lane.
extern "C" __global__ void __launch_bounds__(lrn::THREADS)
    lrn_across_forward(lrn::Across shape, lrn::Constants constants, Lanes<const float> x, Lanes<float> y) {
    const u32 index = blockIdx.x * lrn::THREADS + threadIdx.x, lane = blockIdx.y;
    if (index >= shape.pixels * shape.channels) return;
    const u32 channel = index % shape.channels;
    const float sum = lrn::squares_beside(shape, x[lane] + (index - channel), channel);
    y[lane][index] = x[lane][index] * lrn::powers_of(constants, sum).power;
}

/// Grid: x = tile of pixels, tile of channels (fastest); y = lane. Shared memory: the products of a tile.
extern "C" __global__ void __launch_bounds__(lrn::THREADS)
    lrn_across_backward(lrn::Across shape, lrn::Constants constants, Lanes<const float> x, Lanes<const float> dy,
                        Lanes<float> dx) {
    DYNAMIC_SHARED(float, products);
    const float* const own_x = x[blockIdx.y];
    const float* const own_dy = dy[blockIdx.y];
    const u32 wide = shape.tile_channels + 2 * shape.reach;
    const u32 first_pixel = blockIdx.x / shape.tiles_channels * shape.tile_pixels;
    const u32 first_channel = blockIdx.x % shape.tiles_channels * shape.tile_channels;

    for (u32 index = threadIdx.x; index < shape.tile_pixels * wide; index += lrn::THREADS) {
        // Before the first channel this wraps around, and is no channel either.
        const u32 pixel = first_pixel + index / wide, channel = first_channel + index % wide - shape.reach;
        float product = 0.0f;
        if (pixel < shape.pixels && channel < shape.channels) {
            const u64 first = u64{pixel} * shape.channels;
            const float sum = lrn::squares_beside(shape, own_x + first, channel);
            product = own_dy[first + channel] * own_x[first + channel] * lrn::powers_of(constants, sum).over;
        }
        products[index] = product;
    }
    __syncthreads();

    for (u32 index = threadIdx.x; index < shape.tile_pixels * shape.tile_channels; index += lrn::THREADS) {
        const u32 row = index / shape.tile_channels, column = index % shape.tile_channels;
        const u32 pixel = first_pixel + row, channel = first_channel + column;
        if (pixel >= shape.pixels || channel >= shape.channels) continue;
        float sum = 0.0f;
        for (u32 at = column; at <= column + 2 * shape.reach; ++at) sum += products[row * wide + at];
        const u64 first = u64{pixel} * shape.channels;
        const float power = lrn::powers_of(constants, lrn::squares_beside(shape, own_x + first, channel)).power;
        dx[blockIdx.y][first + channel] = own_dy[first + channel] * power - constants.slope * own_x[first + channel] * sum;
    }
}
