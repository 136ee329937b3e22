// Adam and AdamW: see adam.rs for the formulas.
#include "device.cuh"
#include "adam.cuh"

namespace optimizer {

struct Adam : AdamMoments {
    static constexpr int STATES = 2;
    static constexpr bool DECAYS_GRADIENT = true;
    using AdamMoments::AdamMoments;

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        average(g, state[0], state[1]);
        w -= change(state[0], state[1]);
    }
};

struct AdamW : Adam {
    static constexpr bool DECAYS_GRADIENT = false;
    float keep;

    __device__ __forceinline__ AdamW(const Rule& rule, const Step& step)
        : Adam(rule, step), keep(1.0f - step.lr * step.weight_decay) {}

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        average(g, state[0], state[1]);
        w = keep * w - change(state[0], state[1]);
    }
};

} // namespace optimizer

OPTIMIZER_KERNEL(optimizer_adam, optimizer::Adam)
OPTIMIZER_KERNEL(optimizer_adamw, optimizer::AdamW)
