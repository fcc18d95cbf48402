//! Tests of marking an answer and recovering it.
use std::ops::Range;

use proptest::prelude::*;
use qa_translate::{Error, MarkerFault, mark, mark_spans, recover};

fn recovery_fault(text: &str) -> MarkerFault {
    recover(text, 1).unwrap_err()
}

fn recovered(text: &str) -> (String, String, usize) {
    let recovered = recover(text, 1).unwrap();
    (recovered.passage, recovered.answer.text, recovered.answer.answer_start)
}

#[test]
fn answers_at_any_position_are_recovered() {
    for (passage, start, length, expected) in [
        ("Rom ist alt", 0, 3, "([Rom]) ist alt"),
        ("Rom ist alt", 8, 3, "Rom ist ([alt])"),
        ("Rom", 0, 3, "([Rom])"),
        ("𝒳 é 北京在中国", 4, 2, "𝒳 é ([北京])在中国"),
        ("a  b  c", 1, 4, "a  ([b])  c"),
    ] {
        let marked = mark(passage, start, length).unwrap();
        assert_eq!((marked.text.as_str(), marked.level), (expected, 1));
        assert_eq!(recover(expected, 1).unwrap().passage, passage);
    }
}

#[test]
fn brackets_of_the_passage_differ_from_the_markers() {
    for (passage, start, length, level, expected) in [
        ("see ([1]) and x", 14, 1, 2, "see ([1]) and ([[x]])"),
        ("f(x)", 2, 1, 1, "f(([x]))"),
        ("[x]", 0, 3, 1, "([[x]])"),
        ("(x)", 0, 3, 1, "([(x)])"),
        ("( [ ［ y", 6, 1, 3, "( [ ［ ([[[y]]])"),
        ("z ] ) ([", 0, 1, 2, "([[z]]) ] ) (["),
    ] {
        let marked = mark(passage, start, length).unwrap();
        assert_eq!((marked.text.as_str(), marked.level), (expected, level), "{passage}");
        let back = marked.recover(&marked.text).unwrap();
        assert_eq!((back.passage.as_str(), back.answer.answer_start), (passage, start));
    }
}

#[test]
fn altered_markers_of_translators_are_recovered() {
    let plain = ("vor 1492 nach".to_owned(), "1492".to_owned(), 4);
    for text in [
        "vor ([1492]) nach",
        "vor ([ 1492 ]) nach",
        "vor ( [1492] ) nach",
        "vor（［1492］）nach".replace('（', " （").replace('）', "） ").as_str(),
        "vor (【 1492】) nach",
        "vor([ 1492 ])nach",
        "vor（ [ 1492 ] ）nach",
    ] {
        assert_eq!(recovered(text), plain, "{text}");
    }
    assert_eq!(recovered("im Jahr ([ 1492 ])."), ("im Jahr 1492.".into(), "1492".into(), 8));
    assert_eq!(recovered("([ 北京 ])。"), ("北京。".into(), "北京".into(), 0));
}

#[test]
fn faults_are_distinguished() {
    for text in ["none", "([ open", "close ])", "(x) [y]", "(x[ y ]z)"] {
        assert_eq!(recovery_fault(text), MarkerFault::Missing, "{text}");
    }
    for text in ["([a]) ([b])", "([ ([a])", "([a]) b])"] {
        assert_eq!(recovery_fault(text), MarkerFault::Duplicate, "{text}");
    }
    assert_eq!(recovery_fault("a ]) b ([ c"), MarkerFault::Reordered);
    for text in ["a ([]) b", "a ([  ]) b", "（［　］）"] {
        assert_eq!(recovery_fault(text), MarkerFault::Empty, "{text}");
    }
}

#[test]
fn doubled_markers_are_not_part_of_the_answer() {
    let marked = mark("vor 1492 nach", 4, 4).unwrap();
    for text in ["([[1492]])", "([ [1492] ])", "([[1492])", "([1492]])", "（［【1492】］）"] {
        assert_eq!(marked.recover(text), Err(MarkerFault::Duplicate), "{text}");
    }
    assert_eq!(marked.recover("vor ([1492])").unwrap().answer.text, "1492");
    // Brackets that belong to the answer are preserved, and may be lost in the translation.
    let marked_brackets = mark("vor [1492] nach", 4, 6).unwrap();
    assert_eq!(marked_brackets.text, "vor ([[1492]]) nach");
    assert_eq!(marked_brackets.recover("vor ([[1492]])").unwrap().answer.text, "[1492]");
    assert_eq!(marked_brackets.recover("vor ([1492])").unwrap().answer.text, "1492");
}

#[test]
fn spans_outside_the_passage_or_blank_are_rejected() {
    for (start, length) in [(0, 9), (8, 1), (usize::MAX, 2), (3, 0), (3, 1)] {
        let result = mark("one two", start, length);
        assert!(matches!(result, Err(Error::Span { .. })), "{start} {length}");
    }
}

