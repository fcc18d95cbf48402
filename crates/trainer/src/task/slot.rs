//! Tasks of a stage: one task, several alternating tasks, or a weighted sum of several tasks.
use torch_ext::Precision;

use crate::seed_for;
use crate::task::round_robin::Updates;
use crate::{Error, Examples, Fingerprint, Result, Task, TrainConfig};

/// Tasks of a stage: one task (`&mut task`), [`Alternating`] tasks or a [`WeightedSum`].
///
/// The models of all tasks share the trained parameters. The batches of a task are counted from 0
/// ([`Step::batch_index`](crate::Step::batch_index)). The order of examples depends only on the
/// seed and the task's name. The random generator of a batch also depends on the batch's number.
/// The order and the generator do not depend on other tasks. The task's name is also a prefix of
/// its losses (`loss/<name>/<part>`, or `loss/<name>` for a part of the same name) and of its
/// tensors in checkpoints. The name of a single task is not used.
pub struct Tasks<'a> {
    pub(crate) slots: Vec<TaskSlot<'a>>,
    pub(crate) updates: Updates,
}

impl<'a, T: Task + ?Sized> From<&'a mut T> for Tasks<'a> {
    fn from(task: &'a mut T) -> Self {
        Alternating::new().with("", 1, task).into()
    }
}

/// Alternately trained tasks, with an update after each batch.
///
/// Reference: mixMRC + LAKM (Yuan et al. 2020, §4.3).
///
/// A round iterates over the tasks in order. `epochs` of the [`TrainConfig`](crate::TrainConfig)
/// counts passes over the first task's examples; the last round is completed. Every other task
/// restarts when its examples are exhausted. `steps` counts batches.
///
/// ```no_run
/// use tch::Tensor;
/// use trainer::{Alternating, Stage, Task, TrainConfig, fit};
///
/// fn train(
///     stage: &Stage,
///     parameters: &[(String, Tensor)],
///     questions: impl Task,
///     phrases: impl Task,
/// ) -> trainer::Result<()> {
///     let tasks = Alternating::new().with("questions", 2, questions).with("phrases", 1, phrases);
///     fit(stage, &TrainConfig::default(), parameters, tasks)?;
///     Ok(())
/// }
/// ```
#[derive(Default)]
pub struct Alternating<'a>(Vec<TaskSlot<'a>>);

impl<'a> Alternating<'a> {
    /// Creates an empty list of tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task with its number of consecutive batches per round, at least 1.
    #[must_use]
    pub fn with(mut self, name: &str, batches_per_round: u32, task: impl Task + 'a) -> Self {
        let slot = TaskSlot::new(name, task);
        self.0.push(TaskSlot { batches_per_round, ..slot });
        self
    }

    /// Adds the task if it is `Some`.
    #[must_use]
    pub fn with_optional(
        self,
        name: &str,
        batches_per_round: u32,
        task: Option<impl Task + 'a>,
    ) -> Self {
        match task {
            Some(task) => self.with(name, batches_per_round, task),
            None => self,
        }
    }
}

impl<'a> From<Alternating<'a>> for Tasks<'a> {
    fn from(Alternating(slots): Alternating<'a>) -> Self {
        Self { slots, updates: Updates::Sequential }
    }
}

/// Tasks whose losses are summed: a step has one batch of each task, and one update.
///
/// Each batch has a separate graph, and only one graph exists at a time.
///
/// ```no_run
/// use tch::Tensor;
/// use trainer::{Stage, Task, TrainConfig, WeightedSum, fit};
///
/// fn train(
///     stage: &Stage,
///     parameters: &[(String, Tensor)],
///     masked_lm: impl Task,
///     contrast: impl Task,
/// ) -> trainer::Result<()> {
///     let tasks = WeightedSum::new().with("mlm", 1.0, masked_lm).with("contrast", 0.5, contrast);
///     fit(stage, &TrainConfig::default(), parameters, tasks)?;
///     Ok(())
/// }
/// ```
#[derive(Default)]
pub struct WeightedSum<'a>(Vec<TaskSlot<'a>>);

impl<'a> WeightedSum<'a> {
    /// Creates an empty list of tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task with the weight of its loss. A weight of 0 disables the task.
    #[must_use]
    pub fn with(mut self, name: &str, weight: f64, task: impl Task + 'a) -> Self {
        let slot = TaskSlot::new(name, task);
        self.0.extend((weight != 0.0).then_some(TaskSlot { weight, ..slot }));
        self
    }
}

impl<'a> From<WeightedSum<'a>> for Tasks<'a> {
    fn from(WeightedSum(slots): WeightedSum<'a>) -> Self {
        Self { slots, updates: Updates::Summed }
    }
}

/// One task of a stage.
pub(crate) struct TaskSlot<'a> {
    /// Name of the task: a prefix of its losses and tensors, and part of its random seed.
    pub(crate) name: String,
    pub(crate) task: Box<dyn Task + 'a>,
    /// Number of batches of the task in each round; at least 1.
    pub(crate) batches_per_round: u32,
    /// Weight of the task's loss.
    pub(crate) weight: f64,
}

impl<'a> TaskSlot<'a> {
    fn new(name: &str, task: impl Task + 'a) -> Self {
        Self { name: name.to_owned(), task: Box::new(task), batches_per_round: 1, weight: 1.0 }
    }
}

