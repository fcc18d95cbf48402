// Asynchronous copy of a CPU tensor to a GPU. tch's function for pinned memory causes a libtorch warning in each
// call.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "guard.h"

extern "C" {
int polyqa_upload(const at::Tensor* tensor, size_t device, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(device));
    // libtorch's allocator reuses pinned memory only after the copy from it is complete. pin_memory would first query
    // the driver whether the tensor is already pinned, which is never the case here.
    const auto pinned = at::empty(tensor->sizes(), tensor->options().pinned_memory(true));
    pinned.copy_(*tensor);
    *out = new at::Tensor(pinned.to(gpu, tensor->scalar_type(), /*non_blocking=*/true));
  });
}
}
