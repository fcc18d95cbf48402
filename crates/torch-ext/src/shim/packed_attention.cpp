// Self-attention of packed rows on the CPU, over whole rows or windows, with dropout, as an autograd function.
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
#include "head_matmul.h"
#include "parallel.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Queries per tile. Their scores fit in a core's cache, and matmuls of fewer rows are slower.
constexpr int64_t kQueries = 64;

struct Shape {
  std::vector<int64_t> lengths;
  int64_t heads;
  int64_t window;  // number of visible tokens on either side; below 0: the whole row
  Dropout dropout;

  bool windowed() const { return window >= 0; }

  int64_t longest() const { return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end()); }
};

// Stride of transposed keys and their gradients. There are few distinct values, so that few kernels are compiled, and
// no value that causes cache conflicts between rows.
int64_t stride_of(int64_t count) {
  const int64_t step = count <= 1024 ? 128 : 1024;
  return padded(count, step) + kHeadColumns;
}

// Memory of a thread, reused by the thread's next task.
template <class Number>
class Memory {
 public:
  // Returns `count` uninitialised elements.
  Number* get(int64_t count) {
    if (static_cast<int64_t>(elements_.size()) < count) elements_.resize(count);
    return elements_.data();
  }

 private:
  std::vector<Number> elements_;
};

void copy(const float* from, float* to, int64_t count) { std::copy_n(from, count, to); }
void copy(const at::BFloat16* from, at::BFloat16* to, int64_t count) { std::copy_n(from, count, to); }
void copy(const at::BFloat16* from, float* to, int64_t count) { widen(reinterpret_cast<const uint16_t*>(from), to, count); }
void copy(const float* from, at::BFloat16* to, int64_t count) { narrow(from, reinterpret_cast<uint16_t*>(to), count); }

// One head of a tensor [N, heads * depth].
template <class Stored>
struct Head {
  Stored* elements;
  int64_t width, depth;

  Head(const Tensor& t, int64_t head, int64_t depth)
      : elements(t.data_ptr<Stored>() + head * depth), width(t.size(1)), depth(depth) {}

  // Copies tokens first..first + count to contiguous rows, followed by zeros up to `rows` rows.
  template <class Number>
  void read(int64_t first, int64_t count, int64_t rows, Number* to) const {
    for (int64_t i = 0; i < count; ++i) copy(elements + (first + i) * width, to + i * depth, depth);
    std::fill(to + count * depth, to + rows * depth, Number(0));
  }

  void write(int64_t first, int64_t count, const float* from) const {
    for (int64_t i = 0; i < count; ++i) copy(from + i * depth, elements + (first + i) * width, depth);
  }
};

// The queries whose scores a task computes at a time, and the keys visible to at least one of these queries. `query`
// and `key` are the offsets of the first query and key in the row, `queries` and `keys` are counts, and `rows` is the
// number of queries with padding. The keys may extend into the row's padding.
struct Tile {
  int64_t query, queries, rows, key, keys;
};

// One head of a row: the offset of the row's first token in the batch, the number of tokens without (`count`) and with
// padding (`tokens`), and the stride of transposed matrices.
struct Task {
  int64_t head, first, count, tokens, stride;
};

// Stored is the element type of the tensors, Number the element type of the matmuls.
template <class Stored, class Number>
class Attention {
 public:
  Attention(const Shape& shape, int64_t depth, const int64_t* offsets, float* log_sums)
      : shape_(shape), depth_(depth), offsets_(offsets), log_sums_(log_sums), scale_(1.0F / std::sqrt(static_cast<float>(depth))) {}

