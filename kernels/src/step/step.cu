// The beginning of a step: each lane's row of the call's table becomes what the other kernels of the step read.
#include "device.cuh"

namespace step {

constexpr u32 THREADS = 256;

/// Mirrors `StepRow` in mod.rs.
struct Row {
    u32 samples;
    Hypers hypers;
};

} // namespace step

/// `steps`, `[lanes]`: from row `*row` of `rows`, `[row_count][lanes]`, and `first_steps`, `[lanes]`. Beyond the last row, no
/// lane has samples. Then `*row` goes on to the next, if it is to. One block.
extern "C" __global__ void __launch_bounds__(step::THREADS)
    step_begin(u32 lanes, u32 row_count, u32 advance, const step::Row* rows, const u64* first_steps, u32* row,
               LaneStep* steps) {
    const u32 current = *row;
    for (u32 lane = threadIdx.x; lane < lanes; lane += step::THREADS) {
        LaneStep out = {};
        out.row = current;
        out.step = first_steps[lane] + current;
        if (current < row_count) {
            const step::Row in = rows[u64{current} * lanes + lane];
            out.samples = in.samples;
            out.hypers = in.hypers;
            const double updates = static_cast<double>(out.step + 1);
            const double first = 1.0 / (1.0 - pow(static_cast<double>(in.hypers.beta1), updates));
            const double second = sqrt(1.0 - pow(static_cast<double>(in.hypers.beta2), updates));
            out.first_correction = first;
            out.both_corrections = second * first;
            out.second_correction = static_cast<float>(1.0 / second);
        }
        steps[lane] = out;
    }
    __syncthreads();
    if (threadIdx.x == 0 && advance) *row = current + 1;
}
