//! Model parameters under Hugging Face's names, and forward passes.
use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::rc::Rc;

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use torch_ext::Precision;

use crate::adapters::adapter::Adapter;
use crate::batch::Batch;
use crate::batch::inputs::CheckedInputs;
use crate::family::layer::Layer;
use crate::heads::{LmHead, SequenceHead, TokenHead};
use crate::layers::embeddings::Embeddings;
use crate::layers::linear::{LayerNorm, find};
use crate::parameters::{encoder_specs, head_specs};
use crate::{Config, Error, Head, Inputs, Result, Role, States};

/// An encoder of one of the [architectures](crate::Architecture) with any number of heads.
///
/// Parameters are float32 leaves that require gradient, named as in transformers
/// (`roberta.encoder.layer.0.…`, `lm_head.…`, `qa_outputs.…`, `classifier.…`); heads whose
/// parameters have equal names in transformers have separate names (`token_head.classifier.…`). The
/// argument `train` of a method enables dropout, which is drawn from libtorch's global generator
/// (`tch::manual_seed`). On the CPU, the dropout of a row does not depend on other rows of the
/// batch or on padding (see `torch_ext::MicroBatchSeeds`).
#[derive(Debug)]
pub struct Model {
    pub(crate) config: Config,
    heads: Vec<Head>,
    store: VarStore,
    precision: Precision,
    embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
    /// Norm after the last layer, for architectures whose layers do not normalise their output.
    final_norm: Option<LayerNorm>,
    lm_head: Option<LmHead>,
    span_head: Option<TokenHead>,
    token_head: Option<TokenHead>,
    sequence_head: Option<SequenceHead>,
    recompute: bool,
    pair_segments: Option<usize>,
    pub(crate) adapters: BTreeMap<String, Adapter>,
    /// The names of the active adapters.
    pub(crate) active_adapters: Vec<String>,
}

impl Model {
    /// Creates a model with transformers' initialisation.
    ///
    /// Weights are drawn from N(0, `initializer_range`), biases and the embeddings of `<pad>` are
    /// zero, LayerNorm weights are one. In ModernBERT, this distribution is truncated at
    /// `initializer_cutoff_factor` standard deviations. The more layers a ModernBERT has, the
    /// smaller are the weights of layers whose output is added to the hidden states.
    ///
    /// The values depend only on `seed` and each parameter's name: adding a head changes no other
    /// parameter, and libtorch's generator does not change.
    ///
    /// # Errors
    /// [`Error::Config`] if `config` is invalid, [`Error::Input`] if `heads` contains two heads of
    /// one kind, or a classification head without labels, [`Error::Torch`] if a libtorch operation
    /// fails, for example for lack of memory.
    pub fn new(config: &Config, heads: &[Head], device: Device, seed: u64) -> Result<Self> {
        config.validate()?;
        let heads = check_heads(heads)?;
        let mut tensors = BTreeMap::new();
        let specs = heads.iter().flat_map(|&head| head_specs(config, head));
        for spec in encoder_specs(config).into_iter().chain(specs) {
            let tensor = spec.initial_tensor(config.initializer_range, seed, device)?;
            tensors.insert(spec.name, tensor);
        }
        Self::assemble(config.clone(), heads, device, tensors)
    }

    /// Registers the tensors as parameters, and builds embeddings, layers and heads.
    pub(crate) fn assemble(
        config: Config,
        heads: Vec<Head>,
        device: Device,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let store = VarStore::new(device);
        let mut parameters = BTreeMap::new();
        for (name, tensor) in tensors {
            let (module, leaf) = name.rsplit_once('.').unwrap_or(("", &name));
            let mut path = store.root();
            for component in module.split('.').filter(|component| !component.is_empty()) {
                path = path.sub(component);
            }
            parameters.insert(name.clone(), path.add(leaf, tensor, true));
        }
        let get = |name: &str| find(&parameters, name);
        let layout_config = config.clone();
        let layout = layout_config.layout();
        let mut model = Self {
            embeddings: layout.embeddings(&get)?,
            layers: (0..config.num_hidden_layers)
                .map(|index| layout.layer(&get, index))
                .collect::<Result<_>>()?,
            final_norm: layout.final_norm(&get)?,
            lm_head: None,
            span_head: None,
            token_head: None,
            sequence_head: None,
            recompute: false,
            pair_segments: config.default_pair_segments(),
            adapters: BTreeMap::new(),
            active_adapters: Vec::new(),
            store,
            precision: Precision::F32,
            heads,
            config,
        };
        for head in &model.heads {
            match head {
                Head::None => {}
                Head::MaskedLm => model.lm_head = Some(layout.lm_head(&get)?),
                Head::Span => model.span_head = Some(layout.span_head(&get)?),
                Head::TokenClassification { .. } => {
                    model.token_head = Some(layout.token_head(&get)?);
                }
                Head::SequenceClassification { .. } => {
                    model.sequence_head = Some(layout.sequence_head(&get)?);
                }
            }
        }
        Ok(model)
    }

