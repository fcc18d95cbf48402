//! Tests of translating texts with typed spans, and of their conversion from and to tagged words.
use std::ops::Range;

use crate::common::{DE, EN, FunctionTranslator};
use proptest::prelude::*;
use qa_translate::{
    BySearch, Error, PlaceError, PlaceSpans, Placed, SpanLoss, SpanTask, TranslatedSpans,
    TypedSpan, TypedText, translate_spans,
};

fn typed(text: &str, spans: &[(Range<usize>, &str)]) -> TypedText {
    let span = |(span, kind): &(Range<usize>, &str)| TypedSpan {
        span: span.clone(),
        kind: (*kind).to_owned(),
    };
    TypedText { text: text.into(), spans: spans.iter().map(span).collect() }
}

fn run(source: &[TypedText], translation: impl FnMut(&str) -> Option<String>) -> TranslatedSpans {
    let (mut translator, mut placer) = (FunctionTranslator(translation), BySearch::default());
    translate_spans(source, EN, DE, &mut translator, &mut placer, |_, _, _| {}).unwrap()
}

/// Returns the texts of the spans, with their types.
fn span_texts(text: &TypedText) -> Vec<(String, &str)> {
    let part = |one: &TypedSpan| text.text.chars().skip(one.span.start).take(one.span.len());
    text.spans.iter().map(|one| (part(one).collect(), one.kind.as_str())).collect()
}

#[test]
fn spans_are_recovered_by_markers_then_by_search_and_counted() {
    let source = [
        typed("Ada met Bo", &[(8..10, "PER"), (0..3, "PER")]),
        typed("Ada in Bern", &[(0..3, "PER"), (7..11, "LOC"), (7..99, "LOC"), (3..4, "LOC")]),
        typed("It rains", &[]),
        typed("Bo", &[(0..2, "PER")]),
        typed("Bo lost", &[(0..2, "PER")]),
    ];
    let mut requested = Vec::new();
    let actual = run(&source, |text| {
        requested.push(text.to_owned());
        Some(match text {
            "([2:Ada]) met ([1:Bo])" => "([1:Bo]) traf ([2:Ada])".into(),
            // The markers are lost, and one name occurs twice in the translation.
            "([1:Ada]) in ([2:Bern])" => "Ada in Bern".into(),
            "Ada in Bern" => "Ada ist Ada in Bärn".into(),
            "Bern" => "Bärn".into(),
            "([Bo])" | "Bo" => return None,
            "([Bo]) lost" => "Bo verlor ([".into(),
            "Bo lost" => "Bo verlor".into(),
            other => other.to_owned(),
        })
    });
    let texts: Vec<_> =
        actual.texts.iter().map(|t| t.as_ref().map(|t| (&*t.text, span_texts(t)))).collect();
    let part = |text: &str, kind| (text.to_owned(), kind);
    assert_eq!(
        texts,
        [
            Some(("Bo traf Ada", vec![part("Bo", "PER"), part("Ada", "PER")])),
            Some(("Ada ist Ada in Bärn", vec![part("Bärn", "LOC")])),
            Some(("It rains", vec![])),
            None,
            Some(("Bo verlor", vec![])),
        ]
    );
    let report = actual.report;
    assert_eq!((report.texts, report.untranslated, report.spans), (5, 1, 8));
    assert_eq!(report.found.into_iter().collect::<Vec<_>>(), [("markers", 2), ("search", 1)]);
    let dropped = [
        (SpanLoss::Misplaced, 2),
        (SpanLoss::UntranslatedText, 1),
        (SpanLoss::Unplaced(PlaceError::NoAnswer), 1),
        (SpanLoss::Unplaced(PlaceError::Ambiguous), 1),
    ];
    assert_eq!(report.dropped.into_iter().collect::<Vec<_>>(), dropped);
    assert_eq!(report.faults.missing, 2);
    // A text without spans is translated once, without markers.
    assert_eq!(requested.iter().filter(|text| *text == "It rains").count(), 1);
}

#[test]
fn the_first_of_overlapping_spans_is_retained() {
    let source = [
        // The second span overlaps the first, so it is not marked; the placer locates it.
        typed("New York City", &[(0..8, "LOC"), (0..13, "ORG"), (9..13, "MISC")]),
        typed("Ada saw her", &[(8..11, "A"), (0..3, "B")]),
    ];
    let actual = run(&source, |text| {
        Some(match text {
            "([2:Ada]) saw ([1:her])" => "lost".into(),
            "Ada saw her" => "Ada sah Eva-Lovelace".into(),
            "Ada" => "Eva".into(),
            "her" => "Eva-Lovelace".into(),
            other => other.to_owned(),
        })
    });
    let kept: Vec<_> = actual.texts.iter().flatten().map(span_texts).collect();
    let part = |text: &str, kind| (text.to_owned(), kind);
    assert_eq!(kept[0], [part("New York", "LOC"), part("City", "MISC")]);
    assert_eq!(kept[1], [part("Eva-Lovelace", "A")]);
    assert_eq!(actual.report.dropped[&SpanLoss::Overlap], 2);
    let json = serde_json::to_value(&actual.report).unwrap();
    assert_eq!(json["dropped"], serde_json::json!({"overlap": 2}));
}

