//! Tests of forward passes over some layers and of fused texts, compared with passes over all
//! layers and with transformers.

use tch::{Device, Kind, Tensor};
use testkit::{Golden, assert_close, fixture, max_abs_error};
use xlmr_model::{Config, Error, FusionConfig, Head, Inputs, Model, encode_fused};

use crate::common::{
    build_rows, compute_logits, gradients, lock_generator, mask_or_ones, open_folder, select_batch,
    small_config, zero_padding,
};

/// Creates a model with three layers. If `width` is at least 256, rows are packed in training.
fn new_model(width: i64, dropout: f64) -> Model {
    let config = Config {
        num_hidden_layers: 3,
        hidden_size: width,
        hidden_dropout_prob: dropout,
        attention_probs_dropout_prob: dropout,
        initializer_range: if width < 100 { 0.3 } else { 0.1 },
        ..small_config()
    };
    Model::new(&config, &[], Device::Cpu, 3).unwrap()
}

/// Returns a target and a source batch of three rows. In every row, the two texts have different
/// lengths.
fn text_pair() -> (Inputs, Inputs) {
    (build_rows(&[7, 3, 5], 7), build_rows(&[4, 6, 2], 13))
}

fn fusion(local: usize, cross: usize) -> FusionConfig {
    FusionConfig { local, cross }
}

#[test]
fn split_layer_ranges_equal_the_unsplit_pass_exactly() {
    let _guard = lock_generator();
    for (width, train) in [(16, false), (16, true), (256, true), (256, false)] {
        let model = new_model(width, 0.1);
        let inputs = text_pair().0;
        let run = |split_points: &[usize]| {
            tch::manual_seed(5);
            let mut states = model.embed(&inputs, train).unwrap();
            for range in split_points.windows(2) {
                states = model.run_layers(states, range[0]..range[1]).unwrap();
            }
            states.to_padded().unwrap()
        };
        tch::manual_seed(5);
        let expected = model.encode(&inputs, train).unwrap();
        for split_points in [&[0, 3][..], &[0, 1, 3], &[0, 1, 1, 2, 3, 3]] {
            assert!(run(split_points).equal(&expected), "{split_points:?}");
        }
        tch::manual_seed(5);
        let all_states = model.encode_all(&inputs, train).unwrap();
        assert!(all_states[0].equal(&run(&[0, 0])) && all_states[2].equal(&run(&[0, 2])));
        let error = model.run_layers(model.embed(&inputs, train).unwrap(), 2..4).unwrap_err();
        assert_eq!(error.to_string(), "layers: expected a range within 0..3, got 2..4");
        #[allow(clippy::reversed_empty_ranges)] // required by the test
        let reversed = model.run_layers(model.embed(&inputs, train).unwrap(), 2..1);
        assert!(reversed.is_err());
    }
}

#[test]
fn texts_without_cross_layers_are_encoded_separately() {
    let _guard = lock_generator();
    let (target, source) = text_pair();
    for (width, train) in [(16, false), (16, true), (256, true)] {
        let model = new_model(width, 0.1);
        for config in [fusion(1, 0), fusion(0, 0), fusion(3, 2), fusion(3, 0)] {
            tch::manual_seed(9);
            let (t, s) = encode_fused(&model, &target, &source, &config, train).unwrap();
            tch::manual_seed(9);
            assert!(t.equal(&model.encode(&target, train).unwrap()), "{width} {config:?}");
            assert!(s.equal(&model.encode(&source, train).unwrap()));
        }
    }
}

#[test]
fn a_source_of_padding_does_not_change_the_target() {
    let _guard = lock_generator();
    for (width, train) in [(16, false), (16, true), (256, true)] {
        let model = new_model(width, 0.0);
        let (target, source) = text_pair();
        let no_tokens = source.input_ids.zeros_like();
        let source = Inputs::masked(source.input_ids, no_tokens);
        for config in [fusion(1, 1), fusion(0, 3), fusion(0, 1), fusion(2, 1)] {
            let (t, s) = encode_fused(&model, &target, &source, &config, train).unwrap();
            let expected = model.encode(&target, train).unwrap();
            let (t, expected) = (zero_padding(&t, &target), zero_padding(&expected, &target));
            assert_close("target", &t, &expected, if width == 16 { 1e-6 } else { 1e-5 });
            assert_eq!(s.isfinite().all().int64_value(&[]), 1);
            // Outputs are also finite if the target's rows have no token.
            let padding = Inputs::masked(target.input_ids.copy(), target.input_ids.zeros_like());
            let (t, _) = encode_fused(&model, &padding, &source, &config, train).unwrap();
            assert_eq!(t.isfinite().all().int64_value(&[]), 1);
        }
    }
}

