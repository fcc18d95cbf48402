// LayerNorm(dropout(x) + residual) as one autograd function on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "attention_rows.h"
#include "guard.h"
#include "norm_rows.h"
#include "parallel.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Number of rows whose gradients of weight and bias are summed together; fixed, so that sums do not depend on the
// number of threads.
constexpr int64_t kBlock = 64;

bool is_low(const Tensor& t) { return t.scalar_type() == at::kBFloat16; }

// Returns a contiguous tensor in float32 or bfloat16.
Tensor to_supported_dtype(const Tensor& t) { return (is_low(t) ? t : t.to(at::kFloat)).contiguous(); }

uint16_t* bfloat16_data(const Tensor& t) { return reinterpret_cast<uint16_t*>(t.data_ptr<at::BFloat16>()); }

// Thread-local memory for a row.
float* row_memory(int64_t width) {
  static thread_local std::vector<float> memory;
  memory.resize(std::max(memory.size(), static_cast<size_t>(width)));
  return memory.data();
}

struct DropoutAddNorm : torch::autograd::Function<DropoutAddNorm> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& residual, const Tensor& weight,
                        const Tensor& bias, const Tensor& offsets, double eps, const Dropout& dropout) {
    const auto rows = x.size(0), width = x.size(1);
    const auto from = to_supported_dtype(x);
    const bool low = is_low(from);
    auto sum = at::empty_like(residual), out = at::empty_like(residual);
    auto statistics = at::empty({rows, 2}, residual.options());
    const auto *pr = residual.data_ptr<float>(), *pw = weight.data_ptr<float>(), *pb = bias.data_ptr<float>();
    auto *ps = sum.data_ptr<float>(), *po = out.data_ptr<float>(), *pst = statistics.data_ptr<float>();
    const auto* offset = offsets.data_ptr<int64_t>();
    parallel_rows(rows, 16, [&](int64_t row) {
      const auto at = row * width;
      const float* px;
      if (low) {
        auto* memory = row_memory(width);
        widen(bfloat16_data(from) + at, memory, width);
        px = memory;
      } else {
        px = from.data_ptr<float>() + at;
      }
      const auto row_statistics = dropout_add_norm(px, pr + at, pw, pb, ps + at, po + at, width, static_cast<float>(eps),
                                          dropout, RowKey(dropout.seed, static_cast<uint64_t>(offset[row])));
      pst[2 * row] = row_statistics.mean;
      pst[2 * row + 1] = row_statistics.inverse_deviation;
    });
    ctx->save_for_backward({sum, weight, statistics, offsets});
    ctx->saved_data["dtype"] = static_cast<int64_t>(x.scalar_type());
    ctx->saved_data["seed"] = static_cast<int64_t>(dropout.seed);
    ctx->saved_data["threshold"] = static_cast<int64_t>(dropout.threshold);
    ctx->saved_data["scale"] = static_cast<double>(dropout.scale);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "this norm has no second derivative");
    if (!grad_outputs[0].defined()) return variable_list(7);
    const auto saved = ctx->get_saved_variables();
    const auto &sum = saved[0], &weight = saved[1], &statistics = saved[2];
    const auto* offset = saved[3].data_ptr<int64_t>();
    const Dropout dropout{static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                          static_cast<uint32_t>(ctx->saved_data["threshold"].toInt()),
                          static_cast<float>(ctx->saved_data["scale"].toDouble())};
    const auto rows = sum.size(0), width = sum.size(1), blocks = (rows + kBlock - 1) / kBlock;
    const auto grad = grad_outputs[0].to(at::kFloat).contiguous();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt());
    const bool low = dtype == at::kBFloat16;
    auto grad_x = at::empty(sum.sizes(), sum.options().dtype(low ? dtype : at::kFloat)), grad_residual = at::empty_like(sum);
    auto parts = at::zeros({2, blocks, width}, sum.options());
    const auto *pg = grad.data_ptr<float>(), *ps = sum.data_ptr<float>(), *pw = weight.data_ptr<float>(),
               *pst = statistics.data_ptr<float>();
    auto *pr = grad_residual.data_ptr<float>(), *pp = parts.data_ptr<float>();
    parallel_rows(blocks, 1, [&](int64_t block) {
      auto *weights = pp + block * width, *biases = pp + (blocks + block) * width;
      for (int64_t row = block * kBlock; row < std::min(rows, (block + 1) * kBlock); ++row) {
        const auto at = row * width;
        auto* px = low ? row_memory(width) : grad_x.data_ptr<float>() + at;
        dropout_add_norm_backward(pg + at, ps + at, pw, {pst[2 * row], pst[2 * row + 1]}, px, pr + at, weights, biases, width,
                                  dropout, RowKey(dropout.seed, static_cast<uint64_t>(offset[row])));
        if (low) narrow(px, bfloat16_data(grad_x) + at, width);
      }
    });
    const auto sums = parts.sum(1);
    return {grad_x.to(dtype), grad_residual, sums.select(0, 0), sums.select(0, 1), Tensor(), Tensor(), Tensor()};
  }
};
}  // namespace

extern "C" {
int polyqa_dropout_add_norm(const at::Tensor* x, const at::Tensor* residual, const at::Tensor* weight,
                            const at::Tensor* bias, const at::Tensor* offsets, double eps, double dropout,
                            at::Tensor** out, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(x->dim() == 2 && x->sizes() == residual->sizes(), "x is ", x->sizes(), ", residual ", residual->sizes());
    for (const auto* t : {weight, bias}) {
      TORCH_CHECK(t->dim() == 1 && t->size(0) == x->size(1) && t->scalar_type() == at::kFloat && t->is_cpu(),
                  "weight and bias must be [", x->size(1), "] float32 on the CPU");
    }
    TORCH_CHECK(x->is_cpu() && residual->is_cpu() && residual->scalar_type() == at::kFloat && x->is_floating_point(),
                "x must be float, residual float32, both on the CPU");
    TORCH_CHECK(dropout >= 0 && dropout < 1, "dropout is ", dropout);
    check_offsets(*offsets, x->size(0));
    const auto drops = dropout > 0 ? Dropout::of(dropout, draw_seed()) : Dropout();
    *out = new Tensor(
        DropoutAddNorm::apply(*x, residual->contiguous(), weight->contiguous(), bias->contiguous(), offsets->contiguous(), eps,
                              drops));
  });
}
}
