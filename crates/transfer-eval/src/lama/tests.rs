//! Tests of LAMA's files, clozes and scores.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::read_facts;
use crate::Error;
use crate::lama::{
    Candidates, Cloze, ClozeConfig, CommonVocabulary, Corpus, Fact, LamaScore, Precision, Relation,
    RelationScore, build_clozes, rank_golds, read_corpus, score_lama,
};
use crate::tokens::tests::tokenizer;
use ndarray::Array2;
use proptest::prelude::*;

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

const BIRTH_FACTS: &str = r#"{"pred": "/people/person/place_of_birth", "sub": "/m/1", "sub_label": "Ada", "obj_label": "London", "judgments": [{"rater": "1", "judgment": "yes"}, {"rater": "2", "judgment": "no"}], "uuid": "u1", "masked_sentences": ["x"]}
{"sub_label": "Ada", "obj_label": "London", "judgments": [], "uuid": "u2"}
{"sub_label": "Bob", "obj_label": "Paris", "judgments": [{"judgment": "no"}, {"judgment": "yes"}, {"judgment": "no"}], "uuid": "u3"}
{"sub_label": "Eve", "uuid": "u4"}

{"sub_label": "Eve", "obj_label": "Berlin", "uuid": "u5"}
"#;

#[test]
fn google_re_follows_the_released_scorer() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["place_of_birth", "date_of_birth", "place_of_death"] {
        write(folder.path(), &format!("Google_RE/{name}_test.jsonl"), BIRTH_FACTS);
    }
    let corpus = read_corpus(folder.path(), Corpus::GoogleRe).unwrap();
    assert_eq!(corpus.len(), 3);
    let (relation, facts) = &corpus[1];
    assert_eq!(relation.id, "date_of_birth");
    assert_eq!((facts.incomplete, facts.denied, facts.repeated), (1, 1, 1));
    // Facts with equal numbers of confirming and denying raters are included.
    let ids: Vec<&str> = facts.facts.iter().map(|fact| fact.id.as_str()).collect();
    assert_eq!(ids, ["u1", "u5"]);
    let first = &facts.facts[0];
    assert_eq!((first.before.as_str(), first.after.as_str()), ("Ada (born ", ")."));
    assert_eq!((first.object.as_str(), first.line, first.from_template), ("London", 1, true));
    std::fs::remove_file(folder.path().join("Google_RE/place_of_death_test.jsonl")).unwrap();
    let message = read_corpus(folder.path(), Corpus::GoogleRe).unwrap_err().to_string();
    assert!(message.contains("place_of_death_test.jsonl"), "{message}");
}

#[test]
fn t_rex_uses_templates_of_relations() {
    let folder = tempfile::tempdir().unwrap();
    let relations = r#"{"relation": "P36", "template": "The capital of [X] is [Y] .", "label": "capital", "description": "d", "type": "1-1"}
{"relation": "P19", "template": "[X] was born in [Y] .", "label": "l", "description": "d", "type": "N-1"}
{"relation": "P1376", "template": "[Y] has the capital [X] .", "type": "1-1"}
"#;
    write(folder.path(), "relations.jsonl", relations);
    let fact = r#"{"uuid": "a", "obj_uri": "Q90", "obj_label": "Paris", "sub_uri": "Q142", "sub_label": "France", "predicate_id": "P36", "evidences": [{"sub_surface": "x", "obj_surface": "y", "masked_sentence": "z"}]}"#;
    write(folder.path(), "TREx/P36.jsonl", fact);
    write(folder.path(), "TREx/P1376.jsonl", fact);
    let corpus = read_corpus(folder.path(), Corpus::TRex).unwrap();
    assert_eq!(
        corpus.iter().map(|(relation, _)| relation.id.as_str()).collect::<Vec<_>>(),
        ["P36", "P1376"]
    );
    assert_eq!(corpus[0].0.kind.as_deref(), Some("1-1"));
    assert_eq!(corpus[0].1.facts[0].before, "The capital of France is ");
    let paris = &corpus[1].1.facts[0];
    assert_eq!((paris.before.as_str(), paris.after.as_str()), ("", " has the capital France ."));
}

