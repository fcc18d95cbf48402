//! Tests of entity-level scores, compared with seqeval and a brute-force implementation.
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::score::score_tags;
use crate::Error;
use crate::ner::{
    EntityScore, Labels, NerConfig, NerScore, Scheme, Sentence, encode_ner, find_entities,
    read_ner, score_ner, sentence_tags,
};
use crate::tokens::tests::tokenizer;
use proptest::prelude::*;
use serde::Deserialize;

type ScoreTuple = (f64, f64, f64, usize);

#[derive(Deserialize)]
struct Case {
    name: String,
    gold: Vec<Vec<String>>,
    predicted: Vec<Vec<String>>,
    lenient: Expected,
    strict: Option<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    types: BTreeMap<String, ScoreTuple>,
    micro: ScoreTuple,
    #[serde(rename = "macro")]
    macro_average: Option<ScoreTuple>,
    weighted: Option<ScoreTuple>,
}

fn score_tuple(score: &EntityScore) -> ScoreTuple {
    (score.precision, score.recall, score.f1, score.support)
}

fn assert_scores(name: &str, score: &NerScore, expected: &Expected) {
    assert_eq!(score_tuple(&score.micro), expected.micro, "{name}: micro");
    if let Some(expected) = expected.macro_average {
        assert_eq!(score_tuple(&score.macro_average), expected, "{name}: macro");
    }
    if let Some(expected) = expected.weighted {
        assert_eq!(score_tuple(&score.weighted), expected, "{name}: weighted");
    }
    let types: BTreeMap<String, ScoreTuple> =
        score.types.iter().map(|(kind, score)| (kind.clone(), score_tuple(score))).collect();
    assert_eq!(types, expected.types, "{name}: types");
}

#[test]
fn scores_are_bit_identical_to_seqeval() {
    let text = include_str!("../../tests/golden/seqeval.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 26);
    for case in cases {
        let score = |scheme| score_tags(&case.gold, &case.predicted, scheme).unwrap();
        assert_scores(&case.name, &score(Scheme::Lenient), &case.lenient);
        if let Some(expected) = &case.strict {
            assert_scores(&format!("{}, strict", case.name), &score(Scheme::StrictIob2), expected);
        }
    }
}

#[test]
fn scores_equal_hand_computed_values() {
    // Gold: 2 PER, 1 LOC. Predicted: a correct PER, a LOC with a wrong end, an ORG. Micro
    // precision, recall and F1 are 1/3.
    let gold = [vec!["B-PER", "I-PER", "O", "B-PER"], vec!["B-LOC", "I-LOC", "O"]];
    let predicted = [vec!["B-PER", "I-PER", "O", "B-ORG"], vec!["B-LOC", "O", "O"]];
    let score = score_tags(&gold, &predicted, Scheme::Lenient).unwrap();
    assert_eq!(score_tuple(&score.micro), (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 3));
    assert_eq!(score_tuple(&score.types["PER"]), (1.0, 0.5, 2.0 / 3.0, 2));
    assert_eq!(score_tuple(&score.types["LOC"]), (0.0, 0.0, 0.0, 1));
    assert_eq!(score_tuple(&score.types["ORG"]), (0.0, 0.0, 0.0, 0));
    let third = 1.0 / 3.0;
    assert_eq!(score_tuple(&score.macro_average), (third, 0.5 / 3.0, (2.0 / 3.0) / 3.0, 3));
}

/// Finds entities by checking every span.
fn brute_force_entities(tags: &[String]) -> BTreeSet<(String, usize, usize)> {
    // `joined(k)` is true if word k + 1 continues the entity of word k.
    let kind = |k: usize| tags[k].split_once('-').map(|(_, kind)| kind.to_owned());
    let letter = |k: usize| tags[k].chars().next().unwrap();
    let joined = |k: usize| {
        kind(k).is_some()
            && kind(k) == kind(k + 1)
            && matches!(letter(k), 'B' | 'I')
            && matches!(letter(k + 1), 'I' | 'E')
    };
    let mut spans = BTreeSet::new();
    for start in 0..tags.len() {
        for end in start..tags.len() {
            let is_contiguous = (start..end).all(joined);
            let starts = start == 0 || !joined(start - 1);
            let ends = end + 1 == tags.len() || !joined(end);
            if let (Some(kind), true) = (kind(start), is_contiguous && starts && ends) {
                spans.insert((kind, start, end));
            }
        }
    }
    spans
}

fn tags(letters: &'static str) -> impl Strategy<Value = Vec<String>> {
    let letters: Vec<char> = letters.chars().collect();
    let tag = prop_oneof![
        2 => Just("O".to_owned()),
        3 => (prop::sample::select(letters), prop::sample::select(vec!["PER", "LOC", "A-B"]))
            .prop_map(|(letter, kind)| format!("{letter}-{kind}")),
    ];
    prop::collection::vec(tag, 0..12)
}

proptest! {
    #[test]
    fn entities_agree_with_brute_force(tags in tags("BIES")) {
        let actual: BTreeSet<_> = find_entities(&tags, Scheme::Lenient)
            .into_iter()
            .map(|entity| (entity.kind.to_owned(), entity.start, entity.end))
            .collect();
        prop_assert_eq!(actual, brute_force_entities(&tags));
    }

    #[test]
    fn strict_entities_start_with_b_and_lenient_ones_contain_them(tags in tags("BI")) {
        let lenient = find_entities(&tags, Scheme::Lenient);
        for entity in find_entities(&tags, Scheme::StrictIob2) {
            prop_assert!(tags[entity.start].starts_with("B-"));
            prop_assert!(lenient.contains(&entity));
        }
        let starts = tags.iter().filter(|tag| tag.starts_with("B-")).count();
        prop_assert_eq!(find_entities(&tags, Scheme::StrictIob2).len(), starts);
    }
}

fn read_uner(name: &str) -> Vec<Sentence> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/uner");
    read_ner(root.join(format!("{name}.iob2.gz")), None).unwrap()
}

