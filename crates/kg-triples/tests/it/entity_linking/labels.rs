use std::collections::BTreeMap;

use kg_triples::entity_linking::{LabelMatcher, LabelReport, LinkedText};
use proptest::prelude::*;

use crate::common::{language, linked_text, mention_text};

/// Returns the mentions in a text as pairs (text, entity).
fn matches(labels: &[(&str, &str)], code: &str, text: &str) -> Vec<(String, String)> {
    let labels = labels.iter().map(|(label, entity)| (language(code), *label, *entity));
    let (matcher, _) = LabelMatcher::new(labels).unwrap();
    let mentions = matcher.mentions(text, language(code));
    assert!(mentions.windows(2).all(|pair| pair[0].end <= pair[1].start), "{mentions:?}");
    mentions.into_iter().map(|mention| (mention_text(text, &mention), mention.entity)).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(text, entity)| ((*text).to_owned(), (*entity).to_owned())).collect()
}

#[test]
fn the_longest_label_of_whole_words_is_linked() {
    let labels = [
        ("San", "Q1"),
        ("San Marino", "Q2"),
        ("San Marino Republic of the Titan", "Q3"),
        ("art", "Q4"),
        ("New York", "Q5"),
        ("York City", "Q6"),
    ];
    // In "San Marinoan", the label "San" ends at a word boundary, but the label "San Marino" does
    // not.
    assert_eq!(matches(&labels, "en", "A San Marinoan"), pairs(&[("San", "Q1")]));
    assert_eq!(
        matches(&labels, "en", "San Marino, San Marino Republic of art: artist, art-house, part."),
        pairs(&[("San Marino", "Q2"), ("San Marino", "Q2"), ("art", "Q4"), ("art", "Q4")])
    );
    // If labels overlap, the label that begins first is used.
    assert_eq!(matches(&labels, "en", "New York City"), pairs(&[("New York", "Q5")]));
    assert_eq!(matches(&labels, "en", ""), []);
}

#[test]
fn labels_are_found_in_other_spellings() {
    let labels = [
        ("Thạch Lũng", "Q1"),
        ("O'Malveney", "Q2"),
        ("القنطرة", "Q3"),
        ("कलम", "Q4"),
        ("한국", "Q5"),
        ("New York", "Q6"),
        ("Sa\u{303}o", "Q7"),
        ("Москва", "Q8"),
    ];
    let text = "In Tha\u{323}ch Lu\u{303}ng: O’Malveney, القَنْطَرَة, क\u{93C}लम, \u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}, \
        New\n York, São, Москва\u{301}, Bran-\nd, sa\u{303}o.";
    let expected = pairs(&[
        ("Tha\u{323}ch Lu\u{303}ng", "Q1"),
        ("O’Malveney", "Q2"),
        ("القَنْطَرَة", "Q3"),
        ("क\u{93C}लम", "Q4"),
        ("\u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}", "Q5"),
        ("New\n York", "Q6"),
        ("São", "Q7"),
        ("Москва\u{301}", "Q8"),
    ]);
    assert_eq!(matches(&labels, "vi", text), expected);
    // Words that differ in tone marks, diacritics, viramas or case are other words.
    let labels = [("มา", "Q1"), ("schon", "Q2"), ("कल", "Q3"), ("IT", "Q4")];
    assert_eq!(matches(&labels, "th", "ม้า schön क्ल it"), []);
    // Spellings of a label that belong to different entities are ambiguous.
    assert_eq!(matches(&[("São", "Q1"), ("Sa\u{303}o", "Q2")], "pt", "São"), []);
}

#[test]
fn words_respect_combining_marks_and_scripts() {
    // A label does not end between a letter and its mark.
    assert_eq!(matches(&[("cafe", "Q1")], "fr", "cafe\u{301} cafe"), pairs(&[("cafe", "Q1")]));
    assert_eq!(
        matches(&[("cafe\u{301}", "Q1")], "fr", "un cafe\u{301}."),
        pairs(&[("cafe\u{301}", "Q1")])
    );
    // Chinese has no spaces, so a label can match at any character. If several labels match at a
    // position, the longest is used.
    let labels = [("中国", "Q1"), ("中国共产党", "Q2"), ("首都", "Q3")];
    assert_eq!(
        matches(&labels, "zh", "北京是中国的首都，中国共产党。"),
        pairs(&[("中国", "Q1"), ("首都", "Q3"), ("中国共产党", "Q2")])
    );
    // An Arabic noun with an attached article is a different word, so the label does not match it.
    let labels = [("موت", "Q4"), ("لغة", "Q5")];
    assert_eq!(matches(&labels, "ar", "الموت لغة، موت"), pairs(&[("لغة", "Q5"), ("موت", "Q4")]));
    // A label does not end before a Devanagari vowel sign.
    assert_eq!(matches(&[("भारत", "Q6")], "hi", "भारत में, भारती"), pairs(&[("भारत", "Q6")]));
}

