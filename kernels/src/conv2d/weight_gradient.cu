// The gradients of a convolution's weights and bias, summed over the batch.
//
//   dw[tap][c][o] = sum over output pixels of x[the pixel that tap meets][c] dy[pixel][o]      dy where relu_y > 0
//   db[o]         = sum over output pixels of dy[pixel][o]
//
// As a matrix product: rows are (tap, c), columns are o, and the depth is all output pixels. A block has a range of
// taps and channels (up to 640 rows), 32 columns, and a part of the depth. It stages a tile of 128 pixels of dy and the
// patch of x that they meet (staging.cuh), adds their products to sums in registers, and goes on to the next tile. A
// warp holds 80 rows x 32 columns. Where the rows are few, several warps have the same rows and take turns at the
// pixels.
//
// Each part of the depth writes sums of its own, and `conv2d_backward_weight_sum` adds them from first to last. The
// parts depend on the shape alone, so a lane's bits do not depend on its neighbours.
//
// Grid: x = part; y = group, column tile, channels, taps; z = lane. Block: a warp for each 80 rows, times turns.
#include "device.cuh"
#include "staging.cuh"

namespace conv2d {

/// What a launch computes; the same for all lanes. Mirrors `WeightGradient` in cuda.rs.
struct WeightGradient {
    int images;
    int in_height, in_width, in_channels, in_group;
    int out_height, out_width, out_channels, out_group;
    int taps, kernel_width, stride, pad;
    /// The box of output pixels that is staged at once, at most 128, and how many of them cover an image and the batch.
    int tile_images, tile_rows, tile_columns;
    int row_tiles, column_tiles, tiles;
    int tiles_per_part;
    /// The patch that it meets. `narrow`: it has all channels of the group, unaligned.
    int patch_rows, patch_columns;
    int patch_channels, pixel_stride, narrow;
    /// Taps of a block; warps that share out its rows; warps that take turns at its pixels.
    int block_taps, row_warps, turns;
    /// Whether inputs and gradients may be read in runs of 16 B.
    int in_aligned, out_aligned;
    /// Floats of the weights, and so between two partial sums of them.
    int weight_len;
};

constexpr int WEIGHT_GRADIENT_THREADS = 256;
constexpr int WEIGHT_GRADIENT_CHANNELS = 32;
/// 16-row fragments of a warp.
constexpr int WEIGHT_GRADIENT_FRAGMENTS = 5;
constexpr int WEIGHT_GRADIENT_ROWS = WEIGHT_GRADIENT_FRAGMENTS * 16;
/// Pixels between two turns: the depth of a bfloat16 product.
constexpr int WEIGHT_GRADIENT_STEP = 16;

/// Elements between two pixels of dy in shared memory: the fragments of 8 (TF32: 4) pixels meet each bank once.
constexpr int OUTPUT_STRIDE = WEIGHT_GRADIENT_CHANNELS + 8;

/// `sums[j][n][2 h + i]` is row 16 j + 8 h + g at column 8 n + 2 t + i, with g = lane / 4 and t = lane % 4.
using WeightGradientSums = float[WEIGHT_GRADIENT_FRAGMENTS][4][4];

/// Stages the tile's pixels of dy as `[pixel][channel]`, zeros where the tile goes beyond the images, and adds them to
/// `bias_sums`: each thread always has the same four channels.
template <class Precision>
__device__ __forceinline__ void stage_output(typename Precision::Element* shared, float4& bias_sums,
                                             const WeightGradient& shape, const float* __restrict__ dy,
                                             const float* __restrict__ relu_output, int padded_pixels, int first_image,
                                             int first_row, int first_column, int first_channel, int end_channel) {
    const int thread = static_cast<int>(threadIdx.x);
    const int channel = first_channel + thread % 8 * 4;
    const int step = static_cast<int>(blockDim.x) / 8;
    const bool aligned = shape.out_aligned != 0;
#pragma unroll 2
    for (int pixel = thread / 8; pixel < padded_pixels; pixel += step) {
        const int line = pixel / shape.tile_columns;
        const int column = first_column + pixel % shape.tile_columns;
        const int row = first_row + line % shape.tile_rows;
        const int in_tile = line / shape.tile_rows;
        const int image = first_image + in_tile;
        float4 values = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (in_tile < shape.tile_images && image < shape.images && row < shape.out_height && column < shape.out_width) {
            const u64 at = ((static_cast<u64>(image) * shape.out_height + row) * shape.out_width + column) *
                               shape.out_channels + channel;
            values = load_up_to_4(dy + at, end_channel - channel, aligned);
            if (relu_output) {
                values = where_positive(values, load_up_to_4(relu_output + at, end_channel - channel, aligned));
            }
        }
        bias_sums.x += values.x;
        bias_sums.y += values.y;
        bias_sums.z += values.z;
        bias_sums.w += values.w;
        store_4<Precision>(shared + pixel * OUTPUT_STRIDE + thread % 8 * 4, values);
    }
}

/// 16 pixels in bfloat16, both operands transposed by `ldmatrix`. `rows[j]` are bytes of the patch from a pixel to the
/// 8 channels whose address this lane gives, `-1` where there are none.
__device__ __forceinline__ void add_products_by_matrices(WeightGradientSums& sums, const unsigned char* patch,
                                                         const int* pixels, int first,
                                                         const int (&rows)[WEIGHT_GRADIENT_FRAGMENTS], int fragments,
                                                         const bf16* dy) {
    const int lane = lane_index();
    u32 b[2][4];
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
        ldmatrix_x4_trans(b[pair], dy + (first + (lane & 15)) * OUTPUT_STRIDE + pair * 16 + (lane >> 4) * 8);
    }
    const unsigned char* const from = patch + pixels[first + (lane & 7) + (lane >> 4) * 8] * 2;
#pragma unroll
    for (int j = 0; j < WEIGHT_GRADIENT_FRAGMENTS; ++j) {
        if (j >= fragments) break;
        u32 a[4];
        ldmatrix_x4_trans(a, from + rows[j]);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            const u32 column[2] = {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]};
            Bf16::multiply(sums[j][n], a, column);
        }
    }
}

