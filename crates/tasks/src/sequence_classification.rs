//! Sequence classification: a label per text or text pair, such as XNLI.
use objectives::IGNORE_INDEX;
use tch::{Kind, Reduction, Tensor};
use torch_ext::upload;
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use transfer_eval::xnli::{NliInput, NliLabel};
use xlmr_model::Model;

use crate::micro_batches;
use crate::{Error, Result, batch, inference};

/// Training task of sequence classification, logged as `classification`.
///
/// The loss is the cross-entropy in nats, `-ln softmax(logits)[class]`, averaged over the batch's
/// rows, in float32 or, for a float64 model, in float64.
///
/// # Example
/// ```
/// use tasks::sequence_classification::{SequenceClassificationTask, best_classes};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::SequenceClassification { labels: 3 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// // <s> premise </s></s> hypothesis </s>, and its class
/// let rows = vec![(vec![0, 11, 12, 2, 2, 13, 2], 0), (vec![0, 14, 2, 2, 15, 2], 2)];
/// let mut task = SequenceClassificationTask::new(&model, rows)?;
/// let rng = trainer::rng_for(0, "xnli", 0);
/// let mut step = Step::new(&[0, 1], rng);
/// let losses = task.losses(&mut step)?;
/// assert!((losses.total.double_value(&[]) - 3f64.ln()).abs() < 1.0);
/// assert!(best_classes(&model, &[&[0, 11, 2, 2, 13, 2]], 32)?[0] < 3);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct SequenceClassificationTask<'a> {
    model: &'a Model,
    /// Token ids of each example and its class.
    rows: Vec<(Vec<u32>, i64)>,
    /// Number of tokens of each row.
    lengths: Vec<usize>,
}

impl<'a> SequenceClassificationTask<'a> {
    /// Creates a task from `rows`: token ids with special tokens, unpadded, and the class in `0..C`
    /// of the model's head.
    ///
    /// # Errors
    /// [`Error::Empty`] without a row; [`Error::Data`] naming a row whose class is negative.
    pub fn new(model: &'a Model, rows: Vec<(Vec<u32>, i64)>) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::empty("rows to train on"));
        }
        if let Some((number, (_, class))) = rows.iter().enumerate().find(|(_, row)| row.1 < 0) {
            return Err(Error::data(format!("class of row {number}"), "0 or more", class));
        }
        let lengths = rows.iter().map(|(input_ids, _)| input_ids.len()).collect();
        Ok(Self { model, rows, lengths })
    }
}

impl Task for SequenceClassificationTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for (input_ids, class) in &self.rows {
            fingerprint.add_ids("input_ids", input_ids).add_ids("class", &[*class]);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows: Vec<&(Vec<u32>, i64)> = step.batch.iter().map(|&k| &self.rows[k]).collect();
        let mean = micro_batches::Reduction::Mean;
        micro_batches::losses(step, "classification", &rows, mean, |_| 1, |rows| self.loss(rows))
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.rows[index].0.clone() }
    }
}

impl SequenceClassificationTask<'_> {
    /// Computes the mean loss over some rows.
    fn loss(&self, rows: &[&(Vec<u32>, i64)]) -> Result<Tensor> {
        let ids: Vec<&[u32]> = rows.iter().map(|(input_ids, _)| input_ids.as_slice()).collect();
        let classes: Vec<i64> = rows.iter().map(|(_, class)| *class).collect();
        let inputs = batch::pair_inputs(self.model, &ids)?;
        let hidden = self.model.encode(&inputs, true)?;
        let mask = inputs.attention_mask.as_ref();
        let logits = self.model.sequence_logits(&hidden, mask, true)?; // [B, C]
        let (_, count) = logits.size2()?;
        if let Some(class) = classes.iter().find(|&&class| class >= count) {
            let error = Error::data("class", format!("below {count}, the number of labels"), class);
            return Err(error);
        }
        let logits = match logits.f_kind()? {
            Kind::Half | Kind::BFloat16 => logits.f_to_kind(Kind::Float)?,
            _ => logits,
        };
        let targets = upload(&Tensor::f_from_slice(&classes)?, logits.device())?;
        let no_weights = None::<&Tensor>;
        Ok(logits.f_cross_entropy_loss(&targets, no_weights, Reduction::Mean, IGNORE_INDEX, 0.0)?)
    }
}

/// Predicts the class of each row, in `0..C`, in the order of the rows.
///
/// # Errors
/// If the model has no sequence classification head or rejects an input; [`Error::Data`] if a logit
/// is not finite; [`Error::Config`] if `batch_size` is 0.
///
/// # Example
/// ```
/// use tasks::sequence_classification::best_classes;
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::SequenceClassification { labels: 5 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// let classes = best_classes(&model, &[&[0, 11, 2], &[0, 12, 13, 2]], 32)?;
/// assert!(classes.len() == 2 && classes.iter().all(|class| *class < 5));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn best_classes(model: &Model, rows: &[&[u32]], batch_size: usize) -> Result<Vec<usize>> {
    inference::map_rows(model, rows, batch_size, |_, inputs, hidden| {
        let mask = inputs.attention_mask.as_ref();
        inference::argmax_rows(model.sequence_logits(hidden, mask, false)?)
    })
}

