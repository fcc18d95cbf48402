// Dropout, residual and LayerNorm of one row.
#pragma once
#include "dropout.h"

struct NormStatistics {
  float mean, inverse_deviation;
};

// Computes sum = x * dropout factor + residual and out = (sum - mean) / deviation * weight + bias.
NormStatistics dropout_add_norm(const float* x, const float* residual, const float* weight, const float* bias, float* sum,
                                float* out, int64_t width, float eps, Dropout dropout, RowKey key);

// Backward pass from `grad`, the gradient of `out`: writes the gradients of x and residual, and adds to the gradients
// of weight and bias.
void dropout_add_norm_backward(const float* grad, const float* sum, const float* weight, NormStatistics statistics,
                               float* grad_x, float* grad_residual, float* grad_weight, float* grad_bias, int64_t width,
                               Dropout dropout, RowKey key);
