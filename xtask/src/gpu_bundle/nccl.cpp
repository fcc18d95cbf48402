// Checks a process group of one process over NCCL: loads NCCL, creates the group, broadcasts, exchanges and sums tensors, and
// destroys the group.
#include "distributed.cpp"

#include <ATen/ATen.h>

#include <iostream>

namespace {
void check(int code, char* error, const char* what) {
  if (code != 0) throw std::runtime_error(std::string(what) + ": " + error);
}
}  // namespace

int main() {
  try {
    char* error = nullptr;
    Group* group = nullptr;
    check(polyqa_group_connect("127.0.0.1", 29511, true, false, 0, 1, 30000, 30000, "check", nullptr, &group, &error), error,
          "connect");
    check(polyqa_group_add_nccl(group, 0, 30000, "check", &error), error, "add_nccl");
    const auto options = at::TensorOptions().device(at::kCUDA, 0);
    at::Tensor values = at::arange(1000, options.dtype(at::kFloat));
    const at::Tensor expected = values.clone();
    check(polyqa_group_broadcast(group, &values, 0, &error), error, "broadcast");
    at::Tensor into = at::empty({0}, options);
    const at::Tensor* sent[] = {&values};
    const at::Tensor* received[] = {&into};
    check(polyqa_group_exchange(group, const_cast<at::Tensor* const*>(sent), const_cast<at::Tensor* const*>(received), 1, &error), error,
          "exchange");
    std::vector<at::Tensor> summed{values};
    group->gpu->allreduce(summed)->wait();
    if (!at::equal(values, expected)) throw std::runtime_error("a sum over one process changed the values");
    polyqa_group_free(group);
    std::cout << "broadcast, exchange and sum over one process, freed" << std::endl;
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
