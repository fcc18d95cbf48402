use kg_triples::entity_linking::{LinkedText, Mention, passages};
use kg_triples::jsonl;
use proptest::prelude::*;
use tempfile::tempdir;

use crate::common::{language, line_error, linked_text, mention_text, read};

fn mention(start: usize, end: usize, entity: &str) -> Mention {
    Mention { start, end, entity: entity.into() }
}

fn text(text: &str, mentions: Vec<Mention>) -> LinkedText {
    LinkedText { mentions, ..linked_text("en", text, &[]) }
}

#[test]
fn one_line_is_one_object_with_the_documented_keys() {
    let line = r#"{"id":"7","lang":"de","entity":"Q70","text":"Bern.","mentions":[{"start":0,"end":4,"entity":"Q70"}]}"#;
    let dir = tempdir().unwrap();
    let path = dir.path().join("t.jsonl");
    std::fs::write(&path, format!("{line}\n\n{}\n", r#"{"id":"8","lang":"en","text":"x"}"#))
        .unwrap();
    let read: Vec<LinkedText> = read(&path);
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].language, read[0].entity.as_deref()), (language("de"), Some("Q70")));
    assert_eq!(read[0].mentions, [mention(0, 4, "Q70")]);
    assert_eq!((read[1].entity.as_deref(), read[1].mentions.len()), (None, 0));

    jsonl::write(&path, &read[..1]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{line}\n"));
}

#[test]
fn invalid_lines_are_reported() {
    let valid = r#"{"id":"7","lang":"en","text":"Bern","mentions":[]}"#;
    let invalid_lines = [
        ("{", "EOF"),
        ("[]", "invalid length"),
        (r#"{"id":"7","lang":"en"}"#, "missing field `text`"),
        (r#"{"id":"7","lang":"e n","text":"Bern"}"#, "language"),
        (r#"{"id":"7","lang":"en","text":"Bern","link":1}"#, "unknown field `link`"),
        (r#"{"id":"","lang":"en","text":"Bern"}"#, "an empty id"),
        (r#"{"id":"7","lang":"en","entity":"","text":"Bern"}"#, "an empty id"),
        // The text has four code points in more than four bytes.
        (
            r#"{"id":"7","lang":"en","text":"Bürn","mentions":[{"start":0,"end":5,"entity":"Q1"}]}"#,
            "a mention at 0..5 of 4 code points",
        ),
        (
            r#"{"id":"7","lang":"en","text":"Bern","mentions":[{"start":2,"end":2,"entity":"Q1"}]}"#,
            "a mention at 2..2",
        ),
        (
            r#"{"id":"7","lang":"en","text":"Bern","mentions":[{"start":-1,"end":2,"entity":"Q1"}]}"#,
            "-1",
        ),
        (
            r#"{"id":"7","lang":"en","text":"Bern","mentions":[{"start":0,"end":2,"entity":""}]}"#,
            "mentions[0] with an empty entity",
        ),
    ];
    for (line, expected_error) in invalid_lines {
        let error = line_error::<LinkedText>(valid, line);
        assert!(error.contains("r.jsonl:3: expected one linked text"), "{error}");
        assert!(error.contains(expected_error), "{error}");
    }
}

#[test]
fn lines_become_passages_with_their_mentions() {
    let body = "\u{a0} Bern\u{301} ist 伯尔尼. \n\n \t \nعاصمة Bern\r\nzwei\nZeilen";
    // The mentions are not in order, and some overlap.
    let names = [". \n", "Bern\u{301} ist", "zwei\nZeilen", "عاصمة", "伯尔尼", "Bern\u{301}"];
    let linked = linked_text("en", body, &names.map(|name| (name, name)));
    let passages = passages(&linked);
    let texts: Vec<&str> = passages.iter().map(|passage| passage.text).collect();
    assert_eq!(texts, ["Bern\u{301} ist 伯尔尼.", "عاصمة Bern", "zwei", "Zeilen"]);
    let entities = |mentions: &[Mention]| -> Vec<String> {
        mentions.iter().map(|mention| mention.entity.clone()).collect()
    };
    let entities: Vec<_> = passages.iter().map(|passage| entities(&passage.mentions)).collect();
    // A mention is skipped if it spans several lines or is in the white space around a passage.
    let expected: [&[&str]; 4] =
        [&["Bern\u{301}", "Bern\u{301} ist", "伯尔尼"], &["عاصمة"], &[], &[]];
    assert_eq!(entities, expected);
    for passage in &passages {
        for mention in &passage.mentions {
            assert_eq!(mention_text(passage.text, mention), mention.entity);
        }
    }
    assert!(kg_triples::entity_linking::passages(&text(" \n\u{7}\n", vec![])).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A mention that is within one line has the same text in the passage as in the original text.
    #[test]
    fn mentions_have_equal_text_in_passages(
        body in "[ab é中\u{301}\u{627} \n]{1,40}",
        spans in prop::collection::vec((0_usize..40, 1_usize..6), 0..6),
    ) {
        let chars: Vec<char> = body.chars().collect();
        let mentions: Vec<Mention> = spans
            .into_iter()
            .filter(|(start, length)| start + length <= chars.len())
            .map(|(start, length)| {
                let mentioned_text: String = chars[start..start + length].iter().collect();
                mention(start, start + length, &mentioned_text)
            })
            .collect();
        let is_within_line = |mention: &&Mention| {
            let mentioned_text = &mention.entity;
            !mentioned_text.contains('\n') && mentioned_text.trim() == mentioned_text.as_str()
        };
        let expected = mentions.iter().filter(is_within_line).count();
        let linked = text(&body, mentions);
        let passages = passages(&linked);
        let is_not_blank = |line: &&str| !line.trim().is_empty();
        prop_assert_eq!(passages.len(), body.split('\n').filter(is_not_blank).count());
        let passage_mentions = passages
            .iter()
            .flat_map(|passage| passage.mentions.iter().map(move |mention| (passage.text, mention)));
        let passage_mentions: Vec<_> = passage_mentions.collect();
        for (text, mention) in &passage_mentions {
            prop_assert_eq!(&mention_text(text, mention), &mention.entity);
        }
        prop_assert!(passage_mentions.len() >= expected);
    }
}
