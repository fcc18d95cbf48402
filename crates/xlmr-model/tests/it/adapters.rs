//! Tests of LoRA and bottlenecks in every architecture: outputs, unchanged parameters and training.
use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use testkit::{assert_close, assert_contains, max_abs_error};
use torch_ext::Precision;
use xlmr_model::{
    Activation, Architecture, BottleneckConfig, Config, DebertaV2, DistilBert, Electra, EuroBert,
    FusionConfig, Head, Inputs, LoraConfig, LoraTarget, Model, ModernBert, MpNet, RemBert, Role,
    encode_fused,
};

use crate::common::{self, ids, lock_generator, parameters, small_config};

pub const ALL_TARGETS: [LoraTarget; 6] = [
    LoraTarget::Query,
    LoraTarget::Key,
    LoraTarget::Value,
    LoraTarget::AttentionOutput,
    LoraTarget::Intermediate,
    LoraTarget::Output,
];

pub fn lora(targets: &[LoraTarget]) -> LoraConfig {
    LoraConfig { rank: 3, alpha: 4.5, dropout: 0.0, targets: targets.iter().copied().collect() }
}

/// Returns one configuration per architecture, with the sizes of `base`.
fn architectures(base: &Config) -> Vec<Config> {
    let deberta = DebertaV2 { position_buckets: 8, ..DebertaV2::v3() };
    [
        Architecture::XlmRoberta,
        Architecture::Bert,
        Architecture::ModernBert(ModernBert { local_attention: 6, ..ModernBert::new(2) }),
        Architecture::EuroBert(EuroBert { num_key_value_heads: Some(2), ..EuroBert::default() }),
        Architecture::DebertaV2(deberta),
        Architecture::Data2VecText,
        Architecture::DistilBert(DistilBert { qa_dropout: 0.0, ..DistilBert::default() }),
        Architecture::Electra(Electra { embedding_size: 12 }),
        Architecture::RemBert(RemBert { input_embedding_size: 12, output_embedding_size: 20 }),
        Architecture::XlmRobertaXl,
        Architecture::MpNet(MpNet::default()),
    ]
    .map(|architecture| {
        let has_fixed_eps = matches!(architecture, Architecture::DistilBert(_));
        let layer_norm_eps = if has_fixed_eps { 1e-12 } else { base.layer_norm_eps };
        let tie_word_embeddings = !matches!(architecture, Architecture::RemBert(_));
        Config {
            architecture,
            pad_token_id: 1,
            layer_norm_eps,
            tie_word_embeddings,
            ..base.clone()
        }
    })
    .into()
}

/// Returns small configurations with 2 layers, without dropout.
pub fn small_configs() -> Vec<Config> {
    architectures(&Config {
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..small_config()
    })
}

pub fn new_model(config: &Config) -> Model {
    Model::new(config, &[Head::Span], Device::Cpu, 3).unwrap()
}

/// Adds noise to an adapter's parameters.
pub fn perturb(model: &Model, adapter: &str) {
    perturb_by(model, adapter, 1.2);
}

fn perturb_by(model: &Model, adapter: &str, size: f64) {
    for (name, parameter) in model.named_parameters() {
        let prefixes = ["adapters", "adapter_fusion"].map(|kind| format!("{kind}.{adapter}."));
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            let count = parameter.numel() as i64;
            let noise = Tensor::arange(count, (Kind::Float, Device::Cpu)) * 1.7;
            let amplitude = size / (*parameter.size().iter().max().unwrap() as f64).sqrt();
            let noise = (noise + adapter.len() as f64).sin() * amplitude;
            let noise = noise.view(&parameter.size()[..]);
            let _ = parameter.detach().f_add_(&noise).unwrap();
        }
    }
}

pub fn encode(model: &Model) -> Tensor {
    model.encode(&Inputs::new(ids(3, 9)), false).unwrap()
}

