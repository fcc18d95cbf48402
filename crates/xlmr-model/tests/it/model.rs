//! Tests of the documented behaviour of models: padding, dropout, initialisation, dtypes and
//! errors.
use tch::{Device, Kind, Tensor};
use testkit::assert_close;
use xlmr_model::{Config, Error, Head, Inputs, Model};

use crate::common::{
    ids, load_case, lock_generator, parameters, read_stored, select_batch, small_config,
};

#[test]
fn gathered_positions_have_the_logits_of_all_positions() {
    let model = load_case("mlm", &[Head::MaskedLm]);
    let inputs = read_stored("mlm", "inputs.safetensors");
    let hidden = model.encode(&select_batch(&inputs, "b0"), false).unwrap();
    let rows = hidden.view([-1, 32]).index_select(0, &Tensor::from_slice(&[3i64, 17, 60]));
    let all_logits = model.mlm_logits(&hidden).unwrap().view([-1, 300]);
    let expected = all_logits.index_select(0, &Tensor::from_slice(&[3i64, 17, 60]));
    assert_close("gathered", &model.mlm_logits(&rows).unwrap(), &expected, 1e-6);
    let (weight, bias) = model.decoder().unwrap();
    let actual = model.mlm_transform(&rows).unwrap().matmul(&weight.tr()) + bias;
    assert_close("decoder", &actual, &expected, 1e-5);
}

#[test]
fn padding_and_other_rows_do_not_change_a_row() {
    let model = Model::new(&small_config(), &[], Device::Cpu, 3).unwrap();
    let single_row = ids(1, 6);
    let expected = model.encode(&Inputs::new(single_row.shallow_clone()), false).unwrap();
    let padding = Tensor::ones([1, 4], (Kind::Int64, Device::Cpu));
    let row = Tensor::cat(&[&single_row, &padding], 1);
    let padded_batch = Tensor::cat(&[&row, &ids(1, 10)], 0);
    let mask = padded_batch.ne(1);
    for mask in [mask.shallow_clone(), mask.to_kind(Kind::Int), mask.to_kind(Kind::Uint8)] {
        let inputs = Inputs::masked(padded_batch.shallow_clone(), mask);
        let actual = model.encode(&inputs, false).unwrap().narrow(0, 0, 1).narrow(1, 0, 6);
        assert_close("row", &actual, &expected, 1e-5);
    }
    // Without a mask, tokens also attend to padding.
    let actual =
        model.encode(&Inputs::new(padded_batch), false).unwrap().narrow(0, 0, 1).narrow(1, 0, 6);
    assert!(testkit::max_abs_error(&actual, &expected) > 1e-3);
}

#[test]
fn rows_without_a_token_stay_finite_with_their_gradients() {
    let model = Model::new(&small_config(), &[], Device::Cpu, 3).unwrap();
    let mask = Tensor::from_slice(&[1i64, 1, 0, 0, 0, 0]).view([2, 3]);
    let hidden = model.encode(&Inputs::masked(ids(2, 3), mask), false).unwrap();
    assert!(bool::try_from(hidden.isfinite().all()).unwrap());
    // A row without tokens attends to all its positions, so its hidden states equal the states
    // without a mask.
    let states_without_mask = model.encode(&Inputs::new(ids(2, 3)), false).unwrap();
    assert_close("row without a token", &hidden.get(1), &states_without_mask.get(1), 1e-6);
    hidden.square().sum(Kind::Float).backward();
    for (name, parameter) in model.named_parameters() {
        assert!(bool::try_from(parameter.grad().isfinite().all()).unwrap(), "{name}");
    }
}

#[test]
fn input_embeddings_give_equal_results_and_receive_gradients() {
    let model = Model::new(&small_config(), &[], Device::Cpu, 3).unwrap();
    let ids = Tensor::from_slice(&[5i64, 6, 7, 8, 1, 1]).view([2, 3]);
    let expected = model.encode(&Inputs::new(ids.shallow_clone()), false).unwrap();
    let embeds = model.word_embeddings().index_select(0, &ids.view([-1])).view([2, 3, 16]);
    let embeds = embeds.detach().set_requires_grad(true);
    let inputs = Inputs { inputs_embeds: Some(embeds.shallow_clone()), ..Inputs::new(ids) };
    let actual = model.encode(&inputs, false).unwrap();
    assert_close("hidden", &actual, &expected, 1e-6);
    actual.narrow(2, 0, 1).sum(Kind::Float).backward();
    assert!(embeds.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0);
}

#[test]
fn input_embeddings_are_converted_to_the_parameters_dtype() {
    let _guard = lock_generator();
    for config in crate::adapters::small_configs() {
        let model = crate::adapters::new_model(&config);
        let bf16 = Tensor::randn([3, 9, config.embedding_size()], (Kind::BFloat16, Device::Cpu));
        let [bf16, float32] = [bf16.shallow_clone(), bf16.to_kind(Kind::Float)].map(|embeds| {
            let inputs = Inputs { inputs_embeds: Some(embeds), ..Inputs::new(ids(3, 9)) };
            model.encode(&inputs, false).unwrap()
        });
        assert_eq!(bf16, float32, "{:?}", config.architecture);
    }
}

