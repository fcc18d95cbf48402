// Rotary position embeddings of queries and keys, as an autograd function of a layer's complete projection.
#include <ATen/core/Tensor.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attention_rows.h"
#include "guard.h"
#include "parallel.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rotates the halves (a, b) of each head to (a cos - b sin, b cos + a sin); `sign` -1 gives the inverse rotation.
POLYQA_CLONES
void rotate(const float* from, float* to, const float* cos, const float* sin, float sign, int64_t heads, int64_t half) {
  for (int64_t head = 0; head < heads; ++head, from += 2 * half, to += 2 * half) {
#pragma omp simd
    for (int64_t k = 0; k < half; ++k) {
      const float a = from[k], b = from[k + half], s = sign * sin[k];
      to[k] = a * cos[k] - b * s;
      to[k + half] = b * cos[k] + a * s;
    }
  }
}

// Rotates one row of float32 or bfloat16.
void rotate_row(const Tensor& from, const Tensor& to, int64_t from_at, int64_t to_at, const float* cos, const float* sin,
              float sign, int64_t heads, int64_t half) {
  if (from.scalar_type() == at::kFloat) {
    rotate(from.data_ptr<float>() + from_at, to.data_ptr<float>() + to_at, cos, sin, sign, heads, half);
    return;
  }
  const auto width = 2 * half * heads;
  static thread_local std::vector<float> memory;
  memory.resize(2 * width);
  widen(reinterpret_cast<const uint16_t*>(from.data_ptr<at::BFloat16>() + from_at), memory.data(), width);
  rotate(memory.data(), memory.data() + width, cos, sin, sign, heads, half);
  narrow(memory.data() + width, reinterpret_cast<uint16_t*>(to.data_ptr<at::BFloat16>() + to_at), width);
}

// Number of rows that one thread rotates at a time.
int64_t grain(int64_t width) { return std::max<int64_t>(1, 16384 / width); }

bool has_kernel(const Tensor& x) { return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16); }

// Rotates [N, heads * D] with libtorch's operations. Products have the dtype of the cosines, and results are rounded
// once.
void rotate_all(const Tensor& from, const Tensor& to, const Tensor& cos, const Tensor& sin, double sign) {
  const auto half = cos.size(1);
  const auto c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  const auto heads = from.view({from.size(0), from.size(1) / (2 * half), 2, half});
  auto rotated = to.view(heads.sizes());
  const auto a = heads.select(2, 0), b = heads.select(2, 1);
  auto first = rotated.select(2, 0), second = rotated.select(2, 1);
  at::addcmul_out(first, at::mul(a, c), b, s, -sign);
  at::addcmul_out(second, at::mul(b, c), a, s, sign);
}

struct Rotary : torch::autograd::Function<Rotary> {
  static variable_list forward(AutogradContext* ctx, const Tensor& projected, const Tensor& cos, const Tensor& sin,
                               int64_t heads) {
    const auto rows = projected.size(0), width = projected.size(1) / 3, half = width / heads / 2;
    variable_list out;
    for (int part = 0; part < 3; ++part) out.push_back(at::empty({rows, width}, projected.options()));
    if (has_kernel(projected)) {
      const auto *c = cos.data_ptr<float>(), *s = sin.data_ptr<float>();
      parallel_rows(rows, grain(width), [&](int64_t row) {
        for (int part = 0; part < 2; ++part) {
          rotate_row(projected, out[part], (3 * row + part) * width, row * width, c + row * half, s + row * half, 1.0F, heads, half);
        }
      });
    } else {
      for (int part = 0; part < 2; ++part) rotate_all(projected.narrow(1, part * width, width), out[part], cos, sin, 1.0);
    }
    out[2].copy_(projected.narrow(1, 2 * width, width));
    ctx->save_for_backward({cos, sin});
    ctx->saved_data["heads"] = heads;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "rotary positions have no second derivative");
    const auto saved = ctx->get_saved_variables();
    const auto heads = ctx->saved_data["heads"].toInt();
    Tensor defined_grad;
    for (const auto& grad : grads) {
      if (grad.defined()) defined_grad = grad;
    }
    if (!defined_grad.defined()) return variable_list(4);
    const auto rows = defined_grad.size(0), width = defined_grad.size(1), half = width / heads / 2;
    for (auto& grad : grads) grad = grad.defined() ? grad.contiguous() : defined_grad.new_zeros({rows, width});
    auto out = at::empty({rows, 3 * width}, defined_grad.options());
    if (has_kernel(defined_grad)) {
      const auto *c = saved[0].data_ptr<float>(), *s = saved[1].data_ptr<float>();
      parallel_rows(rows, grain(width), [&](int64_t row) {
        for (int part = 0; part < 2; ++part) {
          rotate_row(grads[part], out, row * width, (3 * row + part) * width, c + row * half, s + row * half, -1.0F, heads, half);
        }
      });
    } else {
      for (int part = 0; part < 2; ++part) rotate_all(grads[part], out.narrow(1, part * width, width), saved[0], saved[1], -1.0);
    }
    out.narrow(1, 2 * width, width).copy_(grads[2]);
    return {out, Tensor(), Tensor(), Tensor()};
  }
};
}  // namespace

extern "C" {
// projected is [N, 3 * heads * D]: queries, keys, values; cos and sin are [N, D / 2], float64 if projected is float64,
// else float32. out receives three tensors [N, heads * D].
int polyqa_rotary(const at::Tensor* projected, const at::Tensor* cos, const at::Tensor* sin, int64_t heads,
                  at::Tensor** out, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(projected->dim() == 2 && heads > 0 && projected->size(1) > 0 && projected->size(1) % (6 * heads) == 0,
                "projections are ", projected->sizes(), " and there are ", heads, " heads, which must be of even size");
    TORCH_CHECK(projected->is_floating_point(), "rotary positions require floats, got ", projected->scalar_type());
    const auto kind = projected->scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const auto rows = projected->size(0), half = projected->size(1) / (6 * heads);
    for (const auto* t : {cos, sin}) {
      TORCH_CHECK(t->dim() == 2 && t->size(0) == rows && t->size(1) == half && t->scalar_type() == kind &&
                      t->device() == projected->device(),
                  "cosines and sines must be [", rows, ", ", half, "] ", kind, " on ", projected->device(), ", got ",
                  t->sizes(), " ", t->scalar_type(), " on ", t->device());
    }
    const auto parts = Rotary::apply(projected->contiguous(), cos->contiguous(), sin->contiguous(), heads);
    for (size_t part = 0; part < 3; ++part) out[part] = new at::Tensor(parts[part]);
  });
}
}
