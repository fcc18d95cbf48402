// Products of bfloat16 matrices with AMX tiles or AVX-512 dot products, in blocks of up to 32 rows and 32 columns.
#pragma once
#if defined(__x86_64__) && defined(__has_include)
#if __has_include(<amxbf16intrin.h>)
#define POLYQA_HAS_TILES
#endif
#endif

#ifdef POLYQA_HAS_TILES
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#define POLYQA_AVX512_BF16 "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,prefer-vector-width=512"
#define WITH_BF16 __attribute__((target(POLYQA_AVX512_BF16)))
#define WITH_AMX __attribute__((target(POLYQA_AVX512_BF16 ",amx-tile,amx-bf16")))

namespace tiles {
using bf16 = uint16_t;

// Rows and columns of a block, and inputs of a step. A tile has 16 rows of 64 bytes.
constexpr int64_t kEdge = 32, kTile = 16;

// A matrix of weights [inputs, outputs] consists of panels of 32 outputs, a panel of steps of 32 inputs, and a step of
// two tiles of 16 outputs. Row p of a tile contains inputs 2 p and 2 p + 1 of each output.
constexpr int64_t kStep = kEdge * kEdge;

// A source of work for the vector units during a product: called once per step.
struct Nothing {
  WITH_BF16 void operator()(int64_t) const {}
};

// AMX tiles. An object holds the thread's tile configuration, and restores the previous one (oneDNN's) at the end.
class Amx {
 public:
  WITH_AMX Amx() {
    _tile_storeconfig(&previous_);
    Config config{};
    config.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      config.row_bytes[tile] = 64;
      config.rows[tile] = kTile;
    }
    // GCC does not know which memory these instructions read and write.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  WITH_AMX ~Amx() {
    asm volatile("" ::: "memory");
    if (previous_.palette == 0) {
      _tile_release();
    } else {
      _tile_loadconfig(&previous_);
    }
  }
  Amx(const Amx&) = delete;
  Amx& operator=(const Amx&) = delete;

  // c [16 T, 32] (+)= a [16 T, 32 steps] * panel, with row strides of c and a in elements.
  template <int T, class Side>
  WITH_AMX static void multiply(const bf16* a, int64_t a_stride, const bf16* panel, int64_t steps, float* c, int64_t c_stride,
                                bool accumulate, const Side& side) {
    const int64_t a_bytes = a_stride * 2, c_bytes = c_stride * 4;
    asm volatile("" ::: "memory");
    if (accumulate) {
      _tile_loadd(0, c, c_bytes);
      _tile_loadd(1, c + kTile, c_bytes);
      if (T == 2) {
        _tile_loadd(2, c + kTile * c_stride, c_bytes);
        _tile_loadd(3, c + kTile * c_stride + kTile, c_bytes);
      }
    } else {
      _tile_zero(0);
      _tile_zero(1);
      if (T == 2) {
        _tile_zero(2);
        _tile_zero(3);
      }
    }
    for (int64_t step = 0; step < steps; ++step) {
      const bf16* b = panel + step * kStep;
      _tile_loadd(6, b, 64);
      _tile_loadd(4, a + step * kEdge, a_bytes);
      _tile_loadd(7, b + kStep / 2, 64);
      _tile_dpbf16ps(0, 4, 6);
      if (T == 2) _tile_loadd(5, a + kTile * a_stride + step * kEdge, a_bytes);
      _tile_dpbf16ps(1, 4, 7);
      if (T == 2) {
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      side(step);
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + kTile, c_bytes);
    if (T == 2) {
      _tile_stored(2, c + kTile * c_stride, c_bytes);
      _tile_stored(3, c + kTile * c_stride + kTile, c_bytes);
    }
    asm volatile("" ::: "memory");
  }

 private:
  struct alignas(64) Config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  Config previous_;
};

// The same products with AVX-512 dot products.
struct DotProducts {
  template <int T, class Side>
  WITH_BF16 static void multiply(const bf16* a, int64_t a_stride, const bf16* panel, int64_t steps, float* c, int64_t c_stride,
                                 bool accumulate, const Side& side) {
    constexpr int kRows = 8;
    for (int64_t step = 0; step < steps; ++step) side(step);
    for (int64_t first = 0; first < T * kTile; first += kRows) {
      const bf16* rows = a + first * a_stride;
      float* out = c + first * c_stride;
      __m512 sums[kRows][2];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][0] = accumulate ? _mm512_loadu_ps(out + r * c_stride) : _mm512_setzero_ps();
        sums[r][1] = accumulate ? _mm512_loadu_ps(out + r * c_stride + kTile) : _mm512_setzero_ps();
      }
      for (int64_t step = 0; step < steps; ++step) {
        for (int64_t pair = 0; pair < kTile; ++pair) {
          const bf16* b = panel + step * kStep + pair * kEdge;
          const auto left = (__m512bh)_mm512_loadu_si512(b), right = (__m512bh)_mm512_loadu_si512(b + kStep / 2);
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r) {
            int32_t inputs;
            std::memcpy(&inputs, rows + r * a_stride + step * kEdge + pair * 2, sizeof inputs);
            const auto x = (__m512bh)_mm512_set1_epi32(inputs);
            sums[r][0] = _mm512_dpbf16_ps(sums[r][0], x, left);
            sums[r][1] = _mm512_dpbf16_ps(sums[r][1], x, right);
          }
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        _mm512_storeu_ps(out + r * c_stride, sums[r][0]);
        _mm512_storeu_ps(out + r * c_stride + kTile, sums[r][1]);
      }
    }
  }
};