  void forward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out) const {
    each_task([&](const Task& task) {
      static thread_local Memory<Number> rows, keys, values, queries, probabilities;
      static thread_local Memory<float> scores, results;
      auto* right_keys = transposed_right_operand(key, task, rows, keys);
      auto* right_values = right_operand(value, task, rows, values);
      const Head<Stored> query_head(query, task.head, depth_), out_head(out, task.head, depth_);
      each_tile(task, [&](const Tile& tile) {
        auto* q = queries.get(tile.rows * depth_);
        query_head.read(task.first + tile.query, tile.queries, tile.rows, q);
        auto* s = scores.get(tile.rows * tile.keys);
        score(task, tile, q, right_keys, s);
        for (int64_t i = 0; i < tile.queries; ++i) {
          const auto token = tile.query + i;
          auto* row = s + i * tile.keys;
          const auto [from, to] = visible_keys(task, tile, token, row);
          log_sums_[(task.first + token) * shape_.heads + task.head] =
              softmax_dropout(row + from, to - from, scale_, shape_.dropout, key_of(task, token, tile.key + from));
        }
        auto* result = results.get(tile.rows * depth_);
        const auto* p = left_operand(s, tile, probabilities);
        head_matmul({tile.rows, depth_, tile.keys, depth_, depth_}, false, p, right_values + tile.key * depth_, result);
        out_head.write(task.first + tile.query, tile.queries, result);
      });
    });
  }

  // Computes the gradients of query, key and value from the gradient of the output.
  void backward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& grad,
                const std::array<Tensor, 3>& grads) const {
    each_task([&](const Task& task) {
      static thread_local Memory<Number> rows, transposed_keys, transposed_values, keys, queries, outs, transposed_rows;
      static thread_local Memory<Number> low, low_grads, pairs;
      static thread_local Memory<float> scores, dscores, results, key_sums, value_sums;
      auto* right_keys = transposed_right_operand(key, task, rows, transposed_keys);
      auto* right_values = transposed_right_operand(value, task, rows, transposed_values);
      auto* plain_keys = right_operand(key, task, rows, keys);
      // The gradients of keys and values, [depth, tokens].
      auto *key_grads = key_sums.get(depth_ * task.stride), *value_grads = value_sums.get(depth_ * task.stride);
      for (auto* sums : {key_grads, value_grads}) std::fill(sums, sums + depth_ * task.stride, 0.0F);
      const Head<Stored> query_head(query, task.head, depth_), grad_head(grad, task.head, depth_);
      const Head<Stored> query_grad_head(grads[0], task.head, depth_);
      each_tile(task, [&](const Tile& tile) {
        auto *q = queries.get(tile.rows * depth_), *d = outs.get(tile.rows * depth_);
        query_head.read(task.first + tile.query, tile.queries, tile.rows, q);
        grad_head.read(task.first + tile.query, tile.queries, tile.rows, d);
        auto *s = scores.get(tile.rows * tile.keys), *ds = dscores.get(tile.rows * tile.keys);
        score(task, tile, q, right_keys, s);
        score(task, tile, d, right_values, ds);
        for (int64_t i = 0; i < tile.queries; ++i) {
          const auto token = tile.query + i;
          auto *row = s + i * tile.keys, *grad_row = ds + i * tile.keys;
          const auto [from, to] = visible_keys(task, tile, token, row);
          visible_keys(task, tile, token, grad_row);
          softmax_dropout_backward(row + from, grad_row + from, to - from, scale_,
                                   log_sums_[(task.first + token) * shape_.heads + task.head], shape_.dropout,
                                   key_of(task, token, tile.key + from));
        }
        auto* result = results.get(tile.rows * depth_);
        const auto *score_grads = left_operand(ds, tile, low_grads), *probabilities = left_operand(s, tile, low);
        head_matmul({tile.rows, depth_, tile.keys, depth_, depth_}, false, score_grads, plain_keys + tile.key * depth_, result);
        query_grad_head.write(task.first + tile.query, tile.queries, result);
        const auto add = [&](const Number* left, const Number* right, float* sums) {
          auto* transposed_left = transposed_rows.get(tile.rows * depth_);
          transpose<1>(left, tile.rows, depth_, transposed_left, tile.rows);
          const HeadShape product{depth_, tile.keys, tile.rows, tile.keys, task.stride};
          head_matmul(product, true, transposed_left, rows_as_right_operand(right, tile, pairs), sums + tile.key);
        };
        add(q, score_grads, key_grads);
        add(d, probabilities, value_grads);
      });
      auto* out_rows = scores.get(task.tokens * depth_);
      const auto write = [&](const Tensor& to, const float* sums) {
        for (int64_t d = 0; d < depth_; ++d) {
          for (int64_t i = 0; i < task.count; ++i) out_rows[i * depth_ + d] = sums[d * task.stride + i];
        }
        Head<Stored>(to, task.head, depth_).write(task.first, task.count, out_rows);
      };
      write(grads[1], key_grads);
      write(grads[2], value_grads);
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
      release_head_matmul(kLow ? at::kBFloat16 : at::kFloat);
    });
  }

  template <class Body>
  void each_tile(const Task& task, const Body& body) const {
    // With windows, about two thirds of the computed scores are used.
    const auto step = shape_.windowed() ? std::clamp<int64_t>(padded(shape_.window, kHeadRows), 32, kQueries) : kQueries;
    for (int64_t at = 0; at < task.count; at += step) {
      const auto queries = std::min(step, task.count - at);
      const auto from = shape_.windowed() ? std::max<int64_t>(0, at - shape_.window) / kHeadColumns * kHeadColumns : 0;
      const auto to = shape_.windowed() ? std::min(task.tokens, padded(at + queries + shape_.window, kHeadColumns)) : task.tokens;
      body(Tile{at, queries, padded(queries, kHeadRows), from, to - from});
    }
  }

  // The dropout key of one token's scores in its head, starting at the score of the row's token `first`.
  RowKey key_of(const Task& task, int64_t token, int64_t first) const {
    const auto offset = static_cast<uint64_t>(offsets_[task.first + token]);
    RowKey key{shape_.dropout.seed, offset * static_cast<uint64_t>(shape_.heads) + static_cast<uint64_t>(task.head)};
    key.first += static_cast<uint32_t>(first);
    return key;
  }

  // Returns the range of keys that are visible to the token, relative to the tile's first key. Sets the scores of other
  // keys to zero.
  std::pair<int64_t, int64_t> visible_keys(const Task& task, const Tile& tile, int64_t token, float* row) const {
    const auto last = std::min(tile.keys, task.count - tile.key);
    const auto from = shape_.windowed() ? std::max<int64_t>(0, token - shape_.window - tile.key) : 0;
    const auto to = shape_.windowed() ? std::min(last, token + shape_.window + 1 - tile.key) : last;
    std::fill(row, row + from, 0.0F);
    std::fill(row + to, row + tile.keys, 0.0F);
    return {from, to};
  }

  void score(const Task& task, const Tile& tile, const Number* left, const Number* right, float* to) const {
    head_matmul({tile.rows, tile.keys, depth_, task.stride, tile.keys}, false, left, right + (kLow ? 2 : 1) * tile.key, to);
  }

  // Returns the matrix [tokens, depth] as a right operand.
  Number* right_operand(const Tensor& source, const Task& task, Memory<Number>& rows, Memory<Number>& to) const {
    auto* from = rows.get(task.tokens * depth_);
    auto* out = to.get(task.tokens * depth_);
    Head<Stored>(source, task.head, depth_).read(task.first, task.count, task.tokens, from);
    to_right_operand(from, task.tokens, depth_, out);
    return out;
  }

  // Returns the transposed matrix, [depth, tokens], as a right operand.
  Number* transposed_right_operand(const Tensor& source, const Task& task, Memory<Number>& rows, Memory<Number>& to) const {
    auto* from = rows.get(task.tokens * depth_);
    auto* out = to.get(padded(depth_, 2) * task.stride);
    Head<Stored>(source, task.head, depth_).read(task.first, task.count, task.tokens, from);
    to_transposed_right_operand(from, task.tokens, depth_, out, task.stride);
    return out;
  }

  // Returns a tile's rows as a left operand. Rows of padding are set to zero.
  const Number* left_operand(float* from, const Tile& tile, Memory<Number>& memory) const {
    std::fill(from + tile.queries * tile.keys, from + tile.rows * tile.keys, 0.0F);
    if constexpr (kLow) {
      auto* to = memory.get(tile.rows * tile.keys);
      copy(from, to, tile.rows * tile.keys);
      return to;
    } else {
      return from;
    }
  }

  // Returns a tile's rows as a right operand.
  const Number* rows_as_right_operand(const Number* from, const Tile& tile, Memory<Number>& memory) const {
    if constexpr (kLow) {
      auto* to = memory.get(tile.rows * tile.keys);
      to_right_operand(from, tile.rows, tile.keys, to);
      return to;
    } else {
      return from;
    }
  }

  const Shape& shape_;
  int64_t depth_;
  const int64_t* offsets_;
  float* log_sums_;
  float scale_;
};

