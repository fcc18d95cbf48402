// Which kernels float32 matrix products may use.
#include <ATen/Context.h>

#include "amx_tiles.h"
#include "guard.h"
#include "product.h"

extern "C" {
// Whether level 3 can be set.
bool polyqa_has_bf16x3() { return amx_is_there(); }

// level: 0 highest, 1 high, 2 medium, 3 products of bfloat16 parts
int polyqa_set_float32_matmul_precision(int level, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(level >= 0 && level <= 3, "unknown precision level ", level);
    split_products(level == 3);
    at::globalContext().setFloat32MatmulPrecision(level == 1 ? "high" : level == 2 ? "medium" : "highest");
  });
}
}
