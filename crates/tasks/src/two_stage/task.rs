//! Training task of the second stage, with one encoder pass for both losses.
use mlqa_eval::Window;
use objectives::{
    CandidateSpans, HardLearningWeighting, NegativeSelection, OutOfWindow, SpanConfig,
    SpanReduction, answer_contrast, hard_em_probability, hard_learning, mix_by_alpha, span,
    span_log_probs, top_k_spans,
};
use rand::Rng;
use tch::{Kind, Tensor};
use torch_ext::{to_i64, upload};
use trainer::{
    ExampleRecord, Examples, Fingerprint, FingerprintExt, GroupConfig, Step, StepLosses, Task,
    TaskError, TrainConfig,
};

use super::candidates::{Candidates, duplicate_text, gold_positions};
use super::config::{BoundaryConfig, BoundaryTerms};
use xlmr_model::Model;

use crate::question_answering::{
    WindowBatch, context_mask, fingerprint_windows, question_mask, window_lengths,
};
use crate::{Error, Result};

/// The name of the learned weights θ among the parameters.
pub(super) const WEIGHTS: &str = "hard_learning.weights";

/// Training task with the losses of *From Good to Best* (Eq. 9): `hard` or `span`, and
/// `contrastive`.
///
/// Every window must contain its gold span.
///
/// The task has no state besides its parameters: the contrasted answers are computed from the
/// hidden states of the step.
///
/// # Example
/// ```
/// use mlqa_eval::{Answer, Purpose, Question, WindowConfig, windows};
/// use tasks::two_stage::{
///     BoundaryConfig, BoundaryTask, BoundaryTerms, MiningConfig, CandidateMiner, Candidates,
/// };
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Head, Model, read_tokenizer};
///
/// let reader = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let question = Question {
///     id: "q1".into(),
///     question: "Which colour?".into(),
///     context: "It is a red house.".into(),
///     answers: vec![Answer::at(8, "red")],
///     title: "".into(),
/// };
/// let windows = windows(&[question], &tokenizer, &WindowConfig::default(), Purpose::Train)?;
///
/// let miner = CandidateMiner { model: &reader, windows: &windows, batch_size: 64 };
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("candidates.safetensors");
/// let config = MiningConfig { count: 5, ..MiningConfig::default() };
/// let (candidates, _) = Candidates::load_or_compute(&path, &miner, &config)?;
///
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let (terms, config) = (BoundaryTerms::default(), BoundaryConfig::default());
/// let mut task = BoundaryTask::new(&model, &windows, Some(&candidates), terms, &config, true)?;
/// let mut parameters = model.named_parameters();
/// parameters.extend(task.parameters()); // all trained parameters
/// let config = task.train_config(&trainer::TrainConfig::default()); // with a group for θ
/// assert_eq!(config.groups.len(), 1);
/// let rng = trainer::rng_for(0, "second stage", 0);
/// let mut step = Step::new(&[0], rng);
/// let losses = task.losses(&mut step)?;
/// losses.total.backward();
/// assert_eq!(task.slot_weights()?.unwrap().len(), 5);
/// # Ok::<(), tasks::Error>(())
/// ```
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

/// Outputs of the encoder and the span head for a batch, and the batch's gold spans.
struct Outputs<'a> {
    /// The windows of the B rows.
    windows: &'a [&'a Window],
    /// Hidden states, `[B, L, H]`.
    hidden: Tensor,
    /// Logits of the start, `[B, L]`.
    start_logits: Tensor,
    /// Logits of the end, `[B, L]`.
    end_logits: Tensor,
    /// `[B, L]` bool on the CPU: positions that are included in the softmax.
    answer_mask: Tensor,
    /// `[B]` i64 on the CPU: the gold span's first token.
    gold_starts: Tensor,
    /// `[B]` i64 on the CPU: the gold span's last token.
    gold_ends: Tensor,
}

