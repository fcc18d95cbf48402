//! Tests of names of entities that are ranked by the number of their sources.
use std::fs;

use kg_triples::KnowledgeGraph;
use kg_triples::names::{
    Answer, NameCandidate, RankedNames, Votes, count_votes, shuffled_questions,
};
use proptest::prelude::*;
use testkit::fixture;

use crate::common::{
    countries, countries_folder, expect_errors, failure, has_row, line_error, read, run, stdout,
    write,
};

fn candidate(entity: &str, name: &str, source: &str, primary: bool) -> NameCandidate {
    let [entity, name, source] = [entity, name, source].map(str::to_owned);
    NameCandidate { entity, language: "de".parse().unwrap(), name, source, primary }
}

fn rank(candidates: &[NameCandidate], threshold: usize) -> Vec<RankedNames> {
    let mut votes = Votes::default();
    candidates.iter().cloned().for_each(|candidate| votes.add(candidate));
    votes.rank(threshold).0
}

/// Returns the ranked names of one entity.
fn ranked_names(candidates: &[(&str, &str, bool)]) -> Vec<(usize, String, bool)> {
    let all = candidates.iter().map(|(name, source, first)| candidate("Q1", name, source, *first));
    rank(&all.collect::<Vec<_>>(), 1).pop().map(|names| names.values).unwrap_or_default()
}

#[test]
fn a_source_has_one_vote_and_primary_spellings_are_preferred() {
    let names = ranked_names(&[
        ("Spider-Man", "labels", true),
        ("spiderman", "mt:en", false),
        ("spiderman", "mt:fr", false),
        ("SPIDERMAN!", "mt:fr", false),
        ("Die Spinne", "mt:it", false),
        ("Peter Parker", "mt:es", true),
    ]);
    // Of names with equal support, primary names come first.
    let expected = [(3, "Spider-Man", true), (1, "Peter Parker", true), (1, "Die Spinne", false)];
    assert_eq!(names, expected.map(|(support, name, primary)| (support, name.to_owned(), primary)));
    // If no spelling is primary, the spelling with the most sources is used.
    let names = ranked_names(&[("a b", "1", false), ("A B", "2", false), ("A B", "3", false)]);
    assert_eq!(names, [(3, "A B".to_owned(), false)]);
    // Hindi words that differ only in vowel signs are different names.
    assert_eq!(ranked_names(&[("राम", "1", false), ("रमा", "2", false)]).len(), 2);
    // Names without letters and numbers are ignored.
    assert_eq!(ranked_names(&[("🇫🇷", "1", false), ("— ", "2", false)]), []);
}

