//! The trainable parts of an encoder layer.
use crate::layers::{JoinedWeights, LayerNorm, Linear};
use crate::output_adapter::OutputAdapter;

/// The trainable parts of a layer. `joined`, then `linear`, are in the order of
/// [`Names::linear_layers`](crate::architecture::Names); layers that no adapter changes come last.
pub(crate) struct EncoderParameters<'a> {
    /// Linear layers that share an input.
    pub(crate) joined: Vec<JoinedWeights<'a>>,
    pub(crate) linear: Vec<&'a mut Linear>,
    pub(crate) norms: Vec<&'a mut LayerNorm>,
    pub(crate) output_adapter: &'a mut Option<OutputAdapter>,
}
