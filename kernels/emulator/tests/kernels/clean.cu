// Kernels without bugs: the checker must not report them, and their results are known.
#include "device.cuh"

/// y = a x. Grid: ceil(n / 256); block: 256.
extern "C" __global__ void __launch_bounds__(256) scale(const float* x, float* y, float a, int n) {
    const int i = static_cast<int>(blockIdx.x * 256 + threadIdx.x);
    if (i < n) y[i] = a * x[i];
}

/// out[block] = the sum of 256 values. Grid: n / 256; block: 256.
extern "C" __global__ void __launch_bounds__(256) sum_blocks(const float* x, float* out) {
    __shared__ float scratch[8];
    const float sum = block_sum<256>(x[blockIdx.x * 256 + threadIdx.x], scratch);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}
