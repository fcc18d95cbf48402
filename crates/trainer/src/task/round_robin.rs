//! Round-robin schedule of a stage's tasks.

/// Schedule of the parameter updates in a stage with several tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Updates {
    /// An update after each batch of any task. A step is a batch.
    Sequential,
    /// An update after each round, with the summed gradients of its batches. A step is a round.
    Summed,
}

/// The order of slots and batches, as a pure function of the step.
///
/// A round iterates over the slots in order, and each slot has `batches_per_round` batches, at
/// least one. There is at least one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoundRobin {
    batches_per_round: Vec<u64>,
    updates: Updates,
}

impl RoundRobin {
    pub(crate) fn new(batches_per_round: Vec<u64>, updates: Updates) -> Self {
        Self { batches_per_round, updates }
    }

    /// Returns the number of steps in a round.
    fn round_steps(&self) -> u64 {
        match self.updates {
            Updates::Sequential => self.batches_per_round.iter().sum(),
            Updates::Summed => 1,
        }
    }

    /// Returns the number of steps, in complete rounds, after which the first slot has had at least
    /// `first_slot_batches` batches.
    pub(crate) fn steps_for(&self, first_slot_batches: u64) -> u64 {
        first_slot_batches.div_ceil(self.batches_per_round[0]) * self.round_steps()
    }

    /// Returns the batches of a step in order, as (slot, index of the batch in its slot).
    pub(crate) fn batches(&self, step: u64) -> Vec<(usize, u64)> {
        let (round, mut step_in_round) = (step / self.round_steps(), step % self.round_steps());
        let mut batches = Vec::new();
        for (slot, &count) in self.batches_per_round.iter().enumerate() {
            match self.updates {
                Updates::Summed => batches.extend((0..count).map(|k| (slot, round * count + k))),
                Updates::Sequential if step_in_round < count => {
                    return vec![(slot, round * count + step_in_round)];
                }
                Updates::Sequential => step_in_round -= count,
            }
        }
        batches
    }

    /// Returns the number of batches of a slot in the first `steps` steps.
    pub(crate) fn batches_before(&self, slot: usize, steps: u64) -> u64 {
        let count = self.batches_per_round[slot];
        let (rounds, step_in_round) = (steps / self.round_steps(), steps % self.round_steps());
        let earlier_batches: u64 = self.batches_per_round.iter().take(slot).sum();
        rounds * count + step_in_round.saturating_sub(earlier_batches).min(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounds_equal_a_hand_written_order() {
        let round_robin = RoundRobin::new(vec![2, 1, 3], Updates::Sequential);
        let slots: Vec<_> = (0..12).flat_map(|step| round_robin.batches(step)).collect();
        let round = |k: u64| {
            [(0, 2 * k), (0, 2 * k + 1), (1, k), (2, 3 * k), (2, 3 * k + 1), (2, 3 * k + 2)]
        };
        assert_eq!(slots, [round(0), round(1)].concat());
        let summed = RoundRobin::new(vec![2, 1, 3], Updates::Summed);
        assert_eq!(summed.batches(1), round(1));
        // Three rounds are needed for five batches of the first slot.
        assert_eq!((round_robin.steps_for(5), summed.steps_for(5)), (18, 3));
    }

    proptest! {
        #[test]
        fn batches_of_every_slot_are_numbered_without_gaps(
            per_round in proptest::collection::vec(1u64..5, 1..5),
            summed in any::<bool>(),
            steps in 0u64..60,
        ) {
            let updates = if summed { Updates::Summed } else { Updates::Sequential };
            let round_robin = RoundRobin::new(per_round.clone(), updates);
            let mut counts = vec![0; per_round.len()];
            for step in 0..steps {
                for (slot, number) in round_robin.batches(step) {
                    prop_assert_eq!(number, counts[slot]);
                    counts[slot] += 1;
                }
            }
            for (slot, count) in counts.iter().enumerate() {
                prop_assert_eq!(round_robin.batches_before(slot, steps), *count);
            }
            let n_steps = round_robin.steps_for(steps);
            prop_assert!(round_robin.batches_before(0, n_steps) >= steps);
            let round = if summed { 1 } else { per_round.iter().sum() };
            prop_assert!(n_steps == 0 || round_robin.batches_before(0, n_steps - round) < steps);
        }
    }
}
