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
    assert_eq!(search("der Hund", "Der", 0.0, &strict), Err(SearchError::NotFound));
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

proptest! {
    #[test]
    fn found_answers_are_at_their_offset(text in "[ab é北]{0,20}", answer in "[ab é北]{0,3}", position in 0.0..1.0) {
        let slice = |start: usize, length: usize| -> String { text.chars().skip(start).take(length).collect() };
        let pattern = answer.trim();
        let length = pattern.chars().count();
        let all: Vec<usize> = (0..text.chars().count())
            .filter(|&start| length > 0 && slice(start, length) == pattern).collect();
        let strict = search(&text, &answer, position, &SearchConfig::default());
        match all.as_slice() {
            [] => prop_assert_eq!(strict, Err(SearchError::NotFound)),
            [one] => prop_assert_eq!(strict.unwrap().answer_start, Some(*one)),
            _ => prop_assert_eq!(strict, Err(SearchError::Ambiguous)),
        }
        if let Ok(found) = search(&text, &answer, position, &nearest()) {
            let start = found.answer_start.unwrap();
            prop_assert!(all.contains(&start));
            prop_assert_eq!(slice(start, length), found.text);
        }
    }
}