#[test]
fn spans_outside_the_translation_are_rejected() {
    struct OutOfRangePlacer;
    impl PlaceSpans for OutOfRangePlacer {
        fn name(&self) -> &'static str {
            "wild"
        }

        fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
            let span = |k: usize| [0..2, 1..9, 2..3, 2..2][k % 4].clone();
            let placed = |(k, _)| {
                Ok(Placed { span: span(k), score: 0.0, method: "wild", runners_up: vec![] })
            };
            Ok(tasks.iter().enumerate().map(placed).collect())
        }
    }
    let source = vec![typed("one", &[(0..3, "X")]); 4];
    let reply = |text: &str| Some(if text.contains("([") { "lost" } else { "ab c" }.to_owned());
    let (mut translator, mut placer) = (FunctionTranslator(reply), OutOfRangePlacer);
    let actual = translate_spans(&source, EN, DE, &mut translator, &mut placer, |_, _, _| {});
    let actual = actual.unwrap();
    let counts: Vec<usize> = actual.texts.iter().flatten().map(|one| one.spans.len()).collect();
    assert_eq!(counts, [1, 0, 0, 0]);
    assert_eq!(actual.report.dropped[&SpanLoss::Unplaced(PlaceError::NotFound)], 3);
}

#[test]
fn a_method_that_places_too_few_spans_is_an_error() {
    struct EmptyPlacer;
    impl PlaceSpans for EmptyPlacer {
        fn name(&self) -> &'static str {
            "empty"
        }

        fn place(&mut self, _: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
            Ok(Vec::new())
        }
    }
    let source = [typed("one", &[(0..3, "X")])];
    let (mut translator, mut placer) =
        (FunctionTranslator(|_: &str| Some("lost".into())), EmptyPlacer);
    let result = translate_spans(&source, EN, DE, &mut translator, &mut placer, |_, _, _| {});
    assert!(matches!(result, Err(Error::Count { expected: 1, got: 0 })));
}

#[test]
fn words_are_joined_with_spaces_if_the_language_uses_them() {
    let join = |words: &[&str], spans: Vec<(Range<usize>, &'static str)>, language: &str| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        TypedText::from_words(&words, spans, language.parse().unwrap())
    };
    let text = join(&["В", "Нью", "Йорке", "."], vec![(1..3, "LOC")], "ru").unwrap();
    assert_eq!(text, typed("В Нью Йорке .", &[(2..11, "LOC")]));
    let text = join(&["e\u{301}", "שלום"], vec![(1..2, "X"), (0..1, "Y")], "he").unwrap();
    assert_eq!(text, typed("e\u{301} שלום", &[(3..7, "X"), (0..2, "Y")]));
    for code in ["zh", "zh-hans", "ja", "th"] {
        let text = join(&["在", "New", "York", "的", "7", "人"], vec![(1..3, "LOC")], code);
        assert_eq!(text.unwrap(), typed("在New York的7人", &[(1..9, "LOC")]), "{code}");
    }
    for outside in [1..3, 2..3, 1..1, 5..9] {
        let result = join(&["a", "b"], vec![(outside.clone(), "X")], "en");
        assert!(matches!(result, Err(Error::Span { length: 2, .. })), "{outside:?}");
    }
    assert_eq!(join(&[], vec![], "en").unwrap(), TypedText::default());
}

#[test]
fn words_are_split_at_entity_boundaries() {
    let cases: [(TypedText, &[&str], &[&str]); 5] = [
        (typed("Berner Uni", &[(0..4, "LOC")]), &["Bern", "er", "Uni"], &["B-LOC", "O", "O"]),
        (typed("ab", &[(0..1, "X"), (1..2, "X")]), &["a", "b"], &["B-X", "B-X"]),
        (typed("e\u{301}t", &[(1..3, "X")]), &["e", "\u{301}t"], &["O", "B-X"]),
        // White space is removed from words, even before a combining accent.
        (typed("a \u{301}\u{a0}b", &[(0..5, "X")]), &["a", "\u{301}", "b"], &["B-X", "I-X", "I-X"]),
        (typed("a b c", &[(0..3, "X"), (2..5, "Y")]), &["a", "b", "c"], &["B-X", "I-X", "B-Y"]),
    ];
    for (text, words, tags) in cases {
        let (actual_words, actual_tags) = text.words();
        assert_eq!(actual_words, words, "{}", text.text);
        assert_eq!(actual_tags, tags, "{}", text.text);
    }
}