/// 16 pixels in bfloat16 from a narrow patch of floats. `rows[2 j + h]` are floats of the patch from a pixel to row
/// 16 j + 8 h + g.
__device__ __forceinline__ void add_products(Bf16, WeightGradientSums& sums, const float* patch, const int* pixels,
                                             int first, const int (&rows)[2 * WEIGHT_GRADIENT_FRAGMENTS], int fragments,
                                             const bf16* dy) {
    const int lane = lane_index(), thread = lane % 4;
    u32 b[2][4];
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
        ldmatrix_x4_trans(b[pair], dy + (first + (lane & 15)) * OUTPUT_STRIDE + pair * 16 + (lane >> 4) * 8);
    }
    const float* from[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) from[i] = patch + pixels[first + 2 * thread + i / 2 * 8 + i % 2];
#pragma unroll
    for (int j = 0; j < WEIGHT_GRADIENT_FRAGMENTS; ++j) {
        if (j >= fragments) break;
        const int low = rows[2 * j], high = rows[2 * j + 1];
        const u32 a[4] = {pack_bf16(from[0][low], from[1][low]), pack_bf16(from[0][high], from[1][high]),
                          pack_bf16(from[2][low], from[3][low]), pack_bf16(from[2][high], from[3][high])};
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            const u32 column[2] = {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]};
            Bf16::multiply(sums[j][n], a, column);
        }
    }
}

/// 16 pixels in TF32.
__device__ __forceinline__ void add_products(Tf32, WeightGradientSums& sums, const float* patch, const int* pixels,
                                             int first, const int (&rows)[2 * WEIGHT_GRADIENT_FRAGMENTS], int fragments,
                                             const float* dy) {
    const int group = lane_index() / 4, thread = lane_index() % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int pixel = first + half * Tf32::STEP + thread;
        u32 b[4][2];
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            b[n][0] = __float_as_uint(dy[pixel * OUTPUT_STRIDE + n * 8 + group]);
            b[n][1] = __float_as_uint(dy[(pixel + 4) * OUTPUT_STRIDE + n * 8 + group]);
        }
        const float* const near = patch + pixels[pixel];
        const float* const far = patch + pixels[pixel + 4];
