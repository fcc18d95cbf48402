//! All architectures but XLM-R against transformers (see crates/testkit/fixtures/README.md), and
//! what they promise beside it.

use crate::common::{alone, batch, case, read};
use tch::{Device, Kind, Reduction, Tensor};
use testkit::{Golden, assert_close, max_abs_error};
use xlmr_model::{
    Architecture, Config, DebertaV2, DistilBert, EuroBert, FusionConfig, Head, Inputs, LayerType,
    LoadOptions, Model, ModernBert, Pooling, Segments, fused,
};

const SEQUENCE: Head = Head::SequenceClassification { labels: 3 };
const TOKEN: Head = Head::TokenClassification { labels: 5 };

const CASES: [(&str, Head); 29] = [
    ("bert_mlm", Head::MaskedLm),
    ("bert_qa", Head::Span),
    ("bert_seqcls", SEQUENCE),
    ("bert_tokcls", TOKEN),
    ("modernbert_mlm", Head::MaskedLm),
    ("modernbert_qa", Head::Span),
    ("modernbert_seqcls", SEQUENCE),
    ("modernbert_tokcls", TOKEN),
    ("eurobert_mlm", Head::MaskedLm),
    ("eurobert_seqcls", SEQUENCE),
    ("eurobert_seqcls_mean", SEQUENCE),
    ("eurobert_tokcls", TOKEN),
    ("deberta_mlm", Head::MaskedLm),
    ("deberta_mlm_legacy", Head::MaskedLm),
    ("deberta_qa", Head::Span),
    ("deberta_seqcls", SEQUENCE),
    ("deberta_tokcls", TOKEN),
    ("roberta_qa", Head::Span),
    ("roberta_tokcls", TOKEN),
    ("camembert_mlm", Head::MaskedLm),
    ("data2vec_seqcls", SEQUENCE),
    ("distilbert_mlm", Head::MaskedLm),
    ("distilbert_qa", Head::Span),
    ("distilbert_seqcls", SEQUENCE),
    ("distilbert_tokcls", TOKEN),
    ("electra_mlm", Head::MaskedLm),
    ("electra_qa", Head::Span),
    ("electra_seqcls", SEQUENCE),
    ("electra_tokcls", TOKEN),
];

fn load(name: &str, heads: &[Head]) -> Model {
    Model::load(case(name), heads, Device::Cpu, LoadOptions::default()).unwrap().0
}

/// Zero where there is padding.
fn real(values: &Tensor, inputs: &Inputs) -> Tensor {
    let mut mask = inputs.attention_mask.as_ref().unwrap().shallow_clone();
    while mask.dim() < values.dim() && values.size()[0] == mask.size()[0] {
        mask = mask.unsqueeze(-1);
    }
    values.masked_fill(&mask.eq(0), 0.0)
}

fn logits(model: &Model, head: Head, inputs: &Inputs, train: bool) -> Vec<(&'static str, Tensor)> {
    let hidden = model.encode(inputs, train).unwrap();
    match head {
        Head::SequenceClassification { .. } => {
            let mask = inputs.attention_mask.as_ref();
            vec![("logits", model.sequence_logits(&hidden, mask, train).unwrap())]
        }
        _ => crate::common::logits(model, head, &hidden),
    }
}

fn loss(stored: &Golden<Tensor>, which: &str, outputs: &[(&str, Tensor)]) -> Tensor {
    let labels = |name: &str| &stored[format!("{which}.{name}").as_str()];
    let cross_entropy = |logits: &Tensor, labels: &Tensor| {
        let classes = *logits.size().last().unwrap();
        let (logits, labels) = (logits.reshape([-1, classes]), labels.reshape([-1]));
        logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)
    };
    match outputs {
        [("logits", logits)] => cross_entropy(logits, labels("labels")),
        [(_, start), (_, end)] => {
            let start = cross_entropy(start, labels("start_positions"));
            (start + cross_entropy(end, labels("end_positions"))) / 2.0
        }
        _ => panic!("no such outputs"),
    }
}

