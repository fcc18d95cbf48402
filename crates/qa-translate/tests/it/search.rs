//! Tests of searching a translated answer.
use proptest::prelude::*;
use qa_translate::{Occurrence, SearchConfig, SearchError, search};

fn nearest() -> SearchConfig {
    SearchConfig { occurrence: Occurrence::Nearest }
}

#[test]
fn answers_are_searched_without_white_space_around_them() {
    let strict = SearchConfig::default();
    let found = search("北京在中国", " 中国\n", 0.0, &strict).unwrap();
    assert_eq!((found.text.as_str(), found.answer_start), ("中国", Some(3)));
    assert_eq!(search("der Hund", "die", 0.0, &strict), Err(SearchError::NotFound));
}

#[test]
fn the_nearest_occurrence_is_selected_and_ties_select_the_first() {
    // The occurrences are at 0, 4 and 8 of 10 code points.
    let text = "ab..ab..ab";
    for (position, start) in
        [(0.0, 0), (0.19, 0), (0.2, 0), (0.21, 4), (0.59, 4), (0.7, 8), (1.0, 8)]
    {
        assert_eq!(
            search(text, "ab", position, &nearest()).unwrap().answer_start,
            Some(start),
            "{position}"
        );
    }
}

/// Returns the found text and its offset.
fn find(passage: &str, answer: &str) -> Result<(String, usize), SearchError> {
    let found = search(passage, answer, 0.0, &SearchConfig::default())?;
    Ok((found.text, found.answer_start.unwrap()))
}

#[test]
fn case_and_punctuation_are_ignored_if_there_is_no_exact_occurrence() {
    for (passage, answer, expected) in [
        ("La torre tiene cinco campanas", "Cinco", ("cinco", 15)),
        ("En mayo el Coro del Lago canta", "Coro del lago", ("Coro del Lago", 11)),
        ("La señora Rosa vende una rosa.", "rosa", ("rosa", 25)),
        ("die STRASSE dort", "Straße", ("STRASSE", 4)),
        ("la casa e\u{301}", "é", ("e\u{301}", 8)),
        ("im Jahr 1843 dort", "1843.", ("1843", 8)),
        ("der Faust war", "„Faust“", ("Faust", 4)),
        ("D’Ambrosio's here", "d'ambrosio’s", ("D’Ambrosio's", 0)),
        ("北京在中国", "中国。", ("中国", 3)),
    ] {
        assert_eq!(find(passage, answer), Ok((expected.0.to_owned(), expected.1)), "{passage}");
    }
    assert_eq!(find("El sol sobre el sol", "Sol"), Err(SearchError::Ambiguous));
    assert_eq!(find("El sol", "."), Err(SearchError::NotFound));
}

#[test]
fn only_whole_words_are_found() {
    for (passage, answer) in [
        ("im Jahr 1947", "4"),
        ("etwa 4,500 oder 1.4", "4"),
        ("die Ochsenkarre", "ochs"),
        ("der Ochsenkarren", "karren"),
        ("हिन्दी", "हिन"),
        ("Straße", "s"),
        ("대서울", "서울"),
    ] {
        assert_eq!(find(passage, answer), Err(SearchError::NotFound), "{passage}");
    }
    for (passage, answer, start) in [
        ("im Jahr 1947 ist 4.", "4", 17),
        ("4, 5", "4", 0),
        ("ein Ochs vor der Ochsenkarre", "ochs", 4),
        ("l'école", "école", 2),
        ("서울에서", "서울", 0),
        ("ในกรุงเทพ", "กรุงเทพ", 2),
        ("4年", "4", 0),
        ("東京タワー", "タワー", 2),
    ] {
        assert_eq!(
            find(passage, answer),
            Ok((answer_in(passage, answer, start), start)),
            "{passage}"
        );
    }
}

/// Returns the part of `passage` at `start` with the length of `answer`.
fn answer_in(passage: &str, answer: &str, start: usize) -> String {
    passage.chars().skip(start).take(answer.chars().count()).collect()
}

proptest! {
    #[test]
    fn found_answers_are_at_their_offset(
        text in "[abAß é北4.]{0,20}", answer in "[abAß é北4.]{0,3}", position in 0.0..1.0,
    ) {
        let strict = search(&text, &answer, position, &SearchConfig::default());
        let nearest = search(&text, &answer, position, &nearest());
        prop_assert_eq!(strict == Err(SearchError::NotFound), nearest == Err(SearchError::NotFound));
        let letters = |text: &str| -> String {
            text.to_lowercase().replace('ß', "ss").chars().filter(|c| c.is_alphanumeric()).collect()
        };
        for found in [strict, nearest].into_iter().flatten() {
            prop_assert_eq!(answer_in(&text, &found.text, found.answer_start.unwrap()), found.text.clone());
            prop_assert_eq!(letters(&found.text), letters(&answer));
        }
    }
}