#[test]
fn inactive_and_new_adapters_do_not_change_results() {
    for config in small_configs() {
        let mut model = new_model(&config);
        let base_states = encode(&model);
        model.add_lora("one", &lora(&ALL_TARGETS), 1).unwrap();
        assert!(encode(&model).equal(&base_states));
        model.set_active_adapters(&["one"]).unwrap();
        assert!(encode(&model).equal(&base_states), "B is zero");
        perturb(&model, "one");
        assert!(max_abs_error(&encode(&model), &base_states) > 1e-2);
        model.add_bottleneck("behind", &BOTTLENECK, 1).unwrap();
        model.set_active_adapters(&["behind"]).unwrap();
        let initial_difference = max_abs_error(&encode(&model), &base_states);
        assert!(initial_difference > 0.0 && initial_difference < 0.05, "{initial_difference}");
        model.set_active_adapters(&[]).unwrap();
        assert!(encode(&model).equal(&base_states));
    }
}

#[test]
fn merged_loras_change_only_the_weights_of_their_targets() {
    for config in small_configs() {
        let is_modern = matches!(config.architecture, Architecture::ModernBert(_));
        let mut targets: Vec<&[LoraTarget]> = ALL_TARGETS.chunks(1).collect();
        if is_modern {
            targets.splice(..3, [&ALL_TARGETS[..3]]);
        }
        for targets in targets {
            let mut model = new_model(&config);
            let base_parameters: BTreeMap<String, Tensor> =
                model.named_parameters().into_iter().map(|(name, t)| (name, t.copy())).collect();
            for name in ["one", "second"] {
                model.add_lora(name, &lora(targets), 1).unwrap();
                perturb(&model, name);
            }
            model.set_active_adapters(&["second", "one"]).unwrap();
            let adapter_parameters = parameters(&model);
            let reference = encode(&model);
            assert!(max_abs_error(&reference, &encode(&new_model(&config))) > 1e-3, "{targets:?}");
            model.merge("one").unwrap();
            assert_eq!(model.active_adapters(), ["second"]);
            assert_close("one merged", &encode(&model), &reference, 1e-5);
            model.merge("second").unwrap();
            assert_close("both merged", &encode(&model), &reference, 1e-5);
            // Merging changes only the weights of this target's linear layers, by (α / r) B A for
            // each LoRA.
            let (mut n_changed, mut n_unchanged) = (0, 0);
            for (name, tensor) in model.named_parameters() {
                let linear_name = name.trim_end_matches(".weight");
                let mut expected = base_parameters[&name].to_kind(Kind::Double);
                for adapter in ["one", "second"] {
                    let get = |part: &str| {
                        let name = format!("adapters.{adapter}.{linear_name}.lora_{part}.weight");
                        adapter_parameters.get(&name).map(|tensor| tensor.to_kind(Kind::Double))
                    };
                    if let (Some(a), Some(b)) = (get("A"), get("B")) {
                        expected += b.matmul(&a) * 4.5 / 3.0;
                        n_changed += 1;
                    } else {
                        n_unchanged += 1;
                        assert!(tensor.equal(&base_parameters[&name]), "{name}");
                    }
                }
                assert!(max_abs_error(&tensor, &expected) < 1e-6, "{name}");
            }
            assert_eq!(n_changed + n_unchanged, 2 * base_parameters.len());
            let is_euro = matches!(config.architecture, Architecture::EuroBert(_));
            let n_layers = if is_euro && targets == [LoraTarget::Intermediate] { 2 } else { 1 };
            assert_eq!(n_changed, 2 * 2 * n_layers, "{targets:?}");
        }
    }
}

pub const BOTTLENECK: BottleneckConfig =
    BottleneckConfig { reduction: 4, activation: Activation::Gelu };