/// What transformers calls a parameter of a case.
fn stored_name(case: &str, name: &str) -> String {
    if !case.starts_with("bert") && !case.starts_with("modernbert") {
        return name.replace("sequence_head.", "");
    }
    let name = name.replace("sequence_head.pooler.", "bert.pooler.");
    for head in ["lm_head.", "qa_head.", "token_head.", "sequence_head."] {
        if let Some(rest) = name.strip_prefix(head) {
            let last = rest.starts_with("classifier.");
            return if last { rest.to_owned() } else { format!("head.{rest}") };
        }
    }
    name
}

#[test]
fn outputs_and_losses_match_transformers() {
    for (name, head) in CASES {
        let model = load(name, &[head]);
        let stored = |file: &str| Golden::load(&case(name).join(file), Tensor::read_safetensors);
        let (inputs, want) = (stored("inputs.safetensors"), stored("outputs.safetensors"));
        for which in ["b0", "b1"] {
            let inputs_of = batch(&inputs, which);
            let states = model.encode_all(&inputs_of, false).unwrap();
            let got: Vec<Tensor> = states.iter().map(|state| real(state, &inputs_of)).collect();
            match want.get(&format!("{which}.hidden_states")) {
                Some(want) => assert_close(name, &Tensor::stack(&got, 0), want, 1e-5),
                None => {
                    let want = &want[format!("{which}.last_hidden_state").as_str()];
                    assert_close(name, got.last().unwrap(), want, 1e-5);
                }
            }
            let got = logits(&model, head, &inputs_of, false);
            for (part, logits) in &got {
                let title = format!("{which}.{part}");
                let logits =
                    if head == SEQUENCE { logits.copy() } else { real(logits, &inputs_of) };
                assert_close(&format!("{name} {title}"), &logits, &want[title.as_str()], 1e-5);
            }
            if head == Head::Span {
                continue; // over padding too, whose logits mean nothing; see the gradients
            }
            let loss = loss(&inputs, which, &got).view([1]);
            let title = format!("{which}.loss");
            assert_close(name, &loss, &want[title.as_str()].view([1]), 1e-5);
        }
    }
}

#[test]
fn gradients_match_transformers() {
    let mut cases = 0;
    for (name, head) in CASES {
        let path = case(name).join("grads.safetensors");
        if !path.exists() {
            continue;
        }
        cases += 1;
        let model = load(name, &[head]);
        let inputs = Golden::load(&case(name).join("inputs.safetensors"), Tensor::read_safetensors);
        loss(&inputs, "b0", &logits(&model, head, &batch(&inputs, "b0"), false)).backward();
        let stored = Golden::load(&path, Tensor::read_safetensors);
        let parameters = model.named_parameters();
        assert_eq!(parameters.len(), stored.names().count(), "{name}");
        for (parameter, tensor) in parameters {
            let title = format!("{name} gradient of {parameter}");
            let want = &stored[stored_name(name, &parameter).as_str()];
            assert_close(&title, &tensor.grad(), want, 1e-4);
        }
    }
    assert_eq!(cases, 21);
}

#[test]
fn a_folder_has_the_keys_of_its_class_and_comes_back_the_same() {
    for (name, head) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let model = load(name, &[head]);
        model.save(folder.path(), head).unwrap();
        let (ours, theirs) = (
            read(&folder.path().join("model.safetensors")),
            read(&case(name).join("model.safetensors")),
        );
        assert!(ours.keys().eq(theirs.keys()), "{name}: {:?}", ours.keys());
        for (key, tensor) in &theirs {
            assert_eq!(&ours[key], &tensor.to_kind(Kind::Float), "{name}: {key}");
        }
        assert!(!folder.path().join("heads.safetensors").exists());
        let config = Config::from_file(folder.path().join("config.json")).unwrap();
        assert_eq!(config.architecture, model.config().architecture);
        assert_eq!(config.head().unwrap(), head);
        let (again, report) =
            Model::load(folder.path(), &[head], Device::Cpu, LoadOptions::default()).unwrap();
        assert_eq!(report, Default::default(), "{name}");
        for ((name, a), (_, b)) in model.named_parameters().iter().zip(again.named_parameters()) {
            assert_eq!(*a, b, "{name}");
        }
    }
}

