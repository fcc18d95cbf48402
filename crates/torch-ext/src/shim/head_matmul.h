// Matrix multiplications of one attention head on the calling thread, with oneDNN's kernels for small blocks.
#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

// Rows and columns are padded with zeros to multiples of these numbers, so that kernels are compiled for few shapes.
constexpr int64_t kHeadRows = 8, kHeadColumns = 16;

inline int64_t padded(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// The dtype of matmuls for heads of `dtype` with `depth` elements: at::kBFloat16 for bfloat16 if processor and depth
// allow it, else at::kFloat.
at::ScalarType head_dtype(at::ScalarType dtype, int64_t depth);

// Left operands are contiguous [rows, inner]. Right operands are [inner, columns] with a row stride of `stride`. In
// bfloat16, rows 2 i and 2 i + 1 of a right operand are stored as one row of twice the length, interleaved by column.
//
// result (+)= left * right, [rows, columns] float32 with a row stride of `result_stride`. For bfloat16, `inner` is
// even.
struct HeadShape {
  int64_t rows, columns, inner, stride, result_stride;
};
void head_matmul(const HeadShape& shape, bool accumulate, const float* left, const float* right, float* result);
void head_matmul(const HeadShape& shape, bool accumulate, const at::BFloat16* left, const at::BFloat16* right, float* result);

// Releases processor state of the thread's kernels (AMX tiles).
void release_head_matmul(at::ScalarType dtype);

// Computes to[c * stride + r] = from[r * columns + c] for `rows` rows, where each element is a group of kGroup values.
template <int64_t kGroup, class Number>
void transpose(const Number* from, int64_t rows, int64_t columns, Number* to, int64_t stride) {
  constexpr int64_t kBlock = 16;
  for (int64_t row = 0; row < rows; row += kBlock) {
    const auto end = std::min(rows, row + kBlock);
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t r = row; r < end; ++r) {
        std::memcpy(to + kGroup * (column * stride + r), from + kGroup * (r * columns + column), kGroup * sizeof(Number));
      }
    }
  }
}

// Converts a matrix to a right operand [inner, columns]; `from` is [inner, columns], or [columns, inner] if transposed.
void to_right_operand(const float* from, int64_t inner, int64_t columns, float* to);
void to_right_operand(const at::BFloat16* from, int64_t inner, int64_t columns, at::BFloat16* to);
void to_transposed_right_operand(const float* from, int64_t columns, int64_t inner, float* to, int64_t stride);
void to_transposed_right_operand(const at::BFloat16* from, int64_t columns, int64_t inner, at::BFloat16* to, int64_t stride);
