// Matrix multiplications into existing buffers.
#pragma once
#include <ATen/core/Tensor.h>

// Computes result (+)= a * b for matrices of one dtype. Large float32 matmuls on a CPU with AVX-512 use oneDNN's kernel,
// which computes in float32 and is twice as fast as the default on AMD processors.
void polyqa_matmul(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, bool accumulate);

// The dtype of softmax and sums for inputs of `dtype`.
inline at::ScalarType sum_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}
