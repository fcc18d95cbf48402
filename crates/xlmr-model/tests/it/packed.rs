//! Tests of packed batches: hidden states and gradients are equal with and without packing.

use tch::{Device, Kind, Tensor};
use testkit::max_abs_error;
use torch_ext::{Precision, Profile};
use xlmr_model::{Architecture, Config, DebertaV2, Head, Inputs, Model, ModernBert};

use crate::common::{SEQUENCE, TOKEN, build_rows, gradients, lock_generator, mask_or_ones};

/// Returns a configuration with the minimum hidden size for packing.
fn wide_config(dropout: f64, segments: i64) -> Config {
    Config {
        vocab_size: 60,
        hidden_size: 256,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 80,
        max_position_embeddings: 40,
        type_vocab_size: segments,
        hidden_dropout_prob: dropout,
        attention_probs_dropout_prob: dropout,
        initializer_range: 0.1,
        ..Config::base()
    }
}

fn new_model(dropout: f64, segments: i64) -> Model {
    Model::new(&wide_config(dropout, segments), &HEADS, Device::Cpu, 3).unwrap()
}

/// Returns the model in float64, in which batches stay padded.
fn padded_model(dropout: f64, segments: i64) -> Model {
    let mut model = new_model(dropout, segments);
    model.set_kind(Kind::Double).unwrap();
    model
}

const HEADS: [Head; 4] = [Head::MaskedLm, Head::Span, TOKEN, SEQUENCE];

fn inputs(lengths: &[usize]) -> Inputs {
    build_rows(lengths, 7)
}

/// Computes a loss from the outputs of all heads at tokens, without padding.
fn compute_loss(model: &Model, hidden: &Tensor, mask: &Tensor) -> Tensor {
    let squared_sum = |logits: &Tensor| (logits * mask.unsqueeze(-1)).square().sum(Kind::Float);
    let (start, end) = model.span_logits(hidden, false).unwrap();
    let span = squared_sum(&Tensor::stack(&[start, end], -1));
    let sequence = model.sequence_logits(hidden, None, false).unwrap().square().sum(Kind::Float);
    let token = squared_sum(&model.token_logits(hidden, false).unwrap());
    span + sequence + token + squared_sum(&model.mlm_logits(hidden).unwrap())
}

#[test]
fn packed_and_padded_rows_have_equal_states_and_gradients() {
    let _guard = lock_generator();
    let padded_model = padded_model(0.0, 1);
    let model = new_model(0.0, 1);
    // In some cases the first token is `<pad>` (id 1), whose embedding receives no gradient.
    for (lengths, first_id) in
        [(&[7usize, 31, 2, 16][..], 1), (&[1, 33], 9), (&[13], 1), (&[9, 9, 9], 9)]
    {
        let inputs = inputs(lengths);
        let _ = inputs.input_ids.get(0).get(0).fill_(first_id);
        let mask = mask_or_ones(&inputs);
        let padded = padded_model.encode(&inputs, false).unwrap();
        let packed = model.encode(&inputs, true).unwrap();
        assert_eq!(packed.size(), padded.size());
        assert_eq!(model.encode(&inputs, false).unwrap(), packed);
        let token_mask = mask.unsqueeze(-1);
        let error = max_abs_error(&(&padded * &token_mask), &packed);
        assert!(error < 1e-5, "{lengths:?}: states {error:e}");
        let expected = gradients(&padded_model, &compute_loss(&padded_model, &padded, &mask));
        let actual = gradients(&model, &compute_loss(&model, &packed, &mask));
        assert_eq!(actual.len(), model.named_parameters().len());
        for (name, actual) in &actual {
            // A bias added to all keys does not affect the softmax, so its gradient is a rounding
            // error.
            let weight = &expected[&name.replace("key.bias", "key.weight")];
            let scale = weight.abs().max().double_value(&[]).max(1.0);
            let error = max_abs_error(&expected[name], actual) / scale;
            assert!(error < 1e-5, "{lengths:?}: {name} {error:e}");
        }
    }
}

#[test]
fn padding_is_zero_in_training_and_all_states_are_padded() {
    let _guard = lock_generator();
    let model = new_model(0.1, 1);
    let inputs = inputs(&[3, 8]);
    tch::manual_seed(1);
    let states = model.encode_all(&inputs, true).unwrap();
    tch::manual_seed(1);
    assert_eq!(states.last(), Some(&model.encode(&inputs, true).unwrap()));
    assert_eq!(states.len(), 3);
    for state in &states {
        assert_eq!(state.size(), [2, 8, 256]);
        assert_eq!(state.get(0).narrow(0, 3, 5).abs().max().double_value(&[]), 0.0);
        assert!(state.get(1).abs().min_dim(1, false).0.isfinite().all().int64_value(&[]) == 1);
    }
    tch::manual_seed(2);
    assert_ne!(
        states.last(),
        Some(&model.encode(&inputs, true).unwrap()),
        "dropout depends on the seed"
    );
}

