//! Rotary positions (Su et al. 2021), and the attention windows of local layers.
use tch::{Kind, Tensor};

use crate::batch::packing::Rows;
use crate::family::positions::Rotary;
use crate::layers::last_size;
use crate::{Config, Result};

/// Rotary positions of a batch's tokens, and the window mask of local layers.
pub(crate) struct RotaryPositions {
    pub(crate) global: Rotation,
    /// Absent without local layers.
    pub(crate) local: Option<Rotation>,
    /// Window mask of local layers, `[B or 1, 1, L, L]` bool: true where a query may attend to a
    /// key. Absent if the batch is packed or there are no local layers.
    pub(crate) window_mask: Option<Tensor>,
}

/// Cosines and sines of rotary positions (Su et al. 2021), `[N, D / 2]` each.
pub(crate) struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    fn new(positions: &Tensor, theta: f64, head_size: i64, kind: Kind) -> Result<Self> {
        // Frequencies and angles are float32 for every `kind`, as in transformers. Another
        // precision would change the angles of large positions.
        let options = (Kind::Float, positions.device());
        let dimensions = Tensor::f_arange_start_step(0, head_size, 2, options)?;
        let theta_powers = Tensor::f_pow_scalar(theta, &dimensions.f_div_scalar(head_size)?)?;
        let angles = positions.f_to_kind(Kind::Float)?.f_view([-1, 1])?;
        let angles = angles.f_mul(&theta_powers.f_reciprocal()?)?;
        Ok(Self { cos: angles.f_cos()?.f_to_kind(kind)?, sin: angles.f_sin()?.f_to_kind(kind)? })
    }

    /// Splits `projected`, `[.., 3 * heads * D]`, into rotated queries, rotated keys and values,
    /// each `[N, heads * D]`.
    pub(crate) fn apply(&self, projected: &Tensor, heads: i64) -> Result<[Tensor; 3]> {
        let rows = projected.f_reshape([-1, last_size(projected)])?;
        Ok(torch_ext::rotary(&rows, &self.cos, &self.sin, heads)?)
    }
}

impl RotaryPositions {
    /// Creates positions from `token_positions`, `[N]` i64 in the layout of the batch. The windows
    /// of local layers depend on these positions if `by_position`, otherwise on the tokens' indices
    /// in the row.
    pub(crate) fn new(
        token_positions: &Tensor,
        by_position: bool,
        rows: &Rows,
        is_packed: bool,
        config: &Config,
        rotary: Rotary,
        kind: Kind,
    ) -> Result<Self> {
        let head_size = config.hidden_size / config.num_attention_heads.max(1);
        let kind = if kind == Kind::Double { kind } else { Kind::Float };
        let rotation = |theta| Rotation::new(token_positions, theta, head_size, kind);
        let global = rotation(rotary.theta)?;
        let local = rotary.local.map(|(theta, _)| rotation(theta)).transpose()?;
        let window_mask = match rotary.local.filter(|_| !is_packed) {
            None => None,
            Some((_, window_radius)) => {
                let positions = match by_position {
                    true => token_positions.f_view([rows.batch, rows.length])?,
                    false => {
                        let options = (Kind::Int64, rows.device);
                        Tensor::f_arange(rows.length, options)?.f_unsqueeze(0)?
                    }
                };
                Some(compute_window_mask(&positions, window_radius, rows)?)
            }
        };
        Ok(Self { global, local, window_mask })
    }
}

/// Computes the window mask, `[B or 1, 1, L, L]` bool: true where `positions`, `[B or 1, L]`, are
/// at most `window_radius` apart. Every position, including padding, attends to itself, so that no
/// output is NaN.
fn compute_window_mask(positions: &Tensor, window_radius: i64, rows: &Rows) -> Result<Tensor> {
    let distances = positions.f_unsqueeze(1)?.f_sub(&positions.f_unsqueeze(2)?)?;
    let in_window = distances.f_abs()?.f_le(window_radius)?.f_unsqueeze(1)?;
    let Some(mask) = &rows.mask else { return Ok(in_window) };
    let diagonal = Tensor::f_eye(rows.length, (Kind::Bool, rows.device))?;
    Ok(in_window.f_logical_and(mask)?.f_logical_or(&diagonal)?)
}