#[test]
fn initial_values_have_pefts_distribution_by_seed_and_name() {
    let config = Config { hidden_size: 64, ..small_config() };
    let initial_values = |adapter: &str, seed: u64| {
        let mut model = new_model(&config);
        model.add_lora(adapter, &lora(&ALL_TARGETS[..1]), seed).unwrap();
        let is_adapter = |(name, _): &(String, Tensor)| name.starts_with("adapters.");
        let named: Vec<_> = model.named_parameters().into_iter().filter(is_adapter).collect();
        assert_eq!(named.len(), 4);
        assert!(named[0].0.ends_with("layer.0.attention.self.query.lora_A.weight"));
        assert!(named.iter().all(|(_, tensor)| tensor.requires_grad() && tensor.is_leaf()));
        assert_eq!(named[1].1.abs().max().double_value(&[]), 0.0);
        named[0].1.copy()
    };
    let values = initial_values("one", 1);
    assert_eq!(values.size(), [3, 64]);
    // The distribution is uniform between -1 / √64 and 1 / √64, so its standard deviation is 1 /
    // √(3 · 64).
    let (max_value, std) =
        (values.abs().max().double_value(&[]), values.std(false).double_value(&[]));
    assert!(max_value <= 0.125 && max_value > 0.12, "{max_value}");
    assert!((std - 0.0722).abs() < 0.01, "{std}");
    assert!(values.mean(Kind::Float).double_value(&[]).abs() < 0.02);
    assert_eq!(values, initial_values("one", 1));
    assert_ne!(values, initial_values("one", 2));
    assert_ne!(values, initial_values("other", 1));
}

#[test]
fn invalid_names_and_sizes_are_rejected() {
    let mut model = new_model(&small_config());
    model.add_lora("one", &LoraConfig::default(), 1).unwrap();
    model.set_active_adapters(&["one"]).unwrap();
    let assert_error = |result: xlmr_model::Result<()>, parts: &[&str]| {
        assert_contains(&result.unwrap_err().to_string(), parts);
    };
    assert_error(model.add_lora("one", &LoraConfig::default(), 1), &["a new name", "one"]);
    for name in ["", "a.b", "a/b", "ä", "__proto__.x"] {
        assert_error(model.add_lora(name, &LoraConfig::default(), 1), &["ASCII letters"]);
    }
    assert_error(model.set_active_adapters(&["one", "two"]), &["one of [one]", "two"]);
    assert_error(model.set_active_adapters(&["one", "one"]), &["once"]);
    assert_error(model.merge("two"), &["one of [one]", "two"]);
    assert_eq!(model.active_adapters(), ["one"]);
    let default_config = LoraConfig::default;
    for (config, key) in [
        (LoraConfig { rank: 0, ..default_config() }, "`r`"),
        (LoraConfig { rank: 1 << 40, ..default_config() }, "`r`"),
        (LoraConfig { alpha: f64::NAN, ..default_config() }, "`lora_alpha`"),
        (LoraConfig { alpha: 0.0, ..default_config() }, "`lora_alpha`"),
        (LoraConfig { dropout: 1.0, ..default_config() }, "`lora_dropout`"),
        (LoraConfig { targets: [].into(), ..default_config() }, "`target_modules`"),
    ] {
        assert_error(model.add_lora("two", &config, 1), &[key]);
    }
    for name in ["two", "three"] {
        model.add_bottleneck(name, &BOTTLENECK, 1).unwrap();
    }
    model.set_active_adapters(&["one", "two"]).unwrap();
    assert_error(
        model.set_active_adapters(&["three", "one", "two"]),
        &["one bottleneck", "three and two"],
    );
    assert_error(model.merge("two"), &["a LoRA", "two"]);
    assert_eq!(model.active_adapters(), ["one", "two"]);
    let zero_reduction = BottleneckConfig { reduction: 0, ..BOTTLENECK };
    assert_error(model.add_bottleneck("four", &zero_reduction, 1), &["`reduction_factor`"]);
    let mut modern = new_model(&small_configs()[2]);
    assert_error(modern.add_lora("one", &lora(&ALL_TARGETS[1..]), 1), &["attn.Wqkv", "Query"]);
}

