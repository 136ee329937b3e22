// AMSGrad: see amsgrad.rs for the formula.
#include "device.cuh"
#include "adam.cuh"

namespace optimizer {

struct AmsGrad : AdamMoments {
    static constexpr int STATES = 3;
    static constexpr bool DECAYS_GRADIENT = true;
    using AdamMoments::AdamMoments;

    __device__ __forceinline__ void update(float& w, float g, float (&state)[STATES]) const {
        float &m = state[0], &v = state[1], &u = state[2];
        average(g, m, v);
        u = u > v ? u : v;
        w -= change(m, u);
    }
};

} // namespace optimizer

OPTIMIZER_KERNEL(optimizer_amsgrad, optimizer::AmsGrad)