    /// Computes the last hidden states, `[B, L, H]`: [`embed`](Self::embed), then all
    /// [layers](Self::run_layers).
    ///
    /// The hidden states of padding have no meaning. On the CPU, if the hidden size is at least
    /// 256, padding is not computed and its hidden states are zeros. For EuroBERT, DeBERTa and
    /// MPNet, this applies only if `train`; for ModernBERT, only if all padding is on the right.
    ///
    /// # Errors
    /// [`Error::Input`] naming the tensor if a shape, dtype, id or position is invalid;
    /// [`Error::Torch`].
    pub fn encode(&self, inputs: &Inputs, train: bool) -> Result<Tensor> {
        self.in_precision(|| {
            self.run_layers(self.embed(inputs, train)?, 0..self.layers.len())?.to_padded()
        })
    }

    /// Computes the output of the embeddings and the output of each layer: `num_hidden_layers + 1`
    /// tensors `[B, L, H]`; the last of these tensors equals the result of [`Model::encode`].
    ///
    /// # Errors
    /// As for [`Model::encode`].
    pub fn encode_all(&self, inputs: &Inputs, train: bool) -> Result<Vec<Tensor>> {
        self.in_precision(|| {
            let mut states = self.embed(inputs, train)?;
            let mut all_states = vec![states.to_padded()?];
            for layer in 0..self.layers.len() {
                states = self.run_layers(states, layer..layer + 1)?;
                all_states.push(states.to_padded()?);
            }
            Ok(all_states)
        })
    }

    /// Computes the input of the first layer.
    ///
    /// # Errors
    /// As for [`Model::encode`].
    pub fn embed(&self, inputs: &Inputs, train: bool) -> Result<States> {
        self.in_precision(|| self.compute_embeddings(inputs, train))
    }

    fn compute_embeddings(&self, inputs: &Inputs, train: bool) -> Result<States> {
        if train && self.precision == Precision::Int8 {
            return Err(Error::input("precision", "f32, bf16 or f16 for training", "int8"));
        }
        let CheckedInputs { ids, rows } = CheckedInputs::new(inputs, &self.config, self.device())?;
        let kind = self.kind()?;
        let batch = Batch::new(rows, &self.config, kind, train, false)?;
        let ids = batch.upload(&ids)?;
        let token_positions = || -> Result<Tensor> { Ok(ids.positions.f_flatten(0, -1)?) };
        let batch = batch.with_positions(token_positions, false, &self.config, kind)?;
        let batch = match self.gate_rows(inputs.languages.as_deref())? {
            Some((mixture, rows)) => batch.with_gate_languages(mixture, &rows)?,
            None => batch,
        };
        let hidden = self.embeddings.apply(&ids, inputs.inputs_embeds.as_ref(), &batch)?;
        let output_kind = hidden.f_kind()?;
        let use_bf16 = torch_ext::autocast_dtype(self.device())? == Some(Kind::BFloat16);
        let hidden = if use_bf16 { hidden.f_to_kind(Kind::BFloat16)? } else { hidden };
        Ok(States { hidden, output_kind, batch: Rc::new(batch), train })
    }

