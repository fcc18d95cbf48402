// Casts as autograd functions. CastAll casts many tensors with one kernel launch per pass on a GPU; WithCast returns a
// tensor and its cast.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

#include "guard.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Splits `tensor` into consecutive blocks of `rows[i]` rows, and appends views of the blocks to `blocks`. A single
// block is `tensor` itself, of any shape.
void split_rows(const Tensor& tensor, at::IntArrayRef rows, variable_list& blocks) {
  if (rows.size() == 1) {
    blocks.push_back(tensor);
  } else {
    for (auto& block : tensor.split_with_sizes(rows)) blocks.push_back(std::move(block));
  }
}

// Casts each group of tensors, concatenated along the rows.
struct CastAll : torch::autograd::Function<CastAll> {
  static variable_list forward(AutogradContext* ctx, at::TensorList tensors, const std::vector<int64_t>& counts,
                               at::ScalarType dtype) {
    std::vector<int64_t> rows;
    for (const auto& t : tensors) rows.push_back(t.dim() == 0 ? 1 : t.size(0));
    variable_list out, blocks;
    size_t at = 0;
    for (const auto count : counts) {
      const auto group_rows = at::IntArrayRef(rows).slice(at, count);
      auto sizes = tensors[at].sizes().vec();
      if (count > 1) sizes[0] = std::accumulate(group_rows.begin(), group_rows.end(), int64_t{0});
      out.push_back(at::empty(sizes, tensors[at].options().dtype(dtype)));
      split_rows(out.back(), group_rows, blocks);
      at += count;
    }
    at::_foreach_copy_(blocks, tensors);
    ctx->saved_data["dtype"] = static_cast<int64_t>(tensors[0].scalar_type());
    ctx->saved_data["counts"] = counts;
    ctx->saved_data["rows"] = rows;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "this cast has no second derivative");
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt());
    const auto counts = ctx->saved_data["counts"].toIntVector(), rows = ctx->saved_data["rows"].toIntVector();
    variable_list low, wide, input_grads(rows.size() + 2);
    size_t at = 0;
    for (size_t group = 0; group < counts.size(); at += counts[group++]) {
      if (!grads[group].defined()) continue;
      split_rows(grads[group], at::IntArrayRef(rows).slice(at, counts[group]), low);
      for (auto i = at; wide.size() < low.size(); ++i) {
        const auto& block = low[wide.size()];
        wide.push_back(input_grads[i] = at::empty_like(block, block.options().dtype(dtype)));
      }
    }
    if (!low.empty()) at::_foreach_copy_(wide, low);
    return input_grads;
  }
};

// A tensor and its cast. The two gradients of different dtypes are added without a separate cast.
struct WithCast : torch::autograd::Function<WithCast> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, at::ScalarType dtype) {
    ctx->saved_data["dtype"] = static_cast<int64_t>(x.scalar_type());
    return {x, x.to(dtype)};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    if (!grads[1].defined()) return {grads[0], Tensor()};
    if (grads[0].defined()) return {at::add(grads[0], grads[1]), Tensor()};
    return {grads[1].to(static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt())), Tensor()};
  }
};
}  // namespace

extern "C" {
// `out` receives the tensor and its cast.
int polyqa_with_cast(const at::Tensor* x, int dtype, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    const auto to = static_cast<at::ScalarType>(dtype);
    TORCH_CHECK(at::promoteTypes(x->scalar_type(), to) == x->scalar_type(), "cast from ", x->scalar_type(), " to ", to,
                ": expected a lower precision");
    const auto results = WithCast::apply(*x, to);
    for (size_t i = 0; i < 2; ++i) out[i] = new Tensor(results[i]);
  });
}

// `dtype` is libtorch's id. `tensors` contains the tensors of all groups in order, counts[i] tensors for group i; `out`
// has space for one tensor per group.
int polyqa_cast_all(at::Tensor* const* tensors, const int64_t* counts, size_t groups, int dtype, at::Tensor** out,
                    char** error) {
  return guarded(error, [&] {
    variable_list list;
    for (size_t group = 0; group < groups; ++group) {
      const auto first = list.size();
      TORCH_CHECK(counts[group] > 0, "group ", group, " is empty");
      for (int64_t i = 0; i < counts[group]; ++i) {
        const auto& t = *tensors[list.size()];
        TORCH_CHECK(t.is_floating_point() && t.scalar_type() == tensors[0]->scalar_type(), "tensor ", list.size(), " is ",
                    t.scalar_type());
        const auto& top = *tensors[first];
        TORCH_CHECK(i == 0 || (t.dim() > 0 && top.dim() > 0 && t.sizes().slice(1) == top.sizes().slice(1)), "tensor ",
                    list.size(), ", ", t.sizes(), ", cannot be concatenated with ", top.sizes());
        list.push_back(t);
      }
    }
    if (list.empty()) return;
    const auto to = static_cast<at::ScalarType>(dtype);
    TORCH_CHECK(at::isFloatingType(to), "cast to ", to, ", which is not a float dtype");
    const auto results = CastAll::apply(at::TensorList(list), std::vector<int64_t>(counts, counts + groups), to);
    for (size_t group = 0; group < groups; ++group) out[group] = new Tensor(results[group]);
  });
}
}
