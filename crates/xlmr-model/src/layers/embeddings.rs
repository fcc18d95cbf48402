//! Embeddings: the input of the first layer.
use tch::Tensor;

use crate::batch::Batch;
use crate::batch::inputs::Ids;
use crate::layers::linear::{LayerNorm, Linear, Lookup};
use crate::{Config, Result};

/// Computes the sum of token embeddings and, if present, position and token type embeddings, and
/// normalises the sum.
#[derive(Debug)]
pub(crate) struct Embeddings {
    pub(crate) word_embeddings: Tensor,
    position_embeddings: Option<Tensor>,
    type_embeddings: Option<Tensor>,
    /// Absent in some architectures, such as EuroBERT.
    norm: Option<LayerNorm>,
    /// Index of the position embedding that receives no gradient; -1 if all receive a gradient.
    unused_position: i64,
    dropout: f64,
    /// Projection from the embeddings' width to the hidden size; absent in most architectures.
    projection: Option<Linear>,
    /// Whether the gradient of token embeddings is sparse in training.
    is_large_vocabulary: bool,
}

/// The parts of [`Embeddings`] that differ between architectures.
pub(crate) struct EmbeddingParts {
    pub(crate) position_embeddings: Option<Tensor>,
    pub(crate) norm: Option<LayerNorm>,
    /// Index of the position embedding that receives no gradient; absent if all receive a
    /// gradient.
    pub(crate) unused_position: Option<i64>,
    pub(crate) dropout: f64,
    /// Projection from the embeddings' width to the hidden size; absent in most architectures.
    pub(crate) projection: Option<Linear>,
}

/// Minimum number of elements of token embeddings whose gradient is sparse: 64 MiB in float32. A
/// sparse gradient stores only the rows of tokens in the batch.
const LARGE_VOCABULARY: i64 = 1 << 24;

impl Embeddings {
    /// Builds the embeddings whose names and width are the same in all architectures from the other
    /// parts.
    pub(crate) fn new(get: Lookup, config: &Config, parts: EmbeddingParts) -> Result<Self> {
        let names = config.architecture.names();
        let EmbeddingParts { position_embeddings, norm, unused_position, dropout, projection } =
            parts;
        let size = config.vocab_size.saturating_mul(config.embedding_size());
        Ok(Self {
            word_embeddings: get(names.word_embeddings)?,
            position_embeddings,
            type_embeddings: names.token_type_embeddings.map(get).transpose()?,
            norm,
            unused_position: unused_position.unwrap_or(-1),
            dropout,
            projection,
            is_large_vocabulary: size >= LARGE_VOCABULARY,
        })
    }

    /// Computes embeddings, `[B, L, H]`, or `[N, H]` if the batch is packed. The token embedding of
    /// `<pad>` receives no gradient from this function.
    pub(crate) fn apply(
        &self,
        ids: &Ids<Tensor>,
        embeds: Option<&Tensor>,
        batch: &Batch,
    ) -> Result<Tensor> {
        let mut sum = match embeds {
            Some(embeds) => {
                let embeds = embeds.f_to_device(self.word_embeddings.device())?;
                batch.to_layout(&embeds.f_to_kind(self.word_embeddings.f_kind()?)?)?
            }
            None => {
                let is_sparse = batch.seeds.train && self.is_large_vocabulary;
                // If the batch does not contain `<pad>`, -1 lets the backward pass skip the search
                // for `<pad>`. On a GPU, this search takes many kernels and a synchronisation.
                let pad = ids.pad.unwrap_or(-1);
                Tensor::f_embedding(&self.word_embeddings, &ids.token_ids, pad, false, is_sparse)?
            }
        };
        if let Some(table) = &self.type_embeddings {
            sum = sum.f_add(&match &ids.types {
                // All tokens have type 0. Selecting row 0 needs no lookup, and its backward pass is
                // a sum instead of a scatter.
                None => table.f_select(0, 0)?,
                Some(ids) => Tensor::f_embedding(table, ids, -1, false, false)?,
            })?;
        }
        if let Some(table) = &self.position_embeddings {
            let (ids, unused) = (&ids.positions, self.unused_position);
            sum = sum.f_add(&Tensor::f_embedding(table, ids, unused, false, false)?)?;
        }
        let sum = self.norm.as_ref().map_or(Ok(sum.shallow_clone()), |norm| norm.apply(&sum))?;
        let sum = batch.seeds.dropout(sum, self.dropout)?;
        let Some(projection) = &self.projection else { return Ok(sum) };
        // Under autocast, the projection returns another dtype, but hidden states must have the
        // dtype of the embeddings.
        Ok(projection.apply(&sum)?.f_to_kind(sum.f_kind()?)?)
    }
}
