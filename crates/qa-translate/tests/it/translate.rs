//! Data sets through a translator, and data that is translated already.
use crate::common::{By, dataset, question};
use mlqa_eval::{Answer, Dataset, Language};
use proptest::prelude::*;
use qa_translate::{
    Discarded, Error, Identity, Occurrence, SearchConfig, Stage, TranslateConfig, Translated,
    Translations, parallel, translate,
};

const DE: Language = Language::DE;
const EN: Language = Language::EN;

fn run(
    source: &Dataset,
    config: &TranslateConfig,
    by: impl FnMut(&str) -> Option<String>,
) -> Translated {
    translate(source, EN, DE, &mut By(by), config, |_, _, _| {}).unwrap()
}

fn source() -> Dataset {
    dataset(vec![
        question("1", "q one", "rome is old", "rome"),
        question("2", "q two", "the end is near", "near"),
        question("3", "q three", "two and two", "two"),
    ])
}

#[test]
fn markers_then_search_then_nothing_with_exact_counts() {
    let source = source();
    let by = |text: &str| {
        Some(match text {
            "([rome]) is old" => "ALT IST（［ ROM ］）".to_owned(),
            // Markers lost: searched.
            "the end is ([near])" => "DAS ENDE IST NAH".into(),
            "the end is near" => "NAH IST DAS ENDE".into(),
            "near" => " NAH ".into(),
            // Markers lost, and twice in the passage.
            "([two]) and two" => "([ZWEI]) UND ([ZWEI])".into(),
            "two and two" => "ZWEI UND ZWEI".into(),
            "two" => "ZWEI".into(),
            other => other.to_uppercase(),
        })
    };
    let got = run(&source, &TranslateConfig::default(), by);
    let report = &got.report;
    assert_eq!((report.source, report.by_markers, report.by_search, report.kept()), (3, 1, 1, 2));
    assert_eq!(report.discarded, Discarded { answer_ambiguous: 1, ..Discarded::default() });
    assert_eq!((report.faults.missing, report.faults.duplicate), (1, 1));
    assert_eq!(report.skip_ratio(), 1.0 - 2.0 / 3.0);
    let rows: Vec<(&str, &str, &str, usize)> = got
        .dataset
        .questions
        .iter()
        .map(|q| (q.id.as_str(), &*q.question, &*q.context, q.answers[0].answer_start))
        .collect();
    assert_eq!(rows, [("1", "Q ONE", "ALT IST ROM", 8), ("2", "Q TWO", "NAH IST DAS ENDE", 0)]);
    // Every question has its wording, with the source's passage.
    assert_eq!(got.questions.questions.len(), 3);
    assert_eq!(got.questions.questions[2].question, "Q THREE");
    assert_eq!(got.questions.questions[2].answers, source.questions[2].answers);

    let search = SearchConfig { occurrence: Occurrence::Nearest, ..SearchConfig::default() };
    let nearest = TranslateConfig { search, ..TranslateConfig::default() };
    let got = run(&source, &nearest, by);
    assert_eq!((got.report.kept(), got.report.by_search, got.report.skip_ratio()), (3, 2, 0.0));
    assert_eq!(got.dataset.questions[2].answers[0].answer_start, 0);

    let strict = TranslateConfig { fall_back: false, ..TranslateConfig::default() };
    let got = run(&source, &strict, by);
    assert_eq!(got.report.discarded, Discarded { lost_markers: 2, ..Discarded::default() });
}

#[test]
fn each_corruption_of_markers_falls_back() {
    let source = dataset(vec![question("1", "q", "x mid y", "mid")]);
    for (corrupt, faults) in [
        ("x mid y", [1, 0, 0, 0]),
        ("x ([mid y", [1, 0, 0, 0]),
        ("x mid]) y", [1, 0, 0, 0]),
        ("x ([mid]) ([y", [0, 1, 0, 0]),
        ("x ([mid]) y])", [0, 1, 0, 0]),
        ("x ])mid([ y", [0, 0, 1, 0]),
        ("x mid ([]) y", [0, 0, 0, 1]),
        ("x mid ([ \u{3000} ]) y", [0, 0, 0, 1]),
    ] {
        let by = |text: &str| Some(if text.contains("([") { corrupt } else { text }.to_owned());
        let got = run(&source, &TranslateConfig::default(), by);
        let counted = got.report.faults;
        assert_eq!(
            [counted.missing, counted.duplicate, counted.reordered, counted.empty],
            faults,
            "{corrupt}"
        );
        assert_eq!((got.report.by_search, got.report.skip_ratio()), (1, 0.0));
        assert_eq!(got.dataset.questions[0].context, source.questions[0].context);
        // The answer is not there: left out.
        let by = |text: &str| {
            Some(match text {
                "mid" => "elsewhere".to_owned(),
                other => other.replace("([", ""),
            })
        };
        let got = run(&source, &TranslateConfig::default(), by);
        assert_eq!(got.report.discarded, Discarded { answer_not_found: 1, ..Discarded::default() });
        assert_eq!(got.report.skip_ratio(), 1.0);
    }
}