#pragma unroll
        for (int j = 0; j < WEIGHT_GRADIENT_FRAGMENTS; ++j) {
            if (j >= fragments) break;
            const int low = rows[2 * j], high = rows[2 * j + 1];
            const u32 a[4] = {__float_as_uint(near[low]), __float_as_uint(near[high]), __float_as_uint(far[low]),
                              __float_as_uint(far[high])};
#pragma unroll
            for (int n = 0; n < 4; ++n) Tf32::multiply(sums[j][n], a, b[n]);
        }
    }
}

/// 16 pixels without tensor cores, in order.
__device__ __forceinline__ void add_products(Float32, WeightGradientSums& sums, const float* patch, const int* pixels,
                                             int first, const int (&rows)[2 * WEIGHT_GRADIENT_FRAGMENTS], int fragments,
                                             const float* dy) {
    const int thread = lane_index() % 4;
#pragma unroll 1
    for (int pixel = first; pixel < first + WEIGHT_GRADIENT_STEP; ++pixel) {
        float2 b[4];
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            b[n] = *reinterpret_cast<const float2*>(dy + pixel * OUTPUT_STRIDE + n * 8 + 2 * thread);
        }
        const float* const from = patch + pixels[pixel];
#pragma unroll
        for (int j = 0; j < WEIGHT_GRADIENT_FRAGMENTS; ++j) {
            if (j >= fragments) break;
            const float low = from[rows[2 * j]], high = from[rows[2 * j + 1]];
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                sums[j][n][0] = fmaf(low, b[n].x, sums[j][n][0]);
                sums[j][n][1] = fmaf(low, b[n].y, sums[j][n][1]);
                sums[j][n][2] = fmaf(high, b[n].x, sums[j][n][2]);
                sums[j][n][3] = fmaf(high, b[n].y, sums[j][n][3]);
            }
        }
    }
}

