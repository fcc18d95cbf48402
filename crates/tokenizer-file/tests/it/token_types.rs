//! Tests of the rules that determine whether a tokenizer returns token types.
use testkit::assert_contains;
use tokenizer_file::returns_token_types;

use crate::folder::folder_of;

#[test]
fn input_names_take_precedence_over_the_class_and_the_model_type() {
    // The values of transformers 4.57.6 and 5.24.0, except for `PreTrainedTokenizerFast` and RemBERT.
    for (tokenizer_config, config, expected) in [
        (r#"{"model_input_names": ["input_ids", "token_type_ids"]}"#, "{}", true),
        (
            r#"{"tokenizer_class": "BertTokenizer", "model_input_names": ["input_ids"]}"#,
            "{}",
            false,
        ),
        (r#"{"tokenizer_class": "XLMRobertaTokenizer"}"#, r#"{"model_type": "bert"}"#, false),
        (r#"{"tokenizer_class": "XLMRobertaTokenizerFast"}"#, r#"{"model_type": "bert"}"#, false),
        (r#"{"tokenizer_class": "BertTokenizerFast"}"#, r#"{"model_type": "xlm-roberta"}"#, true),
        (r#"{"tokenizer_class": "DebertaV2Tokenizer"}"#, "{}", true),
        (r#"{"tokenizer_class": "TokenizersBackend"}"#, r#"{"model_type": "bert"}"#, false),
        (r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#, "{}", true),
        (
            r#"{"tokenizer_class": "PreTrainedTokenizerFast", "backend": "tokenizers"}"#,
            r#"{"model_type": "bert"}"#,
            false,
        ),
        (
            r#"{"tokenizer_class": null, "model_input_names": null}"#,
            r#"{"model_type": "bert"}"#,
            true,
        ),
        (r#"{"tokenizer_class": "RemBertTokenizerFast"}"#, "{}", true),
        (r#"{"tokenizer_class": "RemBertTokenizer", "backend": "tokenizers"}"#, "{}", false),
        ("{}", r#"{"model_type": "rembert"}"#, true),
        ("{}", r#"{"model_type": "electra"}"#, true),
        ("{}", r#"{"model_type": "xlm-roberta"}"#, false),
        ("{}", r#"{"model_type": "bert", "tokenizer_class": "XLMRobertaTokenizer"}"#, false),
        (r#"{"tokenizer_class": "MyTokenizer"}"#, r#"{"model_type": "deberta-v2"}"#, false),
    ] {
        let files: [(&str, &[u8]); 2] = [
            ("tokenizer_config.json", tokenizer_config.as_bytes()),
            ("config.json", config.as_bytes()),
        ];
        let folder = folder_of(&files);
        let title = format!("{tokenizer_config} {config}");
        assert_eq!(returns_token_types(folder.path()).unwrap(), expected, "{title}");
    }
    let bert: [(&str, &[u8]); 1] = [("config.json", br#"{"model_type": "bert"}"#)];
    assert!(returns_token_types(folder_of(&bert).path()).unwrap());
    assert!(!returns_token_types(folder_of(&[]).path()).unwrap());
}

#[test]
fn invalid_configurations_are_errors() {
    for (content, expected) in [
        (r#"{"model_input_names": "input_ids"}"#, "model_input_names: expected a list of names"),
        (r#"{"model_input_names": [1]}"#, "model_input_names: expected a list of names, got [1]"),
        ("[]", "not the configuration of a tokenizer: expected a JSON object"),
        ("{", "EOF while parsing"),
    ] {
        let folder = folder_of(&[("tokenizer_config.json", content.as_bytes())]);
        let error = returns_token_types(folder.path()).unwrap_err().to_string();
        assert_contains(&error, &["tokenizer_config.json", expected]);
    }
}
