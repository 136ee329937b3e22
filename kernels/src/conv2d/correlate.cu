// The convolution and the gradient of its input: both are correlations of a source with a kernel.
//
//   forward          y  = relu(correlate(x, w) + bias)
//   input gradient   dx = correlate(dy where relu_y > 0, w turned around and with its channels swapped)
//
// A block computes 256 pixels x 32 channels of the target, as an implicit matrix product of depth
// taps x channels. It stages the patch of the source that its pixels meet (staging.cuh), for 8 to 32 channels at a time
// (fewer than 8 channels: all of them, the "narrow" kernels), and streams the weights through two buffers of 32 of the
// depth: the next ones are fetched into registers while the tensor cores work on these. A warp computes 64 x 32, which
// reads 3 KiB of shared memory for each 64 KFLOP of bfloat16.
//
// With stride s, the input pixels i with (i + pad) % s = p meet the kernel positions k with k % s = p only. So the
// input gradient is s x s correlations of stride 1, the phases, each over its part of the kernel and of the target.
//
// Grid: x = phase, image tile, row tile, column tile; y = group, channel tile; z = lane. Block: 128 threads.
// Nothing depends on the number of lanes, and no sum crosses blocks.
#include "device.cuh"
#include "staging.cuh"

namespace conv2d {

/// What a launch computes; the same for all lanes. Mirrors `Correlation` of cuda.rs.
struct Correlation {
    int images;
    int source_height, source_width, source_channels;
    int target_height, target_width, target_channels;
    /// Channels of a group.
    int source_group, target_group;
    int kernel_height, kernel_width, stride, pad;
    /// Whether this is the gradient of the input; else it is the convolution.
    int is_gradient;
    /// Of one position of the kernel, and of one channel of the source and of the target, in the weights.
    int weight_tap_stride, weight_source_stride, weight_target_stride;
    /// Floats between the weights of two groups.
    int weight_group_stride;
    /// The box of target pixels that a block computes, at most 256, and how many of them cover an image.
    int tile_images, tile_rows, tile_columns;
    int image_tiles, row_tiles, column_tiles;
    /// The patch that it meets, for `slice_rows` rows of the kernel at a time.
    int patch_rows, patch_columns, slice_rows;
    /// Most taps of a slice; narrow: times channels.
    int table_len;
    /// Channels of a patch, and elements between its pixels.
    int patch_channels, pixel_stride;
    /// Whether sources and weights may be read in runs of 16 B.
    int source_aligned, weight_aligned;
    /// Whether the target is stored in runs of 8 B.
    int target_aligned;
    int relu;
};

/// Rows or columns of one phase: target position t is `target_first + t * target_step` in the image and meets, by tap
/// v, the source at `source_first + t * source_step + v` with the weight at `weight_first + v * weight_step`.
struct Axis {
    int count, taps;
    int target_first, target_step;
    int source_first, source_step;
    int weight_first, weight_step;
};

__device__ __forceinline__ Axis make_axis(const Correlation& shape, int kernel, int target, int phase) {
    if (!shape.is_gradient) return {target, kernel, 0, 1, -shape.pad, shape.stride, 0, 1};
    const int stride = shape.stride;
    const int taps = phase < kernel ? (kernel - phase + stride - 1) / stride : 0;
    const int first = ((phase - shape.pad) % stride + stride) % stride;
    const int count = first < target ? (target - first + stride - 1) / stride : 0;
    const int meets = (first + shape.pad - phase) / stride;
    return {count, taps, first, stride, meets - taps + 1, 1, phase + stride * (taps - 1), -stride};
}

constexpr int CORRELATE_THREADS = 128;
constexpr int CORRELATE_CHANNELS = 32;
constexpr int CORRELATE_DEPTH = 32;

/// Weights in shared memory are `[channel][depth]`; with 16 B of padding a fragment of 8 channels meets each bank once.
template <class Precision>
constexpr int WEIGHT_STRIDE = CORRELATE_DEPTH + 16 / static_cast<int>(sizeof(typename Precision::Element));

/// Where the depth of a slice lies. Wide: an entry for each tap, which has `1 << bits` channels; narrow: one for each
/// tap and channel, and no bits.
struct Depth {
    /// Elements from a pixel to what it meets.
    const int* patch;
    const int* weight;
    int len, bits;
};

/// Fetches this thread's 8 of the 32 x 32 weights that begin at `first` of the depth. Forward, these are channels 4 q
/// to 4 q + 3 at depths 2 p and 2 p + 1, since neighbours in the weights are channels of the target; for the gradient,
/// where they are channels of the source, one channel at 8 depths.
template <bool NARROW>
__device__ __forceinline__ void fetch_weights(float4 (&fetched)[2], const Correlation& shape,
                                              const float* __restrict__ weights, const Depth& depth, int first,
                                              int source_channels, int target_channels) {
    const int thread = static_cast<int>(threadIdx.x);
    const int mask = (1 << depth.bits) - 1;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        fetched[half] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (!shape.is_gradient) {
            const int k = first + (thread & 15) * 2 + half;
            const int channel = (thread >> 4) * 4;
            if (k < depth.len && (NARROW || (k & mask) < source_channels)) {
                const int at = depth.weight[k >> depth.bits] + (k & mask) * shape.weight_source_stride + channel;
                fetched[half] = load_up_to_4(weights + at, target_channels - channel, shape.weight_aligned);
            }
        } else {
            const int k = first + (thread & 3) * 8 + half * 4;
            const int channel = thread >> 2;
            if (k < depth.len && channel < target_channels) {
                const float* row = weights + channel * shape.weight_target_stride;
                if (NARROW) {
                    fetched[half].x = row[depth.weight[k]];
                    if (k + 1 < depth.len) fetched[half].y = row[depth.weight[k + 1]];
                    if (k + 2 < depth.len) fetched[half].z = row[depth.weight[k + 2]];
                    if (k + 3 < depth.len) fetched[half].w = row[depth.weight[k + 3]];
                } else {
                    const int at = depth.weight[k >> depth.bits] + (k & mask);
                    fetched[half] = load_up_to_4(row + at, source_channels - (k & mask), shape.weight_aligned);
                }
            }
        }
    }
}

