//! Self-supervised question answering: a span of a passage is the answer, the tokens around it are
//! the question.
//!
//! In the family of cloze and recurring-span pre-training. Masked language modelling runs beside it
//! on the same passage.
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use objectives::{IGNORE_INDEX, MaskedLmConfig, SpanConfig, span};
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tasks::{Encoder, masked_lm};
use tch::{Kind, Tensor};
use torch_ext::TensorMap;
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use xlmr_model::{Inputs, SpecialTokens};

/// How passages become questions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClozeConfig {
    /// Tokens of a passage in the first step.
    pub first_length: usize,
    /// Tokens of a passage from `growth` on.
    pub last_length: usize,
    /// Share of the steps over which passages grow.
    pub growth: f64,
    /// Longest answer, in tokens.
    pub longest_answer: usize,
    /// Fewest and most tokens taken on each side of the answer.
    pub neighbours: (usize, usize),
    /// Chance that a neighbour is dropped.
    pub dropped: f64,
    /// Chance that the question keeps `<mask>` for the answer.
    pub keep_mask: f64,
    /// Chance that a question without `<mask>` is shuffled.
    pub shuffled: f64,
    /// Share of passage tokens to predict.
    pub masked: f64,
    /// Share of those that are replaced by `<mask>`; the rest stay as they are.
    pub replaced: f64,
    /// Languages are drawn in proportion to their passages to this power.
    pub smoothing: f64,
    /// Weight of the span loss beside the masked-language-model loss.
    pub reading_weight: f64,
    /// Passages are drawn in proportion to their tokens, and count by them where languages are
    /// drawn; otherwise each passage counts as one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_tokens: bool,
}

impl Default for ClozeConfig {
    fn default() -> Self {
        Self {
            first_length: 24,
            last_length: 72,
            growth: 0.4,
            longest_answer: 4,
            neighbours: (3, 9),
            dropped: 0.25,
            keep_mask: 0.5,
            shuffled: 0.5,
            masked: 0.12,
            replaced: 0.85,
            smoothing: 0.3,
            reading_weight: 2.0,
            by_tokens: false,
        }
    }
}

impl ClozeConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> anyhow::Result<()> {
        let shares = [
            ("growth", self.growth),
            ("dropped", self.dropped),
            ("keep_mask", self.keep_mask),
            ("shuffled", self.shuffled),
            ("masked", self.masked),
            ("replaced", self.replaced),
        ];
        for (key, value) in shares {
            anyhow::ensure!(
                (0.0..=1.0).contains(&value),
                "cloze.{key} = {value}: must be from 0 to 1"
            );
        }
        let (fewest, most) = self.neighbours;
        anyhow::ensure!(
            fewest <= most,
            "cloze.neighbours = [{fewest}, {most}]: the first is larger"
        );
        anyhow::ensure!(self.longest_answer > 0, "cloze.longest_answer = 0: must be 1 or more");
        let last = self.last_length;
        anyhow::ensure!(
            self.first_length > 0 && self.first_length <= last,
            "cloze.first_length = {}: must be from 1 to last_length, {last}",
            self.first_length
        );
        let weight = self.reading_weight;
        anyhow::ensure!(weight.is_finite(), "cloze.reading_weight = {weight}: must be finite");
        Ok(())
    }
}

/// Passages in several languages as a training task for a model with masked-LM and span heads.
pub struct ClozeTask<'a> {
    model: &'a dyn Encoder,
    config: ClozeConfig,
    specials: SpecialTokens,
    /// By language.
    passages: Vec<Vec<Vec<u32>>>,
    languages: WeightedIndex<f64>,
    /// By language: draws passages in proportion to their tokens.
    by_tokens: Vec<WeightedIndex<f64>>,
    /// What the model is scored on.
    held_out: Option<HeldOut>,
    /// Updates made.
    steps: u64,
    /// One entry per example of the run; examples are drawn in the step, so lengths are nominal.
    lengths: Vec<usize>,
    /// Token ids of the last batch, by their index in it.
    last: BTreeMap<usize, Vec<u32>>,
}

