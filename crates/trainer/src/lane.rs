//! Several tasks in one stage, and which of them a step belongs to.
use serde::{Deserialize, Serialize};

use crate::seed::seed_for;
use crate::{Result, Task, TrainConfig, TrainError};

/// One task of a stage that trains several in turn, see [`fit_tasks`](crate::fit_tasks).
pub struct Lane<'a> {
    /// Names its losses (`loss/<name>/<part>`), its tensors in checkpoints and its random draws; without `/`, and no two alike.
    pub name: String,
    /// Its examples and losses. The models of all lanes share the parameters that train.
    pub task: &'a mut dyn Task,
    /// Examples in a batch; absent: the stage's.
    pub batch_size: Option<usize>,
    /// Batches that it has in each round, one after the other; at least 1.
    pub batches_per_round: u32,
}

impl<'a> Lane<'a> {
    /// A lane of one batch in each round, of the stage's size.
    pub fn new(name: impl Into<String>, task: &'a mut dyn Task) -> Self {
        Self { name: name.into(), task, batch_size: None, batches_per_round: 1 }
    }
}

/// When the gradients of several tasks change the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Updates {
    /// After each batch, of whichever task: "sequentially at batch level" (Yuan et al. 2020, §4.3). A step is a batch.
    #[default]
    Sequential,
    /// Once a round, from the sum of the gradients of its batches. A step is a round.
    Summed,
}

/// Which lanes a step trains: in the order of the list, each with its batches of a round. A pure function of the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rota {
    per_round: Vec<u64>,
    updates: Updates,
}

impl Rota {
    pub(crate) fn new(per_round: Vec<u64>, updates: Updates) -> Self {
        Self { per_round, updates }
    }

    /// Steps in a round.
    fn round_steps(&self) -> u64 {
        match self.updates {
            Updates::Sequential => self.per_round.iter().sum::<u64>().max(1),
            Updates::Summed => 1,
        }
    }

    /// The steps in which the first lane has at least this many batches; whole rounds.
    pub(crate) fn steps_for(&self, first_lane_batches: u64) -> u64 {
        let first = self.per_round.first().copied().unwrap_or(1).max(1);
        first_lane_batches.div_ceil(first) * self.round_steps()
    }

    /// The batches of a step, as (lane, number of the batch in its lane), in order.
    pub(crate) fn batches(&self, step: u64) -> Vec<(usize, u64)> {
        let (round, mut place) = (step / self.round_steps(), step % self.round_steps());
        let mut batches = Vec::new();
        for (lane, &count) in self.per_round.iter().enumerate() {
            match self.updates {
                Updates::Summed => batches.extend((0..count).map(|k| (lane, round * count + k))),
                Updates::Sequential if place < count => return vec![(lane, round * count + place)],
                Updates::Sequential => place -= count,
            }
        }
        batches
    }

    /// Batches that a lane has in the first `steps` steps.
    pub(crate) fn batches_before(&self, lane: usize, steps: u64) -> u64 {
        let count = self.per_round.get(lane).copied().unwrap_or(0);
        let (rounds, rest) = (steps / self.round_steps(), steps % self.round_steps());
        let earlier: u64 = self.per_round.iter().take(lane).sum();
        rounds * count + rest.saturating_sub(earlier).min(count)
    }
}

/// Refuses lanes that cannot train, and names the first one's fault.
pub(crate) fn expect_lanes(stage: &str, lanes: &[Lane<'_>]) -> Result<()> {
    let refuse = |key: String, value: &dyn std::fmt::Debug, rule: &str| {
        Err(TrainError::Config { key, value: format!("{value:?}"), rule: rule.into() })
    };
    if lanes.is_empty() {
        return refuse("lanes".into(), &[(); 0], "must hold at least one task");
    }
    for (number, lane) in lanes.iter().enumerate() {
        let key = |field: &str| format!("lanes[{number}].{field}");
        let repeated = lanes.iter().take(number).any(|other| other.name == lane.name);
        // A single lane's name appears nowhere.
        if lanes.len() > 1 && (repeated || lane.name.is_empty() || lane.name.contains('/')) {
            return refuse(
                key("name"),
                &lane.name,
                "must be a name of its own, not empty, without \"/\"",
            );
        }
        if lane.batch_size == Some(0) {
            return refuse(key("batch_size"), &0, "must be 1 or more");
        }
        if lane.batches_per_round == 0 {
            return refuse(key("batches_per_round"), &0, "must be 1 or more");
        }
        if lane.task.lengths().is_empty() {
            return Err(TrainError::NoExamples { stage: label(stage, lanes.len(), &lane.name) });
        }
    }
    Ok(())
}

/// What a lane is called in errors.
pub(crate) fn label(stage: &str, lanes: usize, name: &str) -> String {
    if lanes == 1 { stage.to_owned() } else { format!("{stage}, {name}") }
}

/// The seed of a lane's order and draws: the stage's own where it has one task.
pub(crate) fn lane_seed(config: &TrainConfig, lanes: usize, name: &str) -> u64 {
    if lanes == 1 {
        config.seed
    } else {
        seed_for(config.seed, &format!("lane/{name}"), 0).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_round_by_hand() {
        let rota = Rota::new(vec![2, 1, 3], Updates::Sequential);
        let lanes: Vec<_> = (0..12).flat_map(|step| rota.batches(step)).collect();
        let round = |k: u64| {
            [(0, 2 * k), (0, 2 * k + 1), (1, k), (2, 3 * k), (2, 3 * k + 1), (2, 3 * k + 2)]
        };
        assert_eq!(lanes, [round(0), round(1)].concat());
        let summed = Rota::new(vec![2, 1, 3], Updates::Summed);
        assert_eq!(summed.batches(1), round(1));
        // Five batches of the first lane: three rounds.
        assert_eq!((rota.steps_for(5), summed.steps_for(5)), (18, 3));
    }

    proptest! {
        #[test]
        fn every_lane_counts_its_batches_without_a_gap(
            per_round in proptest::collection::vec(1u64..5, 1..5),
            summed in any::<bool>(),
            steps in 0u64..60,
        ) {
            let updates = if summed { Updates::Summed } else { Updates::Sequential };
            let rota = Rota::new(per_round.clone(), updates);
            let mut seen = vec![0; per_round.len()];
            for step in 0..steps {
                for (lane, number) in rota.batches(step) {
                    prop_assert_eq!(number, seen[lane]);
                    seen[lane] += 1;
                }
            }
            for (lane, seen) in seen.iter().enumerate() {
                prop_assert_eq!(rota.batches_before(lane, steps), *seen);
            }
            let least = rota.steps_for(steps);
            prop_assert!(rota.batches_before(0, least) >= steps);
            let round = if summed { 1 } else { per_round.iter().sum() };
            prop_assert!(least == 0 || rota.batches_before(0, least - round) < steps);
        }
    }
}
