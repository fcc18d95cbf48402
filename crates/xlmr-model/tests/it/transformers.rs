//! Tests of outputs, losses, gradients and files of every architecture against transformers (see
//! crates/testkit/fixtures/README.md).

use tch::{Device, Kind, Reduction, Tensor};
use testkit::{Golden, assert_close};
use xlmr_model::{Config, Head, Inputs, LoadOptions, Model};

use crate::common::{batch, case, read};

pub const SEQUENCE: Head = Head::SequenceClassification { labels: 3 };
const TOKEN: Head = Head::TokenClassification { labels: 5 };

/// Number of XLM-R's cases, which come first. Their outputs at padding are stored; the other cases
/// have zeros there.
const WITH_PADDING: usize = 6;

/// All stored cases with their heads.
const CASES: [(&str, Head); 35] = [
    ("mlm", Head::MaskedLm),
    ("mlm_sharded_bf16", Head::MaskedLm),
    ("qa", Head::Span),
    ("qa_two_segments", Head::Span),
    ("seqcls", SEQUENCE),
    ("tokcls", TOKEN),
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

/// Loads a stored case with these heads.
pub fn load(name: &str, heads: &[Head]) -> Model {
    Model::load(case(name), heads, Device::Cpu, LoadOptions::default()).unwrap().0
}

/// Replaces values at padding by zeros.
pub fn at_tokens(values: &Tensor, inputs: &Inputs) -> Tensor {
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

fn loss(stored: &Golden<Tensor>, batch_name: &str, outputs: &[(&str, Tensor)]) -> Tensor {
    let labels = |name: &str| &stored[format!("{batch_name}.{name}").as_str()];
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

/// Returns transformers' name for a parameter of a case.
fn stored_name(case: &str, name: &str) -> String {
    if case == "mlm" && name.ends_with("word_embeddings.weight") {
        return "lm_head.decoder.weight".to_owned(); // the tied parameters have one gradient
    }
    if !case.starts_with("bert") && !case.starts_with("modernbert") {
        return name.replace("sequence_head.", "");
    }
    let name = name.replace("sequence_head.pooler.", "bert.pooler.");
    for head in ["lm_head.", "qa_head.", "token_head.", "sequence_head."] {
        if let Some(suffix) = name.strip_prefix(head) {
            let is_classifier = suffix.starts_with("classifier.");
            return if is_classifier { suffix.to_owned() } else { format!("head.{suffix}") };
        }
    }
    name
}

#[test]
fn outputs_and_losses_match_transformers() {
    for (index, (name, head)) in CASES.into_iter().enumerate() {
        let model = load(name, &[head]);
        let stored = |file: &str| Golden::load(&case(name).join(file), Tensor::read_safetensors);
        let padding = index < WITH_PADDING;
        let (inputs, expected) = (stored("inputs.safetensors"), stored("outputs.safetensors"));
        for batch_name in ["b0", "b1"] {
            let inputs_of_batch = batch(&inputs, batch_name);
            let states = model.encode_all(&inputs_of_batch, false).unwrap();
            let at_tokens = |values: &Tensor| {
                if padding { values.copy() } else { at_tokens(values, &inputs_of_batch) }
            };
            let actual: Vec<Tensor> = states.iter().map(at_tokens).collect();
            match expected.get(&format!("{batch_name}.hidden_states")) {
                Some(expected) => {
                    for (number, actual) in (0..).zip(&actual) {
                        assert_close(name, actual, &expected.get(number), 1e-5);
                    }
                }
                None => {
                    let expected = &expected[format!("{batch_name}.last_hidden_state").as_str()];
                    assert_close(name, actual.last().unwrap(), expected, 1e-5);
                }
            }
            let actual = logits(&model, head, &inputs_of_batch, false);
            for (part, logits) in &actual {
                let title = format!("{batch_name}.{part}");
                let logits = if head == SEQUENCE { logits.copy() } else { at_tokens(logits) };
                assert_close(&format!("{name} {title}"), &logits, &expected[title.as_str()], 1e-5);
            }
            if head == Head::Span && !padding {
                continue; // includes padding, whose logits are meaningless; see the gradients
            }
            let loss = loss(&inputs, batch_name, &actual).view([1]);
            let title = format!("{batch_name}.loss");
            assert_close(name, &loss, &expected[title.as_str()].view([1]), 1e-5);
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
            let expected = &stored[stored_name(name, &parameter).as_str()];
            assert_close(&title, &tensor.grad(), expected, 1e-4);
        }
    }
    assert_eq!(cases, 24);
}

#[test]
fn a_folder_has_the_keys_of_its_class_and_is_loaded_unchanged() {
    for (name, head) in CASES {
        if name == "mlm_sharded_bf16" {
            continue; // its tensors are in several files
        }
        let folder = tempfile::tempdir().unwrap();
        let model = load(name, &[head]);
        model.save(folder.path(), head).unwrap();
        let (written, published) = (
            read(&folder.path().join("model.safetensors")),
            read(&case(name).join("model.safetensors")),
        );
        assert!(written.keys().eq(published.keys()), "{name}: {:?}", written.keys());
        for (key, tensor) in &published {
            assert_eq!(&written[key], &tensor.to_kind(Kind::Float), "{name}: {key}");
        }
        assert!(!folder.path().join("heads.safetensors").exists());
        let config = Config::from_file(folder.path().join("config.json")).unwrap();
        assert_eq!(config.architecture, model.config().architecture);
        assert_eq!(config.head().unwrap(), head);
        let (reloaded, report) =
            Model::load(folder.path(), &[head], Device::Cpu, LoadOptions::default()).unwrap();
        assert_eq!(report, Default::default(), "{name}");
        for ((name, a), (_, b)) in model.named_parameters().iter().zip(reloaded.named_parameters())
        {
            assert_eq!(*a, b, "{name}");
        }
    }
}

#[test]
fn heads_with_equal_names_in_transformers_can_be_combined() {
    let all = [Head::MaskedLm, Head::Span, TOKEN, SEQUENCE];
    for (name, weights_file) in [("modernbert_mlm", "model.safetensors"), ("bert_mlm", "")] {
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
        if !weights_file.is_empty() {
            // Each head starts from the stored dense layer, as in transformers' classes.
            let dense = &read(&case(name).join(weights_file))["head.dense.weight"];
            for head in ["lm", "qa", "token", "sequence"] {
                assert_eq!(get(&format!("{head}_head.dense.weight")), dense);
            }
            assert_ne!(get("token_head.classifier.weight").size(), [3, 32]);
            assert!(report.missing.contains(&"qa_head.classifier.weight".to_owned()));
        }
        // Heads that are trained separately are saved separately and restored.
        let _no_grad = tch::no_grad_guard();
        for (k, (_, parameter)) in parameters.iter().enumerate() {
            let _ = parameter.shallow_clone().fill_(k as f64 / 100.0);
        }
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), Head::Span).unwrap();
        let (reloaded, report) =
            Model::load(folder.path(), &all, Device::Cpu, LoadOptions::default()).unwrap();
        assert_eq!(report, Default::default(), "{name}");
        for ((name, a), (_, b)) in parameters.iter().zip(reloaded.named_parameters()) {
            assert_eq!(*a, b, "{name}");
        }
        // Labels of spans are not used as labels of tokens.
        let token_only = [Head::TokenClassification { labels: 2 }];
        std::fs::remove_file(folder.path().join("heads.safetensors")).unwrap();
        let (_, report) =
            Model::load(folder.path(), &token_only, Device::Cpu, LoadOptions::default()).unwrap();
        assert!(report.missing.contains(&"token_head.classifier.weight".to_owned()), "{report:?}");
    }
}
