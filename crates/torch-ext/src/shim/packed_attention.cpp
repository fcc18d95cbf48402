// Self-attention over concatenated rows without padding, for whole rows or windows, with dropout, as an autograd
// function on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "attention_rows.h"
#include "guard.h"
#include "head_products.h"
#include "parallel.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Queries per tile: their scores fit in a core's cache, and products of fewer rows are slower.
constexpr int64_t kQueries = 64;

struct Shape {
  std::vector<int64_t> lengths;
  int64_t heads;
  int64_t reach;  // how far a token sees to either side; below 0: to the ends of its row
  Dropout dropout;

  bool windowed() const { return reach >= 0; }

  int64_t longest() const { return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end()); }
};

// Stride of transposed keys and their gradients: few distinct values, so that few kernels are compiled, and no value
// that causes cache conflicts between rows.
int64_t stride_of(int64_t count) {
  const int64_t step = count <= 1024 ? 128 : 1024;
  return padded(count, step) + kHeadColumns;
}

// Memory of a thread that is reused by its next task.
template <class Number>
class Memory {
 public:
  // Returns `count` uninitialised numbers.
  Number* of(int64_t count) {
    if (static_cast<int64_t>(numbers_.size()) < count) numbers_.resize(count);
    return numbers_.data();
  }

 private:
  std::vector<Number> numbers_;
};

void copy(const float* from, float* to, int64_t count) { std::copy_n(from, count, to); }
void copy(const at::BFloat16* from, at::BFloat16* to, int64_t count) { std::copy_n(from, count, to); }
void copy(const at::BFloat16* from, float* to, int64_t count) { widen(reinterpret_cast<const uint16_t*>(from), to, count); }
void copy(const float* from, at::BFloat16* to, int64_t count) { narrow(from, reinterpret_cast<uint16_t*>(to), count); }

// One head of a tensor [N, heads * depth].
template <class Stored>
struct Head {
  Stored* numbers;
  int64_t width, depth;

  Head(const Tensor& t, int64_t head, int64_t depth)
      : numbers(t.data_ptr<Stored>() + head * depth), width(t.size(1)), depth(depth) {}

  // Copies tokens first..first + count to contiguous rows, followed by zeros up to `rows` rows.
  template <class Number>
  void read(int64_t first, int64_t count, int64_t rows, Number* to) const {
    for (int64_t i = 0; i < count; ++i) copy(numbers + (first + i) * width, to + i * depth, depth);
    std::fill(to + count * depth, to + rows * depth, Number(0));
  }

  void write(int64_t first, int64_t count, const float* from) const {
    for (int64_t i = 0; i < count; ++i) copy(from + i * depth, numbers + (first + i) * width, depth);
  }
};

// The queries whose scores a task computes at a time, and the keys visible to at least one of them. Offsets are
// relative to the first token of the row; both ranges may extend into the padding.
struct Tile {
  int64_t query, queries, rows, key, keys;
};

// One head of a row: the offset of the row's tokens in the batch, their number without and with padding, and the stride
// of transposed matrices.
struct Task {
  int64_t head, first, count, tokens, stride;
};

// Stored is the type of the tensors, Number the type of the products.
template <class Stored, class Number>
class Attention {
 public:
  Attention(const Shape& shape, int64_t depth, const int64_t* places, float* log_sums)
      : shape_(shape), depth_(depth), places_(places), log_sums_(log_sums), scale_(1.0F / std::sqrt(static_cast<float>(depth))) {}

