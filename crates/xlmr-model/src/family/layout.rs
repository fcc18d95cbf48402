//! Parameters and modules of an architecture.
use crate::family::layer::Layer;
use crate::heads::{LmHead, SequenceHead, TokenHead};
use crate::layers::embeddings::Embeddings;
use crate::layers::linear::{LayerNorm, Lookup};
use crate::parameters::Spec;
use crate::{Head, Result};

/// Parameters and modules of a model. Modules are built from the tensors that the parameters of
/// [`encoder_specs`](Self::encoder_specs) and [`head_specs`](Self::head_specs) describe.
pub(crate) trait Layout {
    /// Returns the encoder's parameters.
    fn encoder_specs(&self) -> Vec<Spec>;

    /// Returns the parameters of one head.
    fn head_specs(&self, head: Head) -> Vec<Spec>;

    fn embeddings(&self, get: Lookup) -> Result<Embeddings>;

    /// Builds a layer, counted from 0.
    fn layer(&self, get: Lookup, index: i64) -> Result<Layer>;

    /// Builds the norm after the last layer, for architectures whose layers do not normalise their
    /// output.
    fn final_norm(&self, get: Lookup) -> Result<Option<LayerNorm>>;

    /// Builds the masked-LM head.
    fn lm_head(&self, get: Lookup) -> Result<LmHead>;

    /// Builds the head of start and end logits.
    fn span_head(&self, get: Lookup) -> Result<TokenHead>;

    /// Builds the token classification head.
    fn token_head(&self, get: Lookup) -> Result<TokenHead>;

    /// Builds the sequence classification head.
    fn sequence_head(&self, get: Lookup) -> Result<SequenceHead>;
}
