use kg_triples::Error;
use kg_triples::knowledge::Descriptions;

use super::{decode, describe, tokenizer};
use crate::common::language;

#[test]
fn descriptions_are_truncated_including_special_tokens() {
    let tokenizer = tokenizer();
    let descriptions = describe(&[("Q1", &["en", "de"]), ("Q2", &["zh"])]);
    let full = descriptions.encode(tokenizer, 256).unwrap();
    assert_eq!((full.entity_count(), full.get("Q1").len(), full.get("Q3").len()), (2, 2, 0));
    let (first, ids) = &full.get("Q1")[0];
    assert_eq!(*first, language("de"), "sorted by code");
    assert_eq!((ids[0], *ids.last().unwrap()), (0, 2));
    assert!(decode(&ids[1..ids.len() - 1]).starts_with("Q1inthewordsofde"), "{}", decode(ids));
    for max_tokens in [3, 7, ids.len() - 1, ids.len(), ids.len() + 1] {
        let truncated = descriptions.encode(tokenizer, max_tokens).unwrap();
        let truncated = &truncated.get("Q1")[0].1;
        assert_eq!(truncated.len(), max_tokens.min(ids.len()));
        assert_eq!(truncated[..truncated.len() - 1], ids[..truncated.len() - 1]);
        assert_eq!(*truncated.last().unwrap(), 2);
    }
    for max_tokens in [0, 2] {
        let error = descriptions.encode(tokenizer, max_tokens).unwrap_err();
        assert!(matches!(error, Error::Config { key: "description_tokens", .. }), "{error}");
    }
}

#[test]
fn truncation_and_padding_of_the_tokenizer_are_ignored() {
    let mut tokenizer = tokenizer().clone();
    let expected = describe(&[("Q1", &["en"])]).encode(&tokenizer, 20).unwrap();
    let truncation = tokenizers::TruncationParams { max_length: 4, ..Default::default() };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    tokenizer.with_padding(Some(tokenizers::PaddingParams::default()));
    assert_eq!(describe(&[("Q1", &["en"])]).encode(&tokenizer, 20).unwrap(), expected);
}

#[test]
fn literal_special_tokens_are_skipped() {
    let mut descriptions = Descriptions::default();
    descriptions.add("Q1", language("en"), "a <mask> b </s> c").unwrap();
    descriptions.add("Q2", language("en"), "<mask>").unwrap();
    let full = descriptions.encode(tokenizer(), 256).unwrap();
    let ids = &full.get("Q1")[0].1;
    assert_eq!(decode(&ids[1..ids.len() - 1]), "abc");
    assert!(full.get("Q2").is_empty() && full.entity_count() == 1, "nothing is left of it");
}

#[test]
fn invalid_descriptions_are_reported() {
    let mut descriptions = describe(&[("Q1", &["en"])]);
    let en = language("en");
    for (entity, text, expected_error) in [
        ("Q1", "again", "a second description"),
        ("Q2", " \n", "an empty text"),
        (" ", "x", "entity"),
    ] {
        let error = descriptions.add(entity, en, text).unwrap_err().to_string();
        assert!(error.contains(expected_error), "{error}");
    }
    assert_eq!(descriptions.counts(), [(en, 1)].into());
}
