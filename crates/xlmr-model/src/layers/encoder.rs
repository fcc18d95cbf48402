//! Embeddings and the layers of XLM-R, BERT, DeBERTa, DistilBERT and ELECTRA (Conneau et al. 2020;
//! the layout of transformers' `XLMRobertaModel`, `BertModel`, `DebertaV2Model`, `DistilBertModel`
//! and `ElectraModel`).
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use torch_ext::Attention;

use crate::adapters::output::OutputAdapter;
use crate::batch::Batch;
use crate::batch::dropout::DropoutSeeds;
use crate::batch::inputs::Ids;
use crate::family::deberta::attention::{Disentangled, Projected};
use crate::family::eurobert::layer::EuroLayer;
use crate::family::modernbert::layer::ModernLayer;
use crate::layers::linear::{JoinedLinear, LayerNorm, Linear, Lookup, cast_all};
use crate::layers::parameters::LayerParameters;
use crate::{Activation, Architecture, Config, LoraTarget, Result};

/// Computes the sum of token embeddings and, if present, position and token type embeddings, and
/// normalises the sum.
#[derive(Debug)]
pub(crate) struct Embeddings {
    pub(crate) word_embeddings: Tensor,
    position_embeddings: Option<Tensor>,
    type_embeddings: Option<Tensor>,
    /// Absent in EuroBERT.
    norm: Option<LayerNorm>,
    /// Index of the position embedding that receives no gradient; -1 if all receive a gradient.
    unused_position: i64,
    dropout: f64,
    /// Projection from the embeddings' width to the hidden size, if they differ.
    projection: Option<Linear>,
    /// Whether the gradient of token embeddings is sparse in training.
    is_large_vocabulary: bool,
}

/// Minimum number of elements of token embeddings whose gradient is sparse: 64 MiB in float32. A
/// sparse gradient stores only the rows of tokens in the batch.
const LARGE_VOCABULARY: i64 = 1 << 24;

