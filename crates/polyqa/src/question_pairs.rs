//! Pairs of questions with paragraphs that do not answer them, and with paragraphs in other
//! languages.
use std::collections::{HashMap, HashSet};

use mlqa_eval::{LanguageCounts, Question};
use sha2::{Digest, Sha256};

use crate::language_check::passage_language;

/// Returns whether a question and a text seem to be in different languages. Languages are detected
/// by script and, in Latin script, by frequent words.
pub(crate) fn is_other_language(question: &LanguageCounts, text: &str) -> bool {
    question.differs_from(passage_language(text)).is_some()
}

/// Returns at most `max_count` of the items, evenly spaced.
pub(crate) fn sample<T>(items: Vec<T>, max_count: usize) -> Vec<T> {
    let step = items.len().div_ceil(max_count.max(1)).max(1);
    items.into_iter().step_by(step).collect()
}

/// Pairs each question with a paragraph of another article in `paragraphs`, which does not answer
/// the question. Articles have different titles; a paragraph without a title is an article of its
/// own. The choice depends on the question's id only. A question is skipped if there is no other
/// article.
pub(crate) fn mismatched<'q>(
    questions: impl IntoIterator<Item = &'q Question>,
    paragraphs: &[Question],
) -> Vec<Question> {
    let mut seen = HashSet::new();
    let paragraphs: Vec<&Question> =
        paragraphs.iter().filter(|one| seen.insert((article(one), &*one.context))).collect();
    let pair = |question: &Question| {
        let start = draw(&question.id, paragraphs.len());
        let (before, after) = paragraphs.split_at(start);
        let is_other =
            |one: &&&Question| article(one) != article(question) && one.context != question.context;
        let other = after.iter().chain(before).find(is_other)?;
        Some(Question {
            context: other.context.clone(),
            title: other.title.clone(),
            answers: Vec::new(),
            ..question.clone()
        })
    };
    questions.into_iter().filter_map(pair).collect()
}

/// Pairs the paragraphs of each file with the same questions in other languages: questions of other
/// files with the same ids. A question that seems to be in the paragraph's language is skipped.
pub(crate) fn across_languages(files: &[&[Question]]) -> Vec<Vec<Question>> {
    let mut by_id: HashMap<&str, Vec<(usize, &str)>> = HashMap::new();
    for (file, questions) in files.iter().enumerate() {
        for question in *questions {
            by_id.entry(&question.id).or_default().push((file, &question.question));
        }
    }
    let pairs_of = |(file, questions): (usize, &&[Question])| {
        let pair = |question: &Question| {
            let mut others = by_id[question.id.as_str()].clone();
            others.retain(|&(other, _)| other != file);
            if others.is_empty() || question.answers.is_empty() {
                return None;
            }
            // The file is a part of the name, so that not all files take the same language.
            let name = format!("{file} {}", question.id);
            let (_, text) = others[draw(&name, others.len())];
            is_other_language(&LanguageCounts::of(text), &question.context)
                .then(|| Question { question: text.to_owned(), ..question.clone() })
        };
        questions.iter().filter_map(pair).collect()
    };
    files.iter().enumerate().map(pairs_of).collect()
}

/// Returns what identifies the article of a paragraph: the title or, without a title, the text.
fn article(question: &Question) -> (bool, &str) {
    match &*question.title {
        "" => (false, &question.context),
        title => (true, title),
    }
}

/// Returns a pseudo-random index below `count` that depends on a name only; 0 if `count` is 0.
fn draw(name: &str, count: usize) -> usize {
    let hash = Sha256::digest(name.as_bytes());
    let first: [u8; 8] = hash[..8].try_into().expect("a hash has 32 bytes");
    let index = u64::from_le_bytes(first) % (count.max(1) as u64);
    usize::try_from(index).expect("an index below a usize is a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: usize, title: &str, question: &str, context: &str) -> Question {
        let answers = vec![mlqa_eval::Answer { text: "a".to_owned(), answer_start: None }];
        Question {
            id: id.to_string(),
            question: question.to_owned(),
            context: context.into(),
            answers,
            title: title.into(),
        }
    }

    #[test]
    fn mismatched_paragraphs_are_of_other_articles() {
        let titles = ["Lima", "Lima", "Quito", "", ""];
        let questions: Vec<Question> = (0..200)
            .map(|id| question(id, titles[id % 5], "Where?", &format!("Text {}", id % 5)))
            .collect();
        let pairs = mismatched(&questions, &questions);
        assert_eq!(pairs.len(), 200);
        let mut contexts = HashSet::new();
        for (pair, original) in pairs.iter().zip(&questions) {
            assert_eq!((&pair.id, &pair.question), (&original.id, &original.question));
            assert!(pair.answers.is_empty() && pair.context != original.context);
            assert!(original.title.is_empty() || pair.title != original.title);
            contexts.insert(pair.context.clone());
        }
        assert_eq!(contexts.len(), 5, "every paragraph is drawn");
        // The choice does not depend on the other questions.
        assert_eq!(mismatched(&questions[7..9], &questions), pairs[7..9]);
        assert_eq!(mismatched(&questions[..2], &questions[..2]), []);
        assert_eq!(mismatched(&questions[..1], &[]), []);
    }

    #[test]
    fn questions_with_the_same_id_are_paired_across_languages() {
        let english = "The capital of Peru is Lima, and it is in the west of the country.";
        let german = "Die Hauptstadt von Peru ist Lima, und sie liegt im Westen des Landes.";
        let file = |text: &str, context: &str| -> Vec<Question> {
            (0..9).map(|id| question(id, "Lima", text, context)).collect()
        };
        let en = file("What is the capital of Peru?", english);
        let de = file("Was ist die Hauptstadt von Peru?", german);
        let pairs = across_languages(&[&en, &de[..5], &en[..7]]);
        assert_eq!(pairs[1].len(), 5);
        assert!(pairs[1].iter().all(|one| &*one.context == german
            && one.question == "What is the capital of Peru?"
            && one.answers.len() == 1));
        // The third file has the same language, so its questions are skipped.
        assert!((1..=5).contains(&pairs[0].len()), "{pairs:?}");
        assert!(pairs[0].iter().all(|one| one.question.starts_with("Was")));
        assert_eq!(across_languages(&[&en]), [vec![]]);
    }

    #[test]
    fn samples_are_evenly_spaced() {
        let sampled = |count: usize| sample((0..count).collect(), 5);
        assert_eq!((sampled(5), sampled(6)), (vec![0, 1, 2, 3, 4], vec![0, 2, 4]));
        assert_eq!(sampled(0), [0usize; 0]);
    }
}
