// State of a device's random generator, to reproduce dropout masks.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>

#include "guard.h"

#include <mutex>

namespace {
// A negative index means the CPU.
at::Device device_of(int64_t index) {
  return index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<int8_t>(index));
}
}  // namespace

extern "C" {
int polyqa_rng_state(int64_t device_index, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    auto generator = at::globalContext().defaultGenerator(device_of(device_index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    *out = new at::Tensor(generator.get_state());
  });
}

// Draws float32 values on the CPU from a separate generator.
int polyqa_seeded_randn(const int64_t* sizes, size_t dims, int64_t seed, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
    *out = new at::Tensor(at::randn(at::IntArrayRef(sizes, dims), generator, at::TensorOptions(at::kFloat)));
  });
}

int polyqa_set_rng_state(int64_t device_index, const at::Tensor* state, char** error) {
  return guarded(error, [&] {
    auto generator = at::globalContext().defaultGenerator(device_of(device_index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
}
}
