//! Masking policies: selection of the masked tokens of an example and their labels.
//!
//! The policies are pure functions on token ids, without tensors. Each function takes one example
//! and returns the encoder's input ids. All functions except [`entity_masking`] also return labels,
//! which are [`IGNORE_INDEX`](crate::IGNORE_INDEX) at positions without loss.
//!
//! | your example | policy | loss |
//! |---|---|---|
//! | text | [`mlm_masking`] | [`masked_lm`](crate::masked_lm) |
//! | text with a linked mention | [`entity_masking`] | [`masked_entity_prediction`](crate::masked_entity_prediction()) |
//! | code-switched text with its mentions | [`entity_prediction_masking`] | [`masked_lm`](crate::masked_lm) |
//! | a passage with knowledge phrases | [`phrase_masking`] | [`masked_lm`](crate::masked_lm) |
//! | a passage, as the baseline for phrases | [`ngram_masking`] | [`masked_lm`](crate::masked_lm) |
//!
//! **Draws.** A result depends only on the policy, its configuration (with the seed), the example
//! and the `example` number, not on the batch, the order of calls or the thread. To mask an example
//! differently in each epoch, pass a new number, such as `epoch * examples + index`.
//!
//! ```
//! use objectives::masking::{MaskingVocab, MlmMaskingConfig, mlm_masking};
//!
//! // XLM-R: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` 250001.
//! let vocab = MaskingVocab::new([0, 1, 2, 3], 250_001, 0..250_002)?;
//! let input_ids = [0, 581, 8780, 83, 10, 3034, 2, 1, 1];
//! let config = MlmMaskingConfig { probability: 0.4, ..Default::default() };
//! let masked = mlm_masking(&input_ids, &vocab, 7, &config)?;
//! assert_eq!(masked.selected().count(), 2); // of the five tokens that are not special
//! # Ok::<(), objectives::masking::MaskingError>(())
//! ```

mod config;
mod draw;
mod entity;
mod error;
mod mlm;
mod ngram;
mod phrase;
mod prediction;
mod spans;
mod vocab;

pub use config::{
    Corruption, EntityPredictionConfig, MlmMaskingConfig, NgramMaskingConfig, PhraseMaskingConfig,
    PredictionUnit, SpanMask, TokenSelection, Unchanged,
};
pub use entity::entity_masking;
pub use error::MaskingError;
pub use mlm::mlm_masking;
pub use ngram::ngram_masking;
pub use phrase::phrase_masking;
pub use prediction::entity_prediction_masking;
pub use vocab::{MaskedExample, MaskingVocab};
