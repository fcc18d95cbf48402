//! The model interface used by tasks.
use tch::{Device, Kind, Tensor};
use torch_ext::{Precision, to_usize};
use trainer::{Fingerprint, FingerprintExt};
use xlmr_model::{FusionConfig, Inputs, Model, encode_fused};

use crate::Result;

/// Model interface of tasks: hidden states, heads, and parameters by role.
///
/// B is the number of rows of a batch, L the number of tokens in its longest row, H the hidden
/// size, E the size of a token embedding, V the size of the vocabulary and C the number of labels.
/// N is any number of positions. A model computes in its configured precision
/// ([`Model::set_precision`](xlmr_model::Model::set_precision)); hidden states and logits are
/// returned as float32, except the result of `mlm_transform`. A call that needs a missing head
/// returns an error.
///
/// # Example
/// ```
/// use tasks::Encoder;
/// use xlmr_model::{Config, Head, Inputs, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::Span], tch::Device::Cpu, 1)?;
/// let encoder: &dyn Encoder = &model;
/// let inputs = Inputs::from_rows(&[&[0, 7, 8, 2], &[0, 9, 2]], encoder.pad_token_id())?;
/// let (start_logits, _) = encoder.span_logits(&encoder.encode(&inputs, false)?, false)?;
/// assert_eq!(start_logits.size(), [2, 4]);
/// assert!(encoder.mlm_decoder().is_err()); // the model has no such head
/// # Ok::<(), tasks::Error>(())
/// ```
pub trait Encoder {
    /// Returns the device of the parameters.
    fn device(&self) -> Device;

    /// Returns H, the hidden size.
    fn hidden_size(&self) -> i64;

    /// Returns V, the size of the vocabulary.
    fn vocab_size(&self) -> i64;

    /// Returns the id used for padding.
    fn pad_token_id(&self) -> i64;

    /// Returns the maximum number of tokens of a row, including special tokens.
    fn max_length(&self) -> i64;

    /// Returns the number of segment embeddings; with 1, segment ids have no effect.
    fn segments(&self) -> i64;

    /// Returns the segments of the two texts of a pair: the number of separator tokens, counted
    /// back from the second text, that are in segment 1 like the second text and the token after
    /// it; `None` if all tokens are in segment 0. The tokenizer's files determine the segments, see
    /// [`Model::pair_segments`](xlmr_model::Model::pair_segments).
    fn pair_segments(&self) -> Option<usize> {
        None
    }

    /// Returns whether pairs of sentences, other than a question with its context, have the segments
    /// [`pair_segments`](Self::pair_segments). In XLM-R and architectures with its layers, both
    /// sentences are in segment 0, as in the training of these architectures.
    fn sentence_pairs_have_segments(&self) -> bool {
        false
    }

    /// Returns the number of layers after the embeddings.
    fn layers(&self) -> usize;

    /// Computes hidden states of the last layer, `[B, L, H]` float; with dropout if `train`.
    ///
    /// # Errors
    /// If an input does not fit the model.
    fn encode(&self, inputs: &Inputs, train: bool) -> Result<Tensor>;

    /// Computes hidden states of the last layer of two texts that attend to each other in some of
    /// the layers.
    ///
    /// The results are `[B, L_t, H]` and `[B, L_s, H]` float, see [`xlmr_model::encode_fused`].
    ///
    /// # Errors
    /// If an input does not fit the model, or the numbers of rows differ.
    fn encode_pair(
        &self,
        target: &Inputs,
        source: &Inputs,
        fusion: &FusionConfig,
        train: bool,
    ) -> Result<(Tensor, Tensor)>;

    /// Computes hidden states of the embeddings and of every layer, `[B, L, H]` float each.
    ///
    /// # Errors
    /// The errors of [`encode`](Self::encode).
    fn encode_all(&self, inputs: &Inputs, train: bool) -> Result<Vec<Tensor>>;

    /// Computes start and end logits of answer spans, `[B, L]` each, from hidden states
    /// `[B, L, H]`.
    ///
    /// # Errors
    /// If the model has no span head.
    fn span_logits(&self, hidden: &Tensor, train: bool) -> Result<(Tensor, Tensor)>;

    /// Computes the input of the masked-LM head's decoder, `[N, E]`, from hidden states `[N, H]`.
    ///
    /// # Errors
    /// If the model has no masked-LM head.
    fn mlm_transform(&self, hidden: &Tensor) -> Result<Tensor>;

    /// Returns the masked-LM head's decoder: weight `[V, E]` and bias `[V]`.
    ///
    /// # Errors
    /// If the model has no masked-LM head.
    fn mlm_decoder(&self) -> Result<(&Tensor, &Tensor)>;