#[test]
fn heads_that_share_names_in_transformers_live_side_by_side() {
    let all = [Head::MaskedLm, Head::Span, TOKEN, SEQUENCE];
    for (name, start) in [("modernbert_mlm", "model.safetensors"), ("bert_mlm", "")] {
        let (model, report) =
            Model::load(case(name), &all, Device::Cpu, LoadOptions::default()).unwrap();
        let parameters = model.named_parameters();
        let get = |name: &str| {
            &parameters
                .iter()
                .find(|(other, _)| other == name)
                .unwrap_or_else(|| panic!("{name}"))
                .1
        };
        if !start.is_empty() {
            // Each starts from the stored dense layer, as transformers' classes do.
            let dense = &read(&case(name).join(start))["head.dense.weight"];
            for head in ["lm", "qa", "token", "sequence"] {
                assert_eq!(get(&format!("{head}_head.dense.weight")), dense);
            }
            assert_ne!(get("token_head.classifier.weight").size(), [3, 32]);
            assert!(report.missing.contains(&"qa_head.classifier.weight".to_owned()));
        }
        // What is trained apart is kept apart, and comes back.
        let _no_grad = tch::no_grad_guard();
        for (k, (_, parameter)) in parameters.iter().enumerate() {
            let _ = parameter.shallow_clone().fill_(k as f64 / 100.0);
        }
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), Head::Span).unwrap();
        let (again, report) =
            Model::load(folder.path(), &all, Device::Cpu, LoadOptions::default()).unwrap();
        assert_eq!(report, Default::default(), "{name}");
        for ((name, a), (_, b)) in parameters.iter().zip(again.named_parameters()) {
            assert_eq!(*a, b, "{name}");
        }
        // The labels of spans are no labels of tokens.
        let alone = [Head::TokenClassification { labels: 2 }];
        std::fs::remove_file(folder.path().join("heads.safetensors")).unwrap();
        let (_, report) =
            Model::load(folder.path(), &alone, Device::Cpu, LoadOptions::default()).unwrap();
        assert!(report.missing.contains(&"token_head.classifier.weight".to_owned()), "{report:?}");
    }
}

/// Models of three layers wide enough to be packed, with this dropout.
const WIDE: [fn(f64) -> Model; 5] =
    [wide_modern, wide_euro, wide_deberta, wide_distil, wide_electra];

fn wide_modern(dropout: f64) -> Model {
    let modern = ModernBert {
        layer_types: vec![LayerType::Global, LayerType::Local, LayerType::Local],
        local_attention: 10,
        embedding_dropout: dropout,
        classifier_pooling: Pooling::Mean,
        ..ModernBert::new(3)
    };
    wide(
        Config { classifier_dropout: Some(dropout), ..Config::mmbert_base() },
        Architecture::ModernBert(modern),
        dropout,
    )
}

fn wide_euro(dropout: f64) -> Model {
    let euro = EuroBert { num_key_value_heads: Some(2), ..EuroBert::default() };
    wide(Config::eurobert_210m(), Architecture::EuroBert(euro), dropout)
}

fn wide_deberta(dropout: f64) -> Model {
    let deberta = DebertaV2 { position_buckets: 16, ..DebertaV2::v3() };
    wide(Config::mdeberta_v3_base(), Architecture::DebertaV2(deberta), dropout)
}

fn wide_distil(dropout: f64) -> Model {
    let distil = DistilBert { qa_dropout: dropout, ..DistilBert::default() };
    let usual = Config { type_vocab_size: 1, ..Config::bert_base_multilingual() };
    wide(usual, Architecture::DistilBert(distil), dropout)
}