/// `MATRICES`: the patch is bfloat16 in aligned runs of 8 channels; else it is float32, and may be narrow.
template <class Precision, bool MATRICES>
__device__ __forceinline__ void backward_weight(const WeightGradient& shape, const float* __restrict__ x,
                                                const float* __restrict__ dy, const float* __restrict__ relu_output,
                                                float* __restrict__ partial_dw, float* __restrict__ partial_db) {
    using Element = typename Precision::Element;
    constexpr int PATCH_ELEMENT_BYTES = MATRICES ? 2 : 4;
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = lane_index();

    // Shared memory: dy, the patch, where each pixel of the tile begins in the patch.
    const int tile_pixels = shape.tile_images * shape.tile_rows * shape.tile_columns;
    const int padded_pixels = (tile_pixels + WEIGHT_GRADIENT_STEP - 1) / WEIGHT_GRADIENT_STEP * WEIGHT_GRADIENT_STEP;
    DYNAMIC_SHARED(unsigned char, memory);
    Element* const output = reinterpret_cast<Element*>(memory);
    unsigned char* const patch_memory = memory + padded_pixels * OUTPUT_STRIDE * sizeof(Element);
    const int patch_pixels = shape.tile_images * shape.patch_rows * shape.patch_columns;
    const int patch_bytes = (patch_pixels * shape.pixel_stride * PATCH_ELEMENT_BYTES + 15) / 16 * 16;
    int* const pixels = reinterpret_cast<int*>(patch_memory + patch_bytes);

    // What this block computes.
    const int tap_blocks = (shape.taps + shape.block_taps - 1) / shape.block_taps;
    const int channel_blocks = (shape.in_group + shape.patch_channels - 1) / shape.patch_channels;
    const int channel_tiles = (shape.out_group + WEIGHT_GRADIENT_CHANNELS - 1) / WEIGHT_GRADIENT_CHANNELS;
    int block = static_cast<int>(blockIdx.y);
    const int first_tap = block % tap_blocks * shape.block_taps;
    block /= tap_blocks;
    const int first_in = block % channel_blocks * shape.patch_channels;
    block /= channel_blocks;
    const int first_out = block % channel_tiles * WEIGHT_GRADIENT_CHANNELS;
    const int group = block / channel_tiles;
    const int taps = min(shape.block_taps, shape.taps - first_tap);
    const int row_count = taps * shape.patch_channels;
    const int first_kernel_row = first_tap / shape.kernel_width;

    for (int pixel = thread; pixel < padded_pixels; pixel += static_cast<int>(blockDim.x)) {
        const int line = pixel / shape.tile_columns, column = pixel % shape.tile_columns;
        const int patch_line = line / shape.tile_rows * shape.patch_rows + line % shape.tile_rows * shape.stride;
        const int at = (patch_line * shape.patch_columns + column * shape.stride) * shape.pixel_stride;
        pixels[pixel] = pixel < tile_pixels ? at : 0;
    }

    // A row of the block, as elements from a pixel of the patch. Rows beyond the last are computed as the first.
    const auto patch_offset = [&](int row) {
        if (row >= row_count) return 0;
        const int tap = first_tap + row / shape.patch_channels, channel = row % shape.patch_channels;
        const int kernel_row = tap / shape.kernel_width - first_kernel_row, kernel_column = tap % shape.kernel_width;
        return (kernel_row * shape.patch_columns + kernel_column) * shape.pixel_stride + channel;
    };
    const int first_row = warp_index() % shape.row_warps * WEIGHT_GRADIENT_ROWS;
    const int turn = warp_index() / shape.row_warps;
    const int fragments = min(WEIGHT_GRADIENT_FRAGMENTS, (row_count - first_row + 15) / 16);
    int rows[MATRICES ? WEIGHT_GRADIENT_FRAGMENTS : 2 * WEIGHT_GRADIENT_FRAGMENTS];
    if constexpr (MATRICES) {
#pragma unroll
        for (int j = 0; j < WEIGHT_GRADIENT_FRAGMENTS; ++j) {
            rows[j] = patch_offset(first_row + j * 16 + (lane >> 3 & 1) * 8) * PATCH_ELEMENT_BYTES;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 2 * WEIGHT_GRADIENT_FRAGMENTS; ++i) {
            rows[i] = patch_offset(first_row + i * 8 + lane / 4);
        }
    }

    WeightGradientSums sums;
#pragma unroll
    for (int i = 0; i < WEIGHT_GRADIENT_FRAGMENTS * 16; ++i) sums[i / 16][i / 4 % 4][i % 4] = 0.0f;
    float4 bias_sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);

    const int part = static_cast<int>(blockIdx.x);
    const int end_tile = min(shape.tiles, (part + 1) * shape.tiles_per_part);
    for (int tile = part * shape.tiles_per_part; tile < end_tile; ++tile) {
        const int first_column = tile % shape.column_tiles * shape.tile_columns;
        const int first_line = tile / shape.column_tiles % shape.row_tiles * shape.tile_rows;
        const int first_image = tile / shape.column_tiles / shape.row_tiles * shape.tile_images;
        const Patch patch = {
            shape.tile_images,
            shape.patch_rows,
            shape.patch_columns,
            shape.patch_channels,
            first_image,
            first_line * shape.stride - shape.pad + first_kernel_row,
            first_column * shape.stride - shape.pad,
            group * shape.in_group + first_in,
            shape.pixel_stride,
        };
        const Images images = {
            x,
            nullptr,
            shape.images,
            shape.in_height,
            shape.in_width,
            shape.in_channels,
            (group + 1) * shape.in_group,
            shape.in_aligned != 0,
        };
        __syncthreads();
        if constexpr (MATRICES) {
            stage_patch<Precision>(reinterpret_cast<Element*>(patch_memory), patch, images);
        } else {
            float* const floats = reinterpret_cast<float*>(patch_memory);
            bool narrow = true;
            if constexpr (sizeof(Element) == 4) {
                narrow = shape.narrow != 0;
                if (!narrow) stage_patch<Precision>(floats, patch, images);
            }
            if (narrow) stage_narrow_patch<Precision>(floats, patch, images);
        }
        stage_output<Precision>(output, bias_sums, shape, dy, relu_output, padded_pixels, first_image, first_line,
                                first_column, group * shape.out_group + first_out, (group + 1) * shape.out_group);
        __syncthreads();
        const int step = shape.turns * WEIGHT_GRADIENT_STEP;
        for (int first = turn * WEIGHT_GRADIENT_STEP; first < padded_pixels; first += step) {
            if constexpr (MATRICES) {
                add_products_by_matrices(sums, patch_memory, pixels, first, rows, fragments, output);
            } else {
                add_products(Precision{}, sums, reinterpret_cast<const float*>(patch_memory), pixels, first, rows,
                             fragments, output);
            }
        }
    }

    const int out_channels = shape.out_group - first_out;
    partial_dw += static_cast<u64>(part * shape.turns + turn) * shape.weight_len + group * shape.out_group + first_out;
