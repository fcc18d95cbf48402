//! `numbers.jsonl`: the scores of an arm by seed and by test item, for pages that compare arms.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use experiment::{Experiment, Recipe, Results};
use mlqa_eval::{
    Dataset, FileScore, Language, Matrix, Normalization, Predictions, QuestionSources, score,
};
use results::Measured;
use serde::{Deserialize, Serialize};
use tasks::question_answering::{EvaluationConfig, QuestionLanguages};

/// A test item: the unit that the bootstrap resamples. Each line of `numbers.jsonl` has one score
/// per item. The answers of an item are dependent and are therefore resampled together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A question in all its languages.
    #[default]
    Question,
    /// An article with all its questions.
    Article,
}

impl Item {
    /// Returns whether this is the default, for `skip_serializing_if`.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Labels of measured scores.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// The arm's title, as in the recipe's table.
    pub title: &'a str,
    /// The setting, such as `G-XLT`.
    pub setting: &'a str,
    /// The language, or `avg` for a mean over languages.
    pub language: &'a str,
}

/// Computes F1 and exact match from the answers in the run folder, averaged over the language pairs
/// selected by `includes`. Each result has the mean, a value per seed, and a value per test item;
/// `unit` defines the items.
pub fn measure_answers<R: Recipe, T>(
    experiment: &Experiment<R>,
    results: &Results<T, Vec<FileScore>>,
    arm: &str,
    labels: Labels<'_>,
    unit: Item,
    includes: impl Fn(Language, Language) -> bool,
) -> Result<Vec<Measured>> {
    // Only the process with rank 0 has the answers.
    if !experiment.is_rank_0() {
        return Ok(Vec::new());
    }
    let (mut seed_scores, mut folders) = (Vec::new(), Vec::new());
    for &seed in experiment.seeds() {
        let files = results.of_trial(seed, arm).flat_map(|trial| &trial.evaluated);
        let Some(mean) = Matrix::of_files(labels.title, files).mean(&includes) else {
            return Ok(Vec::new());
        };
        seed_scores.push([mean.f1, mean.em]);
        for trial in results.of_trial(seed, arm) {
            let folder = experiment.dir(format!("seed-{seed}")).join(arm);
            let folder = match &trial.variant {
                Some(variant) => folder.join(variant),
                None => folder,
            };
            folders.push(folder.join("predictions"));
        }
    }
    Ok(measure_items(labels, &seed_scores, &folders, unit, includes)?.into())
}

/// Returns F1 and exact match, with the score of each seed and of each test item. The score of an
/// item is a mean over the predictions in `folders`, which must contain all seeds. Its weight is its
/// share of the means of language pairs: an article with more questions has a larger weight.
pub fn measure_items(
    Labels { title, setting, language }: Labels<'_>,
    seed_scores: &[[f64; 2]],
    folders: &[PathBuf],
    unit: Item,
    includes: impl Fn(Language, Language) -> bool,
) -> Result<[Measured; 2]> {
    let mut items = BTreeMap::<String, Sums>::new();
    for folder in folders {
        add_items(folder, unit, &includes, &mut items)?;
    }
    Ok([("f1", 0), ("em", 1)].map(|(metric, index)| {
        let seed_values = seed_scores.iter().map(|scores| scores[index]);
        let measured = Measured::of_seeds(title, setting, language, metric, seed_values);
        measured.with_items(items.values().map(|sums| (sums.mean(index), sums.weight)))
    }))
}

/// Weighted sums of F1 and exact match of an item's answers, in percent, and the sum of the weights.
/// An answer's weight is 1 / the number of questions of its file, because a score is the mean over
/// files of the means over questions.
#[derive(Default)]
struct Sums {
    scores: [f64; 2],
    weight: f64,
}

impl Sums {
    fn mean(&self, metric: usize) -> f64 {
        let mean = self.scores[metric] / self.weight;
        (mean * 100.0).round() / 100.0
    }
}

