//! Masking of passages: knowledge phrases (LAKM) or mentions (EntityCS).
use std::ops::Range;

use kg_triples::phrases::{PassageExample, PhrasePassage, SpecialIds, encode_passages};
use objectives::masking::{
    MaskedExample, MaskingVocab, entity_prediction_masking, mlm_masking, ngram_masking,
    phrase_masking,
};
use objectives::{MaskedLmConfig, MaskedLmReduction};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor, no_grad};
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError, rng_for};
use xlmr_model::{Inputs, Model, Pretrained, SpecialTokens};

use super::{LossPositions, PassageMasking, PhraseTaskConfig, loss_from_hidden, masking_vocab};
use crate::micro_batches::losses;
use crate::shard_examples::ShardExamples;
use crate::{Error, Result};

/// Training task of language-agnostic knowledge phrase masking (LAKM, Yuan et al. 2020, §3.2 and
/// Eq. 2).
///
/// Passages contain phrases that queries and result titles share; masking these phrases trains a
/// reader on phrase boundaries. The model needs a masked-LM head.
///
/// With [`PassageMasking::Mentions`] this is the task of EntityCS (Whitehouse et al. 2022): the
/// mentions in code-switched sentences ([`kg_triples::switch`]) are predicted.
///
/// The loss is the mean over the batch's selected tokens, in nats, unless `loss.reduction` is set;
/// it is logged as `mlm`. A batch without a selected token has a loss of 0.
///
/// # Example
/// ```
/// use kg_triples::Language;
/// use kg_triples::phrases::PassageExample;
/// use tasks::masked_lm::{PhraseMaskingTask, PhraseTaskConfig};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Head, Model, SpecialTokens};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let specials = SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 };
/// let passage = PassageExample {
///     language: Language::new("en")?,
///     input_ids: vec![0, 11, 12, 13, 14, 15, 2],
///     phrases: vec![2..4],
/// };
/// let config = PhraseTaskConfig::default();
/// let mut task = PhraseMaskingTask::new(&model, specials, vec![passage], &config)?;
/// let rng = trainer::rng_for(0, "lakm", 0);
/// let mut step = Step::new(&[0], rng);
/// let losses = task.losses(&mut step)?;
/// assert_eq!(losses.parts[0].0, "mlm");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct PhraseMaskingTask<'a> {
    model: &'a Model,
    passages: ShardExamples<PassageExample>,
    config: PhraseTaskConfig,
    vocab: MaskingVocab,
}

impl<'a> PhraseMaskingTask<'a> {
    /// Creates a task from examples encoded with the model's tokenizer; see
    /// [`encode_passages`](kg_triples::phrases::encode_passages).
    ///
    /// # Errors
    /// [`Error::Empty`] if there is no example; [`Error::Masking`] if every id of the
    /// vocabulary is a special token.
    pub fn new(
        model: &'a Model,
        specials: SpecialTokens,
        examples: Vec<PassageExample>,
        config: &PhraseTaskConfig,
    ) -> Result<Self> {
        let tokens = |example: &PassageExample| example.input_ids.len();
        Self::from_examples(model, specials, ShardExamples::in_memory(examples, tokens), config)
    }

    fn from_examples(
        model: &'a Model,
        specials: SpecialTokens,
        passages: ShardExamples<PassageExample>,
        config: &PhraseTaskConfig,
    ) -> Result<Self> {
        if matches!(&passages, ShardExamples::InMemory(examples, _) if examples.is_empty()) {
            return Err(Error::empty("passage with a phrase to train on"));
        }
        let vocab = masking_vocab(model, specials)?;
        Ok(Self { model, passages, config: config.clone(), vocab })
    }

    /// Creates a task from passages, which are split into windows of at most `max_length` tokens,
    /// including special tokens.
    ///
    /// # Errors
    /// The errors of [`encode_passages`] and [`PhraseMaskingTask::new`].
    pub fn from_passages(
        base: &'a Pretrained,
        passages: &[PhrasePassage],
        max_length: usize,
        config: &PhraseTaskConfig,
    ) -> Result<Self> {
        let SpecialTokens { bos, eos, unk, .. } = base.special_tokens;
        let ids = SpecialIds { bos, eos, unk };
        let examples = encode_passages(passages, &base.tokenizer, ids, max_length)?;
        Self::new(&base.model, base.special_tokens, examples, config)
    }

