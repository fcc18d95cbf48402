// Cross-entropy of a linear layer without storing its outputs, as an autograd function that computes gradients in the
// forward pass.
#include <ATen/TensorOperators.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/graph_task.h>

#include "guard.h"
#include "logit_chunks.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Maximum row weight of a stored float16 gradient; float16 cannot represent values below 6e-8.
constexpr double kHalfScale = 8;

// The derivative of the loss with respect to each row's loss, [N].
Tensor row_weights(const Tensor& weights, bool mean, int64_t rows, const at::TensorOptions& options) {
  if (weights.defined()) return weights.to(options.dtype());
  const double row_weight = mean && rows > 0 ? 1.0 / static_cast<double>(rows) : 1.0;
  return at::full({rows}, row_weight, options);
}

// Row weights [N, 1] for the matmuls, and a factor for the resulting gradients. For float16, the weights are enlarged
// so that small probabilities do not underflow, but not so much that the sum of a column over the rows of a chunk
// overflows. Nothing is read back from the device.
std::pair<Tensor, Tensor> enlarged_row_weights(const Layer& layer, const Tensor& scale) {
  if (layer.hidden.scalar_type() != at::kHalf || layer.hidden.numel() == 0) return {scale, {}};
  const auto largest = layer.hidden.abs().amax().to(scale.scalar_type()).clamp_min_(1e-30);
  const double range = kHalfRange / static_cast<double>(std::min(layer.rows(), kHalfRows));
  const auto max_weight = largest.reciprocal_().mul_(range).clamp_max_(kHalfScale);
  const auto unscale = scale.abs().amax().clamp_min_(1e-30).div_(max_weight);
  return {scale / unscale, unscale};
}

Tensor to_or_undefined(const Tensor& t, at::ScalarType dtype) { return t.defined() ? t.to(dtype) : t; }

Layer layer_of(const Tensor& hidden, const Tensor& weight, const Tensor& bias, const Tensor& targets,
               at::ScalarType matmul_dtype, int64_t chunk_rows) {
  return {hidden.to(matmul_dtype).contiguous(), weight.to(matmul_dtype).contiguous(),
          to_or_undefined(bias, sum_dtype(matmul_dtype)), targets.contiguous(), chunk_rows};
}

// IValues cannot store undefined tensors, so absent tensors have no entry.
void store(AutogradContext* ctx, const char* name, const Tensor& t) {
  if (t.defined()) ctx->saved_data[name] = t;
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static variable_list forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& weight,
                               const std::optional<Tensor>& optional_bias, const Tensor& targets,
                               const std::optional<Tensor>& optional_weights, int64_t dtype_code,
                               int64_t chunk_rows, bool mean, bool grad_hidden, bool grad_weight,
                               bool grad_bias) {
    const auto matmul_dtype = static_cast<at::ScalarType>(dtype_code);
    const Tensor bias = optional_bias.value_or(Tensor()), weights = optional_weights.value_or(Tensor());
    const auto layer = layer_of(hidden, weight, bias, targets, matmul_dtype, chunk_rows);
    const auto rows = layer.rows();
    const auto options = layer.hidden.options().dtype(layer.sums());
    auto losses = at::empty({rows}, options);
    if (grad_hidden || grad_weight || grad_bias) {
      const auto scale_unscale = enlarged_row_weights(layer, row_weights(weights, mean, rows, options).unsqueeze(1));
      auto gradients = allocate(layer, grad_hidden, grad_weight, grad_bias, weight.scalar_type());
      run_chunks(layer, {losses, scale_unscale.first, scale_unscale.second}, &gradients);
      store(ctx, "hidden", gradients.hidden);
      store(ctx, "weight", gradients.weight);
      store(ctx, "bias", gradients.bias);
      ctx->saved_data["dtypes"] = std::vector<int64_t>{
          static_cast<int64_t>(hidden.scalar_type()), static_cast<int64_t>(weight.scalar_type()),
          static_cast<int64_t>(bias.defined() ? bias.scalar_type() : at::kFloat)};
    } else {
      run_chunks(layer, {losses, {}, {}}, nullptr);
    }
    if (mean) return {losses.mean()};
    return {weights.defined() ? losses.mul(weights.to(losses.scalar_type())).sum() : losses.sum()};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "linear cross-entropy has no second derivative");
    variable_list result(11);
    const auto grad_output = grad_outputs[0];
    if (!grad_output.defined()) return result;
    TORCH_CHECK(ctx->saved_data.count("dtypes"),
                "second backward pass through the same graph: keep the graph in the first pass");
    const bool keep_graph = torch::autograd::get_current_graph_task_keep_graph();
    // An unscaled loss has the gradient 1. On a GPU, testing for 1 would need a transfer, so the stored gradients are
    // always multiplied.
    const bool is_one = grad_output.is_cpu() && grad_output.item<double>() == 1;
    const auto dtypes = ctx->saved_data["dtypes"].toIntVector();
    const char* names[] = {"hidden", "weight", "bias"};
    for (size_t i = 0; i < 3; ++i) {
      auto stored_gradient = ctx->saved_data.find(names[i]);
      if (stored_gradient == ctx->saved_data.end()) continue;
      auto gradient = stored_gradient->second.toTensor();
      if (!keep_graph) ctx->saved_data.erase(stored_gradient);
      if (!is_one) gradient = keep_graph ? gradient.mul(grad_output) : gradient.mul_(grad_output);
      result[i] = gradient.to(static_cast<at::ScalarType>(dtypes[i]));
      // The caller may modify the result, but the stored gradient must not change.
      if (keep_graph && result[i].is_same(gradient) && is_one) result[i] = gradient.clone();
    }
    if (!keep_graph) ctx->saved_data.erase("dtypes");
    return result;
  }

};
}  // namespace

