// A whole encoder layer with BERT's layout in bfloat16, for inference on the CPU: linear layers, attention, GELU and
// norms of one group of tokens after the other, so that intermediate results stay in a core's cache.
#include <ATen/core/Tensor.h>
#include <ATen/cpu/Utils.h>
#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "capability.h"
#include "guard.h"
#include "parallel.h"
#include "tiles.h"

namespace encoder_layer {
using at::Tensor;

[[maybe_unused]] bool has_amx() {
  static const bool has = has_capability("amx_bf16") && has_capability("amx_tile") && at::cpu::init_amx();
  return has;
}

[[maybe_unused]] bool has_bf16() {
  static const bool has = has_capability("avx512_bf16");
  return has;
}

#ifdef POLYQA_HAS_TILES
using namespace tiles;

// Tokens of a group. Fewer tokens read all weights more often, more tokens do not fit into a core's cache.
constexpr int64_t kGroup = 256;
// Largest number of elements of a head.
constexpr int64_t kMostDepth = 128;
// Outputs of the intermediate layer that are computed at a time.
constexpr int64_t kChunk = 256;

// Packed weights (`tiles.h`), float32 biases and norms.
struct Weights {
  const bf16 *projections, *attention_output, *intermediate, *output;
  const float *projections_bias, *attention_output_bias, *intermediate_bias, *output_bias;
  const float *attention_norm, *attention_norm_bias, *output_norm, *output_norm_bias;
};

struct Layer {
  int64_t width, heads, intermediate;
  float eps;
  Weights weights;

  int64_t depth() const { return width / heads; }
};

// Tokens `first`..`first + count` of a row of `length` tokens that starts at token `row` of the batch.
struct Piece {
  int64_t row, length, first, count;
};

// Pieces that are adjacent in the batch.
struct Group {
  int64_t start = 0, count = 0;
  std::vector<Piece> pieces;
};

// Cuts the rows into groups of at most `most` tokens.
std::vector<Group> groups_of(const int64_t* lengths, int64_t rows, int64_t most) {
  std::vector<Group> groups;
  int64_t row = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t length = lengths[r];
    for (int64_t first = 0; first < length; first += most) {
      const int64_t count = std::min(most, length - first);
      if (groups.empty() || groups.back().count + count > most) groups.push_back({row + first, 0, {}});
      groups.back().pieces.push_back({row, length, first, count});
      groups.back().count += count;
    }
    row += length;
  }
  return groups;
}

// A thread's memory for intermediate results, in large pages (see allocator.cpp).
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { std::free(start_); }

  // Forgets all blocks and provides `bytes` bytes for new ones.
  void reset(int64_t bytes) {
    used_ = 0;
    if (bytes <= size_) return;
    std::free(start_);
    size_ = 0;
    constexpr int64_t kPage = int64_t{1} << 21;
    const int64_t size = (bytes + kPage - 1) / kPage * kPage;
    start_ = static_cast<char*>(std::aligned_alloc(kPage, size));
    TORCH_CHECK(start_ != nullptr, "no memory for ", size, " bytes");
    size_ = size;
#ifdef MADV_HUGEPAGE
    madvise(start_, size, MADV_HUGEPAGE);
#endif
  }

  template <class Number>
  Number* take(int64_t count) {
    auto* block = reinterpret_cast<Number*>(start_ + used_);
    used_ += bytes_of<Number>(count);
    TORCH_INTERNAL_ASSERT(used_ <= size_);
    return block;
  }

  template <class Number>
  static int64_t bytes_of(int64_t count) {
    return (count * static_cast<int64_t>(sizeof(Number)) + 63) / 64 * 64;
  }

 private:
  char* start_ = nullptr;
  int64_t size_ = 0, used_ = 0;
};

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// The blocks of a thread's memory.
struct Scratch {
  bf16 *tail, *keys, *values, *probabilities, *attended, *normed, *chunk;
  float *scores, *sums;

