// Matrix products of one head of attention, each on the thread that asks for it, with oneDNN's kernels for small blocks.
#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

// Rows and columns are padded to multiples of these with zeros, so that kernels are made for few shapes.
constexpr int64_t kHeadRows = 8, kHeadColumns = 16;

inline int64_t padded(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// Which numbers products of tensors of this dtype are made of: at::kBFloat16 where the processor has products of them, else
// at::kFloat.
at::ScalarType head_dtype(at::ScalarType dtype, int64_t depth);

// Left operands are [rows, inner] without gaps. Right operands are [inner, columns] with `stride` numbers to a row; those of
// bfloat16 have the numbers of rows 2 i and 2 i + 1 beside each other, column by column, in row i of twice the length.
//
// result (+)= left * right, of [rows, columns] float32 with `result_stride` numbers to a row. Of bfloat16 `inner` is even.
struct HeadShape {
  int64_t rows, columns, inner, stride, result_stride;
};
void head_product(const HeadShape& shape, bool accumulate, const float* left, const float* right, float* result);
void head_product(const HeadShape& shape, bool accumulate, const at::BFloat16* left, const at::BFloat16* right, float* result);

// Lets go of what the thread's kernels hold of the processor (AMX's tiles).
void end_head_products(at::ScalarType dtype);

// to[c * stride + r] = from[r * columns + c] for `rows` rows, of kGroup numbers each that stay together.
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

// The right operand [inner, columns] of a matrix that lies as it is, or transposed (`from` is [columns, inner]).
void as_right(const float* from, int64_t inner, int64_t columns, float* to);
void as_right(const at::BFloat16* from, int64_t inner, int64_t columns, at::BFloat16* to);
void transposed_as_right(const float* from, int64_t columns, int64_t inner, float* to, int64_t stride);
void transposed_as_right(const at::BFloat16* from, int64_t columns, int64_t inner, at::BFloat16* to, int64_t stride);
