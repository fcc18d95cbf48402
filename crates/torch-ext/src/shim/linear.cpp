// A linear layer whose products are made of bfloat16 parts, as an autograd function; else libtorch's own.
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "guard.h"
#include "product.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SplitLinear : torch::autograd::Function<SplitLinear> {
  // rows is [N, I].
  static Tensor forward(AutogradContext* ctx, const Tensor& rows, const Tensor& weight, const std::optional<Tensor>& optional_bias) {
    const auto bias = optional_bias.value_or(Tensor());
    auto out = at::empty({rows.size(0), weight.size(0)}, rows.options());
    split_product(out, rows, weight.t(), bias);
    ctx->save_for_backward({rows, weight});
    ctx->saved_data["rows"] = rows.requires_grad();
    ctx->saved_data["weight"] = weight.requires_grad();
    ctx->saved_data["bias"] = bias.defined() && bias.requires_grad();
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "a linear layer of bfloat16 parts has no second derivative");
    variable_list out(3);
    if (!grads[0].defined()) return out;
    const auto saved = ctx->get_saved_variables();
    const auto &rows = saved[0], &weight = saved[1];
    const auto grad = grads[0].contiguous();
    if (ctx->saved_data["rows"].toBool()) {
      out[0] = at::empty(rows.sizes(), rows.options());
      polyqa_product(out[0], grad, weight, false);
    }
    if (ctx->saved_data["weight"].toBool()) {
      out[1] = at::empty(weight.sizes(), weight.options());
      polyqa_product(out[1], grad.t(), rows, false);
    }
    if (ctx->saved_data["bias"].toBool()) out[2] = grad.sum(0);
    return out;
  }
};

// Whether the layer is one for SplitLinear, as it stands and not as autocast would have it.
bool takes_parts(const Tensor& x, const Tensor& weight, const Tensor* bias) {
  const auto is_float = [](const Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kFloat; };
  if (!is_float(x) || !is_float(weight) || x.dim() == 0 || weight.dim() != 2 || x.size(-1) != weight.size(1)) return false;
  if (bias && !(is_float(*bias) && bias->dim() == 1 && bias->size(0) == weight.size(0))) return false;
  if (at::autocast::is_autocast_enabled(at::kCPU) || !weight.is_contiguous()) return false;
  return splits(x.numel() / std::max<int64_t>(1, x.size(-1)), weight.size(1), weight.size(0));
}
}  // namespace

extern "C" {
// x is [.., I], weight [O, I], bias [O] or null.
int polyqa_linear(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    const auto given = bias ? std::optional<Tensor>(*bias) : std::nullopt;
    if (!takes_parts(*x, *weight, bias)) {
      *out = new Tensor(at::linear(*x, *weight, given));
      return;
    }
    auto sizes = x->sizes().vec();
    sizes.back() = weight->size(0);
    const auto rows = x->reshape({-1, x->size(-1)}).contiguous();
    *out = new Tensor(SplitLinear::apply(rows, *weight, given).view(sizes));
  });
}
}
