// Matrix products for kernels that write into buffers of their own.
#pragma once
#include <ATen/core/Tensor.h>

// result (+)= a * b, for matrices of one dtype. Large float32 products on a CPU take oneDNN's kernel, which computes
// in float32 and on AMD processors twice as fast as the default.
void polyqa_product(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, bool accumulate);

// The dtype that softmax and sums run in for inputs of this one.
inline at::ScalarType sum_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}
