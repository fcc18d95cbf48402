//! The second stage as a training task: hard learning and answer-aware contrast over one pass of the encoder.
use anyhow::{Result, ensure};
use mlqa_eval::Window;
use objectives::tch::Tensor;
use objectives::{
    CandidateSpans, HardLearningWeighting, LossError, NegativeSelection, OutOfWindow, SpanConfig,
    SpanReduction, answer_contrast, hard_em_probability, hard_learning, initial_weights,
    mix_by_alpha, span, span_log_probs, top_k_spans,
};
use rand::Rng;
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use xlmr_model::Model;

use super::candidates::{Candidates, context_mask, gold_positions, mask, text_equal, window_batch};
use super::config::{BoundaryConfig, BoundaryTerms};
use crate::reading::question_end;

/// The name of the learned weights θ among the parameters.
pub const WEIGHTS: &str = "hard_learning.weights";

/// Training windows, each with its gold span, and the losses of *From Good to Best* (Eq. 9) over them.
///
/// Keeps no state beside its parameters: the answers to contrast with come from the step's own pass.
pub struct BoundaryTask<'a> {
    model: &'a Model,
    windows: &'a [Window],
    candidates: Option<&'a Candidates>,
    terms: BoundaryTerms,
    config: BoundaryConfig,
    context_only: bool,
    /// θ, `[K]`.
    weights: Option<Tensor>,
    lengths: Vec<usize>,
}

/// One batch after the encoder.
struct Encoded<'a> {
    windows: &'a [&'a Window],
    hidden: Tensor,
    start_logits: Tensor,
    end_logits: Tensor,
    /// Where the softmax runs.
    answerable: Tensor,
    gold_starts: Tensor,
    gold_ends: Tensor,
}

impl<'a> BoundaryTask<'a> {
    /// `candidates` are those of `windows`, needed for hard learning alone.
    ///
    /// With `context_only` the softmax of the span head runs over the context, otherwise over every token but padding, as the paper's
    /// Eq. 2.
    ///
    /// # Errors
    /// Naming the key of a value that cannot be used, or if the candidates are not those of the windows.
    pub fn new(
        model: &'a Model,
        windows: &'a [Window],
        candidates: Option<&'a Candidates>,
        terms: BoundaryTerms,
        config: &BoundaryConfig,
        context_only: bool,
    ) -> Result<Self> {
        config.validate()?;
        let mut weights = None;
        if terms.hard_learning {
            let rows = candidates.map_or(0, |all| all.report.windows);
            ensure!(rows == windows.len(), "candidates of {rows} windows, not {}", windows.len());
            let learned = matches!(
                config.hard.weighting,
                HardLearningWeighting::Learned | HardLearningWeighting::Literal
            );
            let slots = candidates.map_or(0, Candidates::slots);
            if learned {
                let theta = initial_weights(slots, config.initial_weights, model.device())?;
                weights = Some(theta.f_set_requires_grad(true)?);
            }
        }
        Ok(Self {
            model,
            windows,
            candidates,
            terms,
            config: config.clone(),
            context_only,
            weights,
            lengths: windows.iter().map(|window| window.input_ids.len()).collect(),
        })
    }