  void forward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out) const {
    each_task([&](const Task& task) {
      static thread_local Memory<Number> rows, keys, values, queries, probabilities;
      static thread_local Memory<float> scores, results;
      auto* right_keys = transposed(key, task, rows, keys);
      auto* right_values = straight(value, task, rows, values);
      const Head<Stored> of_query(query, task.head, depth_), of_out(out, task.head, depth_);
      each_tile(task, [&](const Tile& tile) {
        auto* q = queries.of(tile.rows * depth_);
        of_query.read(task.first + tile.query, tile.queries, tile.rows, q);
        auto* s = scores.of(tile.rows * tile.keys);
        score(task, tile, q, right_keys, s);
        for (int64_t i = 0; i < tile.queries; ++i) {
          const auto token = tile.query + i;
          auto* row = s + i * tile.keys;
          const auto [from, to] = cut(task, tile, token, row);
          log_sums_[(task.first + token) * shape_.heads + task.head] =
              softmax_dropout(row + from, to - from, scale_, shape_.dropout, key_of(task, token, tile.key + from));
        }
        auto* result = results.of(tile.rows * depth_);
        const auto* p = as_numbers(s, tile, probabilities);
        head_product({tile.rows, depth_, tile.keys, depth_, depth_}, false, p, right_values + tile.key * depth_, result);
        of_out.write(task.first + tile.query, tile.queries, result);
      });
    });
  }

  // Computes the gradients of query, key and value from the gradient of the output.
  void backward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& grad,
                const std::array<Tensor, 3>& grads) const {
    each_task([&](const Task& task) {
      static thread_local Memory<Number> rows, keys_across, values_across, keys, queries, outs, turned, low, low_grads, pairs;
      static thread_local Memory<float> scores, dscores, results, key_sums, value_sums;
      auto* right_keys = transposed(key, task, rows, keys_across);
      auto* right_values = transposed(value, task, rows, values_across);
      auto* keys_along = straight(key, task, rows, keys);
      // The gradients of keys and values, [depth, tokens].
      auto *of_keys = key_sums.of(depth_ * task.stride), *of_values = value_sums.of(depth_ * task.stride);
      for (auto* sums : {of_keys, of_values}) std::fill(sums, sums + depth_ * task.stride, 0.0F);
      const Head<Stored> of_query(query, task.head, depth_), of_grad(grad, task.head, depth_), of_queries(grads[0], task.head, depth_);
      each_tile(task, [&](const Tile& tile) {
        auto *q = queries.of(tile.rows * depth_), *d = outs.of(tile.rows * depth_);
        of_query.read(task.first + tile.query, tile.queries, tile.rows, q);
        of_grad.read(task.first + tile.query, tile.queries, tile.rows, d);
        auto *s = scores.of(tile.rows * tile.keys), *ds = dscores.of(tile.rows * tile.keys);
        score(task, tile, q, right_keys, s);
        score(task, tile, d, right_values, ds);
        for (int64_t i = 0; i < tile.queries; ++i) {
          const auto token = tile.query + i;
          auto *row = s + i * tile.keys, *of_row = ds + i * tile.keys;
          const auto [from, to] = cut(task, tile, token, row);
          cut(task, tile, token, of_row);
          softmax_dropout_backward(row + from, of_row + from, to - from, scale_,
                                   log_sums_[(task.first + token) * shape_.heads + task.head], shape_.dropout,
                                   key_of(task, token, tile.key + from));
        }
        auto* result = results.of(tile.rows * depth_);
        const auto *of_scores = as_numbers(ds, tile, low_grads), *probabilities = as_numbers(s, tile, low);
        head_product({tile.rows, depth_, tile.keys, depth_, depth_}, false, of_scores, keys_along + tile.key * depth_, result);
        of_queries.write(task.first + tile.query, tile.queries, result);
        const auto add = [&](const Number* of, const Number* by, float* sums) {
          auto* across = turned.of(tile.rows * depth_);
          transpose<1>(of, tile.rows, depth_, across, tile.rows);
          const HeadShape product{depth_, tile.keys, tile.rows, tile.keys, task.stride};
          head_product(product, true, across, in_pairs(by, tile, pairs), sums + tile.key);
        };
        add(q, of_scores, of_keys);
        add(d, probabilities, of_values);
      });
      auto* along = scores.of(task.tokens * depth_);
      const auto write = [&](const Tensor& to, const float* sums) {
        for (int64_t d = 0; d < depth_; ++d) {
          for (int64_t i = 0; i < task.count; ++i) along[i * depth_ + d] = sums[d * task.stride + i];
        }
        Head<Stored>(to, task.head, depth_).write(task.first, task.count, along);
      };
      write(grads[1], of_keys);
      write(grads[2], of_values);
    });
  }

 private:
  static constexpr bool kLow = !std::is_same_v<Number, float>;

  // Calls body(task) for each row and head, longest rows first.
  template <class Body>
  void each_task(const Body& body) const {
    std::vector<Task> rows;
    int64_t first = 0;
    for (const auto count : shape_.lengths) {
      rows.push_back({0, first, count, padded(count, kHeadColumns), stride_of(count)});
      first += count;
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Task& a, const Task& b) { return a.count > b.count; });
    parallel_tasks(static_cast<int64_t>(rows.size()) * shape_.heads, [&](int64_t number) {
      auto task = rows[number / shape_.heads];
      task.head = number % shape_.heads;
      body(task);
      end_head_products(kLow ? at::kBFloat16 : at::kFloat);
    });
  }

  template <class Body>
  void each_tile(const Task& task, const Body& body) const {
    // With windows, about two thirds of the computed scores are used.
    const auto step = shape_.windowed() ? std::clamp<int64_t>(padded(shape_.reach, kHeadRows), 32, kQueries) : kQueries;
    for (int64_t at = 0; at < task.count; at += step) {
      const auto queries = std::min(step, task.count - at);
      const auto from = shape_.windowed() ? std::max<int64_t>(0, at - shape_.reach) / kHeadColumns * kHeadColumns : 0;
      const auto to = shape_.windowed() ? std::min(task.tokens, padded(at + queries + shape_.reach, kHeadColumns)) : task.tokens;
      body(Tile{at, queries, padded(queries, kHeadRows), from, to - from});
    }
  }

  // The dropout key of one token's scores in its head, starting at key `first` of the row.
  RowKey key_of(const Task& task, int64_t token, int64_t first) const {
    const auto place = static_cast<uint64_t>(places_[task.first + token]);
    RowKey key{shape_.dropout.seed, place * static_cast<uint64_t>(shape_.heads) + static_cast<uint64_t>(task.head)};
    key.first += static_cast<uint32_t>(first);
    return key;
  }

  // The range of keys that the token sees, relative to the tile's first key; the scores of other keys are set to zero.
  std::pair<int64_t, int64_t> cut(const Task& task, const Tile& tile, int64_t token, float* row) const {
    const auto last = std::min(tile.keys, task.count - tile.key);
    const auto from = shape_.windowed() ? std::max<int64_t>(0, token - shape_.reach - tile.key) : 0;
    const auto to = shape_.windowed() ? std::min(last, token + shape_.reach + 1 - tile.key) : last;
    std::fill(row, row + from, 0.0F);
    std::fill(row + to, row + tile.keys, 0.0F);
    return {from, to};
  }

  void score(const Task& task, const Tile& tile, const Number* left, const Number* right, float* to) const {
    head_product({tile.rows, tile.keys, depth_, task.stride, tile.keys}, false, left, right + (kLow ? 2 : 1) * tile.key, to);
  }

  // Returns [tokens, depth] as a right operand.
  Number* straight(const Tensor& of, const Task& task, Memory<Number>& rows, Memory<Number>& to) const {
    auto* from = rows.of(task.tokens * depth_);
    auto* out = to.of(task.tokens * depth_);
    Head<Stored>(of, task.head, depth_).read(task.first, task.count, task.tokens, from);
    as_right(from, task.tokens, depth_, out);
    return out;
  }

  // Returns the transposed matrix, [depth, tokens], as a right operand.
  Number* transposed(const Tensor& of, const Task& task, Memory<Number>& rows, Memory<Number>& to) const {
    auto* from = rows.of(task.tokens * depth_);
    auto* out = to.of(padded(depth_, 2) * task.stride);
    Head<Stored>(of, task.head, depth_).read(task.first, task.count, task.tokens, from);
    transposed_as_right(from, task.tokens, depth_, out, task.stride);
    return out;
  }

  // Returns a tile's rows as a left operand; rows of padded queries are zero.
  const Number* as_numbers(float* from, const Tile& tile, Memory<Number>& memory) const {
    std::fill(from + tile.queries * tile.keys, from + tile.rows * tile.keys, 0.0F);
    if constexpr (kLow) {
      auto* to = memory.of(tile.rows * tile.keys);
      copy(from, to, tile.rows * tile.keys);
      return to;
    } else {
      return from;
    }
  }

  // Returns a tile's rows as a right operand.
  const Number* in_pairs(const Number* from, const Tile& tile, Memory<Number>& memory) const {
    if constexpr (kLow) {
      auto* to = memory.of(tile.rows * tile.keys);
      as_right(from, tile.rows, tile.keys, to);
      return to;
    } else {
      return from;
    }
  }

  const Shape& shape_;
  int64_t depth_;
  const int64_t* places_;
  float* log_sums_;
  float scale_;
};