    /// Creates a task on passages from files.
    pub(super) fn from_files(
        base: &'a Pretrained,
        passages: ShardExamples<PassageExample>,
        config: &PhraseTaskConfig,
    ) -> Result<Self> {
        Self::from_examples(&base.model, base.special_tokens, passages, config)
    }

    /// Returns the number of windows in memory; 0 for streamed passages.
    pub fn len(&self) -> usize {
        match &self.passages {
            ShardExamples::InMemory(examples, _) => examples.len(),
            ShardExamples::Streamed(_) => 0,
        }
    }

    /// Returns whether no passage is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Computes the model's loss on the passages in memory, in nats.
    ///
    /// The loss is the mean over the masked tokens. Each passage is masked once, as determined by
    /// `seed`; dropout is disabled.
    ///
    /// # Errors
    /// [`Error::Empty`] if no token is selected, or if the passages are streamed.
    pub fn mean_loss(&self, seed: u64, batch_size: usize) -> Result<f64> {
        let ShardExamples::InMemory(examples, lengths) = &self.passages else {
            return Err(Error::empty("passage in memory to score"));
        };
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|&number| lengths[number]);
        let (mut sum, mut count) = (0.0, 0);
        for batch in order.chunks(batch_size.max(1)) {
            let masked = batch.iter().map(|&number| {
                let draw = rng_for(seed, "validation", number as u64).random();
                self.mask(&examples[number], draw)
            });
            let rows = masked.collect::<Result<Vec<MaskedExample>>>()?;
            let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
            let sum_config = MaskedLmConfig { reduction: MaskedLmReduction::Sum };
            let loss = no_grad(|| {
                let hidden = self.model.encode(&self.inputs(&rows)?, false)?;
                loss_from_hidden(self.model, &hidden, &labels, &sum_config)
            })?;
            if let Some(loss) = loss {
                sum += loss.f_double_value(&[])?;
                count += rows.iter().map(|row| row.selected().count()).sum::<usize>();
            }
        }
        if count == 0 {
            return Err(Error::empty("masked token to score"));
        }
        Ok(sum / count as f64)
    }

    /// Masks one example with the random number `draw`.
    fn mask(&self, example: &PassageExample, draw: u64) -> Result<MaskedExample> {
        let tokens = example.input_ids.as_slice();
        let mut masked = match &self.config.masking {
            PassageMasking::Phrases(config) => {
                phrase_masking(tokens, &example.phrases, &self.vocab, draw, config)
            }
            PassageMasking::Ngrams(config) => ngram_masking(tokens, &self.vocab, draw, config),
            PassageMasking::Tokens(config) => mlm_masking(tokens, &self.vocab, draw, config),
            PassageMasking::Mentions(config) => {
                let mentions = without_overlaps(&example.phrases);
                entity_prediction_masking(tokens, &mentions, &self.vocab, draw, config)
            }
        }?;
        if self.config.positions == LossPositions::All {
            assert_eq!(masked.labels.len(), tokens.len(), "each token has one label");
            for (label, &id) in masked.labels.iter_mut().zip(tokens) {
                if !self.vocab.is_special(id) {
                    *label = i64::from(id);
                }
            }
        }
        Ok(masked)
    }

    /// Masks the examples of a batch; the result depends only on the batch and the generator's
    /// state.
    fn mask_all(&self, batch: &[usize], rng: &mut ChaCha8Rng) -> Result<Vec<MaskedExample>> {
        let examples = batch.iter().map(|&number| self.passages.get(number));
        examples.map(|example| self.mask(example, rng.random())).collect()
    }

    fn inputs(&self, rows: &[MaskedExample]) -> Result<Inputs> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let mut inputs = Inputs::from_rows(&ids, self.model.config().pad_token_id)?;
        if self.config.segment != 0 {
            let segments = inputs.input_ids.f_full_like(i64::from(self.config.segment))?;
            inputs.token_type_ids = Some(segments);
        }
        Ok(inputs)
    }

    /// Computes the loss of masked rows. If no token is selected, the loss is 0 and depends on the
    /// hidden states, so that the step has a gradient.
    fn loss(&self, rows: &[MaskedExample]) -> Result<Tensor> {
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let hidden = self.model.encode(&self.inputs(rows)?, true)?;
        match loss_from_hidden(self.model, &hidden, &labels, &self.config.loss)? {
            Some(loss) => Ok(loss),
            None => Ok(hidden.f_sum(None::<Kind>)?.f_mul_scalar(0.0)?),
        }
    }
}