template <class Precision>
__device__ __forceinline__ void store_weights(typename Precision::Element* shared, const float4 (&fetched)[2],
                                              bool is_gradient) {
    constexpr int STRIDE = WEIGHT_STRIDE<Precision>;
    const int thread = static_cast<int>(threadIdx.x);
    if (!is_gradient) {
        typename Precision::Element* to = shared + (thread >> 4) * 4 * STRIDE + (thread & 15) * 2;
        store_2<Precision>(to, fetched[0].x, fetched[1].x);
        store_2<Precision>(to + STRIDE, fetched[0].y, fetched[1].y);
        store_2<Precision>(to + 2 * STRIDE, fetched[0].z, fetched[1].z);
        store_2<Precision>(to + 3 * STRIDE, fetched[0].w, fetched[1].w);
    } else {
        typename Precision::Element* to = shared + (thread >> 2) * STRIDE + (thread & 3) * 8;
        store_4<Precision>(to, fetched[0]);
        store_4<Precision>(to + 4, fetched[1]);
    }
}

/// A warp's 64 pixels x 32 channels, laid out as the tensor cores do: with g = lane / 4 and t = lane % 4,
/// `sums[m][n][2 h + i]` is pixel 16 m + 8 h + g at channel 8 n + 2 t + i.
using Sums = float[4][4][4];

/// Adds the products of one step of the depth: fragments of 16 B by `ldmatrix`, which serves TF32 as well as bfloat16.
/// `rows` are bytes of the patch to the pixel whose address this lane gives for each m.
template <class Precision>
__device__ __forceinline__ void multiply_wide(Sums& sums, const unsigned char* patch, const int (&rows)[4],
                                              const typename Precision::Element* weights) {
    const int lane = lane_index();
    u32 b[2][4];
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
        const int channel = pair * 16 + (lane & 7) + (lane >> 4) * 8;
        const int depth = ((lane >> 3) & 1) * (Precision::STEP / 2);
        ldmatrix_x4(b[pair], weights + channel * WEIGHT_STRIDE<Precision> + depth);
    }
