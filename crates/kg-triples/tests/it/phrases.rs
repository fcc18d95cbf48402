//! Tests of knowledge phrases: the paper's example, thresholds, stop words, occurrences and
//! equalisation.
use kg_triples::phrases::{
    Document, PhraseConfig, PhraseMiner, PhrasePassage, QueryDocuments, StopWords, mine_passages,
    words,
};
use kg_triples::{Error, Language};
use proptest::prelude::*;

use crate::common::{language, with_threads};

const QUERY: &str = "when is the myth of George Washington cutting down cherry tree made";

/// The titles in figure 3 of the paper.
const TITLES: [&str; 8] = [
    "Cherry Tree Myth of George Washington's Mount Vernon",
    "George Washington and the Cherry Tree Myth",
    "George Washington Never Cutted Down A Cherry Tree",
    "Revisiting the myth of George Washington and the cherry tree",
    "The Myth of George Washington and the Cherry Tree",
    "The Legend of the Cherry Tree | George Washington Inn",
    "Fight erupts over George Washington cherry tree 'myth’",
    "George Washington: Childhood & the Myth of Cherry Tree",
];

fn record(code: &str, query: &str, documents: &[(&str, &str)]) -> QueryDocuments {
    let document =
        |(title, text): &(&str, &str)| Document { title: (*title).into(), text: (*text).into() };
    QueryDocuments {
        query: query.into(),
        language: language(code),
        documents: documents.iter().map(document).collect(),
    }
}

fn results(query: &str, titles: &[&str]) -> QueryDocuments {
    record("en", query, &titles.iter().map(|title| (*title, "")).collect::<Vec<_>>())
}

/// A miner that excludes no candidate.
fn miner_without_stop_words(config: PhraseConfig) -> PhraseMiner {
    let mut miner = PhraseMiner::new(config).unwrap();
    miner.set_stop_words(Language::EN, StopWords::default());
    miner
}

fn phrases_of(miner: &PhraseMiner, record: &QueryDocuments) -> Vec<String> {
    miner.mine(record).unwrap().phrases.iter().map(|phrase| phrase.join(" ")).collect()
}

fn phrases(config: &PhraseConfig, record: &QueryDocuments) -> Vec<String> {
    phrases_of(&PhraseMiner::new(config.clone()).unwrap(), record)
}

#[test]
fn the_example_of_the_paper_has_two_phrases() {
    let record = results(QUERY, &TITLES);
    let config = PhraseConfig::default();
    assert_eq!(phrases(&config, &record), ["george washington", "cherry tree"]);
    let report = PhraseMiner::new(config.clone()).unwrap().mine(&record).unwrap().report;
    // A query of 12 words has 11 + 10 + 9 n-grams of 2, 3 and 4 words.
    assert_eq!((report.queries, report.titles, report.candidates), (1, 8, 30));
    assert_eq!((report.phrases, report.queries_with_phrases), (2, 1));
    // Both phrases occur in all eight titles. "myth of" and "the myth" occur in less than 70 % of
    // the titles.
    let config = |title_fraction| PhraseConfig { title_fraction, ..config.clone() };
    let all_phrases = |fraction| phrases_of(&miner_without_stop_words(config(fraction)), &record);
    assert_eq!(all_phrases(1.0), ["george washington", "cherry tree"]);
    assert_eq!(all_phrases(0.7), ["george washington", "cherry tree"]);
    assert!(all_phrases(0.5).contains(&"myth of".to_owned()));
    assert!(!phrases(&config(0.5), &record).contains(&"myth of".to_owned()));
}

