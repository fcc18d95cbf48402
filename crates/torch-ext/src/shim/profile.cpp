// Recording of this thread and its backward passes with libtorch's profiler (Kineto).
#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include "guard.h"

extern "C" {
int polyqa_profile_start(bool cuda, char** error) {
  return guarded(error, [&] {
    using torch::profiler::impl::ActivityType;
    std::set<ActivityType> activities{ActivityType::CPU};
    if (cuda) activities.insert(ActivityType::CUDA);
    const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
    torch::autograd::profiler::prepareProfiler(config, activities);
    torch::autograd::profiler::enableProfiler(config, activities);
  });
}

// Stops recording, and writes the profile to `path` unless it is null.
int polyqa_profile_stop(const char* path, char** error) {
  return guarded(error, [&] {
    const auto result = torch::autograd::profiler::disableProfiler();
    if (path != nullptr) result->save(path);
  });
}

// Starts a named region of this thread, which ends at `polyqa_profile_region_end`.
at::RecordFunction* polyqa_profile_region_start(const char* name) {
  try {
    auto* region = new at::RecordFunction(at::RecordScope::USER_SCOPE);
    if (region->isActive()) {
      region->before(std::string(name));
      return region;
    }
    delete region;
  } catch (...) {
  }
  return nullptr;
}

void polyqa_profile_region_end(at::RecordFunction* region) {
  try {
    delete region;
  } catch (...) {
  }
}
}
