// Self-attention over rows that lie one after the other without padding, with dropout, as an autograd function on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "attention_rows.h"
#include "guard.h"
#include "parallel.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Shape {
  std::vector<int64_t> lengths;
  int64_t heads;
  Dropout dropout;

  int64_t longest() const { return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end()); }
};

// Where the draws of one token's scores in one head begin.
RowKey key_of(const Shape& shape, int64_t place, int64_t head) {
  return {shape.dropout.seed, static_cast<uint64_t>(place) * static_cast<uint64_t>(shape.heads) + static_cast<uint64_t>(head)};
}

// Tokens first..first + count of [N, heads * D] as [heads, count, D], without a copy.
Tensor by_head(const Tensor& t, int64_t first, int64_t count, int64_t heads) {
  return t.narrow(0, first, count).view({count, heads, -1}).transpose(0, 1);
}

// The first numbers of a buffer as [heads, rows, columns].
Tensor part(const Tensor& buffer, int64_t heads, int64_t rows, int64_t columns) {
  return buffer.narrow(0, 0, heads * rows * columns).view({heads, rows, columns});
}

// Runs body(index, float rows...) on each row of [heads, count, count] tensors; numbers of lower precision pass through
// memory of the thread's own.
template <size_t kCount, class Body>
void each_row(const std::array<Tensor, kCount>& tensors, int64_t rows, int64_t count, const Body& body) {
  const bool low = tensors[0].scalar_type() == at::kBFloat16;
  parallel_rows(rows, std::max<int64_t>(1, 16384 / count), [&](int64_t row) {
    std::array<float*, kCount> pointers;
    if (!low) {
      for (size_t i = 0; i < kCount; ++i) pointers[i] = tensors[i].template data_ptr<float>() + row * count;
      body(row, pointers);
      return;
    }
    static thread_local std::vector<float> memory;
    memory.resize(kCount * count);
    for (size_t i = 0; i < kCount; ++i) {
      const auto* from = tensors[i].template data_ptr<at::BFloat16>() + row * count;
      pointers[i] = memory.data() + i * count;
      widen(reinterpret_cast<const uint16_t*>(from), pointers[i], count);
    }
    body(row, pointers);
    for (size_t i = 0; i < kCount; ++i) {
      narrow(pointers[i], reinterpret_cast<uint16_t*>(tensors[i].template data_ptr<at::BFloat16>() + row * count), count);
    }
  });
}

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& query, const Tensor& key, const Tensor& value,
                        const Tensor& places, const Shape& shape) {
    const auto heads = shape.heads, width = query.size(1), depth = width / heads, longest = shape.longest();
    const float scale = 1.0F / std::sqrt(static_cast<float>(depth));
    auto out = at::empty_like(query);
    auto log_sums = at::empty({query.size(0), heads}, query.options().dtype(at::kFloat));
    const auto score_memory = at::empty({heads * longest * longest}, query.options());
    const auto out_memory = at::empty({heads * longest * depth}, query.options());
    const auto* place = places.data_ptr<int64_t>();
    int64_t first = 0;
    for (const auto count : shape.lengths) {
      auto scores = part(score_memory, heads, count, count), result = part(out_memory, heads, count, depth);
      at::bmm_out(scores, by_head(query, first, count, heads), by_head(key, first, count, heads).transpose(1, 2));
      each_row<1>({scores}, heads * count, count, [&](int64_t row, const std::array<float*, 1>& pointers) {
        const int64_t head = row / count, token = first + row % count;
        log_sums.data_ptr<float>()[token * heads + head] = softmax_dropout(
            pointers[0], count, scale, shape.dropout, key_of(shape, place[token], head));
      });
      at::bmm_out(result, scores, by_head(value, first, count, heads));
      by_head(out, first, count, heads).copy_(result);
      first += count;
    }
    ctx->save_for_backward({query, key, value, log_sums, places});
    ctx->saved_data["lengths"] = shape.lengths;
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["seed"] = static_cast<int64_t>(shape.dropout.seed);
    ctx->saved_data["below"] = static_cast<int64_t>(shape.dropout.below);
    ctx->saved_data["scale"] = static_cast<double>(shape.dropout.scale);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "packed attention has no second derivative");
    if (!grad_outputs[0].defined()) return variable_list(5);
    const auto saved = ctx->get_saved_variables();
    const auto &query = saved[0], &key = saved[1], &value = saved[2], &log_sums = saved[3];
    const auto* place = saved[4].data_ptr<int64_t>();
    Shape shape{ctx->saved_data["lengths"].toIntVector(), ctx->saved_data["heads"].toInt(), {}};
    shape.dropout = {static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                     static_cast<uint32_t>(ctx->saved_data["below"].toInt()),
                     static_cast<float>(ctx->saved_data["scale"].toDouble())};
    const auto heads = shape.heads, depth = query.size(1) / heads, longest = shape.longest();
    const float scale = 1.0F / std::sqrt(static_cast<float>(depth));
    const auto grad = grad_outputs[0].to(query.scalar_type()).contiguous();
    const std::array<Tensor, 3> grads{at::empty_like(query), at::empty_like(query), at::empty_like(query)};
    const auto score_memory = at::empty({heads * longest * longest}, query.options());
    const auto grad_memory = at::empty_like(score_memory);
    const auto out_memory = at::empty({heads * longest * depth}, query.options());
    int64_t first = 0;
    for (const auto count : shape.lengths) {
      auto scores = part(score_memory, heads, count, count), dscores = part(grad_memory, heads, count, count);
      auto result = part(out_memory, heads, count, depth);
      const auto q = by_head(query, first, count, heads), k = by_head(key, first, count, heads);
      const auto v = by_head(value, first, count, heads), d = by_head(grad, first, count, heads);
      at::bmm_out(scores, q, k.transpose(1, 2));
      at::bmm_out(dscores, d, v.transpose(1, 2));
      each_row<2>({scores, dscores}, heads * count, count, [&](int64_t row, const std::array<float*, 2>& pointers) {
        const int64_t head = row / count, token = first + row % count;
        softmax_dropout_backward(pointers[0], pointers[1], count, scale,
                                 log_sums.data_ptr<float>()[token * heads + head], shape.dropout,
                                 key_of(shape, place[token], head));
      });
      const auto write = [&](const Tensor& into, const Tensor& a, const Tensor& b) {
        at::bmm_out(result, a, b);
        by_head(into, first, count, heads).copy_(result);
      };
      write(grads[0], dscores, k);
      write(grads[1], dscores.transpose(1, 2), q);
      write(grads[2], scores.transpose(1, 2), d);
      first += count;
    }
    return {grads[0], grads[1], grads[2], Tensor(), Tensor()};
  }
};
}  // namespace

