//! Tests of all architectures except XLM-R that need no reference outputs of transformers.

use tch::{Device, Kind, Tensor};
use testkit::{assert_close, max_abs_error};
use xlmr_model::{
    Architecture, Config, DebertaV2, DistilBert, Electra, EuroBert, FusionConfig, Head, Inputs,
    LayerType, LoadOptions, Model, ModernBert, MpNet, Pooling, RemBert, Segments, encode_fused,
};

use crate::common::{
    SEQUENCE, assert_equal_parameters, case_folder, edit_json, edit_tensors, gradients, load_case,
    lock_generator, open_folder, temporary_copy, zero_padding,
};

/// Functions that create a model with three layers and the minimum hidden size for packing, with a
/// given dropout.
const WIDE_MODELS: [fn(f64) -> Model; 8] = [
    wide_modern,
    wide_euro,
    wide_deberta,
    wide_distil,
    wide_electra,
    wide_rembert,
    wide_xl,
    wide_mpnet,
];

fn wide_modern(dropout: f64) -> Model {
    let modern = ModernBert {
        layer_types: vec![LayerType::Global, LayerType::Local, LayerType::Local],
        local_attention: 10,
        embedding_dropout: dropout,
        classifier_pooling: Pooling::Mean,
        ..ModernBert::new(3)
    };
    wide_model(
        Config { classifier_dropout: Some(dropout), ..Config::mmbert_base() },
        Architecture::ModernBert(modern),
        dropout,
    )
}

fn wide_euro(dropout: f64) -> Model {
    let euro = EuroBert { num_key_value_heads: Some(2), ..EuroBert::default() };
    wide_model(Config::eurobert_210m(), Architecture::EuroBert(euro), dropout)
}

fn wide_deberta(dropout: f64) -> Model {
    let deberta = DebertaV2 { position_buckets: 16, ..DebertaV2::v3() };
    wide_model(Config::mdeberta_v3_base(), Architecture::DebertaV2(deberta), dropout)
}

fn wide_distil(dropout: f64) -> Model {
    let distil = DistilBert { qa_dropout: dropout, ..DistilBert::default() };
    let default_config = Config { type_vocab_size: 1, ..Config::bert_base_multilingual() };
    wide_model(default_config, Architecture::DistilBert(distil), dropout)
}

fn wide_electra(dropout: f64) -> Model {
    let electra = Architecture::Electra(Electra { embedding_size: 48 });
    wide_model(Config::bert_base_multilingual(), electra, dropout)
}

fn wide_rembert(dropout: f64) -> Model {
    let rembert = RemBert { input_embedding_size: 48, output_embedding_size: 40 };
    let default_config = Config {
        classifier_dropout: Some(dropout),
        tie_word_embeddings: false,
        ..Config::bert_base_multilingual()
    };
    wide_model(default_config, Architecture::RemBert(rembert), dropout)
}

fn wide_xl(dropout: f64) -> Model {
    wide_model(Config::base(), Architecture::XlmRobertaXl, dropout)
}

fn wide_mpnet(dropout: f64) -> Model {
    wide_model(Config::base(), Architecture::MpNet(MpNet::default()), dropout)
}

fn wide_model(default_config: Config, architecture: Architecture, dropout: f64) -> Model {
    // MPNet's `<pad>` always has id 1.
    let (pad, eos) = if matches!(architecture, Architecture::MpNet(_)) { (1, 0) } else { (0, 1) };
    let config = Config {
        architecture,
        vocab_size: 60,
        hidden_size: 256,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        intermediate_size: 96,
        hidden_dropout_prob: dropout,
        attention_probs_dropout_prob: dropout,
        max_position_embeddings: 100,
        initializer_range: 0.1,
        pad_token_id: pad,
        bos_token_id: Some(2),
        eos_token_id: Some(eos),
        ..default_config
    };
    Model::new(&config, &[Head::MaskedLm, Head::Span, SEQUENCE], Device::Cpu, 5).unwrap()
}

/// Creates rows of the given lengths, padded to `width`.
fn build_rows(lengths: &[usize], width: usize) -> Inputs {
    let row = |(number, &length): (usize, &usize)| -> Vec<u32> {
        (0..length as u32).map(|k| 5 + (number as u32 * 11 + k * 7) % 50).collect()
    };
    let mut rows: Vec<Vec<u32>> = lengths.iter().enumerate().map(row).collect();
    rows.push(vec![5; width]);
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let inputs = Inputs::from_rows(&rows, 0).unwrap();
    let n_rows = lengths.len() as i64;
    let mask = inputs.attention_mask.map(|mask| mask.narrow(0, 0, n_rows));
    Inputs { attention_mask: mask, ..Inputs::new(inputs.input_ids.narrow(0, 0, n_rows)) }
}

