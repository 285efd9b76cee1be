// What the shared arithmetic headers need to be the same code in a CPU loop and in a CUDA kernel.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PG_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PG_HOST_DEVICE inline
#endif