// Rows of a left matrix [rows, inputs]. The last rows, if they do not fill a tile, are copied and padded with zeros.
class LeftMatrix {
 public:
  // `tail` is memory for 16 rows.
  LeftMatrix(const bf16* rows, int64_t stride, int64_t count, int64_t inputs, bf16* tail)
      : rows_(rows), stride_(stride), count_(count), inputs_(inputs), tail_(tail) {
    const int64_t whole = count / kTile * kTile;
    if (count == whole) return;
    for (int64_t r = whole; r < count; ++r) std::memcpy(tail + (r - whole) * inputs, rows + r * stride, inputs * sizeof(bf16));
    std::memset(tail + (count - whole) * inputs, 0, (whole + kTile - count) * inputs * sizeof(bf16));
  }

  // Multiplies up to 32 rows from `first` with a panel; returns the number of rows.
  template <class Isa, class Side>
  WITH_BF16 int64_t multiply(int64_t first, const bf16* panel, float* c, int64_t c_stride, bool accumulate, const Side& side) const {
    const int64_t left = count_ - first, steps = inputs_ / kEdge;
    const bf16* rows = rows_ + first * stride_;
    if (left >= kEdge) {
      Isa::template multiply<2>(rows, stride_, panel, steps, c, c_stride, accumulate, side);
      return kEdge;
    }
    if (left >= kTile) {
      Isa::template multiply<1>(rows, stride_, panel, steps, c, c_stride, accumulate, side);
      return kTile;
    }
    Isa::template multiply<1>(tail_, inputs_, panel, steps, c, c_stride, accumulate, side);
    return left;
  }

  int64_t count() const { return count_; }
  int64_t steps() const { return inputs_ / kEdge; }

 private:
  const bf16* rows_;
  int64_t stride_, count_, inputs_;
  bf16* tail_;
};

// Fetches the panel after the current one into the second-level cache while all rows are multiplied with the current one.
class NextPanel {
 public:
  NextPanel(const LeftMatrix& a, const bf16* panel, int64_t bytes)
      : at_(reinterpret_cast<const char*>(panel)), end_(at_ + bytes), steps_(a.steps()) {
    const int64_t blocks = (a.count() + kEdge - 1) / kEdge;
    lines_ = (bytes / 64 + blocks * steps_ - 1) / (blocks * steps_);
  }
  WITH_BF16 void fetch() {
    for (int64_t line = 0; line < lines_ && at_ < end_; ++line, at_ += 64) _mm_prefetch(at_, _MM_HINT_T1);
  }

 private:
  const char *at_, *end_;
  int64_t steps_, lines_;
};

// Multiplies a with a weight of `outputs` outputs. Calls write(row, column, sums) for 32 outputs of each row. The
// outputs of a block are written during the product of the next block, so that tiles and vector units work together.
template <class Isa, class Write>
WITH_BF16 void multiply_and_write(const LeftMatrix& a, const bf16* weight, int64_t outputs, const Write& write) {
  alignas(64) float blocks[2][kEdge * kEdge];
  const int64_t steps = a.steps(), rows_per_step = (kEdge + steps - 1) / steps;
  int64_t number = 0, last_row = 0, last_count = 0, last_column = 0;
  const auto write_rows = [&](int64_t from, int64_t to) WITH_BF16 {
    const float* sums = blocks[(number + 1) % 2];
    for (int64_t r = from; r < std::min(to, last_count); ++r) write(last_row + r, last_column, sums + r * kEdge);
  };
  for (int64_t column = 0; column < outputs; column += kEdge) {
    const bf16* panel = weight + column / kEdge * steps * kStep;
    const int64_t bytes = column + kEdge < outputs ? steps * kStep * 2 : 0;
    NextPanel next(a, panel + steps * kStep, bytes);
    for (int64_t row = 0; row < a.count();) {
      const auto count = a.multiply<Isa>(row, panel, blocks[number % 2], kEdge, false, [&](int64_t step) WITH_BF16 {
        write_rows(step * rows_per_step, (step + 1) * rows_per_step);
        next.fetch();
      });
      last_row = row, last_count = count, last_column = column;
      row += count;
      ++number;
    }
  }
  write_rows(0, kEdge);
}

// sums [rows, outputs] (+)= a * the inputs from `first` of a weight with `inputs` inputs. `sums` has memory for a
// multiple of 16 rows.
template <class Isa>
WITH_BF16 void multiply_to_sums(const LeftMatrix& a, const bf16* weight, int64_t inputs, int64_t outputs, int64_t first, float* sums) {
  for (int64_t column = 0; column < outputs; column += kEdge) {
    const bf16* panel = weight + (column * inputs + first * kEdge);
    NextPanel next(a, panel + inputs * kEdge, column + kEdge < outputs ? a.steps() * kStep * 2 : 0);
    for (int64_t row = 0; row < a.count();) {
      row += a.multiply<Isa>(row, panel, sums + row * outputs + column, outputs, first > 0,
                             [&](int64_t) WITH_BF16 { next.fetch(); });
    }
  }
}
}  // namespace tiles
#endif