#[test]
fn packed_and_padded_rows_have_equal_states_and_gradients() {
    let _guard = lock_generator();
    for (build, dropout) in WIDE_MODELS.into_iter().flat_map(|build| [(build, 0.0), (build, 0.3)]) {
        let pass = |in_float64: bool| {
            let mut model = build(dropout);
            if in_float64 {
                model.set_kind(Kind::Double).unwrap(); // not packed
            }
            tch::manual_seed(9);
            let inputs = build_rows(&[40, 3, 17, 1], 44);
            let hidden = model.encode(&inputs, true).unwrap();
            let mask = inputs.attention_mask.as_ref();
            let scores = model.sequence_logits(&hidden, mask, true).unwrap();
            let hidden = zero_padding(&hidden, &inputs);
            let starts = zero_padding(&model.span_logits(&hidden, false).unwrap().0, &inputs);
            let sum = |x: &Tensor| x.sum(Kind::Double);
            (sum(&hidden.square()) + sum(&scores) + sum(&starts)).backward();
            (hidden, scores, model)
        };
        let ((states, scores, packed), (expected, expected_scores, padded)) =
            (pass(false), pass(true));
        // The bounds allow for rounding of float32 values up to 3, which differs between
        // processors.
        assert_close("states", &states, &expected, 4e-5);
        assert_close("scores", &scores, &expected_scores, 2e-5);
        for ((name, a), (_, b)) in packed.named_parameters().iter().zip(padded.named_parameters()) {
            if b.grad().defined() {
                let scale = 1.0 + b.grad().abs().max().double_value(&[]);
                let relative_error =
                    max_abs_error(&a.grad().to_dense(None, false), &b.grad()) / scale;
                assert!(relative_error < 1e-4, "{name}: {relative_error}");
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_padding_or_other_rows() {
    let _guard = lock_generator();
    for (build, train) in WIDE_MODELS.into_iter().flat_map(|build| [(build, false), (build, true)])
    {
        let model = build(0.3);
        let pass = |lengths: &[usize], width: usize| {
            tch::manual_seed(3);
            model.encode(&build_rows(lengths, width), train).unwrap()
        };
        let expected = pass(&[30], 30);
        for (lengths, width) in [(&[30][..], 50), (&[30, 12, 4], 30), (&[30, 1], 61)] {
            let actual = pass(lengths, width).narrow(0, 0, 1).narrow(1, 0, 30);
            assert_close("row", &actual, &expected, 1e-5);
        }
    }
}

#[test]
fn tokens_of_a_local_layer_attend_to_half_a_window() {
    let model_with_window = |local_attention: i64| {
        let mut config = load_case("modernbert_mlm", &[]).config().clone();
        let modern = ModernBert {
            layer_types: vec![LayerType::Local],
            local_attention,
            ..ModernBert::new(1)
        };
        config.architecture = Architecture::ModernBert(modern);
        config.num_hidden_layers = 1;
        Model::new(&config, &[], Device::Cpu, 1).unwrap()
    };
    for window in [2, 8, 9] {
        let model = model_with_window(window);
        let encode_with_changed_id = |id: i64| {
            let ids = Tensor::full([1, 30], 7, (Kind::Int64, Device::Cpu));
            let ids = ids.index_fill(1, &Tensor::from_slice(&[15i64]), id);
            model.encode(&Inputs::new(ids), false).unwrap()
        };
        let (a, b) = (encode_with_changed_id(7), encode_with_changed_id(8));
        let is_changed = (a - b).abs().amax([0, 2], false).gt(1e-6);
        let is_changed: Vec<bool> = is_changed.try_into().unwrap();
        let in_window: Vec<bool> =
            (0..30i64).map(|position| (position - 15).abs() <= window / 2).collect();
        assert_eq!(is_changed, in_window, "window {window}");
    }
}

#[test]
fn fused_texts_attend_to_each_other_with_separate_positions() {
    for build in WIDE_MODELS {
        check_joint_encoding(&build(0.0));
    }
}

/// Asserts that hidden states are close, except at the padding of `inputs`.
#[track_caller]
fn assert_close_at_tokens(actual: &Tensor, expected: &Tensor, inputs: &Inputs, tolerance: f64) {
    let [actual, expected] = [actual, expected].map(|states| zero_padding(states, inputs));
    assert_close("hidden states", &actual, &expected, tolerance);
}

fn check_joint_encoding(model: &Model) {
    let (target, source) = (build_rows(&[20, 7], 20), build_rows(&[13, 22], 25));
    let without_cross = FusionConfig { local: 1, cross: 0 };
    let (target_states, _) = encode_fused(model, &target, &source, &without_cross, false).unwrap();
    assert_eq!(target_states, model.encode(&target, false).unwrap());
    let config = FusionConfig { local: 1, cross: 1 };
    let (target_states, source_states) =
        encode_fused(model, &target, &source, &config, false).unwrap();
    // If target and source are swapped, their outputs are swapped, but do not change.
    let (swapped_source, swapped_target) =
        encode_fused(model, &source, &target, &config, false).unwrap();
    assert_close_at_tokens(&target_states, &swapped_target, &target, 1e-5);
    assert_close_at_tokens(&source_states, &swapped_source, &source, 1e-5);
    // If both texts are equal, each token attends to two equal copies of every token, so the
    // outputs do not change.
    let (with_itself, _) = encode_fused(model, &target, &target, &config, false).unwrap();
    let single = model.encode(&target, false).unwrap();
    assert_close_at_tokens(&with_itself, &single, &target, 1e-4);
    assert!(
        max_abs_error(&zero_padding(&target_states, &target), &zero_padding(&single, &target))
            > 1e-3
    );
}

#[test]
fn recomputed_layers_give_equal_results() {
    let _guard = lock_generator();
    let pass = |build: fn(f64) -> Model, recompute: bool| {
        let mut model = build(0.2);
        model.set_recompute(recompute);
        tch::manual_seed(4);
        let hidden = model.encode(&build_rows(&[21, 9], 21), true).unwrap();
        gradients(&model, &hidden.square().sum(Kind::Float))
    };
    for build in WIDE_MODELS {
        assert_eq!(pass(build, false), pass(build, true));
    }
}

#[test]
fn debertas_published_masked_lm_head_is_loaded() {
    let folder = temporary_copy(&case_folder("deberta_mlm"));
    edit_json(&folder.path().join("config.json"), |config| _ = config.remove("legacy"));
    let unused_names =
        ["deberta.embeddings.position_embeddings.weight", "mask_predictions.dense.weight"];
    edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        for name in unused_names {
            tensors.insert(name.into(), Tensor::ones([4, 32], (Kind::Float, Device::Cpu)));
        }
    });
    let (model, report) = open_folder(folder.path(), &[Head::MaskedLm]).unwrap();
    assert_eq!(report.ignored, unused_names);
    assert!(report.missing.is_empty() && report.unexpected.is_empty(), "{report:?}");
    assert_eq!(model.config().to_json()["legacy"], false);
    assert_equal_parameters(&model, &load_case("deberta_mlm", &[Head::MaskedLm]));
}

#[test]
fn old_names_of_norms_are_supported() {
    let folder = temporary_copy(&case_folder("bert_mlm"));
    edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        let names: Vec<String> =
            tensors.keys().filter(|name| name.contains("LayerNorm")).cloned().collect();
        for name in names {
            let old_name = name.replace(".weight", ".gamma").replace(".bias", ".beta");
            let tensor = tensors.remove(&name).unwrap();
            tensors.insert(old_name, tensor);
        }
    });
    let (model, report) = open_folder(folder.path(), &[Head::MaskedLm]).unwrap();
    assert_eq!(report, Default::default());
    assert_equal_parameters(&model, &load_case("bert_mlm", &[Head::MaskedLm]));
}

