// What Adam and its relatives have in common: see adam.rs for the formulas.
#pragma once

#include "optimizer.cuh"

namespace optimizer {

struct AdamMoments {
    float beta1, beta2, epsilon;
    /// Factors of m and of `sqrt v`: the learning rate and the corrections for having started at 0.
    float m_scale, v_scale;

    __device__ __forceinline__ AdamMoments(const Rule& rule, const Step& step)
        : beta1(step.lane.hypers.beta1), beta2(step.lane.hypers.beta2), epsilon(rule.constants[0]) {
        const double correction = rule.torch ? step.lane.first_correction : step.lane.both_corrections;
        m_scale = static_cast<float>(static_cast<double>(step.lr) * correction);
        v_scale = rule.torch ? step.lane.second_correction : 1.0f;
    }

    /// Takes a gradient into both moments.
    __device__ __forceinline__ void average(float g, float& m, float& v) const {
        m = beta1 * m + (1.0f - beta1) * g;
        v = beta2 * v + (1.0f - beta2) * g * g;
    }

    /// What is subtracted from a weight.
    __device__ __forceinline__ float change(float m, float v) const { return m_scale * m / (sqrtf(v) * v_scale + epsilon); }
};

} // namespace optimizer
