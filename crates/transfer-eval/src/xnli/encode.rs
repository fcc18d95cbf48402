//! Conversion of sentence pairs to the inputs of a classifier.
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::tokens::{PieceEncoder, layout, layout_error};
use crate::xnli::NliExample;
use crate::{Error, Result};

/// Options of [`encode_nli`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NliConfig {
    /// Maximum number of pieces of an input, including special tokens; the longer sentence is
    /// truncated first. Interpretation: 256, from the fine-tuning scripts that XLM-K's authors
    /// refer to.
    pub max_length: usize,
}

impl Default for NliConfig {
    fn default() -> Self {
        Self { max_length: 256 }
    }
}

/// The input of a pair, without padding, in the tokenizer's layout for two texts, such as `<s>
/// premise </s></s> hypothesis </s>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NliInput {
    /// Piece ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// The gold class, 0 to 2.
    pub label: i64,
}

/// Encodes sentence pairs, in order.
///
/// ```
/// use transfer_eval::xnli::{NliConfig, NliExample, NliLabel, encode_nli};
///
/// let example = NliExample {
///     language: "en".into(),
///     premise: "It rains.".into(),
///     hypothesis: "It is cold.".into(),
///     label: NliLabel::Neutral,
///     line: 2,
/// };
/// let tokenizer = tokenizers::Tokenizer::from_file("../testkit/fixtures/tokenizer.json").unwrap();
/// let inputs = encode_nli(&[example], &tokenizer, &NliConfig::default())?;
/// assert_eq!(inputs[0].label, 1);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if `max_length` is too short for one piece of each sentence;
/// [`Error::Tokenizer`].
pub fn encode_nli(
    examples: &[NliExample],
    tokenizer: &Tokenizer,
    config: &NliConfig,
) -> Result<Vec<NliInput>> {
    let layout = layout(tokenizer)?;
    let separators = layout.between().map_err(layout_error)?;
    let specials = 2 + separators.len();
    let Some(budget) = config.max_length.checked_sub(specials).filter(|&budget| budget >= 2) else {
        let rule = format!("at least {}", specials + 2);
        return Err(Error::config("max_length", config.max_length, rule));
    };
    let pieces = PieceEncoder::of(tokenizer)?;
    examples
        .par_iter()
        .map(|example| {
            let mut premise = pieces.encode(&example.premise)?;
            let mut hypothesis = pieces.encode(&example.hypothesis)?;
            let (first, second) = longest_first(premise.len(), hypothesis.len(), budget);
            premise.truncate(first);
            hypothesis.truncate(second);
            let input_ids = layout.pair(&premise, &hypothesis).map_err(layout_error)?;
            Ok(NliInput { input_ids, label: example.label.class() })
        })
        .collect()
}

/// Returns the number of pieces of each sentence that fit into `budget`, as in `tokenizers`'
/// `LongestFirst`. If the shorter sentence has at most half of `budget` pieces, only the longer
/// sentence is truncated. Otherwise, each sentence is truncated to half of `budget`. If `budget` is
/// odd, the longer sentence (the second if the lengths are equal) has one more piece.
fn longest_first(first: usize, second: usize, budget: usize) -> (usize, usize) {
    if first + second <= budget {
        return (first, second);
    }
    let shorter = first.min(second).min(budget / 2);
    if first > second { (budget - shorter, shorter) } else { (shorter, budget - shorter) }
}
