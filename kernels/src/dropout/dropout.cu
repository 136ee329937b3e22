// Inverted dropout: the mask is a function of seed, step and place, word for word that of the CPU.
//
// Grid: x = 256 groups of 4 neighbouring values, which share a block of random words; y = lane.
#include "device.cuh"

namespace dropout {

constexpr u32 THREADS = 256;
/// `clr_rng::Stream::Dropout`.
constexpr u32 STREAM = 2;

} // namespace dropout

/// `y`: 0 with the given probability, else `x * scale`; both may be the same. `first_block` is the Philox block of the
/// first value. The gradient takes the same way.
extern "C" __global__ void __launch_bounds__(dropout::THREADS)
    dropout_apply(u32 len, u32 aligned, float probability, float scale, u64 first_block, const u64* seeds,
                  const LaneStep* steps, Lanes<const float> x, Lanes<float> y) {
    const u32 group = blockIdx.x * dropout::THREADS + threadIdx.x, lane = blockIdx.y;
    if (4 * u64{group} >= len) return;
    const uint4 words = philox_block(seeds[lane], dropout::STREAM, steps[lane].step, static_cast<u32>(first_block + group));
    const u32 bits[4] = {words.x, words.y, words.z, words.w};
    const float* from = x[lane] + 4 * u64{group};
    float* to = y[lane] + 4 * u64{group};
    if (aligned && 4 * u64{group} + 4 <= len) {
        Floats<4> values = load<4>(from);
#pragma unroll
        for (int i = 0; i < 4; ++i) values.at[i] = uniform(bits[i]) < probability ? 0.0f : values.at[i] * scale;
        store(to, values);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if (4 * u64{group} + i < len) to[i] = uniform(bits[i]) < probability ? 0.0f : from[i] * scale;
    }
}
