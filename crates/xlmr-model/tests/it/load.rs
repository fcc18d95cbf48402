//! Tests of loading model folders of every layout, and of damaged folders.
use std::path::Path;

use serde_json::json;
use tch::{Device, Kind, Tensor};
use testkit::{assert_close, assert_contains};
use xlmr_model::{Head, Inputs, LoadOptions, LoadReport, Model, Segments};

use crate::common::{
    case_folder, edit_json, edit_tensors, ids, load_case, lock_generator, open_folder, parameters,
    read_stored, select_batch, small_config, temporary_copy,
};

const EMBEDDINGS: &str = "roberta.embeddings.word_embeddings.weight";

fn assert_error(folder: &Path, heads: &[Head], parts: &[&str]) {
    assert_contains(&open_folder(folder, heads).unwrap_err().to_string(), parts);
}

#[test]
fn a_complete_checkpoint_has_an_empty_report() {
    let (_, report) = open_folder(&case_folder("mlm"), &[Head::MaskedLm]).unwrap();
    assert_eq!(report, LoadReport::default());
    let (_, report) = open_folder(&case_folder("mlm_sharded_bf16"), &[Head::MaskedLm]).unwrap();
    assert_eq!(report.converted.len(), 42);
    assert!(report.converted.iter().all(|(_, dtype)| dtype == "BF16"));
    assert_eq!(LoadReport { converted: Vec::new(), ..report }, LoadReport::default());
}

#[test]
fn missing_heads_are_initialised_from_the_seed_and_reported() {
    let options = |seed| LoadOptions { seed, ..LoadOptions::default() };
    let initial_logit = |seed| {
        let heads = [Head::MaskedLm, Head::Span];
        let (model, report) =
            Model::load(case_folder("mlm"), &heads, Device::Cpu, options(seed)).unwrap();
        assert_eq!(report.missing, ["qa_outputs.bias", "qa_outputs.weight"]);
        let hidden = Tensor::ones([1, 1, 32], (Kind::Float, Device::Cpu));
        model.span_logits(&hidden, false).unwrap().0.double_value(&[0, 0])
    };
    assert_eq!(initial_logit(1), initial_logit(1));
    assert_ne!(initial_logit(1), initial_logit(2));
    let (_, report) = open_folder(&case_folder("mlm"), &[]).unwrap();
    assert_eq!(report.unexpected.len(), 5);
    assert!(report.unexpected.iter().all(|name| name.starts_with("lm_head.")));
}

#[test]
fn mapped_embeddings_give_the_same_hidden_states() {
    let inputs = Inputs::new(Tensor::from_slice(&[0i64, 7, 8, 299, 2]).view([1, 5]));
    for name in ["mlm", "mlm_sharded_bf16"] {
        let hidden = |map| {
            let options = LoadOptions { inference: map, ..LoadOptions::default() };
            let (model, _) = Model::load(case_folder(name), &[], Device::Cpu, options).unwrap();
            model.encode(&inputs, false).unwrap()
        };
        assert_eq!(hidden(true), hidden(false), "{name}");
    }
}

#[test]
fn untied_decoders_have_separate_weights() {
    let _guard = lock_generator();
    let folder = temporary_copy(&case_folder("mlm"));
    edit_json(&folder.path().join("config.json"), |config| {
        config.insert("tie_word_embeddings".into(), json!(false));
    });
    let options = (Kind::Float, Device::Cpu);
    tch::manual_seed(5);
    let (weight, bias) = (Tensor::randn([300, 32], options), Tensor::randn([300], options));
    edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        tensors.insert("lm_head.decoder.weight".into(), weight.copy());
        tensors.insert("lm_head.decoder.bias".into(), bias.copy());
    });
    let (model, report) = open_folder(folder.path(), &[Head::MaskedLm]).unwrap();
    // Like transformers, this crate uses `lm_head.decoder.bias` and ignores `lm_head.bias`.
    assert_eq!(report.ignored, ["lm_head.bias"]);
    let hidden = Tensor::randn([4, 32], options);
    let expected = model.mlm_transform(&hidden).unwrap().matmul(&weight.tr()) + &bias;
    assert_close("logits", &model.mlm_logits(&hidden).unwrap(), &expected, 1e-5);
    assert!(model.named_parameters().iter().any(|(name, _)| name == "lm_head.decoder.weight"));
    model.mlm_logits(&hidden).unwrap().sum(Kind::Float).backward();
    assert!(!model.word_embeddings().grad().defined());
}

#[test]
fn tied_weights_may_have_either_name_but_only_one_value() {
    let folder = temporary_copy(&case_folder("mlm"));
    let path = folder.path().join("model.safetensors");
    let decoder = "lm_head.decoder.weight";
    edit_tensors(&path, |tensors| {
        let embeddings = tensors.remove(EMBEDDINGS).unwrap();
        tensors.insert(decoder.into(), embeddings);
    });
    let (model, report) = open_folder(folder.path(), &[Head::MaskedLm]).unwrap();
    assert_eq!(report, LoadReport::default());
    assert!(model.word_embeddings().equal(load_case("mlm", &[Head::MaskedLm]).word_embeddings()));
    edit_tensors(&path, |tensors| {
        let embeddings = tensors[decoder].copy();
        tensors.insert(EMBEDDINGS.into(), embeddings);
    });
    assert_eq!(open_folder(folder.path(), &[Head::MaskedLm]).unwrap().1, LoadReport::default());
    edit_tensors(&path, |tensors| {
        let embeddings = &tensors[decoder] + 1.0;
        tensors.insert(EMBEDDINGS.into(), embeddings);
    });
    assert_error(folder.path(), &[Head::MaskedLm], &[decoder, "\"tie_word_embeddings\": false"]);
}

