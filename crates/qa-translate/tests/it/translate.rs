//! Tests of translating data sets, and of existing translations.
use crate::common::{DE, EN, FunctionTranslator, dataset, question};
use mlqa_eval::{Answer, Dataset, Language};
use proptest::prelude::*;
use qa_translate::{
    Discarded, Error, Identity, MarkerErrorCounts, Occurrence, PlaceError, SearchConfig, SpanLoss,
    Stage, TranslateConfig, Translated, Translations, align_by_id, translate,
};

fn run(
    source: &Dataset,
    config: &TranslateConfig,
    translation: impl FnMut(&str) -> Option<String>,
) -> Translated {
    translate(source, EN, DE, &mut FunctionTranslator(translation), config, |_, _, _| {}).unwrap()
}

fn source() -> Dataset {
    dataset(vec![
        question("1", "q one", "rome is old", "rome"),
        question("2", "q two", "the end is near", "near"),
        question("3", "q three", "two and two", "two"),
    ])
}

#[test]
fn counts_of_markers_search_and_losses_are_exact() {
    let source = source();
    let translation = |text: &str| {
        Some(match text {
            "([rome]) is old" => "ALT IST（［ ROM ］）".to_owned(),
            // The markers are lost, and the answer is found by search.
            "the end is ([near])" => "DAS ENDE IST NAH".into(),
            "the end is near" => "NAH IST DAS ENDE".into(),
            "near" => " NAH ".into(),
            // The markers are lost, and the answer occurs twice in the passage.
            "([two]) and two" => "([ZWEI]) UND ([ZWEI])".into(),
            "two and two" => "ZWEI UND ZWEI".into(),
            "two" => "ZWEI".into(),
            other => other.to_uppercase(),
        })
    };
    let got = run(&source, &TranslateConfig::default(), translation);
    let report = &got.report;
    assert_eq!((report.source, report.by_markers, report.by_search, report.kept()), (3, 1, 1, 2));
    assert_eq!(report.discarded, Discarded { answer_ambiguous: 1, ..Discarded::default() });
    assert_eq!((report.faults.missing, report.faults.duplicate), (1, 1));
    assert_eq!(report.skip_ratio(), 1.0 - 2.0 / 3.0);
    let rows: Vec<(&str, &str, &str, usize)> = got
        .dataset
        .questions
        .iter()
        .map(|q| (q.id.as_str(), &*q.question, &*q.context, q.answers[0].answer_start.unwrap()))
        .collect();
    assert_eq!(rows, [("1", "Q ONE", "ALT IST ROM", 8), ("2", "Q TWO", "NAH IST DAS ENDE", 0)]);
    // Every question has its translated text, with the source's passage.
    assert_eq!(got.questions.questions.len(), 3);
    assert_eq!(got.questions.questions[2].question, "Q THREE");
    assert_eq!(got.questions.questions[2].answers, source.questions[2].answers);

    let search = SearchConfig { occurrence: Occurrence::Nearest };
    let nearest = TranslateConfig { search, ..TranslateConfig::default() };
    let got = run(&source, &nearest, translation);
    assert_eq!((got.report.kept(), got.report.by_search, got.report.skip_ratio()), (3, 2, 0.0));
    assert_eq!(got.dataset.questions[2].answers[0].answer_start, Some(0));

    let strict = TranslateConfig { fall_back: false, ..TranslateConfig::default() };
    let got = run(&source, &strict, translation);
    assert_eq!(got.report.discarded, Discarded { lost_markers: 2, ..Discarded::default() });
}

#[test]
fn answers_with_damaged_markers_are_searched() {
    let source = dataset(vec![question("1", "q", "x mid y", "mid")]);
    let no_faults = MarkerErrorCounts::default();
    for (damaged, faults) in [
        ("x mid y", MarkerErrorCounts { missing: 1, ..no_faults }),
        ("x ([mid]) ([y", MarkerErrorCounts { duplicate: 1, ..no_faults }),
        ("x ])mid([ y", MarkerErrorCounts { reordered: 1, ..no_faults }),
        ("x mid ([ \u{3000} ]) y", MarkerErrorCounts { empty: 1, ..no_faults }),
    ] {
        let reply = |text: &str| Some(if text.contains("([") { damaged } else { text }.to_owned());
        let got = run(&source, &TranslateConfig::default(), reply);
        assert_eq!(got.report.faults, faults, "{damaged}");
        assert_eq!((got.report.by_search, got.report.skip_ratio()), (1, 0.0));
        assert_eq!(got.dataset.questions[0].context, source.questions[0].context);
    }
    // The answer is not in the passage, so the question is skipped.
    let translation = |text: &str| {
        Some(match text {
            "mid" => "elsewhere".to_owned(),
            other => other.replace("([", ""),
        })
    };
    let got = run(&source, &TranslateConfig::default(), translation);
    assert_eq!(got.report.discarded, Discarded { answer_not_found: 1, ..Discarded::default() });
    assert_eq!(got.report.skip_ratio(), 1.0);
}

