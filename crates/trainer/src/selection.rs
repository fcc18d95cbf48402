//! Model selection: scoring after every epoch, and storage of the best parameters.
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{
    Error, ExampleRecord, Examples, Fingerprint, Result, SkippedData, Step, StepLosses, Task,
    TaskError, TensorMap,
};

const SCORES_KEY: &str = "best_epoch.scores";
const PREFIX: &str = "best_epoch.parameters.";

/// One score per development set, by name.
pub type Scores = BTreeMap<String, f64>;

/// A function that scores the current model.
pub type ScoreFn<'a> = Box<dyn Fn() -> std::result::Result<Scores, TaskError> + 'a>;

/// Options of model selection: scoring function and rule.
///
/// The first of equally good epochs is selected.
pub struct CheckpointSelection<'a> {
    /// Name of the rule; part of the task's fingerprint.
    pub rule: String,
    /// Names of the scores of each epoch.
    pub names: Vec<String>,
    /// A function that scores the current model.
    pub score: ScoreFn<'a>,
    /// Name of the score by which epochs are compared; `None` for the mean of all scores.
    pub deciding_score: Option<String>,
    /// Whether lower scores are better, as for perplexities.
    pub lower_is_better: bool,
    /// Whether the initial model is also scored, as the first evaluation, and can be selected.
    pub include_initial: bool,
}

impl<'a> CheckpointSelection<'a> {
    /// Selects the epoch with the highest score on one development set.
    ///
    /// # Example
    /// ```
    /// use trainer::selection::{CheckpointSelection, Scores};
    ///
    /// let selection = CheckpointSelection::highest("dev", || Ok(81.5));
    /// let epochs = [70.0, 81.5, 81.5].map(|f1| Scores::from([("dev".into(), f1)]));
    /// assert_eq!(selection.best(&epochs)?, 1);
    /// # Ok::<(), trainer::TaskError>(())
    /// ```
    pub fn highest(
        name: impl Into<String>,
        score: impl Fn() -> std::result::Result<f64, TaskError> + 'a,
    ) -> Self {
        let name = name.into();
        let key = name.clone();
        let score = move || Ok(Scores::from([(key.clone(), score()?)]));
        Self { rule: "highest".into(), ..Self::highest_mean([name], score) }
    }

    /// Selects the epoch with the highest mean of these scores.
    ///
    /// # Example
    /// ```
    /// use trainer::selection::{CheckpointSelection, Scores};
    ///
    /// let scores = |en, de| Scores::from([("en".into(), en), ("de".into(), de)]);
    /// let languages = ["de", "en"].map(String::from);
    /// let mut selection =
    ///     CheckpointSelection::highest_mean(languages, move || Ok(scores(1.0, 2.0)));
    /// let epochs = [scores(80.0, 60.0), scores(82.0, 57.0), scores(79.0, 63.0)];
    /// assert_eq!(selection.best(&epochs)?, 2);
    /// selection.deciding_score = Some("en".into());
    /// assert_eq!(selection.best(&epochs)?, 1);
    /// # Ok::<(), trainer::TaskError>(())
    /// ```
    pub fn highest_mean(
        names: impl IntoIterator<Item = String>,
        score: impl Fn() -> std::result::Result<Scores, TaskError> + 'a,
    ) -> Self {
        Self {
            rule: "highest mean".into(),
            names: names.into_iter().collect(),
            score: Box::new(score),
            deciding_score: None,
            lower_is_better: false,
            include_initial: false,
        }
    }

