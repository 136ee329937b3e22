// What the kernels of a convolution share: the three precisions, and how an image patch gets into shared memory.
//
// A block works on a tile: a box of neighbouring pixels in one or several images. It stages the patch of the source
// that the tile meets, padding included, once, and all positions of the kernel read it there: no matrix of patches is
// built. Values are rounded to the precision while they are staged, through registers, so each is rounded once and not
// once for each of its uses (25 x 4 of them for a 5x5 kernel), and bfloat16 takes half the shared memory and half its
// bandwidth. The latency of staging is hidden by the other blocks of the multiprocessor.
#pragma once

#include "device.cuh"

namespace conv2d {

/// Plain float32: every product is rounded by a fused multiply-add only.
struct Float32 {
    using Element = float;
    static constexpr bool TENSOR_CORES = false;
    /// Values that a thread takes from the depth at once.
    static constexpr int STEP = 4;
    static __device__ __forceinline__ float round(float value) { return value; }
};

/// Products of values with 10 bits of mantissa, summed in float32.
struct Tf32 {
    using Element = float;
    static constexpr bool TENSOR_CORES = true;
    static constexpr int STEP = 8;
    static __device__ __forceinline__ float round(float value) { return __uint_as_float(to_tf32(value)); }
    static __device__ __forceinline__ void multiply(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_m16n8k8_tf32(d, a, b);
    }
};

/// Products of values with 7 bits of mantissa, summed in float32.
struct Bf16 {
    using Element = bf16;
    static constexpr bool TENSOR_CORES = true;
    static constexpr int STEP = 16;
    /// A value of a narrow patch, which stays float32 until two of them are packed for the tensor cores.
    static __device__ __forceinline__ float round(float value) { return value; }
    static __device__ __forceinline__ void multiply(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_m16n8k16_bf16(d, a, b);
    }
};

/// Four values from `from`, or as many as `count` says and then zeros; in one load where the caller knows that it is
/// aligned to 16 B.
__device__ __forceinline__ float4 load_up_to_4(const float* __restrict__ from, int count, bool aligned) {
    if (aligned && count >= 4) return *reinterpret_cast<const float4*>(from);
    float4 values = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (count > 0) values.x = from[0];
    if (count > 1) values.y = from[1];
    if (count > 2) values.z = from[2];
    if (count > 3) values.w = from[3];
    return values;
}

/// The gradient where the output that ReLU gave is positive, zero elsewhere.
__device__ __forceinline__ float4 where_positive(float4 gradient, float4 output) {
    return make_float4(output.x > 0.0f ? gradient.x : 0.0f, output.y > 0.0f ? gradient.y : 0.0f,
                       output.z > 0.0f ? gradient.z : 0.0f, output.w > 0.0f ? gradient.w : 0.0f);
}

template <class Precision>
__device__ __forceinline__ void store_4(typename Precision::Element* to, float4 values) {
    if constexpr (sizeof(typename Precision::Element) == 2) {
        *reinterpret_cast<uint2*>(to) = make_uint2(pack_bf16(values.x, values.y), pack_bf16(values.z, values.w));
    } else {
        *reinterpret_cast<float4*>(to) = make_float4(Precision::round(values.x), Precision::round(values.y),
                                                     Precision::round(values.z), Precision::round(values.w));
    }
}

template <class Precision>
__device__ __forceinline__ void store_2(typename Precision::Element* to, float first, float second) {
    if constexpr (sizeof(typename Precision::Element) == 2) {
        *reinterpret_cast<u32*>(to) = pack_bf16(first, second);
    } else {
        *reinterpret_cast<float2*>(to) = make_float2(Precision::round(first), Precision::round(second));
    }
}

/// A part of the source to stage: `images x rows x columns` pixels with `channels` of their channels, from `first_*`
/// on. What lies outside the source is zero.
struct Patch {
    int images, rows, columns, channels;
    int first_image, first_row, first_column, first_channel;
    /// Elements between neighbouring pixels in shared memory.
    int pixel_stride;
};

/// A tensor of NHWC images in global memory.
struct Images {
    const float* values;
    /// Where the gradient of a ReLU's output is staged: that output; else null.
    const float* relu_output;
    int count, height, width, channels;
    /// Channels from here on are not part of the group that is staged, and read as zeros.
    int end_channel;
    /// All runs of four channels are aligned to 16 B.
    bool aligned;
};

/// Stages a patch, four channels at a time: `channels` is 8, 16 or 32. Warps take rows of pixels.
template <class Precision>
__device__ __forceinline__ void stage_patch(typename Precision::Element* shared, const Patch& patch,
                                            const Images& source) {
    const int quads = patch.channels / 4;
    const int quad_bits = quads == 8 ? 3 : quads == 4 ? 2 : 1;
    const int warps = static_cast<int>(blockDim.x) / 32;
    for (int line = warp_index(); line < patch.images * patch.rows; line += warps) {
        const int image = patch.first_image + line / patch.rows;
        const int row = patch.first_row + line % patch.rows;
        const bool inside = image < source.count && row >= 0 && row < source.height;
        const u64 start = (static_cast<u64>(image) * source.height + row) * source.width * source.channels;
#pragma unroll 4
        for (int i = lane_index(); i < patch.columns << quad_bits; i += 32) {
            const int column = patch.first_column + (i >> quad_bits);
            const int channel = patch.first_channel + (i & (quads - 1)) * 4;
            float4 values = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (inside && column >= 0 && column < source.width) {
                const u64 at = start + static_cast<u64>(column) * source.channels + channel;
                const int count = source.end_channel - channel;
                values = load_up_to_4(source.values + at, count, source.aligned);
                if (source.relu_output) {
                    const float4 output = load_up_to_4(source.relu_output + at, count, source.aligned);
                    values = where_positive(values, output);
                }
            }
            const int pixel = line * patch.columns + (i >> quad_bits);
            store_4<Precision>(shared + pixel * patch.pixel_stride + (i & (quads - 1)) * 4, values);
        }
    }
}

/// Stages a patch of few channels, any number of them, one at a time and as float32.
template <class Precision>
__device__ __forceinline__ void stage_narrow_patch(float* shared, const Patch& patch, const Images& source) {
    const int warps = static_cast<int>(blockDim.x) / 32;
    for (int line = warp_index(); line < patch.images * patch.rows; line += warps) {
        const int image = patch.first_image + line / patch.rows;
        const int row = patch.first_row + line % patch.rows;
        const bool inside = image < source.count && row >= 0 && row < source.height;
        const u64 start = (static_cast<u64>(image) * source.height + row) * source.width * source.channels;
#pragma unroll 4
        for (int i = lane_index(); i < patch.columns * patch.channels; i += 32) {
            const int pixel = i / patch.channels;
            const int channel = i - pixel * patch.channels;
            const int column = patch.first_column + pixel;
            float value = 0.0f;
            if (inside && column >= 0 && column < source.width) {
                const u64 at = start + static_cast<u64>(column) * source.channels + patch.first_channel + channel;
                value = source.values[at];
                if (source.relu_output && !(source.relu_output[at] > 0.0f)) value = 0.0f;
            }
            shared[(line * patch.columns + pixel) * patch.pixel_stride + channel] = Precision::round(value);
        }
    }
}

} // namespace conv2d
