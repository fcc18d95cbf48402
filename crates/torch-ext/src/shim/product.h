// Matrix products for kernels that write into buffers of their own, and which kernels large ones of float32 take.
#pragma once
#include <ATen/core/Tensor.h>

// Of how many bfloat16 parts (see amx_tiles.h) float32 products on the CPU are made, where they are large enough to gain by it:
// two, three, or 0 for none, as at first.
void split_products(int parts);
// Whether one of such matrices on the CPU is: [rows, inner] by [inner, columns].
bool splits(int64_t rows, int64_t inner, int64_t columns);
// result = a * b, + bias where it is defined, for a product that is, of matrices with a stride of 1 each.
void split_product(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias);

// result (+)= a * b, for matrices of one dtype. Large float32 products on a CPU that are not split take oneDNN's kernel, which
// computes in float32 and on AMD processors twice as fast as the default.
void polyqa_product(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, bool accumulate);

// The dtype that softmax and sums run in for inputs of this one.
inline at::ScalarType sum_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}
