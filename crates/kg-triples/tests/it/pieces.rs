//! Tests of labels as tokens: each label begins a word, and labels may contain special or unknown
//! tokens.

use std::str::FromStr;

use crate::common::{countries, graph, tokenizer, unmasked_ids};
use kg_triples::sequence::Role;
use kg_triples::{SequenceConfig, SequenceKind, build_sequences};
use tokenizers::Tokenizer;

const UNK: u32 = 3;

fn of_kind(kind: SequenceKind) -> SequenceConfig {
    SequenceConfig { kinds: vec![kind], ..SequenceConfig::default() }
}

#[test]
fn labels_that_cannot_be_targets_are_dropped_and_counted() {
    let t = tokenizer();
    let labels = [("A", "Berlin"), ("B", "a <mask> here"), ("C", "\u{10ffff}"), ("P", "capital")];
    let labels = ["en", "de"].map(|language| labels.map(|(id, text)| [id, language, text]));
    let graph = graph(&[["A", "P", "B"], ["A", "P", "C"], ["A", "P", "D"]], labels.as_flattened());
    assert!(t.encode("\u{10ffff}", false).unwrap().get_ids().contains(&UNK));
    let config = of_kind(SequenceKind::Monolingual);
    let (sequences, report) = build_sequences(&graph, ("en", "de"), &config, &t).unwrap();
    // The label of B contains a mask token, so all sequences with B are dropped. The label of C
    // contains an unknown token, so C may be visible but not masked. D has no label.
    assert_eq!(sequences.len(), 2);
    assert!(sequences.iter().all(|s| s.entities[0].role == Role::Head));
    assert_eq!((report.dropped.unusable_label, report.dropped.missing_label), (6, 4));
}

/// A tokenizer whose words begin with a mark for the space before them. The first word of a text
/// has no mark.
const SPACE_MARKS: &str = r#"{
  "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": null,
  "added_tokens": [],
  "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true},
  "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {
    "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "▁a": 6, "b": 7, "▁b": 8,
    "▁Berlin": 9, "Berlin": 10, "▁capital": 11, "capital": 12, "▁Germany": 13, "Germany": 14, "▁of": 15}}
}"#;

#[test]
fn every_element_begins_a_word() {
    let t = Tokenizer::from_str(SPACE_MARKS).unwrap();
    let labels = [("A", "Berlin"), ("P", "capital of"), ("B", "Germany")];
    let labels = ["en", "de"].map(|language| labels.map(|(id, text)| [id, language, text]));
    let graph = graph(&[["A", "P", "B"]], labels.as_flattened());
    let config = of_kind(SequenceKind::Monolingual);
    let (sequences, _) = build_sequences(&graph, ("en", "de"), &config, &t).unwrap();
    assert_eq!(sequences.len(), 4);
    for s in sequences {
        assert_eq!(unmasked_ids(&s), [0, 9, 11, 15, 13, 2]);
    }
}

#[test]
fn a_tokenizer_without_mask_token_is_rejected() {
    let without_mask_token = Tokenizer::from_str(&SPACE_MARKS.replace("<mask>", "mask")).unwrap();
    let config = SequenceConfig::default();
    let error =
        build_sequences(&countries(), ("en", "de"), &config, &without_mask_token).unwrap_err();
    assert!(error.to_string().contains("<mask>"), "{error}");
}