/// Predicts the label of each pair, in the order of the pairs, for
/// [`score_nli`](transfer_eval::xnli::score_nli).
///
/// # Errors
/// The errors of [`best_classes`]; [`Error::Data`] if the head does not have 3 labels.
///
/// # Example
/// ```
/// use tasks::sequence_classification::classify_nli;
/// use transfer_eval::xnli::NliInput;
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::SequenceClassification { labels: 3 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// let pair = NliInput { input_ids: vec![0, 11, 2, 2, 12, 2], label: 1 };
/// assert_eq!(classify_nli(&model, &[pair], 32)?.len(), 1);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn classify_nli(
    model: &Model,
    inputs: &[NliInput],
    batch_size: usize,
) -> Result<Vec<NliLabel>> {
    let rows: Vec<&[u32]> = inputs.iter().map(|input| input.input_ids.as_slice()).collect();
    inference::map_rows(model, &rows, batch_size, |_, inputs, hidden| {
        let mask = inputs.attention_mask.as_ref();
        let logits = model.sequence_logits(hidden, mask, false)?;
        if logits.size().last() != Some(&3) {
            return Err(Error::data("logits", "[B, 3]", format!("shape {:?}", logits.size())));
        }
        let label = |class| NliLabel::from_class(class).expect("one of three classes");
        Ok(inference::argmax_rows(logits)?.into_iter().map(label).collect())
    })
}

#[cfg(test)]
mod tests {
    use xlmr_model::{Head, Inputs, Model};

    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_gradient_equals_differences, assert_micro_batches_match,
        cross_entropy, fingerprint_of, first_loss, first_losses, model_with_head,
    };

    fn model() -> Model {
        model_with_range(0.3)
    }

    fn model_with_range(initializer_range: f64) -> Model {
        model_with_head(Head::SequenceClassification { labels: 4 }, initializer_range, 1)
    }

    /// Rows of different lengths.
    fn rows() -> Vec<(Vec<u32>, i64)> {
        let row = |length: u32| (0..length).map(|k| 5 + (k * 7 + length) % 30).collect();
        vec![(row(9), 2), (row(4), 0), (row(20), 3), (row(6), 0)]
    }

    fn loss(model: &Model, batch: &[usize]) -> Tensor {
        first_loss(&mut SequenceClassificationTask::new(model, rows()).unwrap(), batch)
    }

    /// Reference implementation in float64: each row is encoded separately, without padding.
    fn reference_loss(model: &Model, batch: &[usize]) -> f64 {
        let losses = batch.iter().map(|&k| {
            let (ids, class) = &rows()[k];
            let hidden = model.encode(&Inputs::from_rows(&[ids], 1).unwrap(), false).unwrap();
            let logits = model.sequence_logits(&hidden, None, false).unwrap().to_kind(Kind::Double);
            cross_entropy(&Vec::<f64>::try_from(logits.squeeze_dim(0)).unwrap(), *class)
        });
        losses.sum::<f64>() / batch.len() as f64
    }

    #[test]
    fn the_loss_equals_the_reference() {
        let model = model();
        for batch in [&[0, 1, 2, 3][..], &[2, 0], &[1]] {
            let (actual, expected) =
                (loss(&model, batch).double_value(&[]), reference_loss(&model, batch));
            assert!(
                (actual - expected).abs() < 1e-5,
                "{batch:?}: got {actual}, expected {expected}"
            );
        }
    }

    #[test]
    fn the_gradient_equals_central_differences() {
        let mut model = model();
        model.set_kind(Kind::Double).unwrap();
        let batch = [0, 1, 2, 3];
        let loss = loss(&model, &batch);
        assert!((loss.double_value(&[]) - reference_loss(&model, &batch)).abs() < 1e-12);
        loss.backward();
        let parameters = model.named_parameters();
        let (_, bias) =
            parameters.iter().find(|(name, _)| name.ends_with("out_proj.bias")).unwrap();
        assert_eq!(bias.size(), [4]);
        assert_gradient_equals_differences(bias, 1e-8, || reference_loss(&model, &batch));
    }

    #[test]
    fn classes_outside_the_head_and_no_rows_are_errors() {
        let model = model();
        assert!(SequenceClassificationTask::new(&model, vec![]).is_err());
        let error = SequenceClassificationTask::new(&model, vec![(vec![0, 2], -1)]).err();
        assert_eq!(error.unwrap().to_string(), "class of row 0: expected 0 or more, got -1");
        let mut task = SequenceClassificationTask::new(&model, vec![(vec![0, 2], 4)]).unwrap();
        let error = first_losses(&mut task, &[0]).err().unwrap().to_string();
        assert_eq!(error, "class: expected below 4, the number of labels, got 4");
    }

    #[test]
    fn the_fingerprint_depends_on_rows_and_classes() {
        let model = model();
        let hash = |rows| fingerprint_of(&SequenceClassificationTask::new(&model, rows).unwrap());
        assert_eq!(hash(rows()), hash(rows()));
        let mut changed = rows();
        changed[1].1 = 1;
        assert_ne!(hash(rows()), hash(changed));
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        // With large logits, the rounding error of bfloat16 in the loss would be too large.
        let (model, rows) = (model_with_range(0.05), [rows(), rows()].concat());
        let task = || SequenceClassificationTask::new(&model, rows.clone()).unwrap();
        let batch: Vec<usize> = (0..rows.len()).collect();
        let parameters = model.named_parameters();
        assert_bf16_is_near_f32(&parameters, task, &batch);
        assert_micro_batches_match(&parameters, task, &batch);
    }
}