/// The state's name.
const SCORES: &str = "held_out_scores";
/// Share of the tokens of held-out passages that are masked.
const HELD_OUT_MASKED: f64 = 0.15;
/// Rows of a batch of held-out passages.
const HELD_OUT_BATCH: usize = 32;

/// Passages that are kept from training, masked once for all evaluations.
struct HeldOut {
    languages: usize,
    /// Each with the number of its language; without a question.
    rows: Vec<(usize, Cloze)>,
    /// See [`ClozeTask::scores`].
    scores: Vec<(u64, Vec<f64>)>,
}

impl HeldOut {
    /// The masked-LM loss of each language.
    fn losses(&self, model: &dyn Encoder, specials: SpecialTokens) -> Result<Vec<f64>, TaskError> {
        let mut sums = vec![(0.0, 0.0); self.languages];
        for batch in self.rows.chunk_by(|(one, _), (other, _)| one == other) {
            for batch in batch.chunks(HELD_OUT_BATCH) {
                let rows: Vec<&Cloze> = batch.iter().map(|(_, cloze)| cloze).collect();
                let labels: Vec<&[i64]> =
                    rows.iter().map(|cloze| cloze.labels.as_slice()).collect();
                let (hidden, _) = encode(model, specials, &rows, false)?;
                let config = MaskedLmConfig::default();
                let loss = masked_lm::loss_from_hidden(model, &hidden, &labels, &config)?;
                let masked =
                    labels.iter().copied().flatten().filter(|label| **label != IGNORE_INDEX);
                let masked = masked.count() as f64;
                let language = batch.first().and_then(|(language, _)| sums.get_mut(*language));
                if let (Some(loss), Some((sum, count))) = (loss, language) {
                    *sum += loss.f_double_value(&[])? * masked;
                    *count += masked;
                }
            }
        }
        Ok(sums.into_iter().map(|(sum, count)| sum / count).collect())
    }
}

/// Hidden states of questions with their passages, `[B, L, H]`, and which tokens are the passage's,
/// `[B, L]` bool, on the model's device.
fn encode(
    model: &dyn Encoder,
    specials: SpecialTokens,
    batch: &[&Cloze],
    train: bool,
) -> Result<(Tensor, Option<Tensor>), TaskError> {
    let ids: Vec<&[u32]> = batch.iter().map(|cloze| cloze.input_ids.as_slice()).collect();
    let segments: Vec<Vec<u32>> = batch.iter().map(|cloze| segments(cloze)).collect();
    let segments: Vec<&[u32]> = segments.iter().map(Vec::as_slice).collect();
    let mut inputs =
        Inputs::from_rows(&ids, i64::from(specials.pad))?.with_token_type_ids(&segments)?;
    let passage = inputs
        .token_type_ids
        .as_ref()
        .map(|segments| segments.f_to_kind(Kind::Bool)?.f_to_device(model.device()))
        .transpose()?;
    if model.segments() < 2 {
        inputs.token_type_ids = None;
    }
    Ok((model.encode(&inputs, train)?, passage))
}

/// One cloze question over a passage.
pub struct Cloze {
    /// `<s>` question `</s></s>` passage `</s>`.
    pub input_ids: Vec<u32>,
    /// The tokens of the passage to predict; [`IGNORE_INDEX`] elsewhere.
    pub labels: Vec<i64>,
    /// Where the passage begins.
    pub passage_start: usize,
    /// The answer's first token.
    pub start: usize,
    /// The answer's last token.
    pub end: usize,
}

impl Cloze {
    /// The token ids as they were.
    fn unmasked(&self) -> Vec<u32> {
        let ids = self.input_ids.iter().zip(&self.labels);
        ids.map(|(id, label)| u32::try_from(*label).unwrap_or(*id)).collect()
    }
}

