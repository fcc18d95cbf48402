//! Whether a tokenizer belongs to a model.
use tokenizer_file::{Layout, LayoutError};
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;

use crate::{Config, Error, Result};

/// The ids of a tokenizer's special tokens, under the names that XLM-R gives them. For BERT the
/// first and the last are `[CLS]` and `[SEP]`.
///
/// What stands between two texts is no single token for all tokenizers:
/// [`Layout::between`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Before a text: `<s>`, `[CLS]`, `<bos>`.
    pub bos: u32,
    /// Padding: `<pad>`, `[PAD]`.
    pub pad: u32,
    /// After a text: `</s>`, `[SEP]`, `<eos>`.
    pub eos: u32,
    /// What the vocabulary lacks: `<unk>`, `[UNK]`. Of bytes, which lack nothing, there is none;
    /// the token after a text, which no text holds, stands in.
    pub unk: u32,
    /// A hidden token: `<mask>`, `[MASK]`.
    pub mask: u32,
}

impl SpecialTokens {
    /// All five, in the order of the fields.
    pub fn ids(self) -> [u32; 5] {
        [self.bos, self.pad, self.eos, self.unk, self.mask]
    }
}

/// Checks that a tokenizer fits a model and returns its special tokens, as its own
/// [`Layout`] has them.
///
/// All ids must lie below `vocab_size`, and the tokens before and after a text and of padding must
/// be the ids that the configuration names, where it names them: BERT's has none for the first two.
///
/// # Errors
/// [`Error::Tokenizer`] naming the token, both ids and what to do; also where it lacks one of the
/// others, or what it puts around a text is not understood.
pub fn check_tokenizer(tokenizer: &Tokenizer, config: &Config) -> Result<SpecialTokens> {
    let refuse = |error: LayoutError| Error::Tokenizer(error.to_string());
    let layout = Layout::of(tokenizer).map_err(refuse)?;
    let special = SpecialTokens {
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
    let vocabulary = tokenizer.get_vocab(true);
    if let Some((token, id)) = vocabulary.into_iter().max_by_key(|&(_, id)| id)
        && i64::from(id) >= config.vocab_size
    {
        return Err(Error::Tokenizer(format!(
            "token {token:?} has id {id}, but the model has vocab_size = {}; take the \
             tokenizer.json that belongs to the model",
            config.vocab_size
        )));
    }
    for (id, key, expected) in [
        (special.bos, "bos_token_id", config.bos_token_id),
        (special.pad, "pad_token_id", Some(config.pad_token_id)),
        (special.eos, "eos_token_id", config.eos_token_id),
    ] {
        if let Some(expected) = expected.filter(|&expected| expected != i64::from(id)) {
            let token = tokenizer.id_to_token(id).unwrap_or_default();
            return Err(Error::Tokenizer(format!(
                "{token} has id {id}, but config.json says {key} = {expected}; tokenizer and model \
                 do not belong together"
            )));
        }
    }
    Ok(special)
}
