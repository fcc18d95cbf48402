//! Scores of files with questions in several languages, such as TyDi's gold passages.
use std::collections::BTreeMap;

use serde::Serialize;

use super::score::{language_of, mean_percent, score_with};
use crate::{
    Dataset, Error, Language, MeanInterval, Normalization, Predictions, QuestionScore, Score,
    TableLanguage,
};

/// Scores in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanScore {
    /// Exact match.
    pub exact_match: f64,
    /// F1.
    pub f1: f64,
}

/// The scores of the questions in one language, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LanguageScore {
    /// Exact match.
    pub exact_match: f64,
    /// Mean F1.
    pub f1: f64,
    /// Number of questions.
    pub questions: usize,
}

/// Scores by language of a file whose question ids name languages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LanguageScores {
    /// The unweighted mean over languages.
    pub mean: MeanScore,
    /// The mean over languages other than English, as reported for TyDi's gold passages; absent if
    /// all questions are in English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_without_en: Option<MeanScore>,
    /// Scores of each language.
    pub languages: BTreeMap<TableLanguage, LanguageScore>,
}

/// Returns the scores of each language; `None` if an id does not name a language.
fn compute_language_scores(questions: &[QuestionScore]) -> Option<LanguageScores> {
    let mut groups: BTreeMap<TableLanguage, Vec<&QuestionScore>> = BTreeMap::new();
    for question in questions {
        groups.entry(TableLanguage(language_of(&question.id)?)).or_default().push(question);
    }
    let score = |scores: Vec<&QuestionScore>| {
        let (exact_match, f1, questions) = mean_percent(scores);
        LanguageScore { exact_match, f1, questions }
    };
    let languages: BTreeMap<TableLanguage, LanguageScore> =
        groups.into_iter().map(|(language, scores)| (language, score(scores))).collect();
    let mean = |includes: fn(Language) -> bool| {
        let selected = || languages.iter().filter(|(language, _)| includes(language.0));
        (selected().count() > 0).then(|| MeanScore {
            exact_match: MeanInterval::of(selected().map(|(_, scores)| scores.exact_match)).mean,
            f1: MeanInterval::of(selected().map(|(_, scores)| scores.f1)).mean,
        })
    };
    let without_en = mean(|language| language != Language::EN);
    Some(LanguageScores { mean: mean(|_| true)?, mean_without_en: without_en, languages })
}

/// Scores predictions in total and by language, for TyDi-style ids
/// (`arabic-2387335860751143628-1`).
///
/// Without `rules`, each question is scored by the rules of its language. The scores by language
/// are `None` if an id does not name a language.
///
/// ```
/// use mlqa_eval::{Dataset, Language, Predictions, score_by_language, squad};
///
/// let qa = |id: &str| {
///     let answers = r#"[{"text": "the house", "answer_start": 0}]"#;
///     format!(r#"{{"id": "{id}", "question": "?", "answers": {answers}}}"#)
/// };
/// let (english, finnish) = (qa("english-1-0"), qa("finnish-2-0"));
/// let paragraph = format!(r#"{{"context": "the house", "qas": [{english}, {finnish}]}}"#);
/// let text = format!(r#"{{"data": [{{"paragraphs": [{paragraph}]}}]}}"#);
/// let dataset = Dataset::parse(&text, "tydi.json")?;
/// let predictions = ["english-1-0", "finnish-2-0"].map(|id| (id.to_owned(), "house".to_owned()));
/// let (all, languages) = score_by_language(&dataset, &Predictions(predictions.into()), None)?;
/// let languages = languages.unwrap();
/// // Articles are removed in English only.
/// assert_eq!(languages.languages[&Language::EN.into()].exact_match, 100.0);
/// assert_eq!((all.exact_match, languages.mean_without_en.unwrap().exact_match), (50.0, 0.0));
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// The errors of [`score`](crate::score()); [`Error::NoLanguage`] if `rules` is `None` and an id
/// does not name a language; [`Error::SeveralLanguages`] if `rules` is [`Normalization::Mlqa`],
/// which is for one language, and the ids name several languages.
pub fn score_by_language(
    dataset: &Dataset,
    predictions: &Predictions,
    rules: Option<Normalization>,
) -> Result<(Score, Option<LanguageScores>), Error> {
    let score = score_with(dataset, predictions, rules)?;
    match (rules, compute_language_scores(&score.per_question)) {
        (Some(Normalization::Mlqa(language)), Some(scores)) if scores.languages.len() > 1 => {
            Err(Error::SeveralLanguages { path: dataset.path.clone(), language })
        }
        (_, languages) => Ok((score, languages)),
    }
}
