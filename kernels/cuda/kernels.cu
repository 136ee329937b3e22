// The one translation unit of all kernels: what `compile.py` turns into the PTX and the cubin that the library embeds.
//
// A new kernel file is one more line here. The emulator compiles each file of this list on its own.
#include "device.cuh"

