#include "matmul.h"

#include <ATen/Context.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

namespace at::native {
// Exported by libtorch_cpu. The wheel does not contain the header that declares this function.
void mkldnn_matmul(const Tensor& mat1, const Tensor& mat2, const Tensor& result, float beta, float alpha);
}  // namespace at::native

namespace {
// Matmuls with fewer scalar multiplications use the default kernel.
constexpr double kLarge = 1 << 22;

// Returns whether `mkldnn_matmul` accepts float32. On x86 it rejects float32 as well as bfloat16 if the processor has
// neither AVX-512 nor AVX-NE-CONVERT (libtorch 2.11).
bool onednn_accepts_float32() {
  static const bool accepts = [] {
    const at::Tensor one = at::ones({1, 1}, at::kFloat);
    at::Tensor product = at::empty({1, 1}, at::kFloat);
    try {
      at::native::mkldnn_matmul(one, one, product, 0.0F, 1.0F);
      return true;
    } catch (const c10::Error&) {
      return false;
    }
  }();
  return accepts;
}

bool uses_onednn(const at::Tensor& result, const at::Tensor& a, const at::Tensor& b) {
  if (!result.is_cpu() || result.scalar_type() != at::kFloat || !result.is_contiguous()) return false;
  if (!at::hasMKLDNN() || !at::globalContext().userEnabledMkldnn()) return false;
  return static_cast<double>(a.size(0)) * a.size(1) * b.size(1) >= kLarge && onednn_accepts_float32();
}
}  // namespace

void polyqa_matmul(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, bool accumulate) {
  if (uses_onednn(result, a, b)) {
    at::native::mkldnn_matmul(a, b, result, accumulate ? 1.0F : 0.0F, 1.0F);
  } else if (accumulate) {
    at::addmm_out(result, result, a, b);
  } else {
    at::mm_out(result, a, b);
  }
}