#[test]
fn a_second_segment_is_initially_equal_and_trainable() {
    let options = LoadOptions { segments: Segments::Learned2, ..LoadOptions::default() };
    let (model, report) =
        Model::load(case_folder("qa"), &[Head::Span], Device::Cpu, options).unwrap();
    assert_eq!(report, LoadReport::default());
    assert_eq!(model.config().type_vocab_size, 2);
    let mut two_segments = select_batch(&read_stored("qa", "inputs.safetensors"), "b0");
    let expected = load_case("qa", &[Head::Span]).encode(&two_segments, false).unwrap();
    let types = Tensor::zeros([4, 20], (Kind::Int64, Device::Cpu));
    let _ = types.narrow(1, 8, 12).fill_(1);
    two_segments.token_type_ids = Some(types);
    let actual = model.encode(&two_segments, false).unwrap();
    assert_close("hidden", &actual, &expected, 1e-6);
    actual.narrow(2, 0, 1).sum(Kind::Float).backward();
    let rows = parameters(&model)["roberta.embeddings.token_type_embeddings.weight"].grad();
    assert!(!rows.get(0).equal(&rows.get(1)));
    // If the checkpoint has two rows, they are loaded unchanged.
    let (model, _) =
        Model::load(case_folder("qa_two_segments"), &[Head::Span], Device::Cpu, options).unwrap();
    let expected = load_case("qa_two_segments", &[Head::Span]);
    let hidden = |model: &Model| model.encode(&Inputs::new(ids(1, 4)), false).unwrap();
    assert!(hidden(&model).equal(&hidden(&expected)));
}

#[test]
fn incomplete_folders_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    assert_error(&folder.path().join("none"), &[], &["none", "no such folder"]);
    assert_error(folder.path(), &[], &["config.json", "needs a config.json"]);
    small_config().write(folder.path().join("config.json")).unwrap();
    assert_error(folder.path(), &[], &["neither model.safetensors nor", "download"]);
    std::fs::write(folder.path().join("pytorch_model.bin"), b"x").unwrap();
    assert_error(folder.path(), &[], &["pickle", "save_pretrained"]);
}

#[test]
fn damaged_weights_are_reported() {
    let folder = temporary_copy(&case_folder("qa"));
    let removed = "roberta.encoder.layer.1.output.dense.bias";
    edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        assert!(tensors.remove(removed).is_some());
    });
    assert_error(folder.path(), &[], &["1 tensors", removed]);

    for (key, size, parts) in [
        ("vocab_size", 301, &["vocab_size = 301", EMBEDDINGS, "300 rows"][..]),
        (
            "intermediate_size",
            64,
            &["model.safetensors", "intermediate.dense.weight", "[64, 32]", "[128, 32]"],
        ),
    ] {
        let folder = temporary_copy(&case_folder("qa"));
        edit_json(&folder.path().join("config.json"), |config| {
            config.insert(key.into(), json!(size));
        });
        assert_error(folder.path(), &[], parts);
    }

    let parts = ["classifier.weight", "[4, 32]", "[5, 32]"];
    assert_error(&case_folder("tokcls"), &[Head::TokenClassification { labels: 4 }], &parts);

    let folder = temporary_copy(&case_folder("qa"));
    edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        let bias = tensors["qa_outputs.bias"].to_kind(Kind::Int64);
        tensors.insert("qa_outputs.bias".into(), bias);
    });
    assert_error(folder.path(), &[Head::Span], &["qa_outputs.bias", "F32, F16 or BF16", "I64"]);

    let folder = temporary_copy(&case_folder("qa"));
    let path = folder.path().join("model.safetensors");
    let original = std::fs::read(&path).unwrap();
    std::fs::write(&path, &original[..original.len() - 1]).unwrap();
    assert_error(folder.path(), &[Head::Span], &["model.safetensors", "truncated"]);
}

#[test]
fn an_index_must_list_files_of_its_folder_with_the_tensors() {
    let shard = "model-00002-of-00003.safetensors";
    let with_index = |edit: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let folder = temporary_copy(&case_folder("mlm_sharded_bf16"));
        edit_json(&folder.path().join("model.safetensors.index.json"), |index| edit(index));
        folder
    };
    for invalid_path in ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""] {
        let folder = with_index(&|index| index["weight_map"][EMBEDDINGS] = json!(invalid_path));
        let parts = ["index.json", EMBEDDINGS, "not a file of this folder"];
        assert_error(folder.path(), &[], &parts);
    }
    let folder = temporary_copy(&case_folder("mlm_sharded_bf16"));
    std::fs::remove_file(folder.path().join(shard)).unwrap();
    assert_error(folder.path(), &[], &["index.json", shard, "missing"]);
    let folder = with_index(&|index| index["weight_map"][EMBEDDINGS] = json!(shard));
    assert_error(folder.path(), &[], &[shard, EMBEDDINGS, "lacks it"]);
    for (weight_map, part) in [(json!({}), "weight_map is empty"), (json!(3), "not valid JSON")] {
        let folder = with_index(&|index| index["weight_map"] = weight_map.clone());
        assert_error(folder.path(), &[], &["index.json", part]);
    }
}