fn wide_electra(dropout: f64) -> Model {
    let electra = Architecture::Electra { embedding_size: 48 };
    wide(Config::bert_base_multilingual(), electra, dropout)
}

fn wide(usual: Config, architecture: Architecture, dropout: f64) -> Model {
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
        pad_token_id: 0,
        bos_token_id: Some(2),
        eos_token_id: Some(1),
        ..usual
    };
    Model::new(&config, &[Head::MaskedLm, Head::Span, SEQUENCE], Device::Cpu, 5).unwrap()
}

/// Rows of these lengths, padded to `width`.
fn rows(lengths: &[usize], width: usize) -> Inputs {
    let row = |(number, &length): (usize, &usize)| -> Vec<u32> {
        (0..length as u32).map(|k| 5 + (number as u32 * 11 + k * 7) % 50).collect()
    };
    let mut rows: Vec<Vec<u32>> = lengths.iter().enumerate().map(row).collect();
    rows.push(vec![5; width]);
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let inputs = Inputs::from_rows(&rows, 0).unwrap();
    let count = lengths.len() as i64;
    let mask = inputs.attention_mask.map(|mask| mask.narrow(0, 0, count));
    Inputs { attention_mask: mask, ..Inputs::new(inputs.input_ids.narrow(0, 0, count)) }
}

#[test]
fn packed_rows_have_the_states_and_gradients_of_padded_ones() {
    let _alone = alone();
    for (wide, dropout) in WIDE.into_iter().flat_map(|wide| [(wide, 0.0), (wide, 0.3)]) {
        let pass = |double: bool| {
            let mut model = wide(dropout);
            if double {
                model.set_kind(Kind::Double).unwrap(); // is not packed
            }
            tch::manual_seed(9);
            let inputs = rows(&[40, 3, 17, 1], 44);
            let hidden = model.encode(&inputs, true).unwrap();
            let mask = inputs.attention_mask.as_ref();
            let scores = model.sequence_logits(&hidden, mask, true).unwrap();
            let hidden = real(&hidden, &inputs);
            let starts = real(&model.span_logits(&hidden, false).unwrap().0, &inputs);
            let sum = |x: &Tensor| x.sum(Kind::Double);
            (sum(&hidden.square()) + sum(&scores) + sum(&starts)).backward();
            (hidden, scores, model)
        };
        let ((states, scores, packed), (want, want_scores, padded)) = (pass(false), pass(true));
        // float32 against float64, of values up to 3: processors round differently.
        assert_close("states", &states, &want, 4e-5);
        assert_close("scores", &scores, &want_scores, 2e-5);
        for ((name, a), (_, b)) in packed.named_parameters().iter().zip(padded.named_parameters()) {
            if b.grad().defined() {
                let scale = 1.0 + b.grad().abs().max().double_value(&[]);
                let off = max_abs_error(&a.grad().to_dense(None, false), &b.grad()) / scale;
                assert!(off < 1e-4, "{name}: {off}");
            }
        }
    }
}

#[test]
fn a_row_depends_neither_on_its_padding_nor_on_what_is_beside_it() {
    let _alone = alone();
    for (wide, train) in WIDE.into_iter().flat_map(|wide| [(wide, false), (wide, true)]) {
        let model = wide(0.3);
        let pass = |lengths: &[usize], width: usize| {
            tch::manual_seed(3);
            model.encode(&rows(lengths, width), train).unwrap()
        };
        let alone = pass(&[30], 30);
        for (lengths, width) in [(&[30][..], 50), (&[30, 12, 4], 30), (&[30, 1], 61)] {
            let got = pass(lengths, width).narrow(0, 0, 1).narrow(1, 0, 30);
            assert_close("row", &got, &alone, 1e-5);
        }
    }
}