#[test]
fn white_space_around_a_translation_is_that_of_the_source() {
    let source = dataset(vec![question("1", " q?", "rome is old\n", "rome")]);
    let got = run(&source, &TranslateConfig::default(), |text| {
        Some(format!("\n\u{feff} {} \u{200b}\n", text.trim().to_uppercase()))
    });
    let question = &got.dataset.questions[0];
    assert_eq!((question.question.as_str(), &*question.context), (" Q?", "ROME IS OLD\n"));
}

#[test]
fn missing_translations_are_counted_by_reason() {
    let mut source = source();
    source.questions.push(question("4", "q four", "four", "four"));
    source.questions.push(question("5", "q five", "five", "five"));
    source.questions[3].answers.clear();
    source.questions[4].answers[0].answer_start = Some(1);
    let translation = |text: &str| match text {
        "q one" => None,
        "the end is ([near])" => Some("  ".into()),
        "([two]) and two" => Some("lost".into()),
        "two" => None,
        other => Some(other.to_owned()),
    };
    let got = run(&source, &TranslateConfig::default(), translation);
    let expected = Discarded {
        untranslated_question: 1,
        untranslated_passage: 1,
        untranslated_answer: 1,
        misplaced_answer: 1,
        ..Discarded::default()
    };
    assert_eq!((got.report.discarded, got.report.kept()), (expected, 1));
    assert_eq!((expected.total(), got.report.unanswerable), (4, 1));
    assert_eq!(got.questions.questions.len(), 4);
}

fn answer(text: &str, answer_start: usize) -> Answer {
    Answer::at(answer_start, text)
}

#[test]
fn every_distinct_answer_is_retained() {
    let mut source = source();
    // Adds another answer, a copy of the first answer, an answer that overlaps the first answer,
    // and an answer that is not at its offset.
    let added = [("end", 4), ("near", 11), ("is near", 8), ("near", 0)];
    source.questions[1].answers.extend(added.map(|(text, start)| answer(text, start)));
    // The first answer is not at its offset; the second answer is at its offset.
    source.questions[2].answers.insert(0, answer("three", 0));
    let mut requested = Vec::new();
    let got = run(&source, &TranslateConfig::default(), |text| {
        requested.push(text.to_owned());
        Some(text.to_owned())
    });
    let passages = ["([rome]) is old", "the ([2:end]) is ([1:near])", "([two]) and two"];
    assert_eq!(requested[3..], [&passages[..], &["is near"]].concat());
    let expected = [answer("near", 11), answer("end", 4), answer("is near", 8)];
    assert_eq!(got.dataset.questions[1].answers, expected);
    assert_eq!(got.dataset.questions[2].answers, [answer("two", 0)]);
    let report = got.report;
    assert_eq!((report.by_markers, report.further_answers, report.kept()), (3, 2, 3));
    assert_eq!(report.dropped_answers.into_iter().collect::<Vec<_>>(), [(SpanLoss::Misplaced, 2)]);
}

#[test]
fn questions_with_at_least_one_answer_are_retained() {
    let mut source = source();
    source.questions[0].answers.push(answer("old", 8));
    source.questions[1].answers.push(answer("end", 4));
    source.questions[2].answers.push(answer("two", 8));
    let translation = |text: &str| {
        Some(match text {
            // The markers are lost; only the second answer is in the passage.
            "([1:rome]) is ([2:old])" => "ROM IST ALT".to_owned(),
            "rome is old" => "ROM IST ALT".into(),
            "rome" => "ROMA".into(),
            "old" => "ALT".into(),
            // Both translated answers have the same position.
            "the ([2:end]) is ([1:near])" => "das ([1:Ende])".into(),
            "the end is near" => "das Ende naht".into(),
            "near" | "end" => "Ende".into(),
            // Neither answer occurs exactly once in the passage.
            "([1:two]) and ([2:two])" => "zwei".into(),
            other => other.to_owned(),
        })
    };
    let got = run(&source, &TranslateConfig::default(), translation);
    let answers: Vec<_> =
        got.dataset.questions.iter().map(|one| (one.id.as_str(), &one.answers[..])).collect();
    assert_eq!(answers, [("1", &[answer("ALT", 8)][..]), ("2", &[answer("Ende", 4)])]);
    let report = got.report;
    assert_eq!((report.by_search, report.further_answers, report.kept()), (2, 0, 2));
    assert_eq!(report.discarded, Discarded { answer_ambiguous: 1, ..Discarded::default() });
    let dropped: Vec<_> = report.dropped_answers.into_iter().collect();
    let not_found = SpanLoss::Unplaced(PlaceError::NotFound);
    assert_eq!(dropped, [(SpanLoss::Overlap, 1), (not_found, 1)]);
    // Without the search, only answers with intact markers are located.
    let strict = TranslateConfig { fall_back: false, ..TranslateConfig::default() };
    let got = run(&source, &strict, translation);
    assert_eq!((got.report.kept(), got.report.discarded.lost_markers), (0, 3));
}

