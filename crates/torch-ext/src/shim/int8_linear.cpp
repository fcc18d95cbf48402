// Linear layers with 8-bit weights and activations, for inference on a CPU.
//
// Weights are quantised once, with one scale per output (symmetric, -127..127). Activations are quantised in each call,
// with one scale per row, so that a row's output does not depend on the rest of the batch. Sums are exact integers.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "capability.h"
#include "guard.h"
#include "parallel.h"

namespace {
using at::Tensor;

// Outputs per panel of weights. A panel contains, for every four inputs, the weights of its outputs in order.
constexpr int64_t kPanel = 64;
// Rows that one thread quantises and multiplies at a time: 96 kB of activations for 1,536 inputs.
constexpr int64_t kRows = 64;

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define WITH_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,prefer-vector-width=512")))

bool has_vnni() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512vnni");
  return has;
#else
  return false;
#endif
}

ALWAYS_INLINE float widen(float x) { return x; }
ALWAYS_INLINE float widen(at::BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.x) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}
ALWAYS_INLINE void narrow(float x, float& out) { out = x; }
// Rounds to nearest, ties to even; NaN stays NaN.
ALWAYS_INLINE void narrow(float x, at::BFloat16& out) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  out.x = static_cast<uint16_t>(x != x ? 0x7fc0 : rounded);
}

// Scale of a quantised row, and the sum of its int8 values.
struct Row {
  float scale;
  int32_t sum;
};

// Quantises a row to `out`, which is padded with zeros to `padded` elements. A row with a non-finite element gets a
// non-finite scale, and thus non-finite outputs.
template <class T>
ALWAYS_INLINE Row quantise_row(const T* x, int64_t inputs, int64_t padded, int8_t* out) {
  float largest = 0, non_finite = 0;
  for (int64_t i = 0; i < inputs; ++i) {
    const float value = widen(x[i]);
    largest = std::max(largest, std::fabs(value));
    non_finite += value * 0;
  }
  if (non_finite != 0 || non_finite != non_finite) largest = 0;
  const float factor = largest > 0 ? 127 / largest : 0;
  int32_t sum = 0;
  for (int64_t i = 0; i < inputs; ++i) {
    const float value = largest > 0 ? widen(x[i]) * factor : 0;
    // Rounds to the nearest integer, ties to even.
    const auto rounded = static_cast<int32_t>(std::nearbyint(value));
    out[i] = static_cast<int8_t>(rounded);
    sum += rounded;
  }
  std::memset(out + inputs, 0, padded - inputs);
  return {non_finite != 0 || non_finite != non_finite ? std::numeric_limits<float>::quiet_NaN() : largest / 127, sum};
}

