// Dropout with a mask that is a function of a seed and a position, and is recomputed in the backward pass.
#pragma once
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>

// Compiles a function for several instruction sets; the best available version is selected at run time. Masks are
// computed with integers and do not depend on the selection; sums may differ in rounding.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define POLYQA_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define POLYQA_CLONES
#endif
#define POLYQA_INLINE inline __attribute__((always_inline))

struct Dropout {
  uint64_t seed = 0;
  uint32_t threshold = 0;  // elements with a random integer below this threshold are dropped
  float scale = 1;         // factor of the elements that are not dropped

  static Dropout of(double p, uint64_t seed) {
    Dropout dropout;
    if (p > 0) {
      dropout.seed = seed;
      dropout.threshold = static_cast<uint32_t>(std::min(p * 4294967296.0, 4294967295.0));
      dropout.scale = static_cast<float>(1.0 / (1.0 - p));
    }
    return dropout;
  }
};

// The dropout key of a row.
struct RowKey {
  uint32_t first, second;

  RowKey(uint64_t seed, uint64_t row) {
    // SplitMix64 (Steele, Lea, Flood 2014).
    uint64_t z = seed + (row + 1) * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
    first = static_cast<uint32_t>(z);
    second = static_cast<uint32_t>(z >> 32);
  }
};

// The dropout factor of position k of a row: 0, or the scale. The random integer is computed by two rounds of a 32-bit
// mixer, with the second half of the row's key between them, so that rows with similar first halves also differ. Loops
// are vectorised only if `dropout` is a local copy, because conditional loads through a reference require a branch.
POLYQA_INLINE float dropout_factor(const Dropout& dropout, RowKey key, uint32_t k) {
  uint32_t x = k + key.first;
  x ^= x >> 16;
  x *= 0x21F0AAADU;
  x ^= (x >> 15) ^ key.second;
  x *= 0x735A2D97U;
  x ^= x >> 15;
  x *= 0x9E3779B1U;
  x ^= x >> 16;
  return x < dropout.threshold ? 0.0F : dropout.scale;
}

// Draws a seed from libtorch's CPU generator, whose state determines all masks.
inline uint64_t draw_seed() {
  auto generator = at::detail::getDefaultCPUGenerator();
  std::lock_guard<std::mutex> lock(generator.mutex());
  return at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
}

// Checks the shape and dtype of offsets: one integer per row, which determines the row's mask.
inline void check_offsets(const at::Tensor& offsets, int64_t rows) {
  TORCH_CHECK(offsets.dim() == 1 && offsets.size(0) == rows && offsets.scalar_type() == at::kLong && offsets.is_cpu(),
              "offsets must be [", rows, "] int64 on the CPU");
}
