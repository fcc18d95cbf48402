//! Embeddings and encoder layers (Conneau et al. 2020; the layout of transformers'
//! `XLMRobertaModel`).
use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::dropout::Draws;
use crate::inputs::Rows;
use crate::layers::{LayerNorm, Linear, Lookup};
use crate::packing::{FlashRows, Packing};
use crate::parameters::{TYPES, WORDS, layer_name};
use crate::{Activation, Config, Result};

/// How a checked batch lies in memory, and what its dropout is drawn from.
pub(crate) struct Batch {
    pub(crate) rows: Rows,
    /// Absent where it stays padded.
    pub(crate) packing: Option<Packing>,
    pub(crate) draws: Draws,
}

impl Batch {
    /// For a model of this configuration whose parameters are of `kind`.
    pub(crate) fn new(rows: Rows, config: &Config, kind: Kind, train: bool) -> Result<Self> {
        let packing = if train { Packing::of(&rows, config, kind)? } else { None };
        let draws = Draws::for_batch(&rows, packing.as_ref(), train)?;
        Ok(Self { rows, packing, draws })
    }
}

/// What the embeddings look up, each integer `[B, L]`.
pub(crate) struct Ids {
    pub(crate) words: Tensor,
    pub(crate) positions: Tensor,
    /// Absent where all are 0.
    pub(crate) types: Option<Tensor>,
}

/// Word, position and token type embeddings, summed and normalised.
#[derive(Debug)]
pub(crate) struct Embeddings {
    pub(crate) words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: LayerNorm,
    pad: i64,
    dropout: f64,
    /// Whether the gradient of packed words is kept by rows.
    many_words: bool,
}

/// From so many numbers on, the gradient of packed word embeddings holds the rows that occur alone
/// (libtorch's sparse form): 64 MiB in float32.
const MANY_WORDS: i64 = 1 << 24;

impl Embeddings {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        Ok(Self {
            words: get(WORDS)?,
            positions: get("roberta.embeddings.position_embeddings.weight")?,
            types: get(TYPES)?,
            norm: LayerNorm::new(get, "roberta.embeddings.LayerNorm", width, eps)?,
            pad: config.pad_token_id,
            dropout: config.hidden_dropout_prob,
            many_words: config.vocab_size.saturating_mul(width) >= MANY_WORDS,
        })
    }

    /// `[B, L, H]`, or `[N, H]` where the batch is packed. The rows of `<pad>` receive no gradient
    /// from here.
    pub(crate) fn apply(
        &self,
        inputs: &Ids,
        embeds: Option<&Tensor>,
        batch: &Batch,
    ) -> Result<Tensor> {
        let packing = batch.packing.as_ref();
        let laid_out = |padded: &Tensor| match packing {
            None => Ok(padded.shallow_clone()),
            Some(packing) => packing.pack(padded),
        };
        let types = match &inputs.types {
            // One row for all: its gradient is a plain sum, not a scatter.
            None => self.types.f_select(0, 0)?,
            Some(ids) => Tensor::f_embedding(&self.types, &laid_out(ids)?, -1, false, false)?,
        };
        let words = match embeds {
            Some(embeds) => laid_out(&embeds.f_to_device(self.words.device())?)?,
            None => {
                let on_cpu = packing.is_some_and(|packing| packing.flash.is_none());
                let (ids, sparse) = (laid_out(&inputs.words)?, on_cpu && self.many_words);
                Tensor::f_embedding(&self.words, &ids, self.pad, false, sparse)?
            }
        };
        let positions = laid_out(&inputs.positions)?;
        let positions = Tensor::f_embedding(&self.positions, &positions, self.pad, false, false)?;
        let sum = words.f_add(&types)?.f_add(&positions)?;
        batch.draws.dropout(self.norm.apply(&sum)?, self.dropout)
    }
}

/// Self-attention and feed-forward layer, each with residual and LayerNorm after it.
#[derive(Debug)]
pub(crate) struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_dense: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output_dense: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i64,
    attention_dropout: f64,
    hidden_dropout: f64,
}

