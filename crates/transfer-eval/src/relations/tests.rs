//! Tests of TACRED's files, marked inputs and scores.
use proptest::prelude::*;
use testkit::{assert_contains, fixture};

use super::read::parse_relations;
use super::{
    Markers, NO_RELATION, RelationConfig, RelationExample, RelationLabels, encode_relations,
    read_relation_names, read_relations, score_relations,
};
use crate::tokens::tests::tokenizer;

fn examples() -> Vec<RelationExample> {
    read_relations(fixture("transfer/relations.json")).unwrap()
}

fn config() -> RelationConfig {
    let marks = ["§", "°", "+", "="].map(str::to_owned);
    RelationConfig { marks, ..RelationConfig::default() }
}

/// Encodes an example and returns the text of its pieces.
fn encoded_text(example: &RelationExample, config: &RelationConfig) -> String {
    let input =
        encode_relations(std::slice::from_ref(example), tokenizer(), config).unwrap().remove(0);
    let tokens = input.input_ids.iter().map(|&id| tokenizer().id_to_token(id).unwrap());
    tokens.collect::<String>().replace('▁', " ")
}

fn encoding_error(example: &RelationExample, config: &RelationConfig) -> String {
    encode_relations(std::slice::from_ref(example), tokenizer(), config).unwrap_err().to_string()
}

#[test]
fn inclusive_ends_become_exclusive() {
    let examples = examples();
    assert_eq!(examples.len(), 4);
    let first = &examples[0];
    assert_eq!(
        (&first.words[first.subject.clone()], first.object.clone()),
        (&["Mira".to_owned(), "Kessler".to_owned()][..], 4..6)
    );
    assert_eq!((first.subject_type.as_str(), first.object_type.as_str()), ("PERSON", "TITLE"));
    // The object can be before the subject.
    assert!(examples[2].object.end <= examples[2].subject.start);
    // The same objects, one per line.
    let text = std::fs::read_to_string(fixture("transfer/relations.json")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('{'));
    let lines: String = rows.map(|line| line.trim_end_matches(',').to_owned() + "\n").collect();
    assert_eq!(parse_relations(&lines, "x").unwrap(), examples);
}

#[test]
fn invalid_files_are_rejected() {
    let row = |rest: &str| {
        format!(
            "[{{\"id\": \"x7\", \"token\": [\"a\", \"b\"], \"relation\": \"r\", \"subj_type\": \"A\", \
             \"obj_type\": \"B\", \"subj_start\": 0, \"subj_end\": 0, {rest}}}]"
        )
    };
    assert!(parse_relations(&row("\"obj_start\": 1, \"obj_end\": 1"), "f").is_ok());
    for (text, words) in [
        (
            row("\"obj_start\": 1, \"obj_end\": 2"),
            vec!["f: example 1 (`x7`)", "obj_end = 2", "2 words"],
        ),
        (row("\"obj_start\": 1, \"obj_end\": 0"), vec!["obj_start = 1, obj_end = 0"]),
        (row("\"obj_start\": 1"), vec!["example 1 (`x7`)", "missing field `obj_end`"]),
        (row("\"obj_start\": -1, \"obj_end\": 0"), vec!["x7", "-1"]),
        ("[{\n\"id\": }]".into(), vec!["f:2", "an array of objects"]),
        ("[]".into(), vec!["f: no example"]),
        ("{\"id\": \"y\"}\n".into(), vec!["f:1", "missing field `token`"]),
    ] {
        let message = parse_relations(&text, "f").unwrap_err().to_string();
        assert_contains(&message, &words);
    }
}

