//! Relation classification: the relation of two marked entities in a sentence, such as TACRED's.
use std::path::Path;

use objectives::IGNORE_INDEX;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};
use torch_ext::{to_i64, upload};
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use transfer_eval::relations::{RelationExample, RelationInput, RelationLabels};
use xlmr_model::{Config, Head, Inputs, Model};

use crate::{Error, Result, batch, inference, micro_batches};

/// The hidden states that a relation is classified from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationPooling {
    /// The states of the first markers of subject and object, concatenated (Baldini Soares et al.
    /// 2019). The linear layer of the concatenation, `W [h_s; h_o] + b`, is the sum of two blocks of a
    /// token classification head with 2C labels: the first C logits at the subject plus the last C
    /// logits at the object. The model is therefore saved as a token classifier.
    #[default]
    EntityStarts,
    /// The pooled states of the sequence classification head, as in MultiTACRED.
    Sequence,
}

impl RelationPooling {
    /// Returns the head for C = `labels` classes.
    ///
    /// # Example
    /// ```
    /// use tasks::relation_classification::RelationPooling;
    /// use transfer_eval::relations::RelationLabels;
    /// use xlmr_model::Head;
    ///
    /// let labels = RelationLabels::new(&["per:title", "per:spouse"])?; // and no_relation
    /// let head = RelationPooling::EntityStarts.head(&labels);
    /// assert!(matches!(head, Head::TokenClassification { labels: 6 }));
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    pub fn head(self, labels: &RelationLabels) -> Head {
        let count = to_i64(labels.names().len());
        match self {
            Self::EntityStarts => Head::TokenClassification { labels: 2 * count },
            Self::Sequence => Head::SequenceClassification { labels: count },
        }
    }

    /// Computes logits `[B, C]` of hidden states `[B, L, H]`.
    fn logits(
        self,
        model: &Model,
        inputs: &Inputs,
        hidden: &Tensor,
        rows: &[&RelationInput],
        train: bool,
    ) -> Result<Tensor> {
        if self == Self::Sequence {
            return Ok(model.sequence_logits(hidden, inputs.attention_mask.as_ref(), train)?);
        }
        let (_, length, _) = hidden.size3()?;
        let first = |row: usize| to_i64(row) * length;
        let at = rows.iter().enumerate().flat_map(|(row, input)| {
            [input.subject, input.object].map(|position| first(row) + to_i64(position))
        });
        let at = upload(&Tensor::f_from_slice(&at.collect::<Vec<i64>>())?, hidden.device())?;
        let states = hidden.f_flatten(0, 1)?.f_index_select(0, &at)?; // [2B, H]
        let states = states.f_view([to_i64(rows.len()), 2, -1])?;
        let logits = model.token_logits(&states, train)?; // [B, 2, 2C]
        let (_, _, width) = logits.size3()?;
        if width % 2 != 0 {
            return Err(Error::data("labels of the head", "an even number", width));
        }
        let block = |entity: i64| -> Result<Tensor> {
            Ok(logits.f_select(1, entity)?.f_narrow(1, entity * width / 2, width / 2)?)
        };
        Ok(block(0)?.f_add(&block(1)?)?)
    }
}

/// Training task of relation classification, logged as `relations`.
///
/// The loss is the cross-entropy in nats, averaged over the batch's rows, in float32 or, for a
/// float64 model, in float64.
///
/// # Example
/// ```
/// use tasks::relation_classification::{RelationPooling, RelationTask, classify_relations};
/// use trainer::{Step, Task};
/// use transfer_eval::relations::{RelationInput, RelationLabels};
/// use xlmr_model::{Config, Model};
///
/// let labels = RelationLabels::new(&["per:title"])?; // and no_relation
/// let pooling = RelationPooling::EntityStarts;
/// let model = Model::new(&Config::tiny(50), &[pooling.head(&labels)], tch::Device::Cpu, 1)?;
/// // <s> @ subject @ word # object # </s>
/// let input = RelationInput { input_ids: vec![0, 7, 11, 7, 12, 8, 13, 8, 2], subject: 1, object: 5 };
/// let rows = vec![(input.clone(), 1), (input.clone(), 0)];
/// let mut task = RelationTask::new(&model, pooling, rows)?;
/// let losses = task.losses(&mut Step::new(&[0, 1], trainer::rng_for(0, "relations", 0)))?;
/// assert!((losses.total.double_value(&[]) - 2f64.ln()).abs() < 1.0);
/// assert!(classify_relations(&model, pooling, &[input], 32)?[0] < 2);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct RelationTask<'a> {
    model: &'a Model,
    pooling: RelationPooling,
    /// Inputs and their classes.
    rows: Vec<(RelationInput, i64)>,
    /// Number of tokens of each row.
    lengths: Vec<usize>,
}

