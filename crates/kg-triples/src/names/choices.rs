//! Majority votes over multiple-choice questions, as in LLM-Align.
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::jsonl::Record;
use crate::{Error, seed};

/// A multiple-choice question for a chat model: which option is the same entity as `entity`?
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The entity to align.
    pub entity: String,
    /// The round, from 0.
    pub round: u64,
    /// The candidates, in the order in which the prompt must list them.
    pub options: Vec<String>,
}

/// The recorded answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The question's entity.
    pub entity: String,
    /// The question's round.
    pub round: u64,
    /// Index of the chosen option, from 0; `None` means "none of these" or an answer that cannot be
    /// parsed.
    pub option: Option<usize>,
}

impl Record for Answer {
    const NAME: &'static str = "answer";

    fn invalid_reason(&self) -> Option<String> {
        None
    }
}

/// Returns a question for each round. The order of the options depends on seed, entity and round,
/// so that a model's position bias affects all candidates equally.
pub fn shuffled_questions(
    entity: &str,
    candidates: &[String],
    rounds: u64,
    seed: u64,
) -> Vec<Question> {
    let question = |round| {
        let mut options = candidates.to_vec();
        options.shuffle(&mut seed::stream_rng(seed, entity, round));
        Question { entity: entity.to_owned(), round, options }
    };
    (0..rounds).map(question).collect()
}

/// Returns the candidates of an entity with their numbers of votes, sorted by votes (highest
/// first). Candidates with equal votes are in the order of `candidates`. Only the first answer to a
/// question is counted.
///
/// # Errors
/// [`Error::Value`] if a counted answer chooses an option that its question does not have.
pub fn count_votes(
    candidates: &[String],
    questions: &[Question],
    answers: &[Answer],
) -> Result<Vec<(usize, String)>, Error> {
    let mut votes: Vec<&String> = Vec::new();
    for question in questions {
        let is_answer =
            |answer: &&Answer| (&answer.entity, answer.round) == (&question.entity, question.round);
        // Neither an absent answer nor "none of these" is a vote.
        let Some(option) = answers.iter().find(is_answer).and_then(|answer| answer.option) else {
            continue;
        };
        votes.push(question.options.get(option).ok_or_else(|| Error::Value {
            field: "option",
            expected: format!(
                "an index below {}, the number of options of {:?} in round {}",
                question.options.len(),
                question.entity,
                question.round
            ),
            got: option.to_string(),
        })?);
    }
    let count = |name: &String| votes.iter().filter(|vote| **vote == name).count();
    let mut ranked: Vec<_> = candidates.iter().map(|name| (count(name), name.clone())).collect();
    ranked.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
    Ok(ranked)
}