  Scratch(const Layer& layer, int64_t tokens, int64_t longest) {
    static thread_local Memory memory;
    const int64_t padded = round_up(tokens, kTile), columns = round_up(longest, kEdge);
    const int64_t tail_size = kTile * std::max(layer.width, kChunk);
    const std::array<int64_t, 7> counts{tail_size,
                                        columns * layer.depth(),
                                        columns * layer.depth(),
                                        kEdge * columns,
                                        tokens * layer.width,
                                        tokens * layer.width,
                                        tokens * kChunk};
    const std::array<int64_t, 2> float_counts{kEdge * columns, padded * layer.width};
    int64_t bytes = 0;
    for (const auto count : counts) bytes += Memory::bytes_of<bf16>(count);
    for (const auto count : float_counts) bytes += Memory::bytes_of<float>(count);
    memory.reset(bytes);
    const std::array<bf16**, 7> blocks{&tail, &keys, &values, &probabilities, &attended, &normed, &chunk};
    for (size_t i = 0; i < blocks.size(); ++i) *blocks[i] = memory.take<bf16>(counts[i]);
    scores = memory.take<float>(float_counts[0]);
    sums = memory.take<float>(float_counts[1]);
  }
};

WITH_BF16 inline __m512 load(const bf16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

WITH_BF16 inline void store(bf16* to, __m512 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
}

// x Φ(x) with an odd polynomial for Φ(x) - 1/2, fitted to |x| <= 4: absolute error below 4e-5 there, and below
// 5e-5 |x| beyond. Rounding an output of 0.02 to bfloat16 has an error of up to 6e-5.
WITH_BF16 inline __m512 gelu(__m512 x) {
  constexpr std::array<float, 8> kCoefficients{-1.3012953890416018e-09F, 1.041961003945336e-07F, -3.657134238647023e-06F,
                                               7.48550637766988e-05F,    -0.00100649052774901F,  0.00950539878581521F,
                                               -0.06588784383059322F,    0.3986733945305505F};
  const __m512 y = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(4)), _mm512_set1_ps(-4));
  const __m512 square = _mm512_mul_ps(y, y);
  __m512 sum = _mm512_set1_ps(kCoefficients[0]);
#pragma GCC unroll 8
  for (size_t i = 1; i < kCoefficients.size(); ++i) sum = _mm512_fmadd_ps(sum, square, _mm512_set1_ps(kCoefficients[i]));
  return _mm512_mul_ps(x, _mm512_fmadd_ps(sum, y, _mm512_set1_ps(0.5F)));
}

// 2^x by Taylor's polynomial of degree 4 for the fraction, which is at most 1/2: relative error below 5e-5.
WITH_BF16 inline __m512 exp2(__m512 x) {
  constexpr std::array<float, 5> kCoefficients{9.61812911e-3F, 5.55041087e-2F, 0.240226507F, 0.693147181F, 1.0F};
  const __m512 whole = _mm512_roundscale_ps(x, 0), fraction = _mm512_sub_ps(x, whole);
  __m512 sum = _mm512_set1_ps(kCoefficients[0]);
#pragma GCC unroll 8
  for (size_t i = 1; i < kCoefficients.size(); ++i) sum = _mm512_fmadd_ps(sum, fraction, _mm512_set1_ps(kCoefficients[i]));
  return _mm512_scalef_ps(sum, whole);
}

// LayerNorm(x + bias + residual) of one row, whose width is a multiple of 32. Overwrites x.
WITH_BF16 void add_and_norm(float* x, const float* bias, const bf16* residual, const float* weight, const float* norm_bias,
                            int64_t width, float eps, bf16* out) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += 16) {
    const __m512 element = _mm512_add_ps(_mm512_add_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(bias + i)), load(residual + i));
    _mm512_storeu_ps(x + i, element);
    sum = _mm512_add_ps(sum, element);
  }
  const float mean = _mm512_reduce_add_ps(sum) / static_cast<float>(width);
  const __m512 means = _mm512_set1_ps(mean);
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += 16) {
    const __m512 difference = _mm512_sub_ps(_mm512_loadu_ps(x + i), means);
    squares = _mm512_fmadd_ps(difference, difference, squares);
  }
  const float variance = _mm512_reduce_add_ps(squares) / static_cast<float>(width);
  const __m512 factor = _mm512_set1_ps(1 / std::sqrt(variance + eps));
  for (int64_t i = 0; i < width; i += 16) {
    const __m512 normed = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), means), factor);
    store(out + i, _mm512_fmadd_ps(normed, _mm512_loadu_ps(weight + i), _mm512_loadu_ps(norm_bias + i)));
  }
}