    /// Selects the epoch with the lowest mean of these scores, such as perplexities.
    ///
    /// # Example
    /// ```
    /// use trainer::selection::{CheckpointSelection, Scores};
    ///
    /// let scores = |en, de| Scores::from([("en".into(), en), ("de".into(), de)]);
    /// let languages = ["de", "en"].map(String::from);
    /// let selection = CheckpointSelection::lowest_mean(languages, move || Ok(scores(9.0, 8.0)));
    /// assert_eq!(selection.best(&[scores(7.0, 12.0), scores(8.0, 10.0)])?, 1);
    /// # Ok::<(), trainer::TaskError>(())
    /// ```
    pub fn lowest_mean(
        names: impl IntoIterator<Item = String>,
        score: impl Fn() -> std::result::Result<Scores, TaskError> + 'a,
    ) -> Self {
        let rule = "lowest mean".into();
        Self { rule, lower_is_better: true, ..Self::highest_mean(names, score) }
    }

    /// Returns the index of the best epoch.
    ///
    /// # Errors
    /// If there is no epoch, or a score is missing or not finite; the error names the epoch.
    pub fn best(&self, epochs: &[Scores]) -> std::result::Result<usize, TaskError> {
        let mut best: Option<(usize, f64)> = None;
        for (epoch, scores) in epochs.iter().enumerate() {
            let mean = mean(scores);
            if !mean.is_finite() {
                return Err(format!("epoch {epoch}: the score is {mean}").into());
            }
            let missing = |name| format!("epoch {epoch}: no score for {name:?}");
            let score = match &self.deciding_score {
                None => mean,
                Some(name) => *scores.get(name).ok_or_else(|| missing(name))?,
            };
            let is_better =
                |best: f64| if self.lower_is_better { score < best } else { score > best };
            if best.is_none_or(|(_, best_score)| is_better(best_score)) {
                best = Some((epoch, score));
            }
        }
        Ok(best.ok_or("no epoch")?.0)
    }
}

/// Returns the mean of scores; NaN without scores.
fn mean(scores: &Scores) -> f64 {
    scores.values().sum::<f64>() / scores.len() as f64
}

/// The selected evaluation, and all scores.
///
/// # Example
/// ```
/// use trainer::selection::{BestEvaluation, Scores};
///
/// let scores = [40.0, 52.5].map(|f1| Scores::from([("dev".to_owned(), f1)]));
/// let best = BestEvaluation { evaluation: 1, scores: scores.into() };
/// assert_eq!(best.to_string(), "evaluation 2 of 2 is the best: 52.50");
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BestEvaluation {
    /// Index of the selected evaluation in `scores`.
    pub evaluation: usize,
    /// Scores of every evaluation, in order.
    pub scores: Vec<Scores>,
}

impl Display for BestEvaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mean = self.scores.get(self.evaluation).map_or(f64::NAN, mean);
        let (number, count) = (self.evaluation + 1, self.scores.len());
        write!(f, "evaluation {number} of {count} is the best: {mean:.2}")
    }
}

/// A task wrapper that scores the model after each epoch and stores the best parameters.
///
/// If [`TrainConfig::evaluation_steps`](crate::TrainConfig::evaluation_steps) is set, the model is
/// also scored at this interval, and the wrapper counts each evaluation as an epoch. `patience`
/// limits the number of evaluations without a new best score. Scores and best parameters are part
/// of the task's state, so a resumed run selects the same model. The wrapper stores an additional
/// copy of the parameters.
///
/// # Example
/// ```no_run
/// use tch::Tensor;
/// use trainer::selection::{BestEpoch, CheckpointSelection};
/// use trainer::{Stage, Task, TrainConfig, fit};
///
/// fn train(
///     stage: &Stage,
///     parameters: &[(String, Tensor)],
///     task: impl Task,
///     dev_f1: impl Fn() -> f64,
/// ) -> trainer::Result<()> {
///     let selection = CheckpointSelection::highest("dev", || Ok(dev_f1()));
///     let mut task = BestEpoch::new(task, parameters, selection);
///     fit(stage, &TrainConfig::default(), parameters, &mut task)?;
///     let (best, scores) = task.finish()?;
///     println!("epoch {} of {}: {:?}", best + 1, scores.len(), scores[best]);
///     Ok(())
/// }
/// ```
pub struct BestEpoch<'a, T> {
    task: T,
    parameters: Vec<(String, Tensor)>,
    selection: CheckpointSelection<'a>,
    epochs: Vec<Scores>,
    /// The selected epoch and its parameters.
    best: Option<(usize, Vec<(String, Tensor)>)>,
}

