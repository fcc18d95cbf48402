// Mixed precision for a stretch of code: dtype and switch per device type.
#include <ATen/autocast_mode.h>

#include "guard.h"

extern "C" {
// Enters; `dtype` is 5 for float16 and 15 for bfloat16. The state before comes back for polyqa_autocast_leave.
int polyqa_autocast_enter(bool cuda, int dtype, bool* was_enabled, int* was_dtype, char** error) {
  return guarded(error, [&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *was_dtype = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(dtype));
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::increment_nesting();
  });
}

int polyqa_autocast_leave(bool cuda, bool was_enabled, int was_dtype, char** error) {
  return guarded(error, [&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_enabled);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(was_dtype));
  });
}
}