extern "C" {
int polyqa_packed_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                            const int64_t* lengths, size_t rows, const at::Tensor* places, int64_t heads, double dropout,
                            at::Tensor** out, char** error) {
  return guarded(error, [&] {
    Shape shape{{lengths, lengths + rows}, heads, {}};
    int64_t tokens = 0;
    for (const auto length : shape.lengths) {
      TORCH_CHECK(length > 0, "a row of ", length, " tokens");
      tokens += length;
    }
    TORCH_CHECK(query->dim() == 2 && query->size(0) == tokens && heads > 0 && query->size(1) > 0 &&
                    query->size(1) % heads == 0,
                "query is ", query->sizes(), ", rows have ", tokens, " tokens and there are ", heads, " heads");
    TORCH_CHECK(query->is_cpu() && (query->scalar_type() == at::kFloat || query->scalar_type() == at::kBFloat16),
                "packed attention is float32 or bfloat16 on the CPU");
    for (const auto* t : {key, value}) {
      TORCH_CHECK(t->sizes() == query->sizes() && t->scalar_type() == query->scalar_type() && t->is_cpu(),
                  "query, key and value differ in shape, dtype or device");
    }
    TORCH_CHECK(dropout >= 0 && dropout < 1, "dropout is ", dropout);
    check_places(*places, tokens);
    if (dropout > 0) shape.dropout = Dropout::of(dropout, draw_seed());
    *out = new Tensor(PackedAttention::apply(query->contiguous(), key->contiguous(), value->contiguous(),
                                                places->contiguous(), shape));
  });
}
}
