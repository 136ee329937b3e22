// AdaDelta: see adadelta.rs for the formula.
#include "device.cuh"
#include "optimizer.cuh"

namespace optimizer {

struct AdaDelta {
    static constexpr int STATES = 2;
    static constexpr bool DECAYS_GRADIENT = true;
    float lr, epsilon, rho;

    __device__ __forceinline__ AdaDelta(const Rule& rule, const Step& step)
        : lr(step.lr), epsilon(rule.constants[0]), rho(rule.constants[1]) {}

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        float &h = state[0], &u = state[1];
        h = rho * h + (1.0f - rho) * g * g;
        const float change = g * sqrtf((u + epsilon) / (h + epsilon));
        u = rho * u + (1.0f - rho) * change * change;
        w -= lr * change;
    }
};

} // namespace optimizer

OPTIMIZER_KERNEL(optimizer_adadelta, optimizer::AdaDelta)
