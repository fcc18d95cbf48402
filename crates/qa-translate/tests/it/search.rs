//! Tests of searching a translated answer.
use proptest::prelude::*;
use qa_translate::{Occurrence, SearchConfig, SearchFault, search};

fn nearest() -> SearchConfig {
    SearchConfig { occurrence: Occurrence::Nearest }
}

#[test]
fn one_occurrence_is_found_and_none_or_two_are_refused() {
    let strict = SearchConfig::default();
    let found = search("北京在中国", " 中国\n", 0.0, &strict).unwrap();
    assert_eq!((found.text.as_str(), found.answer_start), ("中国", 3));
    assert_eq!(search("abc", "x", 0.0, &strict), Err(SearchFault::NotFound));
    assert_eq!(search("abc", " ", 0.0, &strict), Err(SearchFault::NotFound));
    assert_eq!(search("", "x", 0.0, &strict), Err(SearchFault::NotFound));
    assert_eq!(search("ab", "abc", 0.0, &strict), Err(SearchFault::NotFound));
    assert_eq!(search("der Hund", "Der", 0.0, &strict), Err(SearchFault::NotFound));
    // Overlapping occurrences count as two.
    assert_eq!(search("xaaax", "aa", 0.0, &strict), Err(SearchFault::Ambiguous));
}

#[test]
fn the_nearest_occurrence_and_the_first_of_two_as_near() {
    // The occurrences are at 0, 4 and 8 of 10 code points.
    let text = "ab..ab..ab";
    for (position, start) in
        [(0.0, 0), (0.19, 0), (0.2, 0), (0.21, 4), (0.59, 4), (0.7, 8), (1.0, 8)]
    {
        assert_eq!(
            search(text, "ab", position, &nearest()).unwrap().answer_start,
            start,
            "{position}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_found_is_there(text in "[ab é北]{0,20}", answer in "[ab é北]{0,3}", position in 0.0..1.0) {
        let slice = |start: usize, length: usize| -> String { text.chars().skip(start).take(length).collect() };
        let wanted = answer.trim();
        let length = wanted.chars().count();
        let all: Vec<usize> = (0..text.chars().count())
            .filter(|&start| length > 0 && slice(start, length) == wanted).collect();
        let strict = search(&text, &answer, position, &SearchConfig::default());
        match all.as_slice() {
            [] => prop_assert_eq!(strict, Err(SearchFault::NotFound)),
            [one] => prop_assert_eq!(strict.unwrap().answer_start, *one),
            _ => prop_assert_eq!(strict, Err(SearchFault::Ambiguous)),
        }
        if let Ok(found) = search(&text, &answer, position, &nearest()) {
            prop_assert!(all.contains(&found.answer_start));
            prop_assert_eq!(slice(found.answer_start, length), found.text);
        }
    }
}
