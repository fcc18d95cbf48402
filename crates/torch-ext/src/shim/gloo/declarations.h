// What the header of c10d's Gloo backend names of Gloo, declared and no more: the wheel has the code, inside
// libtorch_cpu, but not Gloo's headers. Nothing here is ever made or looked into by us, and no class of c10d that we use
// holds one of these by value, so layouts cannot disagree.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class Device;
class UnboundBuffer;
}  // namespace transport

namespace rendezvous {
// The base of c10d's GlooStore: its virtual functions, in Gloo's order.
class Store {
 public:
  virtual ~Store();
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};
}  // namespace rendezvous
}  // namespace gloo
