// A tensor of the CPU on a GPU, without waiting. tch asks for pinned memory in a way that libtorch warns of each time.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "guard.h"

extern "C" {
int polyqa_upload(const at::Tensor* tensor, size_t device, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(device));
    // libtorch's allocator hands pinned memory out again only once the copy from it is done. pin_memory would ask the
    // driver first whether the tensor is pinned already, which one of the CPU here never is.
    const auto pinned = at::empty(tensor->sizes(), tensor->options().pinned_memory(true));
    pinned.copy_(*tensor);
    *out = new at::Tensor(pinned.to(gpu, tensor->scalar_type(), /*non_blocking=*/true));
  });
}
}