// Exact GELU; erf by Abramowitz and Stegun 7.1.26 (absolute error below 2e-7).
ALWAYS_INLINE float gelu(float x) {
  const float z = std::fabs(x) * 0.70710678F;
  const float t = 1 / (1 + 0.3275911F * z);
  const float poly =
      t * (0.254829592F + t * (-0.284496736F + t * (1.421413741F + t * (-1.453152027F + t * 1.061405429F))));
  // exp(-z * z) as a power of two times a polynomial.
  const float y = std::max(-z * z * 1.44269504F, -126.0F);
  const float shifted = y + 12582912.0F;
  int32_t rounded_bits;
  std::memcpy(&rounded_bits, &shifted, sizeof rounded_bits);
  const float f = (y - (shifted - 12582912.0F)) * 0.69314718F;
  const float series = 1 + f * (1 + f * (0.5F + f * (0.16666667F + f * (0.041666668F + f * (0.008333334F + f * 0.0013888889F)))));
  const int32_t bits = (rounded_bits - 0x4b400000 + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  const float tail = 0.5F * poly * series * power;
  return x * (x < 0 ? tail : 1 - tail);
}

// Arguments that all tiles of a matmul share.
struct MatmulArguments {
  int64_t inputs, padded, outputs;
  const uint8_t* weights;
  const float* scales;
  const float* bias;
  bool gelu;
};

// Scales the sums of one row and panel, and writes the first `count` outputs of the panel.
template <class T>
ALWAYS_INLINE void write_outputs(const int32_t* sums, const Row& row, const MatmulArguments& p, int64_t first,
                                 int64_t count, T* out) {
  float values[kPanel];
  for (int64_t c = 0; c < kPanel; ++c) {
    // Weights are stored with 128 added.
    values[c] = static_cast<float>(sums[c] - 128 * row.sum) * (row.scale * p.scales[first + c]) + p.bias[first + c];
  }
  if (p.gelu) {
    for (int64_t c = 0; c < kPanel; ++c) values[c] = gelu(values[c]);
  }
  if (count == kPanel) {
    for (int64_t c = 0; c < kPanel; ++c) narrow(values[c], out[c]);
  } else {
    for (int64_t c = 0; c < count; ++c) narrow(values[c], out[c]);
  }
}

struct Portable {
  template <int R>
  static void multiply(const int8_t* a, int64_t stride, const uint8_t* w, int64_t quads, int32_t* sums) {
    std::fill(sums, sums + R * kPanel, 0);
    for (int64_t k = 0; k < quads; ++k) {
      for (int r = 0; r < R; ++r) {
        for (int64_t c = 0; c < kPanel; ++c) {
          for (int i = 0; i < 4; ++i) {
            sums[r * kPanel + c] += static_cast<int32_t>(a[r * stride + 4 * k + i]) * w[(k * kPanel + c) * 4 + i];
          }
        }
      }
    }
  }
  template <class T>
  static Row quantise(const T* x, int64_t inputs, int64_t padded, int8_t* out) {
    return quantise_row(x, inputs, padded, out);
  }
  template <class T>
  static void write(const int32_t* sums, const Row& row, const MatmulArguments& p, int64_t first, int64_t count, T* out) {
    write_outputs(sums, row, p, first, count, out);
  }
};

#if defined(__x86_64__)
struct Vnni {
  // Four rows by four vectors: 16 independent accumulators hide the instruction's latency and fit into registers.
  template <int R>
  WITH_VNNI static void multiply(const int8_t* a, int64_t stride, const uint8_t* w, int64_t quads, int32_t* sums) {
    __m512i acc[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_setzero_si512();
    }
    for (int64_t k = 0; k < quads; ++k) {
      __m512i b[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) b[c] = _mm512_loadu_si512(w + (k * 4 + c) * 64);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        int32_t four;
        std::memcpy(&four, a + r * stride + 4 * k, sizeof four);
        const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_dpbusd_epi32(acc[r][c], b[c], x);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) _mm512_storeu_si512(sums + r * kPanel + c * 16, acc[r][c]);
    }
  }
  template <class T>
  WITH_VNNI static Row quantise(const T* x, int64_t inputs, int64_t padded, int8_t* out) {
    return quantise_row(x, inputs, padded, out);
  }
  template <class T>
  WITH_VNNI static void write(const int32_t* sums, const Row& row, const MatmulArguments& p, int64_t first, int64_t count,
                              T* out) {
    write_outputs(sums, row, p, first, count, out);
  }
};
#endif

template <class Isa, int R, class Out>
void compute_tile(const int8_t* a, const Row* rows, const MatmulArguments& p, int64_t panel, Out* out) {
  int32_t sums[R * kPanel];
  Isa::template multiply<R>(a, p.padded, p.weights + panel * kPanel * p.padded, p.padded / 4, sums);
  const int64_t first = panel * kPanel, count = std::min(kPanel, p.outputs - first);
  for (int r = 0; r < R; ++r) Isa::write(sums + r * kPanel, rows[r], p, first, count, out + r * p.outputs + first);
}

template <class Isa, class In, class Out>
void compute_block(const In* x, int64_t count, const MatmulArguments& p, Out* out) {
  std::vector<int8_t> a(count * p.padded);
  Row rows[kRows];
  for (int64_t r = 0; r < count; ++r) rows[r] = Isa::quantise(x + r * p.inputs, p.inputs, p.padded, &a[r * p.padded]);
  for (int64_t panel = 0; panel * kPanel < p.outputs; ++panel) {
    int64_t r = 0;
    for (; r + 4 <= count; r += 4) compute_tile<Isa, 4>(&a[r * p.padded], rows + r, p, panel, out + r * p.outputs);
    for (; r < count; ++r) compute_tile<Isa, 1>(&a[r * p.padded], rows + r, p, panel, out + r * p.outputs);
  }
}

template <class Isa, class In, class Out>
void multiply_blocks(const Tensor& x, const MatmulArguments& p, Tensor& out) {
  const int64_t rows = p.inputs == 0 ? 0 : x.numel() / p.inputs;
  const In* from = x.const_data_ptr<In>();
  Out* to = out.mutable_data_ptr<Out>();
  parallel_rows((rows + kRows - 1) / kRows, 1, [&](int64_t task) {
    const int64_t first = task * kRows;
    compute_block<Isa>(from + first * p.inputs, std::min(kRows, rows - first), p, to + first * p.outputs);
  });
}

