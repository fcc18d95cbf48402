//! Training of a tagger whose class prototypes are aligned with those of another language: the
//! teacher of *ProKD* (Ge et al. 2023).
use objectives::{IGNORE_INDEX, PrototypeConfig, class_prototypes, prototype_alignment};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};
use trainer::{
    ExampleRecord, Examples, Fingerprint, SkippedData, Step, StepLosses, Task, TaskError,
};
use transfer_eval::ner::NerInput;
use xlmr_model::Model;

use super::rows::{LabelledTokens, TaggedRow, labelled_rows};
use crate::{Error, Result};

/// Options of [`AlignedTaggingTask`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignmentConfig {
    /// Weight λ of the alignment, not negative. Interpretation: 1; the value of the paper is not
    /// known.
    pub weight: f64,
    /// Options of the alignment.
    pub prototypes: PrototypeConfig,
}

impl Default for AlignmentConfig {
    fn default() -> Self {
        Self { weight: 1.0, prototypes: PrototypeConfig::default() }
    }
}

impl AlignmentConfig {
    /// Validates the weight; the temperature is validated by
    /// [`prototype_alignment`].
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        match self.weight >= 0.0 && self.weight.is_finite() {
            true => Ok(()),
            false => Err(Error::config("alignment.weight", self.weight, "finite, not negative")),
        }
    }
}

/// Training task on tagged sentences of one language and as many random sentences without tags of
/// another language in each step; logged as `tagging` and `alignment`.
///
/// The loss is the cross-entropy of the tagged sentences (mean over labelled tokens, in nats) plus λ
/// times [`prototype_alignment`] of the prototypes of both languages. The prototypes of the second
/// language are those of the predicted classes. Micro-batches are not supported, because prototypes
/// are means over the batch.
///
/// # Example
/// ```
/// use tasks::token_classification::{AlignedTaggingTask, AlignmentConfig};
/// use trainer::{Step, Task};
/// use transfer_eval::ner::NerInput;
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::TokenClassification { labels: 3 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// let input = |labels: Vec<i64>| NerInput {
///     sentence: 0,
///     input_ids: vec![0, 11, 12, 2],
///     labels,
///     words: vec![(0, 1), (1, 2)],
/// };
/// let tagged = [input(vec![-100, 1, 2, -100])];
/// // The class of a word without a tag is not read.
/// let untagged = [input(vec![-100, 0, 0, -100])];
/// let config = AlignmentConfig::default();
/// let mut task = AlignedTaggingTask::new(&model, &tagged, &untagged, &config)?;
/// let losses = task.losses(&mut Step::new(&[0], trainer::rng_for(0, "ner", 0)))?;
/// assert_eq!(losses.parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["tagging", "alignment"]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct AlignedTaggingTask<'a> {
    model: &'a Model,
    config: AlignmentConfig,
    tagged: Vec<TaggedRow>,
    untagged: Vec<TaggedRow>,
    /// Number of tokens of each tagged row.
    lengths: Vec<usize>,
    /// Number of tagged inputs without a labelled token.
    unlabelled_count: usize,
}

impl<'a> AlignedTaggingTask<'a> {
    /// Creates a task. Only the positions of the labels of `untagged` are used: any class marks a
    /// token with a prediction, -100 the other tokens.
    ///
    /// # Errors
    /// [`Error::Empty`] if no tagged or no untagged input has a labelled token; the errors of
    /// [`AlignmentConfig::validate`].
    pub fn new(
        model: &'a Model,
        tagged: &[NerInput],
        untagged: &[NerInput],
        config: &AlignmentConfig,
    ) -> Result<Self> {
        config.validate()?;
        let (tagged, unlabelled_count) = labelled_rows(tagged)?;
        let (untagged, _) = labelled_rows(untagged)?;
        let lengths = tagged.iter().map(|row| row.input_ids.len()).collect();
        Ok(Self { model, config: config.clone(), tagged, untagged, lengths, unlabelled_count })
    }
}

impl Task for AlignedTaggingTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for TaggedRow { input_ids, labels, .. } in self.tagged.iter().chain(&self.untagged) {
            fingerprint.add_ids("input_ids", input_ids).add_ids("labels", labels);
        }
        fingerprint.add_json("config", &self.config);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let tagged: Vec<&TaggedRow> = step.batch.iter().map(|&k| &self.tagged[k]).collect();
        let mut draw = |_| &self.untagged[step.rng.random_range(0..self.untagged.len())];
        let untagged: Vec<&TaggedRow> = tagged.iter().map(&mut draw).collect();
        let source = LabelledTokens::forward(self.model, &tagged)?;
        let target = LabelledTokens::forward(self.model, &untagged)?;
        let no_weights = None::<&Tensor>;
        let tagging = source.logits.f_cross_entropy_loss(
            &source.labels,
            no_weights,
            Reduction::Mean,
            IGNORE_INDEX,
            0.0,
        )?;
        let classes = source.logits.size()[1];
        let predicted = target.logits.f_argmax(1, false)?;
        let source = class_prototypes(&source.hidden()?, &source.labels, classes)?;
        let target = class_prototypes(&target.hidden()?, &predicted, classes)?;
        let alignment = prototype_alignment(&source, &target, &self.config.prototypes)?;
        let total = tagging.f_add(&alignment.f_mul_scalar(self.config.weight)?)?;
        let tokens = tagged.iter().chain(&untagged).map(|row| row.input_ids.len() as u64).sum();
        Ok(StepLosses {
            total,
            parts: vec![("tagging", tagging.detach()), ("alignment", alignment.detach())],
            tokens: Some(tokens),
            is_accumulated: false,
        })
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        let count = self.tagged.len() + self.unlabelled_count;
        vec![SkippedData::new("sentences without a labelled token", self.unlabelled_count, count)]
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.tagged[index].input_ids.clone() }
    }
}