impl<'a> ClozeTask<'a> {
    /// `passages` by language, each at least 20 tokens long; `examples` is steps times batch size.
    ///
    /// # Errors
    /// If no language has a passage, or naming the key whose value cannot be used.
    pub fn new(
        model: &'a dyn Encoder,
        specials: SpecialTokens,
        passages: Vec<Vec<Vec<u32>>>,
        examples: usize,
        config: &ClozeConfig,
    ) -> anyhow::Result<Self> {
        config.validate()?;
        let size = |passages: &Vec<Vec<u32>>| match config.by_tokens {
            true => passages.iter().map(Vec::len).sum::<usize>(),
            false => passages.len(),
        };
        let weight = |passages: &Vec<Vec<u32>>| (size(passages) as f64).powf(config.smoothing);
        let lengths = |passages: &Vec<Vec<u32>>| {
            WeightedIndex::new(passages.iter().map(|passage| passage.len() as f64))
        };
        let by_tokens = passages.iter().filter(|_| config.by_tokens).map(lengths);
        Ok(Self {
            by_tokens: by_tokens.collect::<Result<_, _>>()?,
            held_out: None,
            steps: 0,
            model,
            config: config.clone(),
            specials,
            languages: WeightedIndex::new(passages.iter().map(weight))?,
            passages,
            lengths: vec![config.last_length; examples],
            last: BTreeMap::new(),
        })
    }

    /// Scores the model on these passages, by language, in every evaluation and at the end.
    pub fn with_held_out(mut self, passages: &[Vec<Vec<u32>>]) -> Self {
        let SpecialTokens { bos, eos, mask, .. } = self.specials;
        let languages = passages.len();
        let mut rows = Vec::new();
        for (language, passages) in passages.iter().enumerate() {
            for passage in passages {
                let mut rng = trainer::rng_for(0, "held out", rows.len() as u64);
                let kept = passage.iter().take(self.config.last_length);
                let mut input_ids = vec![bos, eos, eos];
                let mut labels = vec![IGNORE_INDEX; input_ids.len()];
                for &token in kept {
                    let masked = rng.random::<f64>() < HELD_OUT_MASKED;
                    input_ids.push(if masked { mask } else { token });
                    labels.push(if masked { i64::from(token) } else { IGNORE_INDEX });
                }
                input_ids.push(eos);
                labels.push(IGNORE_INDEX);
                let cloze = Cloze { input_ids, labels, passage_start: 3, start: 3, end: 3 };
                rows.push((language, cloze));
            }
        }
        // Rows of one length cost least.
        rows.sort_by_key(|(language, cloze)| (*language, cloze.input_ids.len()));
        self.held_out = (!rows.is_empty()).then(|| HeldOut { languages, rows, scores: Vec::new() });
        self
    }

    /// Of every evaluation: updates made, and the masked-LM loss of each language in nats, NaN
    /// where none of its passages is held out.
    pub fn scores(&self) -> &[(u64, Vec<f64>)] {
        self.held_out.as_ref().map_or(&[], |held_out| &held_out.scores)
    }

    /// The loss of each language for who knows how often each of `vocab_size` tokens occurs in its
    /// passages, one added to every count, in nats; NaN where none of its passages is held out.
    pub fn unigrams(&self, vocab_size: i64) -> Vec<f64> {
        let Some(held_out) = &self.held_out else { return Vec::new() };
        let loss = |(language, passages): (usize, &Vec<Vec<u32>>)| {
            let mut counts = HashMap::new();
            for token in passages.iter().flatten() {
                *counts.entry(i64::from(*token)).or_insert(1.0) += 1.0;
            }
            let added = vocab_size as f64 - counts.len() as f64;
            let all = (counts.values().sum::<f64>() + added).ln();
            let rows = held_out.rows.iter().filter(|(other, _)| *other == language);
            let labels = rows.flat_map(|(_, cloze)| &cloze.labels);
            let labels = labels.filter(|label| **label != IGNORE_INDEX);
            let losses: Vec<f64> = labels
                .map(|label| all - counts.get(label).map_or(0.0, |count: &f64| count.ln()))
                .collect();
            losses.iter().sum::<f64>() / losses.len() as f64
        };
        self.passages.iter().enumerate().map(loss).collect()
    }

