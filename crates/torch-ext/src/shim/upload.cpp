// A tensor of the CPU on a GPU, without waiting. tch asks for pinned memory in a way that libtorch warns of each time.
#include <ATen/core/Tensor.h>

#include "guard.h"

extern "C" {
int polyqa_upload(const at::Tensor* tensor, size_t device, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(device));
    // libtorch's allocator hands pinned memory out again only once the copy from it is done.
    *out = new at::Tensor(tensor->pin_memory().to(gpu, tensor->scalar_type(), /*non_blocking=*/true));
  });
}
}