#[test]
fn sentences_are_split_at_their_first_mask() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"masked_sentences": ["Joke would make you want to [MASK]."], "obj_label": "laugh", "uuid": "c", "sub_label": "joke", "sub": "joke", "obj": "laugh", "pred": "Causes"}
{"masked_sentences": ["A [MASK] is a [MASK]."], "obj_label": "dog", "id": "d", "sub_label": "Squad"}
"#;
    write(folder.path(), "ConceptNet/test.jsonl", text);
    write(folder.path(), "Squad/test.jsonl", text);
    for corpus in [Corpus::ConceptNet, Corpus::Squad] {
        let read = read_corpus(folder.path(), corpus).unwrap();
        let facts = &read[0].1.facts;
        assert_eq!((facts[0].id.as_str(), facts[1].id.as_str()), ("c", "d"));
        assert_eq!((facts[1].before.as_str(), facts[1].after.as_str()), ("A ", " is a [MASK]."));
        assert!(!facts[0].from_template);
    }
}

#[test]
fn errors_name_file_line_and_problem() {
    let folder = tempfile::tempdir().unwrap();
    let sentences = Relation { id: "test".into(), ..Relation::default() };
    let message = |text: &str, relation: &Relation| {
        let path = write(folder.path(), "facts.jsonl", text);
        read_facts(path, relation).unwrap_err().to_string()
    };
    let two_objects = Relation { template: Some("[X] or [Y] and [Y]".into()), ..sentences.clone() };
    let no_mask = "{\"sub_label\": \"a\", \"obj_label\": \"b\", \"masked_sentences\": [\"x\"]}\n";
    for (text, relation, words) in [
        (no_mask, &sentences, "facts.jsonl:1: no [MASK] in masked_sentences"),
        ("\n{\"sub_label\": \"a\", \"obj_la", &sentences, "facts.jsonl:2: EOF"),
        ("{\"sub_label\": 3}", &sentences, "facts.jsonl:1: invalid type"),
        ("", &sentences, "no fact"),
        ("{\"sub_label\": \"a\"}", &sentences, "no fact"),
        (BIRTH_FACTS, &two_objects, "needs [X] for the subject and one [Y]"),
    ] {
        let got = message(text, relation);
        assert!(got.contains(words), "{got}");
    }
    for (text, word) in [
        ("{\"relation\": \"P1\"}", "relations.jsonl:1: template \"\" needs"),
        ("{\"relation\": \"P1\", \"template\": \"[Y]\"}", "[X] for the subject"),
        (
            "{\"relation\": \"P1\", \"template\": \"[X] [Y]\"}\n{\"relation\": \"P1\", \"template\": \"[X] [Y]\"}",
            "jsonl:2: relation `P1` occurs twice",
        ),
        ("", "no relation"),
        ("[]", "relations.jsonl:1: "),
    ] {
        let path = write(folder.path(), "relations.jsonl", text);
        let got = Relation::read(path).unwrap_err().to_string();
        assert!(got.contains(word), "{got}");
    }
    let text = read_corpus(folder.path().join("none"), Corpus::Squad).unwrap_err().to_string();
    assert!(text.contains("none/Squad/test.jsonl"), "{text}");
}

fn fact(before: &str, after: &str, object: &str) -> Fact {
    let text = str::to_owned;
    Fact {
        id: text("id"),
        relation: text("test"),
        object: text(object),
        before: text(before),
        after: text(after),
        from_template: true,
        line: 5,
    }
}