impl<'a> RelationTask<'a> {
    /// Creates a task from inputs and their classes in `0..C`.
    ///
    /// # Errors
    /// [`Error::Empty`] without a row; [`Error::Data`] naming a row whose class is negative or whose
    /// entities are outside of the input.
    pub fn new(
        model: &'a Model,
        pooling: RelationPooling,
        rows: Vec<(RelationInput, i64)>,
    ) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::empty("rows to train on"));
        }
        for (number, (input, class)) in rows.iter().enumerate() {
            check_positions(number, input)?;
            if *class < 0 {
                return Err(Error::data(format!("class of row {number}"), "0 or more", class));
            }
        }
        let lengths = rows.iter().map(|(input, _)| input.input_ids.len()).collect();
        Ok(Self { model, pooling, rows, lengths })
    }

    /// Computes the mean loss over some rows.
    fn loss(&self, rows: &[&(RelationInput, i64)]) -> Result<Tensor> {
        let ids: Vec<&[u32]> = rows.iter().map(|(input, _)| input.input_ids.as_slice()).collect();
        let inputs = batch::pair_inputs(self.model, &ids)?;
        let hidden = self.model.encode(&inputs, true)?;
        let relation_inputs: Vec<&RelationInput> = rows.iter().map(|(input, _)| input).collect();
        let logits = self.pooling.logits(self.model, &inputs, &hidden, &relation_inputs, true)?;
        let classes: Vec<i64> = rows.iter().map(|(_, class)| *class).collect();
        let (_, count) = logits.size2()?;
        if let Some(class) = classes.iter().find(|&&class| class >= count) {
            return Err(Error::data(
                "class",
                format!("below {count}, the number of classes"),
                class,
            ));
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

impl Task for RelationTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("pooling", &self.pooling);
        for (input, class) in &self.rows {
            let entities = [to_i64(input.subject), to_i64(input.object), *class];
            fingerprint.add_ids("input_ids", &input.input_ids).add_ids("entities", &entities);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows: Vec<&(RelationInput, i64)> = step.batch.iter().map(|&k| &self.rows[k]).collect();
        let mean = micro_batches::Reduction::Mean;
        micro_batches::losses(step, "relations", &rows, mean, |_| 1, |rows| self.loss(rows))
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.rows[index].0.input_ids.clone() }
    }
}

fn check_positions(number: usize, input: &RelationInput) -> Result<()> {
    let length = input.input_ids.len();
    match [input.subject, input.object].iter().find(|&&position| position >= length) {
        Some(position) => {
            let expected = format!("below {length}, the length of the input");
            Err(Error::data(format!("entity position of row {number}"), expected, position))
        }
        None => Ok(()),
    }
}

/// Returns the classes of examples.
///
/// # Errors
/// [`Error::Data`] naming an example whose relation is not in `labels`.
///
/// # Example
/// ```
/// use tasks::relation_classification::relation_classes;
/// use transfer_eval::relations::{RelationLabels, read_relations};
///
/// let examples = read_relations("../testkit/fixtures/transfer/relations.json")?;
/// let labels = RelationLabels::new(&["per:title", "org:founded_by"])?;
/// assert_eq!(relation_classes(&examples, &labels).unwrap(), [1, 0, 2, 1]);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
pub fn relation_classes(examples: &[RelationExample], labels: &RelationLabels) -> Result<Vec<i64>> {
    let class = |example: &RelationExample| {
        let class = labels.class(&example.relation).map(to_i64);
        class.ok_or_else(|| {
            let field = format!("relation of example `{}`", example.id);
            Error::data(field, format!("one of {}", labels.names().join(", ")), &example.relation)
        })
    };
    examples.iter().map(class).collect()
}

