//! Low-rank updates of linear layers.
use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::batch::dropout::DropoutSeeds;
use crate::layers::last_size;
use crate::layers::linear::Parameter;
use crate::{Error, Result};

/// The LoRA update `(α / r) B A drop(x)` of a linear layer (Hu et al. 2022, Eq. 3), or the update
/// `(α / r) Σ_i w_i B_i A_i drop(x)` of a mixture of modules.
#[derive(Clone, Debug)]
pub(crate) struct Lora {
    /// A, `[r, inputs]`; of a mixture the rows of all modules, `[modules * r, inputs]`
    pub(crate) down: Parameter,
    /// B, `[outputs, r]`; of a mixture the columns of all modules, `[outputs, modules * r]`
    pub(crate) up: Parameter,
    /// α / r
    pub(crate) scale: f64,
    pub(crate) dropout: f64,
    /// The weights of a mixture's modules.
    pub(crate) gate: Option<Gate>,
}

/// Gate of a mixture of LoRA modules, whose weights w are a softmax over the modules.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// `[languages, modules]`, or `[1, modules]` if all inputs share one gate
    pub(crate) logits: Parameter,
    /// Name of the mixture if each language has its own gate.
    pub(crate) languages_of: Option<Arc<str>>,
}

/// Languages of the tokens of a batch, as rows of the gates of a mixture.
#[derive(Debug)]
pub(crate) struct GateLanguages {
    /// Name of the mixture.
    pub(crate) mixture: Arc<str>,
    /// `[N]` i64 of a packed batch, `[B, 1]` i64 of a padded batch
    pub(crate) indices: Tensor,
}

impl Lora {
    pub(crate) fn apply(&self, x: &Tensor, seeds: &DropoutSeeds) -> Result<Tensor> {
        let low_rank = seeds.dropout(x.shallow_clone(), self.dropout)?;
        let mut low_rank = low_rank.f_linear(&self.down, None::<&Tensor>)?;
        if let Some(gate) = &self.gate {
            let weights = gate.weights(seeds.gate_languages.as_ref())?;
            low_rank = weigh_modules(&low_rank, &weights)?;
        }
        Ok(low_rank.f_linear(&self.up, None::<&Tensor>)?.f_mul_scalar(self.scale)?)
    }

    /// Adds `(α / r) B A`, or `(α / r) Σ_i w_i B_i A_i`, to a weight, `[outputs, inputs]`. `row` is
    /// the row of the gate.
    pub(crate) fn merge_into(&self, weight: &Tensor, row: i64) -> Result<()> {
        tch::no_grad(|| {
            let mut up = self.up.shallow_clone();
            if let Some(gate) = &self.gate {
                let weights = gate.logits.f_softmax(-1, None::<Kind>)?.f_select(0, row)?;
                up = weigh_modules(&up, &weights)?;
            }
            let update = up.f_matmul(&self.down)?.f_mul_scalar(self.scale)?;
            let _ = weight.shallow_clone().f_add_(&update)?;
            Ok(())
        })
    }
}

impl Gate {
    /// Computes the modules' weights: `[modules]`, or `[N, modules]` or `[B, 1, modules]` by token.
    fn weights(&self, languages: Option<&GateLanguages>) -> Result<Tensor> {
        let weights = self.logits.f_softmax(-1, None::<Kind>)?;
        let Some(mixture) = &self.languages_of else { return Ok(weights.f_squeeze_dim(0)?) };
        let Some(languages) = languages.filter(|languages| languages.mixture == *mixture) else {
            let expected = format!("hidden states computed while `{mixture}` was active");
            return Err(Error::input("states", expected, "states of other active adapters"));
        };
        Ok(Tensor::f_embedding(&weights, &languages.indices, -1, false, false)?)
    }
}

/// Multiplies the columns of each module, `[.., modules * r]`, by its weight, `[.., modules]`.
fn weigh_modules(columns: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let modules = last_size(weights);
    let mut size = columns.size();
    size.pop();
    size.extend([modules, last_size(columns) / modules]);
    let weights = weights.f_to_kind(columns.f_kind()?)?.f_unsqueeze(-1)?;
    Ok(columns.f_reshape(&size)?.f_mul(&weights)?.f_flatten(-2, -1)?)
}