#[test]
fn skipped_facts_are_counted() {
    let tokenizer = tokenizer();
    let long_fact = Fact { from_template: false, ..fact(&"a ".repeat(100), " .", "Paris") };
    let facts = [
        fact("in ", " .", "Paris"),
        fact("in ", " .", "Tegucigalpa"),
        fact("in ", " .", "London"),
        long_fact.clone(),
    ];
    let build = |vocabulary: Option<&CommonVocabulary>, config: &ClozeConfig| {
        build_clozes(&facts, tokenizer, vocabulary, config).unwrap()
    };
    let config = ClozeConfig::default();
    let unfiltered = build(None, &config);
    assert_eq!((unfiltered.clozes.len(), unfiltered.too_long), (3, 1));
    assert_eq!(unfiltered.clozes[1].gold, None);
    let words = CommonVocabulary::new(["Paris", "Tegucigalpa"]);
    let in_vocabulary = build(Some(&words), &config);
    assert_eq!((in_vocabulary.clozes.len(), in_vocabulary.outside_vocabulary), (2, 1));
    let short_config = ClozeConfig { max_length: 4, ..config };
    let text = build_clozes(&facts, tokenizer, None, &short_config).unwrap_err().to_string();
    assert!(text.starts_with("fact 1 (line 5): 6 pieces, but max_length = 4"), "{text}");

    let candidates = words.candidates(tokenizer).unwrap();
    assert_eq!(candidates.spaced, [tokenizer.token_to_id("▁Paris").unwrap()]);
    let text =
        CommonVocabulary::new(["Tegucigalpa"]).candidates(tokenizer).unwrap_err().to_string();
    assert!(text.contains("no word of the common vocabulary is one piece"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "vocabulary.txt", "Paris\r\n\nTegucigalpa\n");
    assert_eq!(CommonVocabulary::read(path).unwrap(), words);
    let path = write(folder.path(), "empty.txt", "\n");
    assert!(CommonVocabulary::read(path).unwrap_err().to_string().contains("no word"));
}

fn cloze(relation: &str, gold: Option<u32>) -> Cloze {
    let (id, relation) = (format!("{relation}-{gold:?}"), relation.to_owned());
    Cloze { id, relation, input_ids: vec![0, 9, 2], mask: 1, gold, spaced: true }
}

#[test]
fn ranks_equal_hand_computed_values() {
    let logits = Array2::from_shape_vec(
        (3, 5),
        vec![
            0.1, 0.9, 0.5, 0.5, 0.0, // gold 2: behind 1, tied with 3
            0.0, 0.0, 0.0, 0.0, 0.0, // gold 0: tied with all
            1.0, 2.0, 3.0, 4.0, 5.0, // no single piece
        ],
    )
    .unwrap();
    let clozes = [cloze("a", Some(2)), cloze("a", Some(0)), cloze("b", None)];
    let rank = |candidates| rank_golds(logits.view(), &clozes, candidates).unwrap();
    assert_eq!(rank(None), [Some(3), Some(5), None]);
    let candidates = Candidates { spaced: vec![0, 2, 4], joined: vec![] };
    assert_eq!(rank(Some(&candidates)), [Some(1), Some(3), None]);
}

#[test]
fn macro_and_micro_equal_hand_computed_values() {
    let relation =
        |id: &str, kind: &str| Relation { id: id.into(), template: None, kind: Some(kind.into()) };
    let relations =
        [relation("a", "1-1"), relation("b", "N-1"), relation("c", "N-1"), relation("d", "N-M")];
    let clozes: Vec<Cloze> =
        ["a", "a", "a", "a", "b", "c", "c"].iter().map(|id| cloze(id, Some(3))).collect();
    let ranks = [Some(1), Some(2), Some(10), Some(11), Some(1), None, Some(4)];
    let score = score_lama(&relations, &clozes, &ranks).unwrap();
    // P@1 and P@10 are 1/4 and 3/4 for relation a, 1 and 1 for b, 0 and 1/2 for c; d has no fact.
    let values = |precision: crate::lama::Precision| (precision.p_at_1, precision.p_at_10);
    assert_eq!(
        score.relations.iter().map(|relation| values(relation.precision)).collect::<Vec<_>>(),
        [(25.0, 75.0), (100.0, 100.0), (0.0, 50.0)]
    );
    assert_eq!(values(score.macro_average), (125.0 / 3.0, 75.0));
    assert_eq!(values(score.micro), (200.0 / 7.0, 500.0 / 7.0));
    assert_eq!(values(score.kinds["N-1"]), (50.0, 75.0));
    assert_eq!((score.kinds.len(), score.facts), (2, 7));
    let best = vec![vec![3, 1], vec![1, 3], vec![], vec![9], vec![3], vec![1], vec![1, 2, 4, 3]];
    let ranks_among_best = clozes.iter().zip(&best).map(|(cloze, best)| cloze.rank_among(best));
    assert_eq!(
        ranks_among_best.collect::<Vec<_>>(),
        [Some(1), Some(2), None, None, Some(1), None, Some(4)]
    );
}

#[test]
fn errors_name_mismatched_inputs() {
    let logits = Array2::<f32>::zeros((1, 4));
    let rank_error = |clozes: &[Cloze], logits: &Array2<f32>, candidates: Option<&Candidates>| {
        rank_golds(logits.view(), clozes, candidates).unwrap_err().to_string()
    };
    assert_eq!(rank_error(&[], &logits, None), "logits: 1 rows for 0 clozes");
    assert_eq!(rank_error(&[cloze("a", Some(4))], &logits, None), "cloze 1: piece 4, but V = 4");
    let mut with_nan = logits.clone();
    with_nan[[0, 1]] = f32::NAN;
    assert_eq!(rank_error(&[cloze("a", Some(0))], &with_nan, None), "cloze 1: logit 1 is NaN");
    let candidates = Candidates { spaced: vec![1], joined: vec![] };
    let text = rank_error(&[cloze("a", Some(0))], &logits, Some(&candidates));
    assert_eq!(text, "cloze 1: gold piece 0 is not among the candidates");
    let relations = [Relation { id: "a".into(), ..Relation::default() }];
    let score = |clozes: &[Cloze], ranks: &[Option<usize>]| {
        score_lama(&relations, clozes, ranks).unwrap_err()
    };
    assert!(matches!(score(&[], &[]), Error::Nothing { .. }));
    let text = score(&[cloze("b", None)], &[None]).to_string();
    assert_eq!(text, "cloze 1: relation `b` is not among the relations");
    let text = score(&[cloze("a", None), cloze("a", Some(1))], &[None]).to_string();
    assert_eq!(text, "1 predictions for 2 clozes; cloze 2 (`a-Some(1)`) is unmatched");
}

proptest! {
    #[test]
    fn ranks_agree_with_sorting(scores in prop::collection::vec(-3i8..4, 2..12), gold in 0usize..12) {
        let gold = gold % scores.len();
        let values: Vec<f32> = scores.iter().map(|&score| f32::from(score)).collect();
        let logits = Array2::from_shape_vec((1, values.len()), values).unwrap();
        let clozes = [cloze("a", u32::try_from(gold).ok())];
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by_key(|&k| std::cmp::Reverse(scores[k]));
        let expected_rank = 1 + order.iter().rposition(|&k| scores[k] == scores[gold]).unwrap();
        prop_assert_eq!(rank_golds(logits.view(), &clozes, None).unwrap(), [Some(expected_rank)]);
    }
}

#[test]
fn measured_rows_belong_to_the_printed_table() {
    let precision = |p_at_1| Precision { p_at_1, p_at_10: 100.0 };
    let relation = |id: &str, p| RelationScore {
        relation: id.into(),
        kind: None,
        facts: 1,
        precision: precision(p),
    };
    let score = LamaScore {
        macro_average: precision(4.0),
        micro: precision(5.0),
        kinds: BTreeMap::from([("N-1".to_owned(), precision(7.0))]),
        relations: vec![relation("place_of_birth", 1.0), relation("date_of_birth", 2.0)],
        facts: 2,
    };
    let rows = |corpus| -> Vec<(String, f64)> {
        let rows = score.measured("ours", corpus);
        rows.into_iter().map(|row| (row.setting, row.value)).collect()
    };
    let row = |name: &str, value| (name.to_owned(), value);
    let google_re_rows = [
        row("LAMA Google-RE birth-place", 1.0),
        row("LAMA Google-RE birth-date", 2.0),
        row("LAMA Google-RE Total", 4.0),
    ];
    assert_eq!(rows(Corpus::GoogleRe), google_re_rows);
    assert_eq!(rows(Corpus::TRex), [row("LAMA T-REx N-1", 7.0), row("LAMA T-REx Total", 4.0)]);
    assert_eq!(rows(Corpus::Squad).last(), Some(&row("LAMA SQuAD Total", 5.0)));
    for corpus in [Corpus::TRex, Corpus::GoogleRe] {
        results::PrintedTable::new("001-5", &score.measured("ours", corpus)).unwrap();
    }
}
