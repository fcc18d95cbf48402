// A CPU allocator that gives large tensors address space of their own.
//
// In glibc's heap, a small block that outlives a step (oneDNN's kernels, 0.25 MB each) takes a place among the freed
// activations of that step. The next batch, of another length, finds no gap of its size, and the heap grows for
// thousands of steps. Here freed neighbours always merge, since large tensors are all that there is.
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
// Smaller tensors stay in glibc's heap. They take so little that its gaps serve them.
constexpr size_t kLarge = size_t{1} << 18;
constexpr size_t kPage = 4096;

// Blocks of one reserved range of addresses, by best fit. Pages that a block touched stay with the process.
class Pool {
 public:
  // As much address space as the machine has memory; none where the system refuses it.
  Pool() {
    const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (start == MAP_FAILED) return;
    start_ = static_cast<char*>(start);
    end_ = start_ + bytes;
    insert(start_, bytes);
  }

  // Null where no gap is large enough.
  char* get(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t rounded = (bytes + kPage - 1) / kPage * kPage;
    const auto fit = by_size_.lower_bound({rounded, nullptr});
    if (fit == by_size_.end()) return nullptr;
    const auto [size, block] = *fit;
    by_size_.erase(fit);
    gaps_.erase(block);
    if (size > rounded) insert(block + rounded, size - rounded);
    blocks_[block] = rounded;
    return block;
  }

  bool owns(const void* block) const { return block >= start_ && block < end_; }

  void put(char* block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = blocks_.find(block);
    if (found == blocks_.end()) return;
    size_t size = found->second;
    blocks_.erase(found);
    auto next = gaps_.lower_bound(block);
    if (next != gaps_.end() && next->first == block + size) {
      size += next->second;
      by_size_.erase({next->second, next->first});
      next = gaps_.erase(next);
    }
    if (next != gaps_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == block) {
        block = before->first;
        size += before->second;
        by_size_.erase({before->second, block});
        gaps_.erase(before);
      }
    }
    insert(block, size);
  }

 private:
  void insert(char* gap, size_t size) {
    gaps_.emplace(gap, size);
    by_size_.emplace(size, gap);
  }

  std::mutex mutex_;
  char* start_ = nullptr;
  char* end_ = nullptr;
  std::map<char*, size_t> blocks_;
  std::map<char*, size_t> gaps_;
  std::set<std::pair<size_t, char*>> by_size_;
};

// Never destroyed: tensors may outlive static objects.
Pool& pool() {
  static auto* pool = new Pool();
  return *pool;
}

void release(void* block) {
  if (pool().owns(block)) {
    pool().put(static_cast<char*>(block));
  } else {
    c10::free_cpu(block);
  }
}

struct PoolAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* block = bytes >= kLarge ? pool().get(bytes) : nullptr;
    // libtorch's own, whose errors name the size.
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
    // Above the default's priority, 0.
    c10::SetCPUAllocator(&allocator, 1);
  });
}
