// In-place softmax and dropout of rows of attention scores; conversion of rows between bfloat16 and float32.
#pragma once
#include "dropout.h"

void widen(const uint16_t* from, float* to, int64_t count);
// Rounds to nearest, ties to even.
void narrow(const float* from, uint16_t* to, int64_t count);

// Replaces scores by probabilities after dropout; returns the logarithm of the sum of exponentials.
float softmax_dropout(float* scores, int64_t count, float scale, Dropout dropout, RowKey key);

// Backward pass. Replaces scores by probabilities after dropout, and grads, the gradients of these probabilities, by
// the gradients of the scores.
void softmax_dropout_backward(float* scores, float* grads, int64_t count, float scale, float log_sum,
                              Dropout dropout, RowKey key);
