// Many tensors into another dtype at once, as one autograd function: one launch for all on a GPU, each way.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guard.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

variable_list cast(at::TensorList tensors, at::ScalarType dtype) {
  variable_list out;
  out.reserve(tensors.size());
  for (const auto& t : tensors) out.push_back(at::empty_like(t, t.options().dtype(dtype)));
  if (!out.empty()) at::_foreach_copy_(out, tensors);
  return out;
}

struct CastAll : torch::autograd::Function<CastAll> {
  static variable_list forward(AutogradContext* ctx, at::TensorList tensors, at::ScalarType dtype) {
    ctx->saved_data["dtype"] = static_cast<int64_t>(tensors[0].scalar_type());
    return cast(tensors, dtype);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "this cast has no second derivative");
    variable_list low;
    for (const auto& grad : grads) {
      if (grad.defined()) low.push_back(grad);
    }
    const auto wide = cast(low, static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt()));
    variable_list all(grads.size() + 1);
    for (size_t i = 0, next = 0; i < grads.size(); ++i) {
      if (grads[i].defined()) all[i] = wide[next++];
    }
    return all;
  }
};
}  // namespace

extern "C" {
// dtype: libtorch's number. `out` has room for as many tensors as there are.
int polyqa_cast_all(at::Tensor* const* tensors, size_t count, int dtype, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    variable_list list;
    for (size_t i = 0; i < count; ++i) {
      TORCH_CHECK(tensors[i]->is_floating_point() && tensors[i]->scalar_type() == tensors[0]->scalar_type(),
                  "tensor ", i, " is ", tensors[i]->scalar_type());
      list.push_back(*tensors[i]);
    }
    if (list.empty()) return;
    const auto to = static_cast<at::ScalarType>(dtype);
    TORCH_CHECK(at::isFloatingType(to), "a cast to ", to);
    const auto made = CastAll::apply(at::TensorList(list), to);
    for (size_t i = 0; i < count; ++i) out[i] = new Tensor(made[i]);
  });
}
}
