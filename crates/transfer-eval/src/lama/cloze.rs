//! Cloze inputs with one mask.
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::files::{json_lines, write_json_lines};
use crate::lama::{CommonVocabulary, Fact};
use crate::tokens::{PieceEncoder, layout, layout_error};
use crate::{Error, Result};

/// Options of [`build_clozes`]. XLM-K does not specify them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClozeConfig {
    /// Maximum number of space-separated words in a sentence that was not generated from a
    /// template. Longer sentences are skipped. The released scorer uses 100.
    pub max_words: usize,
    /// Maximum number of pieces of an input, including special tokens.
    pub max_length: usize,
}

impl Default for ClozeConfig {
    fn default() -> Self {
        Self { max_words: 100, max_length: 512 }
    }
}

/// An input of L pieces with one mask: `<s> before <mask> after </s>`, with the special tokens of
/// the tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cloze {
    /// The fact's id.
    pub id: String,
    /// The relation's id.
    pub relation: String,
    /// Piece ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// Index of the mask to predict.
    pub mask: usize,
    /// The gold piece; `None` if the object is not one piece. Facts without a gold piece count as
    /// wrong; if they were skipped, fewer facts would be scored than by LAMA's scorer.
    pub gold: Option<u32>,
    /// Whether the mask represents a word after a space, such as XLM-R's `▁Paris` or BERT's
    /// `Paris`.
    pub spaced: bool,
}

impl Cloze {
    /// Reads clozes, one JSON object per line.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] naming a line that is not a cloze or whose mask is not in
    /// the input; [`Error::Content`] if there is no cloze.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let expected = "a cloze: id, relation, input_ids, mask, gold, spaced";
        let rows: Vec<(usize, Self)> = json_lines(path, expected)?;
        if rows.is_empty() {
            return Err(Error::content(path, "no cloze"));
        }
        let check_mask = |(line, cloze): (usize, Self)| {
            let (mask, length) = (cloze.mask, cloze.input_ids.len());
            if mask < length {
                return Ok(cloze);
            }
            Err(Error::line(path, line, format!("mask at {mask}, but there are {length} pieces")))
        };
        rows.into_iter().map(check_mask).collect()
    }

    /// Writes clozes in the format of [`Cloze::read`], atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(path: impl AsRef<Path>, clozes: &[Self]) -> Result<()> {
        write_json_lines(path.as_ref(), clozes)
    }
}

/// Clozes, and counts of skipped facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clozes {
    /// The clozes, in the order of the facts.
    pub clozes: Vec<Cloze>,
    /// Number of facts skipped because their object is not in the common vocabulary.
    pub outside_vocabulary: usize,
    /// Number of facts skipped because their sentence has more than `max_words` words.
    pub too_long: usize,
}

/// Converts facts to clozes. If a common vocabulary is passed, facts whose object contains a word
/// outside it are skipped, as in the released scorer.
///
/// Interpretation: the texts before and after the mask are tokenised separately, as `tokenizers`
/// does around a special token. The space before the mask belongs to the mask, not to the text
/// before the mask: the mask represents `▁Paris` (BERT: `Paris`). In pre-training, a mask also
/// represents a piece with its space.
///
/// ```
/// use transfer_eval::lama::{ClozeConfig, Fact, build_clozes};
///
/// let fact = Fact {
///     id: "1".into(),
///     relation: "P36".into(),
///     object: "Paris".into(),
///     before: "The capital of France is ".into(),
///     after: " .".into(),
///     from_template: true,
///     line: 1,
/// };
/// let tokenizer = tokenizers::Tokenizer::from_file("../testkit/fixtures/tokenizer.json").unwrap();
/// let built = build_clozes(&[fact], &tokenizer, None, &ClozeConfig::default())?;
/// let cloze = &built.clozes[0];
/// assert_eq!(Some(cloze.input_ids[cloze.mask]), tokenizer.token_to_id("<mask>"));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Tokenizer`] if a special token is missing; [`Error::Mismatch`] naming fact and line if
/// an input has more than `max_length` pieces.
pub fn build_clozes(
    facts: &[Fact],
    tokenizer: &Tokenizer,
    vocabulary: Option<&CommonVocabulary>,
    config: &ClozeConfig,
) -> Result<Clozes> {
    let layout = layout(tokenizer)?;
    let mask = layout.mask().map_err(layout_error)?;
    let pieces = PieceEncoder::of(tokenizer)?;
    let mask_token = pieces.token(mask);
    let mut out = Clozes::default();
    for (k, fact) in facts.iter().enumerate() {
        let words = fact.before.split_whitespace().chain(fact.after.split_whitespace());
        if !fact.from_template && words.count() + 1 > config.max_words {
            out.too_long += 1;
            continue;
        }
        if vocabulary.is_some_and(|vocabulary| !vocabulary.contains_all(&fact.object)) {
            out.outside_vocabulary += 1;
            continue;
        }
        let spaced = pieces.spaced_after(&fact.before)?;
        let gold = pieces.single_piece(&fact.object, spaced)?;
        let mut input_ids = vec![layout.before()];
        input_ids.extend(pieces.encode(fact.before.trim_end())?);
        let mask_index = input_ids.len();
        input_ids.push(mask);
        let after = fact.after.replace("[MASK]", &mask_token);
        input_ids.extend(pieces.encode(&after)?);
        input_ids.push(layout.after());
        if input_ids.len() > config.max_length {
            let (got, limit) = (input_ids.len(), config.max_length);
            let message = format!("{got} pieces, but max_length = {limit}; lower max_words");
            return Err(Error::mismatch("fact", k, Some(fact.line), message));
        }
        let (id, relation) = (fact.id.clone(), fact.relation.clone());
        out.clozes.push(Cloze { id, relation, input_ids, mask: mask_index, gold, spaced });
    }
    Ok(out)
}
