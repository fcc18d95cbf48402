//! Tests of marking spans and recovering them.
use std::ops::Range;

use proptest::prelude::*;
use qa_translate::{Error, MarkedText, MarkerError, MarkerNotation, mark};

fn mark_one(text: &str, span: Range<usize>) -> MarkedText {
    mark(text, &[span]).unwrap()
}

fn slice(text: &str, span: &Range<usize>) -> String {
    text.chars().skip(span.start).take(span.len()).collect()
}

/// Removes the markers of a single span; returns the text, the span's text and its offset.
fn recover(marked: &MarkedText, translation: &str) -> Result<(String, String, usize), MarkerError> {
    let found = marked.recover(translation)?;
    let span = found.spans[0].clone();
    Ok((found.text.clone(), slice(&found.text, &span), span.start))
}

#[test]
fn spans_at_any_position_and_next_to_brackets_are_recovered() {
    for (text, span, level, expected) in [
        ("Rom ist alt", 0..3, 1, "([Rom]) ist alt"),
        ("Rom ist alt", 8..11, 1, "Rom ist ([alt])"),
        ("Rom", 0..3, 1, "([Rom])"),
        ("𝒳 é 北京在中国", 4..6, 1, "𝒳 é ([北京])在中国"),
        ("see ([1]) and x", 14..15, 2, "see ([1]) and ([[x]])"),
        ("f(x)", 2..3, 1, "f(([x]))"),
        ("[x]", 0..3, 1, "([[x]])"),
        ("(x)", 0..3, 1, "([(x)])"),
        ("( [ ［ y", 6..7, 3, "( [ ［ ([[[y]]])"),
        ("z ] ) ([", 0..1, 2, "([[z]]) ] ) (["),
    ] {
        let marked = mark_one(text, span.clone());
        assert_eq!((marked.text.as_str(), marked.level), (expected, level), "{text}");
        let found = recover(&marked, expected);
        assert_eq!(found, Ok((text.to_owned(), slice(text, &span), span.start)), "{text}");
    }
    // White space at the ends of a span is not marked.
    assert_eq!(mark_one("a  b  c", 1..5).text, "a  ([b])  c");
}

#[test]
fn altered_markers_of_translators_are_recovered() {
    let marked = mark_one("before 1492 after", 7..11);
    for text in [
        "vor ([1492]) nach",
        "vor ([ 1492 ]) nach",
        "vor ( [1492] ) nach",
        "vor（［1492］）nach".replace('（', " （").replace('）', "） ").as_str(),
        "vor (【 1492】) nach",
        "vor([ 1492 ])nach",
        "vor（ [ 1492 ] ）nach",
    ] {
        assert_eq!(
            recover(&marked, text),
            Ok(("vor 1492 nach".into(), "1492".into(), 4)),
            "{text}"
        );
    }
    let found = recover(&marked, "im Jahr ([ 1492 ]).");
    assert_eq!(found, Ok(("im Jahr 1492.".into(), "1492".into(), 8)));
    assert_eq!(recover(&marked, "([ 北京 ])。"), Ok(("北京。".into(), "北京".into(), 0)));
}

#[test]
fn marker_errors_are_distinguished() {
    let marked = mark_one("vor 1492 nach", 4..8);
    for (error, texts) in [
        (MarkerError::Missing, &["none", "([ open", "close ])", "(x) [y]", "(x[ y ]z)"][..]),
        (MarkerError::Duplicate, &["([a]) ([b])", "([ ([a])", "([a]) b])"]),
        (MarkerError::Reordered, &["a ]) b ([ c"]),
        (MarkerError::Empty, &["a ([]) b", "a ([  ]) b", "（［　］）"]),
        // Doubled markers are not part of the span.
        (
            MarkerError::Duplicate,
            &["([[1492]])", "([ [1492] ])", "([[1492])", "([1492]])", "（［【1492】］）"],
        ),
    ] {
        for text in texts {
            assert_eq!(marked.recover(text), Err(error), "{text}");
        }
    }
    // Brackets of the span are preserved. A translation of the span without brackets is also
    // accepted.
    let marked = mark_one("vor [1492] nach", 4..10);
    assert_eq!(marked.text, "vor ([[1492]]) nach");
    for (text, span) in [("vor ([[1492]])", "[1492]"), ("vor ([1492])", "1492")] {
        assert_eq!(recover(&marked, text).unwrap().1, span);
    }
}