#[test]
fn names_are_compared_by_their_folded_texts() {
    // Latin, Vietnamese, Cyrillic, Greek, Arabic, Hebrew, Devanagari, Thai, Burmese, Hangul, kana.
    for (name, spelling) in [
        ("São Jorge", "Sa\u{303}o Jorge"),
        ("O'Malveney & Söhne", "O’MALVENEY SÖHNE"),
        ("Hà Nội", "Ha\u{300} No\u{302}\u{323}i"),
        ("Йошкар-Ола", "Йошкар-Ола\u{301}"),
        ("ΑΘΗΝΑΣ", "αθηνας"),
        ("القنطرة", "القَنْطَــرَة"),
        ("ירושלים", "יְרוּשָׁלַיִם"),
        ("क़लम", "\u{958}लम"),
        ("श्री", "श्\u{200D}री"),
        ("น้ำ", "น\u{E49}\u{E4D}\u{E32}"),
        ("한국", "\u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}"),
        ("ガス", "ｶﾞｽ"),
    ] {
        let names = ranked_names(&[(name, "1", true), (spelling, "2", false)]);
        assert_eq!(names, [(2, name.to_owned(), true)], "{spelling}");
    }
    for (name, other) in [
        ("Hạ", "Hà"),
        ("Schon", "Schön"),
        ("мой", "мои"),
        ("على", "عل"),
        ("कल", "क्ल"),
        ("राम", "रमा"),
        ("มา", "ม้า"),
        ("ไม่", "ไม้"),
        ("နတ်", "နတ"),
        ("ハ", "バ"),
    ] {
        assert_eq!(ranked_names(&[(name, "1", false), (other, "2", false)]).len(), 2, "{name}");
    }
    // A name is returned in NFC, whatever the candidates' forms are.
    let names = ranked_names(&[("Sa\u{303}o Jorge", "1", false), ("São Jorge", "2", false)]);
    assert_eq!(names, [(2, "São Jorge".to_owned(), false)]);
    assert_eq!(ranked_names(&[("\u{200B}", "1", false), ("\u{301}", "2", false)]), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::case_count(64)))]

    #[test]
    fn ranks_do_not_depend_on_order_and_thresholds_are_nested(
        candidates in prop::collection::vec(
            ("Q[12]", "[abAB -]{1,3}", "[a-d]", any::<bool>())
                .prop_map(|(entity, name, source, primary)| candidate(&entity, &name, &source, primary)),
            0..30,
        ).prop_shuffle(),
    ) {
        let mut sorted = candidates.clone();
        sorted.sort_by(|a, b| (&a.name, &a.source, a.primary).cmp(&(&b.name, &b.source, b.primary)));
        let repeated = [sorted.clone(), sorted].concat();
        let mut all = rank(&candidates, 1);
        for threshold in 1..6 {
            prop_assert_eq!(&rank(&repeated, threshold), &all);
            all.iter_mut().for_each(|names| names.values.retain(|(support, ..)| *support > threshold));
            all.retain(|names| !names.values.is_empty());
        }
    }
}

#[test]
fn a_sample_uses_names_in_place_of_labels() {
    let dir = countries_folder();
    fs::copy(fixture("names.jsonl"), dir.path().join("c.jsonl")).unwrap();
    let command = "names --labels kg/labels.tsv --candidates c.jsonl";
    let table = stdout(&run(dir.path(), &format!("{command} --out names.jsonl")));
    for row in ["candidates 37", "without a letter or number 1", "names 30"] {
        assert!(has_row(&table, row), "{row}\n{table}");
    }
    let names: Vec<RankedNames> = read(dir.path().join("names.jsonl"));
    let berlin = names.iter().filter(|names| names.entity == "Q64");
    assert_eq!(berlin.map(|names| names.values.len()).collect::<Vec<_>>(), [1, 1]);

    let sample = "sample --kg kg --languages en,de,zh --count 6 --names names.jsonl --out s";
    let table = stdout(&run(dir.path(), sample));
    for row in ["labels replaced by a name 2", "missing labels added 1", "sampled 6"] {
        assert!(has_row(&table, row), "{row}\n{table}");
    }
    let before = KnowledgeGraph::read_dir(dir.path().join("kg")).unwrap();
    let sampled = KnowledgeGraph::read_dir(dir.path().join("s")).unwrap();
    assert!(sampled.triples().eq(before.triples()));
    let label = |id, language| sampled.label(id, language);
    assert_eq!((label("Q64", "zh"), label("Q148", "de")), (Some("柏林"), Some("China")));
    assert_eq!((label("Q64", "de"), label("P36", "de")), (Some("Berlin"), Some("Hauptstadt")));

    // Spanish labels exist only in names.jsonl. The language is accepted, but no fact has all
    // labels in Spanish.
    let sample = "sample --kg kg --languages es --count 1 --names names.jsonl --out s";
    let error = failure(&run(dir.path(), sample));
    assert!(error.contains("triples with labels in all of es: no data"), "{error}");

    stdout(&run(dir.path(), &format!("{command} --threshold 3 --out labels.tsv")));
    let labels = fs::read_to_string(dir.path().join("labels.tsv")).unwrap();
    assert_eq!(labels, "id\tlang\tlabel\tkind\nQ148\tde\tChina\tentity\nQ64\tzh\t柏林\tentity\n");
}

