//! Encoding of texts as token ids.
use std::ops::Range;

use tokenizer_file::{Layout, LayoutError, trim_removed_start};
use tokenizers::Tokenizer;

use crate::Error;

/// Special tokens of a tokenizer and their layout around texts.
#[derive(Clone, Debug)]
pub(crate) struct Specials {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) mask: u32,
    pub(crate) pad: u32,
    pub(crate) unknown: Option<u32>,
    layout: Layout,
}

impl Specials {
    /// Finds the special tokens of a tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer has no mask or padding token, or if its layout of
    /// special tokens around a text is not supported.
    pub(crate) fn find(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let layout = Layout::of(tokenizer).map_err(layout_error)?;
        Ok(Self {
            start: layout.before(),
            end: layout.after(),
            mask: layout.mask().map_err(layout_error)?,
            pad: layout.pad().map_err(layout_error)?,
            unknown: layout.unknown().ok(),
            layout,
        })
    }

    /// Adds the special tokens before and after a single text, which are `<s>` and `</s>` for
    /// XLM-R.
    pub(crate) fn enclose(&self, ids: &[u32]) -> Vec<u32> {
        self.layout.single(ids)
    }

    /// Returns the special tokens that separate two texts.
    pub(crate) fn between(&self) -> Result<&[u32], Error> {
        self.layout.between().map_err(layout_error)
    }

    /// Whether `id` is a special token that cannot be part of a text: a token around or between
    /// texts, the mask or padding.
    pub(crate) fn is_control(&self, id: u32) -> bool {
        self.layout.is_control(id)
    }
}

fn layout_error(error: LayoutError) -> Error {
    Error::Tokenizer(error.to_string())
}

/// Returns the token ids of `text`, without special tokens.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, Error> {
    let encoding = tokenizer.encode_fast(text, false).map_err(encode_error(text))?;
    Ok(encoding.get_ids().to_vec())
}

/// Returns a function for `map_err` whose error quotes the beginning of `text`.
fn encode_error(text: &str) -> impl FnOnce(tokenizers::Error) -> Error {
    let beginning: String = text.chars().take(80).collect();
    move |error| Error::Tokenizer(format!("cannot encode {beginning:?}: {error}"))
}

/// Token ids without special tokens, and the range of code points of each token.
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) offsets: Vec<(usize, usize)>,
}

impl Tokens {
    /// Encodes `text`, which must not begin or end with white space.
    pub(crate) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Self, Error> {
        let body = trim_removed_start(tokenizer, text);
        let encoding = tokenizer.encode_char_offsets(body, false).map_err(encode_error(text))?;
        let skipped = text.chars().count() - body.chars().count();
        let offsets = encoding.get_offsets().iter();
        let offsets = offsets.map(|(start, end)| (start + skipped, end + skipped)).collect();
        Ok(Self { ids: encoding.get_ids().to_vec(), offsets })
    }

    /// Returns the range of tokens that overlap the code points `start..end`, or `None` if there is
    /// no such token.
    pub(crate) fn overlapping(&self, start: usize, end: usize) -> Option<Range<usize>> {
        let overlaps = |(from, to): &(usize, usize)| *from < end && start < *to;
        let first = self.offsets.iter().position(overlaps)?;
        let last = self.offsets.iter().rposition(overlaps)?;
        Some(first..last + 1)
    }
}

/// Returns a copy of the tokenizer without truncation and padding.
pub(crate) fn without_limits(tokenizer: &Tokenizer) -> Result<Tokenizer, Error> {
    let mut tokenizer = tokenizer.clone();
    tokenizer.with_padding(None);
    let result = tokenizer.with_truncation(None).map(|_| ());
    result.map_err(|error| Error::Tokenizer(format!("cannot disable its truncation: {error}")))?;
    Ok(tokenizer)
}
