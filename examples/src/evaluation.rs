//! A model's answers to a folder of question files, scored as MLQA is.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mlqa_eval::{
    Cell, Dataset, DatasetName, DecodeConfig, Language, Matrix, NBest, Normalization, Predictions,
    Purpose, Question, Window, WindowConfig, decode, score, windows,
};
use ndarray::Array1;
use objectives::tch::{Kind, Tensor, no_grad};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use xlmr_model::Model;

use crate::reading::Batch;

/// What is evaluated, and how answers are chosen.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// The split in the file names: `dev` or `test`.
    pub split: String,
    /// Languages of the context.
    pub contexts: Vec<String>,
    /// Windows in a batch.
    pub batch_size: usize,
    /// Span decoding.
    pub decoding: DecodeConfig,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            split: "test".into(),
            contexts: vec!["en".into()],
            batch_size: 64,
            decoding: DecodeConfig::default(),
        }
    }
}

/// The file of one pair of languages below `folder`.
pub fn question_file(folder: &Path, split: &str, context: Language, question: Language) -> PathBuf {
    let name = DatasetName { split: split.to_owned(), context, question };
    folder.join(name.to_string())
}

/// A model with its tokenizer, ready to answer.
pub struct Reader<'a> {
    /// Encoder and span head.
    pub model: &'a Model,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// How contexts are cut.
    pub windows: &'a WindowConfig,
}

impl Reader<'_> {
    /// The n-best answers to each question.
    ///
    /// # Errors
    /// If a question leaves no room for its context or the model fails.
    pub fn answer(
        &self,
        questions: &[Question],
        config: &DecodeConfig,
        batch_size: usize,
    ) -> Result<Vec<NBest>> {
        let all = windows(questions, self.tokenizer, self.windows, Purpose::Eval)?;
        // Like lengths together, to save padding; results go back to their places.
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|&k| all.get(k).map(|window| window.input_ids.len()));
        let mut logits: Vec<(Array1<f32>, Array1<f32>)> = vec![Default::default(); all.len()];
        for batch in order.chunks(batch_size.max(1)) {
            let chosen: Vec<&Window> = batch.iter().filter_map(|&k| all.get(k)).collect();
            for (&place, row) in batch.iter().zip(self.logits(&chosen)?) {
                if let Some(slot) = logits.get_mut(place) {
                    *slot = row;
                }
            }
        }
        let (starts, ends): (Vec<_>, Vec<_>) = logits.into_iter().unzip();
        Ok(decode(questions, &all, &starts, &ends, config)?)
    }

    /// Start and end logits of windows, each `[L]` with padding.
    fn logits(&self, chosen: &[&Window]) -> Result<Vec<(Array1<f32>, Array1<f32>)>> {
        let ids: Vec<Vec<i64>> = chosen
            .iter()
            .map(|window| window.input_ids.iter().map(|&id| i64::from(id)).collect())
            .collect();
        let ids: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
        let batch = Batch::new(&ids, chosen, true, self.model)?;
        let (starts, ends) = no_grad(|| -> Result<(Tensor, Tensor)> {
            let hidden = self.model.encode(&batch.inputs(), false)?;
            Ok(self.model.span_logits(&hidden)?)
        })?;
        let rows = |logits: &Tensor| -> Result<Vec<Vec<f32>>> {
            Ok(Vec::<Vec<f32>>::try_from(&logits.f_to_kind(Kind::Float)?.f_to(tch::Device::Cpu)?)?)
        };
        Ok(rows(&starts)?
            .into_iter()
            .zip(rows(&ends)?)
            .map(|(start, end)| (Array1::from(start), Array1::from(end)))
            .collect())
    }
}

/// Answers every file of `folder` whose languages are asked for, writes predictions below `out`, and scores them with
/// the context language's normalisation.
///
/// # Errors
/// Naming the file that is missing, or a dataset, model or write error.
pub fn evaluate(
    reader: &Reader<'_>,
    config: &EvaluationConfig,
    folder: &Path,
    languages: &[String],
    out: &Path,
    title: &str,
) -> Result<Matrix> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut matrix = Matrix::new(title);
    for context in &config.contexts {
        if !languages.contains(context) {
            continue;
        }
        for question in languages {
            let (context, question): (Language, Language) = (context.parse()?, question.parse()?);
            let path = question_file(folder, &config.split, context, question);
            let dataset = Dataset::read(&path)?;
            let answers = reader.answer(&dataset.questions, &config.decoding, config.batch_size)?;
            let predictions = Predictions::from(answers.as_slice());
            predictions.write(question_file(out, &config.split, context, question))?;
            let score = score(&dataset, &predictions, Normalization::Mlqa(context))?;
            matrix.insert(context, question, Cell::from(&score));
        }
    }
    Ok(matrix)
}