/// Adds the scores of a trial's predicted answers to the sums of their items.
fn add_items(
    predictions: &Path,
    unit: Item,
    includes: impl Fn(Language, Language) -> bool,
    items: &mut BTreeMap<String, Sums>,
) -> Result<()> {
    let sources = QuestionSources::read(predictions)?;
    let sources = sources.with_context(|| format!("{}: no questions", predictions.display()))?;
    for (name, source) in sources.0 {
        if !includes(source.context, source.question) {
            continue;
        }
        let dataset = Dataset::read(&source.path)?;
        let answers = Predictions::read(predictions.join(name))?;
        let scores = score(&dataset, &answers, Normalization::Mlqa(source.context))?;
        let weight = 1.0 / dataset.questions.len() as f64;
        for (question, question_score) in dataset.questions.iter().zip(&scores.per_question) {
            let item = match unit {
                Item::Question => question.id.clone(),
                Item::Article => question.title.to_string(),
            };
            let sums = items.entry(item).or_default();
            let values = [
                100.0 * question_score.f1,
                f64::from(u8::from(question_score.exact_match)) * 100.0,
            ];
            sums.scores.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
            sums.weight += weight;
        }
    }
    Ok(())
}

/// Returns an error unless questions in all languages about English contexts are evaluated, which
/// the tables of some recipes require.
///
/// ```
/// use examples::numbers::check_english_contexts;
/// use tasks::question_answering::EvaluationConfig;
///
/// let mut config = EvaluationConfig::default();
/// assert!(check_english_contexts(&config).is_ok());
/// config.contexts = vec!["de".parse()?];
/// let error = check_english_contexts(&config).unwrap_err().to_string();
/// assert_eq!(error, "evaluation.contexts = [de]: must contain \"en\", which the tables report");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_english_contexts(config: &EvaluationConfig) -> Result<()> {
    let EvaluationConfig { contexts, questions, .. } = config;
    let codes: Vec<&str> = contexts.iter().map(Language::as_str).collect();
    ensure!(
        contexts.contains(&Language::EN),
        "evaluation.contexts = [{}]: must contain \"en\", which the tables report",
        codes.join(", ")
    );
    ensure!(
        *questions == QuestionLanguages::All,
        "evaluation.questions: must be \"all\", because the tables report questions in all languages"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mlqa_eval::QuestionSource;
    use serde_json::json;

    use super::*;

    #[test]
    fn articles_weigh_by_their_questions() {
        let folder = tempfile::tempdir().unwrap();
        let qa = |id: &str| json!({"id": id, "question": "?", "answers": [{"text": "Bern", "answer_start": 0}]});
        let article = |title: &str, ids: &[&str]| {
            let qas: Vec<_> = ids.iter().map(|id| qa(id)).collect();
            json!({"title": title, "paragraphs": [{"context": "Bern", "qas": qas}]})
        };
        let data = [article("A", &["a1", "a2", "a3"]), article("B", &["b1"])];
        let questions = folder.path().join("questions-of-two-articles.json");
        fs::write(&questions, json!({"data": data}).to_string()).unwrap();
        let mut sources = QuestionSources::default();
        // Correct answers: a1 and b1 in German, b1 in English.
        for (language, answers) in [
            (Language::DE, json!({"a1": "Bern", "a2": "x", "a3": "x", "b1": "Bern"})),
            (Language::EN, json!({"a1": "x", "a2": "x", "a3": "x", "b1": "Bern"})),
        ] {
            let name = format!("{language}.json");
            fs::write(folder.path().join(&name), answers.to_string()).unwrap();
            let (path, context) = (questions.clone(), Language::EN);
            let source = QuestionSource { path, context, question: language, squad_rules: false };
            sources.insert(name, source);
        }
        sources.write(folder.path()).unwrap();
        let labels = Labels { title: "a", setting: "s", language: "avg" };
        let measure = |unit: Item| {
            let scores = [[37.5, 37.5]];
            let folders = [folder.path().to_owned()];
            let [_, em] = measure_items(labels, &scores, &folders, unit, |_, _| true).unwrap();
            em
        };
        // Means over both languages: 3 of 8 answers are correct. A has 1 of 6, B has 2 of 2.
        let em = measure(Item::Article);
        assert_eq!((em.items.clone(), em.weights.clone()), (vec![16.67, 100.0], vec![1.5, 0.5]));
        let sum: f64 = em.weighted_items().map(|(value, weight)| value * weight).sum();
        assert!((sum / 2.0 - em.value).abs() < 0.01, "{sum}");
        let em = measure(Item::Question);
        assert_eq!((em.items, em.weights), (vec![50.0, 0.0, 0.0, 100.0], Vec::new()));
    }
}
