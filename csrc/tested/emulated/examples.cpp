// Kernels that are right or wrong on purpose, so that tests know what the emulation finds.
#include "cuda/device.h"
#include "tested/emulated/module.h"

namespace patchgate {
namespace {

constexpr unsigned kThreads = 64;

// Reverses a block's numbers by way of shared memory: wrong without the barrier.
void reverse_kernel(int32_t* numbers, bool with_barrier) {  // [blocks, 64]
  PG_SHARED(memory);
  auto* shared = reinterpret_cast<int32_t*>(memory);
  int32_t* mine = numbers + blockIdx.x * kThreads;
  shared[threadIdx.x] = mine[threadIdx.x];
  if (with_barrier) __syncthreads();
  mine[threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

// Shifts the numbers by one, across blocks: wrong without the barrier.
void shift_kernel(int32_t* numbers, bool with_barrier) {  // [blocks, 64]
  const unsigned count = gridDim.x * kThreads, i = blockIdx.x * kThreads + threadIdx.x;
  const int32_t next = numbers[(i + 1) % count];
  if (with_barrier) grid_barrier();
  numbers[i] = next;
}

// Half of the threads wait for the others, which have gone to wait elsewhere.
void stuck_kernel(int32_t* numbers, bool with_barrier) {
  if (with_barrier && threadIdx.x % 2 == 0)
    __syncwarp();
  else
    __syncthreads();
  numbers[threadIdx.x] = 1;
}

template <class Kernel>
void run(Kernel kernel, Array<int32_t>& numbers, bool with_barrier, uint32_t seed) {
  const unsigned blocks = static_cast<unsigned>(numbers.size()) / kThreads;
  emulate::run({{blocks}, {kThreads}, kThreads * sizeof(int32_t), 0, seed},
               [&] { kernel(numbers.mutable_data(), with_barrier); });
}

}  // namespace

void bind_examples(py::module_& m) {
  const auto example = [&](const char* name, auto kernel) {
    m.def(
        name,
        [kernel](Array<int32_t> numbers, bool with_barrier, uint32_t seed) {
          run(kernel, numbers, with_barrier, seed);
        },
        py::arg("numbers").noconvert(), py::arg("with_barrier"), py::arg("seed"));
  };
  example("reverse", &reverse_kernel);
  example("shift", &shift_kernel);
  example("stuck", &stuck_kernel);
}

}  // namespace patchgate
