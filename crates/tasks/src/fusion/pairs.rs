//! Pairs of windows of questions and their translations.
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use mlqa_eval::{Purpose, Question, UnanswerableWindow, Window, WindowConfig, windows};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::WindowPairing;
use crate::{Error, Result};

/// Windows of questions and of their translations, and the pairs of windows.
#[derive(Clone, Debug)]
pub(super) struct WindowPairs {
    /// Windows of the questions.
    pub(super) target: Vec<Window>,
    /// Windows of the translations.
    pub(super) source: Vec<Window>,
    /// Indices into `target` and `source`, in the order of the questions.
    pub(super) pairs: Vec<(usize, usize)>,
}

/// Counts of pairs of windows in a training set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct PairCounts {
    /// All pairs.
    pub pairs: usize,
    /// Pairs with the answer in both halves.
    pub both: usize,
    /// Pairs with the answer in the target half only.
    pub target_alone: usize,
    /// Pairs with the answer in the source half only.
    pub source_alone: usize,
}

impl Display for PairCounts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { pairs, both, target_alone, source_alone } = self;
        let pairs_with_target = (both + target_alone).max(1);
        write!(
            f,
            "{pairs} pairs of windows; the answer is in both halves of {both}, in the target half \
             only of {target_alone} ({:.0} % of the pairs with it in the target half), in the \
             source half only of {source_alone}",
            100.0 * *target_alone as f64 / pairs_with_target as f64
        )
    }
}

impl WindowPairs {
    /// Splits `target` and `source` into windows and pairs them. Questions with equal indices are
    /// translations of each other. Windows without the answer are never dropped; the
    /// [`unanswerable_window`](WindowConfig::unanswerable_window) of `config` is ignored.
    ///
    /// # Errors
    /// [`Error::Data`] if the numbers of questions differ; the errors of
    /// [`windows`](mlqa_eval::windows()) as [`Error::Eval`].
    pub(super) fn new(
        target: &[Question],
        source: &[Question],
        tokenizer: &Tokenizer,
        config: &WindowConfig,
        pairing: WindowPairing,
        purpose: Purpose,
    ) -> Result<Self> {
        if target.len() != source.len() {
            let expected = format!("{}, one for each question", target.len());
            return Err(Error::data("translations", expected, source.len()));
        }
        let config =
            WindowConfig { unanswerable_window: UnanswerableWindow::Cls, ..config.clone() };
        let split = |questions: &[Question]| windows(questions, tokenizer, &config, purpose);
        let count = target.len();
        let (target, source) = (split(target)?, split(source)?);
        let mut pairs = Vec::new();
        for (targets, sources) in
            windows_by_question(&target, count).zip(windows_by_question(&source, count))
        {
            match pairing {
                WindowPairing::ByNumber => {
                    // A question without windows has no pairs.
                    if targets.is_empty() || sources.is_empty() {
                        continue;
                    }
                    let window_or_last =
                        |range: &Range<usize>, k: usize| (range.start + k).min(range.end - 1);
                    let pair_count = targets.len().max(sources.len());
                    pairs.extend(
                        (0..pair_count)
                            .map(|k| (window_or_last(&targets, k), window_or_last(&sources, k))),
                    );
                }
                WindowPairing::AllPairs => pairs.extend(
                    targets.flat_map(|target| sources.clone().map(move |source| (target, source))),
                ),
            }
        }
        Ok(Self { target, source, pairs })
    }

    /// Returns the target and source windows of a pair.
    pub(super) fn get(&self, pair: usize) -> (&Window, &Window) {
        let (target, source) = self.pairs[pair];
        (&self.target[target], &self.source[source])
    }

    /// Iterates over the target and source windows of all pairs, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Window, &Window)> {
        (0..self.pairs.len()).map(|pair| self.get(pair))
    }

    /// Returns the number of tokens of each pair: the sum over its two halves.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.iter()
            .map(|(target, source)| target.input_ids.len() + source.input_ids.len())
            .collect()
    }

    /// Counts training pairs by the halves that contain the answer.
    pub(super) fn counts(&self) -> PairCounts {
        let mut counts = PairCounts { pairs: self.pairs.len(), ..PairCounts::default() };
        for (target, source) in self.iter() {
            match (contains_answer(target), contains_answer(source)) {
                (true, true) => counts.both += 1,
                (true, false) => counts.target_alone += 1,
                (false, true) => counts.source_alone += 1,
                (false, false) => {}
            }
        }
        counts
    }
}

/// Returns whether a training window contains the question's complete answer; other windows are
/// labelled with `<s>`.
pub(super) fn contains_answer(window: &Window) -> bool {
    window.start_position.is_some_and(|start| start > 0)
}

/// Returns the range of windows of each question; the windows of a question are consecutive.
fn windows_by_question(windows: &[Window], count: usize) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    (0..count).map(move |question| {
        let remaining = &windows[next..];
        let window_count =
            remaining.iter().take_while(|window| window.question == question).count();
        next += window_count;
        next - window_count..next
    })
}
