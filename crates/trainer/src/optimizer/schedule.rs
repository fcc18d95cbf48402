//! Learning-rate schedule of BERT: linear warm-up, then linear decay or a constant rate.
use crate::{Decay, Error, Result};

/// Learning-rate factors of a run of known length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LearningRateSchedule {
    warmup_steps: u64,
    total_steps: u64,
    decay: Decay,
}

impl LearningRateSchedule {
    /// Creates a schedule with `ceil(warmup_ratio * total_steps)` warm-up steps.
    ///
    /// Rounding errors of the product are ignored: 0.07 of 100 steps is 7, whereas transformers
    /// rounds 7.000000000000001 up to 8.
    ///
    /// # Errors
    /// [`Error::Config`] if `total_steps` is 0 or the ratio is not from 0 to 1.
    pub(crate) fn new(total_steps: u64, warmup_ratio: f64, decay: Decay) -> Result<Self> {
        if total_steps == 0 {
            return Err(Error::Config {
                key: "steps".into(),
                value: "0".into(),
                rule: "must be 1 or more".into(),
            });
        }
        if !(0.0..=1.0).contains(&warmup_ratio) {
            return Err(Error::Config {
                key: "warmup_ratio".into(),
                value: warmup_ratio.to_string(),
                rule: "must be from 0 to 1".into(),
            });
        }
        // `total_steps` is exact in float64 below 2^53. Without the subtraction, a rounding error
        // could add a step: 0.07 · 100 is slightly above 7 in float64.
        let warmup = (warmup_ratio * total_steps as f64 - 1e-9).ceil().max(0.0);
        Ok(Self { warmup_steps: warmup as u64, total_steps, decay })
    }

    /// Returns the factor of the peak learning rate at `step`, counted from 0. The factor is 0 at
    /// the start of a warm-up, 1 at the end of the warm-up and, with linear decay, 0 at
    /// `total_steps`.
    pub(crate) fn factor(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps as f64;
        }
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => {
                let remaining = self.total_steps.saturating_sub(step) as f64;
                let decay_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1);
                remaining / decay_steps as f64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        runs: Vec<Run>,
    }

    #[derive(Deserialize)]
    struct Run {
        steps: u64,
        ratio: f64,
        warmup: u64,
        linear: Vec<f64>,
        constant: Vec<f64>,
    }

    /// `scripts/schedules.py` wrote the expected values with transformers 5.23.0.
    #[test]
    fn factors_equal_those_of_transformers() {
        let fixture: Fixture =
            serde_json::from_str(include_str!("../../tests/data/schedules.json")).unwrap();
        assert!(!fixture.runs.is_empty());
        for run in &fixture.runs {
            for (decay, want) in [(Decay::Linear, &run.linear), (Decay::Constant, &run.constant)] {
                let schedule = LearningRateSchedule::new(run.steps, run.ratio, decay).unwrap();
                assert_eq!(schedule.warmup_steps, run.warmup);
                for (step, want) in (0u64..).zip(want) {
                    let got = schedule.factor(step);
                    assert!((got - want).abs() < 1e-12, "{step} of {}: {got} {want}", run.steps);
                }
            }
        }
    }

    #[test]
    fn warmup_steps_are_rounded_up_except_for_rounding_errors() {
        // *Bridging the Language Gap* has a warm-up of 6 % of 8,334 steps: 500.04 steps.
        for (steps, ratio, want) in [(100, 0.1, 10), (100, 0.07, 7), (8_334, 0.06, 501)] {
            let schedule = LearningRateSchedule::new(steps, ratio, Decay::Linear).unwrap();
            assert_eq!(schedule.warmup_steps, want);
            assert_eq!([0, want, steps].map(|step| schedule.factor(step)), [0.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn a_schedule_without_warmup_starts_at_the_peak() {
        let schedule = LearningRateSchedule::new(10, 0.0, Decay::Linear).unwrap();
        assert_eq!([0, 5].map(|step| schedule.factor(step)), [1.0, 0.5]);
    }

    #[test]
    fn invalid_settings_are_errors() {
        assert!(LearningRateSchedule::new(0, 0.0, Decay::Linear).is_err());
        assert!(LearningRateSchedule::new(5, 1.5, Decay::Linear).is_err());
    }
}
