//! Initial values of the learned candidate weights.
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::Error;

/// Initialisation of θ, the learned weights of [`hard_learning`](crate::hard_learning()).
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialWeights {
    /// All zero: every candidate has the same weight.
    #[default]
    Uniform,
    /// `c` in the last slot and 0 elsewhere, so that the weight of the last slot is `e^c` times the
    /// weight of any other. For use with [`GoldSlot::Last`](crate::GoldSlot::Last), which puts the
    /// gold span in that slot.
    GoldBiased(f64),
}

/// Creates the initial θ of [`hard_learning`](crate::hard_learning()).
///
/// Call `set_requires_grad(true)` on the result to make it a leaf for the optimiser.
///
/// # Shapes
/// - `slots`: K, 1 or more
/// - returns `[K]` f32 on `device`
///
/// # Errors
/// [`Error::Domain`] if `slots` is 0, or unless the bias is finite.
///
/// # Example
/// ```
/// use objectives::{InitialWeights, initial_weights, tch::{Device, Kind}};
///
/// let theta = initial_weights(3, InitialWeights::GoldBiased(2_f64.ln()), Device::Cpu)?;
/// let last = theta.softmax(0, Kind::Float).double_value(&[2]);
/// assert!((last - 0.5).abs() < 1e-6); // twice the weight of each other slot
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn initial_weights(
    slots: usize,
    start: InitialWeights,
    device: Device,
) -> Result<Tensor, Error> {
    if slots == 0 {
        return Err(Error::Domain { option: "slots", value: 0.0, rule: "at least 1" });
    }
    let slots = i64::try_from(slots).unwrap_or(i64::MAX);
    let theta = Tensor::f_zeros([slots], (Kind::Float, device))?;
    if let InitialWeights::GoldBiased(value) = start {
        if !value.is_finite() {
            return Err(Error::Domain { option: "gold_biased", value, rule: "finite" });
        }
        let _ = theta.f_select(0, slots - 1)?.f_fill_(value)?;
    }
    Ok(theta)
}
