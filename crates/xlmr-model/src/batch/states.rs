//! Hidden states between two layers.
use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::Result;
use crate::batch::Batch;

/// Hidden states of a batch between two layers, returned by [`Model::embed`](crate::Model::embed)
/// and [`Model::run_layers`](crate::Model::run_layers).
///
/// This type also stores the padding and memory layout of the batch, and whether the pass is for
/// training.
pub struct States {
    /// `[B, L, H]`, or `[N, H]` if the batch is packed.
    pub(crate) hidden: Tensor,
    /// Dtype of the tensor that [`States::to_padded`] returns.
    pub(crate) output_kind: Kind,
    pub(crate) batch: Rc<Batch>,
    pub(crate) train: bool,
}

impl States {
    /// Returns padded hidden states `[B, L, H]`, in float32 even if layers compute in bfloat16
    /// ([`Bf16`](torch_ext::Precision::Bf16)). Padding of a packed batch is zero, see
    /// [`Model::encode`](crate::Model::encode).
    ///
    /// # Errors
    /// [`Error::Torch`](crate::Error::Torch) if a libtorch operation fails.
    pub fn to_padded(&self) -> Result<Tensor> {
        let hidden = self.hidden.f_to_kind(self.output_kind)?;
        match &self.batch.packing {
            None => Ok(hidden),
            Some(packing) => packing.unpack(&hidden),
        }
    }
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("States").field("hidden", &self.hidden).finish_non_exhaustive()
    }
}
