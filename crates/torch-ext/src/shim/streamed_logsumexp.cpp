// Log-sum-exp of query-key dot products over blocks of keys with running maxima. Only one block of dot products is
// stored at a time.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guard.h"
#include "matmul.h"

#include <limits>

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

struct Pairs {
  Tensor query;        // [R, D], in the dtype of the sums, already divided by the temperature
  Tensor key;          // [M, D], any float dtype
  Tensor query_group;  // [R], undefined without groups
  Tensor key_group;    // [M], undefined without groups
  bool negative_groups;  // whether negative ids are groups; if false, keys with negative ids have no group
  Tensor offset;         // [R, 1], subtracted from each dot product of a query; undefined for 0
  double normalise_eps;  // keys are divided by max(norm, eps); negative: keys are not normalised
  int64_t block;

  Tensor keys(int64_t first, int64_t count) const {
    auto block = key.narrow(0, first, count).to(query.scalar_type());
    if (normalise_eps < 0) return block.contiguous();
    auto norm = at::linalg_vector_norm(block, 2, {1}, true).clamp_min_(normalise_eps);
    return block / norm;
  }

  // Excludes pairs of the same group, if groups are given.
  void exclude(const Tensor& logits, int64_t first) const {
    if (!query_group.defined()) return;
    auto block_groups = key_group.narrow(0, first, logits.size(1)).unsqueeze(0);
    auto same = query_group.unsqueeze(1).eq(block_groups);
    if (!negative_groups) same.logical_and_(block_groups.ge(0));
    logits.masked_fill_(same, kMinusInfinity);
  }

  template <class Use>
  void for_each_block(Use&& body) const {
    const auto count = key.size(0), rows = query.size(0);
    auto buffer = at::empty({rows * std::min(block, count)}, query.options());
    for (int64_t first = 0; first < count; first += block) {
      const auto size = std::min(block, count - first);
      const auto block_keys = keys(first, size);
      auto logits = buffer.narrow(0, 0, rows * size).view({rows, size});
      polyqa_matmul(logits, query, block_keys.t(), false);
      if (offset.defined()) logits.sub_(offset);
      exclude(logits, first);
      body(first, block_keys, logits);
    }
  }
};