    /// θ under its name, where it is learned; to be trained beside the model's parameters.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let weights = self.weights.as_ref().map(Tensor::shallow_clone);
        weights.map(|weights| (WEIGHTS.to_owned(), weights)).into_iter().collect()
    }

    /// `softmax(θ)`, what each slot weighs, where it is learned.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn slot_weights(&self) -> Result<Option<Vec<f64>>> {
        let shares = |theta: &Tensor| -> Result<Vec<f64>> {
            Ok(Vec::<f64>::try_from(theta.f_detach()?.f_softmax(0, tch::Kind::Double)?)?)
        };
        self.weights.as_ref().map(shares).transpose()
    }

    /// L_hard, over the candidates of the batch.
    fn hard(&self, batch: &Encoded<'_>, step: &mut Step<'_>) -> Result<Tensor> {
        let Some(all) = self.candidates else { anyhow::bail!("hard learning without candidates") };
        let rows: Vec<i64> =
            step.batch.iter().map(|&k| i64::try_from(k)).collect::<Result<_, _>>()?;
        let rows = Tensor::f_from_slice(&rows)?;
        let device = batch.hidden.device();
        let own = |tensor: &Tensor| tensor.f_index_select(0, &rows)?.f_to_device(device);
        let mut config = self.config.hard.clone();
        if config.weighting == HardLearningWeighting::HardEm {
            let chance = hard_em_probability(step.number, self.config.anneal_steps);
            if step.rng.random::<f64>() >= chance {
                config.weighting = HardLearningWeighting::Mml;
            }
        }
        let log_probs = span_log_probs(
            &batch.start_logits,
            &batch.end_logits,
            &own(&all.starts)?,
            &own(&all.ends)?,
            Some(&batch.answerable),
            config.checks,
        )?;
        let (valid, gold) = (own(&all.valid)?, own(&all.gold_index)?);
        Ok(hard_learning(&log_probs, &valid, Some(&gold), self.weights.as_ref(), &config)?)
    }

    /// L_mrc (Eq. 3).
    fn span(&self, batch: &Encoded<'_>) -> Result<Tensor> {
        let config = SpanConfig {
            reduction: SpanReduction::Sum,
            out_of_window: OutOfWindow::Reject,
            checks: self.config.hard.checks,
        };
        let (starts, ends) = (&batch.gold_starts, &batch.gold_ends);
        let mask = Some(&batch.answerable);
        Ok(span(&batch.start_logits, &batch.end_logits, starts, ends, mask, &config)?)
    }

    /// L_con; none where the batch holds nothing to contrast with.
    fn contrast(&self, batch: &Encoded<'_>, step: &mut Step<'_>) -> Result<Option<Tensor>> {
        let device = batch.hidden.device();
        let context = context_mask(batch.windows)?.f_to_device(device)?;
        let (start, end) = (&batch.start_logits, &batch.end_logits);
        let mut answers = top_k_spans(start, end, Some(&context), &self.config.answers)?;
        if self.config.drop_text_equal {
            let same = text_equal(batch.windows, &CandidateSpans::from(&answers))?;
            let other = same.f_logical_not()?.f_to_device(device)?;
            answers.valid = answers.valid.f_logical_and(&other)?;
        }
        let question = mask(batch.windows, |window, k| (1..question_end(window)).contains(&k))?;
        let mut config = self.config.contrast.clone();
        if let NegativeSelection::Random { seed } = &mut config.selection {
            *seed ^= step.rng.random::<u64>();
        }
        let loss = answer_contrast(
            &batch.hidden,
            &question.f_to_device(device)?,
            &batch.gold_starts,
            &batch.gold_ends,
            &CandidateSpans::from(&answers),
            &config,
        );
        match loss {
            Ok(loss) => Ok(Some(loss)),
            Err(LossError::Empty { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn joint(&self, batch: &Encoded<'_>, step: &mut Step<'_>) -> Result<StepLosses> {
        let BoundaryTerms { mut hard_learning, mut answer_contrast } = self.terms;
        if let (true, true, Some(share)) = (hard_learning, answer_contrast, self.config.hard_share)
        {
            let first = (step.number as f64) < share * step.total as f64;
            (hard_learning, answer_contrast) = (first, !first);
        }
        let (name, side) = match hard_learning {
            true => ("hard", self.hard(batch, step)?),
            false => ("span", self.span(batch)?),
        };
        let contrast = match answer_contrast {
            true => self.contrast(batch, step)?,
            false => None,
        };
        let Some(contrast) = contrast else { return Ok(StepLosses::single(name, side)) };
        let mixed = mix_by_alpha(&contrast, &side, self.config.alpha)?;
        let parts = vec![("contrastive", contrast.f_detach()?), (name, side.f_detach()?)];
        Ok(StepLosses { total: mixed.total, parts, tokens: None, accumulated: false })
    }
}

impl Task for BoundaryTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint
            .serialize("terms", &self.terms)
            .serialize("config", &self.config)
            .serialize("context_only", &self.context_only);
        for window in self.windows {
            let positions = (window.context_start, window.start_position, window.end_position);
            fingerprint.ids("input_ids", &window.input_ids).serialize("positions", &positions);
        }
        if let Some(candidates) = self.candidates {
            let Candidates { starts, ends, valid, gold_index, .. } = candidates;
            fingerprint
                .tensor("starts", starts)
                .tensor("ends", ends)
                .tensor("valid", valid)
                .tensor("gold_index", gold_index);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let windows: Vec<&Window> =
            step.batch.iter().filter_map(|&k| self.windows.get(k)).collect();
        let batch = window_batch(&windows, self.context_only, self.model)?;
        let hidden = self.model.encode(&batch.inputs(), true)?;
        let (start_logits, end_logits) = self.model.span_logits(&hidden)?;
        let device = hidden.device();
        let (gold_starts, gold_ends) = gold_positions(&windows)?;
        let encoded = Encoded {
            windows: &windows,
            answerable: batch.answerable.f_to_device(device)?,
            gold_starts: gold_starts.f_to_device(device)?,
            gold_ends: gold_ends.f_to_device(device)?,
            hidden,
            start_logits,
            end_logits,
        };
        Ok(self.joint(&encoded, step)?)
    }
}