/// Predicts the class of each input, in `0..C`, in the order of the inputs.
///
/// # Errors
/// If the model has no head of this pooling or rejects an input; [`Error::Data`] for a position
/// outside of an input, or if a logit is not finite; [`Error::Config`] if `batch_size` is 0.
pub fn classify_relations(
    model: &Model,
    pooling: RelationPooling,
    inputs: &[RelationInput],
    batch_size: usize,
) -> Result<Vec<usize>> {
    inputs.iter().enumerate().try_for_each(|(number, input)| check_positions(number, input))?;
    let rows: Vec<&[u32]> = inputs.iter().map(|input| input.input_ids.as_slice()).collect();
    inference::map_rows(model, &rows, batch_size, |indices, batch_inputs, hidden| {
        let batch: Vec<&RelationInput> = indices.iter().map(|&index| &inputs[index]).collect();
        inference::argmax_rows(pooling.logits(model, batch_inputs, hidden, &batch, false)?)
    })
}

/// Writes relation names to the `config.json` of a saved model (`id2label`). With
/// [`RelationPooling::EntityStarts`], the names of the two blocks have the prefixes `subject:` and
/// `object:`.
///
/// # Errors
/// [`Error::Model`] if `config.json` cannot be read or written.
pub fn write_relation_names(
    folder: impl AsRef<Path>,
    pooling: RelationPooling,
    labels: &RelationLabels,
) -> Result<()> {
    let path = folder.as_ref().join("config.json");
    let names: Vec<String> = match pooling {
        RelationPooling::Sequence => labels.names().to_vec(),
        RelationPooling::EntityStarts => ["subject", "object"]
            .iter()
            .flat_map(|side| labels.names().iter().map(move |name| format!("{side}:{name}")))
            .collect(),
    };
    let id2label = (0..).zip(names).collect();
    let config = Config { id2label: Some(id2label), ..Config::from_file(&path)? };
    Ok(config.write(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_gradient_equals_differences, assert_micro_batches_match,
        cross_entropy, fingerprint_of, first_loss, first_losses, model_with_head,
    };

    const POOLINGS: [RelationPooling; 2] =
        [RelationPooling::EntityStarts, RelationPooling::Sequence];

    fn labels() -> RelationLabels {
        RelationLabels::new(&["a", "b", "c"]).unwrap()
    }

    fn model(pooling: RelationPooling, initializer_range: f64) -> Model {
        model_with_head(pooling.head(&labels()), initializer_range, 1)
    }

    /// Rows of different lengths.
    fn rows() -> Vec<(RelationInput, i64)> {
        let row = |length: u32, subject: usize, object: usize, class: i64| {
            let input_ids = (0..length).map(|k| 5 + (k * 7 + length) % 30).collect();
            (RelationInput { input_ids, subject, object }, class)
        };
        vec![row(9, 1, 6, 2), row(4, 2, 1, 0), row(20, 17, 3, 3), row(6, 0, 5, 0)]
    }

    fn loss(model: &Model, pooling: RelationPooling, batch: &[usize]) -> Tensor {
        first_loss(&mut RelationTask::new(model, pooling, rows()).unwrap(), batch)
    }

    /// Computes logits in float64 from single rows, without padding. For entity starts, the layer
    /// of the concatenated states is applied as one matrix.
    fn reference_logits(
        model: &Model,
        pooling: RelationPooling,
        input: &RelationInput,
    ) -> Vec<f64> {
        let inputs = Inputs::from_rows(&[&input.input_ids], 1).unwrap();
        let hidden = model.encode(&inputs, false).unwrap();
        if pooling == RelationPooling::Sequence {
            let logits = model.sequence_logits(&hidden, None, false).unwrap();
            return Vec::try_from(logits.squeeze_dim(0).to_kind(Kind::Double)).unwrap();
        }
        let parameters = model.named_parameters();
        let parameter = |end: &str| {
            let found = parameters.iter().find(|(name, _)| name == &format!("classifier.{end}"));
            found.unwrap().1.to_kind(Kind::Double)
        };
        let (weight, bias) = (parameter("weight"), parameter("bias")); // [2C, H], [2C]
        let blocks = weight.chunk(2, 0);
        let weight = Tensor::cat(&[&blocks[0], &blocks[1]], 1); // [C, 2H]
        let biases = bias.chunk(2, 0);
        let state = |position: usize| hidden.get(0).get(to_i64(position)).to_kind(Kind::Double);
        let states = Tensor::cat(&[state(input.subject), state(input.object)], 0);
        Vec::try_from(weight.mv(&states) + &biases[0] + &biases[1]).unwrap()
    }

    fn reference_loss(model: &Model, pooling: RelationPooling, batch: &[usize]) -> f64 {
        let losses = batch.iter().map(|&k| {
            let (input, class) = &rows()[k];
            cross_entropy(&reference_logits(model, pooling, input), *class)
        });
        losses.sum::<f64>() / batch.len() as f64
    }

    #[test]
    fn the_loss_equals_the_reference() {
        for pooling in POOLINGS {
            let model = model(pooling, 0.1);
            for batch in [&[0, 1, 2, 3][..], &[2, 0], &[1]] {
                let actual = loss(&model, pooling, batch).double_value(&[]);
                let expected = reference_loss(&model, pooling, batch);
                assert!((actual - expected).abs() < 1e-5, "{pooling:?}: {actual}, {expected}");
            }
        }
    }

    #[test]
    fn the_gradient_equals_central_differences() {
        for pooling in POOLINGS {
            let mut model = model(pooling, 0.1);
            model.set_kind(Kind::Double).unwrap();
            let batch = [0, 1, 2, 3];
            let loss = loss(&model, pooling, &batch);
            assert!(
                (loss.double_value(&[]) - reference_loss(&model, pooling, &batch)).abs() < 1e-12
            );
            loss.backward();
            let parameters = model.named_parameters();
            let bias = parameters.iter().rev().find(|(name, tensor)| {
                name.starts_with("classifier") && name.ends_with("bias") && tensor.size()[0] <= 8
            });
            let (_, bias) = bias.unwrap();
            assert_gradient_equals_differences(bias, 1e-8, || {
                reference_loss(&model, pooling, &batch)
            });
        }
    }

    #[test]
    fn predictions_are_the_classes_of_the_largest_logits() {
        for pooling in POOLINGS {
            let model = model(pooling, 0.5);
            let inputs: Vec<RelationInput> = rows().into_iter().map(|(input, _)| input).collect();
            let argmax = |logits: Vec<f64>| {
                (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
            };
            let expected: Vec<usize> = inputs
                .iter()
                .map(|input| argmax(reference_logits(&model, pooling, input)))
                .collect();
            for batch_size in [1, 3, 8] {
                let classes = classify_relations(&model, pooling, &inputs, batch_size).unwrap();
                assert_eq!(classes, expected, "{pooling:?}");
            }
        }
    }

    #[test]
    fn invalid_rows_are_errors() {
        let pooling = RelationPooling::EntityStarts;
        let model = model(pooling, 0.1);
        let error_of = |rows| RelationTask::new(&model, pooling, rows).err().unwrap().to_string();
        assert!(error_of(vec![]).contains("rows to train on"));
        let input = RelationInput { input_ids: vec![0, 5, 2], subject: 1, object: 3 };
        let message = error_of(vec![(input.clone(), 0)]);
        assert_eq!(
            message,
            "entity position of row 0: expected below 3, the length of the input, got 3"
        );
        assert!(classify_relations(&model, pooling, std::slice::from_ref(&input), 2).is_err());
        let input = RelationInput { object: 1, ..input };
        assert!(error_of(vec![(input.clone(), -1)]).contains("class of row 0"));
        let mut task = RelationTask::new(&model, pooling, vec![(input, 4)]).unwrap();
        let error = first_losses(&mut task, &[0]).err().unwrap().to_string();
        assert_eq!(error, "class: expected below 4, the number of classes, got 4");
    }

    #[test]
    fn the_fingerprint_depends_on_everything() {
        let model = model(RelationPooling::EntityStarts, 0.1);
        let hash =
            |pooling, rows| fingerprint_of(&RelationTask::new(&model, pooling, rows).unwrap());
        let first = hash(POOLINGS[0], rows());
        assert_eq!(first, hash(POOLINGS[0], rows()));
        assert_ne!(first, hash(POOLINGS[1], rows()));
        for change in [
            |row: &mut (RelationInput, i64)| row.1 = 1,
            |row: &mut (RelationInput, i64)| row.0.subject = 0,
            |row: &mut (RelationInput, i64)| row.0.input_ids[0] += 1,
        ] {
            let mut changed = rows();
            change(&mut changed[1]);
            assert_ne!(first, hash(POOLINGS[0], changed));
        }
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        for pooling in POOLINGS {
            let (model, rows) = (model(pooling, 0.05), [rows(), rows()].concat());
            let task = || RelationTask::new(&model, pooling, rows.clone()).unwrap();
            let batch: Vec<usize> = (0..rows.len()).collect();
            let parameters = model.named_parameters();
            assert_bf16_is_near_f32(&parameters, task, &batch);
            assert_micro_batches_match(&parameters, task, &batch);
        }
    }
}
