//! Tests that outputs, losses, gradients and files of every architecture match transformers (see
//! crates/testkit/fixtures/README.md).

use tch::{Kind, Reduction, Tensor};
use testkit::{Golden, assert_close};
use xlmr_model::{Architecture, Config, Head, Inputs, Model};

use crate::common::{
    SEQUENCE, TOKEN, assert_equal_parameters, case_folder, compute_logits, load_case, open_folder,
    parameters, read_stored, read_tensors, select_batch, zero_padding,
};

/// Returns the names of all stored cases, each with the head of its class.
fn stored_cases() -> Vec<(String, Head)> {
    let entries = case_folder("").read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 47);
    let config = |name: &String| Config::from_file(case_folder(name).join("config.json")).unwrap();
    let heads: Vec<Head> = names.iter().map(|name| config(name).head().unwrap()).collect();
    names.into_iter().zip(heads).collect()
}

fn encode_to_logits(model: &Model, head: Head, inputs: &Inputs) -> Vec<(&'static str, Tensor)> {
    let hidden = model.encode(inputs, false).unwrap();
    compute_logits(model, head, &hidden, inputs.attention_mask.as_ref())
}

fn compute_loss(stored: &Golden<Tensor>, batch_name: &str, outputs: &[(&str, Tensor)]) -> Tensor {
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
        let name = match case.starts_with("rembert") {
            true => name.replace("sequence_head.pooler.", "rembert.pooler."),
            false => name.to_owned(),
        };
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
    for (name, head) in stored_cases() {
        let name = name.as_str();
        let model = load_case(name, &[head]);
        // In XLM-R's cases, the stored outputs at padding are transformers' values; in other cases,
        // they are zeros.
        let compare_padding = model.config().architecture == Architecture::XlmRoberta;
        let inputs = read_stored(name, "inputs.safetensors");
        let expected = read_stored(name, "outputs.safetensors");
        for batch_name in ["b0", "b1"] {
            let batch_inputs = select_batch(&inputs, batch_name);
            let states = model.encode_all(&batch_inputs, false).unwrap();
            let comparable_values = |values: &Tensor| {
                if compare_padding { values.copy() } else { zero_padding(values, &batch_inputs) }
            };
            let actual: Vec<Tensor> = states.iter().map(comparable_values).collect();
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
            let actual = encode_to_logits(&model, head, &batch_inputs);
            for (output_name, logits) in &actual {
                let title = format!("{batch_name}.{output_name}");
                let logits =
                    if head == SEQUENCE { logits.copy() } else { comparable_values(logits) };
                assert_close(&format!("{name} {title}"), &logits, &expected[title.as_str()], 1e-5);
            }
            if head == Head::Span && !compare_padding {
                continue; // the stored loss includes padding, whose logits are meaningless
            }
            let loss = compute_loss(&inputs, batch_name, &actual).view([1]);
            let title = format!("{batch_name}.loss");
            assert_close(name, &loss, &expected[title.as_str()].view([1]), 1e-5);
        }
    }
}

#[test]
fn gradients_match_transformers() {
    let mut n_compared = 0;
    for (name, head) in stored_cases() {
        let name = name.as_str();
        if !case_folder(name).join("grads.safetensors").exists() {
            continue;
        }
        n_compared += 1;
        let model = load_case(name, &[head]);
        let inputs = read_stored(name, "inputs.safetensors");
        let logits = encode_to_logits(&model, head, &select_batch(&inputs, "b0"));
        compute_loss(&inputs, "b0", &logits).backward();
        let gradients = read_stored(name, "grads.safetensors");
        let parameters = model.named_parameters();
        assert_eq!(parameters.len(), gradients.names().count(), "{name}");
        for (parameter, tensor) in parameters {
            let title = format!("{name} gradient of {parameter}");
            let expected = &gradients[stored_name(name, &parameter).as_str()];
            assert_close(&title, &tensor.grad(), expected, 1e-4);
        }
    }
    assert_eq!(n_compared, 33);
}

#[test]
fn a_folder_has_the_keys_of_its_class_and_is_loaded_unchanged() {
    for (name, head) in stored_cases() {
        let name = name.as_str();
        if name == "mlm_sharded_bf16" {
            continue; // its tensors are in several files
        }
        let folder = tempfile::tempdir().unwrap();
        let model = load_case(name, &[head]);
        model.save(folder.path(), head).unwrap();
        let (written, published) = (
            read_tensors(&folder.path().join("model.safetensors")),
            read_tensors(&case_folder(name).join("model.safetensors")),
        );
        assert!(written.keys().eq(published.keys()), "{name}: {:?}", written.keys());
        for (key, tensor) in &published {
            assert_eq!(&written[key], &tensor.to_kind(Kind::Float), "{name}: {key}");
        }
        assert!(!folder.path().join("heads.safetensors").exists());
        let config = Config::from_file(folder.path().join("config.json")).unwrap();
        assert_eq!(config.architecture, model.config().architecture);
        assert_eq!(config.head().unwrap(), head);
        let (reloaded, report) = open_folder(folder.path(), &[head]).unwrap();
        assert_eq!(report, Default::default(), "{name}");
        assert_equal_parameters(&reloaded, &model);
    }
}

#[test]
fn heads_with_equal_names_in_transformers_can_be_combined() {
    let all_heads = [Head::MaskedLm, Head::Span, TOKEN, SEQUENCE];
    for (name, weights_file) in [("modernbert_mlm", "model.safetensors"), ("bert_mlm", "")] {
        let (model, report) = open_folder(&case_folder(name), &all_heads).unwrap();
        let parameters = parameters(&model);
        if !weights_file.is_empty() {
            // Every head is loaded from the stored dense layer, because transformers' classes all
            // name it `head.dense`.
            let dense = &read_tensors(&case_folder(name).join(weights_file))["head.dense.weight"];
            for head in ["lm", "qa", "token", "sequence"] {
                assert_eq!(&parameters[&format!("{head}_head.dense.weight")], dense);
            }
            assert_ne!(parameters["token_head.classifier.weight"].size(), [3, 32]);
            assert!(report.missing.contains(&"qa_head.classifier.weight".to_owned()));
        }
        // If training has changed the heads, each head is saved and loaded with its own values.
        let _no_grad = tch::no_grad_guard();
        for (k, parameter) in parameters.values().enumerate() {
            let _ = parameter.shallow_clone().fill_(k as f64 / 100.0);
        }
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), Head::Span).unwrap();
        let (reloaded, report) = open_folder(folder.path(), &all_heads).unwrap();
        assert_eq!(report, Default::default(), "{name}");
        assert_equal_parameters(&reloaded, &model);
        // The saved `classifier` belongs to the span head, so it is not loaded as the layer of
        // token labels.
        let token_only = [Head::TokenClassification { labels: 2 }];
        std::fs::remove_file(folder.path().join("heads.safetensors")).unwrap();
        let (_, report) = open_folder(folder.path(), &token_only).unwrap();
        assert!(report.missing.contains(&"token_head.classifier.weight".to_owned()), "{report:?}");
    }
}