impl<'a> BoundaryTask<'a> {
    /// Creates a task. `candidates` must be computed from `windows`; they are required only for
    /// hard learning.
    ///
    /// With `context_only` the softmax of the span head is over the context; otherwise it is over
    /// every token except padding, as in the paper's Eq. 2.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of a value that is out of range; [`Error::Data`] if the
    /// numbers of candidates and windows differ; [`Error::Loss`] or [`Error::Torch`] if the learned
    /// weights cannot be created.
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
            let expected = format!("one row for each of {} windows", windows.len());
            let Some(candidates) = candidates else {
                return Err(Error::data("candidates", expected, "none"));
            };
            let (rows, slots) = candidates.starts.size2()?;
            if rows != to_i64(windows.len()) {
                return Err(Error::data("candidates", expected, format!("{rows} rows")));
            }
            if config.hard.weighting == HardLearningWeighting::Learned {
                let theta = Tensor::f_zeros([slots], (Kind::Float, model.device()))?;
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
            lengths: window_lengths(windows),
        })
    }

    /// Returns the name and the tensor of θ, if the weights are learned. θ is trained together with
    /// the model's parameters.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let weights = self.weights.as_ref().map(Tensor::shallow_clone);
        weights.map(|weights| (WEIGHTS.to_owned(), weights)).into_iter().collect()
    }

    /// Returns `config` with a parameter group for θ, if the weights are learned. The group has
    /// [`BoundaryConfig::weights_learning_rate`] and no weight decay.
    pub fn train_config(&self, config: &TrainConfig) -> TrainConfig {
        let mut config = config.clone();
        if self.weights.is_some() {
            let weights = GroupConfig {
                prefixes: vec![WEIGHTS.into()],
                roles: Vec::new(),
                learning_rate: self.config.weights_learning_rate,
                weight_decay: Some(0.0),
                frozen: false,
            };
            config.groups.insert(0, weights);
        }
        config
    }

    /// Returns `softmax(θ)`, the weight of each candidate slot, if the weights are learned.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch fails.
    pub fn slot_weights(&self) -> Result<Option<Vec<f64>>> {
        let Some(theta) = &self.weights else { return Ok(None) };
        Ok(Some(Vec::<f64>::try_from(theta.f_detach()?.f_softmax(0, Kind::Double)?)?))
    }

    fn encode<'w>(&self, windows: &'w [&'w Window]) -> Result<Outputs<'w>> {
        let batch = WindowBatch::new(windows, self.context_only, self.model)?;
        let hidden = self.model.encode(&batch.inputs, true)?;
        let (start_logits, end_logits) = self.model.span_logits(&hidden, true)?;
        let (gold_starts, gold_ends) = gold_positions(windows)?;
        let answer_mask = batch.answer_mask;
        Ok(Outputs {
            windows,
            hidden,
            start_logits,
            end_logits,
            answer_mask,
            gold_starts,
            gold_ends,
        })
    }

    /// Computes L_hard (Eq. 5) over the candidates of the batch.
    fn hard_loss(&self, batch: &Outputs<'_>, step: &mut Step<'_>) -> Result<Tensor> {
        let candidates = self.candidates.expect("hard learning has candidates");
        let rows: Vec<i64> = step.batch.iter().copied().map(to_i64).collect();
        let rows = Tensor::f_from_slice(&rows)?;
        // The rows are selected on the CPU, so that the losses can validate the candidates without
        // a GPU synchronisation.
        let select_rows = |tensor: &Tensor| tensor.f_index_select(0, &rows);
        let mut config = self.config.hard.clone();
        if config.weighting == HardLearningWeighting::HardEm {
            let probability = hard_em_probability(step.batch_index, self.config.anneal_steps);
            if step.rng.random::<f64>() >= probability {
                config.weighting = HardLearningWeighting::Mml;
            }
        }
        let log_probs = span_log_probs(
            &batch.start_logits,
            &batch.end_logits,
            &select_rows(&candidates.starts)?,
            &select_rows(&candidates.ends)?,
            Some(&batch.answer_mask),
        )?;
        let (valid, gold) = (select_rows(&candidates.valid)?, select_rows(&candidates.gold_index)?);
        Ok(hard_learning(&log_probs, &valid, Some(&gold), self.weights.as_ref(), &config)?)
    }

    /// Computes L_mrc (Eq. 3).
    fn span_loss(&self, batch: &Outputs<'_>) -> Result<Tensor> {
        let (reduction, out_of_window) = (SpanReduction::Sum, OutOfWindow::Reject);
        let config = SpanConfig { reduction, out_of_window };
        let (starts, ends) = (&batch.gold_starts, &batch.gold_ends);
        let mask = Some(&batch.answer_mask);
        Ok(span(&batch.start_logits, &batch.end_logits, starts, ends, mask, &config)?)
    }

    /// Computes L_con (Eq. 8); `None` if the batch has no negatives.
    fn contrastive_loss(&self, batch: &Outputs<'_>, step: &mut Step<'_>) -> Result<Option<Tensor>> {
        let device = batch.hidden.device();
        let context = context_mask(batch.windows)?;
        let (start, end) = (&batch.start_logits, &batch.end_logits);
        let mut answers = top_k_spans(start, end, Some(&context), &self.config.answers)?;
        if self.config.drop_duplicate_text {
            let duplicates = duplicate_text(batch.windows, &CandidateSpans::from(&answers))?;
            let not_duplicates = upload(&duplicates.f_logical_not()?, device)?;
            answers.valid = answers.valid.f_logical_and(&not_duplicates)?;
        }
        let question = question_mask(batch.windows)?;
        let mut config = self.config.contrast.clone();
        if let NegativeSelection::Random { seed } = &mut config.selection {
            *seed ^= step.rng.random::<u64>();
        }
        let loss = answer_contrast(
            &batch.hidden,
            &question,
            &batch.gold_starts,
            &batch.gold_ends,
            &CandidateSpans::from(&answers),
            &config,
        );
        match loss {
            Ok(loss) => Ok(Some(loss)),
            Err(objectives::Error::Empty { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Computes α L_con + (1 − α) L_hard (Eq. 9), or only one of the two losses if the other loss
    /// is disabled.
    fn joint_losses(&self, batch: &Outputs<'_>, step: &mut Step<'_>) -> Result<StepLosses> {
        let BoundaryTerms { mut hard_learning, mut answer_contrast } = self.terms;
        if let (true, true, Some(fraction)) =
            (hard_learning, answer_contrast, self.config.hard_fraction)
        {
            let is_hard_phase = (step.batch_index as f64) < fraction * step.batch_count as f64;
            (hard_learning, answer_contrast) = (is_hard_phase, !is_hard_phase);
        }
        let (name, boundary_loss) = match hard_learning {
            true => ("hard", self.hard_loss(batch, step)?),
            false => ("span", self.span_loss(batch)?),
        };
        let contrast = match answer_contrast {
            true => self.contrastive_loss(batch, step)?,
            false => None,
        };
        let Some(contrast) = contrast else { return Ok(StepLosses::single(name, boundary_loss)) };
        let total = mix_by_alpha(&contrast, &boundary_loss, self.config.alpha)?;
        let parts = vec![("contrastive", contrast.f_detach()?), (name, boundary_loss.f_detach()?)];
        Ok(StepLosses { total, parts, tokens: None, is_accumulated: false })
    }
}

impl Task for BoundaryTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint
            .add_json("terms", &self.terms)
            .add_json("config", &self.config)
            .add_json("context_only", &self.context_only);
        fingerprint_windows(fingerprint, self.windows);
        if let Some(candidates) = self.candidates {
            let Candidates { starts, ends, valid, gold_index, .. } = candidates;
            fingerprint
                .add_tensor("starts", starts)
                .add_tensor("ends", ends)
                .add_tensor("valid", valid)
                .add_tensor("gold_index", gold_index);
        }
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.windows[index].input_ids.clone() }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let windows: Vec<&Window> = step.batch.iter().map(|&k| &self.windows[k]).collect();
        let encoded = self.encode(&windows)?;
        Ok(self.joint_losses(&encoded, step)?)
    }
}