#[test]
fn the_threshold_is_exact() {
    let titles = |hits: usize| -> Vec<&str> {
        (0..10).map(|k| if k < hits { "a Cherry  tree, cut" } else { "cherry and tree" }).collect()
    };
    let config = PhraseConfig::default();
    assert_eq!(phrases(&config, &results("cherry tree", &titles(7))), ["cherry tree"]);
    assert!(phrases(&config, &results("cherry tree", &titles(6))).is_empty());
    assert!(phrases(&config, &results("cherry tree", &[])).is_empty());
    // By default, only the first ten titles are used.
    let all_titles: Vec<&str> = titles(6).into_iter().chain(["cherry tree"; 5]).collect();
    assert!(phrases(&config, &results("cherry tree", &all_titles)).is_empty());
    let more_titles = PhraseConfig { titles: 15, ..config.clone() };
    assert_eq!(phrases(&more_titles, &results("cherry tree", &all_titles)), ["cherry tree"]); // 11 of 15
    assert!(phrases(&config, &results("cherry tree", &["tree cherry", "cherrytree"])).is_empty());

    // The title fraction is compared exactly: 70 % of the titles suffice, and one title less does
    // not.
    for total in 1..=10usize {
        let min_count = (7 * total).div_ceil(10);
        for (count, is_phrase) in [(min_count, true), (min_count - 1, false)] {
            let titles = [vec!["cherry tree"; count], vec!["none"; total - count]].concat();
            assert_eq!(
                phrases(&config, &results("cherry tree", &titles)).len(),
                usize::from(is_phrase)
            );
        }
    }
}

#[test]
fn candidates_neither_begin_nor_end_with_a_stop_word() {
    let record =
        results("is the bank of england of the north", &["the bank of england of the north"]);
    let mut miner = PhraseMiner::new(PhraseConfig::default()).unwrap();
    miner.set_stop_words(language("en"), StopWords::new(["is", "the", "of", "of the"]));
    assert_eq!(phrases_of(&miner, &record), ["bank of england", "england of the north"]);
    // A language variant such as zh-hant uses the built-in list of its base language.
    for code in ["en", "de", "es", "fr", "ar", "hi", "vi", "zh", "zh-hant"] {
        assert!(StopWords::built_in(language(code)).is_ok(), "{code}");
    }
    let english = StopWords::built_in(language("en")).unwrap();
    assert!(english.contains("the") && !english.contains("tree") && !english.contains("of the"));
    let error = StopWords::built_in(language("xx")).unwrap_err();
    assert!(error.to_string().contains("\"xx\""), "{error}");
    let miner = PhraseMiner::new(PhraseConfig::default()).unwrap();
    assert!(miner.mine(&self::record("xx", "a b", &[])).is_err());
}

fn lenient_config() -> PhraseConfig {
    PhraseConfig { min_chars: 0, equalise: false, ..PhraseConfig::default() }
}

fn passages(config: PhraseConfig, records: &[QueryDocuments]) -> Vec<PhrasePassage> {
    let miner = PhraseMiner::new(config).unwrap();
    mine_passages(records.iter().cloned().map(Ok), &miner).unwrap().0
}

/// Returns the texts of all occurrences of each phrase of a passage.
fn occurrence_texts(passage: &PhrasePassage) -> Vec<Vec<String>> {
    let substring = |start: usize, end: usize| passage.text.chars().skip(start).take(end - start);
    let occurrences = passage.phrases.iter().map(|phrase| {
        phrase.occurrences.iter().map(|span| substring(span.start, span.end).collect()).collect()
    });
    occurrences.collect()
}

#[test]
fn every_occurrence_is_found_in_code_points() {
    let text = "Ärzte: Łódź Film School 🎬 and the ŁÓDŹ film-school; Łódź.\n\n \u{7}no phrase here \n\
                film school of Łódź";
    let mined_passages = passages(
        lenient_config(),
        &[record(
            "en",
            "łódź film school",
            &[("Łódź Film School", text), ("Łódź Film School", "")],
        )],
    );
    assert_eq!(mined_passages.len(), 2);
    let names: Vec<&str> =
        mined_passages[0].phrases.iter().map(|phrase| phrase.phrase.as_str()).collect();
    assert_eq!(names, ["łódź film school", "łódź film", "film school"]);
    assert_eq!(
        occurrence_texts(&mined_passages[0]),
        [
            vec!["Łódź Film School", "ŁÓDŹ film-school"],
            vec!["Łódź Film", "ŁÓDŹ film"],
            vec!["Film School", "film-school"]
        ]
    );
    assert_eq!(occurrence_texts(&mined_passages[1]), [["film school"]]);
}

