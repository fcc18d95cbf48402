//! Tokenizer against configuration, with the stored tokenizer.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
use testkit::fixture;
use tokenizers::Tokenizer;
use xlmr_model::{Config, SpecialTokens, check_tokenizer};

#[test]
fn a_tokenizer_must_fit_vocabulary_and_special_ids() {
    let tokenizer = Tokenizer::from_file(fixture("tokenizer.json")).unwrap();
    let config = Config::tiny(8192);
    let special = check_tokenizer(&tokenizer, &config).unwrap();
    assert_eq!(special, SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 8191 });
    // A larger model is fine: its last rows are never looked up.
    check_tokenizer(&tokenizer, &Config::base()).unwrap();

    let refusal = |config: &Config| check_tokenizer(&tokenizer, config).unwrap_err().to_string();
    let message = refusal(&Config::tiny(8191));
    assert!(message.contains("<mask>") && message.contains("8191"), "{message}");
    let message = refusal(&Config { pad_token_id: 0, ..config.clone() });
    assert!(
        message.contains("<pad> has id 1") && message.contains("pad_token_id = 0"),
        "{message}"
    );
    let message = refusal(&Config { eos_token_id: Some(3), ..config.clone() });
    assert!(message.contains("</s> has id 2"), "{message}");
    check_tokenizer(&tokenizer, &Config { eos_token_id: None, ..config }).unwrap();
}

#[test]
fn a_tokenizer_without_the_special_tokens_is_named() {
    let json =
        r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"<s>":0,"a":1},"unk_token":"a"}}"#;
    let tokenizer: Tokenizer = json.parse().unwrap();
    let message = check_tokenizer(&tokenizer, &Config::tiny(10)).unwrap_err().to_string();
    assert!(message.contains("no token <pad>"), "{message}");
}
