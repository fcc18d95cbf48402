// Cross-entropy of a linear layer's outputs without the outputs: rows in chunks, gradients made on the way forward.
#include <ATen/TensorOperators.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/graph_task.h>

#include "guard.h"
#include "product.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the rows' losses become: their mean, their sum, or themselves.
enum class Reduction : int64_t { Mean = 0, Sum = 1, None = 2 };

// The largest row weight of a float16 gradient while it is stored: float16 loses numbers below 6e-8, and a column's sum
// over the rows of a chunk must stay below 65504.
constexpr double kHalfScale = 8;

// The elements of a row block that is worked on at once, so that it stays in a core's cache.
constexpr int64_t kCached = 1 << 18;

// Rows of a weight's gradient that a low-precision product makes at once.
int64_t tile_of(const Tensor& weight) { return weight.is_cpu() ? 8192 : 65536; }

struct Layer {
  Tensor hidden;   // [N, H], in the dtype of the products
  Tensor weight;   // [V, H], likewise
  Tensor bias;     // [V], in the dtype of the sums; undefined for none
  Tensor targets;  // [N], in 0..V
  double label_smoothing;
  int64_t chunk_rows;

  at::ScalarType sums() const { return sum_dtype(hidden.scalar_type()); }
  int64_t rows() const { return hidden.size(0); }
  int64_t vocabulary() const { return weight.size(0); }
};

// Gradients of a layer in the dtype of the sums, or, of a weight that one product makes, in the products'; those not asked
// for stay undefined.
struct Gradients {
  Tensor hidden, weight, bias;
};

Tensor low_precision_product(const Tensor& a, const Tensor& b) {
  auto result = at::empty({a.size(0), b.size(1)}, a.options());
  polyqa_product(result, a, b, false);
  return result;
}

// One chunk of rows: its logits, then in their place the gradient with respect to them.
class Chunk {
 public:
  Chunk(const Layer& layer, Tensor& buffer, int64_t first, int64_t count)
      : layer_(layer),
        hidden_(layer.hidden.narrow(0, first, count)),
        targets_(layer.targets.narrow(0, first, count)),
        logits_(buffer.narrow(0, 0, count)) {
    polyqa_product(logits_, hidden_, layer.weight.t(), false);
  }

  // Writes each row's loss and, where asked for, whether its target has the largest logit. Where `scale` is defined,
  // [rows, 1], leaves d loss / d logits times it in place of the logits.
  void softmax(const Tensor& losses, const Tensor& correct, const Tensor& scale) {
    const auto rows = logits_.size(0), vocabulary = layer_.vocabulary();
    const auto step = logits_.is_cpu() ? std::max<int64_t>(1, kCached / std::max<int64_t>(1, vocabulary)) : rows;
    for (int64_t first = 0; first < rows; first += step) {
      const auto count = std::min(step, rows - first);
      auto part = [&](const Tensor& t) { return t.defined() ? t.narrow(0, first, count) : t; };
      block(part(logits_), part(targets_).unsqueeze(1), part(losses), part(correct), part(scale));
    }
  }

  // Adds this chunk's share, after softmax(): the gradient of `hidden` for these rows, of the others summed.
  void add_to(Gradients& gradients, int64_t first, bool is_first, double unscale) {
    const auto sums = layer_.sums();
    if (gradients.hidden.defined()) {
      auto out = gradients.hidden.narrow(0, first, logits_.size(0));
      if (logits_.scalar_type() == sums) {
        polyqa_product(out, logits_, layer_.weight, false);
        if (unscale != 1) out.mul_(unscale);
      } else {
        out.copy_(low_precision_product(logits_, layer_.weight)).mul_(unscale);
      }
    }
    if (gradients.bias.defined()) {
      gradients.bias.add_(logits_.sum(0, false, sums), unscale);
    }
    if (!gradients.weight.defined()) return;
    if (logits_.scalar_type() == gradients.weight.scalar_type()) {
      polyqa_product(gradients.weight, logits_.t(), unscale == 1 ? hidden_ : hidden_.mul(unscale), !is_first);
      return;
    }
    const auto vocabulary = layer_.vocabulary(), tile = tile_of(layer_.weight);
    for (int64_t v = 0; v < vocabulary; v += tile) {
      const auto count = std::min(tile, vocabulary - v);
      auto out = gradients.weight.narrow(0, v, count);
      auto share = low_precision_product(logits_.narrow(1, v, count).t(), hidden_);
      if (is_first) {
        out.copy_(share);
        if (unscale != 1) out.mul_(unscale);
      } else {
        out.add_(share, unscale);
      }
    }
  }