#[test]
fn input_embeddings_segments_and_mask_gaps_are_retained() {
    let _guard = lock_generator();
    let padded_model = padded_model(0.0, 2);
    let model = new_model(0.0, 2);
    let ids = inputs(&[6, 6]).input_ids;
    // Row 0 has padding between tokens. Row 1 has no token and attends to all its positions.
    let mask = Tensor::from_slice(&[1i64, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]).view([2, 6]);
    let types = Tensor::from_slice(&[0i64, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1]).view([2, 6]);
    let embeds = Tensor::randn([2, 6, 256], (Kind::Float, Device::Cpu));
    for embeds in [None, Some(embeds)] {
        let inputs = Inputs {
            token_type_ids: Some(types.shallow_clone()),
            inputs_embeds: embeds,
            ..Inputs::masked(ids.shallow_clone(), mask.shallow_clone())
        };
        let packed = model.encode(&inputs, true).unwrap();
        let embeds = inputs.inputs_embeds.as_ref().map(|embeds| embeds.to_kind(Kind::Double));
        let inputs = Inputs { inputs_embeds: embeds, ..inputs };
        let padded = padded_model.encode(&inputs, false).unwrap();
        let token_mask = Tensor::cat(&[mask.get(0), mask.get(1).ones_like()], 0).view([2, 6, 1]);
        assert!(max_abs_error(&(padded * token_mask), &packed) < 1e-5);
    }
}

/// Relative error bound of hidden states. Rounding to bfloat16 has an error of at most 2^-9. A
/// layer rounds a hidden state about eight times (attention, sums, norms, feed-forward layer), so
/// two layers and the embeddings round it about 17 times.
const STATES_BOUND: f64 = 17.0 / 512.0;

#[test]
fn states_in_bfloat16_are_close_to_float64() {
    let _guard = lock_generator();
    let modern = Config {
        architecture: Architecture::ModernBert(ModernBert::new(2)),
        ..wide_config(0.0, 1)
    };
    let deberta = DebertaV2 { position_buckets: 8, ..DebertaV2::v3() };
    let deberta = Config { architecture: Architecture::DebertaV2(deberta), ..wide_config(0.0, 1) };
    for config in [wide_config(0.0, 1), modern, deberta] {
        let new_model = || Model::new(&config, &HEADS, Device::Cpu, 3).unwrap();
        let (mut float64_model, mut model) = (new_model(), new_model());
        float64_model.set_kind(Kind::Double).unwrap();
        model.set_precision(Precision::Bf16).unwrap();
        for inputs in [inputs(&[5, 12]), inputs(&[7])] {
            let mask = mask_or_ones(&inputs);
            let pass = |model: &Model| {
                let hidden = model.encode(&inputs, true).unwrap();
                let loss = compute_loss(model, &hidden, &mask);
                (hidden * mask.unsqueeze(-1), gradients(model, &loss))
            };
            let ((expected, reference), (actual, gradients)) = (pass(&float64_model), pass(&model));
            assert_eq!(actual.kind(), Kind::Float);
            let error = relative_distance([(&actual, &expected)]);
            assert!(error > 1e-3 && error < STATES_BOUND, "{error}");
            for (name, gradient) in &gradients {
                assert_eq!(gradient.kind(), Kind::Float, "{name}");
            }
            // Gradients have the rounding errors of the forward pass and of the backward pass, so
            // their bound is twice as large.
            let error = relative_distance(
                gradients.iter().map(|(name, actual)| (actual, &reference[name])),
            );
            assert!(error < 2.0 * STATES_BOUND, "gradients: {error}");
        }
    }
}

/// Counts the tensors that a training step casts separately.
fn count_casts(config: &Config) -> usize {
    let mut model = Model::new(config, &[], Device::Cpu, 3).unwrap();
    model.set_precision(Precision::Bf16).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("step.trace.json");
    let profile = Profile::start(Device::Cpu).unwrap();
    let hidden = model.encode(&inputs(&[5, 12]), true).unwrap();
    hidden.square().sum(Kind::Float).backward();
    profile.finish(&trace).unwrap();
    std::fs::read_to_string(trace).unwrap().matches("\"aten::_to_copy\"").count()
}

#[test]
fn layers_in_bfloat16_need_no_separate_casts() {
    let _guard = lock_generator();
    for is_modern in [false, true] {
        let count = |layers| {
            let mut config = Config { num_hidden_layers: layers, ..wide_config(0.0, 1) };
            if is_modern {
                config.architecture = Architecture::ModernBert(ModernBert::new(layers));
            }
            count_casts(&config)
        };
        let [casts_2_layers, casts_4_layers] = [2, 4].map(count);
        assert!(
            casts_2_layers > 0 && casts_2_layers == casts_4_layers,
            "{casts_2_layers} casts for 2 layers, {casts_4_layers} for 4"
        );
    }
}

/// Computes the norm of the differences of all pairs, divided by the norm of the pairs' second
/// tensors.
fn relative_distance<'a>(pairs: impl IntoIterator<Item = (&'a Tensor, &'a Tensor)>) -> f64 {
    let square = |x: Tensor| x.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]);
    let sums = pairs.into_iter().map(|(a, b)| (square(a - b), square(b.shallow_clone())));
    let (difference, squared_norm) =
        sums.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    (difference / squared_norm).sqrt()
}

#[test]
fn recomputed_layers_have_equal_gradients_and_dropout() {
    let _guard = lock_generator();
    let mut model = new_model(0.2, 1);
    for precision in [Precision::F32, Precision::Bf16] {
        model.set_precision(precision).unwrap();
        for inputs in [inputs(&[5, 12]), inputs(&[4])] {
            let mask = mask_or_ones(&inputs);
            let mut pass = |recompute| {
                model.set_recompute(recompute);
                tch::manual_seed(6);
                let hidden = model.encode(&inputs, true).unwrap();
                let loss = compute_loss(&model, &hidden, &mask);
                (hidden, gradients(&model, &loss))
            };
            assert_eq!(pass(true), pass(false), "{precision:?}");
        }
    }
}
