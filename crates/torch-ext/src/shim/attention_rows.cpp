#include "attention_rows.h"

#include <cmath>
#include <cstring>

namespace {
// e^x for x from -87 to 88, with an error of about one unit in the last place: 2^n, set in the exponent bits, times a
// polynomial over half an octave (coefficients of Cephes). The code has no branches, so that loops are vectorised.
POLYQA_INLINE float exponential(float x) {
  x = x < -87.0F ? -87.0F : x;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const float shifted = x * 1.44269504088896341F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  const int32_t power = static_cast<int32_t>(static_cast<uint32_t>(bits) << 23) + 0x3F800000;
  float two_to_n;
  std::memcpy(&two_to_n, &power, 4);
  return p * two_to_n;
}

template <bool kDrops>
POLYQA_INLINE void softmax_backward(float* scores, float* grads, int64_t count, float scale, float log_sum,
                                    Dropout dropout, RowKey key) {
  float dot = 0;
  // The sign of a probability stores the mask for the second loop.
#pragma omp simd reduction(+ : dot)
  for (int64_t k = 0; k < count; ++k) {
    const float probability = exponential(scores[k] * scale - log_sum);
    const float factor = kDrops ? dropout_factor(dropout, key, static_cast<uint32_t>(k)) : 1.0F;
    scores[k] = factor > 0.0F ? probability : -probability;
    grads[k] *= factor;
    dot += probability * grads[k];
  }
  const float dropout_scale = kDrops ? dropout.scale : 1.0F;
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) {
    const float probability = std::fabs(scores[k]);
    grads[k] = probability * (grads[k] - dot) * scale;
    scores[k] = std::signbit(scores[k]) ? 0.0F : probability * dropout_scale;
  }
}
}  // namespace

POLYQA_CLONES
void widen(const uint16_t* from, float* to, int64_t count) {
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) {
    const uint32_t bits = static_cast<uint32_t>(from[k]) << 16;
    std::memcpy(to + k, &bits, 4);
  }
}

POLYQA_CLONES
void narrow(const float* from, uint16_t* to, int64_t count) {
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) {
    uint32_t bits;
    std::memcpy(&bits, from + k, 4);
    const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    to[k] = static_cast<uint16_t>(nan ? 0x7FC0U : (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
  }
}

POLYQA_CLONES
float softmax_dropout(float* scores, int64_t count, float scale, Dropout dropout, RowKey key) {
  float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
  for (int64_t k = 0; k < count; ++k) largest = scores[k] > largest ? scores[k] : largest;
  largest *= scale;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < count; ++k) {
    scores[k] = exponential(scores[k] * scale - largest);
    sum += scores[k];
  }
  const float inverse = 1.0F / sum;
  if (dropout.threshold == 0) {
#pragma omp simd
    for (int64_t k = 0; k < count; ++k) scores[k] *= inverse;
  } else {
#pragma omp simd
    for (int64_t k = 0; k < count; ++k) {
      scores[k] *= inverse * dropout_factor(dropout, key, static_cast<uint32_t>(k));
    }
  }
  return largest + std::log(sum);
}

POLYQA_CLONES
void softmax_dropout_backward(float* scores, float* grads, int64_t count, float scale, float log_sum,
                              Dropout dropout, RowKey key) {
  if (dropout.threshold != 0) {
    softmax_backward<true>(scores, grads, count, scale, log_sum, dropout, key);
  } else {
    softmax_backward<false>(scores, grads, count, scale, log_sum, dropout, key);
  }
}
