// Declarations of the Gloo types that the header of c10d's Gloo backend uses. The wheel contains Gloo's code, inside
// libtorch_cpu, but not its headers. Our code neither creates nor accesses these types, and no c10d class that we use
// contains them by value, so their layout does not matter.
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
// Base class of c10d's GlooStore, with the virtual functions in Gloo's order.
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
