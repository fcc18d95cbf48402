// The rows of a linear layer's outputs a chunk at a time: their losses, and the gradients that need them.
#pragma once
#include <ATen/core/Tensor.h>

#include "product.h"

struct Layer {
  at::Tensor hidden;   // [N, H], in the dtype of the products
  at::Tensor weight;   // [V, H], likewise
  at::Tensor bias;     // [V], in the dtype of the sums; undefined for none
  at::Tensor targets;  // [N], in 0..V
  int64_t chunk_rows;  // rows whose logits exist at once; 0 for as many as fit memory that is there anyway

  at::ScalarType sums() const { return sum_dtype(hidden.scalar_type()); }
  int64_t rows() const { return hidden.size(0); }
  int64_t vocabulary() const { return weight.size(0); }
};

// Gradients of a layer in the dtype of the sums, or, of a weight that one product makes, in the products'; those not asked
// for stay undefined.
struct Gradients {
  at::Tensor hidden, weight, bias;
};

// What is written for each row, and what each row weighs.
struct RowResults {
  at::Tensor losses;   // [N]
  at::Tensor scale;    // [N, 1], the weight of each row's gradient; undefined where none is wanted
  at::Tensor unscale;  // [], multiplies the gradients once more, after the products; undefined for 1
};

// Rows of float16 whose sums fit its range, if each row's numbers are kept below kHalfRange / (kHalfRows * largest hidden).
constexpr int64_t kHalfRows = 512;
constexpr double kHalfRange = 60000;

// Uninitialised gradients for run_chunks to write; `weight_dtype` is the parameter's own.
Gradients allocate(const Layer& layer, bool hidden, bool weight, bool bias, at::ScalarType weight_dtype);

// Losses of all rows and, where `gradients` are given, their sums.
void run_chunks(const Layer& layer, const RowResults& rows, Gradients* gradients);
