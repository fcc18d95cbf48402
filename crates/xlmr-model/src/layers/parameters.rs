//! The trainable parameters of an encoder layer.
use crate::adapters::output::OutputAdapter;
use crate::layers::linear::{JoinedWeights, LayerNorm, Linear};

/// The trainable parameters of an encoder layer. The layers of `joined`, followed by the layers of
/// `linear`, are in the order of [`Names::linear_layers`](crate::family::names::Names). Linear
/// layers that adapters cannot change are not in `Names::linear_layers`; they come last.
pub(crate) struct LayerParameters<'a> {
    /// Groups of linear layers that share an input.
    pub(crate) joined: Vec<JoinedWeights<'a>>,
    pub(crate) linear: Vec<&'a mut Linear>,
    pub(crate) norms: Vec<&'a mut LayerNorm>,
    pub(crate) output_adapter: &'a mut Option<OutputAdapter>,
}
