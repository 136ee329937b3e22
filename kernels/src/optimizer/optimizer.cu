// One update of all parameters of all lanes, each by its own rule: see `Rule` in mod.rs for the formulas.
//
// Grid: x = 256 groups of `width` neighbouring weights (4 where everything is aligned, else 1), y = lane.
#include "device.cuh"

namespace optimizer {

constexpr u32 THREADS = 256;

/// `Kind` in cuda.rs.
enum Kind : u32 { SGD, NESTEROV, ADAM, ADAMW, RMSPROP, ADAGRAD, ADADELTA };

/// A lane's optimizer. Mirrors `LaneRule` in cuda.rs.
struct Rule {
    u32 kind;
    /// 0: Caffe's form, 1: Torch's.
    u32 torch;
    float epsilon;
    /// What RMSProp and AdaDelta keep of their averages.
    float decay;
    /// The largest norm of a gradient; 0: no limit.
    float clip;
};

/// A parameter of the network. Mirrors `Slot` in cuda.rs.
struct Slot {
    /// Where it ends.
    u32 end;
    float lr_mult, decay_mult;
};

/// What all weights of one parameter have in common.
struct Constants {
    u32 end;
    float lr, weight_decay, decoupled_decay;
    /// What Adam multiplies m and `sqrt v` by.
    float m_scale, v_scale;
};

__device__ __forceinline__ Constants constants_of(const Rule& rule, const LaneStep& step, const Slot& slot) {
    Constants constants = {};
    constants.end = slot.end;
    constants.lr = step.lr * slot.lr_mult;
    const float decay = step.weight_decay * slot.decay_mult;
    (rule.kind == ADAMW ? constants.decoupled_decay : constants.weight_decay) = decay;
    const double lr = static_cast<double>(constants.lr);
    constants.m_scale = static_cast<float>(lr * (rule.torch ? step.first_correction : step.both_corrections));
    constants.v_scale = rule.torch ? step.second_correction : 1.0f;
    return constants;
}

/// The parameter that holds weight `index`: the first that ends after it.
__device__ __forceinline__ u32 slot_of(const Slot* slots, u32 count, u32 index) {
    u32 low = 0, high = count - 1;
    while (low < high) {
        const u32 middle = (low + high) / 2;
        if (slots[middle].end > index) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

__device__ __forceinline__ void update(const Rule& rule, const LaneStep& step, const Constants& constants, float scale,
                                       float& w, float g, float& first, float& second) {
    g = scale * g + constants.weight_decay * w;
    const float lr = constants.lr;
    switch (rule.kind) {
    case SGD:
        if (rule.torch) {
            first = step.momentum * first + g;
            w -= lr * first;
        } else {
            first = step.momentum * first + lr * g;
            w -= first;
        }
        break;
    case NESTEROV:
        if (rule.torch) {
            first = step.momentum * first + g;
            w -= lr * (g + step.momentum * first);
        } else {
            const float before = first;
            first = step.momentum * before + lr * g;
            w -= (1.0f + step.momentum) * first - step.momentum * before;
        }
        break;
    case ADAM:
    case ADAMW:
        first = step.beta1 * first + (1.0f - step.beta1) * g;
        second = step.beta2 * second + (1.0f - step.beta2) * g * g;
        // Without decoupled decay the first factor is 1.
        w = (1.0f - lr * constants.decoupled_decay) * w -
            constants.m_scale * first / (sqrtf(second) * constants.v_scale + rule.epsilon);
        break;
    case RMSPROP:
        first = rule.decay * first + (1.0f - rule.decay) * g * g;
        w -= lr * g / (sqrtf(first) + rule.epsilon);
        break;
    case ADAGRAD:
        first += g * g;
        w -= lr * g / (sqrtf(first) + rule.epsilon);
        break;
    case ADADELTA: {
        first = rule.decay * first + (1.0f - rule.decay) * g * g;
        const float change = g * sqrtf((second + rule.epsilon) / (first + rule.epsilon));
        second = rule.decay * second + (1.0f - rule.decay) * change * change;
        w -= lr * change;
        break;
    }
    }
}

template <int N>
__device__ __forceinline__ void update_group(const Rule& rule, const LaneStep& step, const Slot* slots, u32 slot_count,
                                             float scale, u32 index, float* w, const float* g, float* first,
                                             float* second) {
    const bool has_second = rule.kind == ADAM || rule.kind == ADAMW || rule.kind == ADADELTA;
    Floats<N> weights = load<N>(w + index), firsts = load<N>(first + index);
    const Floats<N> gradients = load<N>(g + index);
    Floats<N> seconds = has_second ? load<N>(second + index) : filled<N>(0.0f);
    u32 slot = slot_of(slots, slot_count, index);
    Constants constants = constants_of(rule, step, slots[slot]);
#pragma unroll
    for (int i = 0; i < N; ++i) {
        while (index + i >= constants.end && slot + 1 < slot_count) constants = constants_of(rule, step, slots[++slot]);
        update(rule, step, constants, scale, weights.at[i], gradients.at[i], firsts.at[i], seconds.at[i]);
    }
    store(w + index, weights);
    store(first + index, firsts);
    if (has_second) store(second + index, seconds);
}

} // namespace optimizer

/// Updates the weights `w` and the state of every lane that has a batch of `batch` samples, after its gradients `g` are scaled
/// down to its limit. `squares`, `[square_count]`: sums of squares of `g`, from `norm_partials`. The norm goes to column
/// `column` of the lane's row of `metrics`, `[rows][lane][columns]`.
/// `slots`, `[lane][slot_count]`: what lanes multiply may differ.
extern "C" __global__ void __launch_bounds__(optimizer::THREADS)
    optimizer_update(u32 groups, u32 width, u32 batch, u32 slot_count, const optimizer::Slot* slots,
                     const optimizer::Rule* rules, const LaneStep* steps, u32 square_count, Lanes<const double> squares,
                     u32 rows, u32 columns, u32 column, float* metrics, Lanes<float> w, Lanes<const float> g,
                     Lanes<float> first, Lanes<float> second) {
    __shared__ double scratch[optimizer::THREADS / 32];
    const u32 group = blockIdx.x * optimizer::THREADS + threadIdx.x, lane = blockIdx.y;
    const LaneStep step = steps[lane];
    if (step.samples != batch) return;
    double sum = 0.0;
    for (u32 at = threadIdx.x; at < square_count; at += optimizer::THREADS) sum += squares[lane][at];
    const float norm = static_cast<float>(sqrt(block_sum<optimizer::THREADS>(sum, scratch)));
    if (group == 0 && step.row < rows) metrics[(u64{step.row} * gridDim.y + lane) * columns + column] = norm;
    if (group >= groups) return;
    const optimizer::Rule rule = rules[lane];
    const float scale = rule.clip > 0.0f && norm > rule.clip ? rule.clip / norm : 1.0f;
    const u32 index = group * width;
    float* const seconds = second.exists() ? second[lane] : nullptr;
    slots += u64{lane} * slot_count;
    if (width == 4) {
        optimizer::update_group<4>(rule, step, slots, slot_count, scale, index, w[lane], g[lane], first[lane], seconds);
    } else {
        optimizer::update_group<1>(rule, step, slots, slot_count, scale, index, w[lane], g[lane], first[lane], seconds);
    }
}
