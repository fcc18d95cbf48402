#include "amx_tiles.h"

#if defined(__x86_64__) && defined(__linux__) && __has_include(<amxbf16intrin.h>)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#define POLYQA_AMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")))

namespace {
constexpr int64_t kSide = 16;     // rows of a tile
constexpr int64_t kDepth = 32;    // numbers of bfloat16 in a tile's row
constexpr int64_t kPanel = 2 * kSide;
constexpr int64_t kTile = kSide * kDepth;
constexpr int64_t kInner = 768;   // of the inner dimension at a time: a panel of it is 144 KiB in three parts
constexpr int64_t kBlock = kAmxMostRows;  // 576 KiB of three parts, which stay in the second cache
constexpr int64_t kLine = 64;

// Numbers of a panel for kDepth of the inner dimension: [part][half][tile].
constexpr int64_t step_size(int64_t parts) { return parts * 2 * kTile; }
// Lines of the right operand's next panel that are asked for in each step of each of a block's panels.
constexpr int64_t lines_ahead(int64_t parts) { return step_size(parts) * 2 / kLine * kPanel / kBlock; }

int64_t up(int64_t count, int64_t by) { return (count + by - 1) / by; }

// A 16 by 16 matrix of 32 bits, turned.
POLYQA_AMX inline void transpose(__m512i (&rows)[kSide]) {
  __m512i other[kSide];
  for (int i = 0; i < 16; i += 2) {
    other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(other[i], other[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(other[i], other[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(other[i + 1], other[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(other[i + 1], other[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    other[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    other[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    other[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    other[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm512_shuffle_i32x4(other[i], other[i + 8], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(other[i], other[i + 8], 0xdd);
    rows[i + 4] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], 0x88);
    rows[i + 12] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], 0xdd);
  }
}

// The bfloat16 nearest to each number of a and then of b; what is left of them stays there.
POLYQA_AMX inline __m512i take_part(__m512& a, __m512& b) {
  const auto part = (__m512i)_mm512_cvtne2ps_pbh(b, a);
  const auto of_a = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(part)), 16);
  const auto of_b = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(part, 1)), 16);
  a = _mm512_sub_ps(a, _mm512_castsi512_ps(of_a));
  b = _mm512_sub_ps(b, _mm512_castsi512_ps(of_b));
  return part;
}

POLYQA_AMX inline __mmask16 first(int64_t count) {
  return count >= kSide ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1U << count) - 1);
}

// The parts of 16 rows by kDepth from (row, inner) on, zeros beyond the matrix, as tiles two halves of a panel apart: of 16
// rows, or, where `pairs_first`, of 16 pairs of inner numbers.
template <int64_t kParts>
POLYQA_AMX void cut(const AmxOperand& of, int64_t row, int64_t inner, bool pairs_first, uint16_t* out) {
  const auto rows = std::min(kSide, of.rows - row), depth = std::min(kDepth, of.inner - inner);
  alignas(kLine) __m512i parts[kParts][kSide];
  const bool along_inner = of.inner_stride == 1;
  if (along_inner) {
    const auto low = first(depth), high = first(depth - kSide);
    for (int64_t i = 0; i < kSide; ++i) {
      auto a = _mm512_setzero_ps(), b = a;
      if (i < rows) {
        const float* from = of.data + (row + i) * of.row_stride + inner;
        a = _mm512_maskz_loadu_ps(low, from);
        if (high) b = _mm512_maskz_loadu_ps(high, from + kSide);
      }
      for (auto& part : parts) part[i] = take_part(a, b);
    }
  } else {
    const auto mask = first(rows);
    // A number of a's, one of b's, and so on.
    const auto by_turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                           20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int64_t i = 0; i < kSide; ++i) {
      auto a = _mm512_setzero_ps(), b = a;
      const float* from = of.data + (inner + 2 * i) * of.inner_stride + row;
      if (2 * i < depth) a = _mm512_maskz_loadu_ps(mask, from);
      if (2 * i + 1 < depth) b = _mm512_maskz_loadu_ps(mask, from + of.inner_stride);
      for (auto& part : parts) part[i] = _mm512_permutexvar_epi16(by_turns, take_part(a, b));
    }
  }
  for (auto& part : parts) {
    if (along_inner == pairs_first) transpose(part);
    for (int64_t i = 0; i < kSide; ++i) _mm512_store_si512(out + i * kDepth, part[i]);
    out += 2 * kTile;
  }
}

// A panel's parts for `steps` times kDepth of the inner dimension.
template <int64_t kParts>
POLYQA_AMX void cut_panel(const AmxOperand& of, int64_t row, int64_t inner, int64_t steps, bool pairs_first, uint16_t* out) {
  for (int64_t step = 0; step < steps; ++step, inner += kDepth, out += step_size(kParts)) {
    cut<kParts>(of, row, inner, pairs_first, out);
    cut<kParts>(of, row + kSide, inner, pairs_first, out + kTile);
  }
}

// Tiles 0 to 3 hold 32 by 32 sums, 4 and 5 a part of the left panel, 6 and 7 one of the right panel.
#define LEFT_LOW(part) _tile_loadd(4, left + (part) * 2 * kTile, kLine)
#define LEFT_HIGH(part) _tile_loadd(5, left + (part) * 2 * kTile + kTile, kLine)
#define RIGHT_LOW(part) _tile_loadd(6, right + (part) * 2 * kTile, kLine)
#define RIGHT_HIGH(part) _tile_loadd(7, right + (part) * 2 * kTile + kTile, kLine)
#define LOW_LOW _tile_dpbf16ps(0, 4, 6)
#define LOW_HIGH _tile_dpbf16ps(1, 4, 7)
#define HIGH_LOW _tile_dpbf16ps(2, 5, 6)
#define HIGH_HIGH _tile_dpbf16ps(3, 5, 7)

// Adds two panels' products to the sums. From one pair of parts to the next one side changes, and a tile is loaded as soon as
// nothing waits for what it held. `next` is fetched meanwhile.
template <int64_t kParts>
POLYQA_AMX inline void add_products(const uint16_t* left, const uint16_t* right, int64_t steps, const char* next) {
  static_assert(kParts == 2 || kParts == 3);
  for (int64_t step = 0; step < steps; ++step, left += step_size(kParts), right += step_size(kParts)) {
    for (int64_t line = 0; line < lines_ahead(kParts); ++line, next += kLine) _mm_prefetch(next, _MM_HINT_T1);
    if constexpr (kParts == 2) {
      // Parts 0 and 1.
      LEFT_LOW(0); RIGHT_LOW(1); LOW_LOW; LEFT_HIGH(0); HIGH_LOW; RIGHT_HIGH(1); RIGHT_LOW(0); LOW_HIGH; HIGH_HIGH;
      // 0 and 0.
      RIGHT_HIGH(0); LOW_LOW; HIGH_LOW; LOW_HIGH; LEFT_LOW(1); HIGH_HIGH;
      // 1 and 0.
      LEFT_HIGH(1); LOW_LOW; LOW_HIGH; HIGH_LOW; HIGH_HIGH;
    } else {
      // Parts 0 and 2.
      LEFT_LOW(0); RIGHT_LOW(2); LOW_LOW; LEFT_HIGH(0); HIGH_LOW; RIGHT_HIGH(2); RIGHT_LOW(1); LOW_HIGH; HIGH_HIGH;
      // 0 and 1.
      RIGHT_HIGH(1); LOW_LOW; HIGH_LOW; LOW_HIGH; LEFT_LOW(1); HIGH_HIGH;
      // 1 and 1.
      LEFT_HIGH(1); LOW_LOW; LOW_HIGH; HIGH_LOW; RIGHT_LOW(0); HIGH_HIGH;
      // 1 and 0.
      RIGHT_HIGH(0); LOW_LOW; HIGH_LOW; LOW_HIGH; LEFT_LOW(2); HIGH_HIGH;
      // 2 and 0.
      LEFT_HIGH(2); LOW_LOW; LOW_HIGH; LEFT_LOW(0); HIGH_LOW; HIGH_HIGH;
      // 0 and 0.
      LEFT_HIGH(0); LOW_LOW; LOW_HIGH; HIGH_LOW; HIGH_HIGH;
    }
  }
}

struct alignas(kLine) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  TileConfig() {
    for (int tile = 0; tile < 8; ++tile) {
      row_bytes[tile] = kLine;
      rows[tile] = kSide;
    }
  }
};

// A part of the result, 32 by 32 at most; where it is less, sums go through `edge`, which is that large.
struct Place {
  float* to;
  int64_t columns, high, wide;
  float* edge;

  bool whole() const { return high == kPanel && wide == kPanel; }
  float* data() { return whole() ? to : edge; }
  int64_t stride() const { return whole() ? columns : kPanel; }

  POLYQA_AMX void load() {
    if (!whole()) {
      for (int64_t i = 0; i < high; ++i) std::memcpy(edge + kPanel * i, to + columns * i, wide * sizeof(float));
    }
    const auto* low = data();
    const auto* high_half = low + kSide * stride();
    const auto bytes = stride() * static_cast<int64_t>(sizeof(float));
    _tile_loadd(0, low, bytes);
    _tile_loadd(1, low + kSide, bytes);
    _tile_loadd(2, high_half, bytes);
    _tile_loadd(3, high_half + kSide, bytes);
  }

  POLYQA_AMX void store() {
    auto* low = data();
    auto* high_half = low + kSide * stride();
    const auto bytes = stride() * static_cast<int64_t>(sizeof(float));
    _tile_stored(0, low, bytes);
    _tile_stored(1, low + kSide, bytes);
    _tile_stored(2, high_half, bytes);
    _tile_stored(3, high_half + kSide, bytes);
    if (whole()) return;
    for (int64_t i = 0; i < high; ++i) std::memcpy(to + columns * i, edge + kPanel * i, wide * sizeof(float));
  }
};
}  // namespace

bool amx_is_there() {
  static const bool there = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 16 & 1) || !(d >> 22 & 1) || !(d >> 24 & 1)) return false;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return false;
    constexpr long kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  }();
  return there;
}

