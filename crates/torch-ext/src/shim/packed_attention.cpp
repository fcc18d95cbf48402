// Self-attention over rows that lie one after the other without padding, of all of a row or of windows, with dropout, as an
// autograd function on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "attention_rows.h"
#include "guard.h"
#include "parallel.h"
#include "product.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Queries whose scores are made at once, and the keys that at least one of them sees.
struct Tile {
  int64_t query, queries, key, keys;
  int64_t row;  // its row's first token
};

struct Shape {
  std::vector<int64_t> lengths;
  int64_t heads;
  int64_t reach;  // how far a token sees to either side; below 0: to the ends of its row
  Dropout dropout;

  bool windowed() const { return reach >= 0; }

  int64_t longest() const { return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end()); }

  std::vector<Tile> tiles() const {
    std::vector<Tile> tiles;
    int64_t first = 0;
    for (const auto count : lengths) {
      // As many queries as a window reaches: two thirds of the scores are of use.
      const auto step = windowed() ? std::min(count, std::max<int64_t>(reach, 32)) : count;
      for (int64_t at = 0; at < count; at += step) {
        const auto queries = std::min(step, count - at);
        const auto from = windowed() ? std::max<int64_t>(0, at - reach) : 0;
        const auto to = windowed() ? std::min(count, at + queries + reach) : count;
        tiles.push_back({first + at, queries, first + from, to - from, first});
      }
      first += count;
    }
    return tiles;
  }

  // The keys that token `token` of a tile sees, counted from the tile's first.
  std::pair<int64_t, int64_t> seen(const Tile& tile, int64_t token) const {
    if (!windowed()) return {0, tile.keys};
    const auto from = std::max<int64_t>(0, token - reach - tile.key);
    return {from, std::min(tile.keys, token + reach + 1 - tile.key)};
  }
};

// The scores that the largest tile has in one head, and its queries or keys.
std::pair<int64_t, int64_t> largest(const std::vector<Tile>& tiles) {
  int64_t scores = 0, tokens = 0;
  for (const auto& tile : tiles) {
    scores = std::max(scores, tile.queries * tile.keys);
    tokens = std::max(tokens, tile.keys);
  }
  return {scores, tokens};
}

// Where the draws of one token's scores in one head begin, from its key number `first` in the row on.
RowKey key_of(const Shape& shape, int64_t place, int64_t head, int64_t first) {
  RowKey key{shape.dropout.seed, static_cast<uint64_t>(place) * static_cast<uint64_t>(shape.heads) + static_cast<uint64_t>(head)};
  key.first += static_cast<uint32_t>(first);
  return key;
}

// Tokens first..first + count of [N, heads * D] as [heads, count, D], without a copy.
Tensor by_head(const Tensor& t, int64_t first, int64_t count, int64_t heads) {
  return t.narrow(0, first, count).view({count, heads, -1}).transpose(0, 1);
}

// The first numbers of a buffer as [heads, rows, columns].
Tensor part(const Tensor& buffer, int64_t heads, int64_t rows, int64_t columns) {
  return buffer.narrow(0, 0, heads * rows * columns).view({heads, rows, columns});
}

