// Coins: whether a block of the network takes part in a lane's batch.
//
// Grid: x = 256 lanes.
#include "device.cuh"

namespace coin {

constexpr u32 THREADS = 256;
/// `clr_rng::Stream::Coin`.
constexpr u32 STREAM = 6;

} // namespace coin

/// `scales`, `[lanes]`: 1, or 0 where the block is left out. `block_steps`, `[lanes]`: `steps`, without samples where it is:
/// what they say of a batch is then not remembered.
extern "C" __global__ void __launch_bounds__(coin::THREADS)
    coin_flip(u32 lanes, u64 block, float death_rate, const u64* seeds, const LaneStep* steps, float* scales,
              LaneStep* block_steps) {
    const u32 lane = blockIdx.x * coin::THREADS + threadIdx.x;
    if (lane >= lanes) return;
    LaneStep step = steps[lane];
    const bool is_left_out = uniform(philox_word(seeds[lane], coin::STREAM, step.step, block)) < death_rate;
    if (is_left_out) step.samples = 0;
    scales[lane] = is_left_out ? 0.0f : 1.0f;
    block_steps[lane] = step;
}
