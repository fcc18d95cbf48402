//! The training task of the demo's encoder: self-supervised question answering with masked language
//! modelling on the same passage.
//!
//! A span of a passage is the answer, and the tokens around the span are the question.
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use anyhow::ensure;
use objectives::{IGNORE_INDEX, MaskedLmConfig, SpanConfig, span};
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tasks::masked_lm;
use tch::{Kind, Tensor};
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use xlmr_model::{Inputs, Model, SpecialTokens};

/// Share of the steps during which passage length increases.
const GROWTH_SHARE: f64 = 0.4;
/// Maximum answer length in tokens.
const MAX_ANSWER_LENGTH: usize = 4;
/// The question consists of this number of tokens on each side of the answer.
const NEIGHBOUR_COUNT: RangeInclusive<usize> = 3..=9;
/// Probability that a token of the question is dropped.
const DROP_PROBABILITY: f64 = 0.25;
/// Probability that the question has `<mask>` in place of the answer.
const MASKED_QUESTION_PROBABILITY: f64 = 0.5;
/// Probability that a question without `<mask>` is shuffled.
const SHUFFLE_PROBABILITY: f64 = 0.5;
/// Share of passage tokens to predict.
const PREDICTED_SHARE: f64 = 0.12;
/// Share of the tokens to predict that are replaced by `<mask>`; the rest are unchanged.
const MASK_TOKEN_SHARE: f64 = 0.85;
/// Languages are drawn in proportion to their number of passages raised to this power.
const SMOOTHING_EXPONENT: f64 = 0.3;
/// Weight of the span loss; the weight of the masked-LM loss is 1.
const SPAN_WEIGHT: f64 = 2.0;

/// Passage lengths in tokens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClozeConfig {
    /// Passage length in the first step.
    pub first_length: usize,
    /// Passage length after 40 % of the steps.
    pub last_length: usize,
}

impl ClozeConfig {
    /// Validates the lengths.
    ///
    /// # Errors
    /// If the first length is 0 or larger than the last.
    pub fn validate(&self) -> anyhow::Result<()> {
        let Self { first_length: first, last_length: last } = self;
        ensure!(
            (1..=*last).contains(first),
            "cloze.first_length = {first}: must be from 1 to last_length, {last}"
        );
        Ok(())
    }
}

/// Passages in several languages as a training task for a model with masked-LM and span heads.
pub struct ClozeTask<'a> {
    model: &'a Model,
    config: ClozeConfig,
    specials: SpecialTokens,
    /// Passages by language.
    passages: Vec<Vec<Vec<u32>>>,
    languages: WeightedIndex<f64>,
    /// Length of each example of the run. The real lengths are unknown until a step draws its
    /// examples, so the maximum length `last_length` is given for all examples.
    lengths: Vec<usize>,
    /// Token ids of the last batch, by index in the batch.
    last_batch: BTreeMap<usize, Vec<u32>>,
}

/// One cloze question over a passage.
pub struct Cloze {
    /// `<s>` question `</s></s>` passage `</s>`.
    pub input_ids: Vec<u32>,
    /// The original tokens at positions to predict; [`IGNORE_INDEX`] elsewhere.
    pub labels: Vec<i64>,
    /// Index of the passage's first token.
    pub passage_start: usize,
    /// Index of the answer's first token.
    pub start: usize,
    /// Index of the answer's last token.
    pub end: usize,
}

impl Cloze {
    /// Returns the token ids without masks.
    fn unmasked(&self) -> Vec<u32> {
        let ids = self.input_ids.iter().zip(&self.labels);
        // The label of a token that is not predicted is negative.
        ids.map(|(id, label)| u32::try_from(*label).unwrap_or(*id)).collect()
    }
}