/// Computes the loss of a pass over rows of different lengths.
fn compute_loss(model: &Model, train: bool) -> Tensor {
    let rows: [&[u32]; 3] = [&[0, 7, 8, 9, 10, 11, 2], &[0, 9, 2], &[0, 30, 31, 32, 2]];
    let inputs = Inputs::from_rows(&rows, 1).unwrap();
    tch::manual_seed(4);
    let hidden = model.encode(&inputs, train).unwrap();
    let (start, end) = model.span_logits(&hidden, train).unwrap();
    let mask = inputs.attention_mask.unwrap();
    ((start + end * 2.0) * mask).square().sum(Kind::Double)
}

/// Returns the loss of [`compute_loss`], and the gradients of all parameters that receive a
/// gradient.
pub fn loss_and_gradients(model: &Model, train: bool) -> (f64, BTreeMap<String, Tensor>) {
    let loss = compute_loss(model, train);
    (loss.double_value(&[]), common::gradients(model, &loss))
}

/// Returns configurations with the minimum hidden size for packing in training.
fn wide_configs(dropout: f64) -> Vec<Config> {
    architectures(&Config {
        hidden_size: 256,
        intermediate_size: 80,
        initializer_range: 0.05,
        hidden_dropout_prob: dropout,
        attention_probs_dropout_prob: dropout,
        ..small_config()
    })
}

fn assert_near(actual: &BTreeMap<String, Tensor>, expected: &BTreeMap<String, Tensor>, bound: f64) {
    for (name, actual) in actual {
        let size = expected[name].abs().max().double_value(&[]);
        // Very small gradients are rounding errors, for example of a fusion's key biases, which
        // shift all scores equally. They are compared with an absolute bound.
        let scale = if size < 1e-4 { 1.0 } else { 1e-3 + size };
        let relative_error = max_abs_error(actual, &expected[name]) / scale;
        assert!(relative_error < bound, "{name}: {relative_error}");
    }
}

/// Returns each configuration twice: with false for one active bottleneck, and with true for a
/// fusion.
fn fusion_variants(configs: Vec<Config>) -> impl Iterator<Item = (Config, bool)> {
    configs.into_iter().flat_map(|config| [(config.clone(), false), (config, true)])
}

fn is_adapter_parameter(name: &str) -> bool {
    Role::Adapters.matches(name) || Role::AdapterFusion.matches(name)
}

/// Creates a model with two active LoRAs and, depending on `with_fusion`, an active fusion of two
/// bottlenecks or one active bottleneck. `dropout` is the dropout of the LoRAs.
fn adapted_model(config: &Config, dropout: f64, with_fusion: bool) -> Model {
    let mut model = new_model(config);
    for name in ["one", "second"] {
        model.add_lora(name, &LoraConfig { dropout, ..lora(&ALL_TARGETS) }, 1).unwrap();
        perturb(&model, name);
    }
    for name in ["behind", "other"] {
        model.add_bottleneck(name, &BOTTLENECK, 1).unwrap();
        perturb(&model, name);
    }
    if with_fusion {
        model.add_adapter_fusion(&["behind", "other"], 1).unwrap();
        // A fusion's scores are not scaled by the hidden size. The perturbation is smaller in wide
        // layers, because large scores would select a single bottleneck.
        perturb_by(&model, "behind,other", 24.0 / config.hidden_size as f64);
    }
    let fusion_name = if with_fusion { "behind,other" } else { "behind" };
    model.set_active_adapters(&["one", "second", fusion_name]).unwrap();
    model
}