#[test]
fn entities_are_marked() {
    let examples = examples();
    let typed = encoded_text(&examples[0], &config());
    assert_contains(&typed, &["<s> § + person + Mira Kessler §", "° = title = chief engineer °"]);
    // Escaped brackets are replaced.
    assert!(typed.contains(" (") && !typed.contains("LRB"), "{typed}");
    let entity = RelationConfig { markers: Markers::Entity, ..config() };
    let text = encoded_text(&examples[2], &entity);
    assert_contains(&text, &["Its founder ° Jonas Ek °", "§ Ek Tools § .</s>"]);
    let none = RelationConfig { markers: Markers::None, ..config() };
    assert!(!encoded_text(&examples[0], &none).contains('§'));
    let mentions = RelationConfig { mentions_only: true, ..entity.clone() };
    assert_eq!(encoded_text(&examples[2], &mentions), "<s> ° Jonas Ek ° § Ek Tools §</s>");
    // Entities that overlap or are equal.
    let mut nested = examples[0].clone();
    (nested.subject, nested.object) = (0..2, 1..2);
    assert!(encoded_text(&nested, &entity).starts_with("<s> § Mira ° Kessler § ° ,"));
    nested.object = 0..2;
    assert!(encoded_text(&nested, &entity).starts_with("<s> § ° Mira Kessler § ° ,"));
}

#[test]
fn positions_are_those_of_the_first_markers() {
    for markers in [Markers::None, Markers::Entity, Markers::Typed] {
        let config = RelationConfig { markers, ..config() };
        let inputs = encode_relations(&examples(), tokenizer(), &config).unwrap();
        for (input, example) in inputs.iter().zip(examples()) {
            let piece = |position: usize| {
                let rest = input.input_ids[position..].iter();
                rest.map(|&id| tokenizer().id_to_token(id).unwrap()).collect::<String>()
            };
            let marks = if markers == Markers::None {
                [example.subject.start, example.object.start].map(|k| example.words[k].clone())
            } else {
                ["§".to_owned(), "°".to_owned()]
            };
            for (position, mark) in [input.subject, input.object].into_iter().zip(marks) {
                assert!(piece(position).replace('▁', "").starts_with(&mark), "{mark}");
            }
        }
    }
}

#[test]
fn long_sentences_keep_the_entities() {
    let mut example = examples()[0].clone();
    let filler = |count: usize| vec!["word".to_owned(); count];
    example.words =
        [filler(50), vec!["Mira".into()], filler(90), vec!["chief".into()], filler(70)].concat();
    (example.subject, example.object) = (50..51, 141..142);
    let config = RelationConfig { max_length: 40, markers: Markers::Entity, ..config() };
    let input = &encode_relations(std::slice::from_ref(&example), tokenizer(), &config).unwrap()[0];
    assert!((38..=40).contains(&input.input_ids.len()), "{}", input.input_ids.len());
    let text = encoded_text(&example, &config);
    assert_contains(&text, &["word § Mira § word", "word ° chief ° word"]);
    assert_contains(
        &encoding_error(&example, &RelationConfig { max_length: 6, ..config }),
        &["example 1", "max_length = 6"],
    );
}

#[test]
fn unknown_marks_and_invalid_spans_are_rejected() {
    let example = examples()[0].clone();
    let message = encoding_error(&example, &RelationConfig::default());
    assert_contains(&message, &["mark `@`", "markers = \"none\""]);
    for (subject, object) in [(0..0, 1..2), (0..1, 13..15)] {
        let example = RelationExample { subject, object, ..example.clone() };
        assert_contains(&encoding_error(&example, &config()), &["`a1`", "of 14 words"]);
    }
    let blank = RelationExample {
        words: vec![String::new(), "b".into()],
        subject: 0..1,
        object: 1..2,
        ..example
    };
    assert_contains(&encoding_error(&blank, &config()), &["no pieces"]);
}