#[test]
fn a_row_depends_only_on_itself_including_dropout() {
    let _guard = lock_generator();
    // In float32, other batches are rounded in another way.
    let mut model = new_model(16, 0.2);
    model.set_kind(Kind::Double).unwrap();
    let pass = |target: &Inputs, source: &Inputs| {
        tch::manual_seed(4);
        encode_fused(&model, target, source, &fusion(1, 1), true).unwrap()
    };
    let (target, source) = text_pair();
    let (t, s) = pass(&target, &source);
    // In this batch, the first row is unchanged. The second row is longer in the target and shorter
    // in the source.
    let (other_batch, other_batch_source) = pass(&build_rows(&[7, 9], 7), &build_rows(&[4, 2], 13));
    let first = |states: &Tensor, tokens: i64| states.get(0).narrow(0, 0, tokens);
    assert_close("target", &first(&other_batch, 7), &first(&t, 7), 1e-13);
    assert_close("source", &first(&other_batch_source, 4), &first(&s, 4), 1e-13);
    tch::manual_seed(5);
    let (other_seed, _) = encode_fused(&model, &target, &source, &fusion(1, 1), true).unwrap();
    assert!(
        max_abs_error(&first(&other_seed, 7), &first(&t, 7)) > 1e-3,
        "dropout depends on the seed"
    );
}

#[test]
fn packed_and_padded_pairs_have_equal_states_and_gradients() {
    let _guard = lock_generator();
    let (target, source) = text_pair();
    let mut float64 = new_model(256, 0.0);
    float64.set_kind(Kind::Double).unwrap(); // not packed
    let model = new_model(256, 0.0);
    let run = |model: &Model, train| {
        let (t, s) = encode_fused(model, &target, &source, &fusion(1, 1), train).unwrap();
        (zero_padding(&t, &target), zero_padding(&s, &source))
    };
    let loss = |(t, s): &(Tensor, Tensor)| t.square().sum(Kind::Double) + s.sin().sum(Kind::Double);
    let (padded, packed) = (run(&float64, true), run(&model, true));
    assert_eq!(run(&model, false), packed);
    assert_close("target", &packed.0, &padded.0, 1e-5);
    assert_close("source", &packed.1, &padded.1, 1e-5);
    let (padded, packed) = (gradients(&float64, &loss(&padded)), gradients(&model, &loss(&packed)));
    assert_eq!(packed.len(), model.named_parameters().len());
    // A bias added to all keys does not affect the softmax, so its gradient is a rounding error.
    for (name, actual) in packed.iter().filter(|(name, _)| !name.contains("key.bias")) {
        let scale = padded[name].abs().max().double_value(&[]).max(1.0);
        assert!(max_abs_error(&padded[name], actual) / scale < 1e-4, "{name}");
    }
}

#[test]
fn recomputed_layers_give_equal_results() {
    let _guard = lock_generator();
    let (target, source) = text_pair();
    for width in [16, 256] {
        let mut model = new_model(width, 0.2);
        let mut pass = |recompute| {
            model.set_recompute(recompute);
            tch::manual_seed(6);
            let (t, s) = encode_fused(&model, &target, &source, &fusion(1, 1), true).unwrap();
            let loss = t.sum(Kind::Float) + s.square().sum(Kind::Float);
            let word_embeddings = "roberta.embeddings.word_embeddings.weight";
            (t, s, gradients(&model, &loss).remove(word_embeddings))
        };
        assert_eq!(pass(true), pass(false));
    }
}

#[test]
fn layers_of_transformers_give_equal_results() {
    let _guard = lock_generator();
    let folder = fixture("fused");
    let stored = |file: &str| Golden::load(&folder.join(file), Tensor::read_safetensors);
    let (inputs, expected) = (stored("inputs.safetensors"), stored("outputs.safetensors"));
    let (model, _) = open_folder(&folder, &[Head::Span]).unwrap();
    let (target, source) = (select_batch(&inputs, "target"), select_batch(&inputs, "source"));
    let (t, s) = encode_fused(&model, &target, &source, &fusion(1, 1), true).unwrap();
    let mut loss = Tensor::zeros([], (Kind::Float, Device::Cpu));
    for (name, states, texts) in [("target", &t, &target), ("source", &s, &source)] {
        let mask = mask_or_ones(texts);
        let title = format!("{name}.hidden");
        let expected_states = zero_padding(&expected[title.as_str()], texts);
        assert_close(&title, &zero_padding(states, texts), &expected_states, 1e-5);
        for ((key, logits), gold) in
            compute_logits(&model, Head::Span, states, None).into_iter().zip([1i64, 2])
        {
            let title = format!("{name}.{key}");
            assert_close(&title, &(&logits * &mask), &(&expected[title.as_str()] * &mask), 1e-5);
            let scores = logits.masked_fill(&mask.eq(0), f64::from(f32::MIN));
            loss += scores.cross_entropy_for_logits(&Tensor::from_slice(&[gold; 3])) / 2.0;
        }
    }
    assert_close("loss", &loss.view([1]), &expected["loss"].view([1]), 1e-5);
    loss.backward();
    let gradients = stored("grads.safetensors");
    let parameters = model.named_parameters();
    assert_eq!(parameters.len(), gradients.names().count());
    for (name, parameter) in parameters {
        assert_close(&name, &parameter.grad(), &gradients[name.as_str()], 1e-4);
    }
}