    /// Computes scores over the vocabulary, `[…, V]`, from hidden states `[…, H]`.
    ///
    /// # Errors
    /// If the model has no masked-LM head.
    fn mlm_logits(&self, hidden: &Tensor) -> Result<Tensor>;

    /// Computes label scores for every token, `[…, C]`, from hidden states `[…, H]`.
    ///
    /// # Errors
    /// If the model has no token classification head.
    fn token_logits(&self, hidden: &Tensor, train: bool) -> Result<Tensor>;

    /// Computes label scores for every row, `[B, C]`, from hidden states `[B, L, H]`. Heads that
    /// average over tokens require the mask of the inputs.
    ///
    /// # Errors
    /// If the model has no sequence classification head.
    fn sequence_logits(
        &self,
        hidden: &Tensor,
        attention_mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor>;

    /// Returns the token embeddings, `[V, E]`: the parameter itself.
    fn word_embeddings(&self) -> &Tensor;

    /// Returns every parameter with its name in the checkpoint.
    fn named_parameters(&self) -> Vec<(String, Tensor)>;

    /// Adds the architecture, options and parameters to the fingerprint, but no paths. The
    /// fingerprint identifies stored results of a model.
    fn fingerprint(&self, fingerprint: &mut Fingerprint);
}

impl Encoder for Model {
    fn device(&self) -> Device {
        Model::device(self)
    }

    fn hidden_size(&self) -> i64 {
        self.config().hidden_size
    }

    fn vocab_size(&self) -> i64 {
        self.config().vocab_size
    }

    fn pad_token_id(&self) -> i64 {
        self.config().pad_token_id
    }

    fn max_length(&self) -> i64 {
        self.config().max_length()
    }

    fn segments(&self) -> i64 {
        self.config().type_vocab_size
    }

    fn pair_segments(&self) -> Option<usize> {
        Model::pair_segments(self)
    }

    fn sentence_pairs_have_segments(&self) -> bool {
        !self.config().architecture.is_roberta() && Model::pair_segments(self).is_some()
    }

    fn layers(&self) -> usize {
        to_usize(self.config().num_hidden_layers)
    }

    fn encode(&self, inputs: &Inputs, train: bool) -> Result<Tensor> {
        Ok(self.in_precision(|| Model::encode(self, inputs, train))??)
    }

    fn encode_pair(
        &self,
        target: &Inputs,
        source: &Inputs,
        fusion: &FusionConfig,
        train: bool,
    ) -> Result<(Tensor, Tensor)> {
        Ok(self.in_precision(|| encode_fused(self, target, source, fusion, train))??)
    }

    fn encode_all(&self, inputs: &Inputs, train: bool) -> Result<Vec<Tensor>> {
        Ok(self.in_precision(|| Model::encode_all(self, inputs, train))??)
    }

    fn span_logits(&self, hidden: &Tensor, train: bool) -> Result<(Tensor, Tensor)> {
        let (starts, ends) = self.in_precision(|| Model::span_logits(self, hidden, train))??;
        Ok((to_float32(starts)?, to_float32(ends)?))
    }

    fn mlm_transform(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(self.in_precision(|| Model::mlm_transform(self, hidden))??)
    }

    fn mlm_decoder(&self) -> Result<(&Tensor, &Tensor)> {
        Ok(self.decoder()?)
    }

    fn mlm_logits(&self, hidden: &Tensor) -> Result<Tensor> {
        to_float32(self.in_precision(|| Model::mlm_logits(self, hidden))??)
    }

    fn token_logits(&self, hidden: &Tensor, train: bool) -> Result<Tensor> {
        to_float32(self.in_precision(|| Model::token_logits(self, hidden, train))??)
    }

    fn sequence_logits(
        &self,
        hidden: &Tensor,
        attention_mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let logits = || Model::sequence_logits(self, hidden, attention_mask, train);
        to_float32(self.in_precision(logits)??)
    }

    fn word_embeddings(&self) -> &Tensor {
        Model::word_embeddings(self)
    }

    fn named_parameters(&self) -> Vec<(String, Tensor)> {
        Model::named_parameters(self)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("config", &self.config().to_json());
        // Other segments than those of the architecture's own tokenizer change the model's outputs.
        if Model::pair_segments(self) != self.config().default_pair_segments() {
            fingerprint.add_json("pair_segments", &Model::pair_segments(self));
        }
        if self.precision() != Precision::F32 {
            fingerprint.add("precision", self.precision().name());
        }
        for (name, parameter) in Model::named_parameters(self) {
            fingerprint.add_tensor(&name, &parameter);
        }
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
