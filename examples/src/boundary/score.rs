//! A reader's answers to question files: official scores, the k best answers, and how predictions miss.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mlqa_eval::{
    BoundaryCounts, Dataset, DecodeConfig, Language, Normalization, Predictions, TopKUnique,
    boundaries, score, top_k_exact_match,
};
use serde::{Deserialize, Serialize};

use crate::evaluation::{Reader, question_file};

/// How answers are chosen and counted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreConfig {
    /// Windows in a batch.
    pub batch_size: usize,
    /// k of the top-k exact match.
    pub top_k: Vec<usize>,
    /// Span decoding.
    pub decoding: DecodeConfig,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self { batch_size: 64, top_k: vec![1, 3, 5, 10], decoding: DecodeConfig::default() }
    }
}

impl ScoreConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<()> {
        let n_best = self.decoding.n_best;
        for (key, value) in
            [("n_best", n_best), ("max_answer_length", self.decoding.max_answer_length)]
        {
            ensure!(value > 0, "evaluation.decoding.{key} = 0: must be 1 or more");
        }
        for &k in &self.top_k {
            ensure!(
                (1..=n_best).contains(&k),
                "evaluation.top_k = {:?}: must be from 1 to decoding.n_best = {n_best}",
                self.top_k
            );
        }
        Ok(())
    }
}

/// A file of questions with its languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionFile {
    /// Language of context and answer.
    pub context: Language,
    /// Language of the question.
    pub question: Language,
    /// SQuAD-style JSON.
    pub path: PathBuf,
    /// Whether XQuAD's prescribed normalisation, SQuAD's English rules, is reported beside MLQA's.
    pub squad_rules: bool,
}

/// What one file showed, in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct FileScore {
    /// Language of context and answer.
    pub context: Language,
    /// Language of the question.
    pub question: Language,
    /// Number of questions.
    pub questions: usize,
    /// F1 under MLQA's normalisation.
    pub f1: f64,
    /// Exact match under MLQA's normalisation.
    pub em: f64,
    /// F1 under SQuAD's English normalisation, where it is reported.
    pub squad_f1: Option<f64>,
    /// Exact match under SQuAD's English normalisation, where it is reported.
    pub squad_em: Option<f64>,
    /// Exact match within the k best answers, by k, under MLQA's normalisation.
    pub top_k: BTreeMap<String, f64>,
    /// Predictions by their boundaries, under MLQA's normalisation.
    pub boundary: BoundaryCounts,
}

/// Answers the files, writes predictions below `out` under MLQA's names, and scores them.
///
/// # Errors
/// Naming the file that is missing, or a dataset, model or write error.
pub fn score_files(
    reader: &Reader<'_>,
    config: &ScoreConfig,
    files: &[QuestionFile],
    out: &Path,
) -> Result<Vec<FileScore>> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    files.iter().map(|file| score_file(reader, config, file, out)).collect()
}

fn score_file(
    reader: &Reader<'_>,
    config: &ScoreConfig,
    file: &QuestionFile,
    out: &Path,
) -> Result<FileScore> {
    let &QuestionFile { context, question, .. } = file;
    let dataset = Dataset::read(&file.path)?;
    let answers = reader.answer(&dataset.questions, &config.decoding, config.batch_size)?;
    let predictions = Predictions::from(answers.as_slice());
    predictions.write(question_file(out, "predictions", context, question))?;
    let rules = Normalization::Mlqa(context);
    let own = score(&dataset, &predictions, rules)?;
    let squad = match file.squad_rules {
        true => Some(score(&dataset, &predictions, Normalization::SquadEn)?),
        false => None,
    };
    let top_k = config.top_k.iter().map(|&k| {
        let share = top_k_exact_match(&dataset, &answers, k, rules, TopKUnique::default())?;
        Ok((k.to_string(), share))
    });
    Ok(FileScore {
        context,
        question,
        questions: own.questions,
        f1: own.f1,
        em: own.exact_match,
        squad_f1: squad.as_ref().map(|score| score.f1),
        squad_em: squad.as_ref().map(|score| score.exact_match),
        top_k: top_k.collect::<Result<_>>()?,
        boundary: boundaries(&dataset, &answers, rules)?,
    })
}