#[test]
fn freezing_the_encoder_does_not_change_adapter_gradients() {
    let _guard = lock_generator();
    for (config, with_fusion) in fusion_variants(wide_configs(0.1)) {
        let trainable_model = adapted_model(&config, 0.2, with_fusion);
        let (loss, reference) = loss_and_gradients(&trainable_model, true);
        for recompute in [false, true] {
            let mut frozen_model = adapted_model(&config, 0.2, with_fusion);
            frozen_model.freeze_encoder().unwrap();
            frozen_model.set_recompute(recompute);
            frozen_model.add_lora("idle", &lora(&ALL_TARGETS), 1).unwrap();
            frozen_model.add_bottleneck("idle-behind", &BOTTLENECK, 1).unwrap();
            let (actual_loss, actual) = loss_and_gradients(&frozen_model, true);
            assert!((actual_loss - loss).abs() < 1e-4 * loss, "{actual_loss} {loss}");
            assert!(
                actual.keys().all(|name| !Role::Encoder.matches(name) && !name.contains("idle"))
            );
            let count_adapters = |gradients: &BTreeMap<String, Tensor>| {
                gradients.keys().filter(|name| is_adapter_parameter(name)).count()
            };
            assert_eq!(count_adapters(&actual), count_adapters(&reference));
            assert_near(&actual, &reference, 1e-4);
        }
    }
}

#[test]
fn packed_and_padded_rows_have_equal_gradients_with_dropout() {
    let _guard = lock_generator();
    for (config, with_fusion) in fusion_variants([wide_configs(0.0), wide_configs(0.3)].concat()) {
        let (packed_model, mut float64_model) =
            (adapted_model(&config, 0.3, with_fusion), adapted_model(&config, 0.3, with_fusion));
        float64_model.set_kind(Kind::Double).unwrap(); // not packed
        let ((_, actual), (_, reference)) =
            (loss_and_gradients(&packed_model, true), loss_and_gradients(&float64_model, true));
        assert_near(&actual, &reference, 1e-3);
        let (_, other) = loss_and_gradients(&adapted_model(&config, 0.0, with_fusion), true);
        let name = actual.keys().find(|name| name.ends_with("lora_A.weight")).unwrap();
        assert!(max_abs_error(&actual[name], &other[name]) > 1e-3, "dropout");
        // A key bias shifts all scores of a fusion equally, so it has a gradient only if dropout
        // sets some scores to zero.
        for (name, gradient) in
            actual.iter().filter(|(name, _)| name.contains(",other.") && name.ends_with("key.bias"))
        {
            let (has_dropout, size) = (config.hidden_dropout_prob > 0.0, gradient.abs().max());
            assert_eq!(size.double_value(&[]) > 1e-4, has_dropout, "{name}");
        }
    }
}

#[test]
fn half_precision_is_close_to_float32_with_a_frozen_encoder() {
    let _guard = lock_generator();
    for (config, with_fusion) in fusion_variants(wide_configs(0.0)) {
        let float32_model = adapted_model(&config, 0.0, with_fusion);
        let (expected_loss, reference) = loss_and_gradients(&float32_model, true);
        for recompute in [false, true] {
            let mut model = adapted_model(&config, 0.0, with_fusion);
            model.freeze_encoder().unwrap();
            model.set_precision(Precision::Bf16).unwrap();
            model.set_recompute(recompute);
            let (loss, actual) = loss_and_gradients(&model, true);
            assert!((loss - expected_loss).abs() < 0.1 * expected_loss, "{loss} {expected_loss}");
            assert_ne!(loss, expected_loss);
            for (name, actual) in actual.iter().filter(|(name, _)| is_adapter_parameter(name)) {
                assert_eq!(actual.kind(), Kind::Float);
                // A key bias shifts all scores equally, so its gradient is a rounding error.
                if name.ends_with(".key.bias") && Role::AdapterFusion.matches(name) {
                    continue;
                }
                let scale = reference[name].abs().max().double_value(&[]) + 1e-3;
                let relative_error = max_abs_error(actual, &reference[name]) / scale;
                // Gradients of a fusion's scores are differences of rounded values, so their
                // relative error is larger than other gradients' error.
                let bound = if Role::AdapterFusion.matches(name) { 0.3 } else { 0.15 };
                assert!(relative_error < bound, "{name}: {relative_error}");
            }
        }
    }
}