    /// Scores the model as it is.
    fn score(&mut self) -> Result<(), TaskError> {
        let Some(held_out) = &mut self.held_out else { return Ok(()) };
        let losses = tch::no_grad(|| held_out.losses(self.model, self.specials))?;
        let each: Vec<String> = losses.iter().map(|loss| format!("{loss:.3}")).collect();
        experiment::log(format!("held out, step {}: {}", self.steps, each.join(" ")));
        held_out.scores.push((self.steps, losses));
        Ok(())
    }

    /// Draws a language, `length` tokens of one of its passages, and an answer in them; nothing if
    /// they are too few.
    pub fn draw(&self, length: usize, rng: &mut ChaCha8Rng) -> Option<Cloze> {
        let language = self.languages.sample(rng);
        let passages = self.passages.get(language)?;
        let number = match self.by_tokens.get(language) {
            Some(by_tokens) => by_tokens.sample(rng),
            None => rng.random_range(0..passages.len().max(1)),
        };
        let all = passages.get(number)?;
        let first = rng.random_range(0..=all.len().saturating_sub(length));
        let passage = all.get(first..all.len().min(first + length))?;
        let size = rng.random_range(1..=self.config.longest_answer);
        let last = passage.len().checked_sub(size + 1).filter(|last| *last > 2)?;
        let answer = rng.random_range(2..last);
        let question = self.question(passage, answer..answer + size, rng)?;

        let SpecialTokens { bos, eos, .. } = self.specials;
        let input_ids = [&[bos], question.as_slice(), &[eos, eos], passage, &[eos]].concat();
        let passage_start = question.len() + 3;
        let (start, end) = (passage_start + answer, passage_start + answer + size - 1);
        let labels = vec![IGNORE_INDEX; input_ids.len()];
        let mut cloze = Cloze { input_ids, labels, passage_start, start, end };
        self.mask(&mut cloze, rng);
        Some(cloze)
    }

