//! Self-supervised reading: a span of a passage is the answer, what stands around it is the question.
//!
//! In the family of cloze and recurring-span pre-training. Masked language modelling runs beside it on the same passage.
use objectives::tch::{Kind, Tensor};
use objectives::{IGNORE_INDEX, MaskedLmConfig, SpanConfig, span};
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tasks::masked_lm;
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use xlmr_model::{Inputs, Model, SpecialTokens};

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
    /// Chance that the question keeps `<mask>` in the answer's place.
    pub keep_mask: f64,
    /// Chance that a question without `<mask>` is shuffled.
    pub shuffled: f64,
    /// Share of passage tokens to predict.
    pub masked: f64,
    /// Share of those that are replaced by `<mask>`; the rest stay as they are.
    pub replaced: f64,
    /// Languages are drawn in proportion to their passages to this power.
    pub smoothing: f64,
    /// Weight of the reading loss beside the masked-language-model loss.
    pub reading_weight: f64,
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
        }
    }
}

impl ClozeConfig {
    fn validate(&self) -> anyhow::Result<()> {
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
    model: &'a Model,
    config: ClozeConfig,
    specials: SpecialTokens,
    /// By language.
    passages: Vec<Vec<Vec<u32>>>,
    languages: WeightedIndex<f64>,
    /// One entry per example of the run; examples are drawn in the step, so the lengths are nominal.
    lengths: Vec<usize>,
}

/// One cloze question over a passage.
struct Cloze {
    input_ids: Vec<u32>,
    labels: Vec<i64>,
    passage_start: usize,
    start: usize,
    end: usize,
}

impl<'a> ClozeTask<'a> {
    /// `passages` by language, each at least 20 tokens long; `examples` is steps times batch size.
    ///
    /// # Errors
    /// If no language has a passage, or naming the key whose value cannot be used.
    pub fn new(
        model: &'a Model,
        specials: SpecialTokens,
        passages: Vec<Vec<Vec<u32>>>,
        examples: usize,
        config: &ClozeConfig,
    ) -> anyhow::Result<Self> {
        config.validate()?;
        let weights = passages.iter().map(|own| (own.len() as f64).powf(config.smoothing));
        Ok(Self {
            model,
            config: config.clone(),
            specials,
            languages: WeightedIndex::new(weights)?,
            passages,
            lengths: vec![config.last_length; examples],
        })
    }

