//! Tests of config.json.
use serde_json::{Value, json};
use testkit::assert_contains;
use xlmr_model::{Architecture, Config, DebertaV2, Head};

use crate::common::{case_folder, read_json};

fn config_with(key: &str, value: Value) -> Result<Config, String> {
    let mut config = Config::base().to_json();
    config[key] = value;
    Config::from_json(config, "m/config.json").map_err(|error| error.to_string())
}

#[test]
fn stored_configurations_are_written_unchanged() {
    for name in ["mlm", "qa_two_segments", "seqcls", "tokcls"] {
        let path = case_folder(name).join("config.json");
        let config = Config::from_file(&path).unwrap();
        assert_eq!(config.to_json(), read_json(&path), "{name}");
    }
    let config = Config::from_file(case_folder("tokcls").join("config.json")).unwrap();
    assert_eq!(config.head().unwrap(), Head::TokenClassification { labels: 5 });
    assert_eq!((config.hidden_size, config.num_hidden_layers), (32, 2));
    assert_eq!(config.max_length(), 64);
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
}

#[test]
fn other_architectures_are_rejected_by_name() {
    let message = config_with("model_type", json!("gpt2")).unwrap_err();
    let supported_types = concat!(
        r#"one of "xlm-roberta", "roberta", "camembert", "data2vec-text", "bert", "#,
        r#""xlm-roberta-xl", "modernbert", "eurobert", "deberta-v2", "distilbert", "electra", "#,
        r#""rembert", "mpnet", got "gpt2""#,
    );
    assert_contains(&message, &["m/config.json", "`model_type`", supported_types]);
    assert!(Config::from_json(json!({}), "c").unwrap_err().to_string().contains("model_type"));
    assert!(Config::from_json(json!([]), "c").unwrap_err().to_string().contains("JSON object"));
    let config = config_with("architectures", json!(["XLMRobertaForMultipleChoice"])).unwrap();
    assert!(config.head().unwrap_err().to_string().contains("XLMRobertaForMultipleChoice"));
}

#[test]
fn values_out_of_range_are_reported_with_their_key() {
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
        ("num_labels", json!("3"), "an integer"),
        ("is_decoder", json!(1), "encoders are supported, got 1"),
        ("quantization_config", json!({"quant_method": "fp8"}), "without quantisation"),
        ("position_embedding_type", json!("relative_key"), "absolute"),
    ] {
        let message = config_with(key, value).unwrap_err();
        assert_contains(&message, &["m/config.json", &format!("`{key}`"), part]);
    }
}

#[test]
fn num_labels_must_agree_with_id2label() {
    let with_labels = |number: Value| {
        let mut config = Config::base().to_json();
        config["id2label"] = json!({"0": "A", "1": "B", "2": "C"});
        config["num_labels"] = number;
        Config::from_json(config, "c").map_err(|error| error.to_string())
    };
    for num_labels in [json!(3), json!(null)] {
        assert_eq!(with_labels(num_labels).unwrap().num_labels(), 3);
    }
    for wrong_number in [json!(2), json!("3")] {
        let message = with_labels(wrong_number).unwrap_err();
        assert!(message.contains("`num_labels`: expected 3, the number of labels"), "{message}");
    }
    assert_eq!(config_with("num_labels", json!(7)).unwrap().num_labels(), 7);
}

#[test]
fn invalid_json_and_endless_files_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, b"{\n  \"model_type\": ,\n}").unwrap();
    let message = Config::from_file(&path).unwrap_err().to_string();
    assert_contains(&message, &["config.json", "line 2"]);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let error = Config::from_file(path).unwrap_err().to_string();
    assert!(error.contains("config.json: it contains more than 16 MiB"), "{error}");
}

#[test]
fn remberts_decoder_is_never_tied() {
    // As in transformers 4.57.6 and 5.24.0.
    let json = json!({"model_type": "rembert", "tie_word_embeddings": true});
    let config = Config::from_json(json, "c").unwrap();
    assert!(!config.tie_word_embeddings);
    let tied = Config { tie_word_embeddings: true, ..config };
    assert_contains(&tied.validate().unwrap_err().to_string(), &["tie_word_embeddings", "false"]);
}