    /// The neighbours of the answer, some dropped, with `<mask>` for the answer or without it.
    fn question(
        &self,
        passage: &[u32],
        answer: Range<usize>,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<u32>> {
        let config = &self.config;
        let (fewest, most) = config.neighbours;
        let (left, right) = (rng.random_range(fewest..=most), rng.random_range(fewest..=most));
        let before = passage.get(answer.start.saturating_sub(left)..answer.start)?;
        let after = passage.get(answer.end..passage.len().min(answer.end + right))?;
        let mut keep = |tokens: &[u32]| -> Vec<u32> {
            tokens.iter().copied().filter(|_| rng.random::<f64>() >= config.dropped).collect()
        };
        let mut question = keep(before);
        let gap = question.len();
        question.extend(keep(after));
        if rng.random::<f64>() < config.keep_mask {
            question.insert(gap, self.specials.mask);
        } else if rng.random::<f64>() < config.shuffled {
            question.shuffle(rng);
        }
        Some(question)
    }

    /// Masks tokens of the passage, but for the answer and the tokens beside it.
    fn mask(&self, cloze: &mut Cloze, rng: &mut ChaCha8Rng) {
        let near = cloze.start.saturating_sub(1)..=cloze.end + 1;
        let passage = cloze.passage_start..cloze.input_ids.len().saturating_sub(1);
        let tokens = cloze.input_ids.iter_mut().zip(&mut cloze.labels).enumerate();
        for (position, (input, label)) in tokens.skip(passage.start).take(passage.len()) {
            if near.contains(&position) || rng.random::<f64>() >= self.config.masked {
                continue;
            }
            *label = i64::from(*input);
            if rng.random::<f64>() < self.config.replaced {
                *input = self.specials.mask;
            }
        }
    }

    /// The examples of a step, whose passages grow with the run.
    fn batch(&self, step: &mut Step<'_>) -> Result<Vec<Cloze>, TaskError> {
        let config = &self.config;
        let growth = step.number as f64 / (config.growth * step.total as f64).max(1.0);
        let more = config.last_length.saturating_sub(config.first_length) as f64;
        let length = config.first_length + (growth.min(1.0) * more) as usize;
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

/// Segment 1 begins with the `</s>` before the passage.
fn segments(cloze: &Cloze) -> Vec<u32> {
    (0..cloze.input_ids.len()).map(|k| u32::from(k + 1 >= cloze.passage_start)).collect()
}

impl Task for ClozeTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config).ids("specials", &self.specials.ids());
        fingerprint.number("examples", self.lengths.len() as u64);
        for (_, cloze) in self.held_out.iter().flat_map(|held_out| &held_out.rows) {
            fingerprint.ids("held out", &cloze.input_ids);
        }
        for (language, passages) in (0..).zip(&self.passages) {
            fingerprint.number("language", language);
            for passage in passages {
                fingerprint.ids("passage", passage);
            }
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let batch = self.batch(step)?;
        self.last = step.batch.iter().copied().zip(batch.iter().map(Cloze::unmasked)).collect();
        self.steps = step.number + 1;
        let rows: Vec<&Cloze> = batch.iter().collect();
        let labels: Vec<&[i64]> = rows.iter().map(|cloze| cloze.labels.as_slice()).collect();
        let (hidden, passage) = encode(self.model, self.specials, &rows, true)?;

        let positions = |position: fn(&Cloze) -> usize| -> Result<Tensor, TaskError> {
            let positions = batch.iter().map(|cloze| i64::try_from(position(cloze)));
            let positions: Vec<i64> = positions.collect::<Result<_, _>>()?;
            Ok(Tensor::f_from_slice(&positions)?)
        };
        let (start_logits, end_logits) = self.model.span_logits(&hidden, true)?;
        let reading = span(
            &start_logits,
            &end_logits,
            &positions(|cloze| cloze.start)?,
            &positions(|cloze| cloze.end)?,
            passage.as_ref(),
            &SpanConfig::default(),
        )?;
        let mut parts = vec![("reading", reading.detach())];
        let mut total = reading.f_mul_scalar(self.config.reading_weight)?;
        // A small batch may have nothing to predict.
        let mlm = MaskedLmConfig::default();
        if let Some(mlm) = masked_lm::loss_from_hidden(self.model, &hidden, &labels, &mlm)? {
            total = mlm.f_add(&total)?;
            parts.push(("mlm", mlm.detach()));
        }
        let tokens = batch.iter().map(|cloze| cloze.input_ids.len() as u64).sum();
        Ok(StepLosses { total, parts, tokens: Some(tokens), accumulated: false })
    }

    fn evaluations_since_best(&self) -> Option<u64> {
        self.held_out.as_ref().map(|_| 0)
    }

    fn evaluate(&mut self) -> Result<(), TaskError> {
        self.score()
    }

    fn epoch_ended(&mut self, _epoch: u64) -> Result<(), TaskError> {
        self.score()
    }

    /// The scores so far: rows of updates made and the languages' losses.
    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let Some(held_out) = &self.held_out else { return Ok(Vec::new()) };
        let row = |(step, losses): &(u64, Vec<f64>)| [&[*step as f64], losses.as_slice()].concat();
        let values: Vec<f64> = held_out.scores.iter().flat_map(row).collect();
        let shape = [held_out.scores.len(), held_out.languages + 1].map(i64::try_from);
        let [rows, columns] = shape;
        let scores = Tensor::f_from_slice(&values)?.f_reshape([rows?, columns?])?;
        Ok(vec![(SCORES.to_owned(), scores)])
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        let Some(held_out) = &mut self.held_out else { return Ok(()) };
        let scores = state.get(SCORES).ok_or("no scores of held-out passages")?;
        let values = Vec::<f64>::try_from(scores.f_flatten(0, -1)?)?;
        let row = |row: &[f64]| Some((*row.first()? as u64, row.get(1..)?.to_vec()));
        held_out.scores = values.chunks(held_out.languages + 1).filter_map(row).collect();
        Ok(())
    }

    /// Of the last batch, since examples are drawn.
    fn example(&self, index: usize) -> ExampleRecord {
        let input_ids = self.last.get(&index).cloned().unwrap_or_default();
        ExampleRecord { id: None, input_ids }
    }
}