impl<'a> ClozeTask<'a> {
    /// Creates a task from `passages` by language. Each passage has at least 20 tokens.
    /// `example_count` is the number of steps times the batch size.
    ///
    /// # Errors
    /// If no language has a passage, or the lengths of `config` are invalid.
    pub fn new(
        model: &'a Model,
        specials: SpecialTokens,
        passages: Vec<Vec<Vec<u32>>>,
        example_count: usize,
        config: &ClozeConfig,
    ) -> anyhow::Result<Self> {
        config.validate()?;
        let weight = |passages: &Vec<Vec<u32>>| (passages.len() as f64).powf(SMOOTHING_EXPONENT);
        Ok(Self {
            model,
            config: config.clone(),
            specials,
            languages: WeightedIndex::new(passages.iter().map(weight))?,
            passages,
            lengths: vec![config.last_length; example_count],
            last_batch: BTreeMap::new(),
        })
    }

    /// Draws a language, `length` tokens of one of its passages, and an answer span in these
    /// tokens; `None` if there are too few tokens.
    pub fn draw(&self, length: usize, rng: &mut ChaCha8Rng) -> Option<Cloze> {
        let language = self.languages.sample(rng);
        let passages = self.passages.get(language)?;
        let tokens = passages.get(rng.random_range(0..passages.len().max(1)))?;
        let first = rng.random_range(0..=tokens.len().saturating_sub(length));
        let passage = tokens.get(first..tokens.len().min(first + length))?;
        let answer_length = rng.random_range(1..=MAX_ANSWER_LENGTH);
        let last = passage.len().checked_sub(answer_length + 1).filter(|last| *last > 2)?;
        let answer = rng.random_range(2..last);
        let question = self.draw_question(passage, answer..answer + answer_length, rng)?;

        let SpecialTokens { bos, eos, .. } = self.specials;
        let input_ids = [&[bos], question.as_slice(), &[eos, eos], passage, &[eos]].concat();
        let passage_start = question.len() + 3;
        let (start, end) = (passage_start + answer, passage_start + answer + answer_length - 1);
        let labels = vec![IGNORE_INDEX; input_ids.len()];
        let mut cloze = Cloze { input_ids, labels, passage_start, start, end };
        self.mask(&mut cloze, rng);
        Some(cloze)
    }

