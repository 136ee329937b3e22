// RMSProp: see rmsprop.rs for the formula.
#include "device.cuh"
#include "optimizer.cuh"

namespace optimizer {

struct RmsProp {
    static constexpr int STATES = 1;
    static constexpr bool DECAYS_GRADIENT = true;
    float lr, epsilon, decay;

    __device__ __forceinline__ RmsProp(const Rule& rule, const Step& step)
        : lr(step.lr), epsilon(rule.constants[0]), decay(rule.constants[1]) {}

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        float& h = state[0];
        h = decay * h + (1.0f - decay) * g * g;
        w -= lr * g / (sqrtf(h) + epsilon);
    }
};

} // namespace optimizer

OPTIMIZER_KERNEL(optimizer_rmsprop, optimizer::RmsProp)