/// Generates text in which brackets of all kinds and white space are frequent.
fn passage() -> impl Strategy<Value = Vec<char>> {
    let bracket = prop::sample::select("()[]（）［］【】 \t　".chars().collect::<Vec<_>>());
    prop::collection::vec(prop_oneof![bracket, any::<char>()], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn recovered_answers_are_in_their_passage(characters in passage(), level in 1usize..3) {
        let text: String = characters.iter().collect();
        if let Ok(back) = recover(&text, level) {
            let slice: String = back.passage.chars().skip(back.answer.answer_start)
                .take(back.answer.text.chars().count()).collect();
            prop_assert_eq!(&slice, &back.answer.text);
            prop_assert_eq!(back.answer.text.trim(), back.answer.text.as_str());
            prop_assert!(!back.answer.text.is_empty());
        }
    }
}

#[test]
fn several_spans_are_recovered_by_number() {
    let marked = mark_spans("Ada met Bo in Bern.", &[14..18, 0..3, 8..10]).unwrap();
    assert_eq!(marked.text, "([2:Ada]) met ([3:Bo]) in ([1:Bern]).");
    let recover_texts = |text: &str| {
        let found = marked.recover(text).map_err(|fault| format!("{fault:?}"))?;
        let span = |span: &Range<usize>| -> String {
            found.text.chars().skip(span.start).take(span.len()).collect()
        };
        Ok::<_, String>((found.text.clone(), found.spans.iter().map(span).collect::<Vec<_>>()))
    };
    let expected_spans =
        ("In Bern traf Bo Ada.".into(), vec!["Bern".into(), "Ada".into(), "Bo".into()]);
    for text in [
        "In ([1:Bern]) traf ([3:Bo]) ([2:Ada]).",
        "In （【 １ ： Bern 】） traf ([ 3: Bo ]) ([2 :Ada]).",
        "In ( [1: Bern] ) traf ([3: Bo ])([2: Ada]).",
    ] {
        assert_eq!(recover_texts(text), Ok(expected_spans.clone()), "{text}");
    }
    for (text, fault) in [
        ("In Bern traf ([3:Bo]) ([2:Ada]).", "Missing"),
        ("In ([1:Bern]) traf ([3:Bo]) ([2:Ada.", "Missing"),
        ("In ([4:Bern]) traf ([3:Bo]) ([2:Ada]).", "Missing"),
        ("In ([Bern]) traf ([3:Bo]) ([2:Ada]).", "Missing"),
        ("In ([0:Bern]) traf ([3:Bo]) ([2:Ada]).", "Missing"),
        ("In ([99999999999999999999:Bern]) traf ([3:Bo]) ([2:Ada]).", "Missing"),
        ("In ([3:Bern]) traf ([3:Bo]) ([2:Ada]).", "Duplicate"),
        ("In ([1:Bern]) traf ([3:Bo]) ([2:Ada])]).", "Duplicate"),
        ("In ([1:[Bern]]) traf ([3:Bo]) ([2:Ada]).", "Duplicate"),
        ("In ([1:Bern traf ([3:Bo]) ([2:Ada]).", "Reordered"),
        ("In ([1: ]) traf ([3:Bo]) ([2:Ada]).", "Empty"),
    ] {
        assert_eq!(recover_texts(text), Err(fault.to_owned()), "{text}");
    }
    let error = mark_spans("Ada met Bo", &[0..5, 4..7]).unwrap_err();
    assert!(matches!(error, Error::Overlap { .. }), "{error}");
    let invalid_span = mark_spans("Ada", std::slice::from_ref(&(0..9)));
    assert!(matches!(invalid_span, Err(Error::Span { .. })));
    assert!(mark_spans("Ada", &[]).unwrap().recover("Ada").unwrap().spans.is_empty());
}

proptest! {
    #[test]
    fn spans_of_any_text_are_recovered(
        text in "[a(\\[\\])：1: \u{301}北é]{1,30}",
        cuts in proptest::collection::btree_set(0usize..30, 0..8),
    ) {
        let length = text.chars().count();
        let cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= length).collect();
        let part = |span: &Range<usize>| -> String {
            text.chars().skip(span.start).take(span.len()).collect()
        };
        let mut spans: Vec<Range<usize>> = cuts.chunks_exact(2).map(|two| two[0]..two[1]).collect();
        spans.retain(|span| !part(span).trim().is_empty());
        spans.reverse();
        let marked = mark_spans(&text, &spans).unwrap();
        let found = marked.recover(&marked.text).unwrap();
        prop_assert_eq!(&found.text, &text);
        for (span, found) in spans.iter().zip(&found.spans) {
            prop_assert_eq!(part(span).trim().to_owned(), part(found));
        }
    }
}
