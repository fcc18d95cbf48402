//! Scores development sets after every epoch and keeps the parameters of the best one.
use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::TensorMap;
use trainer::{Step, StepLosses, Task, TaskError};
use transfer_eval::{Scores, Selection, select_epoch};

const SCORES: &str = "best_epoch.scores";
const PREFIX: &str = "best_epoch.parameters.";

/// A task that scores the model between epochs. Scores and the best parameters are in its state, so that a resumed run chooses as
/// an uninterrupted one. Costs memory for one more copy of the parameters.
pub struct BestEpoch<'a, T> {
    task: T,
    parameters: Vec<(String, Tensor)>,
    batch_size: usize,
    selection: Selection,
    /// Languages of the development sets, sorted.
    languages: Vec<String>,
    score: Box<dyn Fn() -> Result<Scores> + 'a>,
    epochs: Vec<Scores>,
    best: Vec<(String, Tensor)>,
}

impl<'a, T: Task> BestEpoch<'a, T> {
    /// Wraps `task`, which trains `parameters` in batches of `batch_size`. `score` gives one number for each of `languages`,
    /// without drawing random numbers.
    pub fn new(
        task: T,
        parameters: Vec<(String, Tensor)>,
        batch_size: usize,
        selection: Selection,
        languages: impl IntoIterator<Item = String>,
        score: impl Fn() -> Result<Scores> + 'a,
    ) -> Self {
        let mut languages: Vec<String> = languages.into_iter().collect();
        languages.sort();
        let score = Box::new(score);
        let (epochs, best) = (Vec::new(), Vec::new());
        Self { task, parameters, batch_size, selection, languages, score, epochs, best }
    }

    /// Call after training: scores the last epoch and gives the parameters the values of the best. Returns the best epoch's
    /// index and all epochs' scores.
    ///
    /// # Errors
    /// If scoring fails.
    pub fn finish(mut self) -> Result<(usize, Vec<Scores>)> {
        self.epoch_ended()?;
        no_grad(|| -> Result<()> {
            for ((_, parameter), (_, best)) in self.parameters.iter_mut().zip(&self.best) {
                parameter.f_copy_(best)?;
            }
            Ok(())
        })?;
        Ok((select_epoch(&self.epochs, self.selection)?, self.epochs))
    }

    fn epoch_ended(&mut self) -> Result<()> {
        let scores = (self.score)()?;
        anyhow::ensure!(
            scores.keys().eq(&self.languages),
            "development scores of {:?}, expected {:?}",
            scores.keys(),
            self.languages
        );
        self.epochs.push(scores);
        if select_epoch(&self.epochs, self.selection)? + 1 == self.epochs.len() {
            self.best = no_grad(|| {
                let copy = |(name, parameter): &(String, Tensor)| {
                    Ok((name.clone(), parameter.f_detach_copy()?))
                };
                self.parameters.iter().map(copy).collect::<Result<_, tch::TchError>>()
            })?;
        }
        Ok(())
    }

    fn take_over(&mut self, own: &TensorMap) -> Result<()> {
        let Some(scores) = own.get(SCORES) else { return Ok(()) };
        let rows = Vec::<Vec<f64>>::try_from(scores.f_to_kind(Kind::Double)?)?;
        anyhow::ensure!(
            rows.iter().all(|row| row.len() == self.languages.len()),
            "{SCORES}: shape {:?}, expected {} columns",
            scores.size(),
            self.languages.len()
        );
        let named = |row: Vec<f64>| self.languages.iter().cloned().zip(row).collect();
        self.epochs = rows.into_iter().map(named).collect();
        let best = |(name, parameter): &(String, Tensor)| {
            let key = format!("{PREFIX}{name}");
            let tensor = own.get(&key).with_context(|| format!("{key} is missing"))?;
            anyhow::ensure!(tensor.size() == parameter.size(), "{key}: shape {:?}", tensor.size());
            Ok((name.clone(), tensor.f_to_device(parameter.device())?))
        };
        self.best = self.parameters.iter().map(best).collect::<Result<_>>()?;
        Ok(())
    }
}