// Computes queries, keys and values of `rows` tokens, [rows, 3 H].
template <class Isa>
WITH_BF16 void project(const Layer& layer, const bf16* hidden, int64_t rows, bf16* projected, bf16* tail) {
  const int64_t outputs = 3 * layer.width;
  const float* bias = layer.weights.projections_bias;
  multiply_and_write<Isa>(LeftMatrix(hidden, layer.width, rows, layer.width, tail), layer.weights.projections, outputs,
                          [&](int64_t row, int64_t column, const float* sums) WITH_BF16 {
                            bf16* out = projected + row * outputs + column;
                            for (int64_t i = 0; i < kEdge; i += kTile) {
                              store(out + i, _mm512_add_ps(_mm512_load_ps(sums + i), _mm512_loadu_ps(bias + column + i)));
                            }
                          });
}

// Transposes 16 x 16 elements of 32 bits.
WITH_BF16 inline void transpose(const __m512i* in, __m512i* out) {
  __m512i pairs[16], fours[16], eights[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    pairs[2 * i] = _mm512_unpacklo_epi32(in[2 * i], in[2 * i + 1]);
    pairs[2 * i + 1] = _mm512_unpackhi_epi32(in[2 * i], in[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    fours[4 * i] = _mm512_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
    fours[4 * i + 1] = _mm512_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
    fours[4 * i + 2] = _mm512_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
    fours[4 * i + 3] = _mm512_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    eights[i] = _mm512_shuffle_i32x4(fours[i], fours[4 + i], 0x88);
    eights[4 + i] = _mm512_shuffle_i32x4(fours[i], fours[4 + i], 0xdd);
    eights[8 + i] = _mm512_shuffle_i32x4(fours[8 + i], fours[12 + i], 0x88);
    eights[12 + i] = _mm512_shuffle_i32x4(fours[8 + i], fours[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i] = _mm512_shuffle_i32x4(eights[i], eights[8 + i], 0x88);
    out[8 + i] = _mm512_shuffle_i32x4(eights[i], eights[8 + i], 0xdd);
    out[4 + i] = _mm512_shuffle_i32x4(eights[4 + i], eights[12 + i], 0x88);
    out[12 + i] = _mm512_shuffle_i32x4(eights[4 + i], eights[12 + i], 0xdd);
  }
}

// Packs one head's keys [length, depth] with a row stride of `stride` as a weight of `depth` inputs and `padded` outputs.
WITH_BF16 void pack_keys(const bf16* keys, int64_t stride, int64_t length, int64_t padded, int64_t depth, bf16* to) {
  for (int64_t key = 0; key < padded; key += kTile) {
    for (int64_t input = 0; input < depth; input += kEdge) {
      __m512i rows[kTile], columns[kTile];
      for (int64_t i = 0; i < kTile; ++i) {
        rows[i] = key + i < length ? _mm512_loadu_si512(keys + (key + i) * stride + input) : _mm512_setzero_si512();
      }
      transpose(rows, columns);
      bf16* tile = to + (key / kEdge * (depth / kEdge) + input / kEdge) * kStep + key % kEdge / kTile * (kStep / 2);
      for (int64_t i = 0; i < kTile; ++i) _mm512_storeu_si512(tile + i * kEdge, columns[i]);
    }
  }
}

// Packs one head's values [length, depth] as a weight of `padded` inputs and `depth` outputs.
WITH_BF16 void pack_values(const bf16* values, int64_t stride, int64_t length, int64_t padded, int64_t depth, bf16* to) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  // Element 2 i of the first and element 2 i + 1 of the second register, i below 16 or above.
  const __m512i low = _mm512_or_si512(lanes, _mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(32)), 16));
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int64_t output = 0; output < depth; output += kEdge) {
    for (int64_t key = 0; key < padded; key += 2) {
      const auto row = [&](int64_t k) WITH_BF16 {
        return k < length ? _mm512_loadu_si512(values + k * stride + output) : _mm512_setzero_si512();
      };
      const __m512i even = row(key), odd = row(key + 1);
      bf16* tile = to + (output / kEdge * (padded / kEdge) + key / kEdge) * kStep + key % kEdge / 2 * kEdge;
      _mm512_storeu_si512(tile, _mm512_permutex2var_epi16(even, low, odd));
      _mm512_storeu_si512(tile + kStep / 2, _mm512_permutex2var_epi16(even, high, odd));
    }
  }
}