template <class In, class Out>
void dispatch(const Tensor& x, const MatmulArguments& p, bool portable, Tensor& out) {
#if defined(__x86_64__)
  if (has_vnni() && !portable) return multiply_blocks<Vnni, In, Out>(x, p, out);
#endif
  multiply_blocks<Portable, In, Out>(x, p, out);
}

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
}  // namespace

extern "C" {
bool polyqa_int8_is_fast() { return has_vnni(); }
bool polyqa_bf16_is_fast() { return has_capability("avx512_bf16"); }
bool polyqa_has_amx() { return has_capability("amx_bf16") && has_capability("amx_tile"); }

// Converts a weight [O, I] float32 to packed [panels, I / 4, 64, 4] uint8 and scales [panels * 64] float32.
int polyqa_int8_pack(const Tensor* weight, Tensor** packed, Tensor** scales, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(weight->is_cpu() && weight->scalar_type() == at::kFloat && weight->dim() == 2 && weight->numel() > 0,
                "expected a weight [outputs, inputs], float32 on the CPU, got ", weight->sizes(), " ",
                weight->scalar_type(), " on ", weight->device());
    const Tensor from = weight->detach().contiguous();
    const int64_t outputs = from.size(0), inputs = from.size(1), quads = round_up(inputs, 4) / 4;
    const int64_t panels = round_up(outputs, kPanel) / kPanel;
    Tensor values = at::empty({panels, quads, kPanel, 4}, at::kByte);
    values.fill_(128);
    Tensor factors = at::zeros({panels * kPanel}, at::kFloat);
    uint8_t* to = values.mutable_data_ptr<uint8_t>();
    const float* w = from.const_data_ptr<float>();
    std::vector<int8_t> row(quads * 4);
    for (int64_t o = 0; o < outputs; ++o) {
      const Row quantised = quantise_row(w + o * inputs, inputs, quads * 4, row.data());
      TORCH_CHECK(quantised.scale == quantised.scale, "a weight is not finite: output ", o);
      factors.mutable_data_ptr<float>()[o] = quantised.scale;
      for (int64_t i = 0; i < quads * 4; ++i) {
        to[((o / kPanel * quads + i / 4) * kPanel + o % kPanel) * 4 + i % 4] = static_cast<uint8_t>(row[i] + 128);
      }
    }
    *packed = new Tensor(values);
    *scales = new Tensor(factors);
  });
}

// Maps x [.., I] float32 or bfloat16 to [.., O], bfloat16 if `to_bf16`, else float32; `bias` is [panels * 64].
// `portable` disables AVX-512 instructions.
int polyqa_int8_linear(const Tensor* x, const Tensor* packed, const Tensor* scales, const Tensor* bias, int64_t outputs,
                       bool gelu, bool to_bf16, bool portable, Tensor** out, char** error) {
  return guarded(error, [&] {
    const auto kind = x->scalar_type();
    TORCH_CHECK(x->is_cpu() && x->dim() > 0 && (kind == at::kFloat || kind == at::kBFloat16),
                "expected float32 or bfloat16 on the CPU, got ", x->sizes(), " ", kind, " on ", x->device());
    const int64_t inputs = x->size(-1), padded = packed->size(1) * 4;
    TORCH_CHECK(padded == round_up(inputs, 4) && inputs > 0, "expected ", padded - 3, " to ", padded, " inputs, got ",
                inputs);
    auto sizes = x->sizes().vec();
    sizes.back() = outputs;
    const Tensor from = x->contiguous();
    Tensor to = at::empty(sizes, to_bf16 ? at::kBFloat16 : at::kFloat);
    const MatmulArguments p{inputs, padded, outputs, packed->const_data_ptr<uint8_t>(), scales->const_data_ptr<float>(),
                    bias->const_data_ptr<float>(), gelu};
    if (kind == at::kFloat) {
      to_bf16 ? dispatch<float, at::BFloat16>(from, p, portable, to) : dispatch<float, float>(from, p, portable, to);
    } else {
      to_bf16 ? dispatch<at::BFloat16, at::BFloat16>(from, p, portable, to) : dispatch<at::BFloat16, float>(from, p, portable, to);
    }
    *out = new Tensor(to);
  });
}
}

#undef ALWAYS_INLINE
#undef WITH_VNNI
