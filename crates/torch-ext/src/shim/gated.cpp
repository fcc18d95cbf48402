// Gated GELU of a feed-forward layer, as an autograd function that writes both gradients into one tensor.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guard.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GatedGelu : torch::autograd::Function<GatedGelu> {
  static Tensor forward(AutogradContext* ctx, const Tensor& wide) {
    const auto half = wide.size(-1) / 2;
    ctx->save_for_backward({wide});
    return at::gelu(wide.narrow(-1, 0, half)).mul_(wide.narrow(-1, half, half));
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "gated GELU has no second derivative");
    if (!grads[0].defined()) return {Tensor()};
    const auto wide = ctx->get_saved_variables()[0];
    const auto half = wide.size(-1) / 2;
    const auto input = wide.narrow(-1, 0, half), gate = wide.narrow(-1, half, half);
    const auto grad = grads[0].to(wide.scalar_type());
    auto out = at::empty_like(wide, at::MemoryFormat::Contiguous);
    auto of_input = out.narrow(-1, 0, half), of_gate = out.narrow(-1, half, half);
    at::mul_out(of_gate, at::gelu(input), grad);
    at::gelu_backward_out(of_input, at::mul(grad, gate), input);
    return {out};
  }
};
}  // namespace

extern "C" {
// Maps [.., 2 I] to [.., I]: GELU of the first half times the second half.
int polyqa_gated_gelu(const at::Tensor* wide, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(wide->dim() > 0 && wide->size(-1) > 0 && wide->size(-1) % 2 == 0 && wide->is_floating_point(),
                "gated GELU requires floats in two halves, got ", wide->sizes(), " ", wide->scalar_type());
    *out = new at::Tensor(GatedGelu::apply(*wide));
  });
}
}
