//! XQuAD's English answers, with their positions in the translated passages.
use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};
use mlqa_eval::{Answer, Dataset, Language, Normalization, Predictions, Question, score};
use qa_translate::SpanTask;

/// An answer span to project into a translated text, and the gold span in that text.
pub struct Case {
    /// Question id, which also determines the seed of the oracles.
    pub id: String,
    pub task: SpanTask,
    pub gold: Range<usize>,
    /// Title of the article. Intervals are computed by resampling articles.
    pub cluster: String,
    /// Whether methods with encoder scores are evaluated on this case.
    pub has_encoder_scores: bool,
}

/// Maximum number of cases per language on which methods with encoder scores are evaluated. The
/// cases are evenly spaced.
const MAX_ENCODER_CASES: usize = 100;

/// Articles whose questions are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Articles {
    /// All articles
    All,
    /// Every fourth article, to select options
    Selection,
    /// The other three quarters, to report results
    Evaluation,
}

impl Articles {
    /// Returns whether the article of this index is evaluated.
    fn contains(self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Selection => index % 4 == 3,
            Self::Evaluation => index % 4 != 3,
        }
    }
}

/// Returns a case for at most `max_questions` evenly spaced questions of the articles of a
/// translated data set.
///
/// # Errors
/// If a question has no source or no answer.
pub fn select_cases(
    english: &Dataset,
    target: &Dataset,
    language: Language,
    articles: Articles,
    max_questions: usize,
) -> Result<Vec<Case>> {
    let sources: BTreeMap<&str, &Question> =
        english.questions.iter().map(|q| (q.id.as_str(), q)).collect();
    let first_answer = |q: &Question| -> Result<Range<usize>> {
        let span = q.located_answer().and_then(Answer::span);
        span.with_context(|| format!("no answer with an offset: {}", q.id))
    };
    let case = |question: &Question| -> Result<Case> {
        let source_question = sources.get(question.id.as_str()).context("no English question")?;
        let (source, target) = (source_question.context.to_string(), question.context.to_string());
        let (from, span) = (Language::EN, first_answer(source_question)?);
        let mut task = SpanTask { from, to: language, source, span, target, answer: None };
        // There is no translator, so search looks for the English text of the answer.
        task.answer = Some(task.text()?);
        Ok(Case {
            id: question.id.clone(),
            task,
            gold: first_answer(question)?,
            cluster: question.title.to_string(),
            has_encoder_scores: false,
        })
    };
    let mut titles: Vec<&str> = Vec::new();
    let mut questions = Vec::new();
    for question in &target.questions {
        let index = titles.iter().position(|title| **title == *question.title);
        let index = index.unwrap_or_else(|| {
            titles.push(&question.title);
            titles.len() - 1
        });
        if articles.contains(index) {
            questions.push(question);
        }
    }
    let indices = evenly_spaced(questions.len(), max_questions);
    let cases = indices.map(|index| case(questions[index]));
    let mut cases = cases.collect::<Result<Vec<_>>>()?;
    for index in evenly_spaced(cases.len(), MAX_ENCODER_CASES) {
        cases[index].has_encoder_scores = true;
    }
    Ok(cases)
}

/// Computes MLQA's F1 of the text in `span` as an answer to the question, from 0 to 1.
///
/// # Errors
/// If the question is not in `target`.
pub fn f1(target: &Dataset, language: Language, case: &Case, span: &Range<usize>) -> Result<f64> {
    let question = target.questions.iter().find(|q| q.id == case.id).context("no question")?;
    let text = case.task.target.chars().skip(span.start).take(span.len()).collect();
    let one_question =
        Dataset { questions: vec![question.clone()], path: target.path.clone(), version: None };
    let predictions = Predictions([(case.id.clone(), text)].into());
    Ok(score(&one_question, &predictions, Normalization::Mlqa(language))?.f1 / 100.0)
}

/// Returns `max` evenly spaced indices below `count`, or all indices if `count` is at most `max`.
fn evenly_spaced(count: usize, max: usize) -> impl Iterator<Item = usize> {
    let max = max.min(count);
    (0..max).map(move |k| k * count / max)
}
