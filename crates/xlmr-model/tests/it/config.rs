//! What config.json may say.
use crate::common::case;
use serde_json::{Value, json};
use xlmr_model::{Activation, Config, Head};

fn with(key: &str, value: Value) -> Result<Config, String> {
    let mut config = Config::base().to_json();
    config[key] = value;
    Config::from_json(config, "m/config.json").map_err(|error| error.to_string())
}

#[test]
fn stored_configurations_are_read_and_written_back_whole() {
    for name in ["mlm", "qa_two_segments", "seqcls", "tokcls"] {
        let path = case(name).join("config.json");
        let config = Config::from_file(&path).unwrap();
        let value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(config.to_json(), value, "{name}");
    }
    let config = Config::from_file(case("tokcls").join("config.json")).unwrap();
    assert_eq!(config.head().unwrap(), Head::TokenClassification { labels: 5 });
    assert_eq!((config.hidden_size, config.num_hidden_layers), (32, 2));
    assert_eq!(config.max_length(), 64);
}

#[test]
fn absent_keys_take_the_defaults_of_transformers() {
    // XLMRobertaConfig() of transformers 5.23.0.
    let config = Config::from_json(json!({"model_type": "xlm-roberta"}), "c").unwrap();
    assert_eq!(config.vocab_size, 30_522);
    assert_eq!(config.max_position_embeddings, 512);
    assert_eq!(config.type_vocab_size, 2);
    assert_eq!(config.layer_norm_eps, 1e-12);
    assert_eq!(config.pad_token_id, 1);
    assert!(config.tie_word_embeddings);
    assert_eq!(config.num_labels(), 2);
    assert_eq!(config.head().unwrap(), Head::None);
}

#[test]
fn presets_are_valid_and_have_the_published_sizes() {
    for (config, millions) in [(Config::base(), 278.0), (Config::large(), 560.0)] {
        config.validate().unwrap();
        let (v, h, f) = (config.vocab_size, config.hidden_size, config.intermediate_size);
        let layer = 4 * (h * h + h) + 2 * h * f + f + h + 4 * h;
        let total = (v + 514 + 1 + 2) * h + config.num_hidden_layers * layer;
        assert!((total as f64 / 1e6 - millions).abs() < 2.0, "{total}");
    }
    Config::tiny(4000).validate().unwrap();
    assert_eq!(Config::default(), Config::base());
}

#[test]
fn other_architectures_are_refused_by_name() {
    let message = with("model_type", json!("gpt2")).unwrap_err();
    let known = "one of \"xlm-roberta\", \"bert\", \"modernbert\"";
    for part in ["m/config.json", "`model_type`", known, "\"gpt2\""] {
        assert!(message.contains(part), "{message}");
    }
    assert!(Config::from_json(json!({}), "c").unwrap_err().to_string().contains("model_type"));
    assert!(Config::from_json(json!([]), "c").unwrap_err().to_string().contains("JSON object"));
    let config = with("architectures", json!(["XLMRobertaForMultipleChoice"])).unwrap();
    assert!(config.head().unwrap_err().to_string().contains("XLMRobertaForMultipleChoice"));
}

#[test]
fn values_out_of_range_name_their_key() {
    for (key, value, part) in [
        ("vocab_size", json!(0), "from 1 to"),
        ("vocab_size", json!("many"), "an integer"),
        ("num_hidden_layers", json!(1_000_000_000_000i64), "from 1 to"),
        ("num_attention_heads", json!(7), "a divisor of hidden_size = 768"),
        ("hidden_dropout_prob", json!(1.5), "a probability"),
        ("classifier_dropout", json!(-0.1), "a probability"),
        ("layer_norm_eps", json!(0.0), "above 0"),
        ("layer_norm_eps", json!(1e30), "at most 1"),
        ("initializer_range", json!(-1.0), "at least 0"),
        ("pad_token_id", json!(250_002), "below vocab_size"),
        ("pad_token_id", json!("1"), "an integer"),
        ("eos_token_id", json!(-1), "below vocab_size"),
        ("max_position_embeddings", json!(2), "more than pad_token_id + 1 = 2"),
        ("hidden_act", json!("swish"), "gelu_pytorch_tanh"),
        ("id2label", json!({"0": "A", "2": "B"}), "without a gap"),
        ("id2label", json!({"x": "A"}), "ids 0, 1, 2"),
        ("architectures", json!("XLMRobertaModel"), "a list"),
        ("is_decoder", json!(true), "encoder"),
        ("quantization_config", json!({"quant_method": "fp8"}), "without quantisation"),
        ("position_embedding_type", json!("relative_key"), "absolute"),
    ] {
        let message = with(key, value.clone()).unwrap_err();
        for part in ["m/config.json", &format!("`{key}`"), part] {
            assert!(message.contains(part), "{key} = {value}: {message}");
        }
    }
}

#[test]
fn numbers_of_labels_agree() {
    let with_labels = |number: Value| {
        let mut config = Config::base().to_json();
        config["id2label"] = json!({"0": "A", "1": "B", "2": "C"});
        config["num_labels"] = number;
        Config::from_json(config, "c").map_err(|error| error.to_string())
    };
    for same in [json!(3), json!(null)] {
        assert_eq!(with_labels(same).unwrap().num_labels(), 3);
    }
    for other in [json!(2), json!("3")] {
        let message = with_labels(other).unwrap_err();
        assert!(message.contains("`num_labels`: expected 3, the labels of id2label"), "{message}");
    }
    assert_eq!(with("num_labels", json!(7)).unwrap().num_labels(), 7);
}

#[test]
fn files_that_are_no_json_name_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, b"{\n  \"model_type\": ,\n}").unwrap();
    let message = Config::from_file(&path).unwrap_err().to_string();
    assert!(message.contains("config.json") && message.contains("line 2"), "{message}");
}

#[test]
fn activations_by_name() {
    for (name, activation) in [
        ("gelu", Activation::Gelu),
        ("gelu_new", Activation::GeluNew),
        ("gelu_pytorch_tanh", Activation::GeluPytorchTanh),
        ("relu", Activation::Relu),
    ] {
        assert_eq!(with("hidden_act", json!(name)).unwrap().hidden_act, activation);
        assert_eq!(activation.name(), name);
    }
}

#[test]
fn a_file_without_an_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let error = Config::from_file(path).unwrap_err().to_string();
    assert!(error.contains("config.json: it holds more than 16 MiB"), "{error}");
}