#[test]
fn gradients_equal_difference_quotients() {
    let _guard = lock_generator();
    for (config, with_fusion) in fusion_variants(small_configs()) {
        let mut model = adapted_model(&config, 0.0, with_fusion);
        model.set_kind(Kind::Double).unwrap();
        assert_eq!(model.active_adapters()[..2], ["one", "second"]);
        let (_, gradients) = loss_and_gradients(&model, false);
        let parameters = parameters(&model);
        let (mut n_checked, step) = (0, 1e-5);
        for (name, gradient) in gradients.iter().filter(|(name, _)| is_adapter_parameter(name)) {
            let index = gradient.abs().flatten(0, -1).argmax(0, false).int64_value(&[]);
            let add = |by: f64| {
                let _ = parameters[name].detach().flatten(0, -1).get(index).f_add_scalar_(by);
            };
            let loss_after_adding = |by: f64| {
                add(by);
                tch::no_grad(|| compute_loss(&model, false)).double_value(&[])
            };
            let loss_above = loss_after_adding(step);
            let loss_below = loss_after_adding(-2.0 * step);
            add(step);
            let quotient = (loss_above - loss_below) / (2.0 * step);
            let value = gradient.flatten(0, -1).get(index).double_value(&[]);
            assert!(
                (value - quotient).abs() < 1e-5 * (1.0 + quotient.abs()),
                "{name}: {value} {quotient}"
            );
            n_checked += 1;
        }
        // Each of the two layers has A and B of two LoRAs in at least four linear layers, four
        // tensors per bottleneck, and five tensors of a fusion.
        let n_output_tensors = if with_fusion { 2 * 4 + 5 } else { 4 };
        assert!(n_checked >= 2 * (2 * 2 * 4 + n_output_tensors), "{n_checked}");
    }
}

#[test]
fn adapters_apply_to_joint_encoding_of_two_texts() {
    for config in small_configs() {
        let mut model = new_model(&config);
        let texts = || (Inputs::new(ids(3, 9)), Inputs::new(ids(3, 5) + 3));
        let encode_texts = |model: &Model| {
            let (target, source) = texts();
            let fusion = FusionConfig { local: 0, cross: 1 };
            let (target, source) = encode_fused(model, &target, &source, &fusion, false).unwrap();
            Tensor::cat(&[target, source], 1)
        };
        let base_states = encode_texts(&model);
        model.add_lora("one", &lora(&ALL_TARGETS), 1).unwrap();
        model.add_bottleneck("deep", &BOTTLENECK, 1).unwrap();
        perturb(&model, "one");
        perturb(&model, "deep");
        let mut earlier_states = vec![base_states];
        for active in [&["one"][..], &["deep"], &["one", "deep"]] {
            model.set_active_adapters(active).unwrap();
            let current = encode_texts(&model);
            for earlier in &earlier_states {
                assert!(max_abs_error(&current, earlier) > 1e-3, "{active:?}");
            }
            earlier_states.push(current);
        }
        // The merged LoRA is part of the weights, so the outputs equal the outputs with LoRA and
        // bottleneck active.
        model.merge("one").unwrap();
        assert_eq!(model.active_adapters(), ["deep"]);
        assert_close("merged", &encode_texts(&model), &earlier_states[3], 1e-4);
        // Every adapter parameter receives a gradient, in layers that encode the texts separately
        // or together.
        for (name, parameter) in model.named_parameters() {
            let is_adapter = name.starts_with("adapters.");
            let _ = parameter.set_requires_grad(is_adapter);
        }
        let states = encode_texts(&model);
        let weights = Tensor::arange(states.numel() as i64, (Kind::Float, Device::Cpu)).sin();
        (states * weights.view([3, 14, 16])).sum(Kind::Float).backward();
        for (name, parameter) in model.named_parameters() {
            let grad = parameter.grad();
            let has_gradient = grad.defined() && grad.abs().max().double_value(&[]) > 0.0;
            assert_eq!(has_gradient, name.starts_with("adapters."), "{name}");
        }
    }
}
