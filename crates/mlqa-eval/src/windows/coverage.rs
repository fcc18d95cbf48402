//! Coverage of the questions' vocabulary by a text (first paper, Fig. 5).
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::tokens::{tokenize, untruncated};
use crate::Error;

/// Options of [`coverage`]. The default is |questions ∩ text| / |questions| over token types.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoverageConfig {
    /// Whether to count every occurrence in the denominator instead of every distinct token once.
    pub occurrences: bool,
    /// Whether the denominator is the text's tokens (a possible reading of the figure's caption)
    /// instead of the questions' tokens.
    pub of_text: bool,
}

/// A share of tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// Tokens of the denominator that also occur on the other side.
    pub covered: usize,
    /// Tokens of the denominator.
    pub total: usize,
    /// `covered / total`, 0 to 1.
    pub ratio: f64,
}

/// Computes the coverage of `questions` by `text`, both given as separate strings.
///
/// Special tokens and tokens of word boundaries (`▁`) only are ignored.
///
/// ```
/// use mlqa_eval::{CoverageConfig, coverage, load_tokenizer};
///
/// let tokenizer = load_tokenizer("../testkit/fixtures/tokenizer.json")?;
/// let questions = ["Where is the house?"];
/// let all = coverage(&questions, &questions, &tokenizer, &CoverageConfig::default())?;
/// assert_eq!(all.ratio, 1.0);
/// let some = coverage(&questions, &["a house"], &tokenizer, &CoverageConfig::default())?;
/// assert!(some.covered >= 1 && some.covered < some.total);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoTokens`] if the denominator would be 0; [`Error::Tokenizer`].
pub fn coverage<Q, T>(
    questions: &[Q],
    text: &[T],
    tokenizer: &Tokenizer,
    config: &CoverageConfig,
) -> Result<Coverage, Error>
where
    Q: AsRef<str> + Sync,
    T: AsRef<str> + Sync,
{
    let tokenizer = untruncated(Cow::Borrowed(tokenizer))?;
    let ignored = ignored(&tokenizer);
    let questions = count(questions, &tokenizer, &ignored, "a question")?;
    let text = count(text, &tokenizer, &ignored, "the text")?;
    let (counted, other, what) = match config.of_text {
        false => (&questions, &text, "the questions"),
        true => (&text, &questions, "the text"),
    };
    let weight = |count: usize| if config.occurrences { count } else { 1 };
    let total: usize = counted.values().map(|&count| weight(count)).sum();
    if total == 0 {
        return Err(Error::NoTokens { what });
    }
    let shared = counted.iter().filter(|(id, _)| other.contains_key(id));
    let covered: usize = shared.map(|(_, &count)| weight(count)).sum();
    Ok(Coverage { covered, total, ratio: covered as f64 / total as f64 })
}

/// Gemma's vocabulary has tokens of up to 31 spaces.
const MAX_SPACES: usize = 32;

fn ignored(tokenizer: &Tokenizer) -> BTreeSet<u32> {
    let added = tokenizer.get_added_tokens_decoder();
    let special = added.into_iter().filter(|(_, token)| token.special).map(|(id, _)| id);
    let spaces = (1..=MAX_SPACES).filter_map(|count| tokenizer.token_to_id(&"▁".repeat(count)));
    special.chain(spaces).collect()
}

fn count<S: AsRef<str> + Sync>(
    texts: &[S],
    tokenizer: &Tokenizer,
    ignored: &BTreeSet<u32>,
    name: &str,
) -> Result<BTreeMap<u32, usize>, Error> {
    let ids: Vec<Vec<u32>> = texts
        .par_iter()
        .map(|text| {
            tokenize(tokenizer, None, text.as_ref(), &|| name.to_owned()).map(|tokens| tokens.ids)
        })
        .collect::<Result<_, _>>()?;
    let mut counts = BTreeMap::new();
    for id in ids.into_iter().flatten().filter(|id| !ignored.contains(id)) {
        *counts.entry(id).or_default() += 1;
    }
    Ok(counts)
}