#[test]
fn what_has_no_translation_is_counted_where_it_fails() {
    let mut source = source();
    source.questions.push(question("4", "q four", "four", "four"));
    source.questions.push(question("5", "q five", "five", "five"));
    source.questions[3].answers.clear();
    source.questions[4].answers[0].answer_start = 1;
    let by = |text: &str| match text {
        "q one" => None,
        "the end is ([near])" => Some("  ".into()),
        "([two]) and two" => Some("lost".into()),
        "two" => None,
        other => Some(other.to_owned()),
    };
    let got = run(&source, &TranslateConfig::default(), by);
    let expected = Discarded {
        untranslated_question: 1,
        untranslated_passage: 1,
        untranslated_answer: 1,
        no_answer: 1,
        misplaced_answer: 1,
        ..Discarded::default()
    };
    assert_eq!((got.report.discarded, got.report.kept()), (expected, 0));
    assert_eq!(expected.total(), 5);
    assert_eq!(got.questions.questions.len(), 4);
}

#[test]
fn only_the_first_answer_is_translated() {
    let mut source = source();
    source.questions[1].answers.push(Answer { text: "end".into(), answer_start: 4 });
    let got = run(&source, &TranslateConfig::default(), |text| Some(text.to_owned()));
    assert_eq!((got.report.further_answers, got.report.kept()), (1, 3));
    assert_eq!(got.dataset.questions[1].answers.len(), 1);
}

#[test]
fn progress_is_told_and_a_translator_that_drops_texts_is_found_out() {
    let mut heard = Vec::new();
    let by = |text: &str| Some(text.replace("([", ""));
    let config = TranslateConfig::default();
    let progress = |stage, done, total| heard.push((stage, done, total));
    translate(&source(), EN, DE, &mut By(by), &config, progress).unwrap();
    for stage in [Stage::Questions, Stage::MarkedPassages, Stage::Passages, Stage::Answers] {
        let own: Vec<(usize, usize)> =
            heard.iter().filter(|(of, _, _)| *of == stage).map(|(_, a, b)| (*a, *b)).collect();
        assert_eq!(own, [(0, 3), (2, 3), (3, 3)]);
    }
    struct Short;
    impl qa_translate::Translator for Short {
        fn translate(&mut self, _: &[&str], _: Language, _: Language) -> Translations {
            Ok(vec![None])
        }
    }
    let error = translate(&source(), EN, DE, &mut Short, &config, |_, _, _| {}).unwrap_err();
    assert!(matches!(error, Error::Count { expected: 3, got: 1 }), "{error}");
    let same = translate(&source(), EN, EN, &mut Identity, &config, |_, _, _| {}).unwrap_err();
    assert!(matches!(same, Error::Language { .. }));
}

#[test]
fn parallel_data_is_aligned_by_id_in_the_order_of_the_source() {
    let target = dataset(vec![
        question("9", "anders", "x", "x"),
        question("3", "drei?", "zwei und zwei", "zwei"),
        question("1", "eins?", "alt ist rom", "rom"),
    ]);
    let got = parallel(&source(), &target, DE).unwrap();
    let ids: Vec<&str> = got.dataset.questions.iter().map(|q| q.id.as_str()).collect();
    assert_eq!(ids, ["1", "3"]);
    assert_eq!(got.dataset.questions[0].answers[0].answer_start, 8);
    assert_eq!((got.report.given, got.report.discarded.missing_id), (2, 1));
    assert_eq!(got.questions.questions[0].question, "eins?");
    assert_eq!(&*got.questions.questions[0].context, "rome is old");
    let strangers = dataset(vec![question("9", "anders", "x", "x")]);
    assert!(matches!(parallel(&source(), &strangers, DE), Err(Error::Eval(_))));
}

proptest! {
    #[test]
    fn an_identical_translation_keeps_everything(
        passages in prop::collection::vec("[()\\[\\]（［ a-c北é]{0,12}x[()\\[\\]］） a-c]{0,12}", 1..6),
    ) {
        let rows = passages.iter().enumerate()
            .map(|(k, passage)| question(&k.to_string(), "q", passage, "x")).collect();
        let source = dataset(rows);
        let got =
            translate(&source, EN, DE, &mut Identity, &TranslateConfig::default(), |_, _, _| {}).unwrap();
        prop_assert_eq!(&got.dataset.questions, &source.questions);
        prop_assert_eq!(got.report.by_markers, source.questions.len());
    }
}