    fn draw(&self, length: usize, rng: &mut ChaCha8Rng) -> Option<Cloze> {
        let config = &self.config;
        let own = self.passages.get(self.languages.sample(rng))?;
        let whole = own.get(rng.random_range(0..own.len().max(1)))?;
        let first = rng.random_range(0..=whole.len().saturating_sub(length));
        let passage = whole.get(first..whole.len().min(first + length))?;
        let size = rng.random_range(1..=config.longest_answer);
        let last = passage.len().checked_sub(size + 1).filter(|last| *last > 2)?;
        let answer = rng.random_range(2..last);
        let (fewest, most) = config.neighbours;
        let (left, right) = (rng.random_range(fewest..=most), rng.random_range(fewest..=most));
        let before = passage.get(answer.saturating_sub(left)..answer)?;
        let after = passage.get(answer + size..passage.len().min(answer + size + right))?;
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
        let specials = &self.specials;
        let mut input_ids = vec![specials.bos];
        input_ids.extend(&question);
        input_ids.extend([specials.eos; 2]);
        let passage_start = input_ids.len();
        input_ids.extend(passage);
        input_ids.push(specials.eos);
        let (start, end) = (passage_start + answer, passage_start + answer + size - 1);
        let mut labels = vec![IGNORE_INDEX; input_ids.len()];
        for place in passage_start..passage_start + passage.len() {
            let near = (start.saturating_sub(1)..=end + 1).contains(&place);
            if near || rng.random::<f64>() >= config.masked {
                continue;
            }
            if let (Some(label), Some(input)) = (labels.get_mut(place), input_ids.get_mut(place)) {
                *label = i64::from(*input);
                if rng.random::<f64>() < config.replaced {
                    *input = specials.mask;
                }
            }
        }
        Some(Cloze { input_ids, labels, passage_start, start, end })
    }
}

impl Task for ClozeTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        let SpecialTokens { bos, pad, eos, unk, mask } = self.specials;
        fingerprint.serialize("config", &self.config).ids("specials", &[bos, pad, eos, unk, mask]);
        fingerprint.number("examples", self.lengths.len() as u64);
        for (language, passages) in (0..).zip(&self.passages) {
            fingerprint.number("language", language);
            for passage in passages {
                fingerprint.ids("passage", passage);
            }
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let config = &self.config;
        let grown = step.number as f64 / (config.growth * step.total as f64).max(1.0);
        let more = config.last_length.saturating_sub(config.first_length) as f64;
        let length = config.first_length + (grown.min(1.0) * more) as usize;
        let mut rows: Vec<Cloze> = Vec::with_capacity(step.batch.len());
        for _ in 0..100 * step.batch.len() {
            if rows.len() == step.batch.len() {
                break;
            }
            rows.extend(self.draw(length, &mut step.rng));
        }
        if rows.is_empty() {
            return Err("no passage is long enough".into());
        }
        let device = self.model.device();
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let segments: Vec<Vec<u32>> = rows
            .iter()
            .map(|row| {
                (0..row.input_ids.len()).map(|k| u32::from(k + 1 >= row.passage_start)).collect()
            })
            .collect();
        let segments: Vec<&[u32]> = segments.iter().map(Vec::as_slice).collect();
        let inputs = Inputs::from_rows(&ids, i64::from(self.specials.pad))?
            .with_token_type_ids(&segments)?;
        let passage = inputs
            .token_type_ids
            .as_ref()
            .map(|segments| segments.f_to_kind(Kind::Bool)?.f_to_device(device))
            .transpose()?;
        let hidden = self.model.encode(&inputs, true)?;
        let place = |of: fn(&Cloze) -> usize| -> Result<Tensor, tch::TchError> {
            let places: Vec<i64> =
                rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(-1)).collect();
            Tensor::f_from_slice(&places)?.f_to_device(device)
        };
        let (start_logits, end_logits) = self.model.span_logits(&hidden)?;
        let reading = span(
            &start_logits,
            &end_logits,
            &place(|row| row.start)?,
            &place(|row| row.end)?,
            passage.as_ref(),
            &SpanConfig::default(),
        )?;
        let mut parts = vec![("reading", reading.detach())];
        let mut total = reading.f_mul_scalar(config.reading_weight)?;
        // A small batch may have nothing to predict.
        let mlm = MaskedLmConfig::default();
        if let Some(mlm) = masked_lm::loss_from_hidden(self.model, &hidden, &labels, &mlm)? {
            total = mlm.f_add(&total)?;
            parts.push(("mlm", mlm.detach()));
        }
        let tokens = ids.iter().map(|row| row.len() as u64).sum();
        Ok(StepLosses { total, parts, tokens: Some(tokens), accumulated: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{model, specials};

    fn task(model: &Model) -> ClozeTask<'_> {
        // Every token of a passage is different, so that a place can be told from its token.
        let passage: Vec<u32> = (5..65).collect();
        let config = ClozeConfig::default();
        ClozeTask::new(model, specials(), vec![vec![passage]], 10, &config).unwrap()
    }

    #[test]
    fn the_answer_is_a_span_of_the_passage_that_the_question_leaves_out() {
        let model = model(80);
        let task = task(&model);
        let mut rng = trainer::rng_for(1, "cloze", 0);
        for _ in 0..200 {
            let cloze = task.draw(40, &mut rng).unwrap();
            let passage = &cloze.input_ids[cloze.passage_start..cloze.input_ids.len() - 1];
            assert_eq!(passage.len(), 40);
            assert!(cloze.start >= cloze.passage_start && cloze.end >= cloze.start);
            assert!(cloze.end - cloze.start < 4);
            let answer = &cloze.input_ids[cloze.start..=cloze.end];
            let question = &cloze.input_ids[1..cloze.passage_start - 2];
            assert!(question.iter().all(|token| !answer.contains(token)));
            assert!(question.iter().filter(|token| **token == specials().mask).count() <= 1);
            assert_eq!(cloze.input_ids[cloze.passage_start - 2..cloze.passage_start], [2, 2]);
        }
    }

    #[test]
    fn tokens_to_predict_are_in_the_passage_and_not_near_the_answer() {
        let model = model(80);
        let task = task(&model);
        let mut rng = trainer::rng_for(2, "cloze", 0);
        let (mut predicted, mut masked) = (0, 0);
        for _ in 0..300 {
            let cloze = task.draw(40, &mut rng).unwrap();
            for (place, &label) in cloze.labels.iter().enumerate() {
                if label == IGNORE_INDEX {
                    continue;
                }
                assert!(place >= cloze.passage_start);
                assert!(place + 1 < cloze.start || place > cloze.end + 1);
                predicted += 1;
                let input = cloze.input_ids[place];
                assert!(i64::from(input) == label || input == specials().mask);
                masked += usize::from(input == specials().mask);
            }
        }
        // 12 % of about 36 free tokens in each of 300 passages, 85 % of them masked.
        assert!((1100..1500).contains(&predicted), "{predicted}");
        assert!((0.80..0.90).contains(&(f64::from(masked as u32) / f64::from(predicted))));
    }

    #[test]
    fn settings_that_cannot_be_used_are_named() {
        let model = model(80);
        let refuse = |config: ClozeConfig| {
            let passages = vec![vec![(5..65).collect()]];
            ClozeTask::new(&model, specials(), passages, 4, &config)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        let none = refuse(ClozeConfig { longest_answer: 0, ..Default::default() });
        assert!(none.contains("cloze.longest_answer"), "{none}");
        let swapped = refuse(ClozeConfig { neighbours: (9, 3), ..Default::default() });
        assert!(swapped.contains("cloze.neighbours"), "{swapped}");
        let more = refuse(ClozeConfig { masked: 1.5, ..Default::default() });
        assert!(more.contains("cloze.masked"), "{more}");
    }

    #[test]
    fn passages_too_short_for_an_answer_are_an_error() {
        let model = model(80);
        let config = ClozeConfig::default();
        let short = vec![vec![vec![5, 6, 7]]];
        let mut task = ClozeTask::new(&model, specials(), short, 4, &config).unwrap();
        let rng = trainer::rng_for(3, "cloze", 0);
        let mut step = Step { batch: &[0, 1], number: 0, total: 1, rng };
        assert!(task.losses(&mut step).is_err());
    }
}
