// AdaGrad: see adagrad.rs for the formula.
#include "device.cuh"
#include "optimizer.cuh"

namespace optimizer {

struct AdaGrad {
    static constexpr int STATES = 1;
    static constexpr bool DECAYS_GRADIENT = true;
    float lr, epsilon;

    __device__ __forceinline__ AdaGrad(const Rule& rule, const Step& step)
        : lr(step.lr), epsilon(rule.constants[0]) {}

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        float& h = state[0];
        h += g * g;
        w -= lr * g / (sqrtf(h) + epsilon);
    }
};

} // namespace optimizer

OPTIMIZER_KERNEL(optimizer_adagrad, optimizer::AdaGrad)
