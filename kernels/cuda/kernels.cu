// The one translation unit of all kernels: what `compile.py` turns into the PTX and the cubin that the library embeds.
//
// A new kernel file is one more line here. The emulator compiles each file of this list on its own.
#include "device.cuh"

#include "../src/activation/activation.cu"
#include "../src/add/add.cu"
#include "../src/batch_norm/batch_norm.cu"
#include "../src/conv2d/correlate.cu"
#include "../src/conv2d/weight_gradient.cu"
#include "../src/dropout/dropout.cu"
#include "../src/input/input.cu"
#include "../src/linear/linear.cu"
#include "../src/lrn/lrn.cu"
#include "../src/norm/norm.cu"
#include "../src/optimizer/adadelta.cu"
#include "../src/optimizer/adagrad.cu"
#include "../src/optimizer/adam.cu"
#include "../src/optimizer/momentum.cu"
#include "../src/optimizer/rmsprop.cu"
#include "../src/pool/pool.cu"
#include "../src/softmax_cross_entropy/softmax_cross_entropy.cu"
#include "../src/step/step.cu"
#include "../src/subsample/subsample.cu"
