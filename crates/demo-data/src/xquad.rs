//! Split of XQuAD's questions by article into training, development and test questions.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use mlqa_eval::{Dataset, Language, Question};
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::generator::{Files, Generator, dataset_json};
use crate::parallel::language_pair_files;
use crate::split::SplitIds;

/// Options for splitting XQuAD's questions by article, so that no test text is a training text in
/// any language.
#[derive(Clone, Debug, clap::Args)]
pub struct XquadSplit {
    /// Folder with xquad.<lang>.json: parallel questions in each language
    #[arg(long, value_name = "DIR")]
    pub xquad: PathBuf,
    /// Languages of the output; the first one is the training language
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', default_value = crate::facts::LANGUAGES, value_parser = Language::registered)]
    pub languages: Vec<Language>,
    /// Use only the first N articles
    #[arg(long, value_name = "N")]
    pub articles: Option<usize>,
    /// Train on the first N articles and test on the others, without development data
    #[arg(long, value_name = "N", conflicts_with_all = ["train", "dev", "seed"])]
    pub first: Option<usize>,
    /// Cross-validation: split the articles into N parts, test on part K in all language pairs, and
    /// train on the other parts
    #[arg(long, value_name = "K/N", conflicts_with_all = ["first", "train", "dev", "seed"])]
    pub fold: Option<Fold>,
    /// Write each article as one context, to evaluate on whole documents; the output
    /// xquad.<lang>.json is then named documents.<lang>.json
    #[arg(long)]
    pub documents: bool,
    /// Fraction of the articles for training
    #[arg(long, default_value_t = 0.5)]
    pub train: f64,
    /// Fraction of the articles for development
    #[arg(long, default_value_t = 0.1)]
    pub dev: f64,
    /// Random seed of the split
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// A cross-validation fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Number of the fold, starting at 1.
    number: usize,
    /// Number of folds.
    fold_count: usize,
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').map(|(number, count)| (number.parse(), count.parse()));
        match numbers {
            Some((Ok(number), Ok(fold_count)))
                if fold_count > 1 && (1..=fold_count).contains(&number) =>
            {
                Ok(Self { number, fold_count })
            }
            _ => {
                Err("expected the number of a fold and the number of folds, such as 1/4".to_owned())
            }
        }
    }
}

impl Fold {
    /// Returns the indices of the fold's articles among `total` articles.
    fn article_range(self, total: usize) -> Range<usize> {
        total * (self.number - 1) / self.fold_count..total * self.number / self.fold_count
    }
}

impl XquadSplit {
    fn read(&self, language: Language) -> Result<Dataset> {
        let dataset = Dataset::read(self.xquad.join(format!("xquad.{language}.json")))?;
        dataset.check_answers()?;
        dataset.check_scorable()?;
        Ok(dataset)
    }

    /// Splits the articles of one file, and returns the ids of the questions in each split.
    fn split_questions(&self, dataset: &Dataset) -> Result<SplitIds> {
        let articles: Vec<_> =
            dataset.articles().take(self.articles.unwrap_or(usize::MAX)).collect();
        let mut order: Vec<usize> = (0..articles.len()).collect();
        let total = articles.len() as f64;
        let (train, dev) = match (self.first, self.fold) {
            (_, Some(fold)) => {
                let test_range = fold.article_range(articles.len());
                ensure!(!test_range.is_empty(), "--fold: fewer articles than folds");
                order.sort_by_key(|index| test_range.contains(index));
                (articles.len() - test_range.len(), 0)
            }
            (Some(first), None) => {
                let article_count = articles.len();
                let is_valid = first > 0 && first < article_count;
                ensure!(
                    is_valid,
                    "--first {first}: must be 1 or more, and fewer than {article_count}"
                );
                (first, 0)
            }
            (None, None) => {
                let Self { train, dev, .. } = self;
                let is_valid = *train > 0.0 && *dev > 0.0 && train + dev < 1.0;
                ensure!(is_valid, "--train {train}, --dev {dev}: each above 0, together below 1");
                order.shuffle(&mut shards::rng_for(self.seed, "divided questions", 0));
                let rounded_count = |share: f64| ((total * share).round() as usize).max(1);
                (rounded_count(*train), rounded_count(*dev))
            }
        };
        let mut ids = SplitIds::default();
        for (position, index) in order.into_iter().enumerate() {
            let split = match position {
                position if position < train => &mut ids.train,
                position if position < train + dev => &mut ids.dev,
                _ => &mut ids.test,
            };
            split.extend(articles[index].iter().map(|question| question.id.clone()));
        }
        ensure!(
            !ids.test.is_empty(),
            "{}: there is no question for the test split",
            dataset.path.display()
        );
        Ok(ids)
    }
}