// Writes the exponentials of a row's scores, zeros up to `padded`, and returns the reciprocal of their sum. `scale` is
// the factor of the scores times log2 e.
WITH_BF16 inline float exponentiate(const float* scores, int64_t length, int64_t padded, float scale, bf16* out) {
  const auto mask = [&](int64_t first) WITH_BF16 {
    return static_cast<__mmask16>(first + 16 <= length ? 0xffff : (1 << std::max<int64_t>(length - first, 0)) - 1);
  };
  const __m512 lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity()), factor = _mm512_set1_ps(scale);
  __m512 largest = lowest;
  const int64_t whole = length / kTile * kTile;
  for (int64_t i = 0; i < whole; i += kTile) largest = _mm512_max_ps(largest, _mm512_loadu_ps(scores + i));
  if (whole < length) largest = _mm512_mask_max_ps(largest, mask(whole), largest, _mm512_loadu_ps(scores + whole));
  const __m512 shift = _mm512_set1_ps(_mm512_reduce_max_ps(largest) * scale);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < whole; i += kTile) {
    const __m512 e = exp2(_mm512_fmsub_ps(_mm512_loadu_ps(scores + i), factor, shift));
    sum = _mm512_add_ps(sum, e);
    store(out + i, e);
  }
  for (int64_t i = whole; i < padded; i += kTile) {
    const __m512 e = exp2(_mm512_fmsub_ps(_mm512_loadu_ps(scores + i), factor, shift));
    const __m512 visible = _mm512_maskz_mov_ps(mask(i), e);
    sum = _mm512_add_ps(sum, visible);
    store(out + i, visible);
  }
  return 1 / _mm512_reduce_add_ps(sum);
}

// Computes attention of a piece's tokens, [count, H]. `projected` is [tokens of the batch, 3 H].
template <class Isa>
WITH_BF16 void attend(const Layer& layer, const bf16* projected, const Piece& piece, const Scratch& scratch, bf16* out) {
  const int64_t depth = layer.depth(), stride = 3 * layer.width, padded = round_up(piece.length, kEdge);
  const float scale = 1.44269504F / std::sqrt(static_cast<float>(depth));
  alignas(64) float block[kEdge * kEdge];
  for (int64_t head = 0; head < layer.heads; ++head) {
    const bf16* queries = projected + piece.row * stride + head * depth;
    pack_keys(queries + layer.width, stride, piece.length, padded, depth, scratch.keys);
    pack_values(queries + 2 * layer.width, stride, piece.length, padded, depth, scratch.values);
    for (int64_t first = 0; first < piece.count; first += kEdge) {
      const int64_t count = std::min(kEdge, piece.count - first);
      const bf16* query = queries + (piece.first + first) * stride;
      alignas(64) bf16 tail[kTile * kMostDepth];
      const LeftMatrix left(query, stride, count, depth, tail);
      for (int64_t key = 0; key < padded; key += kEdge) {
        for (int64_t row = 0; row < count;) {
          row += left.multiply<Isa>(row, scratch.keys + key * depth, scratch.scores + row * padded + key, padded, false, Nothing());
        }
      }
      float factors[kEdge];
      for (int64_t i = 0; i < count; ++i) {
        factors[i] = exponentiate(scratch.scores + i * padded, piece.length, padded, scale, scratch.probabilities + i * padded);
      }
      // Rows beyond `count` have old probabilities; their results are not used.
      const LeftMatrix probabilities(scratch.probabilities, padded, round_up(count, kTile), padded, nullptr);
      for (int64_t column = 0; column < depth; column += kEdge) {
        for (int64_t row = 0; row < count; row += kEdge) {
          probabilities.multiply<Isa>(row, scratch.values + column * padded, block, kEdge, false, Nothing());
        }
        for (int64_t i = 0; i < count; ++i) {
          bf16* to = out + (first + i) * layer.width + head * depth + column;
          const __m512 factor = _mm512_set1_ps(factors[i]);
          store(to, _mm512_mul_ps(_mm512_load_ps(block + i * kEdge), factor));
          store(to + kTile, _mm512_mul_ps(_mm512_load_ps(block + i * kEdge + kTile), factor));
        }
      }
    }
  }
}