#pragma unroll
    for (int m = 0; m < 4; ++m) {
        u32 a[4];
        ldmatrix_x4(a, patch + rows[m]);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            const u32 column[2] = {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]};
            Precision::multiply(sums[m][n], a, column);
        }
    }
}

/// As `multiply_wide` where neither pixels nor taps are aligned: this lane's values one by one. `rows` are floats of
/// the patch to pixels 8 i + g, and `first` is where the step begins.
template <class Precision>
__device__ __forceinline__ void multiply_narrow(Sums& sums, const float* patch, const int (&rows)[8],
                                                const Depth& depth, int first,
                                                const typename Precision::Element* weights) {
    const int group = lane_index() / 4, thread = lane_index() % 4;
    constexpr int VALUES = Precision::STEP / 4;  // of a row in a lane: k = t, t + 4, or 2t, 2t + 1, 2t + 8, 2t + 9
    int offsets[VALUES];
#pragma unroll
    for (int i = 0; i < VALUES; ++i) {
        const int k = first + (VALUES == 2 ? thread + 4 * i : 2 * thread + i / 2 * 8 + i % 2);
        offsets[i] = k < depth.len ? depth.patch[k] : -1;
    }
    u32 b[4][2];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const auto* at = weights + (n * 8 + group) * WEIGHT_STRIDE<Precision> + half * Precision::STEP / 2;
            b[n][half] = reinterpret_cast<const u32*>(at)[thread];
        }
    }
#pragma unroll
    for (int m = 0; m < 4; ++m) {
        float values[2][VALUES];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int i = 0; i < VALUES; ++i) {
                values[half][i] = offsets[i] >= 0 ? patch[rows[2 * m + half] + offsets[i]] : 0.0f;
            }
        }
        u32 a[4];
        if constexpr (VALUES == 2) {
            a[0] = __float_as_uint(values[0][0]);
            a[1] = __float_as_uint(values[1][0]);
            a[2] = __float_as_uint(values[0][1]);
            a[3] = __float_as_uint(values[1][1]);
        } else {
            a[0] = pack_bf16(values[0][0], values[0][1]);
            a[1] = pack_bf16(values[1][0], values[1][1]);
            a[2] = pack_bf16(values[0][VALUES - 2], values[0][VALUES - 1]);
            a[3] = pack_bf16(values[1][VALUES - 2], values[1][VALUES - 1]);
        }
#pragma unroll
        for (int n = 0; n < 4; ++n) Precision::multiply(sums[m][n], a, b[n]);
    }
}

/// Four of the depth without tensor cores, in order; `rows` are floats of the patch to pixels 8 i + g.
__device__ __forceinline__ void multiply_float32(Sums& sums, const float* patch, const int (&rows)[8],
                                                 const float* weights) {
    const int thread = lane_index() % 4;
    float4 b[8];
#pragma unroll
    for (int n = 0; n < 8; ++n) {
        const int channel = n / 2 * 8 + 2 * thread + n % 2;
        b[n] = *reinterpret_cast<const float4*>(weights + channel * WEIGHT_STRIDE<Float32>);
    }
#pragma unroll
    for (int row = 0; row < 8; ++row) {
        const float4 a = *reinterpret_cast<const float4*>(patch + rows[row]);
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            float& sum = sums[row / 2][n / 2][row % 2 * 2 + n % 2];
            sum = fmaf(a.x, b[n].x, sum);
            sum = fmaf(a.y, b[n].y, sum);
            sum = fmaf(a.z, b[n].z, sum);
            sum = fmaf(a.w, b[n].w, sum);
        }
    }
}

/// As `multiply_float32` where neither pixels nor taps are aligned. `first` is where the step begins.
__device__ __forceinline__ void multiply_float32_narrow(Sums& sums, const float* patch, const int (&rows)[8],
                                                        const Depth& depth, int first, const float* weights) {
    const int thread = lane_index() % 4;
#pragma unroll 1
    for (int k = 0; k < Float32::STEP && first + k < depth.len; ++k) {
        const int offset = depth.patch[first + k];
        float b[8];
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            b[n] = weights[(n / 2 * 8 + 2 * thread + n % 2) * WEIGHT_STRIDE<Float32> + k];
        }
#pragma unroll
        for (int row = 0; row < 8; ++row) {
            const float a = patch[rows[row] + offset];
#pragma unroll
            for (int n = 0; n < 8; ++n) {
                float& sum = sums[row / 2][n / 2][row % 2 * 2 + n % 2];
                sum = fmaf(a, b[n], sum);
            }
        }
    }
}

