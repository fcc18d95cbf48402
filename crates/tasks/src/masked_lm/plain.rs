//! Masked language modelling on any text.
use objectives::MaskedLmConfig;
use objectives::masking::{Masked, MaskingVocab, MlmMaskingConfig, mlm_masking};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use trainer::{
    BatchStream, ExampleRecord, ExampleSource, ExampleStream, Examples, Fingerprint, Step,
    StepLosses, Task, TaskError,
};
use xlmr_model::{Inputs, SpecialTokens};

use super::{loss_from_hidden, masking_vocab, step_losses, target_count};
use crate::micro_batches::in_parts;
use crate::{Encoder, Error, Result};

/// Options of [`MlmTask`]; the defaults are BERT's and RoBERTa's.
///
/// # Example
/// ```
/// use tasks::masked_lm::MlmConfig;
///
/// let config: MlmConfig = toml::from_str("masking = { probability = 0.3 }")?;
/// assert_eq!(config.masking.probability, 0.3);
/// assert_eq!(MlmConfig::default(), toml::from_str("")?);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlmConfig {
    /// Which tokens are predicted, and what stands in their place.
    pub masking: MlmMaskingConfig,
    /// The loss at them.
    pub loss: MaskedLmConfig,
}

/// Plain masked language modelling (BERT, Devlin et al. 2019, §3.1, masks drawn anew in every step
/// as in RoBERTa): rows of token ids as a training task for a model with a masked-LM head.
///
/// The loss is the mean over the batch's selected tokens, in nats, unless `loss.reduction` says
/// otherwise; it is logged as `mlm`. A batch without a selected token has a loss of 0.
///
/// # Example
/// ```
/// use tasks::masked_lm::{MlmConfig, MlmTask};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Head, Model, SpecialTokens};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let specials = SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 };
/// let rows = vec![vec![0, 11, 12, 13, 14, 15, 16, 17, 2], vec![0, 21, 22, 23, 24, 25, 26, 2]];
/// let mut task = MlmTask::new(&model, specials, rows, &MlmConfig::default())?;
/// // `trainer::fit` does this for every step.
/// let rng = trainer::rng_for(0, "mlm", 0);
/// let mut step = Step { batch: &[0, 1], number: 0, total: 1, micro_batch: None, rng };
/// let losses = task.losses(&mut step)?;
/// assert!(losses.total.requires_grad());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct MlmTask<'a> {
    model: &'a dyn Encoder,
    rows: Rows,
    config: MlmConfig,
    vocab: MaskingVocab,
}

/// Token ids of examples, `<s>` and `</s>` included.
enum Rows {
    /// With the length of each.
    InMemory(Vec<Vec<u32>>, Vec<usize>),
    Streamed(Box<dyn RowStream>),
}

impl Rows {
    /// A row in memory, or of the batch that was read last.
    fn get(&self, index: usize) -> Option<&[u32]> {
        match self {
            Self::InMemory(rows, _) => rows.get(index).map(Vec::as_slice),
            Self::Streamed(stream) => stream.row(index),
        }
    }
}

/// A stream of rows of token ids.
trait RowStream: BatchStream {
    /// A row of the batch that was read last.
    fn row(&self, index: usize) -> Option<&[u32]>;

    fn fingerprint(&self, fingerprint: &mut Fingerprint);
}

impl<S: ExampleSource<Example: AsRef<[u32]>>> RowStream for ExampleStream<S> {
    fn row(&self, index: usize) -> Option<&[u32]> {
        self.batch().get(index).map(AsRef::as_ref)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.fingerprint(fingerprint);
    }
}

impl<'a> MlmTask<'a> {
    /// `rows`: token ids of each example with its special tokens, at most
    /// [`max_length`](Encoder::max_length) each, not padded.
    ///
    /// # Errors
    /// [`Error::Empty`] without a row; as [`masking_vocab`].
    pub fn new(
        model: &'a dyn Encoder,
        specials: SpecialTokens,
        rows: Vec<Vec<u32>>,
        config: &MlmConfig,
    ) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::empty("text to train on"));
        }
        let lengths = rows.iter().map(Vec::len).collect();
        Self::of(model, specials, Rows::InMemory(rows, lengths), config)
    }

    /// The same with rows that are read as training goes on.
    ///
    /// # Errors
    /// As [`masking_vocab`].
    pub fn streamed<S: ExampleSource<Example: AsRef<[u32]>> + 'static>(
        model: &'a dyn Encoder,
        specials: SpecialTokens,
        source: S,
        config: &MlmConfig,
    ) -> Result<Self> {
        let stream = ExampleStream::new(source, |row: &S::Example| row.as_ref().len());
        Self::of(model, specials, Rows::Streamed(Box::new(stream)), config)
    }

    fn of(
        model: &'a dyn Encoder,
        specials: SpecialTokens,
        rows: Rows,
        config: &MlmConfig,
    ) -> Result<Self> {
        Ok(Self { model, rows, config: config.clone(), vocab: masking_vocab(model, specials)? })
    }

    /// The masked rows of a batch: a function of the batch and the generator's state alone.
    fn mask(&self, batch: &[usize], rng: &mut ChaCha8Rng) -> Result<Vec<Masked>> {
        let rows = batch.iter().filter_map(|&number| self.rows.get(number));
        rows.map(|row| {
            Ok(mlm_masking(row.into(), &self.vocab, rng.random(), &self.config.masking)?)
        })
        .collect()
    }

    /// The loss of masked rows, and their hidden states.
    fn loss(&self, rows: &[Masked]) -> Result<(Option<Tensor>, Tensor)> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let inputs = Inputs::from_rows(&ids, self.model.pad_token_id())?;
        let hidden = self.model.encode(&inputs, true)?;
        Ok((loss_from_hidden(self.model, &hidden, &labels, &self.config.loss)?, hidden))
    }
}