/// Removes white space.
fn without_white_space(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Generates texts with combining marks, Chinese, Arabic, brackets and repetition, and their spans.
/// Spans may be blank, overlap, repeat or exceed the text.
fn texts() -> impl Strategy<Value = Vec<TypedText>> {
    let span = (0usize..14, 0usize..6, prop::sample::select(vec!["PER", "LOC"]));
    let text = (
        "[aab\\]\\[() 1:北京e\u{301}\u{5e9}\u{644}\u{200f}\u{1f600}]{1,12}",
        prop::collection::vec(span, 0..5),
    );
    let text = text.prop_map(|(text, spans)| {
        let spans: Vec<_> =
            spans.into_iter().map(|(at, length, kind)| (at..at + length, kind)).collect();
        typed(&text, &spans)
    });
    prop::collection::vec(text, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn retained_spans_are_in_their_translation(source in texts(), mode in 0usize..5) {
        let mut number = 0;
        let actual = run(&source, |text| {
            number += 1;
            match (mode, number % 3) {
                (0, _) | (4, 0) => Some(text.to_owned()),
                // All markers are lost, and every text is reversed.
                (1, _) | (4, 1) => Some(text.replace("([", "").chars().rev().collect()),
                (2, _) => Some(text.replace("])", "").repeat(2)),
                (3, 0) => None,
                _ => Some(text.replace('(', "").replace('a', "א")),
            }
        });
        let report = &actual.report;
        let found: usize = report.found.values().sum();
        let dropped: usize = report.dropped.values().sum();
        prop_assert_eq!(report.spans, source.iter().map(|one| one.spans.len()).sum::<usize>());
        prop_assert_eq!(found + dropped, report.spans);
        let kept: usize = actual.texts.iter().flatten().map(|one| one.spans.len()).sum();
        prop_assert_eq!(kept, found);
        prop_assert_eq!(actual.texts.len(), source.len());
        prop_assert_eq!(actual.texts.iter().filter(|one| one.is_none()).count(), report.untranslated);
        for (text, source) in actual.texts.iter().zip(&source) {
            let Some(text) = text else { continue };
            for (k, (part, _)) in span_texts(text).iter().enumerate() {
                let span = &text.spans[k].span;
                prop_assert_eq!(part.chars().count(), span.len());
                prop_assert!(!part.trim().is_empty());
                for other in &text.spans[..k] {
                    prop_assert!(span.end <= other.span.start || other.span.end <= span.start);
                }
            }
            // The spans have the source's order and types.
            let mut kinds = source.spans.iter().map(|one| &one.kind);
            prop_assert!(text.spans.iter().all(|one| kinds.any(|kind| *kind == one.kind)));
            if mode == 0 {
                prop_assert_eq!(&text.text, &source.text);
                let (target_parts, all) = (span_texts(text), span_texts(source));
                let mut all = all.iter().map(|(part, kind)| (part.trim().to_owned(), *kind));
                let mut is_part = |(part, kind): (String, &str)| {
                    all.any(|(other, other_kind)| other.contains(&part) && other_kind == kind)
                };
                let are_parts = target_parts.into_iter().all(&mut is_part);
                prop_assert!(are_parts);
            }
        }
    }

    #[test]
    fn tags_contain_every_span(text in "[ab北京 .e\u{301}\u{5e9}\u{644}'1\u{a0}]{1,20}",
        bounds in prop::collection::btree_set(0usize..20, 0..10),
    ) {
        let bounds: Vec<usize> =
            bounds.into_iter().filter(|&cut| cut <= text.chars().count()).collect();
        let spans: Vec<_> = bounds.chunks_exact(2).map(|two| (two[0]..two[1], "X")).collect();
        let text = typed(&text, &spans);
        let (words, tags) = text.words();
        prop_assert_eq!(words.concat(), without_white_space(&text.text));
        prop_assert!(words.iter().all(|word| !word.is_empty()));
        let mut entities: Vec<String> = Vec::new();
        for (word, tag) in words.iter().zip(&tags) {
            match tag.as_str() {
                "B-X" => entities.push(word.clone()),
                "I-X" => entities.last_mut().unwrap().push_str(word),
                _ => prop_assert_eq!(tag, "O"),
            }
        }
        let expected = span_texts(&text).into_iter().map(|(part, _)| without_white_space(&part));
        prop_assert_eq!(entities, expected.filter(|part| !part.is_empty()).collect::<Vec<_>>());
    }
}
