// Stochastic gradient descent with momentum, plain and Nesterov's: see momentum.rs for the formulas.
#include "device.cuh"
#include "optimizer.cuh"

namespace optimizer {

struct Sgd {
    static constexpr int STATES = 1;
    static constexpr bool DECAYS_GRADIENT = true;
    bool torch;
    float lr, momentum;

    __device__ __forceinline__ Sgd(const Rule& rule, const Step& step)
        : torch(rule.torch), lr(step.lr), momentum(step.lane.hypers.momentum) {}

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        float& v = state[0];
        if (torch) {
            v = momentum * v + g;
            w -= lr * v;
        } else {
            v = momentum * v + lr * g;
            w -= v;
        }
    }
};

struct Nesterov : Sgd {
    using Sgd::Sgd;

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        float& v = state[0];
        if (torch) {
            v = momentum * v + g;
            w -= lr * (g + momentum * v);
        } else {
            const float before = v;
            v = momentum * before + lr * g;
            w -= (1.0f + momentum) * v - momentum * before;
        }
    }
};

} // namespace optimizer

OPTIMIZER_KERNEL(optimizer_sgd, optimizer::Sgd)
OPTIMIZER_KERNEL(optimizer_nesterov, optimizer::Nesterov)