// Computes the layer's output after attention, [rows, H].
template <class Isa>
WITH_BF16 void finish(const Layer& layer, const bf16* hidden, int64_t rows, const Scratch& scratch, bf16* out) {
  const Weights& weights = layer.weights;
  const int64_t width = layer.width;
  float* sums = scratch.sums;
  multiply_to_sums<Isa>(LeftMatrix(scratch.attended, width, rows, width, scratch.tail), weights.attention_output, width, width, 0, sums);
  for (int64_t r = 0; r < rows; ++r) {
    add_and_norm(sums + r * width, weights.attention_output_bias, hidden + r * width, weights.attention_norm,
                 weights.attention_norm_bias, width, layer.eps, scratch.normed + r * width);
  }
  for (int64_t first = 0; first < layer.intermediate; first += kChunk) {
    const int64_t count = std::min(kChunk, layer.intermediate - first);
    const float* bias = weights.intermediate_bias + first;
    multiply_and_write<Isa>(LeftMatrix(scratch.normed, width, rows, width, scratch.tail), weights.intermediate + first * width, count,
                            [&](int64_t row, int64_t column, const float* inputs) WITH_BF16 {
                              bf16* to = scratch.chunk + row * count + column;
                              for (int64_t i = 0; i < kEdge; i += kTile) {
                                const __m512 x = _mm512_add_ps(_mm512_load_ps(inputs + i), _mm512_loadu_ps(bias + column + i));
                                store(to + i, gelu(x));
                              }
                            });
    multiply_to_sums<Isa>(LeftMatrix(scratch.chunk, count, rows, count, scratch.tail), weights.output, layer.intermediate, width, first,
                          sums);
  }
  for (int64_t r = 0; r < rows; ++r) {
    add_and_norm(sums + r * width, weights.output_bias, scratch.normed + r * width, weights.output_norm, weights.output_norm_bias,
                 width, layer.eps, out + r * width);
  }
}

template <class Isa>
void run_layer(const Layer& layer, const std::vector<Group>& groups, int64_t longest, const bf16* hidden, bf16* projected, bf16* out) {
  const auto each_group = [&](const auto& body) {
    parallel_tasks(static_cast<int64_t>(groups.size()), [&](int64_t number) {
      const Group& group = groups[number];
      [[maybe_unused]] const Isa isa;
      body(group, Scratch(layer, group.count, longest));
    });
  };
  each_group([&](const Group& group, const Scratch& scratch) {
    project<Isa>(layer, hidden + group.start * layer.width, group.count, projected + group.start * 3 * layer.width, scratch.tail);
  });
  each_group([&](const Group& group, const Scratch& scratch) {
    bf16* attended = scratch.attended;
    for (const Piece& piece : group.pieces) {
      attend<Isa>(layer, projected, piece, scratch, attended);
      attended += piece.count * layer.width;
    }
    finish<Isa>(layer, hidden + group.start * layer.width, group.count, scratch, out + group.start * layer.width);
  });
}

const bf16* bits(const Tensor& t) { return reinterpret_cast<const bf16*>(t.const_data_ptr<at::BFloat16>()); }
#endif