#[test]
fn equal_passages_of_several_queries_are_merged() {
    let text = "George Washington and the cherry tree.";
    let records = [
        record("en", "george washington", &[("George Washington", text)]),
        record(
            "en",
            "cherry tree",
            &[("cherry tree", text), ("cherry tree", "Another cherry tree")],
        ),
    ];
    let merged = passages(lenient_config(), &records);
    assert_eq!(merged.len(), 2);
    assert_eq!(occurrence_texts(&merged[0]), [["George Washington"], ["cherry tree"]]);
    let long_config = PhraseConfig { min_chars: 20, ..lenient_config() };
    assert_eq!(passages(long_config, &records).len(), 1);
    let miner = PhraseMiner::new(lenient_config()).unwrap();
    let reports = mine_passages(records.into_iter().map(Ok), &miner).unwrap().1;
    let report = reports[&language("en")];
    assert_eq!(
        (report.paragraphs_with_phrases, report.distinct_passages, report.passages),
        (3, 2, 2)
    );
    assert_eq!((report.passage_phrases, report.occurrences, report.phrase_words), (3, 3, 6));
    assert_eq!(report.phrases_per_passage(), Some(1.5));
}

/// Returns `count` queries with one passage each.
fn many_queries(code: &str, count: usize) -> Vec<QueryDocuments> {
    let query = |k: usize| {
        record(
            code,
            "cherry tree",
            &[("cherry tree", &format!("Cherry tree number {k} of {code}"))],
        )
    };
    (0..count).map(query).collect()
}

#[test]
fn languages_have_equal_numbers_of_passages_in_any_order() {
    let mut records =
        [many_queries("en", 1200), many_queries("de", 30), many_queries("fr", 70)].concat();
    records.push(record("es", "cherry tree", &[])); // a language without a passage
    let config = PhraseConfig { equalise: true, ..lenient_config() };
    let equalised = passages(config.clone(), &records);
    let texts_of = |passages: &[PhrasePassage], code: &str| -> Vec<String> {
        let in_language = passages.iter().filter(|passage| passage.language == code);
        in_language.map(|passage| passage.text.clone()).collect()
    };
    assert_eq!(
        ["en", "de", "fr", "es"].map(|code| texts_of(&equalised, code).len()),
        [30, 30, 30, 0]
    );
    let mut english = texts_of(&equalised, "en");
    // The selected passages are not simply the first 30 passages, and they depend on the seed.
    assert_ne!(english[..], texts_of(&passages(lenient_config(), &records), "en")[..30]);
    let reseeded = passages(PhraseConfig { seed: 1, ..config.clone() }, &records);
    assert_ne!(english, texts_of(&reseeded, "en"));
    // The selection does not depend on the order of the queries.
    records.reverse();
    let mut reversed = texts_of(&passages(config, &records), "en");
    english.sort_unstable();
    reversed.sort_unstable();
    assert_eq!(english, reversed);
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let records = [many_queries("en", 700), many_queries("de", 40)].concat();
    let config = PhraseConfig { equalise: true, ..lenient_config() };
    let [one, four] =
        [1, 4].map(|threads| with_threads(threads, || passages(config.clone(), &records)));
    assert_eq!(one, four);
}

#[test]
fn invalid_configurations_are_rejected() {
    for (invalid_config, expected_error) in [
        (PhraseConfig { title_fraction: 1.1, ..lenient_config() }, "title_fraction = 1.1"),
        (PhraseConfig { title_fraction: -0.1, ..lenient_config() }, "title_fraction = -0.1"),
        (PhraseConfig { title_fraction: f64::NAN, ..lenient_config() }, "title_fraction = NaN"),
        (PhraseConfig { titles: 0, ..lenient_config() }, "titles = 0"),
    ] {
        let error = PhraseMiner::new(invalid_config).unwrap_err();
        assert!(
            matches!(error, Error::Config { .. }) && error.to_string().starts_with(expected_error)
        );
    }
}

