//! Pieces of words and texts, with the truncation and padding of the tokenizer's file switched off.
use tokenizers::Tokenizer;

use crate::{Error, Result};

/// The special tokens of an input, looked up by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Specials {
    pub bos: u32,
    pub eos: u32,
}

impl Specials {
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self { bos: special(tokenizer, "<s>")?, eos: special(tokenizer, "</s>")? })
    }
}

/// The id of a special token.
pub(crate) fn special(tokenizer: &Tokenizer, token: &str) -> Result<u32> {
    tokenizer.token_to_id(token).ok_or_else(|| {
        Error::Tokenizer(format!(
            "it has no token {token}; an XLM-R tokenizer with <s>, </s> and <mask> is needed"
        ))
    })
}

/// A copy that neither truncates nor pads, whatever its file configures.
pub(crate) fn untruncated(tokenizer: &Tokenizer) -> Result<Tokenizer> {
    let mut tokenizer = tokenizer.clone();
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| Error::Tokenizer(error.to_string()))?;
    Ok(tokenizer)
}

/// The pieces of a text, without special tokens.
pub(crate) fn text_pieces(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    match tokenizer.encode_fast(text, false) {
        Ok(encoding) => Ok(encoding.get_ids().to_vec()),
        Err(error) => Err(Error::Tokenizer(format!("on {text:?}: {error}"))),
    }
}

/// The pieces of each word, each tokenised by itself.
pub(crate) fn word_pieces(tokenizer: &Tokenizer, words: &[String]) -> Result<Vec<Vec<u32>>> {
    words.iter().map(|word| text_pieces(tokenizer, word)).collect()
}