extern "C" {
bool polyqa_encoder_layer_is_fast() {
#ifdef POLYQA_HAS_TILES
  return has_bf16();
#else
  return false;
#endif
}

// Packs a weight [O, I] float32 as bfloat16 [O / 32, I / 32, 2, 16, 32]; see tiles.h.
int polyqa_encoder_layer_pack(const Tensor* weight, Tensor** packed, char** error) {
  return guarded(error, [&] {
#ifdef POLYQA_HAS_TILES
    TORCH_CHECK(weight->is_cpu() && weight->dim() == 2 && weight->size(0) % kEdge == 0 && weight->size(1) % kEdge == 0,
                "expected a weight on the CPU whose sizes are multiples of 32, got ", weight->sizes());
    const int64_t panels = weight->size(0) / kEdge, steps = weight->size(1) / kEdge;
    // Pairs of inputs as one element: panels, tiles, outputs of a tile, steps, pairs.
    const Tensor pairs = weight->detach().to(at::kBFloat16).contiguous().view(at::kInt).view({panels, 2, kTile, steps, kTile});
    *packed = new Tensor(pairs.permute({0, 3, 1, 4, 2}).contiguous().view(at::kBFloat16));
#else
    TORCH_CHECK(false, "this program was built without kernels for AVX-512 BF16");
#endif
  });
}

// Runs a layer over packed rows, hidden [N, H] bfloat16. `tensors` are the four packed weights, their biases, and weight
// and bias of both norms, as in `Weights`. `use_amx` permits AMX tiles.
int polyqa_encoder_layer(const Tensor* hidden, const int64_t* lengths, int64_t rows, int64_t heads, double eps, bool use_amx,
                         const Tensor* const* tensors, Tensor** out, char** error) {
  return guarded(error, [&] {
#ifdef POLYQA_HAS_TILES
    TORCH_CHECK(has_bf16(), "this processor has no AVX-512 BF16");
    TORCH_CHECK(!hidden->requires_grad(), "this layer has no backward pass, but hidden requires gradient");
    const int64_t width = hidden->dim() == 2 ? hidden->size(1) : 0, intermediate = tensors[2]->size(0) * kEdge;
    TORCH_CHECK(hidden->is_cpu() && hidden->scalar_type() == at::kBFloat16 && width == tensors[0]->size(1) * kEdge,
                "expected hidden states [N, ", tensors[0]->size(1) * kEdge, "] bfloat16 on the CPU, got ", hidden->sizes(), " ",
                hidden->scalar_type());
    TORCH_CHECK(heads > 0 && width % (heads * kEdge) == 0 && width <= heads * kMostDepth, heads, " heads of ", width,
                " elements are not supported");
    int64_t tokens = 0, longest = 0;
    for (int64_t row = 0; row < rows; ++row) {
      TORCH_CHECK(lengths[row] >= 0, "row ", row, " has ", lengths[row], " tokens");
      tokens += lengths[row];
      longest = std::max(longest, lengths[row]);
    }
    TORCH_CHECK(tokens == hidden->size(0), "the rows have ", tokens, " tokens, hidden ", hidden->size(0));
    const auto floats = [&](int index) { return tensors[index]->const_data_ptr<float>(); };
    const Weights weights{bits(*tensors[0]), bits(*tensors[1]), bits(*tensors[2]), bits(*tensors[3]), floats(4),  floats(5),
                          floats(6),         floats(7),         floats(8),         floats(9),         floats(10), floats(11)};
    const Layer layer{width, heads, intermediate, static_cast<float>(eps), weights};
    const Tensor from = hidden->contiguous();
    Tensor projected = at::empty({tokens, 3 * width}, from.options()), to = at::empty({tokens, width}, from.options());
    const int64_t share = (tokens + at::get_num_threads() - 1) / at::get_num_threads();
    const auto groups = groups_of(lengths, rows, std::clamp(round_up(share, kEdge), kEdge, kGroup));
    const auto run = use_amx && has_amx() ? run_layer<Amx> : run_layer<DotProducts>;
    run(layer, groups, longest, bits(from), reinterpret_cast<bf16*>(projected.mutable_data_ptr<at::BFloat16>()),
        reinterpret_cast<bf16*>(to.mutable_data_ptr<at::BFloat16>()));
    *out = new Tensor(to);
#else
    TORCH_CHECK(false, "this program was built without kernels for AVX-512 BF16");
#endif
  });
}
}
}  // namespace encoder_layer