impl<T: Task> Task for BestEpoch<'_, T> {
    fn lengths(&self) -> &[usize] {
        self.task.lengths()
    }

    fn fingerprint(&self) -> String {
        format!("{} {:?} {:?}", self.task.fingerprint(), self.selection, self.languages)
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let per_epoch = self.lengths().len().div_ceil(self.batch_size.max(1)).max(1) as u64;
        if step.number > 0 && step.number.is_multiple_of(per_epoch) {
            self.epoch_ended()?;
        }
        self.task.losses(step)
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let mut state = self.task.state()?;
        if self.epochs.is_empty() {
            return Ok(state);
        }
        let flat: Vec<f64> =
            self.epochs.iter().flat_map(|scores| scores.values().copied()).collect();
        let shape = [i64::try_from(self.epochs.len())?, -1];
        state.push((SCORES.into(), Tensor::f_from_slice(&flat)?.f_view(shape)?));
        let best = self.best.iter();
        state.extend(best.map(|(name, best)| (format!("{PREFIX}{name}"), best.shallow_clone())));
        Ok(state)
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        let (mut own, mut inner) = (TensorMap::new(), TensorMap::new());
        for (name, tensor) in state {
            let map =
                if name == SCORES || name.starts_with(PREFIX) { &mut own } else { &mut inner };
            map.insert(name.clone(), tensor.f_to_device(Device::Cpu)?);
        }
        self.take_over(&own)?;
        self.task.restore(&inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use trainer::{Environment, Stage, TrainConfig, fit};

    use super::*;

    /// Pulls one number towards 0.
    struct Shrink(Tensor, Vec<usize>);

    impl Task for Shrink {
        fn lengths(&self) -> &[usize] {
            &self.1
        }

        fn fingerprint(&self) -> String {
            "shrink".into()
        }

        fn losses(&mut self, _: &mut Step<'_>) -> Result<StepLosses, TaskError> {
            Ok(StepLosses::single("square", self.0.f_square()?.f_sum(Kind::Float)?))
        }
    }

    /// The epoch chosen, the scores, and the value that is left, when training stops every so many steps.
    fn run(interrupt_after: Option<u64>, calls: &RefCell<usize>) -> (usize, Vec<Scores>, f64) {
        let folder = tempfile::tempdir().unwrap();
        // 3 batches an epoch.
        let config = TrainConfig {
            learning_rate: 0.1,
            batch_size: 2,
            epochs: 5,
            weight_decay: 0.0,
            checkpoint_steps: Some(1),
            ..TrainConfig::default()
        };
        loop {
            let weight = Tensor::from_slice(&[2.0_f32]).set_requires_grad(true);
            let parameters = vec![("weight".to_owned(), weight.shallow_clone())];
            let watched = weight.shallow_clone();
            // Best at a value that training passes through.
            let score = move || {
                *calls.borrow_mut() += 1;
                let value: f64 = watched.double_value(&[0]);
                Ok(Scores::from([("en".to_owned(), -(value - 1.3).abs()), ("de".into(), value)]))
            };
            let languages = ["en", "de"].map(String::from);
            let shrink = Shrink(weight.shallow_clone(), vec![1; 5]);
            let (copies, select) = (vec![parameters[0].clone_pair()], Selection::EnglishOnly);
            let mut task = BestEpoch::new(shrink, copies, 2, select, languages, score);
            let environment =
                Environment { threads: 1, device: "Cpu".into(), float32_matmul: "highest".into() };
            let stage = Stage {
                name: "test".into(),
                folder: folder.path().to_owned(),
                environment,
                interrupt_after,
            };
            if fit(&stage, &config, &parameters, &mut task).unwrap().finished {
                let (best, epochs) = task.finish().unwrap();
                return (best, epochs, weight.double_value(&[0]));
            }
        }
    }

    trait ClonePair {
        fn clone_pair(&self) -> (String, Tensor);
    }

    impl ClonePair for (String, Tensor) {
        fn clone_pair(&self) -> (String, Tensor) {
            (self.0.clone(), self.1.shallow_clone())
        }
    }

    #[test]
    fn the_parameters_of_the_best_epoch_come_back() {
        let calls = RefCell::new(0);
        let (best, epochs, value) = run(None, &calls);
        assert_eq!((epochs.len(), *calls.borrow()), (5, 5));
        assert!(best > 0 && best < 4, "epoch {best} of {epochs:?}");
        let english: Vec<f64> = epochs.iter().map(|scores| scores["en"]).collect();
        assert!(english.iter().all(|score| *score <= english[best]));
        assert_eq!(value, epochs[best]["de"]);
    }

    #[test]
    fn an_interrupted_run_chooses_the_same() {
        let calls = RefCell::new(0);
        let whole = run(None, &calls);
        for steps in [1, 2, 3, 4] {
            assert_eq!(run(Some(steps), &calls), whole, "stopped every {steps} steps");
        }
    }
}