#[test]
fn a_token_sees_half_a_window_in_a_local_layer() {
    let narrow = |local_attention: i64| {
        let mut config = load("modernbert_mlm", &[]).config().clone();
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
        let model = narrow(window);
        let ids = |changed: i64| {
            Inputs::new(Tensor::full([1, 30], 7, (Kind::Int64, Device::Cpu)).index_fill(
                1,
                &Tensor::from_slice(&[15i64]),
                changed,
            ))
        };
        let (a, b) = (ids(7), ids(8));
        let (a, b) = (model.encode(&a, false).unwrap(), model.encode(&b, false).unwrap());
        let moved = (a - b).abs().amax([0, 2], false).gt(1e-6);
        let moved: Vec<bool> = moved.try_into().unwrap();
        let near: Vec<bool> = (0..30i64).map(|at| (at - 15).abs() <= window / 2).collect();
        assert_eq!(moved, near, "window {window}");
    }
}

#[test]
fn two_texts_read_each_other_at_their_own_positions() {
    for wide in WIDE {
        read_each_other(&wide(0.0));
    }
}

fn read_each_other(model: &Model) {
    let (target, source) = (rows(&[20, 7], 20), rows(&[13, 22], 25));
    let never = FusionConfig { local: 1, cross: 0 };
    let (own, _) = fused(model, &target, &source, &never, false).unwrap();
    assert_eq!(own, model.encode(&target, false).unwrap());
    let config = FusionConfig { local: 1, cross: 1 };
    let (own, other) = fused(model, &target, &source, &config, false).unwrap();
    // Who reads whom is told by nothing but the sides.
    let (swapped_other, swapped_own) = fused(model, &source, &target, &config, false).unwrap();
    assert_close("own", &real(&own, &target), &real(&swapped_own, &target), 1e-5);
    assert_close("other", &real(&other, &source), &real(&swapped_other, &source), 1e-5);
    // A text beside itself reads the same twice over: nothing changes.
    let (beside, _) = fused(model, &target, &target, &config, false).unwrap();
    let alone = model.encode(&target, false).unwrap();
    assert_close("beside itself", &real(&beside, &target), &real(&alone, &target), 1e-4);
    assert!(max_abs_error(&real(&own, &target), &real(&alone, &target)) > 1e-3);
}

