// Current and peak memory of a GPU's tensors.
#include <ATen/DeviceAccelerator.h>

#include "guard.h"

extern "C" {
int polyqa_peak_device_bytes(size_t device, int64_t* bytes, char** error) {
  return guarded(error, [&] {
    const auto stats = at::accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}

int polyqa_reset_peak_device_bytes(size_t device, int64_t* bytes, char** error) {
  return guarded(error, [&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    at::accelerator::resetPeakStats(index);
    const auto stats = at::accelerator::getDeviceStats(index);
    *bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].current;
  });
}
}
