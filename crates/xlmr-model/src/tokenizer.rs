//! Whether a tokenizer belongs to a model.
use tokenizers::Tokenizer;

use crate::{Config, Error, Result};

/// The ids of XLM-R's special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `<s>`, begin of a sequence.
    pub bos: u32,
    /// `<pad>`.
    pub pad: u32,
    /// `</s>`, end of a sequence and separator.
    pub eos: u32,
    /// `<unk>`.
    pub unk: u32,
    /// `<mask>`.
    pub mask: u32,
}

impl SpecialTokens {
    /// All five, in the order of the fields.
    pub fn ids(self) -> [u32; 5] {
        [self.bos, self.pad, self.eos, self.unk, self.mask]
    }
}

/// Checks that a tokenizer fits a model and returns its special tokens.
///
/// All ids must lie below `vocab_size`, and `<s>`, `<pad>`, `</s>` must be the ids that the
/// configuration names.
///
/// # Errors
/// [`Error::Tokenizer`] naming the token, both ids and what to do.
pub fn check_tokenizer(tokenizer: &Tokenizer, config: &Config) -> Result<SpecialTokens> {
    let id_of = |token: &str| {
        tokenizer.token_to_id(token).ok_or_else(|| {
            Error::Tokenizer(format!(
                "it has no token {token}; XLM-R needs <s>, <pad>, </s>, <unk> and <mask>"
            ))
        })
    };
    let special = SpecialTokens {
        bos: id_of("<s>")?,
        pad: id_of("<pad>")?,
        eos: id_of("</s>")?,
        unk: id_of("<unk>")?,
        mask: id_of("<mask>")?,
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
    for (token, id, key, expected) in [
        ("<s>", special.bos, "bos_token_id", config.bos_token_id),
        ("<pad>", special.pad, "pad_token_id", Some(config.pad_token_id)),
        ("</s>", special.eos, "eos_token_id", config.eos_token_id),
    ] {
        if let Some(expected) = expected.filter(|&expected| expected != i64::from(id)) {
            return Err(Error::Tokenizer(format!(
                "{token} has id {id}, but config.json says {key} = {expected}; tokenizer and model \
                 do not belong together"
            )));
        }
    }
    Ok(special)
}
