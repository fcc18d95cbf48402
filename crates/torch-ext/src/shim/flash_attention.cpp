// Self-attention of packed rows on a GPU with libtorch's FlashAttention kernel.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_forward.h>

#include "guard.h"

extern "C" {
// Query, key and value are [N, heads * D] in half precision on one CUDA device; row_offsets is int32 [rows + 1] on the
// same device, from 0 to N. A token attends to `window` tokens on either side, or to its whole row if `window` is
// negative. libtorch provides the backward pass.
int polyqa_flash_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                           const at::Tensor* row_offsets, int64_t max_length, int64_t heads, int64_t window,
                           double dropout, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(query->dim() == 2 && heads > 0 && query->size(1) > 0 && query->size(1) % heads == 0, "query is ",
                query->sizes(), " and there are ", heads, " heads");
    TORCH_CHECK(query->is_cuda() && (query->scalar_type() == at::kHalf || query->scalar_type() == at::kBFloat16),
                "flash attention requires float16 or bfloat16 on a CUDA device");
    for (const auto* t : {key, value}) {
      TORCH_CHECK(t->sizes() == query->sizes() && t->scalar_type() == query->scalar_type() &&
                      t->device() == query->device(),
                  "query, key and value differ in shape, dtype or device");
    }
    TORCH_CHECK(row_offsets->dim() == 1 && row_offsets->size(0) > 1 && row_offsets->scalar_type() == at::kInt &&
                    row_offsets->device() == query->device(),
                "row_offsets is ", row_offsets->sizes(), " ", row_offsets->scalar_type());
    TORCH_CHECK(max_length > 0 && dropout >= 0 && dropout < 1, "max_length is ", max_length, ", dropout ", dropout);
    const auto by_head = [&](const at::Tensor& t) { return t.view({t.size(0), heads, -1}); };
    const auto optional_window = window < 0 ? std::optional<int64_t>() : window;
    const auto result =
        at::_flash_attention_forward(by_head(*query), by_head(*key), by_head(*value), *row_offsets, *row_offsets,
                                     max_length, max_length, dropout, false, false, std::nullopt, optional_window,
                                     optional_window);
    *out = new at::Tensor(std::get<0>(result).reshape(query->sizes()));
  });
}
}