// Runs body(index, float rows...) on each row of [heads, queries, count] tensors; numbers of lower precision pass through
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
    const auto heads = shape.heads, depth = query.size(1) / heads;
    const auto tiles = shape.tiles();
    const auto [most_scores, most_tokens] = largest(tiles);
    const float scale = 1.0F / std::sqrt(static_cast<float>(depth));
    auto out = at::empty_like(query);
    auto log_sums = at::empty({query.size(0), heads}, query.options().dtype(at::kFloat));
    const auto score_memory = at::empty({heads * most_scores}, query.options());
    const auto out_memory = at::empty({heads * most_tokens * depth}, query.options());
    const auto* place = places.data_ptr<int64_t>();
    for (const auto& tile : tiles) {
      auto scores = part(score_memory, heads, tile.queries, tile.keys), result = part(out_memory, heads, tile.queries, depth);
      product_of_heads(scores, by_head(query, tile.query, tile.queries, heads),
                       by_head(key, tile.key, tile.keys, heads).transpose(1, 2), depth);
      each_row<1>({scores}, heads * tile.queries, tile.keys, [&](int64_t row, const std::array<float*, 1>& pointers) {
        const int64_t head = row / tile.queries, token = tile.query + row % tile.queries;
        const auto [from, to] = shape.seen(tile, token);
        std::fill(pointers[0], pointers[0] + from, 0.0F);
        std::fill(pointers[0] + to, pointers[0] + tile.keys, 0.0F);
        log_sums.data_ptr<float>()[token * heads + head] =
            softmax_dropout(pointers[0] + from, to - from, scale, shape.dropout,
                            key_of(shape, place[token], head, tile.key + from - tile.row));
      });
      product_of_heads(result, scores, by_head(value, tile.key, tile.keys, heads), depth);
      by_head(out, tile.query, tile.queries, heads).copy_(result);
    }
    ctx->save_for_backward({query, key, value, log_sums, places});
    ctx->saved_data["lengths"] = shape.lengths;
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["reach"] = shape.reach;
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
    Shape shape{ctx->saved_data["lengths"].toIntVector(), ctx->saved_data["heads"].toInt(),
                ctx->saved_data["reach"].toInt(), {}};
    shape.dropout = {static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                     static_cast<uint32_t>(ctx->saved_data["below"].toInt()),
                     static_cast<float>(ctx->saved_data["scale"].toDouble())};
    const auto heads = shape.heads, depth = query.size(1) / heads;
    const auto tiles = shape.tiles();
    const auto [most_scores, most_tokens] = largest(tiles);
    const float scale = 1.0F / std::sqrt(static_cast<float>(depth));
    const auto grad = grad_outputs[0].to(query.scalar_type()).contiguous();
    const std::array<Tensor, 3> grads{at::empty_like(query), at::empty_like(query), at::empty_like(query)};
    // A key that several tiles see has the sum of what they say, in float32 for lower precision too.
    std::array<Tensor, 2> sums;
    if (shape.windowed()) {
      for (auto& sum : sums) sum = at::zeros(query.sizes(), query.options().dtype(at::kFloat));
    }
    const auto score_memory = at::empty({heads * most_scores}, query.options());
    const auto grad_memory = at::empty_like(score_memory);
    const auto out_memory = at::empty({heads * most_tokens * depth}, query.options());
    for (const auto& tile : tiles) {
      auto scores = part(score_memory, heads, tile.queries, tile.keys);
      auto dscores = part(grad_memory, heads, tile.queries, tile.keys);
      const auto q = by_head(query, tile.query, tile.queries, heads), d = by_head(grad, tile.query, tile.queries, heads);
      const auto k = by_head(key, tile.key, tile.keys, heads), v = by_head(value, tile.key, tile.keys, heads);
      product_of_heads(scores, q, k.transpose(1, 2), depth);
      product_of_heads(dscores, d, v.transpose(1, 2), depth);
      each_row<2>({scores, dscores}, heads * tile.queries, tile.keys, [&](int64_t row, const std::array<float*, 2>& pointers) {
        const int64_t head = row / tile.queries, token = tile.query + row % tile.queries;
        const auto [from, to] = shape.seen(tile, token);
        for (auto* pointer : pointers) {
          std::fill(pointer, pointer + from, 0.0F);
          std::fill(pointer + to, pointer + tile.keys, 0.0F);
        }
        softmax_dropout_backward(pointers[0] + from, pointers[1] + from, to - from, scale,
                                 log_sums.data_ptr<float>()[token * heads + head], shape.dropout,
                                 key_of(shape, place[token], head, tile.key + from - tile.row));
      });
      auto result = part(out_memory, heads, tile.queries, depth);
      product_of_heads(result, dscores, k, depth);
      by_head(grads[0], tile.query, tile.queries, heads).copy_(result);
      result = part(out_memory, heads, tile.keys, depth);
      const auto write = [&](int64_t which, const Tensor& a, const Tensor& b) {
        product_of_heads(result, a, b, depth);
        if (shape.windowed()) {
          by_head(sums[which - 1], tile.key, tile.keys, heads).add_(result);
        } else {
          by_head(grads[which], tile.key, tile.keys, heads).copy_(result);
        }
      };
      write(1, dscores.transpose(1, 2), q);
      write(2, scores.transpose(1, 2), d);
    }
    if (shape.windowed()) {
      for (size_t which : {0, 1}) grads[which + 1].copy_(sums[which]);
    }
    return {grads[0], grads[1], grads[2], Tensor(), Tensor()};
  }
};
}  // namespace

extern "C" {
int polyqa_packed_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                            const int64_t* lengths, size_t rows, const at::Tensor* places, int64_t heads,
                            int64_t reach, double dropout, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    Shape shape{{lengths, lengths + rows}, heads, reach, {}};
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
    if (shape.reach >= shape.longest()) shape.reach = -1;  // no row is longer than that
    if (dropout > 0) shape.dropout = Dropout::of(dropout, draw_seed());
    *out = new Tensor(PackedAttention::apply(query->contiguous(), key->contiguous(), value->contiguous(),
                                                places->contiguous(), shape));
  });
}
}
