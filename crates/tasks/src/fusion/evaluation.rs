//! Evaluation on question files, with each second text and with projected answers.
use std::collections::BTreeMap;
use std::path::Path;

use mlqa_eval::{Dataset, DecodeConfig, Normalization, Predictions, Score, WindowConfig, score};
use serde::{Deserialize, Serialize};
use xlmr_model::Pretrained;

use super::{
    FusedPredictor, FusedQaConfig, PairedFile, PairedText, SecondTextConfig, answer_by_projection,
};
use crate::alignment::{AlignmentConfig, AnswerAligner};
use crate::question_answering::{QaPredictor, check_decoding};
use crate::{Error, Result};

/// Options of a fused evaluation.
///
/// # Example
/// ```
/// use tasks::fusion::{FusedEvaluation, PairedText};
///
/// let config: FusedEvaluation = toml::from_str("second = [\"translation\", \"none\"]").unwrap();
/// config.validate()?;
/// assert_eq!(config.second[1], PairedText::None);
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FusedEvaluation {
    /// The second texts to evaluate.
    pub second: Vec<PairedText>,
    /// Pairs of windows per batch.
    pub batch_size: usize,
    /// Span decoding.
    pub decoding: DecodeConfig,
    /// Options for projecting answers from translations, if projection is enabled.
    pub alignment: AlignmentConfig,
}

impl Default for FusedEvaluation {
    fn default() -> Self {
        let (decoding, alignment) = (DecodeConfig::default(), AlignmentConfig::default());
        Self { second: vec![PairedText::Translation], batch_size: 64, decoding, alignment }
    }
}

/// Name of the variant in which answers are found in the translation and projected back.
const PROJECTED: &str = "projected";

impl FusedEvaluation {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if self.second.is_empty() {
            return Err(Error::config("evaluation.second", "[]", "at least one second text"));
        }
        check_decoding("evaluation", &self.decoding, self.batch_size)
    }

    /// Scores the answers to a file's questions by the rules of the file's language, for each
    /// [second text](PairedText::name).
    ///
    /// With `aligner`, the entry `projected` has the scores of answers found in the translation and
    /// projected back. Predictions are written to `out/<second text>/` under the file's name.
    ///
    /// # Errors
    /// [`Error::Eval`] naming a file that cannot be read or written, or has no gold answers;
    /// [`Error::File`] for a folder that cannot be created; the errors of [`QaPredictor::predict`].
    pub fn scores(
        &self,
        reader: &Pretrained,
        windows: &WindowConfig,
        config: &FusedQaConfig,
        file: &PairedFile,
        aligner: Option<&AnswerAligner<'_>>,
        out: &Path,
    ) -> Result<BTreeMap<String, Score>> {
        let PairedFile { language, path, translations } = file;
        let predictor = QaPredictor::new(&reader.model, &reader.tokenizer, windows)
            .with_decoding(&self.decoding)
            .with_batch_size(self.batch_size);
        let dataset = Dataset::read(path)?;
        let questions = &dataset.questions;
        let mut answers: Vec<(&str, Predictions)> = Vec::new();
        let no_text = [PairedText::None];
        let (fusion, pairing) = (config.fusion, config.pairing);
        for &text in if fusion.cross == 0 { &no_text } else { self.second.as_slice() } {
            let second = SecondTextConfig { fusion, pairing, text, translations };
            let predicted = FusedPredictor::new(predictor.clone(), second).predict(questions)?;
            answers.push((text.name(), Predictions::from(predicted.as_slice())));
        }
        if let Some(aligner) = aligner {
            let predicted = answer_by_projection(&predictor, aligner, questions, translations)?;
            answers.push((PROJECTED, predicted));
        }
        let mut scores = BTreeMap::new();
        for (variant, answers) in answers {
            let folder = out.join(variant);
            atomic_file::fs::create_dir_all(&folder)?;
            answers
                .write(folder.join(path.file_name().expect("a file that was read has a name")))?;
            let score = score(&dataset, &answers, Normalization::Mlqa(*language))?;
            scores.insert(variant.to_owned(), score);
        }
        Ok(scores)
    }
}
