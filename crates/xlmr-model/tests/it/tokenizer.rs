//! Tests of the consistency of tokenizer and configuration, with the stored tokenizer.
use testkit::{assert_contains, fixture};
use tokenizers::Tokenizer;
use xlmr_model::{Architecture, Config, SpecialTokens, check_tokenizer};

#[test]
fn a_tokenizer_must_match_vocabulary_and_special_ids() {
    let tokenizer = Tokenizer::from_file(fixture("tokenizer.json")).unwrap();
    let config = Config::tiny(8192);
    let special = check_tokenizer(&tokenizer, &config).unwrap();
    assert_eq!(special, SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 8191 });
    // A model with more embeddings than the tokenizer has tokens is valid; its last embeddings are
    // not used.
    check_tokenizer(&tokenizer, &Config::base()).unwrap();

    for (config, parts) in [
        (Config::tiny(8191), ["<mask>", "8191"]),
        (Config { pad_token_id: 0, ..config.clone() }, ["<pad> has id 1", "pad_token_id = 0"]),
        (Config { eos_token_id: Some(3), ..config.clone() }, ["</s> has id 2", "eos_token_id = 3"]),
    ] {
        let error = check_tokenizer(&tokenizer, &config).unwrap_err();
        assert_contains(&error.to_string(), &parts);
    }
    check_tokenizer(&tokenizer, &Config { eos_token_id: None, ..config }).unwrap();
}

#[test]
fn the_tokenizers_ids_replace_ids_of_config_json() {
    let tokenizer = Tokenizer::from_file(fixture("tokenizer.json")).unwrap();
    let valid = Config { architecture: Architecture::Bert, ..Config::tiny(8192) };
    let mut config = valid.clone();
    assert!(config.apply_token_ids(&tokenizer).unwrap().is_empty());
    config = Config { pad_token_id: 0, eos_token_id: Some(5), bos_token_id: None, ..valid.clone() };
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
    // `bos_token_id` is absent, which is consistent with every tokenizer, so it stays absent.
    assert_eq!(config, Config { bos_token_id: None, ..valid });
    check_tokenizer(&tokenizer, &config).unwrap();

    // XLM-R's positions depend on `pad_token_id`, so a different id is an error; other ids are
    // replaced.
    let mut config = Config { bos_token_id: Some(7), ..Config::tiny(8192) };
    assert_eq!(config.apply_token_ids(&tokenizer).unwrap().len(), 1);
    config.pad_token_id = 0;
    let message = config.apply_token_ids(&tokenizer).unwrap_err().to_string();
    let parts = ["pad_token_id is 0", "<pad> has id 1", "position ids", "set pad_token_id to 1"];
    assert_contains(&message, &parts);
    let message = Config::tiny(8191).apply_token_ids(&tokenizer).unwrap_err().to_string();
    assert!(message.contains("vocab_size = 8191"), "{message}");
}

#[test]
fn other_architectures_have_their_special_tokens() {
    let base = Config::tiny(3000);
    let (bos_token_id, eos_token_id, pad_token_id) = (None, None, 0);
    let bert = Config { bos_token_id, eos_token_id, pad_token_id, ..base.clone() };
    let (bos_token_id, eos_token_id, pad_token_id) = (Some(2), Some(1), 0);
    let gemma = Config { bos_token_id, eos_token_id, pad_token_id, ..base.clone() };
    let (bos_token_id, eos_token_id, pad_token_id) = (Some(2997), Some(2998), 2998);
    let euro = Config { bos_token_id, eos_token_id, pad_token_id, ..base };
    let wrong_bert = Config { pad_token_id: 1, ..bert.clone() };
    let wrong_gemma = Config { eos_token_id: Some(2), ..gemma.clone() };
    let wrong_euro = Config { bos_token_id: Some(1), ..euro.clone() };
    let bert_tokens = SpecialTokens { bos: 2, pad: 0, eos: 3, unk: 1, mask: 4 };
    let gemma_tokens = SpecialTokens { bos: 2, pad: 0, eos: 1, unk: 3, mask: 4 };
    // A byte-level vocabulary needs no unknown token.
    let euro_tokens = SpecialTokens { bos: 2997, pad: 2998, eos: 2998, unk: 2998, mask: 2999 };
    for (file, config, tokens, wrong_config, parts) in [
        ("wordpiece", bert, bert_tokens, wrong_bert, ["[PAD] has id 0", "pad_token_id = 1"]),
        ("byte_fallback", gemma, gemma_tokens, wrong_gemma, ["<eos> has id 1", "eos_token_id = 2"]),
        ("byte_level", euro, euro_tokens, wrong_euro, ["has id 2997", "bos_token_id = 1"]),
    ] {
        let tokenizer = Tokenizer::from_file(fixture(&format!("{file}.json"))).unwrap();
        assert_eq!(check_tokenizer(&tokenizer, &config).unwrap(), tokens, "{file}");
        let error = check_tokenizer(&tokenizer, &wrong_config).unwrap_err();
        assert_contains(&error.to_string(), &parts);
    }
}

#[test]
fn a_tokenizer_without_special_tokens_is_reported() {
    for (vocabulary, part) in [
        (r#"{"<s>":0,"a":1}"#, "none of the tokens <s> and </s>, "),
        (r#"{"<s>":0,"a":1,"</s>":2}"#, "no padding token (supported: <pad>, [PAD]"),
        (r#"{"[CLS]":0,"a":1,"[SEP]":2,"[PAD]":3}"#, "no mask token (supported: <mask>, [MASK]"),
        // A word-level vocabulary needs an unknown token.
        (r#"{"<s>":0,"<pad>":1,"</s>":2,"<mask>":3}"#, "no unknown token"),
    ] {
        let tokenizer: Tokenizer = format!(
            r#"{{"version":"1.0","model":{{"type":"WordLevel","vocab":{vocabulary},"unk_token":"a"}}}}"#
        )
        .parse()
        .unwrap();
        let error = check_tokenizer(&tokenizer, &Config::tiny(10)).unwrap_err();
        assert_contains(&error.to_string(), &[part]);
    }
}
