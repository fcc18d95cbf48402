//! Coverage of the questions' vocabulary by a text ("Bridging the Language Gap", Fig. 5).
use std::borrow::Cow;
use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;
use tokenizers::Tokenizer;

use super::tokens::{clear_truncation, tokenize};
use crate::Error;

/// The share of the questions' vocabulary that occurs in a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// Distinct tokens of the questions that also occur in the text.
    pub covered: usize,
    /// Distinct tokens of the questions.
    pub total: usize,
    /// `covered / total`, 0 to 1.
    pub ratio: f64,
}

/// Computes the share of the vocabulary of `questions` that occurs in `text`. Both are lists of
/// strings.
///
/// Special tokens and tokens that consist only of word boundaries (`▁`) are ignored.
///
/// ```
/// use mlqa_eval::{coverage, load_tokenizer};
///
/// let tokenizer = load_tokenizer("../testkit/fixtures/tokenizer.json")?;
/// let questions = ["Where is the house?"];
/// let all = coverage(&questions, &questions, &tokenizer)?;
/// assert_eq!(all.ratio, 1.0);
/// let some = coverage(&questions, &["a house"], &tokenizer)?;
/// assert!(some.covered >= 1 && some.covered < some.total);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoTokens`] if the questions have no tokens; [`Error::Tokenizer`].
pub fn coverage<Q, T>(questions: &[Q], text: &[T], tokenizer: &Tokenizer) -> Result<Coverage, Error>
where
    Q: AsRef<str> + Sync,
    T: AsRef<str> + Sync,
{
    let tokenizer = clear_truncation(Cow::Borrowed(tokenizer))?;
    let ignored = collect_ignored_ids(&tokenizer);
    let questions = collect_distinct_tokens(questions, &tokenizer, &ignored, "a question")?;
    let text = collect_distinct_tokens(text, &tokenizer, &ignored, "the text")?;
    let total = questions.len();
    if total == 0 {
        return Err(Error::NoTokens);
    }
    let covered = questions.intersection(&text).count();
    Ok(Coverage { covered, total, ratio: covered as f64 / total as f64 })
}

/// Maximum number of spaces in an ignored token. Gemma's vocabulary has tokens of up to 31 spaces.
const MAX_SPACES: usize = 32;

fn collect_ignored_ids(tokenizer: &Tokenizer) -> BTreeSet<u32> {
    let added = tokenizer.get_added_tokens_decoder();
    let special_ids = added.into_iter().filter(|(_, token)| token.special).map(|(id, _)| id);
    let spaces = (1..=MAX_SPACES).filter_map(|count| tokenizer.token_to_id(&"▁".repeat(count)));
    special_ids.chain(spaces).collect()
}

/// Returns the distinct tokens of `texts`.
fn collect_distinct_tokens<S: AsRef<str> + Sync>(
    texts: &[S],
    tokenizer: &Tokenizer,
    ignored: &BTreeSet<u32>,
    name: &str,
) -> Result<BTreeSet<u32>, Error> {
    let ids: Vec<Vec<u32>> = texts
        .par_iter()
        .map(|text| {
            tokenize(tokenizer, None, text.as_ref(), &|| name.to_owned()).map(|tokens| tokens.ids)
        })
        .collect::<Result<_, _>>()?;
    Ok(ids.into_iter().flatten().filter(|id| !ignored.contains(id)).collect())
}
