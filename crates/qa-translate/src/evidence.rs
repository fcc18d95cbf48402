//! Sentences that hold an answer, as tags of words: what a tagger of evidence learns from.
use std::ops::Range;
use std::path::Path;

use mlqa_eval::Question;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::Error;
use crate::checked::first_answer;
use crate::place::units;
use crate::search::{Occurrence, SearchConfig, search};

/// The tags of evidence, as CoNLL files have them.
const FIRST: &str = "B-EVIDENCE";
const NEXT: &str = "I-EVIDENCE";
const NONE: &str = "O";

/// The sentences of a text as Unicode divides it (UAX 29), in code points, without the white space
/// around them.
///
/// ```
/// use qa_translate::sentences;
///
/// assert_eq!(sentences("It rains. Why? "), [0..9, 10..14]);
/// assert_eq!(sentences("下雨了。为什么？"), [0..4, 4..8]);
/// ```
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut all = Vec::new();
    for piece in text.split_sentence_bounds() {
        let leading = piece.chars().take_while(|c| c.is_whitespace()).count();
        let start = at + leading;
        at += piece.chars().count();
        let length = piece.trim().chars().count();
        if length > 0 {
            all.push(start..start + length);
        }
    }
    all
}

/// How the evidence of a translated passage is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidencePlace {
    /// Where its own answer stands.
    #[default]
    Gold,
    /// Where the source's answer occurs, the nearest to its relative place; where it does not, not
    /// at all.
    Search,
    /// The sentence with the source's number, counted in proportion where there are more or fewer.
    Order,
    /// Any sentence: what a tagger learns of labels that say nothing.
    Random,
}

impl EvidencePlace {
    /// The sentence of `target`'s passage that holds the evidence of `source`; the same question in
    /// its own language twice for data that is not translated. `None` where it is not found.
    pub fn find(self, source: &Question, target: &Question, seed: u64) -> Option<Range<usize>> {
        let all = sentences(&target.context);
        let around = |text: &[Range<usize>], at: usize| text.iter().position(|one| at < one.end);
        let place =
            match self {
                Self::Gold => around(&all, first_answer(target).ok()?.answer_start)?,
                Self::Search => {
                    let answer = first_answer(source).ok()?;
                    let length = source.context.chars().count().max(1);
                    let position = answer.answer_start as f64 / length as f64;
                    let config =
                        SearchConfig { occurrence: Occurrence::Nearest, ..SearchConfig::default() };
                    let found = search(&target.context, &answer.text, position, &config).ok()?;
                    around(&all, found.answer_start)?
                }
                Self::Order => {
                    let own = sentences(&source.context);
                    let number = around(&own, first_answer(source).ok()?.answer_start)?;
                    match own.len() {
                        1 => 0,
                        // The ends stay the ends.
                        many => {
                            (2 * number * (all.len().checked_sub(1)?) + many - 1) / (2 * (many - 1))
                        }
                    }
                }
                Self::Random => {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(target.id.bytes().fold(0, |sum: u64, byte| {
                        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
                    }));
                    rng.random_range(0..all.len().max(1))
                }
            };
        all.get(place).cloned()
    }
}

/// A question and a passage as words, with a tag for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedEvidence {
    /// Those of the question, then those of the passage, as [`units`] divides them.
    pub words: Vec<String>,
    /// `O`, or `B-EVIDENCE` and `I-EVIDENCE` in the evidence.
    pub tags: Vec<&'static str>,
}

impl TaggedEvidence {
    /// The words of a question and of a passage of which `evidence`, in code points, answers it.
    ///
    /// ```
    /// use qa_translate::TaggedEvidence;
    ///
    /// let tagged = TaggedEvidence::new("Who?", "No. Ada did.", &(4..12));
    /// assert_eq!(tagged.words, ["Who", "?", "No", ".", "Ada", "did", "."]);
    /// assert_eq!(tagged.tags[3..5], ["O", "B-EVIDENCE"]);
    /// ```
    pub fn new(question: &str, passage: &str, evidence: &Range<usize>) -> Self {
        let mut tagged = Self::default();
        for (text, evidence) in [(question, &(0..0)), (passage, evidence)] {
            let characters: Vec<char> = text.chars().collect();
            let mut inside = false;
            for word in units(text) {
                let here = evidence.start <= word.start && word.end <= evidence.end;
                tagged.tags.push(match (here, inside) {
                    (false, _) => NONE,
                    (true, false) => FIRST,
                    (true, true) => NEXT,
                });
                inside = here;
                tagged.words.push(characters.get(word).unwrap_or_default().iter().collect());
            }
        }
        tagged
    }
}

/// Writes rows as CoNLL files have them: a word, a tab and its tag a line, a blank line after each
/// row; whole or not at all.
///
/// # Errors
/// [`Error::Io`]; [`Error::Empty`] without rows.
pub fn write_evidence(path: impl AsRef<Path>, rows: &[TaggedEvidence]) -> Result<(), Error> {
    let path = path.as_ref();
    if rows.is_empty() {
        return Err(Error::Empty { hint: "no question has evidence that was found".into() });
    }
    let mut text = String::new();
    for TaggedEvidence { words, tags } in rows {
        for (word, tag) in words.iter().zip(tags) {
            // Other white space than the separators is none that a word may hold here.
            text.extend(word.chars().filter(|c| !c.is_whitespace()));
            text.push('\t');
            text.push_str(tag);
            text.push('\n');
        }
        text.push('\n');
    }
    whole_file::write(path, text).map_err(Error::io(path, "write the file"))
}
