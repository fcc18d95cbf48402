//! Training of a tagger on the predictions of another tagger, which can be corrected by class
//! prototypes: the student of *ProKD* (Ge et al. 2023).
use objectives::{
    ClassPrototypes, IGNORE_INDEX, SoftLabelConfig, class_prototypes, prototype_probabilities,
    soft_labels,
};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};
use torch_ext::{TensorMap, upload};
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use transfer_eval::ner::NerInput;
use xlmr_model::Model;

use super::rows::{LabelledTokens, TaggedRow, labelled_rows};
use crate::{Error, Result, inference};

/// Options of the correction by prototypes. Interpretation: all values, because the paper's
/// equations were not available.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfTrainingConfig {
    /// β of the prototypes' moving average: `p ← β p + (1 − β) p(batch)`, at least 0, below 1.
    pub decay: f64,
    /// τ of [`prototype_probabilities`].
    pub temperature: f64,
}

impl Default for SelfTrainingConfig {
    fn default() -> Self {
        Self { decay: 0.99, temperature: 1.0 }
    }
}

impl SelfTrainingConfig {
    /// Validates the decay; the temperature is validated by [`prototype_probabilities`].
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        match (0.0..1.0).contains(&self.decay) {
            true => Ok(()),
            false => Err(Error::config("self_training.decay", self.decay, "at least 0, below 1")),
        }
    }
}

/// The smallest probability by prototypes, so that no class, in particular one without a prototype,
/// is excluded against the teacher.
const MIN_PROBABILITY: f64 = 1e-6;

/// Training task on sentences without tags, logged as `distillation`.
///
/// The loss is the Kullback-Leibler divergence of the student's class probabilities from the
/// teacher's, mean over words, in nats. With self-training, the teacher's probabilities p are
/// replaced by p · w / Σ p · w, where w are the class probabilities by the distances of the
/// student's hidden state from the class prototypes. The prototypes are moving averages of the
/// student's hidden states, by the teacher's best class.
///
/// # Example
/// ```
/// use tasks::token_classification::{SelfTrainingConfig, StudentTask, class_log_probabilities};
/// use trainer::{Step, Task};
/// use transfer_eval::ner::NerInput;
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::TokenClassification { labels: 3 };
/// let tagger = |seed| Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, seed);
/// let (teacher, student) = (tagger(1)?, tagger(2)?);
/// let input = NerInput {
///     sentence: 0,
///     input_ids: vec![0, 11, 12, 2],
///     labels: vec![-100, 0, 0, -100],
///     words: vec![(0, 1), (1, 2)],
/// };
/// let probabilities = class_log_probabilities(&teacher, &[input.clone()], 8)?;
/// let self_training = Some(SelfTrainingConfig::default());
/// let mut task = StudentTask::new(&student, &[input], probabilities, self_training)?;
/// let losses = task.losses(&mut Step::new(&[0], trainer::rng_for(0, "ner", 0)))?;
/// assert!(losses.total.double_value(&[]) > 0.0);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct StudentTask<'a> {
    model: &'a Model,
    rows: Vec<TaggedRow>,
    /// For each row, the teacher's log-probabilities of its labelled tokens, `[n · C]`.
    teacher: Vec<Vec<f32>>,
    lengths: Vec<usize>,
    self_training: Option<SelfTrainingConfig>,
    /// The moving averages; `None` before the first step.
    prototypes: Option<ClassPrototypes>,
}

/// Returns the log-probabilities of each input's labelled tokens, in order, `[n · C]`.
///
/// # Errors
/// If the model has no token classification head or rejects an input; [`Error::Config`] if
/// `batch_size` is 0.
pub fn class_log_probabilities(
    model: &Model,
    inputs: &[NerInput],
    batch_size: usize,
) -> Result<Vec<Vec<f32>>> {
    let rows: Vec<&[u32]> = inputs.iter().map(|input| input.input_ids.as_slice()).collect();
    inference::map_rows(model, &rows, batch_size, |indices, _, hidden| {
        let logits = inference::check_finite(model.token_logits(hidden, false)?)?;
        let log_probabilities = logits.f_log_softmax(-1, Kind::Float)?;
        let classes = torch_ext::to_usize(*log_probabilities.size().last().expect("[B, L, C]"));
        let of_row = |(row, &index): (i64, &usize)| {
            let flat = log_probabilities.f_get(row)?.f_contiguous()?.f_view([-1])?;
            let flat = Vec::<f32>::try_from(flat)?;
            let labelled = flat.chunks_exact(classes).zip(&inputs[index].labels);
            let labelled = labelled.filter(|&(_, &label)| label != IGNORE_INDEX);
            Ok(labelled.flat_map(|(scores, _)| scores.to_vec()).collect())
        };
        (0..).zip(indices).map(of_row).collect()
    })
}

