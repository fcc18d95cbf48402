//! Tests of the consistency of tokenizer and configuration, with the stored tokenizer.
use testkit::fixture;
use tokenizers::Tokenizer;
use xlmr_model::{Architecture, Config, SpecialTokens, check_tokenizer};

#[test]
fn a_tokenizer_must_match_vocabulary_and_special_ids() {
    let tokenizer = Tokenizer::from_file(fixture("tokenizer.json")).unwrap();
    let config = Config::tiny(8192);
    let special = check_tokenizer(&tokenizer, &config).unwrap();
    assert_eq!(special, SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 8191 });
    // A larger model is valid: its last rows are never used.
    check_tokenizer(&tokenizer, &Config::base()).unwrap();

    let error_message =
        |config: &Config| check_tokenizer(&tokenizer, config).unwrap_err().to_string();
    let message = error_message(&Config::tiny(8191));
    assert!(message.contains("<mask>") && message.contains("8191"), "{message}");
    let message = error_message(&Config { pad_token_id: 0, ..config.clone() });
    assert!(
        message.contains("<pad> has id 1") && message.contains("pad_token_id = 0"),
        "{message}"
    );
    let message = error_message(&Config { eos_token_id: Some(3), ..config.clone() });
    assert!(message.contains("</s> has id 2"), "{message}");
    check_tokenizer(&tokenizer, &Config { eos_token_id: None, ..config }).unwrap();
}

#[test]
fn the_tokenizers_ids_replace_ids_of_config_json() {
    let tokenizer = Tokenizer::from_file(fixture("tokenizer.json")).unwrap();
    let right = Config { architecture: Architecture::Bert, ..Config::tiny(8192) };
    let mut config = right.clone();
    assert!(config.apply_token_ids(&tokenizer).unwrap().is_empty());
    config = Config { pad_token_id: 0, eos_token_id: Some(5), bos_token_id: None, ..right.clone() };
    let notes = config.apply_token_ids(&tokenizer).unwrap();
    assert_eq!(
        notes,
        [
            "config.json: pad_token_id is 0, but the tokenizer's <pad> has id 1; the tokenizer's \
             id is used",
            "config.json: eos_token_id is 5, but the tokenizer's </s> has id 2; the tokenizer's \
             id is used"
        ]
    );
    // An absent id is consistent with every tokenizer.
    assert_eq!(config, Config { bos_token_id: None, ..right });
    check_tokenizer(&tokenizer, &config).unwrap();

    // XLM-R's positions depend on the id of padding, but on no other id.
    let mut config = Config { bos_token_id: Some(7), ..Config::tiny(8192) };
    assert_eq!(config.apply_token_ids(&tokenizer).unwrap().len(), 1);
    config.pad_token_id = 0;
    let message = config.apply_token_ids(&tokenizer).unwrap_err().to_string();
    for part in ["pad_token_id is 0", "<pad> has id 1", "position ids", "set pad_token_id to 1"] {
        assert!(message.contains(part), "{message}");
    }
    let message = Config::tiny(8191).apply_token_ids(&tokenizer).unwrap_err().to_string();
    assert!(message.contains("vocab_size = 8191"), "{message}");
}

#[test]
fn other_architectures_have_their_special_tokens() {
    let base = Config::tiny(3000);
    let (bos_token_id, eos_token_id, pad_token_id) = (None, None, 0);
    let bert = Config { bos_token_id, eos_token_id, pad_token_id, ..base.clone() };
    let wordpiece = Tokenizer::from_file(fixture("wordpiece.json")).unwrap();
    let special = check_tokenizer(&wordpiece, &bert).unwrap();
    assert_eq!(special, SpecialTokens { bos: 2, pad: 0, eos: 3, unk: 1, mask: 4 });
    let message = check_tokenizer(&wordpiece, &Config { pad_token_id: 1, ..bert.clone() });
    let message = message.unwrap_err().to_string();
    assert!(
        message.contains("[PAD] has id 0") && message.contains("pad_token_id = 1"),
        "{message}"
    );

    let (bos_token_id, eos_token_id, pad_token_id) = (Some(2), Some(1), 0);
    let gemma = Config { bos_token_id, eos_token_id, pad_token_id, ..base };
    let bytes = Tokenizer::from_file(fixture("byte_fallback.json")).unwrap();
    let special = check_tokenizer(&bytes, &gemma).unwrap();
    assert_eq!(special, SpecialTokens { bos: 2, pad: 0, eos: 1, unk: 3, mask: 4 });
    let message = check_tokenizer(&bytes, &Config { eos_token_id: Some(2), ..gemma.clone() });
    let message = message.unwrap_err();
    assert!(message.to_string().contains("<eos> has id 1"), "{message}");

    // A byte-level vocabulary needs no unknown token.
    let (bos_token_id, eos_token_id, pad_token_id) = (Some(2997), Some(2998), 2998);
    let euro = Config { bos_token_id, eos_token_id, pad_token_id, ..gemma };
    let bytes = Tokenizer::from_file(fixture("byte_level.json")).unwrap();
    let special = check_tokenizer(&bytes, &euro).unwrap();
    assert_eq!(special, SpecialTokens { bos: 2997, pad: 2998, eos: 2998, unk: 2998, mask: 2999 });
}

#[test]
fn a_tokenizer_without_special_tokens_is_reported() {
    let error_message = |vocabulary: &str| {
        let tokenizer: Tokenizer = format!(
            r#"{{"version":"1.0","model":{{"type":"WordLevel","vocab":{vocabulary},"unk_token":"a"}}}}"#
        )
        .parse()
        .unwrap();
        check_tokenizer(&tokenizer, &Config::tiny(10)).unwrap_err().to_string()
    };
    let message = error_message(r#"{"<s>":0,"a":1}"#);
    assert!(message.contains("none of the tokens <s> and </s>, "), "{message}");
    let message = error_message(r#"{"<s>":0,"a":1,"</s>":2}"#);
    assert!(message.contains("no padding token (supported: <pad>, [PAD]"), "{message}");
    let message = error_message(r#"{"[CLS]":0,"a":1,"[SEP]":2,"[PAD]":3}"#);
    assert!(message.contains("no mask token (supported: <mask>, [MASK]"), "{message}");
    // A word-level vocabulary needs an unknown token.
    let nameless = r#"{"<s>":0,"<pad>":1,"</s>":2,"<mask>":3}"#;
    assert!(error_message(nameless).contains("no unknown token"), "{}", error_message(nameless));
}