int64_t amx_panels(int64_t rows) { return up(rows, kPanel); }
int64_t amx_bytes(int64_t rows, int64_t inner, AmxParts parts) {
  const auto step = step_size(static_cast<int64_t>(parts));
  return amx_panels(rows) * up(inner, kDepth) * step * static_cast<int64_t>(sizeof(uint16_t));
}

namespace {
// For each kInner of the inner dimension all panels: [inner / kInner][panel][step].
template <int64_t kParts>
void pack(const AmxOperand& right, int64_t panel, uint8_t* packed) {
  constexpr auto kStep = step_size(kParts);
  auto* out = reinterpret_cast<uint16_t*>(packed);
  for (int64_t inner = 0; inner < right.inner; inner += kInner) {
    const auto steps = up(std::min(kInner, right.inner - inner), kDepth);
    cut_panel<kParts>(right, panel * kPanel, inner, steps, true, out + panel * steps * kStep);
    out += amx_panels(right.rows) * steps * kStep;
  }
}

template <int64_t kParts>
POLYQA_AMX void multiply(const AmxOperand& left, int64_t first_row, int64_t rows, const uint8_t* packed, int64_t columns,
                         AmxStart start, const float* bias, float* result) {
  constexpr auto kStep = step_size(kParts);
  const auto panels = amx_panels(columns);
  static thread_local std::vector<uint16_t> memory(kBlock / kPanel * up(kInner, kDepth) * kStep + kLine);
  auto* own = reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(memory.data()) + kLine - 1) & ~uintptr_t{kLine - 1});
  const auto* right = reinterpret_cast<const uint16_t*>(packed);
  alignas(kLine) float bias_row[kPanel] = {}, edge[kPanel * kPanel];
  const TileConfig config;
  _tile_loadconfig(&config);
  for (int64_t inner = 0; inner < left.inner; inner += kInner) {
    const auto steps = up(std::min(kInner, left.inner - inner), kDepth);
    for (int64_t row = 0; row < rows; row += kPanel) {
      cut_panel<kParts>(left, first_row + row, inner, steps, false, own + row / kPanel * steps * kStep);
    }
    const bool goes_on = inner > 0 || start == AmxStart::Result;
    for (int64_t panel = 0; panel < panels; ++panel, right += steps * kStep) {
      const auto column = panel * kPanel, wide = std::min(kPanel, columns - column);
      if (!goes_on && start == AmxStart::Bias) std::memcpy(bias_row, bias + column, wide * sizeof(float));
      const auto* next = reinterpret_cast<const char*>(right + steps * kStep);
      for (int64_t row = 0; row < rows; row += kPanel, next += steps * lines_ahead(kParts) * kLine) {
        Place place{result + (first_row + row) * columns + column, columns, std::min(kPanel, rows - row), wide, edge};
        if (goes_on) {
          place.load();
        } else if (start == AmxStart::Bias) {
          _tile_loadd(0, bias_row, 0);
          _tile_loadd(1, bias_row + kSide, 0);
          _tile_loadd(2, bias_row, 0);
          _tile_loadd(3, bias_row + kSide, 0);
        } else {
          _tile_zero(0);
          _tile_zero(1);
          _tile_zero(2);
          _tile_zero(3);
        }
        add_products<kParts>(own + row / kPanel * steps * kStep, right, steps, next);
        place.store();
      }
    }
  }
  _tile_release();
}
}  // namespace

void amx_pack(const AmxOperand& right, int64_t panel, AmxParts parts, uint8_t* packed) {
  parts == AmxParts::Two ? pack<2>(right, panel, packed) : pack<3>(right, panel, packed);
}

void amx_multiply(const AmxOperand& left, int64_t first_row, int64_t rows, const uint8_t* packed, int64_t columns, AmxParts parts,
                  AmxStart start, const float* bias, float* result) {
  const auto of_parts = parts == AmxParts::Two ? multiply<2> : multiply<3>;
  of_parts(left, first_row, rows, packed, columns, start, bias, result);
}
#else
bool amx_is_there() { return false; }
int64_t amx_panels(int64_t) { return 0; }
int64_t amx_bytes(int64_t, int64_t, AmxParts) { return 0; }
void amx_pack(const AmxOperand&, int64_t, AmxParts, uint8_t*) {}
void amx_multiply(const AmxOperand&, int64_t, int64_t, const uint8_t*, int64_t, AmxParts, AmxStart, const float*, float*) {}
#endif