#[test]
fn a_capitalised_label_matches_unless_it_is_another_label() {
    let labels =
        [("human", "Q5"), ("apple", "Q89"), ("Apple", "Q312"), ("élan", "Q7"), ("NATO", "Q8")];
    assert_eq!(
        matches(&labels, "en", "Humans? Human, apple; Apple HUMAN Élan Nato NATO"),
        pairs(&[
            ("Human", "Q5"),
            ("apple", "Q89"),
            ("Apple", "Q312"),
            ("Élan", "Q7"),
            ("NATO", "Q8")
        ])
    );
}

#[test]
fn ambiguous_and_short_labels_are_skipped_and_counted() {
    let (en, zh) = (language("en"), language("zh"));
    let labels = [
        (en, "mercury", "Q1"),
        (en, "mercury", "Q2"),
        (en, "city", "Q3"),
        (en, "city", "Q3"),
        (en, " ", "Q4"),
        (en, "x", "Q5"),
        (zh, "海", "Q6"),
        (zh, "中国", "Q7"),
    ];
    let (matcher, reports) = LabelMatcher::new(labels).unwrap();
    assert_eq!(reports[&en], LabelReport { labels: 3, ambiguous: 1, too_short: 1, used: 1 });
    assert_eq!(reports[&zh], LabelReport { labels: 2, ambiguous: 0, too_short: 1, used: 1 });
    assert_eq!(matcher.mentions("mercury x city", en).len(), 1);
    // Labels are matched only in texts of their language.
    assert_eq!(matcher.mentions("city 中国", zh).len(), 1);
    assert!(matcher.mentions("city", language("de")).is_empty());
    // If the capitalised form of a label is itself the label of another entity, it matches the
    // other entity.
    let (matcher, _) = LabelMatcher::new([(en, "ǆ1", "Q1"), (en, "Ǆ1", "Q2")]).unwrap();
    assert_eq!(matcher.mentions("ǆ1 Ǆ1", en).len(), 2);
}

#[test]
fn an_entity_is_not_linked_in_its_page() {
    let en = language("en");
    let labels = [(en, "city", "Q515"), (en, "town", "Q3957")];
    let text = "A city is larger than a town, says the city.";
    let text = LinkedText { entity: Some("Q515".into()), ..linked_text("en", text, &[]) };
    for (self_links, expected) in [(false, 1), (true, 3)] {
        let (matcher, _) = LabelMatcher::new(labels).unwrap();
        let matcher = if self_links { matcher.with_self_links() } else { matcher };
        let (mut linked, mut reports) = (text.clone(), BTreeMap::new());
        matcher.link(&mut linked, &mut reports);
        matcher.link(&mut linked, &mut reports);
        assert_eq!(linked.mentions.len(), expected);
        let report = &reports[&en];
        assert_eq!((report.texts, report.mentions), (2, 2 * expected));
        assert_eq!(report.self_links, if self_links { 0 } else { 4 });
        assert_eq!(report.entities.len(), if self_links { 2 } else { 1 });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Compares the matches with a search that tries every label at every word.
    #[test]
    fn matches_equal_those_of_trying_every_label(words in prop::collection::vec(0_usize..4, 0..12), labels in prop::collection::btree_set(prop::collection::vec(0_usize..4, 1..4), 0..6)) {
        let name = |words: &[usize]| words.iter().map(|word| ["ka", "kab", "中文", "é\u{301}"][*word]).collect::<Vec<_>>().join(" ");
        let text = name(&words);
        let en = language("en");
        let labels: Vec<Vec<usize>> = labels.into_iter().collect();
        let triples = labels.iter().map(|label| (en, name(label), name(label)));
        let (matcher, _) = LabelMatcher::new(triples).unwrap();
        let mut expected = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let longest = labels.iter().filter(|label| words[at..].starts_with(label)).map(Vec::len).max();
            if let Some(length) = longest {
                expected.push(name(&words[at..at + length]));
            }
            at += longest.unwrap_or(1);
        }
        let mentions = matcher.mentions(&text, en);
        let found_entities: Vec<String> = mentions.iter().map(|mention| mention.entity.clone()).collect();
        prop_assert_eq!(found_entities, expected);
        for mention in &mentions {
            prop_assert_eq!(&mention_text(&text, mention), &mention.entity);
        }
    }
}
