// Dropout factors as a tensor, for layers that consist of libtorch's operations.
#include "dropout.h"

#include <ATen/ops/empty.h>

#include "guard.h"
#include "parallel.h"

namespace {
POLYQA_CLONES
void fill_factors(float* factors, int64_t width, Dropout dropout, RowKey key) {
#pragma omp simd
  for (int64_t k = 0; k < width; ++k) factors[k] = dropout_factor(dropout, key, static_cast<uint32_t>(k));
}
}  // namespace

extern "C" {
// Returns factors [rows, width] float32: 0, or 1 / (1 - p).
int polyqa_dropout_factors(const at::Tensor* offsets, int64_t width, double p, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(p >= 0 && p < 1, "dropout is ", p);
    TORCH_CHECK(offsets->dim() == 1 && width > 0, "offsets are ", offsets->sizes(), ", the width is ", width);
    const auto rows = offsets->size(0);
    check_offsets(*offsets, rows);
    const auto contiguous_offsets = offsets->contiguous();
    const auto dropout = Dropout::of(p, draw_seed());
    auto factors = at::empty({rows, width}, at::TensorOptions(at::kFloat));
    const auto* offset = contiguous_offsets.data_ptr<int64_t>();
    auto* to = factors.data_ptr<float>();
    parallel_rows(rows, std::max<int64_t>(1, 16384 / width), [&](int64_t row) {
      fill_factors(to + row * width, width, dropout, RowKey(dropout.seed, static_cast<uint64_t>(offset[row])));
    });
    *out = new at::Tensor(std::move(factors));
  });
}
}