impl Embeddings {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        let (width, eps) = (config.embedding_size(), config.layer_norm_eps);
        let names = config.architecture.names();
        let (norm, dropout, position_embeddings) = match &config.architecture {
            Architecture::ModernBert(modern) => {
                let (name, bias) = ("model.embeddings.norm", modern.norm_bias);
                let norm = LayerNorm::with_bias(get, name, width, eps, bias)?;
                (Some(norm), modern.embedding_dropout, None)
            }
            Architecture::EuroBert(_) => (None, 0.0, None),
            architecture => {
                let name = |part: &str| format!("{}embeddings.{part}", names.prefix);
                let norm = LayerNorm::new(get, &name("LayerNorm"), width, eps)?;
                let position_embeddings = match architecture {
                    Architecture::DebertaV2(deberta) if !deberta.position_biased_input => None,
                    _ => Some(get(&name("position_embeddings.weight"))?),
                };
                (Some(norm), config.hidden_dropout_prob, position_embeddings)
            }
        };
        let unused_position =
            if config.architecture.is_roberta() { config.pad_token_id } else { -1 };
        let projection = format!("{}embeddings_project", names.prefix);
        let projection =
            (width != config.hidden_size).then(|| Linear::new(get, &projection)).transpose()?;
        Ok(Self {
            word_embeddings: get(names.word_embeddings)?,
            position_embeddings,
            type_embeddings: names.token_type_embeddings.map(get).transpose()?,
            norm,
            unused_position,
            dropout,
            projection,
            is_large_vocabulary: config.vocab_size.saturating_mul(width) >= LARGE_VOCABULARY,
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

/// A layer of any architecture.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    PostNorm(PostNormLayer),
    Modern(ModernLayer),
    Euro(EuroLayer),
}

impl Layer {
    pub(crate) fn new(get: Lookup, config: &Config, index: i64) -> Result<Self> {
        Ok(match &config.architecture {
            Architecture::ModernBert(modern) => {
                Self::Modern(ModernLayer::new(get, config, modern, index)?)
            }
            Architecture::EuroBert(euro) => Self::Euro(EuroLayer::new(get, config, euro, index)?),
            _ => Self::PostNorm(PostNormLayer::new(get, config, index)?),
        })
    }

    pub(crate) fn parameters(&mut self) -> LayerParameters<'_> {
        match self {
            Self::PostNorm(layer) => layer.parameters(),
            Self::Modern(layer) => layer.parameters(),
            Self::Euro(layer) => layer.parameters(),
        }
    }

    /// Returns copies of encoder layers with weights in `kind`. The weights of norms are cast only
    /// if `cast_norms`. If `join`, the weights of linear layers that share an input are
    /// concatenated.
    pub(crate) fn cast_all(
        layers: &[Self],
        kind: Kind,
        cast_norms: bool,
        join: bool,
    ) -> Result<Vec<Self>> {
        let mut layers = layers.to_vec();
        let mut casts = Vec::new();
        for layer in layers.iter_mut().map(Self::parameters) {
            casts.extend(layer.joined.into_iter().flat_map(|joined| joined.casts(join)));
            let output_adapter =
                layer.output_adapter.iter_mut().flat_map(OutputAdapter::linear_layers);
            casts.extend(layer.linear.into_iter().chain(output_adapter).flat_map(Linear::casts));
            let norms = layer.norms.into_iter().filter(|_| cast_norms);
            casts.extend(norms.flat_map(LayerNorm::casts));
        }
        cast_all(casts, kind)?;
        Ok(layers)
    }

    /// Makes linear layers compute in 8 bits if `int8`, otherwise with their parameters.
    pub(crate) fn set_int8(&mut self, int8: bool) -> Result<()> {
        // Queries, keys and values are bfloat16 if the processor is fast in bfloat16, because
        // attention then takes half the time.
        let output_kind = match self {
            Self::PostNorm(layer) if layer.disentangled.is_none() && torch_ext::bf16_is_fast() => {
                Kind::BFloat16
            }
            _ => Kind::Float,
        };
        let parameters = self.parameters();
        parameters.joined.into_iter().try_for_each(|joined| joined.set_int8(int8, output_kind))?;
        parameters.linear.into_iter().try_for_each(|linear| linear.set_int8(int8))
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    pub(crate) fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        match self {
            Self::PostNorm(layer) => layer.forward(hidden, batch),
            Self::Modern(layer) => layer.forward(hidden, batch),
            Self::Euro(layer) => layer.forward(hidden, batch),
        }
    }

    /// Computes [`forward`](Self::forward), but stores only `hidden` for the backward pass.
    pub(crate) fn recomputed_forward(&self, hidden: &Tensor, batch: &Rc<Batch>) -> Result<Tensor> {
        let (layer, batch) = (self.clone(), Rc::clone(batch));
        Ok(torch_ext::recompute(hidden, move |hidden| {
            layer.forward(hidden, &batch).map_err(|error| error.to_string())
        })?)
    }
}

/// Self-attention and feed-forward layer, each followed by the addition of its input and a
/// LayerNorm.
#[derive(Clone, Debug)]
pub(crate) struct PostNormLayer {
    /// Query, key and value.
    projections: JoinedLinear<3>,
    attention_dense: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output_dense: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i64,
    attention_dropout: f64,
    /// DeBERTa's attention; if absent, the layer uses standard attention.
    disentangled: Option<Disentangled>,
    /// Dropout after `attention_dense`.
    attention_output_dropout: f64,
    hidden_dropout: f64,
    output_adapter: Option<OutputAdapter>,
}

impl PostNormLayer {
    fn new(get: Lookup, config: &Config, index: i64) -> Result<Self> {
        let names = config.architecture.names();
        let name = names.layer_name(index);
        let linear = |target: LoraTarget| {
            let layer = names.linear_layers.iter().find(|(_, targets)| targets.contains(&target));
            let linear_name = layer.map(|(linear_name, _)| *linear_name).unwrap_or_default();
            Linear::new(get, &format!("{name}.{linear_name}"))
        };
        let [attention_norm, output_norm] = names.norms.map(|norm| {
            let name = format!("{name}.{norm}");
            LayerNorm::new(get, &name, config.hidden_size, config.layer_norm_eps)
        });
        let disentangled = match &config.architecture {
            Architecture::DebertaV2(deberta) => {
                Some(Disentangled::new(get, config, deberta, &name)?)
            }
            _ => None,
        };
        Ok(Self {
            projections: JoinedLinear::new([
                linear(LoraTarget::Query)?,
                linear(LoraTarget::Key)?,
                linear(LoraTarget::Value)?,
            ]),
            attention_dense: linear(LoraTarget::AttentionOutput)?,
            attention_norm: attention_norm?,
            intermediate: linear(LoraTarget::Intermediate)?,
            output_dense: linear(LoraTarget::Output)?,
            output_norm: output_norm?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            attention_dropout: config.attention_probs_dropout_prob,
            attention_output_dropout: match &config.architecture {
                Architecture::DistilBert(_) => 0.0,
                _ => config.hidden_dropout_prob,
            },
            hidden_dropout: config.hidden_dropout_prob,
            disentangled,
            output_adapter: None,
        })
    }