/// Checks that every slot can be trained; the error names the first invalid slot.
pub(crate) fn check_slots(stage: &str, slots: &mut [TaskSlot<'_>]) -> Result<()> {
    let config_error = |key: String, value: &dyn std::fmt::Debug, rule: &str| {
        Err(Error::Config { key, value: format!("{value:?}"), rule: rule.into() })
    };
    let names: Vec<String> = slots.iter().map(|slot| slot.name.clone()).collect();
    if names.is_empty() {
        return config_error("tasks".into(), &names, "must contain at least one task");
    }
    for (number, slot) in slots.iter_mut().enumerate() {
        let key = |field: &str| format!("tasks[{number}].{field}");
        let is_duplicate = names.iter().take(number).any(|name| *name == slot.name);
        // The name of a single slot is not used.
        if names.len() > 1 && (is_duplicate || slot.name.is_empty() || slot.name.contains('/')) {
            let rule = "must be unique, not empty, and without \"/\"";
            return config_error(key("name"), &slot.name, rule);
        }
        if slot.batches_per_round == 0 {
            return config_error(key("batches_per_round"), &0, "must be 1 or more");
        }
        if !(slot.weight.is_finite() && slot.weight > 0.0) {
            return config_error(key("weight"), &slot.weight, "must be above 0");
        }
        let is_empty = match slot.task.examples() {
            Examples::Indexed(lengths) => lengths.is_empty(),
            Examples::Streamed(stream) => stream.example_count() == Some(0),
        };
        if is_empty {
            return Err(Error::NoExamples { stage: slot_label(stage, names.len(), &slot.name) });
        }
    }
    Ok(())
}

/// Returns the stage and, if there are several slots, the slot's name, for error messages.
pub(crate) fn slot_label(stage: &str, slot_count: usize, name: &str) -> String {
    if slot_count == 1 { stage.to_owned() } else { format!("{stage}, {name}") }
}

/// Returns the seed of a slot's order and random draws; the stage's seed if there is one slot.
pub(crate) fn slot_seed(config: &TrainConfig, slot_count: usize, name: &str) -> u64 {
    if slot_count == 1 {
        config.seed
    } else {
        seed_for(config.seed, &format!("lane/{name}"), 0).cast_unsigned()
    }
}

/// Rejects micro-batches, or several ranks, if a task does not support micro-batches.
pub(crate) fn check_micro_batches(
    config: &TrainConfig,
    rank_count: usize,
    slots: &[TaskSlot<'_>],
) -> Result<()> {
    let (key, value) = match config.micro_batch {
        _ if rank_count > 1 => ("WORLD_SIZE", rank_count.to_string()),
        Some(size) => ("micro_batch", size.to_string()),
        None => return Ok(()),
    };
    match slots.iter().find(|slot| !slot.task.supports_micro_batches()) {
        None => Ok(()),
        Some(slot) => Err(Error::Config {
            key: key.into(),
            value,
            rule: format!(
                "must be absent, because the task {:?} does not support micro-batches",
                slot.name
            ),
        }),
    }
}

/// Rejects batches, and examples in memory, that are fewer than a task's minimum.
pub(crate) fn check_batch_sizes(config: &TrainConfig, slots: &mut [TaskSlot<'_>]) -> Result<()> {
    for slot in slots {
        let minimum = slot.task.min_batch_size();
        let example_count = slot.task.examples().lengths().map_or(minimum, <[usize]>::len);
        let values = [("batch_size", config.batch_size), ("number of examples", example_count)];
        for (key, value) in values {
            if value < minimum {
                return Err(Error::Config {
                    key: key.into(),
                    value: value.to_string(),
                    rule: format!(
                        "must be {minimum} or more, because the task {:?} takes its negatives from \
                         the batch",
                        slot.name
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Rejects `evaluation_steps` and `patience` if no task evaluates its model.
pub(crate) fn check_evaluation(config: &TrainConfig, slots: &[TaskSlot<'_>]) -> Result<()> {
    let steps = config.evaluation_steps.map(|steps| ("evaluation_steps", steps));
    let patience = config.patience.map(|patience| ("patience", patience));
    let has_scores = slots.iter().any(|slot| slot.task.evaluations_since_best().is_some());
    match steps.or(patience).filter(|_| !has_scores) {
        None => Ok(()),
        Some((key, value)) => Err(Error::Config {
            key: key.into(),
            value: value.to_string(),
            rule: "must be absent, because no task evaluates its model during training".into(),
        }),
    }
}

/// Returns the stage's fingerprint: a hash of its settings except for logging and checkpoints, its
/// precision unless float32, its slots and their tasks.
pub(crate) fn stage_fingerprint(
    config: &TrainConfig,
    precision: Precision,
    Tasks { slots, updates }: &Tasks<'_>,
) -> Result<String> {
    let mut stage = Fingerprint::new();
    stage.add_json("config", &config.identity());
    if *updates == Updates::Summed {
        stage.add("updates", "summed");
    }
    if precision != Precision::F32 {
        stage.add("precision", precision.name());
    }
    for slot in slots {
        if slots.len() > 1 {
            stage.add("slot", &slot.name);
        }
        let mut task = Fingerprint::new();
        slot.task.fingerprint(&mut task);
        stage
            .add_number("batch_size", config.batch_size as u64)
            .add_number("batches_per_round", u64::from(slot.batches_per_round))
            .add("task", task.finish()?);
        if slot.weight != 1.0 {
            stage.add_json("weight", &slot.weight);
        }
    }
    Ok(stage.finish()?)
}
