//! How XLM-K fine-tunes and chooses what it reports.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One number for each language, in percent.
pub type Scores = BTreeMap<String, f64>;

/// Which development sets choose the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The mean over all languages, as the paper: its zero-shot results have seen the other
    /// languages' development sets.
    #[default]
    AllLanguages,
    /// English alone, which keeps the transfer zero-shot.
    EnglishOnly,
}

/// Fine-tuning on one task (Jiang et al. 2022, section 4.1). The optimiser is Adam with linear
/// decay.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// Passes over the English training set; the development sets are scored after each.
    pub epochs: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Examples in a step.
    pub batch_size: usize,
    /// Pieces of an input. Reading: from the fine-tuning scripts that the authors point to.
    pub max_length: usize,
    /// Share of the steps with rising learning rate. Reading: the paper has "warm-up" and no size;
    /// 0.1 here.
    pub warmup_ratio: f64,
    /// A run each. The paper has four seeds and does not name them.
    pub seeds: Vec<u64>,
    /// What chooses the epoch.
    pub selection: Selection,
}

impl Default for Protocol {
    /// [`Protocol::mlqa`].
    fn default() -> Self {
        Self::mlqa()
    }
}

impl Protocol {
    fn with(epochs: u64, learning_rate: f64, batch_size: usize, max_length: usize) -> Self {
        Self {
            epochs,
            learning_rate,
            batch_size,
            max_length,
            warmup_ratio: 0.1,
            seeds: vec![0, 1, 2, 3],
            selection: Selection::AllLanguages,
        }
    }

    /// MLQA: 2 epochs at 3e-5, batches of 12.
    pub fn mlqa() -> Self {
        Self::with(2, 3e-5, 12, 384)
    }

    /// NER: 20 epochs at 5e-6, batches of 32.
    pub fn ner() -> Self {
        Self::with(20, 5e-6, 32, 256)
    }

    /// XNLI: 10 epochs at 5e-6, batches of 32.
    pub fn xnli() -> Self {
        Self::with(10, 5e-6, 32, 256)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value out of range.
    pub fn validate(&self) -> Result<()> {
        let rule = |ok: bool, key: &'static str, value: String, rule: &str| {
            if ok { Ok(()) } else { Err(Error::Config { key, value, rule: rule.into() }) }
        };
        let Self { learning_rate, warmup_ratio, .. } = *self;
        rule(self.epochs > 0, "epochs", self.epochs.to_string(), "at least 1")?;
        let rate = learning_rate.is_finite() && learning_rate > 0.0;
        rule(rate, "learning_rate", learning_rate.to_string(), "finite and above 0")?;
        rule(self.batch_size > 0, "batch_size", self.batch_size.to_string(), "at least 1")?;
        rule(self.max_length > 4, "max_length", self.max_length.to_string(), "at least 5")?;
        let share = (0.0..=1.0).contains(&warmup_ratio);
        rule(share, "warmup_ratio", warmup_ratio.to_string(), "from 0 to 1")?;
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        seeds.dedup();
        let distinct = !seeds.is_empty() && seeds.len() == self.seeds.len();
        rule(distinct, "seeds", format!("{:?}", self.seeds), "at least one, none of them twice")
    }

    /// The index of the best epoch by its scores on the development sets; the first of equals.
    ///
    /// # Errors
    /// As for [`select_epoch`].
    pub fn select_epoch(&self, epochs: &[Scores]) -> Result<usize> {
        select_epoch(epochs, self.selection)
    }
}

/// The index of the epoch with the best development score; the first of equals.
///
/// ```
/// use transfer_eval::{Scores, Selection, select_epoch};
///
/// let epoch = |en, de| Scores::from([("en".to_owned(), en), ("de".to_owned(), de)]);
/// let epochs = [epoch(80.0, 60.0), epoch(82.0, 57.0), epoch(79.0, 63.0)];
/// assert_eq!(select_epoch(&epochs, Selection::AllLanguages)?, 2);
/// assert_eq!(select_epoch(&epochs, Selection::EnglishOnly)?, 1);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Nothing`] without an epoch or a language; [`Error::Mismatch`] naming the epoch if its
/// languages are not those of the first, a score is not finite, or English is selected by and
/// missing.
pub fn select_epoch(epochs: &[Scores], selection: Selection) -> Result<usize> {
    let mut best: Option<(f64, usize)> = None;
    let first = epochs.first().ok_or(Error::Nothing { what: "epoch" })?;
    for (k, scores) in epochs.iter().enumerate() {
        let wrong =
            |message: String| Error::Mismatch { what: "epoch", index: k + 1, line: None, message };
        same_keys(first, scores).map_err(wrong)?;
        let score = match selection {
            Selection::AllLanguages => mean(scores).ok_or(Error::Nothing { what: "language" })?,
            Selection::EnglishOnly => {
                scores.get("en").copied().ok_or_else(|| wrong("no score for `en`".into()))?
            }
        };
        if best.is_none_or(|(before, _)| score > before) {
            best = Some((score, k));
        }
    }
    best.map(|(_, k)| k).ok_or(Error::Nothing { what: "epoch" })
}

/// What is wrong with scores that should have the languages of the first ones.
pub(crate) fn same_keys(first: &Scores, scores: &Scores) -> Result<(), String> {
    if let Some((language, value)) = scores.iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("the score of `{language}` is {value}"));
    }
    if first.keys().ne(scores.keys()) {
        let list = |scores: &Scores| scores.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(format!("languages {}, but the first has {}", list(scores), list(first)));
    }
    Ok(())
}

/// The plain mean over languages, the papers' "Avg"; `None` without any.
pub fn mean(scores: &Scores) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.values().sum::<f64>() / scores.len() as f64)
}