impl<'a, T: Task> BestEpoch<'a, T> {
    /// Wraps `task`, which trains `parameters`. `selection.score` must not draw random numbers.
    pub fn new(
        task: T,
        parameters: &[(String, Tensor)],
        mut selection: CheckpointSelection<'a>,
    ) -> Self {
        selection.names.sort();
        let copy = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.shallow_clone());
        let parameters = parameters.iter().map(copy).collect();
        Self { task, parameters, selection, epochs: Vec::new(), best: None }
    }

    /// Restores the parameters of the best epoch after training. Returns the index of the best
    /// epoch and the scores of all epochs.
    ///
    /// # Errors
    /// [`Error::Selection`] if no epoch has ended.
    pub fn finish(mut self) -> Result<(usize, Vec<Scores>)> {
        let Some((best, values)) = self.best else {
            return Err(selection_error("epochs", "1 or more", "none; train first"));
        };
        no_grad(|| -> Result<()> {
            for ((_, parameter), (_, value)) in self.parameters.iter_mut().zip(&values) {
                parameter.f_copy_(value)?;
            }
            Ok(())
        })?;
        Ok((best, self.epochs))
    }

    fn score(&mut self) -> std::result::Result<(), TaskError> {
        let scores = (self.selection.score)()?;
        if !scores.keys().eq(&self.selection.names) {
            let expected = format!("{:?}", self.selection.names);
            let got = format!("{:?}", scores.keys().collect::<Vec<_>>());
            return Err(selection_error("names of scores", expected, got).into());
        }
        self.epochs.push(scores);
        let newest_epoch = self.epochs.len() - 1;
        if self.selection.best(&self.epochs)? == newest_epoch {
            let copy = |(name, parameter): &(String, Tensor)| {
                Ok((name.clone(), parameter.f_detach_copy()?))
            };
            let values = no_grad(|| -> std::result::Result<Vec<_>, tch::TchError> {
                self.parameters.iter().map(copy).collect()
            })?;
            self.best = Some((newest_epoch, values));
        }
        Ok(())
    }

    fn load_scores(&mut self, stored: &TensorMap) -> std::result::Result<(), TaskError> {
        let Some(scores) = stored.get(SCORES_KEY) else { return Ok(()) };
        let rows = Vec::<Vec<f64>>::try_from(scores.f_to_kind(Kind::Double)?)?;
        let names = &self.selection.names;
        if rows.iter().any(|row| row.len() != names.len()) {
            let (expected, got) = (format!("[_, {}]", names.len()), format!("{:?}", scores.size()));
            return Err(selection_error(SCORES_KEY, expected, got).into());
        }
        let with_names = |row: Vec<f64>| names.iter().cloned().zip(row).collect();
        self.epochs = rows.into_iter().map(with_names).collect();
        let value = |(name, parameter): &(String, Tensor)| {
            let key = format!("{PREFIX}{name}");
            let (expected, stored) = (format!("{:?}", parameter.size()), stored.get(&key));
            match stored {
                Some(tensor) if tensor.size() == parameter.size() => {
                    Ok((name.clone(), tensor.f_to_device(parameter.device())?))
                }
                Some(tensor) => Err(selection_error(key, expected, format!("{:?}", tensor.size()))),
                None => Err(selection_error(key, expected, "nothing")),
            }
        };
        let values = self.parameters.iter().map(value).collect::<Result<_>>()?;
        self.best = Some((self.selection.best(&self.epochs)?, values));
        Ok(())
    }
}