/// The loss depends on the hidden states of one of the two texts. Its gradients with respect to the
/// token embeddings of both texts must equal central differences.
#[test]
fn gradients_of_both_halves_equal_central_differences() {
    let _guard = lock_generator();
    let mut model = new_model(16, 0.0);
    model.set_kind(Kind::Double).unwrap();
    let (target, source) = (build_rows(&[3, 2], 7), build_rows(&[2, 3], 13));
    let token_embeddings = |inputs: &Inputs| {
        let (batch, length) = inputs.input_ids.size2().unwrap();
        let flat = model.word_embeddings().index_select(0, &inputs.input_ids.view([-1]));
        flat.view([batch, length, 16]).detach()
    };
    let embeddings = [token_embeddings(&target), token_embeddings(&source)];
    let loss = |vectors: &[Tensor; 2], source_weight: f64| {
        let as_inputs = |inputs: &Inputs, vectors: &Tensor| Inputs {
            inputs_embeds: Some(vectors.shallow_clone()),
            ..Inputs::masked(inputs.input_ids.copy(), mask_or_ones(inputs))
        };
        let (first, second) = (as_inputs(&target, &vectors[0]), as_inputs(&source, &vectors[1]));
        let (t, s) = encode_fused(&model, &first, &second, &fusion(1, 1), false).unwrap();
        zero_padding(&t, &target).sin().sum(Kind::Double) * (1.0 - source_weight)
            + zero_padding(&s, &source).sin().sum(Kind::Double) * source_weight
    };
    for source_weight in [0.0, 1.0] {
        let leaves = embeddings.each_ref().map(|v| v.copy().set_requires_grad(true));
        loss(&leaves, source_weight).backward();
        for half in 0..2 {
            let grad = leaves[half].grad();
            assert!(grad.abs().max().double_value(&[]) > 1e-3);
            for (row, token, column) in [(0, 0, 3), (0, 1, 0), (1, 1, 15), (1, 0, 7)] {
                let shifted_loss = |step: f64| {
                    let vectors = embeddings.each_ref().map(Tensor::copy);
                    let _ = vectors[half].get(row).get(token).get(column).g_add_scalar_(step);
                    loss(&vectors, source_weight).double_value(&[])
                };
                let quotient = (shifted_loss(1e-5) - shifted_loss(-1e-5)) / 2e-5;
                let actual = grad.double_value(&[row, token, column]);
                assert!(
                    (quotient - actual).abs() < 1e-7,
                    "{half} {row} {token}: {actual} {quotient}"
                );
            }
        }
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let model = new_model(16, 0.0);
    let (target, source) = text_pair();
    let two_rows = build_rows(&[2, 2], 7);
    let error = encode_fused(&model, &target, &two_rows, &fusion(1, 1), false).unwrap_err();
    assert!(error.to_string().starts_with("source: expected as many rows as target"), "{error}");
    let error = encode_fused(&model, &target, &source, &fusion(4, 1), false).unwrap_err();
    assert_eq!(error.to_string(), "local: expected at most 3, the number of layers, got 4");
    let invalid_ids = Inputs::new(Tensor::from_slice(&[99i64; 3]).view([3, 1]));
    let error = encode_fused(&model, &target, &invalid_ids, &fusion(1, 1), false).unwrap_err();
    assert!(matches!(error, Error::Input { argument: "input_ids", .. }), "{error}");
    assert_eq!(toml::from_str::<FusionConfig>("").unwrap(), FusionConfig::default());
    assert!(toml::from_str::<FusionConfig>("m = 1").is_err());
    // The number of cross layers is limited to the two layers after the local layer.
    let run = |cross| encode_fused(&model, &target, &source, &fusion(1, cross), false).unwrap();
    assert!(run(20).0.equal(&run(2).0) && !run(2).0.equal(&run(1).0));
}
