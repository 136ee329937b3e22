// Batches of images: gathered from the uint8 data set on the GPU, normalised, flipped, padded and cropped, with the arithmetic
// and the random draws of `clr_plugin::Dataset::fill_batch`, so that every bit agrees.
#include "device.cuh"

namespace input {

constexpr u32 THREADS = 256;
/// `clr_rng::Stream::Augment`.
constexpr u32 STREAM = 1;

/// Mirrors `LaunchShape` in cuda.rs.
struct LaunchShape {
    u32 sample_count;
    u32 height, width, channels;
    u32 crop_h, crop_w, pad;
    u32 flip;
    /// Values of `mean`: 0, a channel's each, or a stored image's; and of `scale`: 0, 1, or a channel's each.
    u32 mean_len, scale_len;
    /// Of the table of samples: rows, lanes (1: all see the same), and samples of a batch at most; and where in a row this
    /// batch begins.
    u32 row_count, sample_lanes, batch_size, first;
    /// Whether this is a training batch: flips and crops are random.
    u32 augment;
};

} // namespace input

/// `images`, `[batch][crop_h][crop_w][channels]`, and `labels`, `[batch]`: of row `steps[0].row` of `samples` and `epochs`,
/// `[row][sample_lanes][batch_size]`. An index beyond the samples, or a row beyond the table, gives zeros and the label -1.
///
/// Grid: x = 256 values of an image, y = sample, z = lane.
extern "C" __global__ void __launch_bounds__(input::THREADS)
    input_gather(input::LaunchShape shape, const u8* stored, const int* stored_labels, const float* mean, const float* scale,
                 const u32* samples, const u32* epochs, const u64* seeds, const LaneStep* steps, Lanes<float> images,
                 Lanes<int> labels) {
    const u32 index = blockIdx.x * input::THREADS + threadIdx.x, place = blockIdx.y, lane = blockIdx.z;
    const u32 row_len = shape.crop_w * shape.channels, image_len = shape.crop_h * row_len;
    const u64 row = u64{steps[0].row} * shape.sample_lanes + (shape.sample_lanes == 1 ? 0 : lane);
    const u64 entry = row * shape.batch_size + shape.first + place;
    const u32 sample = steps[0].row < shape.row_count ? samples[entry] : shape.sample_count;
    const bool exists = sample < shape.sample_count;
    if (index == 0) labels[lane][place] = exists ? stored_labels[sample] : -1;
    if (index >= image_len) return;

    const u32 spare_h = shape.height + 2 * shape.pad - shape.crop_h, spare_w = shape.width + 2 * shape.pad - shape.crop_w;
    u32 top = spare_h / 2, left = spare_w / 2;
    bool flipped = false;
    if (exists && shape.augment) {
        const uint4 words = philox_block(seeds[lane], input::STREAM, epochs[entry], sample);
        flipped = shape.flip && words.x >> 31 == 1;
        top = below(words.y, spare_h + 1);
        left = below(words.z, spare_w + 1);
    }
    const u32 channel = index % shape.channels;
    // In the padding before the image these wrap around, and are none of the image either.
    const u32 y = index / row_len + top - shape.pad;
    u32 x = index % row_len / shape.channels + left - shape.pad;
    if (flipped) x = shape.width - 1 - x;
    float value = 0.0f;
    if (exists && y < shape.height && x < shape.width) {
        const u32 offset = (y * shape.width + x) * shape.channels + channel;
        const u64 stored_len = u64{shape.height} * shape.width * shape.channels;
        value = static_cast<float>(stored[sample * stored_len + offset]);
        if (shape.mean_len != 0) value -= mean[shape.mean_len == shape.channels ? channel : offset];
        if (shape.scale_len != 0) value *= scale[shape.scale_len == 1 ? 0 : channel];
    }
    images[lane][u64{place} * image_len + index] = value;
}