 private:
  void block(const Tensor& stored, const Tensor& targets, const Tensor& losses, const Tensor& correct,
             const Tensor& scale) {
    const auto sums = layer_.sums();
    auto x = stored.to(sums);  // the same memory where the dtype is
    if (layer_.bias.defined()) x.add_(layer_.bias);
    if (correct.defined()) correct.copy_(x.argmax(1, true).eq(targets).squeeze(1));
    x.sub_(x.amax(1, true));
    const auto target_logit = x.gather(1, targets);
    const double smoothing = layer_.label_smoothing;
    Tensor mean_logit;
    if (smoothing > 0) mean_logit = x.sum(1, true).div_(static_cast<double>(layer_.vocabulary()));
    x.exp_();
    const auto total = x.sum(1, true);
    auto loss = total.log().sub_(target_logit, 1 - smoothing);
    if (smoothing > 0) loss.sub_(mean_logit, smoothing);
    losses.copy_(loss.squeeze(1));
    if (!scale.defined()) return;
    x.mul_(scale / total);
    x.scatter_add_(1, targets, scale.mul(smoothing - 1).expand_as(targets));
    if (smoothing > 0) x.sub_(scale.mul(smoothing / static_cast<double>(layer_.vocabulary())));
    if (stored.scalar_type() != sums) stored.copy_(x);
  }

  const Layer& layer_;
  Tensor hidden_, targets_, logits_;
};

// Runs all chunks; `scale` [N, 1] weighs the rows' gradients, undefined where none are wanted.
void run(const Layer& layer, const Tensor& losses, const Tensor& correct, const Tensor& scale, double unscale,
         Gradients* gradients) {
  const auto rows = layer.rows(), step = std::min(rows, layer.chunk_rows);
  auto buffer = at::empty({step, layer.vocabulary()}, layer.hidden.options());
  for (int64_t first = 0; first < rows; first += step) {
    const auto count = std::min(step, rows - first);
    auto part = [&](const Tensor& t) { return t.defined() ? t.narrow(0, first, count) : t; };
    Chunk chunk(layer, buffer, first, count);
    chunk.softmax(part(losses), part(correct), part(scale));
    if (gradients) chunk.add_to(*gradients, first, first == 0, unscale);
  }
}

Gradients allocate(const Layer& layer, bool hidden, bool weight, bool bias, at::ScalarType weight_dtype) {
  const auto options = layer.hidden.options().dtype(layer.sums());
  // One product sums in float32 by itself; bfloat16 has float32's range, so its result needs no more room.
  const bool direct = weight_dtype == at::kBFloat16 && layer.weight.scalar_type() == at::kBFloat16 &&
                      layer.rows() <= layer.chunk_rows;
  Gradients gradients;
  if (hidden) gradients.hidden = at::empty(layer.hidden.sizes(), options);
  if (weight) gradients.weight = at::empty(layer.weight.sizes(), direct ? layer.weight.options() : options);
  if (bias) gradients.bias = at::zeros({layer.vocabulary()}, options);
  return gradients;
}

// d loss / d row loss for each row, [N].
Tensor row_weights(const Tensor& weights, Reduction reduction, int64_t rows, const at::TensorOptions& options) {
  if (weights.defined()) return weights.to(options.dtype());
  const double share = reduction == Reduction::Mean && rows > 0 ? 1.0 / static_cast<double>(rows) : 1.0;
  return at::full({rows}, share, options);
}

Tensor to_or_undefined(const Tensor& t, at::ScalarType dtype) { return t.defined() ? t.to(dtype) : t; }

Layer layer_of(const Tensor& hidden, const Tensor& weight, const Tensor& bias, const Tensor& targets,
               at::ScalarType products, double label_smoothing, int64_t chunk_rows) {
  return {hidden.to(products).contiguous(), weight.to(products).contiguous(),
          to_or_undefined(bias, sum_dtype(products)), targets.contiguous(), label_smoothing, chunk_rows};
}