#[test]
fn dropout_is_applied_only_in_training_with_libtorchs_seed() {
    let _guard = lock_generator();
    let model = Model::new(&small_config(), &[], Device::Cpu, 3).unwrap();
    let run = |train, seed| {
        tch::manual_seed(seed);
        model.encode(&Inputs::new(ids(2, 5)), train).unwrap()
    };
    assert!(run(false, 1).equal(&run(false, 2)));
    assert!(run(true, 1).equal(&run(true, 1)));
    assert!(!run(true, 1).equal(&run(true, 2)));
    let without_dropout =
        Config { hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0, ..small_config() };
    let model = Model::new(&without_dropout, &[], Device::Cpu, 3).unwrap();
    let run = |train| model.encode(&Inputs::new(ids(2, 5)), train).unwrap();
    assert!(run(true).equal(&run(false)));
}

#[test]
fn new_models_have_transformers_initialisation_by_seed() {
    let config = Config { initializer_range: 0.3, ..Config::tiny(2000) };
    let heads = [Head::MaskedLm, Head::Span];
    let model = Model::new(&config, &heads, Device::Cpu, 7).unwrap();
    for (name, tensor) in model.named_parameters() {
        let flat = tensor.to_kind(Kind::Double);
        if name.ends_with("bias") {
            assert_eq!(flat.abs().max().double_value(&[]), 0.0, "{name}");
        } else if name.to_lowercase().contains("norm") {
            assert_eq!((&flat - 1.0).abs().max().double_value(&[]), 0.0, "{name}");
        } else if tensor.numel() > 10_000 {
            assert!(flat.mean(Kind::Double).double_value(&[]).abs() < 0.02, "{name}");
            assert!((flat.std(true).double_value(&[]) - 0.3).abs() < 0.02, "{name}");
            // The fourth standardised moment is 3 for a normal distribution, and 1.8 for a uniform
            // distribution.
            let kurtosis = (flat / 0.3).pow_tensor_scalar(4).mean(Kind::Double).double_value(&[]);
            assert!((kurtosis - 3.0).abs() < 0.3, "{name}: {kurtosis}");
        }
        if name.contains("word_embeddings") || name.contains("position_embeddings") {
            assert_eq!(tensor.get(1).abs().max().double_value(&[]), 0.0, "{name}: row of <pad>");
        }
    }
    // Different parameters have different random values.
    let tensors = parameters(&model);
    let weight = |part: &str| &tensors[&format!("roberta.encoder.layer.{part}.weight")];
    assert!(!weight("0.attention.self.query").equal(weight("0.attention.self.key")));
    assert!(!weight("0.output.dense").equal(weight("1.output.dense")));
    let same_seed = Model::new(&config, &heads, Device::Cpu, 7).unwrap();
    let without_heads = Model::new(&config, &[], Device::Cpu, 7).unwrap();
    let other_seed = Model::new(&config, &[], Device::Cpu, 8).unwrap();
    let embeds = model.word_embeddings();
    assert!(
        embeds.equal(same_seed.word_embeddings()) && embeds.equal(without_heads.word_embeddings())
    );
    assert!(!embeds.equal(other_seed.word_embeddings()));
}

#[test]
fn float32_is_close_to_float64() {
    let mut model = load_case("qa", &[Head::Span]);
    let inputs = select_batch(&read_stored("qa", "inputs.safetensors"), "b0");
    let float32_states = model.encode(&inputs, false).unwrap();
    model.set_kind(Kind::Double).unwrap();
    assert!(parameters(&model).values().all(|tensor| tensor.kind() == Kind::Double));
    let float64_states = model.encode(&inputs, false).unwrap();
    assert_eq!(float64_states.kind(), Kind::Double);
    assert_close("hidden", &float32_states, &float64_states, 1e-5);
    float64_states.sum(Kind::Double).backward();
    assert_eq!(model.word_embeddings().grad().kind(), Kind::Double);
    assert!(matches!(model.set_kind(Kind::Int64), Err(Error::Input { argument: "kind", .. })));
}

#[test]
fn parameters_are_sorted_and_tied_parameters_are_listed_once() {
    let model = load_case("mlm", &[Head::MaskedLm]);
    let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert!(names.is_sorted());
    assert!(!names.contains(&"lm_head.decoder.weight".to_owned()));
    let (decoder, _) = model.decoder().unwrap();
    assert_eq!(decoder.data_ptr(), model.word_embeddings().data_ptr());
}

#[test]
fn missing_heads_are_reported() {
    let model = Model::new(&small_config(), &[], Device::Cpu, 0).unwrap();
    let hidden = Tensor::zeros([1, 2, 16], (Kind::Float, Device::Cpu));
    for (result, head) in [
        (model.mlm_logits(&hidden).err(), "masked-language-model"),
        (model.span_logits(&hidden, false).err(), "span"),
        (model.token_logits(&hidden, false).err(), "token classification"),
        (model.sequence_logits(&hidden, None, false).err(), "sequence classification"),
        (model.decoder().err(), "masked-language-model"),
    ] {
        assert!(result.unwrap().to_string().contains(&format!("no {head} head")));
    }
    let duplicate_heads =
        [Head::TokenClassification { labels: 2 }, Head::TokenClassification { labels: 3 }];
    assert!(matches!(
        Model::new(&small_config(), &duplicate_heads, Device::Cpu, 0),
        Err(Error::Input { argument: "heads", .. })
    ));
    let states_of_other_width = Tensor::zeros([1, 2, 15], (Kind::Float, Device::Cpu));
    let model = Model::new(&small_config(), &[Head::Span], Device::Cpu, 0).unwrap();
    assert!(matches!(
        model.span_logits(&states_of_other_width, false),
        Err(Error::Input { argument: "hidden", .. })
    ));
    assert!(load_case("qa", &[Head::None]).heads().is_empty());
}