impl<'a> StudentTask<'a> {
    /// Creates a task. Only the positions of labels are used, see
    /// [`AlignedTaggingTask::new`](super::AlignedTaggingTask::new). `teacher` are the values of
    /// [`class_log_probabilities`] for the same inputs.
    ///
    /// # Errors
    /// [`Error::Empty`] if no input has a labelled token; the errors of
    /// [`SelfTrainingConfig::validate`].
    ///
    /// # Panics
    /// Unless `teacher` has one entry per input.
    pub fn new(
        model: &'a Model,
        inputs: &[NerInput],
        mut teacher: Vec<Vec<f32>>,
        self_training: Option<SelfTrainingConfig>,
    ) -> Result<Self> {
        assert_eq!(teacher.len(), inputs.len(), "the teacher has probabilities of each input");
        self_training.iter().try_for_each(SelfTrainingConfig::validate)?;
        let (rows, _) = labelled_rows(inputs)?;
        teacher.retain(|probabilities| !probabilities.is_empty());
        let lengths = rows.iter().map(|row| row.input_ids.len()).collect();
        Ok(Self { model, rows, teacher, lengths, self_training, prototypes: None })
    }

    /// Updates the prototypes and returns the logarithm of the corrected probabilities, `[N, C]`,
    /// up to a constant of each row.
    fn corrected(
        &mut self,
        hidden: &Tensor,
        teacher: &Tensor,
        config: &SelfTrainingConfig,
    ) -> Result<Tensor> {
        let best = teacher.f_argmax(1, false)?;
        let batch = class_prototypes(hidden, &best, teacher.size()[1])?;
        let prototypes = match &self.prototypes {
            Some(stored) => moving_average(stored, &batch, config.decay)?,
            None => batch,
        };
        let weights = prototype_probabilities(hidden, &prototypes, config.temperature)?;
        self.prototypes = Some(prototypes);
        Ok(teacher.f_add(&weights.f_clamp_min(MIN_PROBABILITY)?.f_log()?)?)
    }
}

/// Returns the prototypes after a batch. Classes that the batch does not have are unchanged; a
/// class that was not stored has the value of the batch.
fn moving_average(
    stored: &ClassPrototypes,
    batch: &ClassPrototypes,
    decay: f64,
) -> Result<ClassPrototypes> {
    let average = stored.vectors.f_lerp(&batch.vectors, 1.0 - decay)?;
    let known = stored.seen.f_unsqueeze(1)?;
    let updated = average.f_where_self(&known, &batch.vectors)?;
    let vectors = updated.f_where_self(&batch.seen.f_unsqueeze(1)?, &stored.vectors)?;
    Ok(ClassPrototypes { vectors, seen: stored.seen.f_logical_or(&batch.seen)? })
}

const VECTORS: &str = "prototypes.vectors";
const SEEN: &str = "prototypes.seen";

