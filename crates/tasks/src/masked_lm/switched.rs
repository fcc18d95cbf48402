//! Training tasks per language, and the languages' shares of the batches.
use kg_triples::Language;
use serde::{Deserialize, Serialize};
use trainer::TaskError;
use trainer::selection::{CheckpointSelection, Scores};

use super::PhraseMaskingTask;
use crate::{Error, Result};

/// The sentences of one language as a training task.
pub struct LanguageTask<'a> {
    /// The language of the texts; for code-switched texts, the language of the inserted labels.
    pub language: Language,
    /// Number of windows for texts in memory, number of texts for streams.
    pub examples: usize,
    /// The task.
    pub task: PhraseMaskingTask<'a>,
}

/// Creates a selection rule for the model with the lowest perplexity.
///
/// The perplexity is the exponential of the mean loss in nats, averaged over languages (see
/// [`PhraseMaskingTask::mean_loss`]), on sentences in memory; `None` without such sentences.
pub fn lowest_perplexity<'a>(
    sentences: &'a [LanguageTask<'_>],
    seed: u64,
    batch_size: usize,
) -> Option<CheckpointSelection<'a>> {
    let names = sentences.iter().map(|task| task.language.to_string());
    let score = move || {
        let loss = |task: &LanguageTask<'_>| {
            Ok((task.language.to_string(), task.task.mean_loss(seed, batch_size)?))
        };
        sentences.iter().map(loss).collect::<std::result::Result<Scores, TaskError>>()
    };
    let rule = "lowest mean loss".to_owned();
    (!sentences.is_empty())
        .then(|| CheckpointSelection { rule, ..CheckpointSelection::lowest_mean(names, score) })
}

/// Shares of the languages among monolingual batches.
///
/// # Example
/// ```
/// use tasks::masked_lm::LanguageShares;
///
/// let shares = LanguageShares { smoothing: 0.5, batches_per_round: 10 };
/// assert_eq!(shares.batches(&[400, 100]), [7, 3]); // weights 20 and 10
/// assert_eq!(shares.batches(&[1_000_000, 1]), [10, 1]);
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageShares {
    /// Exponent of the number of sentences: a language with n sentences has a share proportional to
    /// n^smoothing.
    pub smoothing: f64,
    /// Batches per round; each language has at least one.
    pub batches_per_round: u32,
}

impl Default for LanguageShares {
    fn default() -> Self {
        Self { smoothing: 0.5, batches_per_round: 100 }
    }
}

impl LanguageShares {
    /// Validates every key.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(Error::config("smoothing", self.smoothing, "from 0 to 1"));
        }
        if self.batches_per_round == 0 {
            return Err(Error::config("batches_per_round", 0, "1 or more"));
        }
        Ok(())
    }

    /// Returns the number of batches per language in a round, proportional to n^smoothing for n
    /// sentences.
    pub fn batches(&self, sizes: &[usize]) -> Vec<u32> {
        let weight = |size: usize| (size as f64).powf(self.smoothing);
        let total: f64 = sizes.iter().map(|&size| weight(size)).sum();
        let share = |size: usize| f64::from(self.batches_per_round) * weight(size) / total;
        sizes.iter().map(|&size| (share(size).round() as u32).max(1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_shares_are_rejected() {
        assert!(LanguageShares::default().validate().is_ok());
        let error_of = |shares: LanguageShares| shares.validate().unwrap_err().to_string();
        let error = error_of(LanguageShares { smoothing: 1.5, ..Default::default() });
        assert!(error.contains("smoothing = 1.5"), "{error}");
        let error = error_of(LanguageShares { batches_per_round: 0, ..Default::default() });
        assert!(error.contains("batches_per_round = 0"), "{error}");
    }
}