// Calls body with the attention for tensors of query's dtype.
template <class Body>
void with_attention(const Shape& shape, const Tensor& query, const Tensor& places, const Tensor& log_sums, const Body& body) {
  const auto depth = query.size(1) / shape.heads;
  const auto* place = places.data_ptr<int64_t>();
  auto* sums = log_sums.data_ptr<float>();
  if (query.scalar_type() == at::kFloat) {
    body(Attention<float, float>(shape, depth, place, sums));
  } else if (head_dtype(query.scalar_type(), depth) == at::kBFloat16) {
    body(Attention<at::BFloat16, at::BFloat16>(shape, depth, place, sums));
  } else {
    body(Attention<at::BFloat16, float>(shape, depth, place, sums));
  }
}

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& query, const Tensor& key, const Tensor& value,
                        const Tensor& places, const Shape& shape) {
    auto out = at::empty_like(query);
    auto log_sums = at::empty({query.size(0), shape.heads}, query.options().dtype(at::kFloat));
    with_attention(shape, query, places, log_sums, [&](const auto& attention) { attention.forward(query, key, value, out); });
    ctx->save_for_backward({query, key, value, log_sums, places});
    ctx->saved_data["lengths"] = shape.lengths;
    ctx->saved_data["heads"] = shape.heads;
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
    const auto &query = saved[0], &key = saved[1], &value = saved[2], &log_sums = saved[3], &places = saved[4];
    Shape shape{ctx->saved_data["lengths"].toIntVector(), ctx->saved_data["heads"].toInt(),
                ctx->saved_data["reach"].toInt(), {}};
    shape.dropout = {static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                     static_cast<uint32_t>(ctx->saved_data["below"].toInt()),
                     static_cast<float>(ctx->saved_data["scale"].toDouble())};
    const auto grad = grad_outputs[0].to(query.scalar_type()).contiguous();
    const std::array<Tensor, 3> grads{at::empty_like(query), at::empty_like(query), at::empty_like(query)};
    with_attention(shape, query, places, log_sums,
                   [&](const auto& attention) { attention.backward(query, key, value, grad, grads); });
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
