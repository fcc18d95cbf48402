//! The JSON schema of question files.
use mlqa_eval::squad::File;
use mlqa_eval::{Dataset, Error};
use proptest::prelude::*;
use serde_json::Value;

/// The text has SQuAD v2.0's keys, an answer type, the position of an entity, and unknown keys at
/// every level.
const ALL_KEYS: &str = r#"{"version":"v2.0","data":[{"title":"T","paragraphs":[{"context":"A house","qas":[{"id":"q1","question":"Where?","answers":[{"text":"house","answer_start":2,"answer_end":7}],"subtype":"place","plausible_answers":[{"answer_start":0,"text":"A"}],"is_impossible":false,"head_start":0,"head_length":5}],"document_id":"d"}],"url":"u"}],"licence":{"name":"n"}}"#;

#[test]
fn other_keys_are_preserved_in_order() {
    let file = File::parse(ALL_KEYS, "all.json").unwrap();
    assert_eq!(serde_json::to_string(&file).unwrap(), ALL_KEYS);
    let question = file.questions().next().unwrap();
    assert_eq!(question.parse_field::<usize>("head_length", "all.json").unwrap(), Some(5));
    assert_eq!(question.parse_field::<bool>("is_impossible", "all.json").unwrap(), Some(false));
    assert_eq!(question.parse_field::<bool>("none", "all.json").unwrap(), None);
}

#[test]
fn field_errors_name_file_question_and_key() {
    let file = File::parse(&ALL_KEYS.replace("\"head_start\":0", "\"head_start\":-1"), "a.json");
    let question = file.as_ref().unwrap().questions().next().unwrap();
    let error = question.parse_field::<usize>("head_start", "a.json").unwrap_err();
    assert!(matches!(error, Error::Content { .. }));
    let text = error.to_string();
    assert!(text.starts_with("a.json: question `q1`: `head_start` is -1: "), "{text}");
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let text = ALL_KEYS.replace("\"head_start\":0", "\"head_start\":0,\"head_start\":3");
    let file = File::parse(&text, "all.json").unwrap();
    let question = file.questions().next().unwrap();
    assert_eq!(question.extra.get("head_start"), Some(&Value::from(3)));
}

proptest! {
    #[test]
    fn written_files_are_read_unchanged(
        texts in prop::collection::vec((".{0,12}", ".{0,12}", 0..3_usize, any::<bool>()), 0..8),
    ) {
        let mut file = Dataset { path: "x".into(), version: None, questions: Vec::new() };
        for (k, (question, context, start, answered)) in texts.into_iter().enumerate() {
            let answer = mlqa_eval::Answer::at(start, question.clone());
            file.questions.push(mlqa_eval::Question {
                id: k.to_string(),
                question,
                context: context.into(),
                answers: if answered { vec![answer] } else { Vec::new() },
                title: "".into(),
            });
        }
        let text = serde_json::to_string(&file.to_squad()).unwrap();
        let parsed = File::parse(&text, "x").unwrap();
        prop_assert_eq!(&Dataset::from_squad(parsed, "x").unwrap(), &file);
    }
}