#[test]
fn recomputed_layers_give_the_same() {
    let _alone = alone();
    let pass = |wide: fn(f64) -> Model, recompute: bool| {
        let mut model = wide(0.2);
        model.set_recompute(recompute);
        tch::manual_seed(4);
        let hidden = model.encode(&rows(&[21, 9], 21), true).unwrap();
        hidden.square().sum(Kind::Float).backward();
        let grads = model.named_parameters().into_iter().filter(|(_, p)| p.grad().defined());
        grads.map(|(name, p)| (name, p.grad().to_dense(None, false))).collect::<Vec<_>>()
    };
    for wide in WIDE {
        for ((name, a), (_, b)) in pass(wide, false).iter().zip(&pass(wide, true)) {
            assert_eq!(a, b, "{name}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refuse = |name: &str, key: &str, value: serde_json::Value| {
        let path = case(name).join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        config[key] = value;
        Config::from_json(config, "config.json").unwrap_err().to_string()
    };
    let modern = |key, value| refuse("modernbert_qa", key, value);
    let unknown = modern("model_type", "gpt2".into());
    let known = concat!(
        r#"one of "xlm-roberta", "bert", "modernbert", "eurobert", "deberta-v2", "roberta", "#,
        r#""camembert", "data2vec-text", "distilbert", "electra", got "gpt2""#,
    );
    assert!(unknown.contains(known), "{unknown}");
    for (key, value, part) in [
        ("layer_types", serde_json::json!(["full_attention"]), "num_hidden_layers = 4"),
        ("layer_types", serde_json::json!(["causal"]), "full_attention"),
        ("local_attention", 1.into(), "at least 2"),
        ("sliding_window", 0.into(), "at least 2"),
        ("sliding_window", i64::MAX.into(), "at least 2"),
        ("head_dim", 5.into(), "hidden_size / num_attention_heads = 8"),
        ("rope_scaling", serde_json::json!({"type": "yarn"}), "null"),
        (
            "rope_parameters",
            serde_json::json!({"full_attention": {"rope_type": "yarn"}}),
            "rope_parameters.full_attention.rope_type",
        ),
        ("rope_parameters", serde_json::json!({"rope_type": "default"}), "full_attention"),
        (
            "rope_parameters",
            serde_json::json!({"sliding_attention": {"type": "linear", "factor": 2}}),
            "nothing but rope_type",
        ),
        ("embedding_dropout", 2.into(), "a probability"),
        ("classifier_pooling", "max".into(), "\"cls\" or \"mean\""),
        ("num_attention_heads", 32.into(), "even size"),
    ] {
        let error = modern(key, value);
        assert!(error.contains(part) && error.contains("config.json"), "{key}: {error}");
    }
    for (key, value, part) in [
        ("num_key_value_heads", 3.into(), "a divisor of num_attention_heads = 4"),
        ("num_key_value_heads", 0.into(), "a divisor"),
        ("num_attention_heads", 32.into(), "even size"),
        ("rope_parameters", serde_json::json!({"rope_type": "yarn"}), "rope_parameters.rope_type"),
        ("rope_parameters", serde_json::json!({"rope_theta": -1.0}), "above 0"),
        ("rope_scaling", serde_json::json!({"factor": 2}), "null"),
        ("classifier_pooling", "cls".into(), "\"bos\", \"mean\" or \"late\""),
        ("head_dim", 5.into(), "hidden_size / num_attention_heads = 8"),
    ] {
        let error = refuse("eurobert_mlm", key, value);
        assert!(error.contains(part) && error.contains("config.json"), "{key}: {error}");
    }
    for (key, value, part) in [
        ("conv_kernel_size", 3.into(), "the convolution"),
        ("embedding_size", 16.into(), "32, as hidden_size says"),
        ("attention_head_size", 16.into(), "8, as hidden_size says"),
        ("pooler_hidden_size", 16.into(), "32, as hidden_size says"),
        ("pos_att_type", "c2p|p2p".into(), "of c2p and p2c"),
        ("pos_att_type", serde_json::json!(["c2p", 1]), "a list, or one text"),
        ("norm_rel_ebd", "batch_norm".into(), "of layer_norm"),
        ("position_buckets", 2.into(), "an integer from 4"),
        ("max_relative_positions", 5.into(), "more than position_buckets / 2 + 1 = 5"),
        ("max_relative_positions", i64::MAX.into(), "up to 16777216"),
        ("type_vocab_size", (-1).into(), "an integer from 1"),
        ("pooler_dropout", 2.into(), "a probability"),
        ("tie_word_embeddings", false.into(), "no decoder of its own"),
    ] {
        let error = refuse("deberta_mlm", key, value);
        assert!(error.contains(part) && error.contains("config.json"), "{key}: {error}");
    }
    for (name, key, value, part) in [
        ("distilbert_qa", "n_heads", 3.into(), "key `n_heads`: expected a divisor of dim = 8"),
        ("distilbert_qa", "dim", 0.into(), "key `dim`: expected an integer from 1"),
        ("distilbert_qa", "qa_dropout", 2.into(), "key `qa_dropout`: expected a probability"),
        (
            "distilbert_qa",
            "seq_classif_dropout",
            "a".into(),
            "key `seq_classif_dropout`: expected a num",
        ),
        (
            "electra_qa",
            "embedding_size",
            0.into(),
            "key `embedding_size`: expected an integer from 1",
        ),
        ("roberta_qa", "max_position_embeddings", 2.into(), "more than pad_token_id + 1 = 2"),
    ] {
        let error = refuse(name, key, value);
        assert!(error.contains(part) && error.contains("config.json"), "{key}: {error}");
    }
}

#[test]
fn a_file_of_mdeberta_is_understood() {
    // As the published model has it.
    let text = r#"{"model_type": "deberta-v2", "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
        "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 512,
        "relative_attention": true, "position_buckets": 256, "norm_rel_ebd": "layer_norm",
        "share_att_key": true, "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7,
        "max_relative_positions": -1, "position_biased_input": false, "num_attention_heads": 12,
        "num_hidden_layers": 12, "type_vocab_size": 0, "vocab_size": 251000}"#;
    let config = Config::from_json(serde_json::from_str(text).unwrap(), "config.json").unwrap();
    let legacy = DebertaV2 { legacy: true, ..DebertaV2::v3() };
    let want =
        Config { architecture: Architecture::DebertaV2(legacy), ..Config::mdeberta_v3_base() };
    assert_eq!(config, want);
    let written = config.to_json();
    assert_eq!(written["type_vocab_size"], 0);
    assert_eq!(written["pos_att_type"], serde_json::json!(["c2p", "p2c"]));
    assert_eq!(Config::from_json(written, "config.json").unwrap().architecture, want.architecture);
}

#[test]
fn the_published_masked_lm_head_of_deberta_is_found() {
    let folder = tempfile::tempdir().unwrap();
    crate::common::copy_folder(&case("deberta_mlm"), folder.path());
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("legacy");
    std::fs::write(&path, config.to_string()).unwrap();
    let unused = ["deberta.embeddings.position_embeddings.weight", "mask_predictions.dense.weight"];
    crate::common::edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        for name in unused {
            tensors.insert(name.into(), Tensor::ones([4, 32], (Kind::Float, Device::Cpu)));
        }
    });
    let options = LoadOptions::default();
    let (model, report) =
        Model::load(folder.path(), &[Head::MaskedLm], Device::Cpu, options).unwrap();
    assert_eq!(report.ignored, unused);
    assert!(report.missing.is_empty() && report.unexpected.is_empty(), "{report:?}");
    assert_eq!(model.config().to_json()["legacy"], false);
    for ((name, a), (_, b)) in model
        .named_parameters()
        .iter()
        .zip(load("deberta_mlm", &[Head::MaskedLm]).named_parameters())
    {
        assert_eq!(*a, b, "{name}");
    }
}

