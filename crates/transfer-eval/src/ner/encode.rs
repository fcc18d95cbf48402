//! Conversion of sentences to a tagger's inputs, and of predicted labels to tags.
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizer_file::Layout;
use tokenizers::Tokenizer;

use crate::error::check_counts;
use crate::ner::{Labels, Sentence};
use crate::tokens::{PieceEncoder, layout};
use crate::{Error, Result};

/// The label of positions that do not contribute to the loss, as in the other crates.
pub const IGNORE_INDEX: i64 = -100;

/// Options of [`encode_ner`]. The defaults are those of XLM-K's NER fine-tuning, where published.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NerConfig {
    /// Maximum number of pieces of an input, including the two special tokens. Words whose first
    /// piece would exceed the maximum are omitted and scored as `O`. Interpretation: 256, from the
    /// fine-tuning scripts that the authors refer to.
    pub max_length: usize,
}

impl Default for NerConfig {
    fn default() -> Self {
        Self { max_length: 256 }
    }
}

/// An input of a tagger: `<s> pieces </s>`, with the special tokens of the tokenizer and without
/// padding. L is the number of pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NerInput {
    /// Index of the sentence in the input slice.
    pub sentence: usize,
    /// Piece ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// Gold labels, `[L]`: the label of a word at its first piece, [`IGNORE_INDEX`] at all other
    /// positions.
    pub labels: Vec<i64>,
    /// Pairs (index of a word, position of its first piece) in ascending order. Words without
    /// pieces are omitted.
    pub words: Vec<(usize, usize)>,
}

