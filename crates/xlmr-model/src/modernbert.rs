//! Layers and positions of ModernBERT (Warner et al. 2024; the layout of transformers'
//! `ModernBertModel`).
use tch::{Device, Kind, Tensor};
use torch_ext::Attention;

use crate::dropout::Draws;
use crate::encoder::Batch;
use crate::layers::{LayerNorm, Linear, Lookup};
use crate::packing::{Packing, Rows};
use crate::{Activation, Config, ModernBert, Result};

/// Where the tokens of a batch stand, as attention is told.
pub(crate) struct Positions {
    /// Of each token, laid out as the batch is: `[N]` i64.
    pub(crate) of_tokens: Tensor,
    global: Rotation,
    local: Rotation,
    /// `[B or 1, 1, L, L]` bool, true where a token of a local layer sees another; absent where the
    /// batch is packed.
    window: Option<Tensor>,
}

/// Cosines and sines of rotary positions (Su et al. 2021), `[N, D / 2]` each.
struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    fn new(positions: &Tensor, theta: f64, depth: i64, kind: Kind) -> Result<Self> {
        // As transformers computes them, in float32 for every dtype: at long positions the rounding
        // of a frequency is seen in the angle.
        let options = (Kind::Float, positions.device());
        let steps = Tensor::f_arange_start_step(0, depth, 2, options)?;
        let powers = Tensor::f_pow_scalar(theta, &steps.f_div_scalar(depth)?)?;
        let angles = positions.f_to_kind(Kind::Float)?.f_view([-1, 1])?;
        let angles = angles.f_mul(&powers.f_reciprocal()?)?;
        Ok(Self { cos: angles.f_cos()?.f_to_kind(kind)?, sin: angles.f_sin()?.f_to_kind(kind)? })
    }

    /// Queries and keys, rotated, and values, `[N, heads * D]` each, of `[.., 3 * heads * D]`.
    fn apply(&self, projected: &Tensor, heads: i64) -> Result<[Tensor; 3]> {
        let width = projected.size().last().copied().unwrap_or(0);
        let (rows, kind) = (projected.f_reshape([-1, width])?, projected.f_kind()?);
        if rows.device() == Device::Cpu && matches!(kind, Kind::Float | Kind::BFloat16) {
            return Ok(torch_ext::rotary(&rows, &self.cos, &self.sin, heads)?);
        }
        let part = |index: i64| rows.f_narrow(-1, index * width / 3, width / 3);
        Ok([self.turn(&part(0)?, heads)?, self.turn(&part(1)?, heads)?, part(2)?])
    }

    /// The same of queries or keys `[N, heads * D]` in plain operations, in float32 at least.
    fn turn(&self, x: &Tensor, heads: i64) -> Result<Tensor> {
        let kind = x.f_kind()?;
        let (cos, sin) = (self.cos.f_unsqueeze(1)?, self.sin.f_unsqueeze(1)?);
        let split = x.f_to_kind(cos.f_kind()?)?.f_reshape([-1, heads, 2, self.depth()])?;
        let (first, second) = (split.f_select(2, 0)?, split.f_select(2, 1)?);
        let turned = [
            first.f_mul(&cos)?.f_sub(&second.f_mul(&sin)?)?,
            second.f_mul(&cos)?.f_add(&first.f_mul(&sin)?)?,
        ];
        Ok(Tensor::f_cat(&turned, -1)?.f_view(x.size().as_slice())?.f_to_kind(kind)?)
    }

    /// D / 2.
    fn depth(&self) -> i64 {
        self.cos.size().last().copied().unwrap_or(1)
    }
}

impl Positions {
    /// Tokens that stand where `of_tokens` says, `[N]` i64 laid out as the batch is. In a local
    /// layer they see what is near: `by_position` in these positions, else in their row.
    pub(crate) fn new(
        of_tokens: Tensor,
        by_position: bool,
        rows: &Rows,
        packed: bool,
        config: &Config,
        modern: &ModernBert,
        kind: Kind,
    ) -> Result<Self> {
        let depth = config.hidden_size / config.num_attention_heads.max(1);
        let kind = if kind == Kind::Double { kind } else { Kind::Float };
        let rotation = |theta| Rotation::new(&of_tokens, theta, depth, kind);
        let (global, local) =
            (rotation(modern.global_rope_theta)?, rotation(modern.local_rope_theta)?);
        let window = match packed {
            true => None,
            false => {
                let places = match by_position {
                    true => of_tokens.f_view([rows.batch, rows.length])?,
                    false => {
                        let options = (Kind::Int64, rows.device);
                        Tensor::f_arange(rows.length, options)?.f_unsqueeze(0)?
                    }
                };
                Some(window(&places, modern.local_attention / 2, rows)?)
            }
        };
        Ok(Self { of_tokens, global, local, window })
    }
}

/// `[B or 1, 1, L, L]` bool: which tokens see which, where `places`, `[B or 1, L]`, are at most
/// `reach` apart. Every token sees itself, padding too, so that nothing is without a number.
fn window(places: &Tensor, reach: i64, rows: &Rows) -> Result<Tensor> {
    let apart = places.f_unsqueeze(1)?.f_sub(&places.f_unsqueeze(2)?)?;
    let near = apart.f_abs()?.f_le(reach)?.f_unsqueeze(1)?;
    let Some(mask) = &rows.mask else { return Ok(near) };
    let itself = Tensor::f_eye(rows.length, (Kind::Bool, rows.device))?;
    Ok(near.f_logical_and(mask)?.f_logical_or(&itself)?)
}

