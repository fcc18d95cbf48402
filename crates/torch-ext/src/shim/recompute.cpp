// Activation checkpointing: intermediate activations are recomputed in the backward pass instead of stored.
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <mutex>

#include "guard.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Returns a new tensor, or null and a malloc'ed message.
using Run = at::Tensor* (*)(void* body, const at::Tensor* input, char** error);
using Drop = void (*)(void* body);

// The caller's function, freed with the last graph that uses it.
struct Body : torch::CustomClassHolder {
  Run run;
  Drop drop;
  void* body;

  Body(Run run, Drop drop, void* body) : run(run), drop(drop), body(body) {}
  ~Body() override { drop(body); }

  Tensor operator()(const Tensor& input) const {
    char* error = nullptr;
    Tensor* result = run(body, &input, &error);
    if (result == nullptr) {
      const std::string message = error == nullptr ? "no message" : error;
      free(error);
      TORCH_CHECK(false, message);
    }
    Tensor out = *result;
    delete result;
    return out;
  }
};

Tensor generator_state(const at::Device& device) {
  auto generator = at::globalContext().defaultGenerator(device);
  std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_generator_state(const at::Device& device, const Tensor& state) {
  auto generator = at::globalContext().defaultGenerator(device);
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

// Restores the generator and autocast state of the first pass temporarily.
struct Replay {
  at::Device device;
  Tensor state;
  bool autocast;
  bool cached;
  at::ScalarType dtype;

  Replay(const at::Device& device, const Tensor& state, bool enabled, at::ScalarType target_dtype)
      : device(device), state(generator_state(device)),
        autocast(at::autocast::is_autocast_enabled(device.type())),
        cached(at::autocast::is_autocast_cache_enabled()),
        dtype(at::autocast::get_autocast_dtype(device.type())) {
    set_generator_state(device, state);
    at::autocast::set_autocast_dtype(device.type(), target_dtype);
    at::autocast::set_autocast_enabled(device.type(), enabled);
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::increment_nesting();
  }
  ~Replay() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device.type(), autocast);
    at::autocast::set_autocast_cache_enabled(cached);
    at::autocast::set_autocast_dtype(device.type(), dtype);
    set_generator_state(device, state);
  }
};

struct Recompute : torch::autograd::Function<Recompute> {
  static Tensor forward(AutogradContext* ctx, const Tensor& input, const c10::intrusive_ptr<Body>& body) {
    const auto device = input.device();
    ctx->saved_data["state"] = generator_state(device);
    ctx->saved_data["autocast"] = at::autocast::is_autocast_enabled(device.type());
    ctx->saved_data["dtype"] = static_cast<int64_t>(at::autocast::get_autocast_dtype(device.type()));
    ctx->saved_data["body"] = c10::IValue::make_capsule(body);
    ctx->save_for_backward({input});
    return (*body)(input);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    if (!grad_outputs[0].defined()) return variable_list(2);
    const auto input = ctx->get_saved_variables()[0].detach().requires_grad_(true);
    const auto body = c10::static_intrusive_pointer_cast<Body>(ctx->saved_data["body"].toCapsule());
    Tensor out;
    {
      const Replay replay(input.device(), ctx->saved_data["state"].toTensor(), ctx->saved_data["autocast"].toBool(),
                          static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt()));
      const at::AutoGradMode grad_mode(true);
      out = (*body)(input);
    }
    torch::autograd::backward({out}, {grad_outputs[0]});
    return {input.grad(), Tensor()};
  }
};
}  // namespace

extern "C" {
int polyqa_recompute(Run run, Drop drop, void* body, const at::Tensor* input, at::Tensor** out, char** error) {
  // Takes ownership of `body`, also in case of an error.
  auto owned = c10::make_intrusive<Body>(run, drop, body);
  return guarded(error, [&] { *out = new Tensor(Recompute::apply(*input, owned)); });
}
}