// An undefined tensor cannot stand in IValues, so absence is kept as no entry.
void store(AutogradContext* ctx, const char* name, const Tensor& t) {
  if (t.defined()) ctx->saved_data[name] = t;
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static variable_list forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& weight,
                               const std::optional<Tensor>& optional_bias, const Tensor& targets,
                               const std::optional<Tensor>& optional_weights, int64_t products_dtype,
                               double label_smoothing, int64_t chunk_rows, int64_t reduction_code, bool want_correct, bool grad_hidden,
                               bool grad_weight, bool grad_bias) {
    const auto products = static_cast<at::ScalarType>(products_dtype);
    const auto reduction = static_cast<Reduction>(reduction_code);
    const Tensor bias = optional_bias.value_or(Tensor()), weights = optional_weights.value_or(Tensor());
    const auto layer = layer_of(hidden, weight, bias, targets, products, label_smoothing, chunk_rows);
    const auto rows = layer.rows();
    const auto options = layer.hidden.options().dtype(layer.sums());
    auto losses = at::empty({rows}, options);
    Tensor correct = want_correct ? at::empty({rows}, options.dtype(at::kBool)) : Tensor();
    if (reduction == Reduction::None) {
      // How much each row's loss weighs is known in backward only: the chunks are made again there.
      run(layer, losses, correct, {}, 1, nullptr);
      ctx->save_for_backward({hidden, weight, bias, targets});
      ctx->saved_data["products"] = products_dtype;
      ctx->saved_data["label_smoothing"] = label_smoothing;
      ctx->saved_data["chunk_rows"] = chunk_rows;
    } else if (grad_hidden || grad_weight || grad_bias) {
      auto scale = row_weights(weights, reduction, rows, options).unsqueeze(1);
      double unscale = 1;
      if (products == at::kHalf && rows > 0) {
        // Stored enlarged, so that small probabilities survive; made small again in float32, after the products.
        unscale = std::max(scale.abs().max().item<double>(), 1e-30) / kHalfScale;
        scale = scale / unscale;
      }
      auto gradients = allocate(layer, grad_hidden, grad_weight, grad_bias, weight.scalar_type());
      run(layer, losses, correct, scale, unscale, &gradients);
      if (rows == 0 && gradients.weight.defined()) gradients.weight.zero_();
      store(ctx, "hidden", gradients.hidden);
      store(ctx, "weight", gradients.weight);
      store(ctx, "bias", gradients.bias);
      ctx->saved_data["dtypes"] = std::vector<int64_t>{
          static_cast<int64_t>(hidden.scalar_type()), static_cast<int64_t>(weight.scalar_type()),
          static_cast<int64_t>(bias.defined() ? bias.scalar_type() : at::kFloat)};
    } else {
      run(layer, losses, correct, {}, 1, nullptr);
    }
    ctx->saved_data["reduction"] = reduction_code;
    auto loss = reduction == Reduction::None   ? losses
                : reduction == Reduction::Mean ? losses.mean()
                : weights.defined()            ? losses.mul(weights.to(losses.scalar_type())).sum()
                                               : losses.sum();
    if (!want_correct) return {loss};
    ctx->mark_non_differentiable({correct});
    return {loss, correct};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "linear cross-entropy has no second derivative");
    variable_list result(13);
    const auto grad_output = grad_outputs[0];
    if (!grad_output.defined()) return result;
    const auto reduction = static_cast<Reduction>(ctx->saved_data["reduction"].toInt());
    if (reduction == Reduction::None) {
      recompute(ctx, grad_output, result);
      return result;
    }
    TORCH_CHECK(ctx->saved_data.count("dtypes"),
                "trying to go backward through the graph a second time: keep the graph in the first");
    const bool keep = torch::autograd::get_current_graph_task_keep_graph();
    // A loss that nothing scales has the gradient 1; asking costs a transfer on a GPU, multiplying does not.
    const bool one = grad_output.is_cpu() && grad_output.item<double>() == 1;
    const auto dtypes = ctx->saved_data["dtypes"].toIntVector();
    const char* names[] = {"hidden", "weight", "bias"};
    for (size_t i = 0; i < 3; ++i) {
      auto found = ctx->saved_data.find(names[i]);
      if (found == ctx->saved_data.end()) continue;
      auto gradient = found->second.toTensor();
      if (!keep) ctx->saved_data.erase(found);
      if (!one) gradient = keep ? gradient.mul(grad_output) : gradient.mul_(grad_output);
      result[i] = gradient.to(static_cast<at::ScalarType>(dtypes[i]));
      // The caller may add to what it gets; what is kept must not change.
      if (keep && result[i].is_same(gradient) && one) result[i] = gradient.clone();
    }
    if (!keep) ctx->saved_data.erase("dtypes");
    return result;
  }

 private:
  static void recompute(AutogradContext* ctx, const Tensor& grad_output, variable_list& result) {
    const auto saved = ctx->get_saved_variables();
    const auto products = static_cast<at::ScalarType>(ctx->saved_data["products"].toInt());
    const auto layer = layer_of(saved[0], saved[1], saved[2], saved[3], products,
                                ctx->saved_data["label_smoothing"].toDouble(), ctx->saved_data["chunk_rows"].toInt());
    const auto rows = layer.rows();
    const auto options = layer.hidden.options().dtype(layer.sums());
    auto gradients = allocate(layer, ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                              saved[2].defined() && ctx->needs_input_grad(2), saved[1].scalar_type());
    auto losses = at::empty({rows}, options);
    run(layer, losses, {}, grad_output.to(layer.sums()).unsqueeze(1), 1, &gradients);
    if (rows == 0 && gradients.weight.defined()) gradients.weight.zero_();
    result[0] = to_or_undefined(gradients.hidden, saved[0].scalar_type());
    result[1] = to_or_undefined(gradients.weight, saved[1].scalar_type());
    if (saved[2].defined()) result[2] = to_or_undefined(gradients.bias, saved[2].scalar_type());
  }
};
}  // namespace