#pragma unroll
    for (int i = 0; i < 2 * WEIGHT_GRADIENT_FRAGMENTS; ++i) {
        const int row = first_row + i * 8 + lane / 4;
        const int tap = first_tap + row / shape.patch_channels;
        const int channel = first_in + row % shape.patch_channels;
        if (row >= row_count || channel >= shape.in_group) continue;
        float* const to = partial_dw + (static_cast<u64>(tap) * shape.in_group + channel) * shape.out_channels;
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            const int column = n / 2 * 8 + lane % 4 * 2 + n % 2;
            if (column < out_channels) to[column] = sums[i / 2][n / 2][i % 2 * 2 + n % 2];
        }
    }

    // The bias: one block for all channels and taps, its threads added in order.
    if (!partial_db || first_tap > 0 || first_in > 0) return;
    __syncthreads();
    float4* const by_thread = reinterpret_cast<float4*>(memory);
    by_thread[thread] = bias_sums;
    __syncthreads();
    if (thread >= WEIGHT_GRADIENT_CHANNELS || thread >= out_channels) return;
    float sum = 0.0f;
    for (int i = thread / 4; i < static_cast<int>(blockDim.x); i += 8) {
        sum += reinterpret_cast<const float*>(by_thread + i)[thread % 4];
    }
    partial_db[static_cast<u64>(part) * shape.out_channels + group * shape.out_group + first_out + thread] = sum;
}

} // namespace conv2d

#define CONV2D_BACKWARD_WEIGHT(NAME, PRECISION, MATRICES)                                                              \
    extern "C" __global__ void __launch_bounds__(conv2d::WEIGHT_GRADIENT_THREADS)                                      \
        NAME(const conv2d::WeightGradient shape, Lanes<const float> x, Lanes<const float> dy,                          \
             Lanes<const float> relu_output, Lanes<float> partial_dw, Lanes<float> partial_db) {                       \
        const u32 lane = blockIdx.z;                                                                                   \
        conv2d::backward_weight<conv2d::PRECISION, MATRICES>(                                                          \
            shape, x[lane], dy[lane], relu_output.exists() ? relu_output[lane] : nullptr, partial_dw[lane],            \
            partial_db.exists() ? partial_db[lane] : nullptr);                                                         \
    }

CONV2D_BACKWARD_WEIGHT(conv2d_backward_weight_float32, Float32, false)
CONV2D_BACKWARD_WEIGHT(conv2d_backward_weight_tf32, Tf32, false)
CONV2D_BACKWARD_WEIGHT(conv2d_backward_weight_bf16, Bf16, true)
CONV2D_BACKWARD_WEIGHT(conv2d_backward_weight_bf16_narrow, Bf16, false)

/// Adds partial sums from first to last: `sums[i] = partials[i] + partials[len + i] + ..`.
///
/// Grid: x = elements by 256; z = lane. Block: 256 threads.
extern "C" __global__ void __launch_bounds__(256)
    conv2d_backward_weight_sum(u32 len, u32 parts, Lanes<const float> partials, Lanes<float> sums) {
    const u32 i = blockIdx.x * 256 + threadIdx.x, lane = blockIdx.z;
    if (i >= len) return;
    const float* const from = partials[lane] + i;
    float sum = 0.0f;
#pragma unroll 4
    for (u32 part = 0; part < parts; ++part) sum += from[u64{part} * len];
    sums[lane][i] = sum;
}