#[test]
fn parallel_data_keeps_its_answers() {
    let mut target = source();
    let added = [("rome", 0), ("old", 8), ("new", 8)];
    target.questions[0].answers.extend(added.map(|(text, start)| answer(text, start)));
    let got = align_by_id(&source(), &target, DE).unwrap();
    assert_eq!(got.dataset.questions[0].answers, [answer("rome", 0), answer("old", 8)]);
    assert_eq!((got.report.from_parallel, got.report.further_answers), (3, 1));
    assert_eq!(got.report.dropped_answers[&SpanLoss::Misplaced], 1);
}

#[test]
fn progress_is_reported_and_missing_translations_are_errors() {
    let mut reports = Vec::new();
    let translation = |text: &str| Some(text.replace("([", ""));
    let config = TranslateConfig::default();
    let progress = |stage, done, total| reports.push((stage, done, total));
    translate(&source(), EN, DE, &mut FunctionTranslator(translation), &config, progress).unwrap();
    for stage in [Stage::Questions, Stage::MarkedPassages, Stage::Passages, Stage::Answers] {
        let actual: Vec<(usize, usize)> = reports
            .iter()
            .filter(|(reported, _, _)| *reported == stage)
            .map(|(_, done, total)| (*done, *total))
            .collect();
        assert_eq!(actual, [(0, 3), (2, 3), (3, 3)]);
    }
    struct TooFewTexts;
    impl qa_translate::Translator for TooFewTexts {
        fn translate(&mut self, _: &[&str], _: Language, _: Language) -> Translations {
            Ok(vec![None])
        }
    }
    let error = translate(&source(), EN, DE, &mut TooFewTexts, &config, |_, _, _| {}).unwrap_err();
    assert!(matches!(error, Error::Count { expected: 3, got: 1 }), "{error}");
    let error = translate(&source(), EN, EN, &mut Identity, &config, |_, _, _| {}).unwrap_err();
    assert!(matches!(error, Error::Language { .. }));
}

#[test]
fn parallel_data_is_aligned_by_id_in_the_order_of_the_source() {
    let target = dataset(vec![
        question("9", "anders", "x", "x"),
        question("3", "drei?", "zwei und zwei", "zwei"),
        question("1", "eins?", "alt ist rom", "rom"),
    ]);
    let got = align_by_id(&source(), &target, DE).unwrap();
    let ids: Vec<&str> = got.dataset.questions.iter().map(|q| q.id.as_str()).collect();
    assert_eq!(ids, ["1", "3"]);
    assert_eq!(got.dataset.questions[0].answers[0].answer_start, Some(8));
    assert_eq!((got.report.from_parallel, got.report.discarded.missing_id), (2, 1));
    assert_eq!(got.questions.questions[0].question, "eins?");
    assert_eq!(&*got.questions.questions[0].context, "rome is old");
    let unrelated = dataset(vec![question("9", "anders", "x", "x")]);
    assert!(matches!(align_by_id(&source(), &unrelated, DE), Err(Error::Eval(_))));
}

proptest! {
    #[test]
    fn an_identical_translation_retains_every_question(
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

    #[test]
    fn several_answers_are_retained_or_counted(
        passage in "[ab北e\u{301}\u{5e9}\u{644} (\\[\\])]{1,16}",
        spans in prop::collection::vec((0usize..16, 1usize..6), 1..6),
    ) {
        let part = |&(start, length): &(usize, usize)| {
            let text: String = passage.chars().skip(start).take(length).collect();
            (!text.trim().is_empty()).then_some(Answer::at(start, text))
        };
        let answers: Vec<Answer> = spans.iter().filter_map(part).collect();
        prop_assume!(!answers.is_empty());
        let mut distinct: Vec<&Answer> = Vec::new();
        for answer in &answers {
            if !distinct.contains(&answer) {
                distinct.push(answer);
            }
        }
        let mut source = dataset(vec![question("1", "q", &passage, &passage)]);
        source.questions[0].answers = answers.clone();
        let got = run(&source, &TranslateConfig::default(), |text| Some(text.to_owned()));
        // The first answer is marked, so the question is retained.
        let kept = &got.dataset.questions[0];
        prop_assert_eq!(&*kept.context, &passage);
        prop_assert_eq!(&kept.answers[0].text, answers[0].text.trim());
        prop_assert_eq!(got.report.further_answers, kept.answers.len() - 1);
        let dropped: usize = got.report.dropped_answers.values().sum();
        prop_assert_eq!(kept.answers.len() + dropped, distinct.len());
        prop_assert!(kept.answers.iter().all(|one| answers.iter().any(|actual| actual.text.contains(&one.text))));
        let without_overlap = |k: usize| distinct[..k].iter().all(|one| {
            let (one, other) = (one.span().unwrap(), distinct[k].span().unwrap());
            one.end <= other.start || other.end <= one.start
        });
        // An answer that overlaps no earlier answer is retained.
        for k in (0..distinct.len()).filter(|&k| without_overlap(k)) {
            let blank = distinct[k].text.chars().take_while(|c| c.is_whitespace()).count();
            let actual = answer(distinct[k].text.trim(), distinct[k].answer_start.unwrap() + blank);
            prop_assert!(kept.answers.contains(&actual));
        }
    }
}
