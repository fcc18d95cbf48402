#include "norm_rows.h"

#include <cmath>

POLYQA_CLONES
NormStatistics dropout_add_norm(const float* x, const float* residual, const float* weight, const float* bias, float* sum,
                                float* out, int64_t width, float eps, Dropout dropout, RowKey key) {
  float total = 0;
  if (dropout.threshold == 0) {
#pragma omp simd reduction(+ : total)
    for (int64_t k = 0; k < width; ++k) {
      sum[k] = x[k] + residual[k];
      total += sum[k];
    }
  } else {
#pragma omp simd reduction(+ : total)
    for (int64_t k = 0; k < width; ++k) {
      sum[k] = x[k] * dropout_factor(dropout, key, static_cast<uint32_t>(k)) + residual[k];
      total += sum[k];
    }
  }
  const float mean = total / static_cast<float>(width);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t k = 0; k < width; ++k) squares += (sum[k] - mean) * (sum[k] - mean);
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
#pragma omp simd
  for (int64_t k = 0; k < width; ++k) out[k] = (sum[k] - mean) * inverse * weight[k] + bias[k];
  return {mean, inverse};
}

POLYQA_CLONES
void dropout_add_norm_backward(const float* grad, const float* sum, const float* weight, NormStatistics statistics,
                               float* grad_x, float* grad_residual, float* grad_weight, float* grad_bias, int64_t width,
                               Dropout dropout, RowKey key) {
  const float mean = statistics.mean, inverse = statistics.inverse_deviation;
  float normal_sum = 0, total = 0;
#pragma omp simd reduction(+ : normal_sum, total)
  for (int64_t k = 0; k < width; ++k) {
    const float normal = (sum[k] - mean) * inverse, scaled = grad[k] * weight[k];
    grad_weight[k] += grad[k] * normal;
    grad_bias[k] += grad[k];
    normal_sum += scaled * normal;
    total += scaled;
  }
  normal_sum /= static_cast<float>(width);
  total /= static_cast<float>(width);
#pragma omp simd
  for (int64_t k = 0; k < width; ++k) {
    const float normal = (sum[k] - mean) * inverse;
    grad_residual[k] = (grad[k] * weight[k] - total - normal * normal_sum) * inverse;
  }
  if (dropout.threshold == 0) {
#pragma omp simd
    for (int64_t k = 0; k < width; ++k) grad_x[k] = grad_residual[k];
  } else {
#pragma omp simd
    for (int64_t k = 0; k < width; ++k) {
      grad_x[k] = grad_residual[k] * dropout_factor(dropout, key, static_cast<uint32_t>(k));
    }
  }
}