struct StreamedLogSumExp : torch::autograd::Function<StreamedLogSumExp> {
  static Tensor forward(AutogradContext* ctx, const Tensor& query, const Tensor& key,
                        const std::optional<Tensor>& query_groups, const std::optional<Tensor>& key_groups,
                        bool negative_groups, const std::optional<Tensor>& offsets, double temperature,
                        double normalise_eps, int64_t block, bool grad_query, bool grad_key) {
    const auto sums = sum_dtype(query.scalar_type());
    const Tensor query_group = query_groups.value_or(Tensor()), key_group = key_groups.value_or(Tensor());
    const Tensor offset = offsets ? offsets->to(sums).unsqueeze(1) : Tensor();
    const Pairs pairs{query.to(sums) / temperature, key, query_group, key_group, negative_groups, offset,
                      normalise_eps, block};
    const auto rows = query.size(0);
    auto largest = at::full({rows, 1}, kMinusInfinity, pairs.query.options());
    auto total = at::zeros({rows, 1}, pairs.query.options());
    // The sum of the keys weighted by the exponentials. Divided by `total`, this sum is the gradient of `pairs.query`.
    auto expected = grad_query ? at::zeros({rows, query.size(1)}, pairs.query.options()) : Tensor();
    pairs.for_each_block([&](int64_t, const Tensor& keys, Tensor& logits) {
      auto new_largest = at::maximum(largest, logits.amax(1, true));
      // A row without candidates so far is shifted by 0, to avoid NaN.
      auto shift = new_largest.masked_fill(new_largest.eq(kMinusInfinity), 0);
      auto shrink = (largest - shift).exp_();
      logits.sub_(shift).exp_();
      total.mul_(shrink).add_(logits.sum(1, true));
      if (grad_query) {
        expected.mul_(shrink);
        polyqa_matmul(expected, logits, keys, true);
      }
      largest = new_largest;
    });
    auto result = (total.log() + largest.masked_fill(largest.eq(kMinusInfinity), 0)).squeeze(1);
    if (grad_query) {
      auto divisor = total.masked_fill(total.eq(0), 1);
      ctx->saved_data["expected"] = expected.div_(divisor.mul_(temperature));
    }
    ctx->saved_data["query_dtype"] = static_cast<int64_t>(query.scalar_type());
    ctx->saved_data["grad_key"] = grad_key;
    if (grad_key) {
      ctx->save_for_backward({query, key, query_group, key_group, offset});
      ctx->saved_data["negative_groups"] = negative_groups;
      ctx->saved_data["result"] = result.detach();
      ctx->saved_data["temperature"] = temperature;
      ctx->saved_data["block"] = block;
    }
    return result;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "streamed log-sum-exp has no second derivative");
    variable_list result(11);
    const auto grad_output = grad_outputs[0];
    if (!grad_output.defined()) return result;
    const auto column = grad_output.unsqueeze(1);
    if (ctx->saved_data.count("expected")) {
      const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["query_dtype"].toInt());
      result[0] = (ctx->saved_data["expected"].toTensor() * column).to(dtype);
    }
    if (ctx->saved_data["grad_key"].toBool()) {
      const auto saved = ctx->get_saved_variables();
      const auto lse = ctx->saved_data["result"].toTensor().unsqueeze(1);
      const auto temperature = ctx->saved_data["temperature"].toDouble();
      const Pairs pairs{saved[0].to(lse.scalar_type()) / temperature, saved[1], saved[2], saved[3],
                        ctx->saved_data["negative_groups"].toBool(), saved[4], -1, ctx->saved_data["block"].toInt()};
      auto grad_key = at::empty(saved[1].sizes(), pairs.query.options());
      const auto shift = lse.masked_fill(lse.eq(kMinusInfinity), 0);
      pairs.for_each_block([&](int64_t first, const Tensor& keys, Tensor& logits) {
        logits.sub_(shift).exp_().mul_(column);
        auto out = grad_key.narrow(0, first, keys.size(0));
        polyqa_matmul(out, logits.t(), pairs.query, false);
      });
      result[1] = grad_key.to(saved[1].scalar_type());
    }
    return result;
  }
};
}  // namespace

extern "C" {
// Groups and `offset` may be null. A negative `normalise_eps` disables normalisation.
int polyqa_streamed_logsumexp(const Tensor* query, const Tensor* key, const Tensor* query_group,
                              const Tensor* key_group, int negative_groups, const Tensor* offset, double temperature,
                              double normalise_eps, int64_t block, Tensor** out, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(query->dim() == 2 && key->dim() == 2 && query->size(1) == key->size(1),
                "query must be [R, D] and key [M, D], got ", query->sizes(), " and ", key->sizes());
    TORCH_CHECK((query_group == nullptr) == (key_group == nullptr), "groups are required for both queries and keys");
    TORCH_CHECK(block > 0, "block must be at least 1, got ", block);
    // Absent tensors are not passed to the autograd function, because an undefined tensor has no device.
    const auto rows = query_group ? std::make_optional(*query_group) : std::nullopt;
    const auto columns = key_group ? std::make_optional(*key_group) : std::nullopt;
    if (rows) {
      TORCH_CHECK(rows->dim() == 1 && rows->size(0) == query->size(0) && rows->scalar_type() == at::kLong,
                  "query groups must be [R] of 64-bit integers");
      TORCH_CHECK(columns->dim() == 1 && columns->size(0) == key->size(0) && columns->scalar_type() == at::kLong,
                  "key groups must be [M] of 64-bit integers");
    }
    const auto offsets = offset ? std::make_optional(offset->detach()) : std::nullopt;
    TORCH_CHECK(!offsets || (offsets->dim() == 1 && offsets->size(0) == query->size(0)), "offset must be [R]");
    const bool grad = at::GradMode::is_enabled(), grad_key = grad && key->requires_grad();
    TORCH_CHECK(!grad_key || normalise_eps < 0, "normalise keys that require gradient before the call");
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    *out = new Tensor(StreamedLogSumExp::apply(*query, *key, rows, columns, negative_groups != 0, offsets, temperature,
                                               normalise_eps, block, grad && query->requires_grad(), grad_key));
  });
}
}