    /// Runs a range of layers, counted from 0. An empty range returns `states`. The last norm of
    /// ModernBERT and EuroBERT belongs to the last layer.
    ///
    /// # Errors
    /// [`Error::Input`] if the range ends beyond the last layer; [`Error::Torch`].
    ///
    /// # Example
    /// ```
    /// use xlmr_model::{Config, Inputs, Model};
    ///
    /// let model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?; // of 3 layers
    /// let inputs = Inputs::from_rows(&[&[0, 7, 8, 2], &[0, 9, 2]], 1)?;
    /// let first = model.run_layers(model.embed(&inputs, false)?, 0..1)?;
    /// let last = model.run_layers(first, 1..3)?;
    /// assert_eq!(last.to_padded()?, model.encode(&inputs, false)?);
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn run_layers(&self, states: States, layers: Range<usize>) -> Result<States> {
        self.in_precision(|| self.compute_layers(states, layers))
    }

    fn compute_layers(&self, states: States, layers: Range<usize>) -> Result<States> {
        let Some(selected_layers) = self.layers.get(layers.clone()) else {
            let expected = format!("a range within 0..{}", self.layers.len());
            return Err(Error::input("layers", expected, format!("{layers:?}")));
        };
        let States { mut hidden, output_kind, batch, train } = states;
        // Recomputed layers use the parameters instead of cast copies, because the backward pass of
        // a recomputed layer must reach the parameters.
        let is_recomputed = train && self.recompute;
        let half_kind = match train && !is_recomputed && self.kind()? == Kind::Float {
            true => torch_ext::autocast_dtype(self.device())?,
            false => None,
        };
        let (cast_norms, join) = (hidden.f_kind()? == Kind::BFloat16, self.device() != Device::Cpu);
        let cast_layers = half_kind
            .map(|half_kind| Layer::cast_all(selected_layers, half_kind, cast_norms, join))
            .transpose()?;
        for layer in cast_layers.as_deref().unwrap_or(selected_layers) {
            hidden = match is_recomputed {
                true => layer.recomputed_forward(&hidden, &batch)?,
                false => layer.forward(&hidden, &batch)?,
            };
        }
        if let (Some(norm), false) = (&self.final_norm, selected_layers.is_empty())
            && layers.end == self.layers.len()
        {
            hidden = norm.apply_to_states(&hidden)?;
        }
        Ok(States { hidden, output_kind, batch, train })
    }

    /// Returns the dtype of the parameters.
    pub(crate) fn kind(&self) -> Result<Kind> {
        Ok(self.embeddings.word_embeddings.f_kind()?)
    }

