// A CPU allocator that allocates large tensors in a separate address range.
//
// In glibc's heap, small long-lived blocks (oneDNN's kernels, 0.25 MB each) are allocated between freed activations.
// The activations of the next batch have other sizes and do not fit into the gaps, so the heap grows for thousands of
// steps. This pool contains only large tensors, and adjacent free blocks are always merged.
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "guard.h"

namespace {
// Minimum size in bytes of tensors in the pool. Smaller tensors fit into the gaps of glibc's heap.
constexpr size_t kLarge = size_t{1} << 18;
constexpr size_t kPage = 4096;

// Best-fit allocation in one reserved address range. Touched pages stay mapped.
class Pool {
 public:
  // Reserves as much address space as the machine has memory, or none if the system rejects it.
  Pool() {
    const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (start == MAP_FAILED) return;
#ifdef MADV_HUGEPAGE
    // With small pages, translating addresses takes a considerable part of loops over large tensors: embedding 600 texts
    // took 8.8 s of processor time instead of 7.9 s on an Intel Xeon with AMX. Clearing the first large pages costs time at
    // the start.
    madvise(start, bytes, MADV_HUGEPAGE);
#endif
    start_ = static_cast<char*>(start);
    end_ = start_ + bytes;
    insert(start_, bytes);
  }

  // Allocates a block; returns null if no gap is large enough.
  char* allocate(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t rounded = (bytes + kPage - 1) / kPage * kPage;
    const auto fit = gaps_by_size_.lower_bound({rounded, nullptr});
    if (fit == gaps_by_size_.end()) return nullptr;
    const auto [size, block] = *fit;
    gaps_by_size_.erase(fit);
    gaps_.erase(block);
    if (size > rounded) insert(block + rounded, size - rounded);
    blocks_[block] = rounded;
    return block;
  }

  bool owns(const void* block) const { return block >= start_ && block < end_; }

  // Frees a block, and merges it with adjacent gaps.
  void free_block(char* block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto entry = blocks_.find(block);
    if (entry == blocks_.end()) return;
    size_t size = entry->second;
    blocks_.erase(entry);
    auto next = gaps_.lower_bound(block);
    if (next != gaps_.end() && next->first == block + size) {
      size += next->second;
      gaps_by_size_.erase({next->second, next->first});
      next = gaps_.erase(next);
    }
    if (next != gaps_.begin()) {
      const auto previous = std::prev(next);
      if (previous->first + previous->second == block) {
        block = previous->first;
        size += previous->second;
        gaps_by_size_.erase({previous->second, block});
        gaps_.erase(previous);
      }
    }
    insert(block, size);
  }

 private:
  void insert(char* gap, size_t size) {
    gaps_.emplace(gap, size);
    gaps_by_size_.emplace(size, gap);
  }

  std::mutex mutex_;
  char* start_ = nullptr;
  char* end_ = nullptr;
  std::map<char*, size_t> blocks_;
  std::map<char*, size_t> gaps_;
  std::set<std::pair<size_t, char*>> gaps_by_size_;
};

// Never destroyed: tensors may outlive static objects.
Pool& pool() {
  static auto* pool = new Pool();
  return *pool;
}

void release(void* block) {
  if (pool().owns(block)) {
    pool().free_block(static_cast<char*>(block));
  } else {
    c10::free_cpu(block);
  }
}

struct PoolAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* block = bytes >= kLarge ? pool().allocate(bytes) : nullptr;
    // Falls back to libtorch's allocator, whose errors contain the size.
    if (block == nullptr) block = c10::alloc_cpu(bytes);
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};
}  // namespace

extern "C" int polyqa_pool_large_tensors(char** error) {
  return guarded(error, [] {
    static PoolAllocator allocator;
    // The default allocator has priority 0.
    c10::SetCPUAllocator(&allocator, 1);
  });
}
