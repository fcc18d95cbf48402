//! Guesses that need no training, for a tagger to be held against.
use std::collections::HashSet;

use mlqa_eval::{Candidate, NBest, Question};
use qa_translate::{sentences, units};
use serde::{Deserialize, Serialize};
use tasks::Result;
use tasks::question_answering::Predictor;

/// How a sentence is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Guess {
    /// The passage's first sentence.
    First,
    /// The sentence that has most of the question's words, whatever their case; of several the
    /// shortest.
    SharedWords,
}

impl Predictor for Guess {
    fn predict(&self, questions: &[Question]) -> Result<Vec<NBest>> {
        Ok(questions.iter().map(|question| self.best(question)).collect())
    }
}

impl Guess {
    fn best(self, question: &Question) -> NBest {
        let characters: Vec<char> = question.context.chars().collect();
        let asked = words(&question.question);
        let mut candidates: Vec<Candidate> = sentences(&question.context)
            .into_iter()
            .map(|span| {
                let answer_start = span.start;
                let text: String = characters.get(span).unwrap_or_default().iter().collect();
                let score = match self {
                    Self::First => 0.0,
                    Self::SharedWords => words(&text).intersection(&asked).count() as f32,
                };
                Candidate { text, score, answer_start, ..Candidate::default() }
            })
            .collect();
        if self == Self::SharedWords {
            candidates.sort_by_key(|one| one.text.len());
            candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        NBest { id: question.id.clone(), candidates, null_score: None, null: false }
    }
}

fn words(text: &str) -> HashSet<String> {
    let characters: Vec<char> = text.to_lowercase().chars().collect();
    let words = units(&text.to_lowercase()).into_iter();
    words
        .map(|span| characters.get(span).unwrap_or_default().iter().collect::<String>())
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .collect()
}
