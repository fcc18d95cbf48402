//! Mixture of training questions in several languages for a reader.
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use mlqa_eval::{Dataset, Language, Question};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};

use crate::generator::{Files, Generator, dataset_json};

/// Options for mixing questions of several files and languages.
#[derive(Clone, Debug, clap::Args)]
pub struct MixtureConfig {
    /// Folder with xquad.<lang>.json: parallel questions in each language
    #[arg(long, value_name = "DIR")]
    pub xquad: Option<PathBuf>,
    /// Languages of XQuAD
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', default_value = crate::facts::LANGUAGES, value_parser = Language::registered)]
    pub languages: Vec<Language>,
    /// Use the first N articles of XQuAD; the others are reserved for tests
    #[arg(long, value_name = "N", default_value_t = 36)]
    pub first: usize,
    /// Number of times that each question of XQuAD occurs in a language other than its context's
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub pairs: usize,
    /// Files of other questions with answers
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "xquad")]
    pub questions: Vec<PathBuf>,
    /// Number of unanswerable questions as a fraction of the other questions. An unanswerable
    /// question is one of the others with the context of another article in the same language
    #[arg(long, default_value_t = 0.0)]
    pub unanswerable: f64,
    /// Random seed
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

impl MixtureConfig {
    /// Returns XQuAD's first articles with questions in all languages: first each language with
    /// itself, then pairs of different languages.
    fn parallel_questions(&self) -> Result<Vec<Dataset>> {
        let Some(folder) = &self.xquad else { return Ok(Vec::new()) };
        let mut datasets = Vec::new();
        for language in &self.languages {
            let mut dataset = Dataset::read(folder.join(format!("xquad.{language}.json")))?;
            let articles = dataset.articles().len();
            ensure!(
                (1..articles).contains(&self.first),
                "--first {}: must be 1 or more, and fewer than {articles}",
                self.first
            );
            dataset.questions = dataset.articles().take(self.first).flatten().cloned().collect();
            datasets.push(dataset);
        }
        ensure!(datasets.len() > 1, "--languages: expected at least two");
        let ids = |dataset: &Dataset| -> Vec<String> {
            dataset.questions.iter().map(|question| question.id.clone()).collect()
        };
        let first_ids = ids(&datasets[0]);
        for dataset in &datasets {
            let path = dataset.path.display();
            let expected = datasets[0].path.display();
            ensure!(ids(dataset) == first_ids, "{path}: expected the questions of {expected}");
        }
        let mut mixed = datasets.clone();
        for (dataset, language) in mixed.iter_mut().zip(&self.languages) {
            add_prefix(&mut dataset.questions, &language.to_string());
        }
        let mut rng = shards::rng_for(self.seed, "language pairs", 0);
        let language_indices: Vec<usize> = (0..datasets.len()).collect();
        for (index, id) in first_ids.iter().enumerate() {
            for number in 0..self.pairs {
                let of_context = rng.random_range(0..datasets.len());
                let others = language_indices.iter().filter(|&&other| other != of_context);
                let others: Vec<usize> = others.copied().collect();
                let of_question = *others.choose(&mut rng).context("at least two languages")?;
                let question = datasets[of_question].questions[index].question.clone();
                let [first, second] = [of_context, of_question].map(|k| self.languages[k]);
                let id = format!("{first}-{second}-{number}-{id}");
                let context = datasets[of_context].questions[index].clone();
                mixed[of_context].questions.push(Question { id, question, ..context });
            }
        }
        Ok(mixed)
    }
}

fn add_prefix(questions: &mut [Question], prefix: &str) {
    for question in questions {
        question.id = format!("{prefix}-{}", question.id);
    }
}

/// Returns questions of a data set, each with the context of another article and no answer.
fn mismatched(dataset: &Dataset, fraction: f64, rng: &mut impl Rng) -> Result<Vec<Question>> {
    let mut questions = dataset.questions.clone();
    let count = (questions.len() as f64 * fraction).round() as usize;
    questions.shuffle(rng);
    questions.truncate(count);
    for question in &mut questions {
        // Files with one article have no mismatched contexts.
        let others: Vec<&Question> =
            dataset.questions.iter().filter(|other| other.title != question.title).collect();
        let path = dataset.path.display();
        let other = others.choose(rng).with_context(|| {
            format!("{path}: expected two articles or more for unanswerable questions")
        })?;
        question.id = format!("none-{}", question.id);
        question.context = other.context.clone();
        question.title = other.title.clone();
        question.answers.clear();
    }
    Ok(questions)
}

impl Generator for MixtureConfig {
    const COMMAND: &'static str = "demo-data mixture";

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    /// Returns `train.json`: the questions of each file, then its unanswerable questions, in the
    /// order of their articles.
    fn generate(&self) -> Result<(Files, Value)> {
        let is_fraction = (0.0..=1.0).contains(&self.unanswerable);
        ensure!(is_fraction, "--unanswerable {}: expected 0 to 1", self.unanswerable);
        let mut datasets = self.parallel_questions()?;
        for (number, path) in self.questions.iter().enumerate() {
            let mut dataset = Dataset::read(path)?;
            add_prefix(&mut dataset.questions, &format!("file-{}", number + 1));
            datasets.push(dataset);
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut questions = Vec::new();
        for (number, dataset) in datasets.iter().enumerate() {
            dataset.check_answers()?;
            dataset.check_scorable()?;
            let stream = u64::try_from(number)?;
            let mut rng = shards::rng_for(self.seed, "unanswerable questions", stream);
            let unanswerable = mismatched(dataset, self.unanswerable, &mut rng)?;
            let name = dataset.path.file_name().context("a file has a name")?;
            counts.insert(name.to_string_lossy().into_owned(), dataset.questions.len());
            *counts.entry("unanswerable".to_owned()).or_default() += unanswerable.len();
            questions.extend(dataset.questions.iter().cloned());
            questions.extend(unanswerable);
        }
        counts.insert("total".to_owned(), questions.len());
        let dataset = Dataset::new("train.json", Some("1.1".to_owned()), questions)?;
        Ok((vec![("train.json".to_owned(), dataset_json(&dataset)?)], json!(counts)))
    }
}
