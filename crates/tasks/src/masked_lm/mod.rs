//! Masked language modelling: a common [`loss()`] and tasks with different masking.
//!
//! | your examples | task | paper |
//! |---|---|---|
//! | rows of token ids, in memory | [`PhraseMaskingTask`] with [`PassageMasking::Tokens`] | BERT, RoBERTa |
//! | rows of token ids, streamed | [`MlmTask`] | BERT, RoBERTa |
//! | masked triples | [`EntityCompletionTask`] | *Bridging the Language Gap*, Eq. 2 |
//! | passages with knowledge phrases, or linked texts | [`PhraseMaskingTask`] | mixMRC + LAKM, Eq. 2; EntityCS |
mod config;
mod entity_completion;
mod linked_texts;
mod loss;
mod phrase_masking;
mod plain;
mod sequences;
mod switched;
mod text_passages;

use objectives::MaskedLmReduction;
use objectives::masking::MaskingVocab;
use tokenizers::Tokenizer;
use xlmr_model::{Model, SpecialTokens};

pub use config::{LossPositions, PassageMasking, PhraseMasking, PhraseTaskConfig};
pub use entity_completion::EntityCompletionTask;
pub use linked_texts::LinkedTextFiles;
pub use loss::{loss, loss_from_hidden};
pub(crate) use loss::{target_positions, with_scores};
pub use phrase_masking::PhraseMaskingTask;
pub use plain::MlmTask;
pub use sequences::{SelectedSequences, SequenceFiles};
pub use switched::{LanguageShares, LanguageTask, lowest_perplexity};
pub use text_passages::TextSource;
pub(crate) use text_passages::{TextPassages, open_text};

use crate::micro_batches::Reduction;
use crate::{Error, Result};

/// Returns the special tokens, which are never masked, and the ids from which random tokens are
/// drawn.
///
/// # Errors
/// [`Error::Masking`] if every id of the vocabulary is a special token; [`Error::Data`] if the
/// vocabulary has more than 2³² tokens.
pub(crate) fn masking_vocab(model: &Model, specials: SpecialTokens) -> Result<MaskingVocab> {
    let size = model.config().vocab_size;
    let size = u32::try_from(size)
        .map_err(|_| Error::data("vocabulary", format!("0 to {} tokens", u32::MAX), size))?;
    Ok(MaskingVocab::new(specials.ids(), specials.mask, 0..size)?)
}

/// Returns the tokenizer as JSON, for fingerprints.
fn tokenizer_json(tokenizer: &Tokenizer) -> String {
    tokenizer.to_string(false).expect("a tokenizer that was read from JSON can be written")
}

impl From<MaskedLmReduction> for Reduction {
    fn from(reduction: MaskedLmReduction) -> Self {
        match reduction {
            MaskedLmReduction::Mean => Self::Mean,
            MaskedLmReduction::Sum => Self::Sum,
        }
    }
}