template <class Precision, bool NARROW>
__device__ __forceinline__ void correlate(const Correlation& shape, const float* __restrict__ source,
                                          const float* __restrict__ relu_output, const float* __restrict__ weights,
                                          const float* __restrict__ bias, float* __restrict__ target) {
    using Element = typename Precision::Element;
    // A narrow patch is float32 in every precision.
    constexpr int PATCH_ELEMENT_BYTES = NARROW ? 4 : static_cast<int>(sizeof(Element));
    constexpr int WEIGHT_TILE = CORRELATE_CHANNELS * WEIGHT_STRIDE<Precision>;
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = lane_index();

    // Shared memory: two tiles of weights, the patch, where each tap is in the patch, where its weights are.
    DYNAMIC_SHARED(unsigned char, memory);
    Element* const weight_tiles = reinterpret_cast<Element*>(memory);
    unsigned char* const patch_memory = memory + 2 * WEIGHT_TILE * sizeof(Element);
    const int patch_pixels = shape.tile_images * shape.patch_rows * shape.patch_columns;
    const int patch_bytes = (patch_pixels * shape.pixel_stride * PATCH_ELEMENT_BYTES + 15) / 16 * 16;
    int* const patch_table = reinterpret_cast<int*>(patch_memory + patch_bytes);
    int* const weight_table = patch_table + shape.table_len;

    // What this block computes.
    int tile = static_cast<int>(blockIdx.x);
    const int column_tile = tile % shape.column_tiles;
    tile /= shape.column_tiles;
    const int row_tile = tile % shape.row_tiles;
    tile /= shape.row_tiles;
    const int image_tile = tile % shape.image_tiles;
    const int phase = tile / shape.image_tiles;
    const Axis rows = make_axis(shape, shape.kernel_height, shape.target_height, phase / shape.stride);
    const Axis columns = make_axis(shape, shape.kernel_width, shape.target_width, phase % shape.stride);
    const int first_image = image_tile * shape.tile_images;
    const int first_row = row_tile * shape.tile_rows;
    const int first_column = column_tile * shape.tile_columns;
    if (first_row >= rows.count || first_column >= columns.count) return;
    const int channel_tiles = (shape.target_group + CORRELATE_CHANNELS - 1) / CORRELATE_CHANNELS;
    const int group = static_cast<int>(blockIdx.y) / channel_tiles;
    const int first_channel = static_cast<int>(blockIdx.y) % channel_tiles * CORRELATE_CHANNELS;
    const int target_channels = shape.target_group - first_channel;
    weights += static_cast<u64>(group) * shape.weight_group_stride +
               static_cast<u64>(first_channel) * shape.weight_target_stride;

    // A pixel of the tile, and the pixel of the patch that it meets by the first tap. Pixels beyond the tile are
    // computed as the first one and not stored.
    const int tile_pixels = shape.tile_images * shape.tile_rows * shape.tile_columns;
    const auto patch_pixel = [&](int pixel) {
        if (pixel >= tile_pixels) return 0;
        const int line = pixel / shape.tile_columns, column = pixel % shape.tile_columns;
        const int image = line / shape.tile_rows, row = line % shape.tile_rows;
        const int patch_line = image * shape.patch_rows + row * rows.source_step;
        return patch_line * shape.patch_columns + column * columns.source_step;
    };
    const int first_pixel = warp_index() * 64;
    constexpr bool BY_MATRICES = Precision::TENSOR_CORES && !NARROW;
    int pixel_offsets[BY_MATRICES ? 4 : 8];
#pragma unroll
    for (int i = 0; i < (BY_MATRICES ? 4 : 8); ++i) {
        const int pixel = BY_MATRICES ? i * 16 + (lane & 15) : i * 8 + lane / 4;
        pixel_offsets[i] = patch_pixel(first_pixel + pixel) * shape.pixel_stride;
        if (BY_MATRICES) pixel_offsets[i] = pixel_offsets[i] * PATCH_ELEMENT_BYTES + (lane >> 4) * 16;
    }

    Sums sums;
#pragma unroll
    for (int i = 0; i < 64; ++i) sums[i / 16][i / 4 % 4][i % 4] = 0.0f;

    // A slice is some rows of the kernel and some channels: what a patch serves.
    int bits = 0;
    if (!NARROW) bits = shape.patch_channels == 32 ? 5 : shape.patch_channels == 16 ? 4 : 3;
    for (int first_tap_row = 0; first_tap_row < rows.taps; first_tap_row += shape.slice_rows) {
        const int tap_rows = min(shape.slice_rows, rows.taps - first_tap_row);
        for (int first_source = 0; first_source < shape.source_group; first_source += shape.patch_channels) {
            __syncthreads();
            const int taps = tap_rows * columns.taps;
            const int entries = NARROW ? taps * shape.source_group : taps;
            for (int i = thread; i < entries; i += CORRELATE_THREADS) {
                const int tap = NARROW ? i / shape.source_group : i;
                const int channel = NARROW ? i % shape.source_group : 0;
                const int row = tap / columns.taps, column = tap % columns.taps;
                patch_table[i] = (row * shape.patch_columns + column) * shape.pixel_stride + channel;
                const int weight_row = rows.weight_first + (first_tap_row + row) * rows.weight_step;
                const int weight_column = columns.weight_first + column * columns.weight_step;
                weight_table[i] = (weight_row * shape.kernel_width + weight_column) * shape.weight_tap_stride +
                                  (first_source + channel) * shape.weight_source_stride;
            }
            const Depth depth = {patch_table, weight_table, entries << bits, bits};
            const Patch patch = {
                shape.tile_images,
                shape.patch_rows,
                shape.patch_columns,
                shape.patch_channels,
                first_image,
                rows.source_first + first_row * rows.source_step + first_tap_row,
                columns.source_first + first_column * columns.source_step,
                group * shape.source_group + first_source,
                shape.pixel_stride,
            };
            const Images images = {
                source,
                relu_output,
                shape.images,
                shape.source_height,
                shape.source_width,
                shape.source_channels,
                (group + 1) * shape.source_group,
                shape.source_aligned != 0,
            };
            if constexpr (NARROW) {
                stage_narrow_patch<Precision>(reinterpret_cast<float*>(patch_memory), patch, images);
            } else {
                stage_patch<Precision>(reinterpret_cast<Element*>(patch_memory), patch, images);
            }
            __syncthreads();

            const int source_channels = shape.source_group - first_source;
            float4 fetched[2];
            fetch_weights<NARROW>(fetched, shape, weights, depth, 0, source_channels, target_channels);
            store_weights<Precision>(weight_tiles, fetched, shape.is_gradient);
            __syncthreads();
            for (int first = 0, buffer = 0; first < depth.len; first += CORRELATE_DEPTH, buffer ^= 1) {
                const bool more = first + CORRELATE_DEPTH < depth.len;
                if (more) {
                    fetch_weights<NARROW>(fetched, shape, weights, depth, first + CORRELATE_DEPTH, source_channels,
                                          target_channels);
                }
                const Element* const tile_weights = weight_tiles + buffer * WEIGHT_TILE;
#pragma unroll(Precision::TENSOR_CORES && !NARROW ? CORRELATE_DEPTH / Precision::STEP : 1)
                for (int step = 0; step < CORRELATE_DEPTH; step += Precision::STEP) {
                    const int k = first + step;
                    if (k >= depth.len) break;
                    if constexpr (NARROW) {
                        const float* const floats = reinterpret_cast<const float*>(patch_memory);
                        if constexpr (Precision::TENSOR_CORES) {
                            multiply_narrow<Precision>(sums, floats, pixel_offsets, depth, k, tile_weights + step);
                        } else {
                            multiply_float32_narrow(sums, floats, pixel_offsets, depth, k, tile_weights + step);
                        }
                    } else {
                        const int at = depth.patch[k >> bits] + (k & ((1 << bits) - 1));
                        const unsigned char* const from = patch_memory + at * PATCH_ELEMENT_BYTES;
                        if constexpr (Precision::TENSOR_CORES) {
                            multiply_wide<Precision>(sums, from, pixel_offsets, tile_weights + step);
                        } else {
                            multiply_float32(sums, reinterpret_cast<const float*>(from), pixel_offsets,
                                             tile_weights + step);
                        }
                    }
                }
                if (more) {
                    store_weights<Precision>(weight_tiles + (buffer ^ 1) * WEIGHT_TILE, fetched, shape.is_gradient);
                }
                __syncthreads();
            }
        }
    }

    // This lane's channels: pairs of neighbours. Without ReLU, the lowest value is minus infinity. A comparison keeps
    // NaN, which fmaxf would not.
    const float lowest = shape.relu ? 0.0f : -infinity();
    const int first_target = group * shape.target_group + first_channel;
    const int pair = lane % 4 * 2;
    float2 start[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        const int channel = n * 8 + pair;
        start[n].x = bias && channel < target_channels ? bias[first_target + channel] : 0.0f;
        start[n].y = bias && channel + 1 < target_channels ? bias[first_target + channel + 1] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int pixel = first_pixel + i * 8 + lane / 4;
        const int line = pixel / shape.tile_columns;
        const int column = first_column + pixel % shape.tile_columns;
        const int row = first_row + line % shape.tile_rows;
        const int image = first_image + line / shape.tile_rows;
        const bool inside = image < shape.images && row < rows.count && column < columns.count;
        if (pixel >= tile_pixels || !inside) continue;
        const int target_row = rows.target_first + row * rows.target_step;
        const int target_column = columns.target_first + column * columns.target_step;
        const u64 target_line = static_cast<u64>(image) * shape.target_height + target_row;
        const u64 at = target_line * shape.target_width + target_column;
        float* const to = target + at * shape.target_channels + first_target + pair;
        const int channels = target_channels - pair;
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            float2 values = make_float2(sums[i / 2][n][i % 2 * 2], sums[i / 2][n][i % 2 * 2 + 1]);
            values.x += start[n].x;
            values.y += start[n].y;
            values.x = values.x < lowest ? lowest : values.x;
            values.y = values.y < lowest ? lowest : values.y;
            if (shape.target_aligned && n * 8 + 1 < channels) {
                *reinterpret_cast<float2*>(to + n * 8) = values;
            } else {
                if (n * 8 < channels) to[n * 8] = values.x;
                if (n * 8 + 1 < channels) to[n * 8 + 1] = values.y;
            }
        }
    }
}

} // namespace conv2d

