//! XQuAD's questions, split by article into training and test questions.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use mlqa_eval::{Dataset, Language, Question};
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::parallel::pairs;
use crate::split::SplitIds;
use crate::stand_in::{Files, StandIn, json_of};

/// XQuAD's questions, split by article: test texts are not training texts in any language.
#[derive(Clone, Debug, clap::Args)]
pub struct XquadSplit {
    /// Folder with xquad.<lang>.json, parallel questions
    #[arg(long, value_name = "DIR")]
    pub xquad: PathBuf,
    /// Training language, then the other languages
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', default_value = crate::facts::LANGUAGES)]
    pub languages: Vec<Language>,
    /// Use only the first N articles
    #[arg(long, value_name = "N")]
    pub articles: Option<usize>,
    /// Train on the first N articles and test on the others, without development data
    #[arg(long, value_name = "N", conflicts_with_all = ["train", "dev", "seed"])]
    pub first: Option<usize>,
    /// Cross-validation fold: test on part K of N of the articles, in all language pairs, and train
    /// on the other parts
    #[arg(long, value_name = "K/N", conflicts_with_all = ["first", "train", "dev", "seed"])]
    pub fold: Option<Fold>,
    /// Write each article as one context, to evaluate on whole documents; xquad.<lang>.json is
    /// named documents.<lang>.json then
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

/// The fold `number` of `folds`, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    number: usize,
    folds: usize,
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').map(|(number, folds)| (number.parse(), folds.parse()));
        match parts {
            Some((Ok(number), Ok(folds))) if folds > 1 && (1..=folds).contains(&number) => {
                Ok(Self { number, folds })
            }
            _ => Err("expected a number and how many folds there are, such as 1/4".to_owned()),
        }
    }
}

impl Fold {
    /// Indices of the fold's articles among `all`.
    fn range(self, all: usize) -> Range<usize> {
        all * (self.number - 1) / self.folds..all * self.number / self.folds
    }
}

impl XquadSplit {
    fn read(&self, language: Language) -> Result<Dataset> {
        let dataset = Dataset::read(self.xquad.join(format!("xquad.{language}.json")))?;
        dataset.check_answers()?;
        dataset.check_scorable()?;
        Ok(dataset)
    }

    /// Splits the articles of one file.
    fn divide(&self, all: &Dataset) -> Result<SplitIds> {
        let articles: Vec<_> = all.articles().take(self.articles.unwrap_or(usize::MAX)).collect();
        let mut order: Vec<usize> = (0..articles.len()).collect();
        let total = articles.len() as f64;
        let (train, dev) = match (self.first, self.fold) {
            (_, Some(fold)) => {
                let tested = fold.range(articles.len());
                ensure!(!tested.is_empty(), "--fold: fewer articles than folds");
                order.sort_by_key(|place| tested.contains(place));
                (articles.len() - tested.len(), 0)
            }
            (Some(first), None) => {
                let article_count = articles.len();
                let fits = first > 0 && first < article_count;
                ensure!(fits, "--first {first}: must be 1 or more, and fewer than {article_count}");
                (first, 0)
            }
            (None, None) => {
                let Self { train, dev, .. } = self;
                let fits = *train > 0.0 && *dev > 0.0 && train + dev < 1.0;
                ensure!(fits, "--train {train}, --dev {dev}: each above 0, together below 1");
                order.shuffle(&mut shards::rng_for(self.seed, "divided questions", 0));
                let share = |share: f64| ((total * share).round() as usize).max(1);
                (share(*train), share(*dev))
            }
        };
        let mut ids = SplitIds::default();
        for (place, number) in order.into_iter().enumerate() {
            let split = match place {
                place if place < train => &mut ids.train,
                place if place < train + dev => &mut ids.dev,
                _ => &mut ids.test,
            };
            let questions = articles.get(number).into_iter().flat_map(|article| article.iter());
            split.extend(questions.map(|question| question.id.clone()));
        }
        ensure!(!ids.test.is_empty(), "{}: no question is left to test", all.path.display());
        Ok(ids)
    }
}

/// Replaces each context by its whole article: paragraphs joined by blank lines.
fn whole_articles(dataset: &Dataset) -> Dataset {
    const BETWEEN: &str = "\n\n";
    let mut all = Dataset { questions: Vec::new(), ..dataset.clone() };
    for article in dataset.articles() {
        let paragraphs: Vec<&[Question]> =
            article.chunk_by(|a, b| a.context == b.context).collect();
        let texts: Vec<&str> =
            paragraphs.iter().filter_map(|one| one.first()).map(|one| &*one.context).collect();
        let text: Arc<str> = texts.join(BETWEEN).into();
        let mut start = 0;
        for (questions, paragraph) in paragraphs.iter().zip(texts) {
            for question in *questions {
                let mut question = Question { context: Arc::clone(&text), ..question.clone() };
                question.answers.iter_mut().for_each(|answer| answer.answer_start += start);
                all.questions.push(question);
            }
            start += paragraph.chars().count() + BETWEEN.len();
        }
    }
    all
}

impl StandIn for XquadSplit {
    const COMMAND: &'static str = "demo-data xquad-split";

    fn seed(&self) -> Option<u64> {
        (self.first.is_none() && self.fold.is_none()).then_some(self.seed)
    }

    /// Writes `train-`, `dev-` and `test-context-xx-question-xx.json` for each language. The test
    /// files are also written as `xquad.xx.json`, and the same questions in the first language as
    /// `second/xquad.xx.json`. With `documents`, the context of a question is its whole article,
    /// and `documents` replaces `xquad` in the names. With a fold,
    /// `test-context-xx-question-yy.json` is written for each pair of languages instead of all test
    /// files.
    fn make(&self) -> Result<(Files, Value)> {
        let first = self.languages.first().context("no language is given")?;
        let source = self.read(*first)?;
        let ids = self.divide(&source)?;
        let only = |all: &Dataset, chosen: &BTreeSet<String>| {
            let mut part = all.clone();
            part.questions.retain(|question| chosen.contains(&question.id));
            if self.documents { whole_articles(&part) } else { part }
        };
        let second = json_of(&only(&source, &ids.test))?;
        let mut files = Files::new();
        let mut tested = BTreeMap::new();
        for &language in &self.languages {
            let all = self.read(language)?;
            for (split, chosen) in ids.each().into_iter().filter(|(_, ids)| !ids.is_empty()) {
                let part = only(&all, chosen);
                let all_there = part.questions.len() == chosen.len();
                ensure!(all_there, "{}: not the questions of {first}", all.path.display());
                if split == "test" && self.fold.is_some() {
                    tested.insert(language, part);
                    continue;
                }
                let text = json_of(&part)?;
                if split == "test" {
                    let name = if self.documents { "documents" } else { "xquad" };
                    files.push((format!("{name}.{language}.json"), text.clone()));
                    files.push((format!("second/{name}.{language}.json"), second.clone()));
                }
                files.push((format!("{split}-context-{language}-question-{language}.json"), text));
            }
        }
        files.extend(pairs("test", &tested)?);
        let [train, dev, test] = ids.each().map(|(_, ids)| ids.len());
        Ok((files, json!({ "train": train, "dev": dev, "test": test })))
    }
}