#[test]
fn a_span_model_has_two_labels() {
    for (name, kind) in [("bert_seqcls", "Bert"), ("modernbert_seqcls", "ModernBert")] {
        let folder = tempfile::tempdir().unwrap();
        load_case(name, &[Head::Span]).save(folder.path(), Head::Span).unwrap();
        let config = Config::from_file(folder.path().join("config.json")).unwrap();
        assert_eq!((config.num_labels(), config.head().unwrap()), (2, Head::Span), "{kind}");
    }
}

#[test]
fn modernberts_span_head_applies_dropout_in_training() {
    let _guard = lock_generator();
    let new_model = |p: f64| {
        let mut config = load_case("modernbert_qa", &[]).config().clone();
        config.classifier_dropout = Some(p);
        Model::new(&config, &[Head::Span], Device::Cpu, 1).unwrap()
    };
    let (without_dropout, model) = (new_model(0.0), new_model(0.5));
    tch::manual_seed(3);
    let hidden = Tensor::randn([2, 5, model.config().hidden_size], (Kind::Float, Device::Cpu));
    let starts = |model: &Model, train: bool| model.span_logits(&hidden, train).unwrap().0.detach();
    let expected = starts(&without_dropout, true);
    assert!(starts(&model, false).equal(&expected));
    let draws: Vec<Tensor> = (0..400).map(|_| starts(&model, true)).collect();
    assert!(!draws[0].equal(&draws[1]));
    let draws = Tensor::stack(&draws, 0);
    let mean = draws.mean_dim(0, false, Kind::Float);
    let bound = draws.std_dim(0, true, false) * (5.0 / 20.0);
    let error = (mean - expected).abs();
    assert!(error.le_tensor(&bound).all().int64_value(&[]) == 1, "{error} above {bound}");
}

#[test]
fn segments_are_distinguished_if_supported() {
    let options = LoadOptions { segments: Segments::Learned2, ..LoadOptions::default() };
    let error = Model::load(case_folder("modernbert_qa"), &[], Device::Cpu, options).unwrap_err();
    assert!(error.to_string().contains("no segments"), "{error}");
    let model = load_case("modernbert_qa", &[]);
    let ids = Tensor::from_slice(&[5i64, 6, 7]).view([1, 3]);
    let inputs =
        Inputs { token_type_ids: Some(ids.gt(5).to_kind(Kind::Int64)), ..Inputs::new(ids) };
    let error = model.encode(&inputs, false).unwrap_err().to_string();
    assert!(error.contains("architecture has no segments"), "{error}");
    let (bert, _) = Model::load(case_folder("bert_qa"), &[], Device::Cpu, options).unwrap();
    assert_eq!(bert.config().type_vocab_size, 2);
    assert!(bert.encode(&inputs, false).is_ok());
}