#[test]
fn values_of_other_architectures_are_checked() {
    let (modern, euro, deberta) = ("modernbert_qa", "eurobert_mlm", "deberta_mlm");
    let distil = "distilbert_qa";
    let rembert = "rembert_mlm";
    let yarn = json!({"rope_type": "yarn"});
    for (name, key, value, part) in [
        (modern, "layer_types", json!(["full_attention"]), "num_hidden_layers = 4"),
        (modern, "layer_types", json!(["causal"]), "full_attention"),
        (modern, "local_attention", json!(1), "at least 2"),
        (modern, "sliding_window", json!(0), "at least 2"),
        (modern, "sliding_window", json!(i64::MAX), "at least 2"),
        (modern, "head_dim", json!(5), "hidden_size / num_attention_heads = 8"),
        (modern, "rope_scaling", json!({"type": "yarn"}), "null"),
        (
            modern,
            "rope_parameters",
            json!({"full_attention": yarn}),
            "rope_parameters.full_attention.rope_type",
        ),
        (modern, "rope_parameters", json!({"rope_type": "default"}), "full_attention"),
        (
            modern,
            "rope_parameters",
            json!({"sliding_attention": {"type": "linear", "factor": 2}}),
            "only rope_type",
        ),
        (modern, "embedding_dropout", json!(2), "a probability"),
        (modern, "classifier_pooling", json!("max"), "\"cls\" or \"mean\""),
        (modern, "num_attention_heads", json!(32), "even size"),
        (euro, "num_key_value_heads", json!(3), "a divisor of num_attention_heads = 4"),
        (euro, "num_key_value_heads", json!(0), "a divisor"),
        (euro, "num_attention_heads", json!(32), "even size"),
        (euro, "rope_parameters", yarn.clone(), "rope_parameters.rope_type"),
        (euro, "rope_parameters", json!({"rope_theta": -1.0}), "above 0"),
        (euro, "rope_scaling", json!({"factor": 2}), "null"),
        (euro, "classifier_pooling", json!("cls"), "\"bos\", \"mean\" or \"late\""),
        (euro, "head_dim", json!(5), "hidden_size / num_attention_heads = 8"),
        (deberta, "conv_kernel_size", json!(3), "the convolution"),
        (deberta, "embedding_size", json!(16), "32, as determined by hidden_size"),
        (deberta, "attention_head_size", json!(16), "8, as determined by hidden_size"),
        (deberta, "pooler_hidden_size", json!(16), "32, as determined by hidden_size"),
        (deberta, "pos_att_type", json!("c2p|p2p"), "of c2p and p2c"),
        (deberta, "pos_att_type", json!(["c2p", 1]), "one text with | separators"),
        (deberta, "norm_rel_ebd", json!("batch_norm"), "of layer_norm"),
        (deberta, "position_buckets", json!(2), "an integer from 4"),
        (deberta, "max_relative_positions", json!(5), "more than position_buckets / 2 + 1 = 5"),
        (deberta, "max_relative_positions", json!(i64::MAX), "up to 16777216"),
        (deberta, "type_vocab_size", json!(-1), "an integer from 1"),
        (deberta, "pooler_dropout", json!(2), "a probability"),
        (deberta, "tie_word_embeddings", json!(false), "no separate decoder"),
        (distil, "n_heads", json!(3), "key `n_heads`: expected a divisor of dim = 8"),
        (distil, "dim", json!(0), "key `dim`: expected an integer from 1"),
        (distil, "qa_dropout", json!(2), "key `qa_dropout`: expected a probability"),
        (distil, "seq_classif_dropout", json!("a"), "key `seq_classif_dropout`: expected a num"),
        ("electra_qa", "embedding_size", json!(0), "key `embedding_size`: expected an integer"),
        (rembert, "input_embedding_size", json!(0), "key `input_embedding_size`: expected an int"),
        (rembert, "output_embedding_size", json!(0), "`output_embedding_size`: expected an int"),
        (rembert, "classifier_dropout_prob", json!(2), "key `classifier_dropout_prob`: expected"),
        (rembert, "classifier_dropout_prob", json!(null), "`classifier_dropout_prob`: expected a"),
        ("mpnet_qa", "relative_attention_num_buckets", json!(31), "expected an integer from 32 to"),
        ("mpnet_qa", "pad_token_id", json!(0), "key `pad_token_id`: expected 1; MPNet counts"),
        ("mpnet_qa", "max_position_embeddings", json!(2), "more than pad_token_id + 1 = 2"),
        ("xlmrxl_qa", "max_position_embeddings", json!(2), "more than pad_token_id + 1 = 2"),
        ("roberta_qa", "max_position_embeddings", json!(2), "more than pad_token_id + 1 = 2"),
    ] {
        let mut config = read_json(&case_folder(name).join("config.json"));
        config[key] = value;
        let error = Config::from_json(config, "config.json").unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("config.json"), "{name}, {key}: {error}");
    }
}

