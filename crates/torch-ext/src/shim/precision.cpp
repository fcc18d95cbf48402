// Which kernels float32 matrix products may use.
#include <ATen/Context.h>

#include "amx_tiles.h"
#include "guard.h"
#include "product.h"

extern "C" {
// Whether levels 3 and 4 can be set.
bool polyqa_has_bf16_parts() { return amx_is_there(); }

// level: 0 highest, 1 high, 2 medium, 3 products of three bfloat16 parts, 4 of two
int polyqa_set_float32_matmul_precision(int level, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(level >= 0 && level <= 4, "unknown precision level ", level);
    split_products(level == 3 ? 3 : level == 4 ? 2 : 0);
    at::globalContext().setFloat32MatmulPrecision(level == 1 ? "high" : level == 2 ? "medium" : "highest");
  });
}
}