impl Layer {
    pub(crate) fn new(get: Lookup, config: &Config, index: i64) -> Result<Self> {
        let name = layer_name(index);
        let linear = |part: &str| Linear::new(get, &format!("{name}.{part}"));
        let norm = |part: &str| {
            let name = format!("{name}.{part}.LayerNorm");
            LayerNorm::new(get, &name, config.hidden_size, config.layer_norm_eps)
        };
        Ok(Self {
            query: linear("attention.self.query")?,
            key: linear("attention.self.key")?,
            value: linear("attention.self.value")?,
            attention_dense: linear("attention.output.dense")?,
            attention_norm: norm("attention.output")?,
            intermediate: linear("intermediate.dense")?,
            output_dense: linear("output.dense")?,
            output_norm: norm("output")?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            attention_dropout: config.attention_probs_dropout_prob,
            hidden_dropout: config.hidden_dropout_prob,
        })
    }

    /// Another handle to the same parameters.
    pub(crate) fn share(&self) -> Self {
        Self {
            query: self.query.share(),
            key: self.key.share(),
            value: self.value.share(),
            attention_dense: self.attention_dense.share(),
            attention_norm: self.attention_norm.share(),
            intermediate: self.intermediate.share(),
            output_dense: self.output_dense.share(),
            output_norm: self.output_norm.share(),
            ..*self
        }
    }

    /// Hidden states to hidden states, packed or padded as `batch` says.
    pub(crate) fn step(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        match &batch.packing {
            None => self.apply(hidden, &batch.rows, &batch.draws),
            Some(packing) => self.apply_packed(hidden, packing, &batch.draws),
        }
    }

    /// [`step`](Self::step) of which only `hidden` is kept for the way back.
    pub(crate) fn recomputed_step(&self, hidden: &Tensor, batch: &Rc<Batch>) -> Result<Tensor> {
        let (layer, batch) = (self.share(), Rc::clone(batch));
        Ok(torch_ext::recompute(hidden, move |hidden| {
            layer.step(hidden, &batch).map_err(|error| error.to_string())
        })?)
    }

    /// `[B, L, H]` to `[B, L, H]`.
    fn apply(&self, hidden: &Tensor, rows: &Rows, draws: &Draws) -> Result<Tensor> {
        let split = [rows.batch, rows.length, self.heads, -1];
        let project = |linear: &Linear| -> Result<Tensor> {
            Ok(linear.apply(hidden)?.f_view(split)?.f_transpose(1, 2)?)
        };
        let (query, key, value) =
            (project(&self.query)?, project(&self.key)?, project(&self.value)?);
        let attended =
            draws.attention(&query, &key, &value, rows.mask.as_ref(), self.attention_dropout)?;
        let attended = attended.f_transpose(1, 2)?.f_reshape([rows.batch, rows.length, -1])?;
        let attended =
            draws.dropout(self.attention_dense.apply(&attended)?, self.hidden_dropout)?;
        let hidden = self.attention_norm.apply(&attended.f_add(hidden)?)?;
        let wide = self.activation.apply(&self.intermediate.apply(&hidden)?)?;
        let output = draws.dropout(self.output_dense.apply(&wide)?, self.hidden_dropout)?;
        self.output_norm.apply(&output.f_add(&hidden)?)
    }

    /// The same for the training of packed tokens, `[N, H]` to `[N, H]`.
    fn apply_packed(&self, hidden: &Tensor, packing: &Packing, draws: &Draws) -> Result<Tensor> {
        let (query, key) = (self.query.apply(hidden)?, self.key.apply(hidden)?);
        let (value, heads, dropout) =
            (self.value.apply(hidden)?, self.heads, self.attention_dropout);
        let (lengths, places) = (&packing.lengths, &draws.places);
        let attended = match &packing.flash {
            None => {
                torch_ext::packed_attention(&query, &key, &value, lengths, places, heads, dropout)?
            }
            Some(FlashRows { cumulative, longest }) => torch_ext::flash_attention(
                &query, &key, &value, cumulative, *longest, heads, dropout,
            )?,
        };
        let attended = self.attention_dense.apply(&attended)?;
        let hidden =
            self.attention_norm.apply_to_sum(&attended, hidden, draws, self.hidden_dropout)?;
        let wide = self.activation.apply(&self.intermediate.apply(&hidden)?)?;
        self.output_norm.apply_to_sum(
            &self.output_dense.apply(&wide)?,
            &hidden,
            draws,
            self.hidden_dropout,
        )
    }
}
