// Optimiser kernels over lists of tensors.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include "guard.h"

namespace {
std::vector<at::Tensor> as_list(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (size_t i = 0; i < count; ++i) list.push_back(*tensors[i]);
  return list;
}
// Whether two tensors have the same memory layout; strides of dimensions of size 1 are ignored.
bool has_same_layout(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return false;
  for (int64_t dim = 0; dim < a.dim(); ++dim) {
    if (a.size(dim) != 1 && a.stride(dim) != b.stride(dim)) return false;
  }
  return true;
}
}  // namespace

extern "C" {
int polyqa_fused_adamw(at::Tensor* const* params, at::Tensor* const* grads, at::Tensor* const* exp_avgs,
                       at::Tensor* const* exp_avg_sqs, at::Tensor* const* steps, size_t count, double lr,
                       double beta1, double beta2, double weight_decay, double eps, double grad_scale, char** error) {
  return guarded(error, [&] {
    at::NoGradGuard no_grad;
    // The CPU kernel does not check shapes, and would read past the end of a short gradient.
    for (size_t i = 0; i < count; ++i) {
      TORCH_CHECK(params[i]->is_non_overlapping_and_dense(), "parameter ", i, " is not dense");
      for (auto* t : {grads[i], exp_avgs[i], exp_avg_sqs[i]}) {
        TORCH_CHECK(t->defined() && has_same_layout(*t, *params[i]) &&
                        t->scalar_type() == params[i]->scalar_type() &&
                        t->device() == params[i]->device(),
                    "entry ", i, " does not fit its parameter in shape, strides, dtype or device");
      }
      TORCH_CHECK(steps[i]->defined() && steps[i]->numel() == 1 && steps[i]->scalar_type() == at::kFloat &&
                      steps[i]->device() == params[i]->device(),
                  "step ", i, " must be a float32 scalar on its parameter's device");
    }
    std::optional<at::Tensor> scale;
    if (grad_scale != 1.0 && count > 0) scale = at::full({}, grad_scale, steps[0]->options());
    at::_fused_adamw_(as_list(params, count), as_list(grads, count), as_list(exp_avgs, count),
                      as_list(exp_avg_sqs, count), {}, as_list(steps, count), lr, beta1, beta2, weight_decay,
                      eps, /*amsgrad=*/false, /*maximize=*/false, scale);
  });
}

// Returns the norm of all gradients as a new 0-d tensor.
int polyqa_total_norm(at::Tensor* const* grads, size_t count, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(count > 0, "no gradients");
    auto norms = at::_foreach_norm(as_list(grads, count), 2);
    *out = new at::Tensor(at::linalg_vector_norm(at::stack(norms), 2));
  });
}

int polyqa_scale_all(at::Tensor* const* tensors, size_t count, double factor, char** error) {
  return guarded(error, [&] {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(as_list(tensors, count), factor);
  });
}

// Removes the gradients. A parameter that the next step does not use then has no gradient, not a gradient of zeros.
int polyqa_clear_grads(at::Tensor* const* params, size_t count, char** error) {
  return guarded(error, [&] {
    for (size_t i = 0; i < count; ++i) params[i]->mutable_grad() = at::Tensor();
  });
}

int polyqa_set_grad(const at::Tensor* param, const at::Tensor* grad, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(param->sizes() == grad->sizes() && param->scalar_type() == grad->scalar_type() &&
                    param->device() == grad->device(),
                "gradient and parameter differ in shape, dtype or device: ", grad->sizes(), " and ", param->sizes());
    // The handle is const, but the shared tensor is not.
    at::Tensor(*param).mutable_grad() = *grad;
  });
}
}
