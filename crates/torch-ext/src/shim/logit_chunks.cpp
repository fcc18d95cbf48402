#include "logit_chunks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <sys/mman.h>

#include <algorithm>
#include <limits>

namespace {
using at::Tensor;

// Returns a memory limit in bytes from the limits in MiB for the two types of device.
int64_t limit_bytes(const Layer& layer, int64_t cpu, int64_t gpu) { return (layer.hidden.is_cpu() ? cpu : gpu) << 20; }

Tensor narrowed(const Tensor& t, int64_t first, int64_t count) {
  return t.defined() ? t.narrow(0, first, count) : t;
}

Layer rows_of(const Layer& layer, int64_t first, int64_t count) {
  auto part = layer;
  part.hidden = layer.hidden.narrow(0, first, count);
  part.targets = layer.targets.narrow(0, first, count);
  return part;
}

RowResults rows_of(const RowResults& rows, int64_t first, int64_t count) {
  return {narrowed(rows.losses, first, count), narrowed(rows.scale, first, count), rows.unscale};
}

void scale_by(const Tensor& t, const Tensor& factor) {
  if (factor.defined()) t.mul_(factor);
}

Tensor times(const Tensor& t, const Tensor& factor) { return factor.defined() ? t * factor : t; }

// Alignment of tiles in bytes, required by matmuls on GPUs. The memory of a weight's gradient has this number of spare
// bytes.
constexpr uintptr_t kAlignment = 256;

Tensor with_spare_bytes(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const auto count = c10::multiply_integers(sizes);
  const auto spare = static_cast<int64_t>(kAlignment / c10::elementSize(c10::typeMetaToScalarType(options.dtype())));
  return at::empty({count + spare}, options).narrow(0, 0, count).view(sizes);
}

// Advises the operating system to use large pages for memory that will be written completely, to reduce page faults.
void advise_large_pages(const Tensor& t) {
  constexpr uintptr_t kPage = 1 << 21;
  if (!t.is_cpu()) return;
  const auto begin = (reinterpret_cast<uintptr_t>(t.data_ptr()) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<uintptr_t>(t.data_ptr()) + t.nbytes()) / kPage * kPage;
#ifdef MADV_HUGEPAGE
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Logits of a few rows over a part of the vocabulary, with the steps of softmax.
class Tile {
 public:
  // `logits` [rows, columns] is the memory for columns `first` to `first + columns`.
  Tile(const Layer& layer, Tensor logits, int64_t first)
      : layer_(layer), logits_(std::move(logits)), first_(first), columns_(logits_.size(1)) {}

  void multiply() { polyqa_matmul(logits_, layer_.hidden, weight().t(), false); }

  Tensor weight() const { return layer_.weight.narrow(0, first_, columns_); }

  // The logits plus bias in the dtype of the sums: in place if this is the dtype of the matmuls, otherwise in `wide`,
  // or in a new tensor if `wide` is undefined.
  Tensor biased(const Tensor& wide = {}) {
    auto x = logits_.scalar_type() == layer_.sums() ? logits_
             : wide.defined() ? wide.narrow(0, 0, logits_.numel()).view(logits_.sizes()).copy_(logits_)
                              : logits_.to(layer_.sums());
    if (layer_.bias.defined()) x.add_(layer_.bias.narrow(0, first_, columns_));
    return x;
  }

  const Tensor& stored() const { return logits_; }

  // Whether each row's target is in this tile, and the target's column (clamped for other tiles): [rows, 1].
  std::pair<Tensor, Tensor> targets() const {
    const auto column = layer_.targets.unsqueeze(1) - first_;
    const auto in_tile = column.ge(0).logical_and_(column.lt(columns_));
    return {in_tile, column.clamp(0, columns_ - 1)};
  }

 private:
  const Layer& layer_;
  Tensor logits_;
  int64_t first_, columns_;
};

// Running values of the softmax of each row, [rows, 1].
struct Softmax {
  explicit Softmax(const Layer& layer)
      : largest(at::full({layer.rows(), 1}, -std::numeric_limits<double>::infinity(),
                         layer.hidden.options().dtype(layer.sums()))),
        total(at::zeros_like(largest)),
        target(at::zeros_like(largest)) {}

  // Updates the running values with the logits `x` of a tile.
  void update(const Tensor& x, const Tile& tile) {
    const auto targets_in_tile = tile.targets();
    const auto &in_tile = targets_in_tile.first, &column = targets_in_tile.second;
    largest = at::maximum(largest, x.amax(1, true));
    target = at::where(in_tile, x.gather(1, column), target);
  }

  // Replaces logits by e^(logit - largest) in place and adds their sum, after `update` was called for all tiles.
  void exponentiate(Tensor& x) {
    x.sub_(largest).exp_();
    total.add_(x.sum(1, true));
  }

  // The target is subtracted from the largest logit before the logarithm is added: for large logits with small
  // differences, the other order would leave only rounding errors.
  Tensor losses() const { return total.log().add_(largest.sub(target)).squeeze(1); }

  Tensor largest, total, target;
};

// Converts probabilities times scale to gradients of the logits times scale.
void subtract_targets(Tensor& x, const Tile& tile, const Tensor& scale) {
  const auto targets_in_tile = tile.targets();
  x.scatter_add_(1, targets_in_tile.second, scale.neg().mul_(targets_in_tile.first));
}

Tensor product(const Tensor& a, const Tensor& b) {
  auto result = at::empty({a.size(0), b.size(1)}, a.options());
  polyqa_matmul(result, a, b, false);
  return result;
}

// Computes out (+)= a * b * factor. a and b have the dtype of the matmuls; `out` has this dtype or the dtype of the
// sums. An undefined factor means 1.
void product_into(Tensor out, const Tensor& a, const Tensor& b, bool accumulate, const Tensor& factor) {
  if (out.scalar_type() == a.scalar_type()) {
    polyqa_matmul(out, a, times(b, factor), accumulate);
  } else if (accumulate) {
    factor.defined() ? out.addcmul_(product(a, b), factor) : out.add_(product(a, b));
  } else {
    out.copy_(product(a, b));
    scale_by(out, factor);
  }
}

// Processes a few rows over the whole vocabulary in a separate buffer.
void run_rows(const Layer& layer, Tensor buffer, const RowResults& rows, Gradients* gradients, bool is_first) {
  Tile full_tile(layer, buffer.narrow(0, 0, layer.rows()), 0);
  full_tile.multiply();
  // Softmax is computed for one block of rows at a time, which fits in a core's cache.
  const auto vocabulary = std::max<int64_t>(1, layer.vocabulary());
  const auto step = layer.hidden.is_cpu() ? std::max<int64_t>(1, (1 << 18) / vocabulary) : layer.rows();
  for (int64_t first = 0; first < layer.rows(); first += step) {
    const auto count = std::min(step, layer.rows() - first);
    const auto part = rows_of(layer, first, count);
    const auto chunk = rows_of(rows, first, count);
    Tile tile(part, full_tile.stored().narrow(0, first, count), 0);
    auto x = tile.biased();
    Softmax softmax(part);
    softmax.update(x, tile);
    softmax.exponentiate(x);
    chunk.losses.copy_(softmax.losses());
    if (!chunk.scale.defined()) continue;
    x.mul_(chunk.scale / softmax.total);
    subtract_targets(x, tile, chunk.scale);
    if (tile.stored().scalar_type() != layer.sums()) tile.stored().copy_(x);
  }
  if (!gradients) return;
  const auto& logits = full_tile.stored();
  if (gradients->hidden.defined()) {
    product_into(gradients->hidden, logits, layer.weight, false, {});
    scale_by(gradients->hidden, rows.unscale);
  }
  if (gradients->bias.defined()) gradients->bias.add_(times(logits.sum(0, false, layer.sums()), rows.unscale));
  if (!gradients->weight.defined()) return;
  if (gradients->weight.scalar_type() == logits.scalar_type()) {
    product_into(gradients->weight, logits.t(), layer.hidden, !is_first, rows.unscale);
    return;
  }
  const int64_t tile = layer.hidden.is_cpu() ? 8192 : 65536;
  for (int64_t v = 0; v < layer.vocabulary(); v += tile) {
    const auto count = std::min(tile, layer.vocabulary() - v);
    product_into(gradients->weight.narrow(0, v, count), logits.narrow(1, v, count).t(), layer.hidden, !is_first,
                 rows.unscale);
  }
}

// Processes rows whose logits are stored in the memory of the weight's gradient. The tiles of the vocabulary are at the
// end of this memory, including its spare bytes, and the gradient is written from the beginning. A row of the gradient
// needs only the logits of its own tile, and never overwrites a tile that is still needed.
void run_in_gradient(const Layer& layer, const RowResults& rows, Gradients& gradients) {
  const auto count = layer.rows(), vocabulary = layer.vocabulary();
  const auto options = layer.hidden.options();
  const auto size = static_cast<int64_t>(layer.hidden.element_size());
  const char* end = static_cast<char*>(gradients.weight.data_ptr()) + gradients.weight.nbytes();
  const auto begin = reinterpret_cast<uintptr_t>(end - count * vocabulary * size);
  char* base = reinterpret_cast<char*>((begin + kAlignment - 1) / kAlignment * kAlignment);
  const bool in_place = layer.hidden.scalar_type() == layer.sums();
  const auto fitting = limit_bytes(layer, 8, 128) / (4 * count) / 64 * 64;
  const auto step = std::min(vocabulary, std::max<int64_t>(64, fitting));
  auto for_each_tile = [&](auto&& body) {
    for (int64_t v = 0; v < vocabulary; v += step) {
      const auto columns = std::min(step, vocabulary - v);
      Tile tile(layer, at::from_blob(base + v * count * size, {count, columns}, options), v);
      body(tile, v, columns);
    }
  };
  // One buffer for all low-precision tiles, because one allocation per tile would cost as much as the matmuls.
  const Tensor wide = in_place ? Tensor() : at::empty({count * step}, options.dtype(layer.sums()));
  Softmax softmax(layer);
  for_each_tile([&](Tile& tile, int64_t, int64_t) {
    tile.multiply();
    softmax.update(tile.biased(wide), tile);
  });
  for_each_tile([&](Tile& tile, int64_t, int64_t) {
    auto x = in_place ? tile.stored() : tile.biased(wide);
    softmax.exponentiate(x);
  });
  // Low-precision tiles store logits, so that probabilities are rounded only once.
  auto exponentials = [&](Tile& tile) {
    return in_place ? tile.stored() : tile.biased(wide).sub_(softmax.largest).exp_();
  };
  rows.losses.copy_(softmax.losses());

  const auto factor = rows.scale / softmax.total;
  auto scratch = at::empty({count * step}, options);
  if (gradients.hidden.defined()) gradients.hidden.zero_();
  for_each_tile([&](Tile& tile, int64_t v, int64_t columns) {
    auto logits = scratch.narrow(0, 0, count * columns).view({count, columns});
    auto x = exponentials(tile);
    if (in_place) {
      at::mul_out(logits, x, factor);
      subtract_targets(logits, tile, rows.scale);
    } else {
      x.mul_(factor);
      subtract_targets(x, tile, rows.scale);
      logits.copy_(x);
    }
    if (gradients.hidden.defined()) product_into(gradients.hidden, logits, tile.weight(), true, {});
    if (gradients.bias.defined()) {
      gradients.bias.narrow(0, v, columns).add_(times(logits.sum(0, false, layer.sums()), rows.unscale));
    }
    product_into(gradients.weight.narrow(0, v, columns), logits.t(), layer.hidden, false, rows.unscale);
  });
  if (gradients.hidden.defined()) scale_by(gradients.hidden, rows.unscale);
}

// Number of rows whose logits fit in the memory of the weight's gradient.
int64_t rows_in_gradient(const Layer& layer, const Tensor& weight) {
  const auto element = static_cast<int64_t>(layer.hidden.element_size());
  auto fitting = static_cast<int64_t>(weight.element_size()) * weight.size(1) / element;
  if (layer.hidden.scalar_type() == at::kHalf) fitting = std::min(fitting, kHalfRows);
  return std::min(layer.rows(), layer.chunk_rows > 0 ? std::min(layer.chunk_rows, fitting) : fitting);
}

// Number of rows per chunk, equal for all chunks; by default as many as fit in the memory limit.
int64_t rows_of_chunk(const Layer& layer, int64_t rows) {
  const auto element = static_cast<int64_t>(layer.hidden.element_size());
  const auto fitting = limit_bytes(layer, 64, 512) / (element * std::max<int64_t>(1, layer.vocabulary()));
  auto max_rows = std::max<int64_t>(1, layer.chunk_rows > 0 ? layer.chunk_rows : fitting);
  if (layer.hidden.scalar_type() == at::kHalf) max_rows = std::min(max_rows, kHalfRows);
  const auto chunks = std::max<int64_t>(1, (rows + max_rows - 1) / max_rows);
  return (rows + chunks - 1) / chunks;
}
}  // namespace

Gradients allocate(const Layer& layer, bool hidden, bool weight, bool bias, at::ScalarType weight_dtype) {
  const auto options = layer.hidden.options().dtype(layer.sums());
  Gradients gradients;
  if (hidden) gradients.hidden = at::empty(layer.hidden.sizes(), options);
  if (weight) {
    // A single matmul accumulates in float32, and bfloat16 has float32's range, so the result can be bfloat16.
    const auto matmul_options = layer.weight.options();
    const bool low = weight_dtype == at::kBFloat16 && layer.weight.scalar_type() == at::kBFloat16;
    const auto once = layer.chunk_rows > 0 ? std::min(layer.chunk_rows, layer.weight.size(1)) : layer.weight.size(1);
    gradients.weight = with_spare_bytes(layer.weight.sizes(), low && layer.rows() <= once ? matmul_options : options);
    advise_large_pages(gradients.weight);
    if (layer.rows() == 0) gradients.weight.zero_();
  }
  if (bias) gradients.bias = at::zeros({layer.vocabulary()}, options);
  return gradients;
}

void run_chunks(const Layer& layer, const RowResults& rows, Gradients* gradients) {
  int64_t processed = 0;
  if (gradients && gradients->weight.defined() && layer.rows() > 0) {
    processed = rows_in_gradient(layer, gradients->weight);
    if (processed > 0) {
      Gradients chunk = *gradients;
      chunk.hidden = narrowed(gradients->hidden, 0, processed);
      run_in_gradient(rows_of(layer, 0, processed), rows_of(rows, 0, processed), chunk);
    }
  }
  const auto remaining = layer.rows() - processed;
  if (remaining == 0) return;
  const auto step = rows_of_chunk(layer, remaining);
  auto buffer = at::empty({step, layer.vocabulary()}, layer.hidden.options());
  for (int64_t first = processed; first < layer.rows(); first += step) {
    const auto count = std::min(step, layer.rows() - first);
    Gradients chunk;
    if (gradients) chunk = {narrowed(gradients->hidden, first, count), gradients->weight, gradients->bias};
    run_rows(rows_of(layer, first, count), buffer, rows_of(rows, first, count), gradients ? &chunk : nullptr,
             first == 0);
  }
}
