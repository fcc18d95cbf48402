//! Training on tagged sentences.
use objectives::IGNORE_INDEX;
use tch::{Reduction, Tensor};
use trainer::{
    ExampleRecord, Examples, Fingerprint, SkippedData, Step, StepLosses, Task, TaskError,
};
use transfer_eval::ner::NerInput;
use xlmr_model::Model;

use super::rows::{LabelledTokens, TaggedRow, labelled_rows};
use crate::{Error, Result, micro_batches};

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
    rows: Vec<TaggedRow>,
    /// Number of tokens of each row.
    lengths: Vec<usize>,
    /// Number of inputs without a labelled token.
    unlabelled_count: usize,
}

impl<'a> TokenClassificationTask<'a> {
    /// Creates a task. Inputs without a labelled token are skipped.
    ///
    /// # Errors
    /// [`Error::Empty`](crate::Error::Empty) if no input has a labelled token.
    pub fn new(model: &'a Model, inputs: &[NerInput]) -> Result<Self> {
        let (rows, unlabelled_count) = labelled_rows(inputs)?;
        let lengths = rows.iter().map(|row| row.input_ids.len()).collect();
        Ok(Self { model, rows, lengths, unlabelled_count })
    }

    /// Creates a task with the inputs of several languages. A mixture of LoRA modules with a gate for
    /// each language ([`LoraMixtureConfig`](xlmr_model::LoraMixtureConfig)) requires the languages.
    ///
    /// # Errors
    /// [`Error::Empty`](crate::Error::Empty) if no input of a language has a labelled token.
    ///
    /// # Example
    /// ```
    /// use tasks::token_classification::TokenClassificationTask;
    /// use transfer_eval::ner::NerInput;
    /// use xlmr_model::{Config, Head, LoraMixtureConfig, Model};
    ///
    /// let head = Head::TokenClassification { labels: 5 };
    /// let mut model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
    /// let languages = vec!["en".to_owned(), "de".to_owned()];
    /// let mixture = LoraMixtureConfig { languages, ..LoraMixtureConfig::default() };
    /// model.add_lora_mixture("mixture", &mixture, 1)?;
    /// model.set_active_adapters(&["mixture"])?;
    /// let input = |id: u32| NerInput {
    ///     sentence: 0,
    ///     input_ids: vec![0, id, 2],
    ///     labels: vec![-100, 3, -100],
    ///     words: vec![(0, 1)],
    /// };
    /// let (english, german) = ([input(11), input(12)], [input(13)]);
    /// let sets = [("en", english.as_slice()), ("de", german.as_slice())];
    /// let task = TokenClassificationTask::of_languages(&model, sets)?;
    /// # drop(task);
    /// # Ok::<(), tasks::Error>(())
    /// ```
    pub fn of_languages<'b>(
        model: &'a Model,
        sets: impl IntoIterator<Item = (&'b str, &'b [NerInput])>,
    ) -> Result<Self> {
        let mut task = Self { model, rows: Vec::new(), lengths: Vec::new(), unlabelled_count: 0 };
        for (language, inputs) in sets {
            let (rows, unlabelled_count) = labelled_rows(inputs).map_err(|error| match error {
                Error::Empty { what } => Error::empty(format!("{what} in {language}")),
                error => error,
            })?;
            task.lengths.extend(rows.iter().map(|row| row.input_ids.len()));
            let language = Some(language.to_owned());
            let rows = rows.into_iter();
            task.rows.extend(rows.map(|row| TaggedRow { language: language.clone(), ..row }));
            task.unlabelled_count += unlabelled_count;
        }
        match task.rows.is_empty() {
            true => Err(Error::empty("languages to train on")),
            false => Ok(task),
        }
    }
}

impl Task for TokenClassificationTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for TaggedRow { input_ids, labels, language } in &self.rows {
            fingerprint.add_ids("input_ids", input_ids).add_ids("labels", labels);
            if let Some(language) = language {
                fingerprint.add_json("language", language);
            }
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows: Vec<&TaggedRow> = step.batch.iter().map(|&k| &self.rows[k]).collect();
        let mean = micro_batches::Reduction::Mean;
        let count = |row: &&TaggedRow| row.labelled();
        micro_batches::losses(step, "tagging", &rows, mean, count, |rows| self.loss(rows))
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

impl TokenClassificationTask<'_> {
    /// Computes the mean loss over the labelled tokens of some rows.
    fn loss(&self, rows: &[&TaggedRow]) -> Result<Tensor> {
        let LabelledTokens { logits, labels, .. } = LabelledTokens::forward(self.model, rows)?;
        let no_weights = None::<&Tensor>;
        Ok(logits.f_cross_entropy_loss(&labels, no_weights, Reduction::Mean, IGNORE_INDEX, 0.0)?)
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;
    use xlmr_model::{Inputs, LoraMixtureConfig, Model};

    use super::super::rows::testing::{inputs, tagger};
    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_gradient_equals_differences, assert_micro_batches_match,
        cross_entropy, first_loss,
    };

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
    fn a_row_trains_the_gate_of_its_language() {
        let mut model = tagger(5);
        let languages = ["en", "de"].map(str::to_owned).to_vec();
        let mixture = LoraMixtureConfig { languages, ..LoraMixtureConfig::default() };
        model.add_lora_mixture("mixture", &mixture, 1).unwrap();
        model.set_active_adapters(&["mixture"]).unwrap();
        // The gates have no gradient while the modules' outputs are 0.
        let parameters = model.named_parameters();
        for (_, weight) in parameters.iter().filter(|(name, _)| name.ends_with("lora_B.weight")) {
            let _ = tch::no_grad(|| weight.shallow_clone().uniform_(-0.3, 0.3));
        }
        let inputs = inputs();
        let sets = [("de", &inputs[..2]), ("en", &inputs[2..])];
        let mut task = TokenClassificationTask::of_languages(&model, sets).unwrap();
        assert_eq!(task.examples().lengths(), Some([9, 4, 20].as_slice()));
        first_loss(&mut task, &[0, 1]).backward();
        let gates = parameters.iter().filter(|(name, _)| name.ends_with("lora_gate.weight"));
        let norms: Vec<[f64; 2]> = gates
            .map(|(_, gate)| [0, 1].map(|row| gate.grad().get(row).norm().double_value(&[])))
            .collect();
        assert!(!norms.is_empty() && norms.iter().all(|norms| norms[0] == 0.0 && norms[1] > 0.0));
        let empty = [("de", &inputs[..2]), ("en", &[])];
        let error = TokenClassificationTask::of_languages(&model, empty).err().unwrap().to_string();
        assert!(error.contains("labelled sentences to train on in en"), "{error}");
        assert!(TokenClassificationTask::of_languages(&model, []).is_err());
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