/// Encodes each sentence as one input, in order.
///
/// The label of a word is at its first piece, as in the papers' scripts. Each word is tokenised as
/// if it followed a space, as is usual for word lists. This also holds for languages that are
/// written without spaces.
///
/// ```
/// use transfer_eval::ner::{IGNORE_INDEX, Labels, NerConfig, Sentence, encode_ner};
///
/// let sentences = [Sentence::new(&["Paris", "lies", "here"], &["B-LOC", "O", "O"])];
/// let labels = Labels::of(&sentences); // O, B-LOC, I-LOC
/// let tokenizer = tokenizers::Tokenizer::from_file("../testkit/fixtures/tokenizer.json").unwrap();
/// let inputs = encode_ner(&sentences, &tokenizer, &labels, &NerConfig::default())?;
/// let (word, position) = inputs[0].words[0];
/// assert_eq!((word, inputs[0].labels[position]), (0, 1)); // `B-LOC` at the first piece of `Paris`
/// assert_eq!(inputs[0].labels[0], IGNORE_INDEX); // `<s>`
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Mismatch`] naming sentence and line if a tag is not in `labels` or the numbers of tags
/// and words differ; [`Error::Config`] if `max_length` is too short for one word;
/// [`Error::Tokenizer`].
pub fn encode_ner(
    sentences: &[Sentence],
    tokenizer: &Tokenizer,
    labels: &Labels,
    config: &NerConfig,
) -> Result<Vec<NerInput>> {
    let Some(budget) = config.max_length.checked_sub(2).filter(|&budget| budget > 0) else {
        return Err(Error::config("max_length", config.max_length, "at least 3"));
    };
    let layout = layout(tokenizer)?;
    let tokenizer = PieceEncoder::of(tokenizer)?;
    let encode = |(k, sentence): (usize, &Sentence)| {
        let gold = gold_labels(k, sentence, labels)?;
        let pieces = tokenizer.encode_words(&sentence.words)?;
        Ok(build_input(k, &pieces, &gold, budget, &layout))
    };
    sentences.par_iter().enumerate().map(encode).collect()
}

/// Creates the input of a sentence: its pieces, truncated to the maximum length, between the two
/// special tokens.
fn build_input(
    sentence: usize,
    pieces: &[Vec<u32>],
    gold: &[i64],
    budget: usize,
    layout: &Layout,
) -> NerInput {
    let mut input = NerInput {
        sentence,
        input_ids: vec![layout.before()],
        labels: vec![IGNORE_INDEX],
        words: Vec::new(),
    };
    for (word, ids) in pieces.iter().enumerate() {
        let at = input.input_ids.len();
        let fitting_count = (budget + 1).saturating_sub(at).min(ids.len());
        if fitting_count > 0 {
            input.words.push((word, at));
            input.input_ids.extend(ids.iter().take(fitting_count));
            input.labels.push(gold[word]);
            input.labels.extend(std::iter::repeat_n(IGNORE_INDEX, fitting_count - 1));
        }
    }
    input.input_ids.push(layout.after());
    input.labels.push(IGNORE_INDEX);
    input
}

fn gold_labels(k: usize, sentence: &Sentence, labels: &Labels) -> Result<Vec<i64>> {
    let (words, tags) = (sentence.words.len(), sentence.tags.len());
    if words != tags {
        let message = format!("{tags} tags for {words} words");
        return Err(Error::mismatch("sentence", k, sentence.line(), message));
    }
    let label = |(word, tag): (usize, &String)| {
        let label = labels.label(tag).and_then(|label| i64::try_from(label).ok());
        label.ok_or_else(|| {
            let known_tags = labels.tags().join(", ");
            let message = format!("tag `{tag}` of word {} is none of {known_tags}", word + 1);
            Error::mismatch("sentence", k, sentence.lines.get(word).copied(), message)
        })
    };
    sentence.tags.iter().enumerate().map(label).collect()
}

/// Converts a tagger's labels to one tag per word; `None` for words that are in no input.
///
/// `predictions` contains, for each input, the predicted label at each of the L positions: the arg
/// max of the logits. Only labels at the first pieces of words are used.
///
/// ```
/// use transfer_eval::ner::{Labels, NerConfig, Sentence, encode_ner, sentence_tags};
///
/// let sentences = [Sentence::new(&["Paris", "lies", "here"], &["B-LOC", "O", "O"])];
/// let labels = Labels::of(&sentences);
/// let tokenizer = tokenizers::Tokenizer::from_file("../testkit/fixtures/tokenizer.json").unwrap();
/// let inputs = encode_ner(&sentences, &tokenizer, &labels, &NerConfig::default())?;
/// // A tagger that predicts label 1 (`B-LOC`) at every position.
/// let predicted: Vec<Vec<usize>> = inputs.iter().map(|one| vec![1; one.labels.len()]).collect();
/// let tags = sentence_tags(&sentences, &inputs, &predicted, &labels)?;
/// assert_eq!(tags[0], vec![Some("B-LOC".to_owned()); 3]);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] unless `predictions` has one row per input; [`Error::Mismatch`] naming the
/// input if its row does not have L labels, a label is not in `labels`, or the input refers to a
/// missing sentence or word.
pub fn sentence_tags(
    sentences: &[Sentence],
    inputs: &[NerInput],
    predictions: &[Vec<usize>],
    labels: &Labels,
) -> Result<Vec<Vec<Option<String>>>> {
    check_counts(("input", "inputs"), inputs.len(), predictions.len(), |_| None)?;
    let mut tags: Vec<Vec<Option<String>>> =
        sentences.iter().map(|sentence| vec![None; sentence.words.len()]).collect();
    for (k, (input, row)) in inputs.iter().zip(predictions).enumerate() {
        let input_error = |message: String| Error::mismatch("input", k, None, message);
        if row.len() != input.input_ids.len() {
            let (got, pieces) = (row.len(), input.input_ids.len());
            return Err(input_error(format!("{got} labels for {pieces} positions")));
        }
        for &(word, position) in &input.words {
            let pieces = row.len();
            let label = *row.get(position).ok_or_else(|| {
                input_error(format!("a word starts at position {position} of {pieces}"))
            })?;
            let tag = labels.tag(label).ok_or_else(|| {
                let count = labels.len();
                input_error(format!(
                    "label {label} at position {position}; there are {count} labels"
                ))
            })?;
            let cell = tags.get_mut(input.sentence).and_then(|words| words.get_mut(word));
            let Some(cell) = cell else {
                let sentence = input.sentence + 1;
                return Err(input_error(format!("sentence {sentence} has no word {}", word + 1)));
            };
            *cell = Some(tag.to_owned());
        }
    }
    Ok(tags)
}