// Calls body with the attention for tensors of query's dtype.
template <class Body>
void with_attention(const Shape& shape, const Tensor& query, const Tensor& offsets, const Tensor& log_sums, const Body& body) {
  const auto depth = query.size(1) / shape.heads;
  const auto* offset = offsets.data_ptr<int64_t>();
  auto* sums = log_sums.data_ptr<float>();
  if (query.scalar_type() == at::kFloat) {
    body(Attention<float, float>(shape, depth, offset, sums));
  } else if (head_dtype(query.scalar_type(), depth) == at::kBFloat16) {
    body(Attention<at::BFloat16, at::BFloat16>(shape, depth, offset, sums));
  } else {
    body(Attention<at::BFloat16, float>(shape, depth, offset, sums));
  }
}

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& query, const Tensor& key, const Tensor& value,
                        const Tensor& offsets, const Shape& shape) {
    auto out = at::empty_like(query);
    auto log_sums = at::empty({query.size(0), shape.heads}, query.options().dtype(at::kFloat));
    with_attention(shape, query, offsets, log_sums, [&](const auto& attention) { attention.forward(query, key, value, out); });
    ctx->save_for_backward({query, key, value, log_sums, offsets});
    ctx->saved_data["lengths"] = shape.lengths;
    ctx->saved_data["heads"] = shape.heads;
    ctx->saved_data["window"] = shape.window;
    ctx->saved_data["seed"] = static_cast<int64_t>(shape.dropout.seed);
    ctx->saved_data["threshold"] = static_cast<int64_t>(shape.dropout.threshold);
    ctx->saved_data["scale"] = static_cast<double>(shape.dropout.scale);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "packed attention has no second derivative");
    if (!grad_outputs[0].defined()) return variable_list(5);
    const auto saved = ctx->get_saved_variables();
    const auto &query = saved[0], &key = saved[1], &value = saved[2], &log_sums = saved[3], &offsets = saved[4];
    Shape shape{ctx->saved_data["lengths"].toIntVector(), ctx->saved_data["heads"].toInt(),
                ctx->saved_data["window"].toInt(), {}};
    shape.dropout = {static_cast<uint64_t>(ctx->saved_data["seed"].toInt()),
                     static_cast<uint32_t>(ctx->saved_data["threshold"].toInt()),
                     static_cast<float>(ctx->saved_data["scale"].toDouble())};
    const auto grad = grad_outputs[0].to(query.scalar_type()).contiguous();
    const std::array<Tensor, 3> grads{at::empty_like(query), at::empty_like(query), at::empty_like(query)};
    with_attention(shape, query, offsets, log_sums,
                   [&](const auto& attention) { attention.backward(query, key, value, grad, grads); });
    return {grads[0], grads[1], grads[2], Tensor(), Tensor()};
  }
};
}  // namespace

