//! The tasks of a stage: name, batch size and turns of each.
use torch_ext::Precision;

use crate::seed_for;
use crate::{Error, Examples, Fingerprint, Result, Task, TrainConfig};

/// One task of a stage that trains several in turn, see [`fit_tasks`](crate::fit_tasks), which has
/// an example.
pub struct TaskSlot<'a> {
    /// Names its losses (`loss/<name>/<part>`), its tensors in checkpoints and its random draws;
    /// without `/`, and no two alike.
    pub name: String,
    /// Its examples and losses. The models of all slots share the parameters that train.
    pub task: &'a mut dyn Task,
    /// Examples in a batch; absent: the stage's.
    pub batch_size: Option<usize>,
    /// Batches that it has in each round, one after the other; at least 1.
    pub batches_per_round: u32,
}

impl<'a> TaskSlot<'a> {
    /// A slot of one batch in each round, of the stage's size.
    pub fn new(name: impl Into<String>, task: &'a mut dyn Task) -> Self {
        Self { name: name.into(), task, batch_size: None, batches_per_round: 1 }
    }

    /// Sets the batches that it has in each round.
    #[must_use]
    pub fn with_batches_per_round(self, batches_per_round: u32) -> Self {
        Self { batches_per_round, ..self }
    }

    /// The same slot, for as long as it is borrowed.
    pub fn reborrow(&mut self) -> TaskSlot<'_> {
        TaskSlot {
            name: self.name.clone(),
            task: &mut *self.task,
            batch_size: self.batch_size,
            batches_per_round: self.batches_per_round,
        }
    }

    /// Examples in a batch of this slot.
    pub(crate) fn size(&self, config: &TrainConfig) -> usize {
        self.batch_size.unwrap_or(config.batch_size)
    }
}

/// Refuses slots that cannot train, and names the first one's fault.
pub(crate) fn expect_slots(stage: &str, slots: &mut [TaskSlot<'_>]) -> Result<()> {
    let refuse = |key: String, value: &dyn std::fmt::Debug, rule: &str| {
        Err(Error::Config { key, value: format!("{value:?}"), rule: rule.into() })
    };
    let names: Vec<String> = slots.iter().map(|slot| slot.name.clone()).collect();
    if names.is_empty() {
        return refuse("tasks".into(), &names, "must hold at least one task");
    }
    for (number, slot) in slots.iter_mut().enumerate() {
        let key = |field: &str| format!("tasks[{number}].{field}");
        let repeated = names.iter().take(number).any(|name| *name == slot.name);
        // A single slot's name appears nowhere.
        if names.len() > 1 && (repeated || slot.name.is_empty() || slot.name.contains('/')) {
            let rule = "must be a name of its own, not empty, without \"/\"";
            return refuse(key("name"), &slot.name, rule);
        }
        if slot.batch_size == Some(0) {
            return refuse(key("batch_size"), &0, "must be 1 or more");
        }
        if slot.batches_per_round == 0 {
            return refuse(key("batches_per_round"), &0, "must be 1 or more");
        }
        let empty = match slot.task.examples() {
            Examples::Indexed(lengths) => lengths.is_empty(),
            Examples::Streamed(stream) => stream.examples() == Some(0),
        };
        if empty {
            return Err(Error::NoExamples { stage: label(stage, names.len(), &slot.name) });
        }
    }
    Ok(())
}

/// What a slot is called in errors.
pub(crate) fn label(stage: &str, slots: usize, name: &str) -> String {
    if slots == 1 { stage.to_owned() } else { format!("{stage}, {name}") }
}

/// The seed of a slot's order and draws: the stage's own where it has one task.
pub(crate) fn slot_seed(config: &TrainConfig, slots: usize, name: &str) -> u64 {
    if slots == 1 {
        config.seed
    } else {
        seed_for(config.seed, &format!("lane/{name}"), 0).cast_unsigned()
    }
}

/// Refuses micro-batches where a task does not take them.
pub(crate) fn expect_micro_batches(
    config: &TrainConfig,
    ranks: usize,
    slots: &[TaskSlot<'_>],
) -> Result<()> {
    let (key, value) = match config.micro_batch {
        _ if ranks > 1 => ("WORLD_SIZE", ranks.to_string()),
        Some(size) => ("micro_batch", size.to_string()),
        None => return Ok(()),
    };
    match slots.iter().find(|slot| !slot.task.takes_micro_batches()) {
        None => Ok(()),
        Some(slot) => Err(Error::Config {
            key: key.into(),
            value,
            rule: format!(
                "must be absent, since a batch of the task {:?} cannot be cut",
                slot.name
            ),
        }),
    }
}

/// Refuses evaluations in training where no task scores its model.
pub(crate) fn expect_evaluation(config: &TrainConfig, slots: &[TaskSlot<'_>]) -> Result<()> {
    let steps = config.evaluation_steps.map(|steps| ("evaluation_steps", steps));
    let patience = config.patience.map(|patience| ("patience", patience));
    let scores = slots.iter().any(|slot| slot.task.evaluations_since_best().is_some());
    match steps.or(patience).filter(|_| !scores) {
        None => Ok(()),
        Some((key, value)) => Err(Error::Config {
            key: key.into(),
            value: value.to_string(),
            rule: "must be absent, since no task scores its model in training".into(),
        }),
    }
}

/// The stage's fingerprint: its settings but for bookkeeping, its precision unless that is float32,
/// its slots and their tasks.
pub(crate) fn stage_fingerprint(
    config: &TrainConfig,
    precision: Precision,
    slots: &[TaskSlot<'_>],
) -> Result<String> {
    let mut stage = Fingerprint::new();
    stage.serialize("config", &config.identity());
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
            .number("batch_size", slot.size(config) as u64)
            .number("batches_per_round", u64::from(slot.batches_per_round))
            .add("task", task.finish()?);
    }
    Ok(stage.finish()?)
}