extern "C" {
// reduction: 0 mean, 1 sum, 2 none. `bias`, `weights` (of the sum's rows) and `correct` may be null. Targets must lie
// in 0..V.
int polyqa_linear_cross_entropy(const Tensor* hidden, const Tensor* weight, const Tensor* bias, const Tensor* targets,
                                const Tensor* weights, int reduction, double label_smoothing, int64_t chunk_rows,
                                Tensor** loss, Tensor** correct, char** error) {
  return guarded(error, [&] {
    TORCH_CHECK(reduction >= 0 && reduction <= 2, "unknown reduction ", reduction);
    TORCH_CHECK(chunk_rows > 0, "chunk_rows must be at least 1, got ", chunk_rows);
    TORCH_CHECK(hidden->dim() == 2 && weight->dim() == 2 && hidden->size(1) == weight->size(1),
                "hidden must be [N, H] and weight [V, H], got ", hidden->sizes(), " and ", weight->sizes());
    TORCH_CHECK(targets->dim() == 1 && targets->size(0) == hidden->size(0) && targets->scalar_type() == at::kLong,
                "targets must be [N] of 64-bit integers");
    // An absent tensor is no input of the autograd function; an undefined one would be, and has no device.
    const auto b = bias ? std::make_optional(*bias) : std::nullopt;
    const auto w = weights ? std::make_optional(weights->detach()) : std::nullopt;
    TORCH_CHECK(!w || (reduction == 1 && w->sizes() == targets->sizes()), "weights must be [N], for a sum");
    TORCH_CHECK(!b || (b->dim() == 1 && b->size(0) == weight->size(0)), "bias must be [V], got ", b->sizes());
    const auto device = hidden->device().type();
    const bool autocast = at::autocast::is_autocast_enabled(device) && hidden->scalar_type() != at::kDouble;
    const auto products = autocast ? at::autocast::get_autocast_dtype(device) : hidden->scalar_type();
    TORCH_CHECK(autocast || weight->scalar_type() == products, "weight must have hidden's dtype ", products, ", got ",
                weight->scalar_type());
    const bool grad = at::GradMode::is_enabled();
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    auto out = LinearCrossEntropy::apply(*hidden, *weight, b, *targets, w, static_cast<int64_t>(products),
                                         label_smoothing, chunk_rows, static_cast<int64_t>(reduction),
                                         correct != nullptr, grad && hidden->requires_grad(),
                                         grad && weight->requires_grad(), grad && b && b->requires_grad());
    *loss = new Tensor(out[0]);
    if (correct) *correct = new Tensor(out[1]);
  });
}
}
