// In-place softmax and dropout of rows of attention scores; conversion of rows between bfloat16 and float32.
#pragma once
#include "dropout.h"

void widen(const uint16_t* from, float* to, int64_t count);
// Rounds to nearest, ties to even.
void narrow(const float* from, uint16_t* to, int64_t count);

// scores[k] becomes the dropped probability; returns the logarithm of the sum of exponentials.
float softmax_dropout(float* scores, int64_t count, float scale, Dropout dropout, RowKey key);

// Backward pass. scores[k] is the raw score and grads[k] the gradient of the dropped probability; they become the
// dropped probability and the gradient of the raw score.
void softmax_dropout_backward(float* scores, float* grads, int64_t count, float scale, float log_sum,
                              Dropout dropout, RowKey key);