#[cfg(test)]
mod tests {
    use objectives::ClassPrototypes;
    use tch::Kind;
    use xlmr_model::Inputs;

    use super::super::rows::testing::{inputs, tagger, tagger_of_seed};
    use super::*;
    use crate::testing::{assert_gradient_equals_differences, cross_entropy, first_loss};

    /// Hidden state, logits and gold class of each labelled token, in float64. Each input is encoded
    /// separately, without padding.
    fn tokens(model: &Model, inputs: &[NerInput]) -> Vec<(Tensor, Vec<f64>, i64)> {
        let mut tokens = Vec::new();
        for input in inputs {
            let ids = Inputs::from_rows(&[&input.input_ids], 1).unwrap();
            let hidden = model.encode(&ids, false).unwrap();
            let logits = model.token_logits(&hidden, false).unwrap().to_kind(Kind::Double).get(0);
            let hidden = hidden.get(0).to_kind(Kind::Double);
            for (position, &label) in (0..).zip(&input.labels) {
                if label != IGNORE_INDEX {
                    let logits = Vec::try_from(logits.get(position)).unwrap();
                    tokens.push((hidden.get(position), logits, label));
                }
            }
        }
        tokens
    }

    fn prototypes(tokens: &[(Tensor, Vec<f64>, i64)], classes: &[i64]) -> ClassPrototypes {
        let hidden: Vec<Tensor> = tokens.iter().map(|token| token.0.shallow_clone()).collect();
        class_prototypes(&Tensor::stack(&hidden, 0), &Tensor::from_slice(classes), 5).unwrap()
    }

    fn best(logits: &[f64]) -> i64 {
        (0..5).max_by(|&a, &b| logits[a as usize].total_cmp(&logits[b as usize])).unwrap()
    }

    /// A tagger that predicts at least two classes in the untagged row.
    fn model() -> Model {
        let has_classes = |model: &Model| {
            let tokens = tokens(model, &inputs()[2..]);
            tokens.iter().any(|token| best(&token.1) != best(&tokens[0].1))
        };
        (1..100).map(|seed| tagger_of_seed(5, seed)).find(has_classes).unwrap()
    }

    fn config(weight: f64) -> AlignmentConfig {
        let prototypes = PrototypeConfig { with_class_0: true, ..PrototypeConfig::default() };
        AlignmentConfig { weight, prototypes }
    }

    /// The loss of the tagged rows 0 and 1, with row 2 as the only untagged row.
    fn loss(model: &Model, weight: f64) -> Tensor {
        let inputs = inputs();
        let config = config(weight);
        let mut task = AlignedTaggingTask::new(model, &inputs[..2], &inputs[2..], &config).unwrap();
        first_loss(&mut task, &[0, 1])
    }

    fn reference(model: &Model, weight: f64) -> f64 {
        let (source, target) = (tokens(model, &inputs()[..2]), tokens(model, &inputs()[2..]));
        let losses = source.iter().map(|(_, logits, label)| cross_entropy(logits, *label));
        let tagging = losses.sum::<f64>() / source.len() as f64;
        let gold: Vec<i64> = source.iter().map(|token| token.2).collect();
        let predicted: Vec<i64> = target.iter().map(|token| best(&token.1)).collect();
        let source = prototypes(&source, &gold);
        let target = prototypes(&target, &predicted);
        let alignment = prototype_alignment(&source, &target, &config(1.0).prototypes).unwrap();
        tagging + weight * alignment.double_value(&[])
    }

    #[test]
    fn the_loss_equals_the_reference() {
        let model = model();
        for weight in [0.0, 1.0, 2.5] {
            let (actual, expected) =
                (loss(&model, weight).double_value(&[]), reference(&model, weight));
            assert!((actual - expected).abs() < 1e-5, "{weight}: {actual}, {expected}");
        }
        assert!(reference(&model, 1.0) > reference(&model, 0.0) + 1e-3);
    }

    #[test]
    fn the_gradient_equals_central_differences() {
        let mut model = model();
        model.set_kind(Kind::Double).unwrap();
        loss(&model, 1.0).backward();
        let parameters = model.named_parameters();
        let is_bias = |name: &str| name.ends_with("layer.1.output.dense.bias");
        let (_, bias) = parameters.iter().find(|(name, _)| is_bias(name)).unwrap();
        assert_gradient_equals_differences(bias, 1e-4, || reference(&model, 1.0));
    }

    #[test]
    fn invalid_data_and_weights_are_errors() {
        let (model, inputs) = (tagger(5), inputs());
        let error = |untagged: &[NerInput], weight: f64| {
            let task = AlignedTaggingTask::new(&model, &inputs, untagged, &config(weight));
            task.map(drop).unwrap_err().to_string()
        };
        assert!(error(&[], 1.0).contains("labelled sentences"), "{}", error(&[], 1.0));
        for weight in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(error(&inputs, weight).contains("alignment.weight"));
        }
    }
}