fn selection_error(
    what: impl Into<String>,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Error {
    Error::Selection { what: what.into(), expected: expected.into(), got: got.into() }
}

impl<T: Task> Task for BestEpoch<'_, T> {
    fn examples(&mut self) -> Examples<'_> {
        self.task.examples()
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.task.fingerprint(fingerprint);
        fingerprint
            .add("selection", &self.selection.rule)
            .add_json("scores", &self.selection.names);
        if self.selection.include_initial {
            fingerprint.add("scored from", "the start");
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> std::result::Result<StepLosses, TaskError> {
        if self.selection.include_initial && self.epochs.is_empty() {
            self.score()?;
        }
        self.task.losses(step)
    }

    fn supports_micro_batches(&self) -> bool {
        self.task.supports_micro_batches()
    }

    fn example(&self, index: usize) -> ExampleRecord {
        self.task.example(index)
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        self.task.skipped_data()
    }

    fn evaluations_since_best(&self) -> Option<u64> {
        let best = self.best.as_ref().map_or(0, |(best, _)| best + 1);
        Some((self.epochs.len() - best) as u64)
    }

    fn evaluate(&mut self) -> std::result::Result<(), TaskError> {
        self.task.evaluate()?;
        self.score()
    }

    fn epoch_ended(&mut self, epoch: u64) -> std::result::Result<(), TaskError> {
        self.task.epoch_ended(epoch)?;
        self.score()
    }

    fn state(&self) -> std::result::Result<Vec<(String, Tensor)>, TaskError> {
        let mut state = self.task.state()?;
        let Some((_, values)) = &self.best else { return Ok(state) };
        let flat: Vec<f64> =
            self.epochs.iter().flat_map(|scores| scores.values().copied()).collect();
        let shape = [i64::try_from(self.epochs.len())?, -1];
        state.push((SCORES_KEY.into(), Tensor::f_from_slice(&flat)?.f_view(shape)?));
        let named =
            |(name, value): &(String, Tensor)| (format!("{PREFIX}{name}"), value.shallow_clone());
        state.extend(values.iter().map(named));
        Ok(state)
    }

    fn restore(&mut self, state: &TensorMap) -> std::result::Result<(), TaskError> {
        let (mut selection_state, mut task_state) = (TensorMap::new(), TensorMap::new());
        for (name, tensor) in state {
            let is_selection_state = name == SCORES_KEY || name.starts_with(PREFIX);
            let map = if is_selection_state { &mut selection_state } else { &mut task_state };
            map.insert(name.clone(), tensor.f_to_device(Device::Cpu)?);
        }
        self.load_scores(&selection_state)?;
        self.task.restore(&task_state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_epochs_is_selected_and_invalid_scores_are_errors() {
        let scores = |pairs: &[(&str, f64)]| -> Scores {
            pairs.iter().map(|&(language, value)| (language.to_owned(), value)).collect()
        };
        let epochs = [scores(&[("en", 1.0), ("de", 3.0)]), scores(&[("en", 2.0), ("de", 2.0)])];
        let mut selection = CheckpointSelection::highest("en", || Ok(1.0));
        assert_eq!(selection.best(&epochs).unwrap(), 0);
        let error_of = |selection: &CheckpointSelection<'_>, epochs: &[Scores]| {
            selection.best(epochs).unwrap_err().to_string()
        };
        assert_eq!(error_of(&selection, &[]), "no epoch");
        assert_eq!(error_of(&selection, &[scores(&[])]), "epoch 0: the score is NaN");
        let invalid_scores = [epochs[0].clone(), scores(&[("de", f64::NAN)])];
        assert_eq!(error_of(&selection, &invalid_scores), "epoch 1: the score is NaN");
        selection.deciding_score = Some("en".into());
        assert_eq!(selection.best(&epochs).unwrap(), 1);
        assert_eq!(error_of(&selection, &invalid_scores), "epoch 1: the score is NaN");
        let german_scores = [scores(&[("de", 1.0)])];
        assert_eq!(error_of(&selection, &german_scores), "epoch 0: no score for \"en\"");
    }
}