    /// Computes vocabulary logits `[.., V]` of hidden states `[.., H]`, which may be the states of
    /// all positions or of some gathered positions.
    ///
    /// # Errors
    /// [`Error::NoHead`] without a masked-language-model head, [`Error::Input`] if the width is not
    /// H.
    pub fn mlm_logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.check_width(hidden)?;
        to_float32(self.in_precision(|| self.lm_head()?.logits(hidden))?)
    }

    /// Computes the decoder's input: dense layer, activation and LayerNorm of the masked-LM head,
    /// `[.., H]` to `[.., E]`. EuroBERT has no such layers, so its hidden states are returned.
    ///
    /// # Errors
    /// As for [`Model::mlm_logits`].
    pub fn mlm_transform(&self, hidden: &Tensor) -> Result<Tensor> {
        self.check_width(hidden)?;
        self.in_precision(|| self.lm_head()?.transform(hidden))
    }

    /// Returns the decoder's weight `[V, E]` (the token embeddings if tied) and bias `[V]`.
    ///
    /// # Errors
    /// [`Error::NoHead`] without a masked-language-model head.
    pub fn decoder(&self) -> Result<(&Tensor, &Tensor)> {
        let head = self.lm_head()?;
        Ok((&head.decoder, &head.bias))
    }

    /// Computes start and end logits, `[B, L]` each, of hidden states `[B, L, H]`.
    ///
    /// Padding is not masked. In training, the span heads of ModernBERT and EuroBERT have dropout
    /// (`classifier_dropout`), and DistilBERT's span head has dropout (`qa_dropout`).
    ///
    /// # Errors
    /// [`Error::NoHead`] without a span head, [`Error::Input`] if the width is not H.
    pub fn span_logits(&self, hidden: &Tensor, train: bool) -> Result<(Tensor, Tensor)> {
        self.check_width(hidden)?;
        let missing_head = || missing_head_error(Head::Span);
        let head = self.span_head.as_ref().ok_or_else(missing_head)?;
        let logits = self.in_precision(|| head.logits(hidden, train))?;
        // The backward pass of one unbinding is faster than the backward passes of two selections,
        // whose gradients would have to be added.
        let [start, end] = logits.f_unbind(-1)?.try_into().map_err(|scores: Vec<Tensor>| {
            Error::input("qa_outputs", "2 scores", scores.len().to_string())
        })?;
        Ok((to_float32(start)?, to_float32(end)?))
    }

    /// Computes token label logits `[B, L, labels]` of hidden states `[B, L, H]`.
    ///
    /// # Errors
    /// [`Error::NoHead`] without a token classification head, [`Error::Input`] if the width is not
    /// H.
    pub fn token_logits(&self, hidden: &Tensor, train: bool) -> Result<Tensor> {
        self.check_width(hidden)?;
        let missing_head = || missing_head_error(Head::TokenClassification { labels: 0 });
        let head = self.token_head.as_ref().ok_or_else(missing_head)?;
        to_float32(self.in_precision(|| head.logits(hidden, train))?)
    }

    /// Computes sequence label logits `[B, labels]` of hidden states `[B, L, H]`.
    ///
    /// ModernBERT and EuroBERT use the first position or the mean of all tokens
    /// ([`Pooling`](crate::Pooling), [`EuroPooling`](crate::EuroPooling)), other architectures the
    /// first position. The mean includes the positions where `attention_mask`, `[B, L]` integer or
    /// bool, is not 0, or all positions if the mask is absent.
    ///
    /// # Errors
    /// [`Error::NoHead`] without a sequence classification head, [`Error::Input`] if `hidden` is
    /// not `[B, L, H]`.
    pub fn sequence_logits(
        &self,
        hidden: &Tensor,
        attention_mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        self.check_width(hidden)?;
        if hidden.dim() != 3 {
            return Err(Error::input("hidden", "[B, L, H]", format!("{:?}", hidden.size())));
        }
        let rows = hidden.size()[..2].to_vec();
        if let Some(mask) = attention_mask
            && mask.size() != rows
        {
            let expected = format!("[B, L] of hidden, {rows:?}");
            return Err(Error::input("attention_mask", expected, format!("{:?}", mask.size())));
        }
        let missing_head = || missing_head_error(Head::SequenceClassification { labels: 0 });
        let head = self.sequence_head.as_ref().ok_or_else(missing_head)?;
        to_float32(self.in_precision(|| head.logits(hidden, attention_mask, train))?)
    }

    /// Returns the parameter of the token embeddings, `[V, E]`, with E from
    /// [`Config::embedding_size`].
    pub fn word_embeddings(&self) -> &Tensor {
        &self.embeddings.word_embeddings
    }

    /// Returns all parameters, sorted by name, including the parameters of all adapters.
    ///
    /// The tensors are shallow clones. A decoder that is tied to the token embeddings occurs only
    /// once, under the name of the token embeddings.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let mut parameters = self.plain_parameters();
        for adapter in self.adapters.values() {
            let tensors = adapter.tensors.iter();
            parameters.extend(tensors.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
        }
        parameters.into_iter().collect()
    }

    /// Freezes the encoder and returns the trainable parameters: adapters, fusions and heads.
    ///
    /// A trainer that receives only these parameters writes only these parameters to its
    /// checkpoints.
    ///
    /// # Errors
    /// [`Error::Torch`] if a libtorch operation fails.
    pub fn freeze_encoder(&self) -> Result<Vec<(String, Tensor)>> {
        let (encoder, trainable): (Vec<_>, Vec<_>) =
            self.named_parameters().into_iter().partition(|(name, _)| Role::Encoder.matches(name));
        for (_, mut parameter) in encoder {
            let _ = parameter.f_requires_grad_(false)?;
        }
        Ok(trainable)
    }

    /// Returns the parameters of the encoder and its heads.
    pub(crate) fn plain_parameters(&self) -> BTreeMap<String, Tensor> {
        self.store.variables().into_iter().collect()
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.store.device()
    }

    /// Returns the configuration. Its `type_vocab_size` counts a segment that
    /// [`Segments::Learned2`](crate::Segments::Learned2) added on loading.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the segments of the two texts of a pair: the number of separator tokens, counted back
    /// from the second text, that are in segment 1 like the second text and the token after it.
    /// Returns `None` if all tokens are in segment 0.
    ///
    /// [`Pretrained::load`](crate::Pretrained::load) takes the segments from the tokenizer's files.
    /// In other models they are those of the architecture's own tokenizer: BERT, ELECTRA and DeBERTa
    /// with at least two segments have `Some(0)`.
    pub fn pair_segments(&self) -> Option<usize> {
        self.pair_segments
    }

    pub(crate) fn set_pair_segments(&mut self, pair_segments: Option<usize>) {
        self.pair_segments = pair_segments;
    }

    /// Returns the heads of the model.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// Returns the precision set by [`set_precision`](Self::set_precision); float32 by default.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Sets the precision of forward passes: [`encode`](Self::encode) and all other methods that
    /// compute hidden states or logits. Parameters stay float32. Hidden states and logits are
    /// returned as float32, except the result of [`mlm_transform`](Self::mlm_transform).
    ///
    /// [`Int8`](Precision::Int8) is for inference on the CPU. It quantises the current weights of
    /// the encoder's linear layers; later changes of these weights have no effect until this method
    /// is called again.
    ///
    /// # Errors
    /// [`Error::Input`] for `Int8` on a GPU or with parameters that are not float32,
    /// [`Error::TorchExt`] for a parameter that is not finite.
    ///
    /// # Example
    /// ```
    /// use torch_ext::Precision;
    /// use xlmr_model::{Config, Inputs, Model};
    ///
    /// let mut model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?;
    /// let inputs = Inputs::from_rows(&[&[0, 7, 8, 2]], 1)?;
    /// let float32 = model.encode(&inputs, false)?;
    /// model.set_precision(Precision::Bf16)?;
    /// let hidden = model.encode(&inputs, false)?;
    /// assert_eq!(hidden.kind(), tch::Kind::Float);
    /// assert_ne!(hidden, float32);
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        let int8 = precision == Precision::Int8;
        if int8 && (self.device() != Device::Cpu || self.kind()? != Kind::Float) {
            let actual = format!("{:?} on {:?}", self.kind()?, self.device());
            return Err(Error::input("precision int8", "a float32 model on the CPU", actual));
        }
        if int8 || self.precision == Precision::Int8 {
            self.layers.iter_mut().try_for_each(|layer| layer.set_int8(int8))?;
        }
        self.precision = precision;
        self.layers.iter_mut().try_for_each(|layer| layer.set_packed(false))
    }

    /// Copies the encoder's weights for fast inference, if the precision is
    /// [`Bf16`](Precision::Bf16) on a CPU with AVX-512 BF16 and a kernel supports the layers
    /// ([`EncoderLayer`](torch_ext::EncoderLayer)): those of BERT, RoBERTa, DistilBERT, ELECTRA and
    /// RemBERT with GELU. Otherwise, this method changes nothing.
    ///
    /// Forward passes that are not for training and have no gradient then use the copies, unless
    /// adapters are active. Later changes of the weights have no effect on the copies.
    /// [`set_precision`](Self::set_precision) removes them.
    ///
    /// # Errors
    /// [`Error::Torch`], [`Error::TorchExt`] for lack of memory.
    pub fn pack_weights(&mut self) -> Result<()> {
        let is_supported = self.device() == Device::Cpu && self.kind()? == Kind::Float;
        let packed = is_supported && self.precision == Precision::Bf16;
        self.layers.iter_mut().try_for_each(|layer| layer.set_packed(packed))
    }

    /// Returns the reason why half-precision training on a GPU computes padding; `None` if it does
    /// not.
    ///
    /// Padding is computed if libtorch has no attention over packed rows for this model, or if this
    /// attention failed its test.
    pub fn padding_reason(&self) -> Option<String> {
        let kind = self.precision.matmul_dtype()?;
        let device = self.device();
        if device == Device::Cpu {
            return None;
        }
        crate::batch::packing::flash_error(&self.config, device, kind)
    }

    /// Runs `body` with autocast to the model's precision. Calls can be nested.
    pub(crate) fn in_precision<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.precision.run(self.device(), body)?
    }

    /// Converts all parameters to a floating-point kind; float64 is intended for checks.
    ///
    /// The parameters are new tensors without gradients: call [`Model::named_parameters`] again.
    ///
    /// # Errors
    /// [`Error::Input`] if `kind` is not a floating-point kind, or if the precision is int8 and
    /// `kind` is not float32.
    pub fn set_kind(&mut self, kind: Kind) -> Result<()> {
        if !matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            let actual = format!("{kind:?}");
            return Err(Error::input("kind", "Float, Double, Half or BFloat16", actual));
        }
        if self.precision == Precision::Int8 && kind != Kind::Float {
            return Err(Error::input("kind", "Float with precision int8", format!("{kind:?}")));
        }
        let mut tensors = BTreeMap::new();
        for (name, parameter) in self.plain_parameters() {
            tensors.insert(name, parameter.f_detach()?.f_to_kind(kind)?);
        }
        for parameter in self.adapters.values_mut().flat_map(|adapter| adapter.tensors.values_mut())
        {
            *parameter = parameter.f_detach()?.f_to_kind(kind)?.f_set_requires_grad(true)?;
        }
        let (config, heads) = (self.config.clone(), self.heads.clone());
        let (precision, recompute, pair_segments) =
            (self.precision, self.recompute, self.pair_segments);
        let assembled = Self::assemble(config, heads, self.device(), tensors)?;
        let (adapters, active_adapters) =
            (mem::take(&mut self.adapters), mem::take(&mut self.active_adapters));
        *self = Self { recompute, pair_segments, adapters, active_adapters, ..assembled };
        self.attach_adapters()?;
        self.set_precision(precision)
    }

    /// Enables or disables activation checkpointing for training; off in a new model.
    ///
    /// Only the input of each layer is stored, and activations are recomputed during the backward
    /// pass. Losses and gradients do not change. Training uses less memory and takes one more
    /// forward pass. See [`torch_ext::recompute`] for its limits.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    fn lm_head(&self) -> Result<&LmHead> {
        self.lm_head.as_ref().ok_or_else(|| missing_head_error(Head::MaskedLm))
    }

    fn check_width(&self, hidden: &Tensor) -> Result<()> {
        let size = hidden.size();
        if size.last() == Some(&self.config.hidden_size) {
            return Ok(());
        }
        let expected = format!("[.., H] with hidden_size H = {}", self.config.hidden_size);
        Err(Error::input("hidden", expected, format!("{size:?}")))
    }
}

/// Converts half-precision scores to float32, because losses and argmax need float32 precision;
/// scores of other dtypes are unchanged.
fn to_float32(scores: Tensor) -> Result<Tensor> {
    match scores.f_kind()? {
        Kind::Half | Kind::BFloat16 => Ok(scores.f_to_kind(Kind::Float)?),
        _ => Ok(scores),
    }
}

fn missing_head_error(head: Head) -> Error {
    Error::NoHead { head: head.name() }
}

/// Returns the heads except [`Head::None`]. Returns an error if two heads have the same kind, or a
/// head's number of labels is invalid.
pub(crate) fn check_heads(heads: &[Head]) -> Result<Vec<Head>> {
    let mut distinct_heads: Vec<Head> = Vec::new();
    for &head in heads.iter().filter(|&&head| head != Head::None) {
        if distinct_heads.iter().any(|earlier| earlier.name() == head.name()) {
            return Err(Error::input("heads", "one of each kind", format!("two {}", head.name())));
        }
        if head.labels().is_some_and(|labels| !(1..=1 << 20).contains(&labels)) {
            return Err(Error::input("heads", "at least one label", format!("{head:?}")));
        }
        distinct_heads.push(head);
    }
    Ok(distinct_heads)
}
