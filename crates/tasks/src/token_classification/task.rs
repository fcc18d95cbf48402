//! Training on tagged sentences.
use objectives::IGNORE_INDEX;
use tch::{Kind, Reduction, Tensor};
use torch_ext::upload;
use trainer::{
    ExampleRecord, Examples, Fingerprint, SkippedData, Step, StepLosses, Task, TaskError,
};
use transfer_eval::ner::NerInput;
use xlmr_model::{Inputs, Model};

use crate::masked_lm::target_positions;
use crate::micro_batches;
use crate::{Error, Result};

// Encoded sentences and losses use the same label for tokens without loss.
const _: () = assert!(transfer_eval::ner::IGNORE_INDEX == IGNORE_INDEX);

/// Training task of token classification, logged as `tagging`.
///
/// The loss is the cross-entropy in nats, averaged over the batch's labelled tokens.
///
/// # Example
/// ```
/// use tasks::token_classification::TokenClassificationTask;
/// use trainer::{Step, Task};
/// use transfer_eval::ner::NerInput;
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::TokenClassification { labels: 5 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// // Two words, the first with two pieces, as created by `transfer_eval::ner::encode_ner`.
/// let input = NerInput {
///     sentence: 0,
///     input_ids: vec![0, 11, 12, 13, 2],
///     labels: vec![-100, 3, -100, 0, -100],
///     words: vec![(0, 1), (1, 3)],
/// };
/// let mut task = TokenClassificationTask::new(&model, &[input])?;
/// let rng = trainer::rng_for(0, "ner", 0);
/// let mut step = Step::new(&[0], rng);
/// let losses = task.losses(&mut step)?;
/// assert!((losses.total.double_value(&[]) - 5f64.ln()).abs() < 1.0);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct TokenClassificationTask<'a> {
    model: &'a Model,
    rows: Vec<Row>,
    /// Number of tokens of each row.
    lengths: Vec<usize>,
    /// Number of inputs without a labelled token.
    unlabelled_count: usize,
}

struct Row {
    /// Token ids, `[L]`.
    input_ids: Vec<u32>,
    /// `[L]`: the class of a labelled token, [`IGNORE_INDEX`] elsewhere.
    labels: Vec<i64>,
}

impl<'a> TokenClassificationTask<'a> {
    /// Creates a task. Inputs without a labelled token are skipped.
    ///
    /// # Errors
    /// [`Error::Empty`] if no input has a labelled token.
    pub fn new(model: &'a Model, inputs: &[NerInput]) -> Result<Self> {
        let row = |input: &NerInput| Row {
            input_ids: input.input_ids.clone(),
            labels: input.labels.clone(),
        };
        let mut rows: Vec<Row> = inputs.iter().map(row).collect();
        let count = rows.len();
        rows.retain(|row| row.labels.iter().any(|&label| label != IGNORE_INDEX));
        if rows.is_empty() {
            return Err(Error::empty("labelled sentences to train on"));
        }
        let lengths = rows.iter().map(|row| row.input_ids.len()).collect();
        let unlabelled_count = count - rows.len();
        Ok(Self { model, rows, lengths, unlabelled_count })
    }
}

impl Task for TokenClassificationTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for Row { input_ids, labels } in &self.rows {
            fingerprint.add_ids("input_ids", input_ids).add_ids("labels", labels);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows: Vec<&Row> = step.batch.iter().map(|&k| &self.rows[k]).collect();
        let mean = micro_batches::Reduction::Mean;
        micro_batches::losses(step, "tagging", &rows, mean, count_labelled, |rows| self.loss(rows))
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        let count = self.rows.len() + self.unlabelled_count;
        vec![SkippedData::new("sentences without a labelled token", self.unlabelled_count, count)]
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.rows[index].input_ids.clone() }
    }
}

/// Returns the number of labelled tokens of a row.
fn count_labelled(row: &&Row) -> usize {
    row.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
}

