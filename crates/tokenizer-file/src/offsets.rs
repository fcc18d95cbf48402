//! Correction of token offsets for pre-tokenizers that add spaces.
use tokenizers::{PostProcessorWrapper, PreTokenizerWrapper, Tokenizer};

/// Disables `trim_offsets` of the post-processor if the pre-tokenizer adds a space to each word.
/// `tokenizers` 0.22 treats the added space as a character of the text, so trimming excludes the
/// first character of each word except the first word.
pub(crate) fn disable_wrong_trimming(tokenizer: &mut Tokenizer) {
    if !adds_spaces(tokenizer.get_pre_tokenizer()) {
        return;
    }
    let Some(mut processor) = tokenizer.get_post_processor().cloned() else { return };
    disable_trimming(&mut processor);
    tokenizer.with_post_processor(Some(processor));
}

/// Returns whether a step after the first adds a space to each piece that does not begin with one.
/// In the first step, the piece is the complete text, which `tokenizers` handles correctly.
fn adds_spaces(pre_tokenizer: Option<&PreTokenizerWrapper>) -> bool {
    let Some(PreTokenizerWrapper::Sequence(steps)) = pre_tokenizer else { return false };
    let steps: &[PreTokenizerWrapper] = steps.as_ref();
    steps
        .iter()
        .skip(1)
        .any(|step| matches!(step, PreTokenizerWrapper::ByteLevel(byte_level) if byte_level.add_prefix_space))
}

fn disable_trimming(processor: &mut PostProcessorWrapper) {
    match processor {
        PostProcessorWrapper::Roberta(roberta) => roberta.trim_offsets = false,
        PostProcessorWrapper::ByteLevel(byte_level) => byte_level.trim_offsets = false,
        PostProcessorWrapper::Sequence(steps) => {
            steps.as_mut().iter_mut().for_each(disable_trimming)
        }
        PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_) => {}
    }
}