#[test]
fn half_a_window_sets_the_whole_one() {
    // As ModernBertConfig of transformers 5.23.0 does, whatever local_attention says.
    let path = case("modernbert_qa").join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    config["local_attention"] = 8.into();
    config["sliding_window"] = 2.into();
    config["head_dim"] = 8.into();
    let written = Config::from_json(config, "config.json").unwrap().to_json();
    assert_eq!(written["local_attention"], 4);
    assert!(written.get("sliding_window").is_none());
}

#[test]
fn a_file_of_2025_is_understood() {
    // The keys of mmBERT's config.json that later versions of transformers name otherwise.
    let text = r#"{"model_type": "modernbert", "vocab_size": 256000, "hidden_size": 768,
        "num_hidden_layers": 22, "intermediate_size": 1152, "num_attention_heads": 12,
        "global_attn_every_n_layers": 3, "local_attention": 128, "global_rope_theta": 160000.0,
        "local_rope_theta": 160000.0, "position_embedding_type": "sans_pos", "pad_token_id": 0,
        "bos_token_id": 2, "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1,
        "architectures": ["ModernBertForMaskedLM"]}"#;
    let config = Config::from_json(serde_json::from_str(text).unwrap(), "config.json").unwrap();
    let want = Config::mmbert_base();
    assert_eq!(config.architecture, want.architecture);
    assert_eq!(
        Config { extra: Default::default(), architectures: Vec::new(), ..config.clone() },
        want
    );
    let written = config.to_json();
    assert_eq!(written["cls_token_id"], 1);
    assert_eq!(written["rope_parameters"]["sliding_attention"]["rope_theta"], 160_000.0);
    // Written again: transformers 4 knows no others.
    assert_eq!(written["global_rope_theta"], 160_000.0);
    assert_eq!(written["local_rope_theta"], 160_000.0);
    assert_eq!(written["global_attn_every_n_layers"], 3);
}