/// The counting of the official scorer, in its order of cases.
fn official(gold: &[&str], predicted: &[&str]) -> [f64; 3] {
    let (mut correct, mut guessed, mut relevant) = (0.0, 0.0, 0.0);
    for (&gold, &guess) in gold.iter().zip(predicted) {
        match (gold == NO_RELATION, guess == NO_RELATION) {
            (true, true) => {}
            (true, false) => guessed += 1.0,
            (false, true) => relevant += 1.0,
            (false, false) => {
                guessed += 1.0;
                relevant += 1.0;
                correct += f64::from(u8::from(gold == guess));
            }
        }
    }
    let precision = if guessed > 0.0 { correct / guessed } else { 1.0 };
    let recall = if relevant > 0.0 { correct / relevant } else { 0.0 };
    let f1 = if precision + recall > 0.0 {
        2.0 * precision * recall / (precision + recall)
    } else {
        0.0
    };
    [precision, recall, f1]
}

#[test]
fn scores_follow_the_official_rules() {
    let micro = |gold: &[&str], predicted: &[&str]| {
        let micro = score_relations(gold, predicted).unwrap().micro;
        [micro.precision, micro.recall, micro.f1]
    };
    let none = NO_RELATION;
    // Nothing is predicted: precision 100, and no NaN.
    assert_eq!(micro(&["a", none], &[none, none]), [100.0, 0.0, 0.0]);
    // Nothing is to be found.
    assert_eq!(micro(&[none, none], &[none, "a"]), [0.0, 0.0, 0.0]);
    assert_eq!(micro(&[none], &[none]), [100.0, 0.0, 0.0]);
    // A wrong relation counts against precision and recall: 1 of 3 and 1 of 2.
    let score = score_relations(&["a", "b", none, none], &["a", "a", "b", none]).unwrap();
    assert_eq!((score.micro.correct, score.micro.predicted, score.micro.gold), (1, 3, 2));
    assert!((score.micro.f1 - 40.0).abs() < 1e-12);
    assert_eq!((score.relations["a"].precision, score.relations["a"].recall), (50.0, 100.0));
    assert_eq!((score.relations["b"].precision, score.relations["b"].recall), (0.0, 0.0));
    // Relations without a gold example are not listed, as in the official output.
    let score = score_relations(&["a"], &["c"]).unwrap();
    assert_eq!(score.relations.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(score.relations["a"].precision, 100.0);
    let error = score_relations(&["a", "b"], &["a"]).unwrap_err().to_string();
    assert_contains(&error, &["1 predictions for 2 examples", "example 2 (b)"]);
    assert!(score_relations::<&str, &str>(&[], &[]).is_err());
}

proptest! {
    #[test]
    fn scores_equal_the_official_counting(
        pairs in prop::collection::vec((0..4usize, 0..4usize), 1..40)
    ) {
        let names = [NO_RELATION, "a", "b", "c"];
        let gold: Vec<&str> = pairs.iter().map(|pair| names[pair.0]).collect();
        let predicted: Vec<&str> = pairs.iter().map(|pair| names[pair.1]).collect();
        let micro = score_relations(&gold, &predicted).unwrap().micro;
        let expected = official(&gold, &predicted);
        for (value, expected) in [micro.precision, micro.recall, micro.f1].iter().zip(expected) {
            prop_assert!((value - 100.0 * expected).abs() < 1e-9);
        }
    }
}

#[test]
fn labels_are_distinct() {
    let labels = RelationLabels::new(&["b", "a"]).unwrap();
    assert_eq!(
        (labels.class(NO_RELATION), labels.class("a"), labels.name(1)),
        (Some(0), Some(2), Some("b"))
    );
    assert_eq!((labels.class("c"), labels.name(3)), (None, None));
    for names in [&["a", "a"][..], &[NO_RELATION], &[" "], &[]] {
        assert!(
            RelationLabels::new(names).unwrap_err().to_string().contains("relations = "),
            "{names:?}"
        );
    }
}

#[test]
fn names_are_read_from_examples_and_from_lines() {
    let names = read_relation_names(fixture("transfer/relations.json")).unwrap();
    assert_eq!(names, ["per:title", NO_RELATION, "org:founded_by", "per:title"]);
    assert_eq!(read_relation_names(fixture("transfer/relations.txt")).unwrap().len(), 4);
}
