// Softmax, mean cross-entropy, top-1 and top-5 accuracy and the gradient of the logits. In float64, rounded at the end, as on the CPU.
//
// Grid: x = lane. A block has 16 warps, which score a sample each at a time, 32 classes side by side; the samples' losses are
// added in a fixed order.
#include "device.cuh"

namespace softmax_cross_entropy {

// Kernels ask for one block of a multiprocessor: unasked, ptxas aims at three in a large module, and spills.
constexpr u32 THREADS = 512;
constexpr u32 WARPS = THREADS / 32;

struct Shared {
    double losses[WARPS];
    u32 correct[WARPS], top5[WARPS];
};

struct Sample {
    double loss;
    bool correct, top5;
};

/// Scores a sample, by a whole warp. Writes its gradient times `scale` where `dlogits` is one.
__device__ __forceinline__ Sample score(u32 classes, const float* logits, int label, double scale, float* dlogits) {
    const u32 lane = lane_index();
    float largest = -infinity();
    for (u32 c = lane; c < classes; c += 32) largest = fmaxf(largest, logits[c]);
    largest = warp_max(largest);
    // NaN where the label is no class: that makes loss and gradients NaN.
    const bool known = label >= 0 && static_cast<u32>(label) < classes;
    const float label_logit = known ? logits[label] : not_a_number();
    double sum = 0.0;
    u32 before = 0;
    for (u32 c = lane; c < classes; c += 32) {
        sum += exp(static_cast<double>(logits[c]) - static_cast<double>(largest));
        if (logits[c] > label_logit || (logits[c] == label_logit && static_cast<int>(c) < label)) ++before;
    }
    sum = warp_sum(sum);
    // The classes that come before the label.
    const u32 rank = warp_sum(before);
    const double loss = log(sum) + static_cast<double>(largest) - static_cast<double>(label_logit);
    if (dlogits != nullptr) {
        for (u32 c = lane; c < classes; c += 32) {
            const double share = exp(static_cast<double>(logits[c]) - static_cast<double>(largest)) / sum;
            const double target = static_cast<int>(c) == label ? 1.0 : 0.0;
            dlogits[c] = loss != loss ? not_a_number() : static_cast<float>((share - target) * scale);
        }
    }
    return {loss, loss == loss && rank == 0, loss == loss && rank < 5};
}

/// Summed loss, right answers, and labels among the five largest logits.
struct Score {
    double loss;
    u32 correct, top5;
};

/// Scores a batch. Thread 0 has the result. `of`: the samples that the mean is over.
__device__ __forceinline__ Score score_batch(Shared& shared, u32 batch, u32 of, float weight, u32 classes,
                                             const float* logits, const int* labels, float* dlogits) {
    const double scale = static_cast<double>(weight) * (1.0 / of);
    double loss = 0.0;
    u32 correct = 0, top5 = 0;
    for (u32 row = warp_index(); row < batch; row += WARPS) {
        const u64 at = u64{row} * classes;
        const Sample sample = score(classes, logits + at, labels[row], scale, dlogits == nullptr ? nullptr : dlogits + at);
        loss += sample.loss;
        correct += sample.correct;
        top5 += sample.top5;
    }
    if (lane_index() == 0) {
        shared.losses[warp_index()] = loss;
        shared.correct[warp_index()] = correct;
        shared.top5[warp_index()] = top5;
    }
    __syncthreads();
    Score total = {0.0, 0, 0};
    if (threadIdx.x == 0) {
        for (u32 warp = 0; warp < WARPS; ++warp) {
            total.loss += shared.losses[warp];
            total.correct += shared.correct[warp];
            total.top5 += shared.top5[warp];
        }
    }
    return total;
}

/// What an evaluation has summed up. Mirrors `Total` in cuda.rs.
struct Total {
    double loss;
    u64 correct, top5;
};

/// The share of a part of an update, added to those of the parts before it. A share of so few samples gives their number back.
__device__ __forceinline__ void add_share(float* share, bool is_first, u32 count, u32 of) {
    const float samples = static_cast<float>(of);
    const u32 before = is_first ? 0 : static_cast<u32>(*share * samples + 0.5f);
    *share = static_cast<float>(before + count) / samples;
}

} // namespace softmax_cross_entropy

/// The gradient of the mean loss times `weight`, and, in the lane's row of `metrics`, `[rows][lane][columns]`, that loss, the
/// accuracy, and the top-5 accuracy in the column of that number, if it is not 0. The means are over the `of` samples of an
/// update, of which this is a part: the first writes its row, the others add to it. A loss that is not the network's first is
/// added to it likewise, and nothing else of it is recorded.
extern "C" __global__ void __launch_bounds__(softmax_cross_entropy::THREADS, 1)
    softmax_cross_entropy_train(u32 batch, u32 of, u32 is_first, float weight, u32 is_further, u32 top5_column, u32 classes,
                                u32 rows, u32 columns, const LaneStep* steps, Lanes<const float> logits,
                                Lanes<const int> labels, Lanes<float> dlogits, float* metrics) {
    __shared__ softmax_cross_entropy::Shared shared;
    const u32 lane = blockIdx.x;
    const softmax_cross_entropy::Score score = softmax_cross_entropy::score_batch(
        shared, batch, of, weight, classes, logits[lane], labels[lane], dlogits.exists() ? dlogits[lane] : nullptr);
    if (threadIdx.x == 0 && steps[lane].samples == of && steps[lane].row < rows) {
        float* row = metrics + (u64{steps[lane].row} * gridDim.x + lane) * columns;
        const float loss = static_cast<float>(static_cast<double>(weight) * (score.loss / of));
        row[0] = is_first && !is_further ? loss : row[0] + loss;
        if (is_further) return;
        softmax_cross_entropy::add_share(row + 1, is_first, score.correct, of);
        if (top5_column != 0) softmax_cross_entropy::add_share(row + top5_column, is_first, score.top5, of);
    }
}

/// Adds mean loss times samples, right answers, and labels among the five largest logits, to the lane's total.
extern "C" __global__ void __launch_bounds__(softmax_cross_entropy::THREADS, 1)
    softmax_cross_entropy_evaluate(u32 batch, u32 classes, Lanes<const float> logits, Lanes<const int> labels,
                                   softmax_cross_entropy::Total* totals) {
    __shared__ softmax_cross_entropy::Shared shared;
    const u32 lane = blockIdx.x;
    const softmax_cross_entropy::Score score =
        softmax_cross_entropy::score_batch(shared, batch, batch, 1.0f, classes, logits[lane], labels[lane], nullptr);
    if (threadIdx.x == 0) {
        // The mean as a float, as the CPU has it.
        totals[lane].loss += static_cast<double>(static_cast<float>(score.loss / batch)) * batch;
        totals[lane].correct += score.correct;
        totals[lane].top5 += score.top5;
    }
}