impl Task for MlmTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        match &mut self.rows {
            Rows::InMemory(_, lengths) => Examples::Indexed(lengths),
            Rows::Streamed(stream) => Examples::Streamed(&mut **stream),
        }
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config);
        match &self.rows {
            Rows::InMemory(rows, _) => {
                for row in rows {
                    fingerprint.ids("input_ids", row);
                }
            }
            Rows::Streamed(stream) => stream.fingerprint(fingerprint),
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows = self.mask(step.batch, &mut step.rng)?;
        if let Some(size) = step.micro_batch.filter(|&size| size < rows.len()) {
            let reduction = self.config.loss.reduction.into();
            return in_parts("mlm", &rows, size, reduction, target_count, |rows| {
                Ok(self.loss(rows)?.0)
            });
        }
        let (loss, hidden) = self.loss(&rows)?;
        Ok(step_losses(loss, &hidden)?)
    }

    fn takes_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let input_ids = self.rows.get(index).unwrap_or_default().to_vec();
        ExampleRecord { id: None, input_ids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_bf16_is_near_f32, assert_parts_are_the_whole, model, specials};

    fn rows() -> Vec<Vec<u32>> {
        (10..30).map(|length| [vec![0], (5..5 + length).collect(), vec![2]].concat()).collect()
    }

    fn losses(task: &mut MlmTask<'_>, number: u64) -> StepLosses {
        let rng = trainer::rng_for(1, "mlm", number);
        task.losses(&mut Step { batch: &[3, 0, 17], number, total: 10, micro_batch: None, rng })
            .unwrap()
    }

    #[test]
    fn masks_are_drawn_in_every_step() {
        let model = model(80);
        let task = MlmTask::new(&model, specials(), rows(), &MlmConfig::default()).unwrap();
        let draw = |number| task.mask(&[3, 3], &mut trainer::rng_for(1, "mlm", number)).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[0], draw(1)[1]);
        let masked = &draw(1)[0];
        let row = task.rows.get(3).unwrap();
        for at in masked.selected() {
            assert_eq!(masked.labels[at], i64::from(row[at]));
            assert!(at > 0 && at + 1 < row.len());
        }
    }

    #[test]
    fn the_loss_is_about_ln_v_and_0_where_nothing_is_selected() {
        let model = model(80);
        let mut task = MlmTask::new(&model, specials(), rows(), &MlmConfig::default()).unwrap();
        let loss = losses(&mut task, 1);
        assert_eq!(loss.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["mlm"]);
        assert!((loss.total.double_value(&[]) - 80f64.ln()).abs() < 1.0);
        let masking = MlmMaskingConfig { probability: 0.0, ..Default::default() };
        let none = MlmConfig { masking, ..Default::default() };
        let mut task = MlmTask::new(&model, specials(), rows(), &none).unwrap();
        let loss = losses(&mut task, 1);
        assert!(loss.parts.is_empty() && loss.total.requires_grad());
        assert_eq!(loss.total.double_value(&[]), 0.0);
    }

    #[test]
    fn the_fingerprint_names_rows_and_options() {
        let model = model(80);
        let hash = |rows, config: &MlmConfig| {
            let mut fingerprint = Fingerprint::new();
            MlmTask::new(&model, specials(), rows, config).unwrap().fingerprint(&mut fingerprint);
            fingerprint.finish().unwrap()
        };
        let first = hash(rows(), &MlmConfig::default());
        assert_eq!(first, hash(rows(), &MlmConfig::default()));
        let mut other = rows();
        other[4][2] += 1;
        assert_ne!(first, hash(other, &MlmConfig::default()));
        let masking = MlmMaskingConfig { probability: 0.2, ..Default::default() };
        assert_ne!(first, hash(rows(), &MlmConfig { masking, ..Default::default() }));
        assert!(MlmTask::new(&model, specials(), vec![], &MlmConfig::default()).is_err());
    }

    #[test]
    fn low_precision_and_parts_of_a_batch_change_little() {
        let model = model(80);
        let task = || MlmTask::new(&model, specials(), rows(), &MlmConfig::default()).unwrap();
        let (parameters, batch) = (model.named_parameters(), (0..20).collect::<Vec<usize>>());
        assert_bf16_is_near_f32(&parameters, task, &batch);
        assert_parts_are_the_whole(&parameters, task, &batch);
    }
}
