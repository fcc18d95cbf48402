// Losses and gradients of a linear layer's outputs, computed in chunks of rows.
#pragma once
#include <ATen/core/Tensor.h>

#include "matmul.h"

struct Layer {
  at::Tensor hidden;   // [N, H], in the dtype of the matmuls
  at::Tensor weight;   // [V, H], in the dtype of the matmuls
  at::Tensor bias;     // [V], in the dtype of the sums; undefined without bias
  at::Tensor targets;  // [N], in 0..V
  int64_t chunk_rows;  // maximum number of rows per chunk; 0 for the default

  at::ScalarType sums() const { return sum_dtype(hidden.scalar_type()); }
  int64_t rows() const { return hidden.size(0); }
  int64_t vocabulary() const { return weight.size(0); }
};

// Gradients of a layer in the dtype of the sums; a weight gradient from a single matmul may have the dtype of the
// matmuls. Gradients that are not required are undefined.
struct Gradients {
  at::Tensor hidden, weight, bias;
};

// Results and weights of the rows.
struct RowResults {
  at::Tensor losses;   // [N]
  at::Tensor scale;    // [N, 1], the weight of each row's gradient; undefined without gradients
  at::Tensor unscale;  // [], factor of the gradients after the matmuls; undefined for 1
};

// Number of float16 rows whose sums do not overflow, if each row's elements are below kHalfRange / (kHalfRows * largest
// hidden).
constexpr int64_t kHalfRows = 512;
constexpr double kHalfRange = 60000;

// Allocates uninitialised gradients for run_chunks; `weight_dtype` is the dtype of the parameter.
Gradients allocate(const Layer& layer, bool hidden, bool weight, bool bias, at::ScalarType weight_dtype);

// Computes the losses of all rows and, if `gradients` is not null, the gradients.
void run_chunks(const Layer& layer, const RowResults& rows, Gradients* gradients);
