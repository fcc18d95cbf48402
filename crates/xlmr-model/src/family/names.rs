//! Names of an architecture's configuration keys, parameters and classes.
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::fields::Keys;
use crate::layers::names::LinearLayers;

/// Names of an architecture's configuration keys, parameters and classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) model_type: &'static str,
    /// Prefix of the architecture's class names in transformers.
    pub(crate) class_prefix: &'static str,
    /// Pairs of XLM-R's key in `config.json` and this architecture's key, which is `None` if the
    /// architecture has no such key. Keys that are equal in both architectures are not listed.
    pub(crate) keys: &'static [(&'static str, Option<&'static str>)],
    /// Prefix of the encoder's parameters, including the dot.
    pub(crate) prefix: &'static str,
    /// The possible beginnings of an encoder parameter's name after the prefix, embeddings first.
    /// They identify the encoder's parameters in checkpoints that omit the prefix.
    pub(crate) modules: &'static [&'static str],
    /// Prefixes of known tensors that are not used.
    pub(crate) unused_prefixes: &'static [&'static str],
    /// Name of the token embeddings, `[V, E]`.
    pub(crate) word_embeddings: &'static str,
    /// Name of the token type embeddings, `[S, E]`; absent without segments.
    pub(crate) token_type_embeddings: Option<&'static str>,
    /// Prefix of a layer's parameters; the layer's index follows.
    pub(crate) layer_prefix: &'static str,
    pub(crate) linear_layers: LinearLayers,
    /// Name of the weight of the masked-LM decoder, `[V, E]`.
    pub(crate) decoder: &'static str,
    /// Name of the bias of the masked-LM decoder, `[V]`.
    pub(crate) lm_bias: &'static str,
    /// Second name of the masked-LM bias, under which transformers stores it if the decoder is not
    /// tied to the token embeddings.
    pub(crate) decoder_bias: &'static str,
    /// Prefixes of other tensors that may have a row for each token of the vocabulary.
    pub(crate) vocabulary_prefixes: &'static [&'static str],
    /// AdapterHub's name for the position after a layer's last linear layer. For architectures
    /// that AdapterHub does not support, this crate uses the name in DistilBERT.
    pub(crate) adapter_position: &'static str,
    /// Whether saved tokenizers are of transformers' class `PreTrainedTokenizerFast` because the
    /// architecture's own class changes the tokenizer.
    pub(crate) replaces_tokenizer_class: bool,
}

impl Names {
    /// Returns this architecture's name in `config.json` for XLM-R's `key`; `None` if this
    /// architecture has no such key.
    pub(crate) fn translate_key<'a>(&self, key: &'a str) -> Option<&'a str> {
        self.keys
            .iter()
            .find(|(xlm_r_key, _)| *xlm_r_key == key)
            .map_or(Some(key), |(_, translated_key)| *translated_key)
    }

    /// Returns the name of `key` in messages. A key that the architecture does not have is only the
    /// name of a field of [`Config`](crate::Config).
    pub(crate) fn key_name<'a>(&self, key: &'a str) -> &'a str {
        self.translate_key(key).unwrap_or(key)
    }

    /// Returns the name of a layer, without a trailing dot.
    pub(crate) fn layer_name(&self, index: i64) -> String {
        format!("{}{index}", self.layer_prefix)
    }

    /// Returns the part of a parameter's name after the layer index and a dot; `None` if the
    /// parameter is not in a layer.
    pub(crate) fn name_in_layer<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.layer_prefix)?.split_once('.').map(|(_, suffix)| suffix)
    }

    /// Adds the encoder's prefix, which checkpoints of the bare encoder omit. A name that is not in
    /// [`modules`](Self::modules) stays unchanged.
    pub(crate) fn add_prefix(&self, name: &str) -> String {
        let is_bare = self.modules.iter().any(|module| name.starts_with(module));
        if is_bare { format!("{}{name}", self.prefix) } else { name.to_owned() }
    }
}

/// Translates XLM-R's names of keys to an architecture's names.
pub(crate) struct TranslatedKeys<'a, K>(pub(crate) &'a mut K, pub(crate) Names);

impl<K: Keys> Keys for TranslatedKeys<'_, K> {
    fn visit<T: DeserializeOwned + Serialize>(&mut self, key: &str, expected: &str, value: &mut T) {
        if let Some(key) = self.1.translate_key(key) {
            self.0.visit(key, expected, value);
        }
    }
}