impl TokenClassificationTask<'_> {
    /// Computes the mean loss over the labelled tokens of some rows.
    fn loss(&self, rows: &[&Row]) -> Result<Tensor> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let inputs = Inputs::from_rows(&ids, self.model.config().pad_token_id)?;
        let positions = target_positions(&labels, self.model.device())?;
        // Dropout depends on a token's position, so tokens are gathered after dropout.
        // [B, L, C]
        let logits = self.model.token_logits(&self.model.encode(&inputs, true)?, true)?;
        let logits = positions.gather(&logits)?.f_to_kind(Kind::Float)?; // [N, C]
        let targets = upload(&positions.targets, logits.device())?;
        let no_weights = None::<&Tensor>;
        Ok(logits.f_cross_entropy_loss(&targets, no_weights, Reduction::Mean, IGNORE_INDEX, 0.0)?)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use xlmr_model::{Config, Head, Model};

    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_gradient_equals_differences, assert_micro_batches_match,
        cross_entropy, first_loss,
    };

    fn tagger(labels: i64) -> Model {
        let config = Config {
            hidden_size: 16,
            num_attention_heads: 2,
            num_hidden_layers: 2,
            intermediate_size: 32,
            max_position_embeddings: 60,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.3,
            ..Config::tiny(40)
        };
        Model::new(&config, &[Head::TokenClassification { labels }], Device::Cpu, 1).unwrap()
    }

    /// Rows of different lengths, with labels at some positions.
    fn inputs() -> Vec<NerInput> {
        let row = |sentence: usize, length: u32, step: usize| {
            let input_ids: Vec<u32> = (0..length).map(|k| 5 + (k * 7 + length) % 30).collect();
            let positions = (1..input_ids.len() - 1).step_by(step);
            let words: Vec<(usize, usize)> = positions.enumerate().collect();
            let mut labels = vec![IGNORE_INDEX; input_ids.len()];
            for &(word, position) in &words {
                labels[position] = (word % 5) as i64;
            }
            NerInput { sentence, input_ids, labels, words }
        };
        vec![row(0, 9, 2), row(1, 4, 1), row(2, 20, 3)]
    }

    fn loss(model: &Model, inputs: &[NerInput], batch: &[usize]) -> Tensor {
        first_loss(&mut TokenClassificationTask::new(model, inputs).unwrap(), batch)
    }

    /// Reference implementation in float64: each row is encoded separately, without padding, and
    /// each labelled token has a separate loss.
    fn reference_loss(model: &Model, inputs: &[NerInput], batch: &[usize]) -> f64 {
        let mut losses = Vec::new();
        for input in batch.iter().map(|&k| &inputs[k]) {
            let inputs = Inputs::from_rows(&[&input.input_ids], 1).unwrap();
            let hidden = model.encode(&inputs, false).unwrap();
            let logits = model.token_logits(&hidden, false).unwrap().squeeze_dim(0);
            let logits = Vec::<Vec<f64>>::try_from(logits.to_kind(Kind::Double)).unwrap();
            for (row, &label) in logits.iter().zip(&input.labels) {
                if label != IGNORE_INDEX {
                    losses.push(cross_entropy(row, label));
                }
            }
        }
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    #[test]
    fn the_loss_equals_the_reference() {
        let (model, inputs) = (tagger(5), inputs());
        for batch in [&[0, 1, 2][..], &[2, 0], &[1]] {
            let (actual, expected) = (
                loss(&model, &inputs, batch).double_value(&[]),
                reference_loss(&model, &inputs, batch),
            );
            assert!(
                (actual - expected).abs() < 1e-5,
                "{batch:?}: got {actual}, expected {expected}"
            );
        }
        // The mean over tokens differs from the mean of the rows' means.
        let mean: f64 = (0..3).map(|k| reference_loss(&model, &inputs, &[k])).sum::<f64>() / 3.0;
        assert!((mean - reference_loss(&model, &inputs, &[0, 1, 2])).abs() > 1e-3);
    }

    #[test]
    fn the_gradient_equals_central_differences() {
        let mut model = tagger(5);
        model.set_kind(Kind::Double).unwrap();
        let inputs = inputs();
        loss(&model, &inputs, &[0, 1, 2]).backward();
        let classifier = "classifier.bias";
        let parameters = model.named_parameters();
        let (_, bias) = parameters.iter().find(|(name, _)| name == classifier).unwrap();
        assert_gradient_equals_differences(bias, 1e-6, || {
            reference_loss(&model, &inputs, &[0, 1, 2])
        });
    }

    #[test]
    fn unlabelled_rows_are_skipped() {
        let model = tagger(5);
        let mut inputs = inputs();
        inputs[1].labels.fill(IGNORE_INDEX);
        let mut task = TokenClassificationTask::new(&model, &inputs).unwrap();
        assert_eq!(task.examples().lengths(), Some([9, 20].as_slice()));
        assert_eq!(
            task.skipped_data(),
            [SkippedData::new("sentences without a labelled token", 1, 3)]
        );
        let actual = loss(&model, &inputs, &[0, 1]).double_value(&[]);
        assert!((actual - reference_loss(&model, &inputs, &[0, 2])).abs() < 1e-5);
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        let (model, inputs) = (tagger(5), [inputs(), inputs()].concat());
        let task = || TokenClassificationTask::new(&model, &inputs).unwrap();
        let (parameters, batch) = (model.named_parameters(), [0, 1, 2, 3, 4, 5]);
        assert_bf16_is_near_f32(&parameters, task, &batch);
        assert_micro_batches_match(&parameters, task, &batch);
    }
}