#[test]
fn invalid_candidates_are_reported_with_their_line() {
    let valid = r#"{"entity":"Q1","lang":"de","name":"a","source":"s"}"#;
    for (invalid, expected) in [
        (valid.replace("\"a\"", "\" \""), "empty name"),
        (valid.replace("\"a\"", "\"a\\tb\""), "control character"),
        (valid.replace("\"s\"", "\"\""), "empty source"),
        (valid.replace("\"de\"", "\"?\""), "language"),
        (valid.replace("\"name\"", "\"label\""), "unknown field `label`"),
        (valid.replace('}', ""), "EOF"),
    ] {
        let error = line_error::<NameCandidate>(valid, &invalid);
        assert!(error.contains("expected one candidate of a name"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let dir = countries_folder();
    write(dir.path(), "one.jsonl", valid);
    let hint = "none of 1 names has the support of 2 sources";
    expect_errors(dir.path(), "names", &[("--candidates one.jsonl", hint)]);

    write(dir.path(), "names.jsonl", r#"{"entity":"Q1","lang":"de","values":[]}"#);
    let error = countries().with_names(dir.path().join("names.jsonl")).err().unwrap().to_string();
    assert!(error.contains("names.jsonl:1: ") && error.contains("no names"), "{error}");
}

/// Recorded answers of a chat model: the rounds are out of order, and one answer is "none of
/// these".
const RECORDED_ANSWERS: &str = r#"{"entity":"Q64","round":2,"option":1}
{"entity":"Q64","round":0,"option":0}
{"entity":"Q90","round":0,"option":2}
{"entity":"Q64","round":1,"option":null}
"#;

#[test]
fn answers_are_counted_as_votes() {
    let candidates = ["Bern", "Berlin", "Bonn"].map(String::from);
    let questions = shuffled_questions("Q64", &candidates, 3, 0);
    assert_eq!(questions, shuffled_questions("Q64", &candidates, 3, 0));
    let answer = |round: u64, name: &str| {
        let options = &questions[usize::try_from(round).unwrap()].options;
        let option = options.iter().position(|option| option == name);
        Answer { entity: "Q64".into(), round, option }
    };
    let votes = |answers: &[Answer]| count_votes(&candidates, &questions, answers).unwrap();
    let best_name = |answers: &[Answer]| votes(answers)[0].clone();
    let answers = [answer(0, "Bonn"), answer(1, "Berlin"), answer(2, "Berlin")];
    assert_eq!(best_name(&answers), (2, "Berlin".into()));
    // Candidates with equal votes are returned in their original order.
    assert_eq!(best_name(&answers[..2]), (1, "Berlin".into()));
    assert_eq!(best_name(&[]), (0, "Bern".into()));

    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "answers.jsonl", RECORDED_ANSWERS);
    let answers: Vec<Answer> = read(dir.path().join("answers.jsonl"));
    let votes = votes(&answers);
    assert_eq!(votes.iter().map(|(votes, _)| votes).sum::<usize>(), 2);
    assert!(votes.iter().any(|(_, name)| *name == questions[0].options[0]));
}

#[test]
fn an_answer_with_an_option_that_the_question_does_not_have_is_an_error() {
    let candidates = ["Bern", "Berlin"].map(String::from);
    let questions = shuffled_questions("Q64", &candidates, 1, 0);
    let answer = |option| Answer { entity: "Q64".into(), round: 0, option: Some(option) };
    assert!(count_votes(&candidates, &questions, &[answer(1)]).is_ok());
    let error = count_votes(&candidates, &questions, &[answer(2)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "option: expected an index below 2, the number of options of \"Q64\" in round 0, got 2"
    );
}

#[test]
fn a_position_bias_gives_chance_accuracy() {
    let candidates = ["a", "b", "c", "d"].map(String::from);
    let winner_for = |entity: String| {
        let questions = shuffled_questions(&entity, &candidates, 1, 7);
        let answer = Answer { entity, round: 0, option: Some(0) };
        count_votes(&candidates, &questions, &[answer]).unwrap()[0].1.clone()
    };
    let correct_count = (0..2000).filter(|at| winner_for(format!("Q{at}")) == "a").count();
    // The tolerance is four standard deviations of a binomial distribution.
    assert!(correct_count.abs_diff(500) < 78, "{correct_count}");
}
