//! Sentences that hold an answer: what a tagger of evidence learns from.
use std::ops::Range;

use mlqa_eval::{Answer, Question};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::checked::first_answer;
use crate::search::{Occurrence, SearchConfig, search};

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
    /// As `Search`; where that finds nothing, as `Order`.
    SearchOrOrder,
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
                    let config = SearchConfig { occurrence: Occurrence::Nearest };
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
                Self::SearchOrOrder => {
                    let find = |place: Self| place.find(source, target, seed);
                    return find(Self::Search).or_else(|| find(Self::Order));
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

    /// `target` with that sentence as its one answer.
    ///
    /// ```
    /// use mlqa_eval::{Answer, Question};
    /// use qa_translate::EvidencePlace;
    ///
    /// let question = |context: &str, answer: &str, answer_start| Question {
    ///     id: "1".into(),
    ///     question: "Who?".into(),
    ///     context: context.into(),
    ///     answers: vec![Answer { text: answer.into(), answer_start }],
    ///     title: "".into(),
    /// };
    /// let source = question("No. Ada did.", "Ada", 4);
    /// let target = question("Nein. Ada war es.", "Nein", 0);
    /// let evidence = EvidencePlace::Search.mark(&source, &target, 0);
    /// assert_eq!(evidence.unwrap().answers[0].text, "Ada war es.");
    /// ```
    pub fn mark(self, source: &Question, target: &Question, seed: u64) -> Option<Question> {
        let Range { start, end } = self.find(source, target, seed)?;
        let text = target.context.chars().skip(start).take(end - start).collect();
        let answers = vec![Answer { text, answer_start: start }];
        Some(Question { answers, ..target.clone() })
    }
}
