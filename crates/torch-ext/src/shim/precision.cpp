// Precision level of float32 matrix multiplications.
#include <ATen/Context.h>

#include "guard.h"

extern "C" {
// level: 0 highest, 1 high, 2 medium
int polyqa_set_float32_matmul_precision(int level, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(level >= 0 && level <= 2, "unknown precision level ", level);
    at::globalContext().setFloat32MatmulPrecision(level == 1 ? "high" : level == 2 ? "medium" : "highest");
  });
}
}
