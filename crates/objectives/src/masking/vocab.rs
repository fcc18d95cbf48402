//! Inputs and outputs of the masking policies.
use std::ops::Range;
use torch_ext::to_i64;

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
    /// Creates the vocabulary. `special_ids` are never selected and never drawn. `mask_id` is added
    /// to the special ids. Random replacements are drawn from the ids of `random_ids` that are not
    /// special.
    ///
    /// Padding must be in `special_ids`. The caller decides whether `<unk>` is special: Hugging
    /// Face transformers never masks it, fairseq does.
    ///
    /// # Errors
    /// [`MaskingError::NoRandomIds`] if every id in `random_ids` is special.
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
        let special_count = special.iter().filter(|id| random_ids.contains(id)).count();
        let special_in_range = to_i64(special_count);
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

    /// The positions that may be selected, in ascending order.
    pub(super) fn candidates(&self, input_ids: &[u32]) -> Vec<usize> {
        let tokens = input_ids.iter().enumerate();
        tokens.filter(|(_, id)| !self.is_special(**id)).map(|(index, _)| index).collect()
    }

    /// Number of ids that a random replacement is drawn from, at least 1. It is an `i64` because
    /// the values drawn from a seed depend on the integer type.
    pub(super) fn random_count(&self) -> i64 {
        let size = i64::from(self.random_ids.end) - i64::from(self.random_ids.start);
        size - self.special_in_range
    }

    /// The `index`-th id for random replacement, with `index` in `0..random_count()`.
    pub(super) fn random_id(&self, index: i64) -> u32 {
        let index = u32::try_from(index).expect("an index below random_count()");
        let mut id = self.random_ids.start + index;
        for special in self.special.iter().filter(|special| **special >= self.random_ids.start) {
            if *special > id {
                break;
            }
            id += 1;
        }
        id
    }
}

/// A masked example. Both vectors have the example's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedExample {
    /// Input of the encoder.
    pub input_ids: Vec<u32>,
    /// The original token at positions that carry loss, [`IGNORE_INDEX`] elsewhere.
    pub labels: Vec<i64>,
}

impl MaskedExample {
    /// Returns the positions that carry loss, in ascending order.
    pub fn selected(&self) -> impl Iterator<Item = usize> + '_ {
        let labels = self.labels.iter().enumerate();
        labels.filter(|(_, label)| **label != IGNORE_INDEX).map(|(index, _)| index)
    }
}