#define CONV2D_CORRELATE(NAME, PRECISION, NARROW, BLOCKS)                                                              \
    extern "C" __global__ void __launch_bounds__(conv2d::CORRELATE_THREADS, BLOCKS)                                    \
        NAME(const conv2d::Correlation shape, Lanes<const float> source, Lanes<const float> relu_output,               \
             Lanes<const float> weights, Lanes<const float> bias, Lanes<float> target) {                               \
        const u32 lane = blockIdx.z;                                                                                   \
        conv2d::correlate<conv2d::PRECISION, NARROW>(                                                                  \
            shape, source[lane], relu_output.exists() ? relu_output[lane] : nullptr, weights[lane],                    \
            bias.exists() ? bias[lane] : nullptr, target[lane]);                                                       \
    }

CONV2D_CORRELATE(conv2d_correlate_float32, Float32, false, 2)
CONV2D_CORRELATE(conv2d_correlate_float32_narrow, Float32, true, 3)
CONV2D_CORRELATE(conv2d_correlate_tf32, Tf32, false, 3)
CONV2D_CORRELATE(conv2d_correlate_tf32_narrow, Tf32, true, 3)
CONV2D_CORRELATE(conv2d_correlate_bf16, Bf16, false, 3)
CONV2D_CORRELATE(conv2d_correlate_bf16_narrow, Bf16, true, 3)