/// Replaces each context by its whole article, whose paragraphs are joined by blank lines.
fn with_article_contexts(dataset: &Dataset) -> Dataset {
    const SEPARATOR: &str = "\n\n";
    let mut documents = Dataset { questions: Vec::new(), ..dataset.clone() };
    for article in dataset.articles() {
        let paragraphs: Vec<&[Question]> =
            article.chunk_by(|a, b| a.context == b.context).collect();
        let texts: Vec<&str> = paragraphs.iter().map(|questions| &*questions[0].context).collect();
        let text: Arc<str> = texts.join(SEPARATOR).into();
        let mut start = 0;
        for (questions, paragraph) in paragraphs.iter().zip(texts) {
            for question in *questions {
                let mut question = Question { context: Arc::clone(&text), ..question.clone() };
                for answer in &mut question.answers {
                    answer.answer_start = answer.answer_start.map(|offset| offset + start);
                }
                documents.questions.push(question);
            }
            start += paragraph.chars().count() + SEPARATOR.len();
        }
    }
    documents
}

impl Generator for XquadSplit {
    const COMMAND: &'static str = "demo-data xquad-split";

    fn seed(&self) -> Option<u64> {
        (self.first.is_none() && self.fold.is_none()).then_some(self.seed)
    }

    /// Returns `train-`, `dev-` and `test-context-xx-question-xx.json` for each language.
    ///
    /// The test file of xx is also returned as `xquad.xx.json`. Every `second/xquad.xx.json`
    /// contains the test questions and contexts in the first language. With `documents`, the
    /// context of a question is its whole article, and `documents` replaces `xquad` in the file
    /// names. With a fold, the only test files are `test-context-xx-question-yy.json` for each pair
    /// of languages.
    fn generate(&self) -> Result<(Files, Value)> {
        let first = self.languages.first().context("--languages is empty")?;
        let first_dataset = self.read(*first)?;
        let ids = self.split_questions(&first_dataset)?;
        let select = |dataset: &Dataset, ids: &BTreeSet<String>| {
            let mut subset = dataset.clone();
            subset.questions.retain(|question| ids.contains(&question.id));
            if self.documents { with_article_contexts(&subset) } else { subset }
        };
        let first_test = dataset_json(&select(&first_dataset, &ids.test))?;
        let mut files = Files::new();
        let mut test_sets = BTreeMap::new();
        for &language in &self.languages {
            let dataset = self.read(language)?;
            for (split, split_ids) in ids.by_name().into_iter().filter(|(_, ids)| !ids.is_empty()) {
                let subset = select(&dataset, split_ids);
                let has_all_ids = subset.questions.len() == split_ids.len();
                let path = dataset.path.display();
                ensure!(has_all_ids, "{path}: expected the question ids of language {first}");
                if split == "test" && self.fold.is_some() {
                    test_sets.insert(language, subset);
                    continue;
                }
                let text = dataset_json(&subset)?;
                if split == "test" {
                    let name = if self.documents { "documents" } else { "xquad" };
                    files.push((format!("{name}.{language}.json"), text.clone()));
                    files.push((format!("second/{name}.{language}.json"), first_test.clone()));
                }
                files.push((format!("{split}-context-{language}-question-{language}.json"), text));
            }
        }
        files.extend(language_pair_files("test", &test_sets)?);
        let [train, dev, test] = ids.by_name().map(|(_, ids)| ids.len());
        Ok((files, json!({ "train": train, "dev": dev, "test": test })))
    }
}