#[test]
fn norms_may_have_their_names_of_2018() {
    let folder = tempfile::tempdir().unwrap();
    crate::common::copy_folder(&case("bert_mlm"), folder.path());
    crate::common::edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        let names: Vec<String> =
            tensors.keys().filter(|name| name.contains("LayerNorm")).cloned().collect();
        for name in names {
            let older = name.replace(".weight", ".gamma").replace(".bias", ".beta");
            let tensor = tensors.remove(&name).unwrap();
            tensors.insert(older, tensor);
        }
    });
    let options = LoadOptions::default();
    let (model, report) =
        Model::load(folder.path(), &[Head::MaskedLm], Device::Cpu, options).unwrap();
    assert_eq!(report, Default::default());
    for ((name, a), (_, b)) in
        model.named_parameters().iter().zip(load("bert_mlm", &[Head::MaskedLm]).named_parameters())
    {
        assert_eq!(*a, b, "{name}");
    }
}

#[test]
fn a_span_model_names_two_labels_whatever_it_came_from() {
    for (name, kind) in [("bert_seqcls", "Bert"), ("modernbert_seqcls", "ModernBert")] {
        let folder = tempfile::tempdir().unwrap();
        load(name, &[Head::Span]).save(folder.path(), Head::Span).unwrap();
        let config = Config::from_file(folder.path().join("config.json")).unwrap();
        assert_eq!((config.num_labels(), config.head().unwrap()), (2, Head::Span), "{kind}");
    }
}

#[test]
fn the_span_head_of_modernbert_drops_out_while_training() {
    let _alone = alone();
    let with_dropout = |p: f64| {
        let mut config = load("modernbert_qa", &[]).config().clone();
        config.classifier_dropout = Some(p);
        Model::new(&config, &[Head::Span], Device::Cpu, 1).unwrap()
    };
    let (plain, model) = (with_dropout(0.0), with_dropout(0.5));
    tch::manual_seed(3);
    let hidden = Tensor::randn([2, 5, model.config().hidden_size], (Kind::Float, Device::Cpu));
    let starts = |model: &Model, train: bool| model.span_logits(&hidden, train).unwrap().0.detach();
    let want = starts(&plain, true);
    assert!(starts(&model, false).equal(&want));
    let draws: Vec<Tensor> = (0..400).map(|_| starts(&model, true)).collect();
    assert!(!draws[0].equal(&draws[1]));
    let draws = Tensor::stack(&draws, 0);
    let mean = draws.mean_dim(0, false, Kind::Float);
    let bound = draws.std_dim(0, true, false) * (5.0 / 20.0);
    let off = (mean - want).abs();
    assert!(off.le_tensor(&bound).all().int64_value(&[]) == 1, "{off} above {bound}");
}

#[test]
fn segments_are_told_apart_where_there_are_any() {
    let options = LoadOptions { segments: Segments::Learned2, seed: 0 };
    let error = Model::load(case("modernbert_qa"), &[], Device::Cpu, options).unwrap_err();
    assert!(error.to_string().contains("no segments"), "{error}");
    let model = load("modernbert_qa", &[]);
    let ids = Tensor::from_slice(&[5i64, 6, 7]).view([1, 3]);
    let inputs =
        Inputs { token_type_ids: Some(ids.gt(5).to_kind(Kind::Int64)), ..Inputs::new(ids) };
    let error = model.encode(&inputs, false).unwrap_err().to_string();
    assert!(error.contains("architecture has no segments"), "{error}");
    let (bert, _) = Model::load(case("bert_qa"), &[], Device::Cpu, options).unwrap();
    assert_eq!(bert.config().type_vocab_size, 2);
    assert!(bert.encode(&inputs, false).is_ok());
}