/// Self-attention and gated feed-forward layer, each on normalised states and added to them.
#[derive(Debug)]
pub(crate) struct ModernLayer {
    /// Absent in the first layer.
    attention_norm: Option<LayerNorm>,
    query_key_value: Linear,
    attention_out: Linear,
    mlp_norm: LayerNorm,
    mlp_in: Linear,
    mlp_out: Linear,
    activation: Activation,
    heads: i64,
    reach: Option<i64>,
    attention_dropout: f64,
    mlp_dropout: f64,
}

impl ModernLayer {
    pub(crate) fn new(
        get: Lookup,
        config: &Config,
        modern: &ModernBert,
        index: i64,
    ) -> Result<Self> {
        let name = config.architecture.names().layer(index);
        let (attention, mlp) = (modern.attention_bias, modern.mlp_bias);
        let linear = |part: &str, bias| Linear::with_bias(get, &format!("{name}.{part}"), bias);
        let norm = |part: &str| {
            let (width, eps) = (config.hidden_size, config.layer_norm_eps);
            LayerNorm::with_bias(get, &format!("{name}.{part}"), width, eps, modern.norm_bias)
        };
        Ok(Self {
            attention_norm: if index > 0 { Some(norm("attn_norm")?) } else { None },
            query_key_value: linear("attn.Wqkv", attention)?,
            attention_out: linear("attn.Wo", attention)?,
            mlp_norm: norm("mlp_norm")?,
            mlp_in: linear("mlp.Wi", mlp)?,
            mlp_out: linear("mlp.Wo", mlp)?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            reach: modern.reach(usize::try_from(index).unwrap_or(usize::MAX)),
            attention_dropout: config.attention_probs_dropout_prob,
            mlp_dropout: config.hidden_dropout_prob,
        })
    }

    /// Another handle to the same parameters.
    pub(crate) fn share(&self) -> Self {
        Self {
            attention_norm: self.attention_norm.as_ref().map(LayerNorm::share),
            query_key_value: self.query_key_value.share(),
            attention_out: self.attention_out.share(),
            mlp_norm: self.mlp_norm.share(),
            mlp_in: self.mlp_in.share(),
            mlp_out: self.mlp_out.share(),
            ..*self
        }
    }

    /// Hidden states to hidden states, packed or padded as `batch` says.
    pub(crate) fn step(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let draws = &batch.draws;
        let normed = match &self.attention_norm {
            Some(norm) => norm.apply(hidden)?,
            None => hidden.shallow_clone(),
        };
        let attended = self.attend(&self.query_key_value.apply(&normed)?, batch)?;
        let attended =
            draws.dropout(self.attention_out.apply(&attended)?, self.attention_dropout)?;
        let hidden = attended.f_add(hidden)?;
        let wide = self.mlp_in.apply(&self.mlp_norm.apply(&hidden)?)?;
        let gated = draws.dropout(self.gated(&wide)?, self.mlp_dropout)?;
        Ok(self.mlp_out.apply(&gated)?.f_add(&hidden)?)
    }

    /// The activation of the first half times the second.
    fn gated(&self, wide: &Tensor) -> Result<Tensor> {
        if self.activation == Activation::Gelu {
            return Ok(torch_ext::gated_gelu(wide)?);
        }
        let half = wide.size().last().copied().unwrap_or(0) / 2;
        let (input, gate) = (wide.f_narrow(-1, 0, half)?, wide.f_narrow(-1, half, half)?);
        Ok(self.activation.apply(&input)?.f_mul(&gate)?)
    }

    /// `[.., 3 H]` to `[.., H]`.
    fn attend(&self, query_key_value: &Tensor, batch: &Batch) -> Result<Tensor> {
        let positions = batch.positions()?;
        let rotation = if self.reach.is_some() { &positions.local } else { &positions.global };
        let [query, key, value] = rotation.apply(query_key_value, self.heads)?;
        let rows = &batch.rows;
        if let Some(packing) = &batch.packing {
            return self.attend_packed([&query, &key, &value], packing, &batch.draws);
        }
        let by_head = |x: &Tensor| -> Result<Tensor> {
            Ok(x.f_view([rows.batch, rows.length, self.heads, -1])?.f_transpose(1, 2)?)
        };
        let (query, key, value) = (by_head(&query)?, by_head(&key)?, by_head(&value)?);
        let mask =
            if self.reach.is_some() { positions.window.as_ref() } else { rows.mask.as_ref() };
        let dropout = self.attention_dropout;
        let attended = batch.draws.attention(&query, &key, &value, mask, dropout)?;
        Ok(attended.f_transpose(1, 2)?.f_reshape([rows.batch, rows.length, -1])?)
    }

    fn attend_packed(
        &self,
        [query, key, value]: [&Tensor; 3],
        packing: &Packing,
        draws: &Draws,
    ) -> Result<Tensor> {
        let dropout = if draws.train { self.attention_dropout } else { 0.0 };
        let attention = Attention { heads: self.heads, reach: self.reach, dropout };
        packing.attend(query, key, value, &draws.places, &attention)
    }
}

/// Whether rows hold their tokens first, so that a packed row has them where the padded one has.
pub(crate) fn tokens_first(rows: &Rows) -> bool {
    let length = usize::try_from(rows.length).unwrap_or(1);
    let first = |row: &[i64]| row.is_sorted_by(|a, b| a >= b);
    rows.kept.as_ref().is_none_or(|kept| kept.chunks(length.max(1)).all(first))
}

/// Whether training or not, a batch of ModernBERT is packed where that pays on the CPU: local
/// layers compute only their windows there.
pub(crate) fn packs(rows: &Rows, train: bool) -> bool {
    (train || rows.device == Device::Cpu) && tokens_first(rows)
}