extern "C" {
int polyqa_packed_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                            const int64_t* lengths, size_t rows, const at::Tensor* offsets, int64_t heads,
                            int64_t window, double dropout, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    Shape shape{{lengths, lengths + rows}, heads, window, {}};
    int64_t tokens = 0;
    for (const auto length : shape.lengths) {
      TORCH_CHECK(length > 0, "a row of ", length, " tokens");
      tokens += length;
    }
    TORCH_CHECK(query->dim() == 2 && query->size(0) == tokens && heads > 0 && query->size(1) > 0 &&
                    query->size(1) % heads == 0,
                "query is ", query->sizes(), ", rows have ", tokens, " tokens and there are ", heads, " heads");
    TORCH_CHECK(query->is_cpu() && (query->scalar_type() == at::kFloat || query->scalar_type() == at::kBFloat16),
                "packed attention requires float32 or bfloat16 on the CPU");
    for (const auto* t : {key, value}) {
      TORCH_CHECK(t->sizes() == query->sizes() && t->scalar_type() == query->scalar_type() && t->is_cpu(),
                  "query, key and value differ in shape, dtype or device");
    }
    TORCH_CHECK(dropout >= 0 && dropout < 1, "dropout is ", dropout);
    check_offsets(*offsets, tokens);
    if (shape.window >= shape.longest()) shape.window = -1;  // the window covers all rows
    if (dropout > 0) shape.dropout = Dropout::of(dropout, draw_seed());
    *out = new Tensor(PackedAttention::apply(query->contiguous(), key->contiguous(), value->contiguous(),
                                                offsets->contiguous(), shape));
  });
}
}
