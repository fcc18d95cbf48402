// Autocast: dtype and switch per device type.
#include <ATen/autocast_mode.h>

#include "guard.h"

extern "C" {
// Switches autocast on, or off if `enabled` is false; `dtype` is 5 for float16 and 15 for bfloat16. Returns the
// previous state for polyqa_autocast_leave. The cache of cast weights is off: a weight that is first cast without
// gradients, as in GradCache's first pass, would lose its gradient in the next pass.
int polyqa_autocast_enter(bool cuda, bool enabled, int dtype, bool* was_enabled, int* was_dtype, bool* cache_was_on,
                          char** error) {
  return guarded(error, [&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *was_dtype = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(dtype));
    *cache_was_on = at::autocast::is_autocast_cache_enabled();
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::increment_nesting();
  });
}

int polyqa_autocast_leave(bool cuda, bool was_enabled, int was_dtype, bool cache_was_on, char** error) {
  return guarded(error, [&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_enabled);
    at::autocast::set_autocast_cache_enabled(cache_was_on);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(was_dtype));
  });
}

// The autocast dtype: 5 for float16, 15 for bfloat16, 0 if autocast is off.
int polyqa_autocast_dtype(bool cuda, int* dtype, char** error) {
  return guarded(error, [&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    const bool enabled = at::autocast::is_autocast_enabled(device);
    *dtype = enabled ? static_cast<int>(at::autocast::get_autocast_dtype(device)) : 0;
  });
}
}
