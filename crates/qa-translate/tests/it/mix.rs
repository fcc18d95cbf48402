//! Tests of mixing questions and passages of different languages.
use std::collections::BTreeSet;

use crate::common::{DE, EN, ES, ZH, dataset, question};
use mlqa_eval::{Dataset, DatasetName, Language};
use proptest::prelude::*;
use qa_translate::{Error, MixConfig, MixedQuestions, Pairs, TranslateReport, Translated, mix};

/// Creates a data set whose texts contain the code of their language.
fn dataset_in(language: Language, ids: &[usize]) -> Dataset {
    let row = |id: &usize| {
        let context = format!("{language} context of number {id} é北");
        question(&id.to_string(), &format!("{language} q{id}"), &context, &format!("number {id}"))
    };
    dataset(ids.iter().map(row).collect())
}

/// Creates translations in `language` with passages for `passage_ids` and question texts for
/// `question_ids`.
fn translated(language: Language, passage_ids: &[usize], question_ids: &[usize]) -> Translated {
    let mut questions = dataset_in(EN, question_ids);
    for one in &mut questions.questions {
        one.question = format!("{language} q{}", one.id);
    }
    let report = TranslateReport::default();
    Translated { language, dataset: dataset_in(language, passage_ids), questions, report }
}

/// Returns id, question language and passage language of all rows, sorted.
fn sorted_rows(
    config: &MixConfig,
    source: &Dataset,
    others: &[Translated],
) -> Vec<(String, Language, Language)> {
    let mixed = mix(source, others, config).unwrap();
    for row in &mixed.rows {
        assert_ne!(row.question_language, row.context_language);
        row.question.check_answers("test".as_ref()).unwrap();
        assert!(row.question.question.starts_with(row.question_language.as_str()));
        assert!(row.question.context.starts_with(row.context_language.as_str()));
    }
    assert_eq!(mixed.report.rows.values().sum::<usize>(), mixed.rows.len());
    let mut rows: Vec<_> = mixed
        .rows
        .into_iter()
        .map(|row| (row.question.id, row.question_language, row.context_language))
        .collect();
    rows.sort();
    rows
}

#[test]
fn the_seed_determines_only_the_order() {
    let ids: Vec<usize> = (0..50).collect();
    let (source, others) = (dataset_in(EN, &ids), [translated(DE, &ids, &ids)]);
    let mixed = |seed| mix(&source, &others, &MixConfig { seed, ..MixConfig::default() }).unwrap();
    assert_eq!(mixed(1), mixed(1));
    assert_ne!(mixed(1).rows, mixed(2).rows);
    let sorted = |seed| sorted_rows(&MixConfig { seed, ..MixConfig::default() }, &source, &others);
    assert_eq!(sorted(1), sorted(2));
}

#[test]
fn duplicate_languages_and_misplaced_answers_are_rejected() {
    let source = dataset_in(EN, &[1]);
    let german = || translated(DE, &[1], &[1]);
    let config = MixConfig::default();
    for others in [vec![german(), german()], vec![translated(EN, &[1], &[1])]] {
        assert!(matches!(mix(&source, &others, &config), Err(Error::Language { .. })));
    }
    let mut misplaced = german();
    misplaced.dataset.questions[0].answers[0].answer_start = Some(5);
    let error = mix(&source, &[misplaced], &config).unwrap_err();
    assert!(matches!(error, Error::Eval(mlqa_eval::Error::AnswerMismatch { .. })), "{error}");
}

#[test]
fn misplaced_answers_are_reported_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    // The source lacks question 7, so only `MixedQuestions::read` checks it, not `mix`.
    let mut misplaced = translated(DE, &[1, 7], &[]).dataset;
    misplaced.questions[1].answers[0].answer_start = Some(5);
    let path = folder.path().join("train-context-de-question-de.json");
    std::fs::write(&path, misplaced.to_json(&path).unwrap()).unwrap();
    let config = MixConfig::default();
    let source = folder.path().join("source.json");
    dataset_in(EN, &[1]).write(&source).unwrap();
    let translated = Some(folder.path());
    let error = MixedQuestions::read(&source, translated, "train", &[DE], &config).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
}

#[test]
fn files_are_named_like_mlqa_and_contain_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    let source = dataset_in(EN, &[1, 2, 3]);
    let others = [translated(DE, &[1, 3], &[]), translated(ES, &[2], &[])];
    let mixed = mix(&source, &others, &MixConfig::default()).unwrap();
    let paths = mixed.write_pairs(folder.path(), "train").unwrap();
    assert_eq!(paths.len(), 4);
    let mut count = 0;
    for path in &paths {
        let name: DatasetName = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let read = Dataset::read(path).unwrap();
        read.check_answers().unwrap();
        for one in &read.questions {
            assert!(one.question.starts_with(name.question.as_str()));
            assert!(one.context.starts_with(name.context.as_str()));
            count += 1;
        }
    }
    assert_eq!(count, mixed.rows.len());

    let empty = mix(&source, &[translated(DE, &[], &[])], &MixConfig::default()).unwrap();
    assert!(matches!(empty.write_pairs(folder.path(), "x"), Err(Error::Empty { .. })));
}

proptest! {
    #[test]
    fn counts_follow_from_the_retained_questions(
        source in prop::collection::btree_set(0usize..12, 0..10),
        passage_ids in prop::collection::vec(prop::collection::btree_set(0usize..12, 0..10), 2),
        question_ids in prop::collection::vec(prop::collection::btree_set(0usize..12, 0..10), 2),
        all_pairs in any::<bool>(),
        require_pair in any::<bool>(),
    ) {
        let list = |set: &BTreeSet<usize>| set.iter().copied().collect::<Vec<_>>();
        let english = dataset_in(EN, &list(&source));
        let languages = [DE, ZH];
        let others: Vec<Translated> = (0..2)
            .map(|k| translated(languages[k], &list(&passage_ids[k]), &list(&question_ids[k]))).collect();
        let pairs = if all_pairs { Pairs::AllPairs } else { Pairs::Source };
        let config = MixConfig { pairs, require_pair, ..MixConfig::default() };
        let actual = sorted_rows(&config, &english, &others);
        let (mut expected, mut without_pair) = (BTreeSet::new(), 0);
        for id in &source {
            for x in 0..2 {
                let has_passage = passage_ids[x].contains(id);
                let has_question = has_passage || (!require_pair && question_ids[x].contains(id));
                // A question whose passage was discarded is combined with the source's passage.
                without_pair += usize::from(has_question && !has_passage);
                if has_passage { expected.insert((id.to_string(), EN, languages[x])); }
                if has_question { expected.insert((id.to_string(), languages[x], EN)); }
                if all_pairs && has_question && passage_ids[1 - x].contains(id) {
                    expected.insert((id.to_string(), languages[x], languages[1 - x]));
                }
            }
        }
        prop_assert_eq!(actual, expected.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(mix(&english, &others, &config).unwrap().report.without_pair, without_pair);
    }
}