#[test]
fn overlapping_blank_and_out_of_range_spans_are_rejected() {
    for span in [0..9, 8..9, usize::MAX..usize::MAX, 3..3, 3..4] {
        let result = mark("one two", std::slice::from_ref(&span));
        assert!(matches!(result, Err(Error::Span { .. })), "{span:?}");
    }
    let error = mark("Ada met Bo", &[0..5, 4..7]).unwrap_err();
    assert!(matches!(error, Error::Overlap { .. }), "{error}");
}

/// Generates text in which brackets of all kinds and white space are frequent.
fn passage() -> impl Strategy<Value = Vec<char>> {
    let bracket = prop::sample::select("()[]（）［］【】 \t　".chars().collect::<Vec<_>>());
    prop::collection::vec(prop_oneof![bracket, any::<char>()], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn recovered_spans_are_in_their_text(characters in passage(), level in 1usize..3) {
        let text: String = characters.iter().collect();
        let marked = match level {
            1 => mark_one("x", 0..1),
            _ => mark_one("([ x", 3..4),
        };
        prop_assert_eq!(marked.level, level);
        if let Ok((recovered, span, start)) = recover(&marked, &text) {
            prop_assert_eq!(&slice(&recovered, &(start..start + span.chars().count())), &span);
            prop_assert_eq!(span.trim(), span.as_str());
            prop_assert!(!span.is_empty());
        }
    }
}

#[test]
fn several_spans_are_recovered_by_number() {
    let marked = mark("Ada met Bo in Bern.", &[14..18, 0..3, 8..10]).unwrap();
    assert_eq!(marked.text, "([2:Ada]) met ([3:Bo]) in ([1:Bern]).");
    let recover_texts = |text: &str| {
        let found = marked.recover(text).map_err(|error| format!("{error:?}"))?;
        let spans: Vec<String> = found.spans.iter().map(|span| slice(&found.text, span)).collect();
        Ok::<_, String>((found.text, spans))
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
    for (text, error) in [
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
        assert_eq!(recover_texts(text), Err(error.to_owned()), "{text}");
    }
    let without_spans = mark("Ada", &[]).unwrap().recover("([Ada").unwrap();
    assert_eq!((without_spans.text.as_str(), without_spans.spans.len()), ("([Ada", 0));
}

proptest! {
    #[test]
    fn spans_of_any_text_are_recovered(
        notation in prop::sample::select(&MarkerNotation::ALL),
        text in "[a(\\[\\])：1: \u{301}北é\"<m>/\u{200f}.,]{1,30}",
        bounds in proptest::collection::btree_set(0usize..30, 0..8),
    ) {
        let length = text.chars().count();
        let bounds: Vec<usize> = bounds.into_iter().filter(|&cut| cut <= length).collect();
        let mut spans: Vec<Range<usize>> = bounds.chunks_exact(2).map(|two| two[0]..two[1]).collect();
        spans.retain(|span| !slice(&text, span).trim().is_empty());
        spans.reverse();
        spans.retain(|span| !slice(&text, span).replace('\u{200f}', "").trim().is_empty());
        let marked = notation.mark(&text, &spans).unwrap();
        let found = marked.recover(&marked.text).unwrap();
        prop_assert_eq!(&found.text, &text);
        for (span, found) in spans.iter().zip(&found.spans) {
            prop_assert_eq!(slice(&text, span).trim().to_owned(), slice(&text, found));
        }
    }
}

#[test]
fn invisible_characters_beside_markers_are_not_part_of_the_span() {
    let marked = mark_one("in 1843.", 3..7);
    for mark in [
        "\u{200e}", "\u{200f}", "\u{61c}", "\u{202b}", "\u{2066}", "\u{200b}", "\u{200c}",
        "\u{200d}", "\u{2060}", "\u{feff}", "\u{ad}",
    ] {
        for text in [
            format!("في {mark}([{mark}1843{mark}]){mark}."),
            format!("في (\u{200f}[{mark} 1843 {mark}]{mark})."),
            format!("في {mark}( {mark}[1843{mark} ]{mark} )."),
        ] {
            let (found, span, _) = recover(&marked, &text).unwrap();
            assert_eq!(span, "1843", "{mark:?} {text}");
            let visible: String = found.chars().filter(|c| !mark.contains(*c)).collect();
            assert_eq!(visible.replace('\u{200f}', ""), "في 1843.");
        }
    }
    assert_eq!(recover(&marked, "a ([\u{200f} \u{200f}])"), Err(MarkerError::Empty));
    // A joiner after a virama is part of the last letter, as are the source's own characters.
    let joined = "ന\u{d4d}\u{200d}";
    assert_eq!(recover(&marked, &format!("a ([{joined}]) b")).unwrap().1, joined);
    let marked = mark_one("a \u{200f}b\u{200f} c", 2..5);
    assert_eq!(recover(&marked, &marked.text).unwrap().1, "\u{200f}b\u{200f}");
}

#[test]
fn numbers_of_markers_may_have_any_digits() {
    let marked = mark("Ada met Bo", &[0..3, 8..10]).unwrap();
    for text in [
        "([١:Ada]) traf ([٢:Bo])",
        "([۱:Ada]) traf ([۲ :Bo])",
        "([१:Ada]) traf ([२:Bo])",
        "([১:Ada]) traf ([২：Bo])",
        "([๑:Ada]) traf ([๒:Bo])",
        "([௧:Ada]) traf ([௨:Bo])",
        "([၁:Ada]) traf ([၂:Bo])",
        "([១:Ada]) traf ([２:Bo])",
        "([\u{200f}1\u{200f}:\u{200f}Ada]) traf (\u{200e}[2\u{200e}:Bo])",
    ] {
        let found = marked.recover(text).unwrap();
        let spans: Vec<String> = found.spans.iter().map(|span| slice(&found.text, span)).collect();
        assert_eq!(spans, ["Ada", "Bo"], "{text}");
    }
}

#[test]
fn punctuation_in_a_marker_is_not_part_of_the_span() {
    for (text, span, translation, expected) in [
        ("It was 1843.", 7..11, "Es war ([1843.])", "1843"),
        ("It was 1843.", 7..11, "Es war ([1843]).", "1843"),
        ("Who? Ada, Bo", 5..8, "Wer? ([Ada,]) Bo", "Ada"),
        ("Who? Ada, Bo", 5..8, "([Ada、])Bo", "Ada"),
        ("Is it Ada?", 6..9, "Ist es ([Ada ?])", "Ada"),
        ("Is it Ada?", 6..9, "¿Es ([Ada?])", "Ada"),
        ("Who is Ada", 7..10, "([¿Ada])", "Ada"),
        ("Der \"Faust\" ist", 5..10, "The ([\"Faust\"]) is", "Faust"),
        ("Der „Faust“ ist", 5..10, "The ([“Faust”]) is", "Faust"),
        ("Der „Faust“ ist", 5..10, "The “([Faust”]) is", "Faust"),
        ("a (Ada) b", 3..6, "a ([(Ada)]) b", "Ada"),
        ("Is it Ada?", 6..9, "Ist es ([Ada…])?", "Ada"),
        ("It was 1843, a cold year.", 7..11, "Es war ([1843 —]) ein Jahr", "1843"),
        ("It was 1843.", 7..11, "Es war([، 1843]).", "1843"),
        ("It was 1843.", 7..11, "Es war ([*1843*]).", "1843"),
        ("It was 1843.", 7..11, "Es war ([⟨1843⟩]).", "1843"),
        ("It was -4 degrees.", 7..9, "Es waren ([–4]) Grad.", "–4"),
        ("The A* search", 4..6, "Die ([A*])-Suche", "A*"),
        // An abbreviation or ordinal number retains its full stop.
        ("On the 3rd day", 7..10, "Am ([3.]) Tag", "3."),
        ("in 5 BC and", 3..7, "([5 v. Chr.]) und", "5 v. Chr."),
        ("It is the 3rd.", 10..13, "Es ist der ([3.]).", "3."),
        // The source's span has punctuation, too.
        ("He said \"no.\"", 9..12, "Er sagte ([nein.])", "nein."),
        ("the \"Faust\"", 4..11, "der ([„Faust“])", "„Faust“"),
        // Brackets and quotation marks in pairs are part of a longer span.
        ("Ada of Rome", 0..11, "([Ada (Rom)])", "Ada (Rom)"),
    ] {
        let found = recover(&mark_one(text, span), translation).unwrap();
        assert_eq!(found.1, expected, "{translation}");
    }
}

#[test]
fn tags_and_quotes_are_recovered() {
    let text = "Ada met Bo in Bern.";
    let tags = MarkerNotation::Tags.mark(text, &[14..18, 0..3]).unwrap();
    assert_eq!(tags.text, "<m2>Ada</m2> met Bo in <m1>Bern</m1>.");
    for translation in [
        "In <m1>Bern</m1> traf <m2>Ada</m2> Bo.",
        "In < m1 > Bern < / m1 > traf <M2>Ada</M2> Bo.",
        "In ＜m１＞Bern＜/m１＞ traf <m٢>Ada</m> Bo.",
    ] {
        let found = tags.recover(translation).unwrap();
        let spans: Vec<String> = found.spans.iter().map(|span| slice(&found.text, span)).collect();
        assert_eq!(spans, ["Bern", "Ada"], "{translation}");
    }
    for (translation, error) in [
        ("In <m1>Bern</m1> traf Ada Bo.", MarkerError::Missing),
        ("In <m1>Bern</m1> traf <m3>Ada</m3> Bo.", MarkerError::Missing),
        ("In <m>Bern</m> traf <m>Ada</m> Bo.", MarkerError::Missing),
        ("In <m1>Bern</m1> traf <m1>Ada</m1> Bo.", MarkerError::Duplicate),
        ("<m1>In</m1> <m1>Bern</m1> traf <m2>Ada</m2>", MarkerError::Duplicate),
        ("In <m1>Bern <m2>traf</m1> Ada</m2>", MarkerError::Reordered),
        ("In <m1>Bern</m2> traf <m2>Ada</m1> Bo.", MarkerError::Reordered),
        ("In <m1> </m1> traf <m2>Ada</m2> Bo.", MarkerError::Empty),
    ] {
        assert_eq!(tags.recover(translation), Err(error), "{translation}");
    }
    let quotes = MarkerNotation::Quotes.mark(text, std::slice::from_ref(&(8..10))).unwrap();
    assert_eq!(quotes.text, "Ada met \"Bo\" in Bern.");
    for translation in ["„Bo“ war da", "« Bo » war da", "「Bo」war da"] {
        assert_eq!(recover(&quotes, translation).unwrap().1, "Bo", "{translation}");
    }
    assert_eq!(quotes.recover("Bo war da"), Err(MarkerError::Missing));
    assert_eq!(quotes.recover("„Bo“ war „da“"), Err(MarkerError::Duplicate));
    // Texts that contain the markers, and several spans, are marked with brackets.
    for (notation, text, spans) in [
        (MarkerNotation::Tags, "a <m> b", vec![(0, 1)]),
        (MarkerNotation::Quotes, "a “b”", vec![(0, 1)]),
        (MarkerNotation::Quotes, "a b", vec![(0, 1), (2, 3)]),
    ] {
        let spans: Vec<Range<usize>> = spans.into_iter().map(|(start, end)| start..end).collect();
        let marked = notation.mark(text, &spans).unwrap();
        assert_eq!(marked.notation, MarkerNotation::Brackets, "{text}");
    }
}
