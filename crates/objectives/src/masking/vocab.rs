//! Inputs and outputs of the masking policies.
use std::ops::Range;

use super::MaskingError;
use crate::IGNORE_INDEX;

/// Vocabulary properties used by the policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskingVocab {
    mask_id: u32,
    random_ids: Range<u32>,
    /// Special ids in ascending order, without duplicates, including the mask id.
    special: Vec<u32>,
    /// Number of ids of `special` in `random_ids`.
    special_in_range: i64,
}

impl MaskingVocab {
    /// Creates the vocabulary. `special_ids` are never selected and never drawn; `mask_id` always
    /// counts as one of them. Random replacements are drawn from `random_ids` without the special
    /// ones.
    ///
    /// Padding is special like the rest. The caller decides whether `<unk>` is special: Hugging
    /// Face transformers never masks it, fairseq does.
    ///
    /// # Errors
    /// [`MaskingError::NoRandomIds`] if nothing in `random_ids` is not special.
    ///
    /// # Example
    /// ```
    /// use objectives::masking::MaskingVocab;
    ///
    /// // Multilingual BERT: `[PAD]` 0, `[UNK]` 100, `[CLS]` 101, `[SEP]` 102, `[MASK]` 103.
    /// let vocab = MaskingVocab::new([0, 100, 101, 102], 103, 0..119_547)?;
    /// assert!(vocab.is_special(103) && !vocab.is_special(1));
    /// # Ok::<(), objectives::masking::MaskingError>(())
    /// ```
    pub fn new(
        special_ids: impl IntoIterator<Item = u32>,
        mask_id: u32,
        random_ids: Range<u32>,
    ) -> Result<Self, MaskingError> {
        let mut special: Vec<u32> = special_ids.into_iter().chain([mask_id]).collect();
        special.sort_unstable();
        special.dedup();
        let inside = special.iter().filter(|id| random_ids.contains(id)).count();
        let special_in_range = i64::try_from(inside).unwrap_or(i64::MAX);
        let size = i64::from(random_ids.end) - i64::from(random_ids.start);
        if size <= special_in_range {
            return Err(MaskingError::NoRandomIds { ids: random_ids });
        }
        Ok(Self { mask_id, random_ids, special, special_in_range })
    }

    /// Returns the mask token's id.
    pub fn mask_id(&self) -> u32 {
        self.mask_id
    }

    /// Returns whether `id` is a special token, padding or the mask token.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.binary_search(&id).is_ok()
    }

    /// How many ids a random replacement is drawn from; at least 1. As an `i64`, since the draws of
    /// a seed depend on the type.
    pub(super) fn random_count(&self) -> i64 {
        let size = i64::from(self.random_ids.end) - i64::from(self.random_ids.start);
        size - self.special_in_range
    }

    /// The id number `at` of those, in `0..random_count()`.
    pub(super) fn random_id(&self, at: i64) -> u32 {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let mut id = self.random_ids.start.saturating_add(at);
        for special in self.special.iter().filter(|special| **special >= self.random_ids.start) {
            if *special > id {
                break;
            }
            id = id.saturating_add(1);
        }
        id
    }
}

/// The tokens of one example, including special tokens and padding.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// Token ids.
    pub input_ids: &'a [u32],
    /// The word index of each token, from `Encoding::get_word_ids` of the tokenizers crate. `None`
    /// marks a token that is a separate word. Adjacent tokens with the same index are one word, so
    /// indices may restart in the second text of a pair.
    ///
    /// XLM-R's own word ids follow spaces, which makes one word of a Chinese clause; pass ids of a
    /// word segmenter there.
    pub word_ids: Option<&'a [Option<u32>]>,
}

impl<'a> From<&'a [u32]> for Tokens<'a> {
    fn from(input_ids: &'a [u32]) -> Self {
        Self { input_ids, word_ids: None }
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Tokens<'a> {
    fn from(input_ids: &'a [u32; N]) -> Self {
        Self { input_ids, word_ids: None }
    }
}

impl<'a> From<&'a Vec<u32>> for Tokens<'a> {
    fn from(input_ids: &'a Vec<u32>) -> Self {
        Self { input_ids, word_ids: None }
    }
}

impl Tokens<'_> {
    /// The positions that may be selected, in rising order, grouped into words (of one token where
    /// words do not count).
    pub(super) fn units(
        &self,
        vocab: &MaskingVocab,
        whole_words: bool,
    ) -> Result<Vec<Range<usize>>, MaskingError> {
        let words = match self.word_ids {
            Some(words) if words.len() != self.input_ids.len() => {
                let expected = self.input_ids.len();
                return Err(MaskingError::WordIds { expected, got: words.len() });
            }
            None if whole_words => {
                let expected = self.input_ids.len();
                return Err(MaskingError::WordIds { expected, got: 0 });
            }
            words => words.filter(|_| whole_words),
        };
        let word_at = |at: usize| words.and_then(|words| words.get(at).copied().flatten());
        let mut units: Vec<Range<usize>> = Vec::new();
        for (at, id) in self.input_ids.iter().enumerate() {
            if vocab.is_special(*id) {
                continue;
            }
            match units.last_mut() {
                Some(last)
                    if last.end == at
                        && word_at(at).is_some()
                        && word_at(at) == word_at(last.start) =>
                {
                    last.end += 1;
                }
                _ => units.push(at..at + 1),
            }
        }
        Ok(units)
    }
}

/// A masked example. Both vectors have the example's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// Input of the encoder.
    pub input_ids: Vec<u32>,
    /// The original token at positions that carry loss, [`IGNORE_INDEX`] elsewhere.
    pub labels: Vec<i64>,
}

impl Masked {
    /// Returns the positions that carry loss, in ascending order.
    pub fn selected(&self) -> impl Iterator<Item = usize> + '_ {
        let labels = self.labels.iter().enumerate();
        labels.filter(|(_, label)| **label != IGNORE_INDEX).map(|(at, _)| at)
    }
}