#[test]
fn mdebertas_configuration_is_supported() {
    // `text` is the config.json of the published mDeBERTa model.
    let text = r#"{"model_type": "deberta-v2", "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
        "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 512,
        "relative_attention": true, "position_buckets": 256, "norm_rel_ebd": "layer_norm",
        "share_att_key": true, "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7,
        "max_relative_positions": -1, "position_biased_input": false, "num_attention_heads": 12,
        "num_hidden_layers": 12, "type_vocab_size": 0, "vocab_size": 251000}"#;
    let config = Config::from_json(serde_json::from_str(text).unwrap(), "config.json").unwrap();
    let legacy = DebertaV2 { legacy: true, ..DebertaV2::v3() };
    let expected =
        Config { architecture: Architecture::DebertaV2(legacy), ..Config::mdeberta_v3_base() };
    assert_eq!(config, expected);
    let written = config.to_json();
    assert_eq!(written["type_vocab_size"], 0);
    assert_eq!(written["pos_att_type"], json!(["c2p", "p2c"]));
    assert_eq!(
        Config::from_json(written, "config.json").unwrap().architecture,
        expected.architecture
    );
}

#[test]
fn sliding_window_is_half_of_local_attention() {
    // If sliding_window is present, ModernBertConfig of transformers 5.23.0 ignores
    // local_attention.
    let mut config = read_json(&case_folder("modernbert_qa").join("config.json"));
    config["local_attention"] = 8.into();
    config["sliding_window"] = 2.into();
    config["head_dim"] = 8.into();
    let written = Config::from_json(config, "config.json").unwrap().to_json();
    assert_eq!(written["local_attention"], 4);
    assert!(written.get("sliding_window").is_none());
}

#[test]
fn recent_modernbert_configurations_are_supported() {
    // `text` has keys of mmBERT's config.json that later versions of transformers rename.
    let text = r#"{"model_type": "modernbert", "vocab_size": 256000, "hidden_size": 768,
        "num_hidden_layers": 22, "intermediate_size": 1152, "num_attention_heads": 12,
        "global_attn_every_n_layers": 3, "local_attention": 128, "global_rope_theta": 160000.0,
        "local_rope_theta": 160000.0, "position_embedding_type": "sans_pos", "pad_token_id": 0,
        "bos_token_id": 2, "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1,
        "architectures": ["ModernBertForMaskedLM"]}"#;
    let config = Config::from_json(serde_json::from_str(text).unwrap(), "config.json").unwrap();
    let expected = Config::mmbert_base();
    assert_eq!(
        Config { extra: Default::default(), architectures: Vec::new(), ..config.clone() },
        expected
    );
    let written = config.to_json();
    assert_eq!(written["cls_token_id"], 1);
    assert_eq!(written["rope_parameters"]["sliding_attention"]["rope_theta"], 160_000.0);
    // The older keys are also written, because transformers 4 supports only the older keys.
    assert_eq!(written["global_rope_theta"], 160_000.0);
    assert_eq!(written["local_rope_theta"], 160_000.0);
    assert_eq!(written["global_attn_every_n_layers"], 3);
}