extern "C" {
// mean: 1 for the mean, 0 for the sum. `bias` and `weights` (row weights, for the sum only) may be null. Targets must
// be in 0..V. chunk_rows: 0 for the default.
int polyqa_linear_cross_entropy(const Tensor* hidden, const Tensor* weight, const Tensor* bias, const Tensor* targets,
                                const Tensor* weights, int mean, int64_t chunk_rows, Tensor** loss,
                                char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(chunk_rows >= 0, "chunk_rows must not be negative, got ", chunk_rows);
    TORCH_CHECK(hidden->dim() == 2 && weight->dim() == 2 && hidden->size(1) == weight->size(1),
                "hidden must be [N, H] and weight [V, H], got ", hidden->sizes(), " and ", weight->sizes());
    TORCH_CHECK(targets->dim() == 1 && targets->size(0) == hidden->size(0) && targets->scalar_type() == at::kLong,
                "targets must be [N] of 64-bit integers");
    // Absent tensors are not passed to the autograd function, because an undefined tensor has no device.
    const auto b = bias ? std::make_optional(*bias) : std::nullopt;
    const auto w = weights ? std::make_optional(weights->detach()) : std::nullopt;
    TORCH_CHECK(!w || (!mean && w->sizes() == targets->sizes()), "weights must be [N], and need the reduction `sum`");
    TORCH_CHECK(!b || (b->dim() == 1 && b->size(0) == weight->size(0)), "bias must be [V], got ", b->sizes());
    const auto device = hidden->device().type();
    const bool autocast = at::autocast::is_autocast_enabled(device) && hidden->scalar_type() != at::kDouble;
    const auto matmul_dtype = autocast ? at::autocast::get_autocast_dtype(device) : hidden->scalar_type();
    TORCH_CHECK(autocast || weight->scalar_type() == matmul_dtype,
                "weight must have hidden's dtype ", matmul_dtype, ", got ", weight->scalar_type());
    const bool grad = at::GradMode::is_enabled();
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    auto out = LinearCrossEntropy::apply(*hidden, *weight, b, *targets, w, static_cast<int64_t>(matmul_dtype),
                                         chunk_rows, mean != 0, grad && hidden->requires_grad(),
                                         grad && weight->requires_grad(), grad && b && b->requires_grad());
    *loss = new Tensor(out[0]);
  });
}
}