    /// Returns the tokens around the answer after random omissions, with or without `<mask>` in
    /// place of the answer.
    fn draw_question(
        &self,
        passage: &[u32],
        answer: Range<usize>,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<u32>> {
        let (left, right) = (rng.random_range(NEIGHBOUR_COUNT), rng.random_range(NEIGHBOUR_COUNT));
        let tokens_before = passage.get(answer.start.saturating_sub(left)..answer.start)?;
        let tokens_after = passage.get(answer.end..passage.len().min(answer.end + right))?;
        let mut drop_tokens = |tokens: &[u32]| -> Vec<u32> {
            tokens.iter().copied().filter(|_| rng.random::<f64>() >= DROP_PROBABILITY).collect()
        };
        let mut question = drop_tokens(tokens_before);
        let gap = question.len();
        question.extend(drop_tokens(tokens_after));
        if rng.random::<f64>() < MASKED_QUESTION_PROBABILITY {
            question.insert(gap, self.specials.mask);
        } else if rng.random::<f64>() < SHUFFLE_PROBABILITY {
            question.shuffle(rng);
        }
        Some(question)
    }

    /// Masks tokens of the passage, except the answer and its adjacent tokens.
    fn mask(&self, cloze: &mut Cloze, rng: &mut ChaCha8Rng) {
        let near_answer = cloze.start.saturating_sub(1)..=cloze.end + 1;
        let passage = cloze.passage_start..cloze.input_ids.len().saturating_sub(1);
        let tokens = cloze.input_ids.iter_mut().zip(&mut cloze.labels).enumerate();
        for (position, (input, label)) in tokens.skip(passage.start).take(passage.len()) {
            if near_answer.contains(&position) || rng.random::<f64>() >= PREDICTED_SHARE {
                continue;
            }
            *label = i64::from(*input);
            if rng.random::<f64>() < MASK_TOKEN_SHARE {
                *input = self.specials.mask;
            }
        }
    }

    /// Draws the examples of a step; passage length increases during the run.
    fn draw_batch(&self, step: &mut Step<'_>) -> Result<Vec<Cloze>, TaskError> {
        let config = &self.config;
        let growth = step.batch_index as f64 / (GROWTH_SHARE * step.batch_count as f64).max(1.0);
        let added_length = config.last_length.saturating_sub(config.first_length) as f64;
        let length = config.first_length + (growth.min(1.0) * added_length) as usize;
        let mut batch: Vec<Cloze> = Vec::with_capacity(step.batch.len());
        for _ in 0..100 * step.batch.len() {
            if batch.len() == step.batch.len() {
                break;
            }
            batch.extend(self.draw(length, &mut step.rng));
        }
        if batch.is_empty() {
            return Err("no passage is long enough".into());
        }
        Ok(batch)
    }
}

/// Returns segment ids; segment 1 starts at the `</s>` before the passage.
fn segment_ids(cloze: &Cloze) -> Vec<u32> {
    (0..cloze.input_ids.len()).map(|k| u32::from(k + 1 >= cloze.passage_start)).collect()
}

impl Task for ClozeTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("config", &self.config).add_ids("specials", &self.specials.ids());
        fingerprint.add_number("examples", self.lengths.len() as u64);
        for (language, passages) in (0..).zip(&self.passages) {
            fingerprint.add_number("language", language);
            for passage in passages {
                fingerprint.add_ids("passage", passage);
            }
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let batch = self.draw_batch(step)?;
        self.last_batch =
            step.batch.iter().copied().zip(batch.iter().map(Cloze::unmasked)).collect();
        let ids: Vec<&[u32]> = batch.iter().map(|cloze| cloze.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = batch.iter().map(|cloze| cloze.labels.as_slice()).collect();
        let segments: Vec<Vec<u32>> = batch.iter().map(segment_ids).collect();
        let segments: Vec<&[u32]> = segments.iter().map(Vec::as_slice).collect();
        let pad = i64::from(self.specials.pad);
        let inputs = Inputs::from_rows(&ids, pad)?.with_token_type_ids(&segments)?;
        let passage_mask = inputs.token_type_ids.as_ref();
        let device = self.model.device();
        let passage_mask = passage_mask
            .map(|segments| segments.f_to_kind(Kind::Bool)?.f_to_device(device))
            .transpose()?;
        let hidden = self.model.encode(&inputs, true)?;

        let positions = |position: fn(&Cloze) -> usize| -> Result<Tensor, TaskError> {
            let positions = batch.iter().map(|cloze| i64::try_from(position(cloze)));
            let positions: Vec<i64> = positions.collect::<Result<_, _>>()?;
            Ok(Tensor::f_from_slice(&positions)?)
        };
        let (start_logits, end_logits) = self.model.span_logits(&hidden, true)?;
        let span_loss = span(
            &start_logits,
            &end_logits,
            &positions(|cloze| cloze.start)?,
            &positions(|cloze| cloze.end)?,
            passage_mask.as_ref(),
            &SpanConfig::default(),
        )?;
        let mut parts = vec![("reading", span_loss.detach())];
        let mut total = span_loss.f_mul_scalar(SPAN_WEIGHT)?;
        // A small batch may have no token to predict.
        let mlm = MaskedLmConfig::default();
        if let Some(mlm) = masked_lm::loss_from_hidden(self.model, &hidden, &labels, &mlm)? {
            total = mlm.f_add(&total)?;
            parts.push(("mlm", mlm.detach()));
        }
        let tokens = batch.iter().map(|cloze| cloze.input_ids.len() as u64).sum();
        Ok(StepLosses { total, parts, tokens: Some(tokens), is_accumulated: false })
    }

    /// Returns an example of the last batch. Other examples cannot be returned, because examples
    /// are drawn at random and not stored.
    fn example(&self, index: usize) -> ExampleRecord {
        let input_ids = self.last_batch.get(&index).map_or_else(Vec::new, Clone::clone);
        ExampleRecord { id: None, input_ids }
    }
}