#[test]
fn embedded_data_has_the_counts_of_its_readme() {
    for (name, sentences, expected) in [
        ("en_ewt.dev", 2001, 966),
        ("en_ewt.test", 2077, 1088),
        ("en_pud.test", 1000, 1075),
        ("de_pud.test", 1000, 1039),
        ("zh_pud.test", 1000, 1139),
    ] {
        let data = read_uner(name);
        assert_eq!(data.len(), sentences, "{name}");
        let gold: Vec<Vec<String>> = data.iter().map(|sentence| sentence.tags.clone()).collect();
        let score = score_tags(&gold, &gold, Scheme::StrictIob2).unwrap();
        assert_eq!((score.micro.f1, score.micro.support), (1.0, expected), "{name}");
        assert_eq!(score.types.keys().collect::<Vec<_>>(), ["LOC", "ORG", "PER"], "{name}");
        assert_eq!(Labels::of(&data), Labels::iob2(&["LOC", "ORG", "PER"]), "{name}");
        assert!(data.iter().all(|sentence| sentence.id.is_some()), "{name}");
    }
}

#[test]
fn labels_are_at_first_pieces() {
    let sentence = Sentence::new(&["Obamas", "Sonderberaterin", "Kori"], &["B-PER", "O", "B-PER"]);
    let labels = Labels::iob2(&["LOC", "PER"]);
    assert_eq!(labels.tags(), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
    let tokenizer = tokenizer();
    let inputs = encode_ner(&[sentence], tokenizer, &labels, &NerConfig::default()).unwrap();
    let [input] = inputs.as_slice() else { panic!("{inputs:?}") };
    assert_eq!(input.labels.len(), input.input_ids.len());
    assert_eq!((input.input_ids[0], *input.input_ids.last().unwrap()), (0, 2));
    assert_eq!(input.words.iter().map(|&(word, _)| word).collect::<Vec<_>>(), [0, 1, 2]);
    for (k, &label) in input.labels.iter().enumerate() {
        match input.words.iter().find(|&&(_, at)| at == k) {
            Some(&(word, at)) => {
                assert_eq!(label, [3, 0, 3][word]);
                let piece = tokenizer.id_to_token(input.input_ids[at]).unwrap();
                assert!(piece.starts_with('▁'), "{piece}");
            }
            None => assert_eq!(label, -100),
        }
    }
    assert!(input.words[1].1 > 2, "a word of several pieces is needed here");
}

#[test]
fn truncated_words_are_scored_as_missed() {
    let words: Vec<String> = (0..40).map(|_| "Paris".to_owned()).collect();
    let tags = vec!["B-LOC".to_owned(); 40];
    let sentences = [Sentence { words, tags, ..Sentence::default() }];
    let labels = Labels::of(&sentences);
    let tokenizer = tokenizer();
    let gold_labels = |inputs: &[crate::ner::NerInput]| -> Vec<Vec<usize>> {
        let as_label = |&label: &i64| usize::try_from(label).unwrap_or(0);
        inputs.iter().map(|input| input.labels.iter().map(as_label).collect()).collect()
    };
    let score = |config: &NerConfig| {
        let inputs = encode_ner(&sentences, tokenizer, &labels, config).unwrap();
        let tags = sentence_tags(&sentences, &inputs, &gold_labels(&inputs), &labels).unwrap();
        let tagged_count = tags[0].iter().flatten().count();
        (tagged_count, score_ner(&sentences, &tags, Scheme::Lenient).unwrap().micro)
    };
    let (tagged_count, truncated) = score(&NerConfig { max_length: 12 });
    assert!(0 < tagged_count && tagged_count <= 10);
    assert_eq!((truncated.precision, truncated.recall), (1.0, tagged_count as f64 / 40.0));
    let (tagged_count, complete) = score(&NerConfig::default());
    assert_eq!((tagged_count, complete.recall, complete.f1), (40, 1.0, 1.0));
}

#[test]
fn errors_name_mismatched_inputs() {
    let mut sentence = Sentence::new(&["a", "b"], &["O", "B-GPE"]);
    sentence.lines = vec![7, 8];
    let sentences = [sentence];
    let labels = Labels::iob2(&["LOC", "PER"]);
    let tokenizer = tokenizer();
    let config = NerConfig::default();
    let error = encode_ner(&sentences, tokenizer, &labels, &config).unwrap_err().to_string();
    assert!(
        error.starts_with("sentence 1 (line 8): tag `B-GPE` of word 2 is none of O, B-LOC"),
        "{error}"
    );
    let short_config = NerConfig { max_length: 2 };
    let error = encode_ner(&sentences, tokenizer, &labels, &short_config).unwrap_err();
    assert!(matches!(error, Error::Config { key: "max_length", .. }), "{error}");

    let predicted = vec![vec![Some("O".to_owned())]];
    let error = score_ner(&sentences, &predicted, Scheme::Lenient);
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "sentence 1 (line 7): 1 predicted tags for 2 words");
    let mut empty_tag = sentences.clone();
    empty_tag[0].tags[0].clear();
    let tags = |sentence: &Sentence| sentence.tags.iter().cloned().map(Some).collect();
    let predicted: Vec<Vec<Option<String>>> = empty_tag.iter().map(tags).collect();
    let text = score_ner(&sentences, &predicted, Scheme::Lenient).unwrap_err().to_string();
    assert!(text.contains("sentence 1: word 1 has an empty tag"), "{text}");
    let text = score_ner(&sentences, &[], Scheme::Lenient).unwrap_err().to_string();
    assert_eq!(text, "0 predictions for 1 sentences; sentence 1 (line 7) is unmatched");
    let empty: [Vec<String>; 0] = [];
    assert!(matches!(score_tags(&empty, &empty, Scheme::Lenient), Err(Error::Nothing { .. })));

    let labels = Labels::iob2(&["GPE"]);
    let inputs = encode_ner(&sentences, tokenizer, &labels, &NerConfig::default()).unwrap();
    let rows = |label: usize, count: usize| vec![vec![label; count]];
    let length = inputs[0].labels.len();
    let text =
        sentence_tags(&sentences, &inputs, &rows(9, length), &labels).unwrap_err().to_string();
    assert!(text.contains("label 9 at position 1; there are 3 labels"), "{text}");
    let text = sentence_tags(&sentences, &inputs, &rows(0, 1), &labels).unwrap_err().to_string();
    assert!(text.starts_with("input 1: 1 labels for"), "{text}");
    let error = sentence_tags(&sentences, &inputs, &[], &labels).unwrap_err();
    assert!(matches!(error, Error::Count { expected: 1, got: 0, .. }), "{error}");
}
