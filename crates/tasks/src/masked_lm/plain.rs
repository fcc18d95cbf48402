//! Masked language modelling on a stream of text.
use objectives::MaskedLmReduction;
use objectives::masking::{MaskedExample, MaskingVocab, MlmMaskingConfig, mlm_masking};
use rand::Rng;
use tch::Tensor;
use trainer::{
    BatchStream, ExampleRecord, ExampleSource, ExampleStream, Examples, Fingerprint, Step,
    StepLosses, Task, TaskError,
};
use xlmr_model::{Inputs, Model, SpecialTokens};

use super::{loss_from_hidden, masking_vocab};
use crate::Result;
use crate::micro_batches::losses;

/// Training task of masked language modelling on streamed rows of token ids.
///
/// See BERT (Devlin et al. 2019, §3.1), with masks drawn in every step as in RoBERTa. For rows in
/// memory use [`PhraseMaskingTask`](super::PhraseMaskingTask) with
/// [`PassageMasking::Tokens`](super::PassageMasking::Tokens).
///
/// The loss is the mean over the batch's selected tokens, in nats; it is logged as `mlm`. A batch
/// without a selected token has a loss of 0.
///
/// # Example
/// ```
/// use objectives::masking::MlmMaskingConfig;
/// use tasks::masked_lm::MlmTask;
/// use trainer::{ShardedJsonl, Shards, ShuffleConfig};
/// use xlmr_model::{Config, Head, Model, SpecialTokens};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("rows.jsonl");
/// std::fs::write(&path, "[0, 11, 12, 13, 14, 2]\n[0, 21, 22, 23, 2]\n")?;
/// let rows = ShardedJsonl::<Vec<u32>>::new(Shards::open([path])?, ShuffleConfig::default())?;
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let specials = SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 };
/// let task = MlmTask::new(&model, specials, rows, &MlmMaskingConfig::default())?;
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct MlmTask<'a> {
    model: &'a Model,
    rows: Box<dyn RowStream>,
    masking: MlmMaskingConfig,
    vocab: MaskingVocab,
}

/// A stream of rows of token ids.
trait RowStream: BatchStream {
    /// Returns a row of the current batch.
    fn row(&self, index: usize) -> &[u32];

    fn fingerprint(&self, fingerprint: &mut Fingerprint);
}

impl<S: ExampleSource<Example: AsRef<[u32]>>> RowStream for ExampleStream<S> {
    fn row(&self, index: usize) -> &[u32] {
        self.batch()[index].as_ref()
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.fingerprint(fingerprint);
    }
}

impl<'a> MlmTask<'a> {
    /// Creates a task from the rows of `source`: unpadded token ids with special tokens, at most
    /// [`max_length`](xlmr_model::Config::max_length) tokens per row.
    ///
    /// # Errors
    /// [`Error::Masking`](crate::Error::Masking) if every id of the vocabulary is a special token.
    pub fn new<S: ExampleSource<Example: AsRef<[u32]>> + 'static>(
        model: &'a Model,
        specials: SpecialTokens,
        source: S,
        masking: &MlmMaskingConfig,
    ) -> Result<Self> {
        let stream = ExampleStream::new(source, |row: &S::Example| row.as_ref().len());
        let vocab = masking_vocab(model, specials)?;
        Ok(Self { model, rows: Box::new(stream), masking: masking.clone(), vocab })
    }

    /// Computes the mean loss over the selected tokens of masked rows. If no token is selected, the
    /// loss is 0 and depends on the hidden states, so that the step has a gradient.
    fn loss(&self, rows: &[MaskedExample]) -> Result<Tensor> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let inputs = Inputs::from_rows(&ids, self.model.config().pad_token_id)?;
        let hidden = self.model.encode(&inputs, true)?;
        match loss_from_hidden(self.model, &hidden, &labels, &Default::default())? {
            Some(loss) => Ok(loss),
            None => Ok(hidden.f_sum(None::<tch::Kind>)?.f_mul_scalar(0.0)?),
        }
    }
}

impl Task for MlmTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Streamed(&mut *self.rows)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("masking", &self.masking);
        self.rows.fingerprint(fingerprint);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows = step.batch.iter().map(|&index| self.rows.row(index));
        let mask =
            |row: &[u32]| Ok(mlm_masking(row, &self.vocab, step.rng.random(), &self.masking)?);
        let rows = rows.map(mask).collect::<Result<Vec<MaskedExample>>>()?;
        let mean = MaskedLmReduction::Mean.into();
        let targets = |row: &MaskedExample| row.selected().count();
        let losses = losses(step, "mlm", &rows, mean, targets, |rows| self.loss(rows))?;
        // The loss of a batch without a selected token is not logged.
        let has_targets = rows.iter().any(|row| targets(row) > 0);
        Ok(StepLosses { parts: if has_targets { losses.parts } else { Vec::new() }, ..losses })
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.rows.row(index).to_vec() }
    }
}