/// Words of a small alphabet, so that n-grams repeat.
fn text(max_words: usize) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(
        proptest::sample::select(vec!["ab", "Cd", "éf", "the", "42", "櫻"]),
        0..max_words,
    )
}

proptest! {
    #[test]
    fn mining_equals_direct_counting(
        query in text(9),
        titles in proptest::collection::vec(text(12), 0..6),
        tenths in 0u64..=10,
    ) {
        let to_lower = |words: &[&str]| words.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>();
        let joined_titles: Vec<String> = titles.iter().map(|title| title.join(" - ")).collect();
        let joined_titles: Vec<&str> = joined_titles.iter().map(String::as_str).collect();
        let record = results(&query.join(", "), &joined_titles);
        let title_fraction = tenths as f64 / 10.0;
        let config = PhraseConfig { title_fraction, ..PhraseConfig::default() };
        let mined = miner_without_stop_words(config).mine(&record).unwrap();
        let query = to_lower(&query);
        let mut ngrams: Vec<Vec<String>> = Vec::new();
        let mut total = 0;
        for n in 2..=4 {
            for start in 0..query.len() {
                if start + n <= query.len() {
                    total += 1;
                    let ngram = query[start..start + n].to_vec();
                    if !ngrams.contains(&ngram) {
                        ngrams.push(ngram);
                    }
                }
            }
        }
        let expected_total: usize = (2..=4).map(|n| (query.len() + 1).saturating_sub(n)).sum();
        prop_assert_eq!(total, expected_total);
        prop_assert_eq!(mined.report.candidates, ngrams.len());
        let contains_ngram = |title: &Vec<&str>, ngram: &Vec<String>| {
            let title = to_lower(title);
            (0..title.len()).any(|at| title[at..].starts_with(ngram))
        };
        ngrams.retain(|ngram| {
            let count = titles.iter().filter(|title| contains_ngram(title, ngram)).count();
            !titles.is_empty() && count as u64 * 10 >= tenths * titles.len() as u64
        });
        let mut phrases = mined.phrases;
        phrases.sort_unstable();
        ngrams.sort_unstable();
        prop_assert_eq!(phrases, ngrams);
    }

    #[test]
    fn all_occurrences_of_a_phrase_are_found(passage_words in text(30), query in text(5)) {
        let passage = passage_words.join("; ");
        let record = record("en", &query.join(" "), &[(&query.join(" "), &passage)]);
        let mined = miner_without_stop_words(lenient_config()).mine(&record);
        if query.is_empty() {
            return Ok(());
        }
        let mined = mined.unwrap();
        let count = |phrase: &[String]| {
            let lower_case_words: Vec<String> =
                passage_words.iter().map(|word| word.to_lowercase()).collect();
            lower_case_words.windows(phrase.len()).filter(|window| *window == phrase).count()
        };
        let expected: usize = mined.phrases.iter().map(|phrase| count(phrase)).sum();
        let found_phrases = mined.passages.iter().flat_map(|passage| &passage.phrases);
        let found_count: usize = found_phrases.map(|phrase| phrase.occurrences.len()).sum();
        prop_assert_eq!(found_count, expected);
        for passage in &mined.passages {
            for (phrase, found) in passage.phrases.iter().zip(occurrence_texts(passage)) {
                for found in found {
                    prop_assert_eq!(found.replace("; ", " ").to_lowercase(), phrase.phrase.clone());
                }
            }
        }
    }

    #[test]
    fn words_are_in_order_with_correct_offsets(text in any::<String>()) {
        let mut end = 0;
        for word in words(&text) {
            prop_assert!(word.start >= end && word.end > word.start);
            end = word.end;
            let slice: String = text.chars().skip(word.start).take(word.end - word.start).collect();
            prop_assert_eq!(slice.to_lowercase(), word.text);
        }
        prop_assert!(end <= text.chars().count());
    }
}
