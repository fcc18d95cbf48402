// Instructions of the processor.
#pragma once
#include <ATen/cpu/Utils.h>

// Returns whether the processor has a capability of libtorch's list, for example `amx_bf16`.
inline bool has_capability(const char* name) {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto entry = capabilities.find(name);
  return entry != capabilities.end() && entry->second.isBool() && entry->second.toBool();
}