    fn parameters(&mut self) -> LayerParameters<'_> {
        let (mut joined, mut linear) = (Vec::new(), Vec::new());
        match &self.disentangled {
            None => joined.push(self.projections.weights_mut()),
            // Disentangled attention uses the weights of queries and keys separately.
            Some(_) => linear.extend(&mut self.projections.layers),
        }
        linear.extend([&mut self.attention_dense, &mut self.intermediate, &mut self.output_dense]);
        linear.extend(self.disentangled.iter_mut().flat_map(Disentangled::linear_layers));
        let norms = vec![&mut self.attention_norm, &mut self.output_norm];
        LayerParameters { joined, linear, norms, output_adapter: &mut self.output_adapter }
    }

    /// Computes attention; queries, keys, values and the result are `[B, L, H]`.
    fn attend(
        &self,
        [query, key, value]: [&Tensor; 3],
        batch: &Batch,
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        let rows = &batch.rows;
        if let Some(disentangled) = &self.disentangled {
            let [query_layer, key_layer, _] = &self.projections.layers;
            let projected = Projected { query, key, value, query_layer, key_layer };
            return disentangled.apply(&projected, batch.distances(), rows, seeds);
        }
        let [query, key, value] = [query, key, value].map(|x| rows.split_heads(x, self.heads));
        let (mask, dropout) = (rows.mask.as_ref(), self.attention_dropout);
        rows.join_heads(&seeds.attention(&query?, &key?, &value?, mask, dropout)?)
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let (seeds, is_packed) = (&batch.seeds, batch.packing.is_some());
        let [hidden, input] = &residual_and_input(hidden, is_packed)?;
        let [query, key, value] = self.projections.apply(input, seeds)?;
        let attended = match (&batch.packing, &self.disentangled) {
            (None, _) => self.attend([&query, &key, &value], batch, seeds)?,
            (Some(packing), None) => {
                let dropout = if seeds.train { self.attention_dropout } else { 0.0 };
                let heads = self.heads;
                let attention = Attention { heads, window: None, dropout };
                packing.attend(&query, &key, &value, &seeds.offsets, &attention)?
            }
            // Disentangled attention needs the padded layout; the rest of the layer is computed
            // without padding.
            (Some(packing), Some(_)) => {
                let [query, key, value] = [query, key, value].map(|x| packing.unpack(&x));
                let seeds = seeds.to_padded(packing)?;
                packing.pack(&self.attend([&query?, &key?, &value?], batch, &seeds)?)?
            }
        };
        let attended = self.attention_dense.apply_adapted(&attended, seeds)?;
        let dropout = self.attention_output_dropout;
        let hidden =
            self.attention_norm.apply_to_sum(&attended, hidden, seeds, dropout, is_packed)?;
        let [hidden, input] = &residual_and_input(&hidden, is_packed)?;
        let intermediate = self.intermediate.apply_activated(input, self.activation, seeds)?;
        let mut output = self.output_dense.apply_adapted(&intermediate, seeds)?;
        let mut dropout = self.hidden_dropout;
        if self.output_adapter.is_some() {
            let (output_adapter, norm) = (self.output_adapter.as_ref(), Some(&self.output_norm));
            output = seeds.dropout(output, dropout)?;
            output = OutputAdapter::apply(output_adapter, output, hidden, norm, seeds)?;
            dropout = 0.0;
        }
        self.output_norm.apply_to_sum(&output, hidden, seeds, dropout, is_packed)
    }
}

/// Returns hidden states twice: as the residual, and as the input of matmuls. On a GPU in half
/// precision, the input is a half-precision copy of packed float32 hidden states, so that linear
/// layers need not cast them.
fn residual_and_input(hidden: &Tensor, is_packed: bool) -> Result<[Tensor; 2]> {
    let device = hidden.device();
    if is_packed
        && device != Device::Cpu
        && let (Kind::Float, Some(half)) = (hidden.f_kind()?, torch_ext::autocast_dtype(device)?)
    {
        return Ok(torch_ext::with_cast(hidden, half)?);
    }
    Ok([hidden.shallow_clone(), hidden.shallow_clone()])
}
