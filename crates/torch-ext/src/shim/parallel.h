// Parallel loops on libtorch's threads.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/arange.h>

#include <algorithm>
#include <atomic>

// Calls body(row) for every row in 0..rows, with at least `grain` rows per thread. The loop is a function of libtorch,
// because a second OpenMP runtime would not share libtorch's threads.
template <class Body>
void parallel_rows(int64_t rows, int64_t grain, const Body& body) {
  if (rows <= 0) return;
  at::Tensor numbers = at::arange(rows, at::TensorOptions(at::kLong));
  auto iterator = at::TensorIterator::borrowing_nullary_op(numbers);
  iterator.for_each(
      [&body](char** data, const int64_t* strides, int64_t count) {
        for (int64_t i = 0; i < count; ++i) body(*reinterpret_cast<const int64_t*>(data[0] + i * strides[0]));
      },
      std::max<int64_t>(grain, 1));
}

// Calls body(task) for every task in 0..tasks. Use this function for long tasks: scheduling is dynamic, so that a
// thread on a busy core does not delay the other threads.
template <class Body>
void parallel_tasks(int64_t tasks, const Body& body) {
  std::atomic<int64_t> next{0};
  parallel_rows(std::min<int64_t>(tasks, at::get_num_threads()), 1, [&](int64_t) {
    for (auto task = next++; task < tasks; task = next++) body(task);
  });
}
