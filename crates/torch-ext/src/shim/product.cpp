#include "product.h"

#include <ATen/Context.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <atomic>

#include "amx_tiles.h"
#include "parallel.h"

namespace at::native {
// Exported by libtorch_cpu, declared in a header that the wheel does not ship.
void mkldnn_matmul(const Tensor& mat1, const Tensor& mat2, const Tensor& result, float beta, float alpha);
}  // namespace at::native

namespace {
// Products of fewer multiplications are left to the default kernel.
constexpr double kLarge = 1 << 22;
// Of the result's rows and of the inner dimension and columns: below, cutting numbers into parts costs what it saves.
constexpr int64_t kSplitRows = 64, kSplitSide = 256;
// Blocks for each thread, where there are rows enough.
constexpr int64_t kBlocks = 8;
constexpr int64_t kAlignment = 64;

// 0: products are not split.
std::atomic<int> parts_of_products{0};
AmxParts parts_now() { return parts_of_products == 2 ? AmxParts::Two : AmxParts::Three; }

bool on_cpu(const at::Tensor& result) {
  return result.is_cpu() && result.scalar_type() == at::kFloat && result.is_contiguous();
}

bool onednn(const at::Tensor& result, const at::Tensor& a, const at::Tensor& b) {
  if (!on_cpu(result) || !at::hasMKLDNN() || !at::globalContext().userEnabledMkldnn()) return false;
  return static_cast<double>(a.size(0)) * a.size(1) * b.size(1) >= kLarge;
}

bool has_unit_stride(const at::Tensor& t) { return t.stride(0) == 1 || t.stride(1) == 1; }

uint8_t* aligned(uint8_t* memory) {
  return memory + (kAlignment - reinterpret_cast<uintptr_t>(memory) % kAlignment) % kAlignment;
}

void split(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, AmxStart start, const float* bias) {
  const AmxOperand left{a.data_ptr<float>(), a.size(0), a.size(1), a.stride(0), a.stride(1)};
  const AmxOperand right{b.data_ptr<float>(), b.size(1), b.size(0), b.stride(1), b.stride(0)};
  const auto parts = parts_now();
  const auto memory = at::empty({amx_bytes(right.rows, right.inner, parts) + kAlignment}, at::TensorOptions(at::kByte));
  auto* packed = aligned(memory.data_ptr<uint8_t>());
  auto* out = result.data_ptr<float>();
  parallel_tasks(amx_panels(right.rows), [&](int64_t panel) { amx_pack(right, panel, parts, packed); });
  // Large blocks read the right operand seldom, many keep all threads busy to the end.
  const auto share = left.rows / (kBlocks * at::get_num_threads()) / kAmxLeastRows * kAmxLeastRows;
  const auto rows = std::clamp(share, kAmxLeastRows, kAmxMostRows);
  parallel_tasks((left.rows + rows - 1) / rows, [&](int64_t block) {
    const auto first = block * rows;
    amx_multiply(left, first, std::min(rows, left.rows - first), packed, right.rows, parts, start, bias, out);
  });
}
}  // namespace

void split_products(int parts) {
  TORCH_CHECK(parts == 0 || amx_is_there(), "products of bfloat16 parts need a processor with AMX, and Linux");
  TORCH_CHECK(parts == 0 || parts == 2 || parts == 3, "no products of ", parts, " parts");
  parts_of_products = parts;
}

bool splits(int64_t rows, int64_t inner, int64_t columns) {
  return parts_of_products != 0 && rows >= kSplitRows && inner >= kSplitSide && columns >= kSplitSide;
}

void split_product(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const auto row = bias.defined() ? bias.contiguous() : bias;
  const auto start = row.defined() ? AmxStart::Bias : AmxStart::Zero;
  split(result, a, b, start, row.defined() ? row.data_ptr<float>() : nullptr);
}

void polyqa_product(at::Tensor& result, const at::Tensor& a, const at::Tensor& b, bool accumulate) {
  if (on_cpu(result) && splits(a.size(0), a.size(1), b.size(1)) && has_unit_stride(a) && has_unit_stride(b)) {
    split(result, a, b, accumulate ? AmxStart::Result : AmxStart::Zero, nullptr);
  } else if (onednn(result, a, b)) {
    at::native::mkldnn_matmul(a, b, result, accumulate ? 1.0F : 0.0F, 1.0F);
  } else if (accumulate) {
    at::addmm_out(result, result, a, b);
  } else {
    at::mm_out(result, a, b);
  }
}
