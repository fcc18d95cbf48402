use kg_triples::Error;
use kg_triples::knowledge::Descriptions;

use super::{decode, described, language, tokenizer};

#[test]
fn descriptions_are_cut_to_their_length_with_special_tokens() {
    let tokenizer = tokenizer();
    let descriptions = described(&[("Q1", &["en", "de"]), ("Q2", &["zh"])]);
    let full = descriptions.encode(tokenizer, 256).unwrap();
    assert_eq!((full.entities(), full.get("Q1").len(), full.get("Q3").len()), (2, 2, 0));
    let (first, ids) = &full.get("Q1")[0];
    assert_eq!(*first, language("de"), "sorted by code");
    assert_eq!((ids[0], *ids.last().unwrap()), (0, 2));
    assert!(decode(&ids[1..ids.len() - 1]).starts_with("Q1inthewordsofde"), "{}", decode(ids));
    for max_tokens in [3, 7, ids.len() - 1, ids.len(), ids.len() + 1] {
        let cut = descriptions.encode(tokenizer, max_tokens).unwrap();
        let cut = &cut.get("Q1")[0].1;
        assert_eq!(cut.len(), max_tokens.min(ids.len()));
        assert_eq!(cut[..cut.len() - 1], ids[..cut.len() - 1]);
        assert_eq!(*cut.last().unwrap(), 2);
    }
    for max_tokens in [0, 2] {
        let error = descriptions.encode(tokenizer, max_tokens).unwrap_err();
        assert!(matches!(error, Error::Config { key: "description_tokens", .. }), "{error}");
    }
}

#[test]
fn a_tokenizer_that_truncates_or_pads_is_no_matter() {
    let mut tokenizer = tokenizer().clone();
    let expected = described(&[("Q1", &["en"])]).encode(&tokenizer, 20).unwrap();
    let truncation = tokenizers::TruncationParams { max_length: 4, ..Default::default() };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    tokenizer.with_padding(Some(tokenizers::PaddingParams::default()));
    assert_eq!(described(&[("Q1", &["en"])]).encode(&tokenizer, 20).unwrap(), expected);
}

#[test]
fn literal_special_tokens_are_skipped() {
    let mut descriptions = Descriptions::default();
    descriptions.add("Q1", language("en"), "a <mask> b </s> c").unwrap();
    descriptions.add("Q2", language("en"), "<mask>").unwrap();
    let encoded = descriptions.encode(tokenizer(), 256).unwrap();
    let ids = &encoded.get("Q1")[0].1;
    assert_eq!(decode(&ids[1..ids.len() - 1]), "abc");
    assert!(encoded.get("Q2").is_empty() && encoded.entities() == 1, "nothing is left of it");
}

#[test]
fn what_cannot_be_added_is_named() {
    let mut descriptions = described(&[("Q1", &["en"])]);
    let en = language("en");
    for (entity, text, why) in [
        ("Q1", "again", "a second description"),
        ("Q2", " \n", "an empty text"),
        (" ", "x", "entity"),
    ] {
        let error = descriptions.add(entity, en, text).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(descriptions.counts(), [(en, 1)].into());
}
