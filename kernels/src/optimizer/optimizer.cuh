// One update of all parameters of all lanes by one optimizer. Each optimizer's `.cu` file has its kernel, made of a struct like
// this one by OPTIMIZER_KERNEL:
//
//     struct Sgd {
//         static constexpr int STATES = 1;              // tensors that it keeps for each parameter, 1 to 3
//         static constexpr bool DECAYS_GRADIENT = true; // whether weight decay is added to the gradient
//         // What all weights of a parameter have in common; made once a thread and parameter.
//         __device__ Sgd(const Rule& rule, const Step& step);
//         // Updates one weight by its gradient.
//         __device__ void update(float& w, float g, float (&state)[STATES]) const;
//     };
#pragma once

namespace optimizer {

constexpr u32 THREADS = 256;

/// A lane's optimizer. Mirrors `LaneRule` in cuda.rs.
struct Rule {
    /// Which one, by its place in `ALL`.
    u32 optimizer;
    /// 0: Caffe's form, 1: Torch's.
    u32 torch;
    /// Gradients of a larger norm are scaled down to it; 0: none are.
    float max_grad_norm;
    /// In the order of the descriptor.
    float constants[2];
};

/// A parameter of the network. Mirrors `Slot` in cuda.rs.
struct Slot {
    /// Where it ends in the list of all weights.
    u32 end;
    float lr_mult, decay_mult;
};

/// The hyper-parameters of one update of one parameter.
struct Step {
    /// Times the parameter's multipliers.
    float lr, weight_decay;
    /// All the others, and what follows from them.
    const LaneStep& lane;
};

__device__ __forceinline__ Step step_of(const LaneStep& lane, const Slot& slot) {
    return {lane.hypers.lr * slot.lr_mult, lane.hypers.weight_decay * slot.decay_mult, lane};
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

/// Updates `N` neighbouring weights from `index` on. `state`: a lane's tensors.
template <class Optimizer, int N>
__device__ __forceinline__ void update_group(const Rule& rule, const LaneStep& lane, const Slot* slots, u32 slot_count,
                                             float scale, u32 index, float* w, const float* g,
                                             float* const (&state)[Optimizer::STATES]) {
    Floats<N> weights = load<N>(w + index), states[Optimizer::STATES];
    const Floats<N> gradients = load<N>(g + index);
#pragma unroll
    for (int s = 0; s < Optimizer::STATES; ++s) states[s] = load<N>(state[s] + index);
    u32 slot = slot_of(slots, slot_count, index);
    Slot parameter = slots[slot];
    Step step = step_of(lane, parameter);
    Optimizer optimizer(rule, step);
    float weight_decay = Optimizer::DECAYS_GRADIENT ? step.weight_decay : 0.0f;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        while (index + i >= parameter.end && slot + 1 < slot_count) {
            parameter = slots[++slot];
            const Step next = step_of(lane, parameter);
            optimizer = Optimizer(rule, next);
            weight_decay = Optimizer::DECAYS_GRADIENT ? next.weight_decay : 0.0f;
        }
        float own[Optimizer::STATES];
#pragma unroll
        for (int s = 0; s < Optimizer::STATES; ++s) own[s] = states[s].at[i];
        optimizer.update(weights.at[i], scale * gradients.at[i] + weight_decay * weights.at[i], own);
#pragma unroll
        for (int s = 0; s < Optimizer::STATES; ++s) states[s].at[i] = own[s];
    }
    store(w + index, weights);
#pragma unroll
    for (int s = 0; s < Optimizer::STATES; ++s) store(state[s] + index, states[s]);
}

/// What every kernel of an optimizer does; its arguments are documented at OPTIMIZER_KERNEL.
template <class Optimizer>
__device__ __forceinline__ void update(u32 number, u32 groups, u32 width, u32 batch, u32 slot_count, const Slot* slots,
                                       const Rule* rules, const LaneStep* steps, u32 square_count,
                                       const Lanes<const double>& squares, u32 rows, u32 columns, u32 column,
                                       float* metrics, const Lanes<float>& w, const Lanes<const float>& g,
                                       const Lanes<float> (&state)[3]) {
    __shared__ double scratch[THREADS / 32];
    const u32 group = blockIdx.x * THREADS + threadIdx.x, lane = blockIdx.y;
    const Rule rule = rules[lane];
    const LaneStep step = steps[lane];
    if (rule.optimizer != number || step.samples != batch) return;
    double sum = 0.0;
    for (u32 at = threadIdx.x; at < square_count; at += THREADS) sum += squares[lane][at];
    const float norm = static_cast<float>(sqrt(block_sum<THREADS>(sum, scratch)));
    if (group == 0 && step.row < rows) metrics[(u64{step.row} * gridDim.y + lane) * columns + column] = norm;
    if (group >= groups) return;
    const float scale = rule.max_grad_norm > 0.0f && norm > rule.max_grad_norm ? rule.max_grad_norm / norm : 1.0f;
    const u32 index = group * width;
    float* own[Optimizer::STATES];
#pragma unroll
    for (int s = 0; s < Optimizer::STATES; ++s) own[s] = state[s][lane];
    slots += u64{lane} * slot_count;
    if (width == 4) {
        update_group<Optimizer, 4>(rule, step, slots, slot_count, scale, index, w[lane], g[lane], own);
    } else {
        update_group<Optimizer, 1>(rule, step, slots, slot_count, scale, index, w[lane], g[lane], own);
    }
}

} // namespace optimizer

/// The kernel NAME: updates the weights `w` and the state of every lane whose optimizer is `number` and that has a batch of
/// `batch` samples, after its gradients `g` are scaled down to its limit. `squares`, `[square_count]`: sums of squares of `g`,
/// from `norm_partials`. The norm goes to column `column` of the lane's row of `metrics`, `[rows][lane][columns]`.
/// `slots`, `[lane][slot_count]`: what lanes multiply may differ. State that no lane's optimizer keeps is missing.
///
/// Grid: x = 256 groups of `width` neighbouring weights (4 where everything is aligned, else 1), y = lane. Four blocks of a
/// processor leave each thread 64 registers; asked for none, the compiler saves at 32 and spills.
#define OPTIMIZER_KERNEL(NAME, OPTIMIZER)                                                                              \
    extern "C" __global__ void __launch_bounds__(optimizer::THREADS, 4)                                                \
        NAME(u32 number, u32 groups, u32 width, u32 batch, u32 slot_count, const optimizer::Slot* slots,               \
             const optimizer::Rule* rules, const LaneStep* steps, u32 square_count, Lanes<const double> squares,       \
             u32 rows, u32 columns, u32 column, float* metrics, Lanes<float> w, Lanes<const float> g,                  \
             Lanes<float> first, Lanes<float> second, Lanes<float> third) {                                            \
        const Lanes<float> state[] = {first, second, third};                                                           \
        optimizer::update<OPTIMIZER>(number, groups, width, batch, slot_count, slots, rules, steps, square_count,      \
                                     squares, rows, columns, column, metrics, w, g, state);                            \
    }
