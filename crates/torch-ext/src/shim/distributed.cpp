// Collective operations: c10d's Gloo backend with a TCP store, without Python or a dispatcher, and optionally NCCL for
// GPU tensors.
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <stdexcept>

#include "guard.h"

namespace {
struct Group {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> backend;
  // Empty without NCCL.
  c10::intrusive_ptr<c10d::Backend> gpu_backend;

  // The backend for tensors on the device of `tensor`.
  c10d::Backend& backend_for(const at::Tensor& tensor) {
    return tensor.is_cuda() && gpu_backend ? *gpu_backend : *backend;
  }
};

bool is_loopback(const std::string& host) { return host == "localhost" || host.rfind("127.", 0) == 0 || host == "::1"; }

auto gloo_device(const std::string& host, const char* interface_name) {
  using Gloo = c10d::ProcessGroupGloo;
  if (interface_name != nullptr && *interface_name != 0) return Gloo::createDeviceForInterface(interface_name);
  // Not every machine can resolve its own host name.
  return is_loopback(host) ? Gloo::createDeviceForHostname("127.0.0.1") : Gloo::createDefaultDevice();
}
}  // namespace

extern "C" {
// Connects to the other ranks at host:port within `connect_timeout_ms`. If `listens`, this process listens on the port;
// if `launcher_listens`, a launcher listens. Later operations have a timeout of `timeout_ms`. `prefix` distinguishes
// groups that use the same store.
int polyqa_group_connect(const char* host, uint16_t port, bool listens, bool launcher_listens, int rank, int size,
                         int64_t connect_timeout_ms, int64_t timeout_ms, const char* prefix,
                         const char* interface_name, Group** out, char** error) {
  return guarded(error, [&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = listens;
    options.numWorkers = size;
    options.timeout = std::chrono::milliseconds(connect_timeout_ms);
    // A launcher's store does not count workers.
    options.waitWorkers = !launcher_listens;
    c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::TCPStore>(std::string(host), options);
    auto settings = c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(timeout_ms));
    settings->devices.push_back(gloo_device(host, interface_name));
    auto prefix_store = c10::make_intrusive<c10d::PrefixStore>(std::string(prefix), store);
    c10::intrusive_ptr<c10d::Backend> backend =
        c10::make_intrusive<c10d::ProcessGroupGloo>(std::move(prefix_store), rank, size, std::move(settings));
    *out = new Group{std::move(store), std::move(backend), {}};
  });
}

// Whether polyqa_group_add_nccl can succeed.
bool polyqa_nccl_is_built() {
#ifdef USE_C10D_NCCL
  return true;
#else
  return false;
#endif
}

// Uses NCCL for tensors on this rank's GPU `device`. All ranks must call this function, and the ranks of a machine
// must use different GPUs.
int polyqa_group_add_nccl(Group* group, int device, int64_t timeout_ms, const char* prefix, char** error) {
  return guarded(error, [&] {
#ifdef USE_C10D_NCCL
    auto settings = c10d::ProcessGroupNCCL::Options::create();
    settings->timeout = std::chrono::milliseconds(timeout_ms);
    auto prefix_store = c10::make_intrusive<c10d::PrefixStore>(std::string(prefix) + "-nccl", group->store);
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(std::move(prefix_store), group->backend->getRank(),
                                                            group->backend->getSize(), std::move(settings));
    nccl->setBoundDeviceId(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
    group->gpu_backend = std::move(nccl);
#else
    throw std::runtime_error("this program was built without the feature `nccl`, or without the headers of NCCL");
#endif
  });
}

// Sends entry k of `sent` to rank k mod size, and receives entry k of `received` from the same rank. Entries for the
// calling rank and empty entries are skipped.
int polyqa_group_exchange(Group* group, at::Tensor* const* sent, at::Tensor* const* received, size_t count,
                          char** error) {
  return guarded(error, [&] {
    const auto size = static_cast<size_t>(group->backend->getSize());
    const auto own_rank = static_cast<size_t>(group->backend->getRank());
    std::vector<at::Tensor> out, in;
    for (size_t k = 0; k < count; ++k) {
      TORCH_CHECK(sent[k]->is_contiguous() && received[k]->is_contiguous(), "exchanged tensors must be contiguous, entry ",
                  k, " is not");
      out.push_back(k % size == own_rank ? sent[k]->new_empty({0}) : *sent[k]);
      in.push_back(k % size == own_rank ? received[k]->new_empty({0}) : *received[k]);
    }
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    if (count > 0 && &group->backend_for(out[0]) != group->backend.get()) {
      for (size_t k = 0; k < count; k += size) {
        std::vector<at::Tensor> from(in.begin() + k, in.begin() + k + size), to(out.begin() + k, out.begin() + k + size);
        works.push_back(group->gpu_backend->alltoall(from, to, c10d::AllToAllOptions{}));
      }
    } else {
      for (size_t k = 0; k < count; ++k) {
        const auto rank = static_cast<int>(k % size);
        std::vector<at::Tensor> from{in[k]}, to{out[k]};
        if (from[0].numel() > 0) works.push_back(group->backend->recv(from, rank, 0));
        if (to[0].numel() > 0) works.push_back(group->backend->send(to, rank, 0));
      }
    }
    for (const auto& work : works) work->wait();
  });
}

int polyqa_group_broadcast(Group* group, const at::Tensor* tensor, int root, char** error) {
  return guarded(error, [&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    group->backend_for(*tensor).broadcast(tensors, options)->wait();
  });
}

// The tensors of all ranks, stacked in a new first dimension.
int polyqa_group_all_gather(Group* group, const at::Tensor* tensor, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    std::vector<at::Tensor> inputs{tensor->contiguous()};
    std::vector<std::vector<at::Tensor>> outputs(1);
    for (int rank = 0; rank < group->backend->getSize(); ++rank) outputs[0].push_back(at::empty_like(inputs[0]));
    group->backend->allgather(outputs, inputs)->wait();
    *out = new at::Tensor(at::stack(outputs[0]));
  });
}

void polyqa_group_free(Group* group) { delete group; }
}
