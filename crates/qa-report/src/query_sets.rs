//! Reads the questions of a language pair.
use mlqa_eval::{Dataset, Error, squad};
use std::collections::BTreeSet;

use crate::ReportRun;
use crate::input::{AnswerFile, Pair};

/// The answer files of each run for one pair: one file per seed, or no files.
pub(crate) type PairFiles<'a> = Vec<Vec<&'a AnswerFile>>;

/// The questions of a pair that have a gold answer.
pub(crate) struct Questions {
    pub dataset: Dataset,
    /// Number of questions that were removed because they have no gold answer.
    pub without_gold: usize,
    /// For each key by which questions are grouped, the value of each question.
    pub groups: Vec<Vec<String>>,
}

impl Questions {
    /// Reads the questions of a pair from the question files of its answer files, with their values
    /// of `keys`.
    pub fn of(files: &PairFiles<'_>, keys: &[String]) -> Result<Self, Error> {
        let mut questions: Option<Dataset> = None;
        let mut groups: Vec<Vec<String>> = Vec::new();
        for file in files.iter().flatten() {
            let path = &file.questions;
            if questions.as_ref().is_some_and(|first| first.path == *path) {
                continue;
            }
            let squad_file = squad::File::read(path)?;
            if questions.is_none() {
                let values = keys.iter().map(|key| squad_file.group_values(key, path));
                groups = values.collect::<Result<_, Error>>()?;
            }
            let dataset = Dataset::from_squad(squad_file, path)?;
            match &questions {
                // Each run folder may have a copy of the question file; all copies must have equal
                // questions.
                Some(first) if first.questions != dataset.questions => {
                    let message = format!(
                        "the questions differ from {}; expected the same questions for all runs",
                        first.path.display()
                    );
                    return Err(Error::Content { path: path.clone(), message });
                }
                Some(_) => {}
                None => questions = Some(dataset),
            }
        }
        let mut dataset = questions.expect("a pair has an answer file");
        let total = dataset.questions.len();
        let has_gold: Vec<bool> =
            dataset.questions.iter().map(|question| !question.answers.is_empty()).collect();
        for values in &mut groups {
            let mut has_gold = has_gold.iter();
            values.retain(|_| *has_gold.next().expect("a question has one value per key"));
        }
        dataset.questions.retain(|question| !question.answers.is_empty());
        let without_gold = total - dataset.questions.len();
        match dataset.questions.is_empty() {
            true => Err(Error::NoQuestions { path: dataset.path }),
            false => Ok(Self { dataset, without_gold, groups }),
        }
    }
}

/// Checks that there is a language pair for which all seeds of a run have predictions.
pub(crate) fn check_seeds(run: &ReportRun) -> Result<(), Error> {
    let pairs = |seed: &Vec<AnswerFile>| seed.iter().map(|file| file.pair.clone()).collect();
    let mut pair_sets = run.seeds.iter().map(pairs);
    let Some(first) = pair_sets.next() else { return Ok(()) };
    let common = pair_sets.fold(first, |common: BTreeSet<Pair>, seed_pairs| &common & &seed_pairs);
    let files: Vec<&AnswerFile> = run.seeds.iter().filter_map(|seed| seed.first()).collect();
    match (common.is_empty(), files.as_slice()) {
        (true, [first_file, second_file, ..]) => Err(Error::Content {
            path: second_file.predictions.clone(),
            message: format!(
                "answers {}, but {} answers {}; comma-separated paths are the seeds of one run and \
                 must answer the same questions",
                second_file.pair.label(),
                first_file.predictions.display(),
                first_file.pair.label()
            ),
        }),
        _ => Ok(()),
    }
}
