//! Dynamic loss scaling for float16, as in PyTorch's `GradScaler`.
use serde::{Deserialize, Serialize};

/// Number of consecutive finite steps after which the scale is doubled.
const GROWTH_INTERVAL: u64 = 2000;

/// Minimum scale. An overflow at this scale is not caused by the scale.
const MIN_SCALE: f64 = 1.0;

/// Dynamic loss scale for float16 (Micikevicius et al. 2018, §3.2; `torch.amp.GradScaler`).
///
/// The scale keeps small gradients representable. If a gradient is not finite, the scale is halved
/// and the step skipped. After 2,000 consecutive finite steps, the scale is doubled.
///
/// ```
/// use trainer::LossScaler;
///
/// let mut scaler = LossScaler::default();
/// assert_eq!(scaler.scale(), 65536.0);
/// assert!(scaler.record_overflow());
/// assert_eq!(scaler.scale(), 32768.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaler {
    scale: f64,
    /// Number of steps without overflow since the scale changed.
    good_steps: u64,
}

impl Default for LossScaler {
    fn default() -> Self {
        Self { scale: 65536.0, good_steps: 0 }
    }
}

impl LossScaler {
    /// Returns the scale, a power of two.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Counts a step whose gradients are finite.
    pub fn record_finite_step(&mut self) {
        self.record_finite_step_with_interval(GROWTH_INTERVAL);
    }

    fn record_finite_step_with_interval(&mut self, interval: u64) {
        self.good_steps += 1;
        if self.good_steps >= interval {
            self.good_steps = 0;
            let doubled = self.scale * 2.0;
            if doubled <= f64::from(f32::MAX) {
                self.scale = doubled;
            }
        }
    }

    /// Counts a step with a non-finite gradient. Returns false if the scale is already 1, because
    /// then the overflow has another cause.
    pub fn record_overflow(&mut self) -> bool {
        self.good_steps = 0;
        if self.scale <= MIN_SCALE {
            return false;
        }
        self.scale /= 2.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        initial: f64,
        cases: BTreeMap<String, Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        growth_interval: u64,
        steps: Vec<ExpectedStep>,
    }

    #[derive(Deserialize)]
    struct ExpectedStep {
        step: u64,
        overflow: bool,
        scale: f64,
        good_steps: u64,
        stepped: bool,
    }

    /// `scripts/grad_scaler.py` wrote the expected values with torch 2.11.0.
    #[test]
    fn the_scale_equals_that_of_pytorch() {
        let fixture: Fixture =
            serde_json::from_str(include_str!("../../tests/data/grad_scaler.json")).unwrap();
        assert_eq!(fixture.initial, LossScaler::default().scale());
        assert_eq!(fixture.cases["default"].growth_interval, GROWTH_INTERVAL);
        for (name, case) in &fixture.cases {
            let (mut scaler, mut step) = (LossScaler::default(), 0);
            for expected in &case.steps {
                // The fixture omits some steps, all without overflow.
                while step < expected.step {
                    scaler.record_finite_step_with_interval(case.growth_interval);
                    step += 1;
                }
                if expected.overflow {
                    assert!(scaler.record_overflow());
                } else {
                    scaler.record_finite_step_with_interval(case.growth_interval);
                }
                step += 1;
                let want = LossScaler { scale: expected.scale, good_steps: expected.good_steps };
                assert_eq!(scaler, want, "{name}, step {}", expected.step);
                assert_eq!(expected.stepped, !expected.overflow);
            }
        }
    }

    #[test]
    fn the_scale_stays_between_1_and_the_largest_float32() {
        let mut scaler = LossScaler::default();
        assert!((0..16).all(|_| scaler.record_overflow()));
        assert_eq!(scaler.scale(), 1.0);
        assert!(!scaler.record_overflow());
        assert_eq!(scaler.scale(), 1.0);
        (0..200).for_each(|_| scaler.record_finite_step_with_interval(1));
        assert_eq!(scaler.scale(), 2f64.powi(127));
    }
}
