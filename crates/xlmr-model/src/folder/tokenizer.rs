//! Consistency check of tokenizer and model.
use tokenizer_file::{Layout, LayoutError};
use tokenizers::models::ModelWrapper;
use tokenizers::{Model as _, Tokenizer};

use crate::{Config, Error, Result};

/// Ids of a tokenizer's special tokens, under XLM-R's names.
///
/// BERT's `[CLS]` and `[SEP]` are the tokens before and after a text.
///
/// Not all tokenizers have a single separator token between two texts; [`Layout::between`] returns
/// the separator tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Token before a text: `<s>`, `[CLS]`, `<bos>`.
    pub bos: u32,
    /// Padding token: `<pad>`, `[PAD]`.
    pub pad: u32,
    /// Token after a text: `</s>`, `[SEP]`, `<eos>`.
    pub eos: u32,
    /// Unknown token: `<unk>`, `[UNK]`. Byte-level vocabularies have no unknown token; the field is
    /// then equal to `eos`, which no text contains.
    pub unk: u32,
    /// Mask token: `<mask>`, `[MASK]`.
    pub mask: u32,
}

impl SpecialTokens {
    /// Returns all five ids, in the order of the fields.
    pub fn ids(self) -> [u32; 5] {
        [self.bos, self.pad, self.eos, self.unk, self.mask]
    }
}

/// Checks that a tokenizer matches a model, and returns the special tokens of its [`Layout`].
///
/// All ids must be below `vocab_size`. The token before a text, the token after a text and the
/// padding token must have the ids that the configuration specifies. `bos_token_id` and
/// `eos_token_id` may be absent, as in BERT's configuration; absent ids are not checked.
///
/// # Errors
/// [`Error::Tokenizer`] if an id is out of range or differs from the configuration, if the
/// tokenizer lacks one of the special tokens, or if its layout of a text is not supported.
pub fn check_tokenizer(tokenizer: &Tokenizer, config: &Config) -> Result<SpecialTokens> {
    let specials = special_tokens(tokenizer, config)?;
    match differing_ids(specials, config).first() {
        None => Ok(specials),
        Some(&(key, config_id, id)) => Err(Error::Tokenizer(format!(
            "{} has id {id}, but config.json has {key} = {config_id}; tokenizer and model do not \
             belong together",
            token_name(tokenizer, id)?
        ))),
    }
}

impl Config {
    /// Replaces `bos_token_id`, `eos_token_id` and `pad_token_id` by the tokenizer's ids where they
    /// differ, and returns a note for each replaced id.
    ///
    /// Published folders of Multilingual MiniLM and its descendants, such as multilingual-e5-small,
    /// have `pad_token_id: 0` in `config.json`, although the tokenizer's `<pad>` has id 1. Such ids
    /// in `config.json` do not affect the hidden states of tokens, with one exception: XLM-R and
    /// RoBERTa count position ids from `pad_token_id`.
    ///
    /// # Errors
    /// As [`check_tokenizer`], except that a differing id is an error only for `pad_token_id` of
    /// XLM-R or RoBERTa.
    pub fn apply_token_ids(&mut self, tokenizer: &Tokenizer) -> Result<Vec<String>> {
        let specials = special_tokens(tokenizer, self)?;
        let mut notes = Vec::new();
        for (key, config_id, id) in differing_ids(specials, self) {
            let token = token_name(tokenizer, id)?;
            let difference =
                format!("{key} is {config_id}, but the tokenizer's {token} has id {id}");
            match key {
                PAD_KEY if self.architecture.is_roberta() => {
                    return Err(Error::Tokenizer(format!(
                        "config.json: {difference}; this architecture counts position ids from \
                         {key}, so the id cannot be replaced: if the model was trained with the \
                         tokenizer's id, set {key} to {id} in config.json"
                    )));
                }
                PAD_KEY => self.pad_token_id = id.into(),
                BOS_KEY => self.bos_token_id = Some(id.into()),
                _ => self.eos_token_id = Some(id.into()),
            }
            notes.push(format!("config.json: {difference}; the tokenizer's id is used"));
        }
        Ok(notes)
    }
}

const BOS_KEY: &str = "bos_token_id";
const PAD_KEY: &str = "pad_token_id";
const EOS_KEY: &str = "eos_token_id";

/// Returns the special tokens of a tokenizer. Returns an error if one of the tokenizer's ids is not
/// below `vocab_size`.
fn special_tokens(tokenizer: &Tokenizer, config: &Config) -> Result<SpecialTokens> {
    let refuse = |error: LayoutError| Error::Tokenizer(error.to_string());
    let layout = Layout::of(tokenizer).map_err(refuse)?;
    let specials = SpecialTokens {
        bos: layout.before(),
        pad: layout.pad().map_err(refuse)?,
        eos: layout.after(),
        unk: match tokenizer.get_model() {
            ModelWrapper::BPE(model) if model.unk_token.is_none() => {
                layout.unknown().unwrap_or(layout.after())
            }
            _ => layout.unknown().map_err(refuse)?,
        },
        mask: layout.mask().map_err(refuse)?,
    };
    let max_added_id = tokenizer.get_added_tokens_decoder().into_keys().max();
    let max_model_id = match tokenizer.get_model() {
        // Ids are indices, so the size determines the largest id. `get_vocab` would copy the
        // vocabulary, which takes as long as parsing it.
        ModelWrapper::Unigram(model) => {
            u32::try_from(model.get_vocab_size()).ok().map(|size| size.saturating_sub(1))
        }
        model => model.get_vocab().into_values().max(),
    };
    if let Some(id) = max_model_id.max(max_added_id)
        && i64::from(id) >= config.vocab_size
    {
        return Err(Error::Tokenizer(format!(
            "token {:?} has id {id}, but the model has vocab_size = {}; use the \
             tokenizer.json that belongs to the model",
            token_name(tokenizer, id)?,
            config.vocab_size
        )));
    }
    Ok(specials)
}

/// Returns the token with an id.
///
/// # Errors
/// [`Error::Tokenizer`] if no token has this id, as in a `tokenizer.json` whose post-processor adds
/// an unknown id.
pub(crate) fn token_name(tokenizer: &Tokenizer, id: u32) -> Result<String> {
    let missing_error =
        || Error::Tokenizer(format!("tokenizer.json: the vocabulary has no token with id {id}"));
    tokenizer.id_to_token(id).ok_or_else(missing_error)
}

/// Returns the keys whose id in the configuration differs from the tokenizer's id, each with both
/// ids.
fn differing_ids(specials: SpecialTokens, config: &Config) -> Vec<(&'static str, i64, u32)> {
    [
        (BOS_KEY, config.bos_token_id, specials.bos),
        (PAD_KEY, Some(config.pad_token_id), specials.pad),
        (EOS_KEY, config.eos_token_id, specials.eos),
    ]
    .into_iter()
    .filter_map(|(key, config_id, id)| {
        let config_id = config_id.filter(|&config_id| config_id != i64::from(id))?;
        Some((key, config_id, id))
    })
    .collect()
}
