#include "head_matmul.h"

#include <ATen/native/CPUBlas.h>

#include <array>

#include "dropout.h"

namespace {
// bfloat16 matmuls require a head dimension that is a multiple of this number.
constexpr int64_t kDepth = 16;

// Whether libtorch has the matmul kernel for this type on this processor; if not, a call throws.
template <class Number>
bool has_kernel() {
  static const bool has = [] {
    const std::array<Number, 256> ones{};
    std::array<float, 256> result{};
    constexpr bool pairs = !std::is_same_v<Number, float>;
    try {
      at::native::cpublas::brgemm(16, 16, 16, 16, 16, 16, false, ones.data(), ones.data(), result.data(), pairs);
      at::native::cpublas::brgemm_release(pairs);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }();
  return has;
}

POLYQA_CLONES
void plain_matmul(const HeadShape& shape, bool accumulate, const float* left, const float* right, float* result) {
  for (int64_t row = 0; row < shape.rows; ++row) {
    auto* to = result + row * shape.result_stride;
    if (!accumulate) std::memset(to, 0, shape.columns * sizeof(float));
    for (int64_t i = 0; i < shape.inner; ++i) {
      const float factor = left[row * shape.inner + i];
      const auto* from = right + i * shape.stride;
#pragma omp simd
      for (int64_t column = 0; column < shape.columns; ++column) to[column] += factor * from[column];
    }
  }
}
}  // namespace

at::ScalarType head_dtype(at::ScalarType dtype, int64_t depth) {
  const bool low = dtype == at::kBFloat16 && depth % kDepth == 0 && has_kernel<at::BFloat16>();
  return low ? at::kBFloat16 : at::kFloat;
}

void head_matmul(const HeadShape& shape, bool accumulate, const float* left, const float* right, float* result) {
  const auto& [rows, columns, inner, stride, result_stride] = shape;
  if (columns % kHeadColumns != 0 || !has_kernel<float>()) {
    plain_matmul(shape, accumulate, left, right, result);
  } else {
    at::native::cpublas::brgemm(rows, columns, inner, inner, stride, result_stride, accumulate, left, right, result, false);
  }
}

void head_matmul(const HeadShape& shape, bool accumulate, const at::BFloat16* left, const at::BFloat16* right, float* result) {
  const auto& [rows, columns, inner, stride, result_stride] = shape;
  at::native::cpublas::brgemm(rows, columns, inner, inner, stride, result_stride, accumulate, left, right, result, true);
}

void release_head_matmul(at::ScalarType dtype) {
  if (dtype == at::kBFloat16 || has_kernel<float>()) at::native::cpublas::brgemm_release(dtype == at::kBFloat16);
}

void to_right_operand(const float* from, int64_t inner, int64_t columns, float* to) {
  std::memcpy(to, from, inner * columns * sizeof(float));
}

void to_right_operand(const at::BFloat16* from, int64_t inner, int64_t columns, at::BFloat16* to) {
  for (int64_t row = 0; row < inner; row += 2, from += 2 * columns, to += 2 * columns) {
    for (int64_t column = 0; column < columns; ++column) {
      to[2 * column] = from[column];
      to[2 * column + 1] = from[columns + column];
    }
  }
}

void to_transposed_right_operand(const float* from, int64_t columns, int64_t inner, float* to, int64_t stride) {
  transpose<1>(from, columns, inner, to, stride);
}

void to_transposed_right_operand(const at::BFloat16* from, int64_t columns, int64_t inner, at::BFloat16* to, int64_t stride) {
  transpose<2>(from, columns, inner / 2, to, stride);
}