/// Removes spans that share a token with an earlier span.
fn without_overlaps(spans: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut disjoint: Vec<Range<usize>> = Vec::new();
    for span in spans {
        if disjoint.last().is_none_or(|last| last.end <= span.start) {
            disjoint.push(span.clone());
        }
    }
    disjoint
}

impl Task for PhraseMaskingTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        self.passages.examples()
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("config", &self.config);
        self.passages.fingerprint(fingerprint, |fingerprint, example| {
            let PassageExample { input_ids, phrases, .. } = example;
            fingerprint.add_ids("input_ids", input_ids).add_json("phrases", phrases);
        });
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows = self.mask_all(step.batch, &mut step.rng)?;
        let reduction = self.config.loss.reduction.into();
        let targets = |row: &MaskedExample| row.selected().count();
        let losses = losses(step, "mlm", &rows, reduction, targets, |rows| self.loss(rows))?;
        // The loss of a batch without a selected token is not logged.
        let has_targets = rows.iter().any(|row| targets(row) > 0);
        Ok(StepLosses { parts: if has_targets { losses.parts } else { Vec::new() }, ..losses })
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.passages.get(index).input_ids.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_micro_batches_match, fingerprint_of, model, specials,
    };
    use kg_triples::Language;
    use objectives::IGNORE_INDEX;
    use objectives::masking::{
        EntityPredictionConfig, MlmMaskingConfig, PhraseMaskingConfig, PredictionUnit,
    };
    use xlmr_model::Model;

    /// Passages of 20 to 59 tokens. Each has a phrase of three tokens and a second phrase inside
    /// the first one.
    fn examples() -> Vec<PassageExample> {
        let example = |k: usize| {
            let words = (0..20 + k).map(|position| 5 + ((7 * position + k) % 60) as u32);
            let input_ids = [0].into_iter().chain(words).chain([2]).collect();
            let start = 1 + k % 15;
            let phrases = vec![start..start + 3, start + 1..start + 2];
            PassageExample { language: Language::new("en").unwrap(), input_ids, phrases }
        };
        (0..40).map(example).collect()
    }

    fn task(model: &Model, config: PhraseTaskConfig) -> PhraseMaskingTask<'_> {
        PhraseMaskingTask::new(model, specials(), examples(), &config).unwrap()
    }

    fn config_with(masking: PassageMasking) -> PhraseTaskConfig {
        PhraseTaskConfig { masking, ..Default::default() }
    }

    fn losses(task: &mut PhraseMaskingTask<'_>, number: u64) -> StepLosses {
        let rng = trainer::rng_for(1, "task", number);
        let batch = [3, 0, 17, 39];
        task.losses(&mut Step { batch_index: number, batch_count: 10, ..Step::new(&batch, rng) })
            .unwrap()
    }

    #[test]
    fn every_phrase_position_is_selected_and_the_budget_is_filled() {
        let model = model(80);
        let task = task(&model, PhraseTaskConfig::default());
        let batch: Vec<usize> = (0..40).collect();
        for number in 0..20 {
            let rows = task.mask_all(&batch, &mut trainer::rng_for(2, "task", number)).unwrap();
            assert_eq!(rows.len(), 40);
            for (row, example) in rows.iter().zip(&examples()) {
                let selected: Vec<usize> = row.selected().collect();
                assert!(
                    example
                        .phrases
                        .iter()
                        .cloned()
                        .flatten()
                        .all(|position| selected.contains(&position))
                );
                let m = example.input_ids.len() - 2;
                assert_eq!(selected.len(), 3.max((0.15 * m as f64).round() as usize));
                assert!(!selected.contains(&0) && !selected.contains(&(m + 1)));
                assert!(selected.iter().all(
                    |&position| row.labels[position] == i64::from(example.input_ids[position])
                ));
                // The row contains only the passage, with one <s> at the start and one </s> at the
                // end.
                let ids = &row.input_ids;
                assert_eq!((ids.len(), ids[0], ids[m + 1]), (m + 2, 0, 2));
                assert!(ids[1..=m].iter().all(|id| ![0, 1, 2].contains(id)));
            }
        }
    }

    #[test]
    fn the_loss_is_the_mean_over_selected_tokens() {
        let model = model(80);
        let mut mean_task = task(&model, PhraseTaskConfig::default());
        let (loss, repeated, different) =
            (losses(&mut mean_task, 1), losses(&mut mean_task, 1), losses(&mut mean_task, 2));
        assert_eq!(loss.total.double_value(&[]), repeated.total.double_value(&[]));
        assert_ne!(loss.total.double_value(&[]), different.total.double_value(&[]));
        // The loss of an untrained model is about ln V.
        assert!((loss.total.double_value(&[]) - 80f64.ln()).abs() < 1.0);

        // Expected value, from the logits of every position.
        let rows =
            mean_task.mask_all(&[3, 0, 17, 39], &mut trainer::rng_for(1, "task", 1)).unwrap();
        let (mut sum, mut count) = (0.0, 0);
        for row in &rows {
            let ids = Inputs::from_rows(&[&row.input_ids], 1).unwrap();
            let hidden = model.encode(&ids, false).unwrap().squeeze_dim(0);
            let log_p =
                model.mlm_logits(&hidden).unwrap().to_kind(Kind::Double).log_softmax(-1, None);
            for position in row.selected() {
                sum -= log_p.double_value(&[position as i64, row.labels[position]]);
                count += 1;
            }
        }
        let actual = loss.total.double_value(&[]);
        assert!(
            (actual - sum / f64::from(count)).abs() < 1e-4,
            "{actual} {}",
            sum / f64::from(count)
        );

        let reduction = MaskedLmReduction::Sum;
        let loss = MaskedLmConfig { reduction };
        let mut sum_task = task(&model, PhraseTaskConfig { loss, ..Default::default() });
        let actual = losses(&mut sum_task, 1).total.double_value(&[]);
        assert!((actual - sum).abs() < 1e-3 * sum);
    }

    #[test]
    fn all_positions_contribute_to_the_loss_if_configured() {
        let model = model(80);
        let config = PhraseTaskConfig { positions: LossPositions::All, ..Default::default() };
        let task = task(&model, config);
        let example = &examples()[5];
        let masked = task.mask(example, 1).unwrap();
        let last = example.input_ids.len() - 1;
        let passage: Vec<i64> = example.input_ids[1..last].iter().map(|&id| id.into()).collect();
        assert_eq!(masked.labels[1..last], passage);
        assert_eq!((masked.labels[0], masked.labels[last]), (IGNORE_INDEX, IGNORE_INDEX));
        assert_ne!(masked.input_ids, example.input_ids);
    }

    #[test]
    fn segments_change_the_loss_and_batches_without_targets_have_loss_0() {
        let model = model(80);
        let mut segment_1 = task(&model, PhraseTaskConfig { segment: 1, ..Default::default() });
        let mut segment_0 = task(&model, PhraseTaskConfig::default());
        let value = |losses: StepLosses| losses.total.double_value(&[]);
        assert_ne!(value(losses(&mut segment_1, 1)), value(losses(&mut segment_0, 1)));
        let no_masking = MlmMaskingConfig { probability: 0.0, ..Default::default() };
        let mut unmasked = task(&model, config_with(PassageMasking::Tokens(no_masking)));
        let losses = losses(&mut unmasked, 1);
        assert!(losses.parts.is_empty() && losses.total.requires_grad());
        assert_eq!(value(losses), 0.0);
    }

    #[test]
    fn the_fingerprint_depends_on_examples_and_options() {
        let model = model(80);
        let first = fingerprint_of(&task(&model, PhraseTaskConfig::default()));
        assert_eq!(first, fingerprint_of(&task(&model, PhraseTaskConfig::default())));
        let higher_probability = PhraseMaskingConfig { probability: 0.2, ..Default::default() };
        let higher_task = task(&model, config_with(PassageMasking::Phrases(higher_probability)));
        assert_ne!(first, fingerprint_of(&higher_task));
        let mut changed = examples();
        changed[7].phrases[0].start += 1;
        let changed_task =
            PhraseMaskingTask::new(&model, specials(), changed, &Default::default()).unwrap();
        assert_ne!(first, fingerprint_of(&changed_task));
        assert!(PhraseMaskingTask::new(&model, specials(), vec![], &Default::default()).is_err());
    }

    #[test]
    fn the_first_of_overlapping_mentions_is_predicted() {
        let model = model(80);
        let all_mentions = PassageMasking::Mentions(EntityPredictionConfig {
            unit: PredictionUnit::Mention,
            ..EntityPredictionConfig::default()
        });
        let task = task(&model, config_with(all_mentions));
        let mut example = examples().swap_remove(0);
        example.phrases = vec![2..4, 3..5, 5..6];
        let masked = task.mask(&example, 1).unwrap();
        assert_eq!(masked.selected().collect::<Vec<_>>(), [2, 3, 5]);
    }

    #[test]
    fn the_mean_loss_equals_the_reference() {
        let model = model(80);
        let task = task(&model, PhraseTaskConfig { segment: 1, ..Default::default() });
        let (mut sum, mut count) = (0.0, 0.0);
        for (number, example) in examples().iter().enumerate() {
            let draw = rng_for(7, "validation", number as u64).random();
            let masked = task.mask(example, draw).unwrap();
            let hidden =
                model.encode(&task.inputs(std::slice::from_ref(&masked)).unwrap(), false).unwrap();
            let log_p = model.mlm_logits(&hidden.squeeze_dim(0)).unwrap();
            let log_p = log_p.to_kind(Kind::Double).log_softmax(-1, None);
            for position in masked.selected() {
                sum -= log_p.double_value(&[position as i64, masked.labels[position]]);
                count += 1.0;
            }
        }
        let expected: f64 = sum / count;
        for batch_size in [0, 1, 7, 100] {
            let actual = task.mean_loss(7, batch_size).unwrap();
            assert!((actual / expected - 1.0).abs() < 1e-5, "{batch_size}: {actual} {expected}");
        }
        assert_ne!(task.mean_loss(8, 7).unwrap(), task.mean_loss(7, 7).unwrap());
        let mut bf16_model = crate::testing::model(80);
        bf16_model.set_precision(torch_ext::Precision::Bf16).unwrap();
        let bf16_task =
            super::tests::task(&bf16_model, PhraseTaskConfig { segment: 1, ..Default::default() });
        let actual = bf16_task.mean_loss(7, 7).unwrap();
        assert!((actual / expected - 1.0).abs() < 0.01, "bfloat16: {actual} {expected}");
        let no_masking = MlmMaskingConfig { probability: 0.0, ..Default::default() };
        let unmasked = super::tests::task(&model, config_with(PassageMasking::Tokens(no_masking)));
        assert!(matches!(unmasked.mean_loss(7, 7), Err(Error::Empty { .. })));
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        let model = model(80);
        let task = || task(&model, PhraseTaskConfig::default());
        let (parameters, batch) = (model.named_parameters(), (0..32).collect::<Vec<usize>>());
        assert_bf16_is_near_f32(&parameters, task, &batch);
        assert_micro_batches_match(&parameters, task, &batch);
    }
}