impl Task for StudentTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for (TaggedRow { input_ids, labels, .. }, teacher) in self.rows.iter().zip(&self.teacher) {
            let bits: Vec<u32> = teacher.iter().map(|value| value.to_bits()).collect();
            fingerprint.add_ids("input_ids", input_ids).add_ids("labels", labels);
            fingerprint.add_ids("teacher", &bits);
        }
        fingerprint.add_json("self_training", &self.self_training);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        if step.group().is_some() && self.self_training.is_some() {
            return Err("self-training supports one process only".into());
        }
        let rows: Vec<&TaggedRow> = step.batch.iter().map(|&k| &self.rows[k]).collect();
        let tokens = LabelledTokens::forward(self.model, &rows)?;
        let classes = tokens.logits.size()[1];
        let teacher = step.batch.iter().flat_map(|&k| &self.teacher[k]).copied();
        let teacher =
            Tensor::f_from_slice(&teacher.collect::<Vec<f32>>())?.f_view([-1, classes])?;
        let mut teacher = upload(&teacher, tokens.logits.device())?;
        if let Some(config) = self.self_training.clone() {
            let hidden = tokens.hidden()?.f_detach()?;
            teacher = no_grad(|| self.corrected(&hidden, &teacher, &config))?;
        }
        let config = SoftLabelConfig { temperature: 1.0, ..SoftLabelConfig::default() };
        let loss = soft_labels(&tokens.logits, &teacher, None, &config)?;
        Ok(StepLosses::single("distillation", loss))
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.rows[index].input_ids.clone() }
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let Some(ClassPrototypes { vectors, seen }) = &self.prototypes else {
            return Ok(Vec::new());
        };
        Ok(vec![(VECTORS.into(), vectors.shallow_clone()), (SEEN.into(), seen.shallow_clone())])
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        if state.is_empty() {
            return Ok(());
        }
        let device = self.model.device();
        let tensor = |name: &str| -> Result<Tensor, TaskError> {
            let tensor = state.get(name).ok_or_else(|| format!("{name} is missing"))?;
            Ok(tensor.f_to_device(device)?)
        };
        self.prototypes = Some(ClassPrototypes { vectors: tensor(VECTORS)?, seen: tensor(SEEN)? });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use xlmr_model::Inputs;

    use super::super::rows::testing::{inputs, tagger};
    use super::*;
    use crate::testing::{assert_gradient_equals_differences, first_loss};

    const CLASSES: usize = 5;

    /// Probabilities that differ from those of any tagger, one list per labelled token.
    fn probabilities(input: usize, token: usize) -> Vec<f64> {
        let score = |class: usize| ((input * 31 + token * 7 + class * 13) % 11) as f64 * 0.4;
        let sum: f64 = (0..CLASSES).map(|class| score(class).exp()).sum();
        (0..CLASSES).map(|class| score(class).exp() / sum).collect()
    }

    fn labelled(input: &NerInput) -> usize {
        input.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
    }

    fn teacher() -> Vec<Vec<f32>> {
        let of_input = |(index, input): (usize, &NerInput)| {
            let tokens = (0..labelled(input)).flat_map(|token| probabilities(index, token));
            tokens.map(|value| value.ln() as f32).collect()
        };
        inputs().iter().enumerate().map(of_input).collect()
    }

    /// Hidden states and log-probabilities of a row's labelled tokens, in float64.
    fn student_rows(model: &Model, input: &NerInput) -> Vec<(Vec<f64>, Vec<f64>)> {
        let ids = Inputs::from_rows(&[&input.input_ids], 1).unwrap();
        let hidden = model.encode(&ids, false).unwrap();
        let logits = model.token_logits(&hidden, false).unwrap().to_kind(Kind::Double);
        let rows = |tensor: &Tensor| {
            Vec::<Vec<f64>>::try_from(tensor.squeeze_dim(0).to_kind(Kind::Double)).unwrap()
        };
        let pairs = rows(&hidden).into_iter().zip(rows(&logits.log_softmax(-1, Kind::Double)));
        let labelled = pairs.zip(&input.labels).filter(|(_, label)| **label != IGNORE_INDEX);
        labelled.map(|(pair, _)| pair).collect()
    }

    /// The loss of a batch in float64, and the prototypes after it. `prototypes` are those before;
    /// without self-training, they are ignored.
    fn reference(
        model: &Model,
        batch: &[usize],
        prototypes: Option<&[Option<Vec<f64>>]>,
        config: Option<&SelfTrainingConfig>,
    ) -> (f64, Vec<Option<Vec<f64>>>) {
        let inputs = inputs();
        let (mut tokens, mut sums) = (Vec::new(), vec![(0.0, vec![0.0; 16]); CLASSES]);
        for &index in batch {
            let rows = student_rows(model, &inputs[index]);
            for (token, (hidden, log_probabilities)) in rows.into_iter().enumerate() {
                let teacher = probabilities(index, token);
                let best = (0..CLASSES).max_by(|&a, &b| teacher[a].total_cmp(&teacher[b])).unwrap();
                sums[best].0 += 1.0;
                sums[best].1.iter_mut().zip(&hidden).for_each(|(sum, x)| *sum += x);
                tokens.push((hidden, log_probabilities, teacher));
            }
        }
        let decay = config.map_or(0.0, |config| config.decay);
        let after: Vec<Option<Vec<f64>>> = (0..CLASSES)
            .map(|class| {
                let stored = prototypes.and_then(|prototypes| prototypes[class].clone());
                let (count, sum) = &sums[class];
                if *count == 0.0 {
                    return stored;
                }
                let mean = sum.iter().map(|x| x / count);
                Some(match stored {
                    None => mean.collect(),
                    Some(old) => {
                        old.iter().zip(mean).map(|(a, b)| decay * a + (1.0 - decay) * b).collect()
                    }
                })
            })
            .collect();
        let distance = |hidden: &[f64], class: usize| {
            let prototype = after[class].as_ref()?;
            Some(hidden.iter().zip(prototype).map(|(a, b)| (a - b).powi(2)).sum::<f64>())
        };
        let all =
            tokens.iter().flat_map(|(hidden, ..)| (0..CLASSES).filter_map(|c| distance(hidden, c)));
        let all: Vec<f64> = all.collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let loss = |(hidden, log_probabilities, teacher): &(Vec<f64>, Vec<f64>, Vec<f64>)| {
            let weights: Vec<f64> = match config {
                None => vec![1.0; CLASSES],
                Some(config) => {
                    let score = |class| {
                        distance(hidden, class).map(|d| (-d / (config.temperature * mean)).exp())
                    };
                    let sum: f64 = (0..CLASSES).filter_map(score).sum();
                    (0..CLASSES)
                        .map(|class| score(class).map_or(1e-6, |s| (s / sum).max(1e-6)))
                        .collect()
                }
            };
            let products: Vec<f64> = teacher.iter().zip(&weights).map(|(p, w)| p * w).collect();
            let sum: f64 = products.iter().sum();
            let terms = products.iter().zip(log_probabilities);
            terms
                .map(|(product, log_p)| product / sum * ((product / sum).ln() - log_p))
                .sum::<f64>()
        };
        (tokens.iter().map(loss).sum::<f64>() / tokens.len() as f64, after)
    }

    fn task<'a>(model: &'a Model, config: Option<&SelfTrainingConfig>) -> StudentTask<'a> {
        StudentTask::new(model, &inputs(), teacher(), config.cloned()).unwrap()
    }

    fn config() -> SelfTrainingConfig {
        SelfTrainingConfig { decay: 0.6, temperature: 0.7 }
    }

    #[test]
    fn the_losses_equal_the_reference_and_a_resumed_task() {
        let (model, config) = (tagger(5), config());
        for config in [None, Some(&config)] {
            let (mut task, mut prototypes) = (task(&model, config), None);
            for batch in [&[0, 1][..], &[2], &[2, 0, 1]] {
                let mut resumed = self::task(&model, config);
                let state = task.state().unwrap().into_iter().collect::<TensorMap>();
                resumed.restore(&state).unwrap();
                let actual = first_loss(&mut task, batch).double_value(&[]);
                assert_eq!(first_loss(&mut resumed, batch).double_value(&[]), actual);
                let (expected, after) = reference(&model, batch, prototypes.as_deref(), config);
                assert!((actual - expected).abs() < 1e-5, "{batch:?}: {actual}, {expected}");
                prototypes = Some(after);
            }
        }
        let plain = reference(&model, &[0, 1, 2], None, None).0;
        assert!((reference(&model, &[0, 1, 2], None, Some(&config)).0 - plain).abs() > 1e-2);
    }

    #[test]
    fn the_gradient_equals_central_differences() {
        let mut model = tagger(5);
        model.set_kind(Kind::Double).unwrap();
        let config = config();
        first_loss(&mut task(&model, Some(&config)), &[0, 1, 2]).backward();
        let parameters = model.named_parameters();
        let (_, bias) = parameters.iter().find(|(name, _)| name == "classifier.bias").unwrap();
        assert_gradient_equals_differences(bias, 1e-5, || {
            reference(&model, &[0, 1, 2], None, Some(&config)).0
        });
    }

    #[test]
    fn a_student_that_equals_its_teacher_has_no_loss() {
        let (model, inputs) = (tagger(5), inputs());
        let teacher = class_log_probabilities(&model, &inputs, 2).unwrap();
        let counts: Vec<usize> = teacher.iter().map(Vec::len).collect();
        assert_eq!(
            counts,
            inputs.iter().map(|input| labelled(input) * CLASSES).collect::<Vec<_>>()
        );
        let mut task = StudentTask::new(&model, &inputs, teacher, None).unwrap();
        assert!(first_loss(&mut task, &[0, 1, 2]).double_value(&[]).abs() < 1e-6);
    }

    #[test]
    fn an_invalid_decay_is_an_error() {
        let model = tagger(5);
        for decay in [-0.1, 1.0, f64::NAN] {
            let config = SelfTrainingConfig { decay, ..SelfTrainingConfig::default() };
            let task = StudentTask::new(&model, &inputs(), teacher(), Some(config));
            assert!(task.map(drop).unwrap_err().to_string().contains("self_training.decay"));
        }
    }
}
