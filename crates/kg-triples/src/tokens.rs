//! Texts as token ids.
use std::ops::Range;

use tokenizers::Tokenizer;

use crate::KgError;

/// The ids of the special tokens, by the names that XLM-R or BERT have for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Specials {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) mask: u32,
    pub(crate) pad: u32,
    pub(crate) unknown: Option<u32>,
}

impl Specials {
    /// # Errors
    /// [`KgError::Tokenizer`] if it has none for the beginning, the end, a mask or padding.
    pub(crate) fn find(tokenizer: &Tokenizer) -> Result<Self, KgError> {
        let find = |[roberta, bert]: [&str; 2]| {
            tokenizer.token_to_id(roberta).or_else(|| tokenizer.token_to_id(bert))
        };
        let need = |names: [&str; 2]| {
            find(names).ok_or_else(|| {
                let [roberta, bert] = names;
                KgError::Tokenizer(format!(
                    "has neither {roberta} nor {bert}; use the tokenizer.json of a masked \
                     language model"
                ))
            })
        };
        Ok(Self {
            start: need(["<s>", "[CLS]"])?,
            end: need(["</s>", "[SEP]"])?,
            mask: need(["<mask>", "[MASK]"])?,
            pad: need(["<pad>", "[PAD]"])?,
            unknown: find(["<unk>", "[UNK]"]),
        })
    }

    /// `<s>`, the ids, `</s>`.
    pub(crate) fn around(&self, ids: &[u32]) -> Vec<u32> {
        [&[self.start], ids, &[self.end]].concat()
    }

    /// Whether `id` is one of the four that no text holds.
    pub(crate) fn control(&self, id: u32) -> bool {
        [self.start, self.end, self.mask, self.pad].contains(&id)
    }
}

/// The token ids of `text`, without special tokens.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, KgError> {
    let encoding = tokenizer.encode_fast(text, false).map_err(refuse(text))?;
    Ok(encoding.get_ids().to_vec())
}

/// The token ids of `text`, with the special tokens that the tokenizer adds.
pub(crate) fn encode_with_specials(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, KgError> {
    let encoding = tokenizer.encode_fast(text, true).map_err(refuse(text))?;
    Ok(encoding.get_ids().to_vec())
}

/// The beginning of a long text tells which one it is.
fn refuse(text: &str) -> impl FnOnce(tokenizers::Error) -> KgError {
    let beginning: String = text.chars().take(80).collect();
    move |error| KgError::Tokenizer(format!("cannot encode {beginning:?}: {error}"))
}

/// Token ids without special tokens, and the code points `start..end` that each stands for.
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) offsets: Vec<(usize, usize)>,
}

impl Tokens {
    /// Encodes `text`, which neither begins nor ends with white space or control characters.
    pub(crate) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Self, KgError> {
        let encoding = tokenizer.encode_char_offsets(text, false).map_err(refuse(text))?;
        Ok(Self { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    /// The tokens that touch the code points `start..end`; `None` if there is none.
    pub(crate) fn covering(&self, start: usize, end: usize) -> Option<Range<usize>> {
        let touches = |(from, to): &(usize, usize)| *from < end && start < *to;
        let first = self.offsets.iter().position(touches)?;
        let last = self.offsets.iter().rposition(touches)?;
        Some(first..last + 1)
    }
}

/// A copy that neither truncates nor pads, whatever the file configures.
pub(crate) fn unlimited(tokenizer: &Tokenizer) -> Result<Tokenizer, KgError> {
    let mut tokenizer = tokenizer.clone();
    tokenizer.with_padding(None);
    let set = tokenizer.with_truncation(None).map(|_| ());
    set.map_err(|error| KgError::Tokenizer(format!("cannot lift its truncation: {error}")))?;
    Ok(tokenizer)
}
