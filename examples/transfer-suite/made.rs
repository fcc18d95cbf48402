//! Questions that are divided into some to train on and others to test.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use experiment::JsonFolder;
use mlqa_eval::{Dataset, Language};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// XQuAD's questions, divided by article: no text that is tested was trained on in any language.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DividedQuestions {
    /// A folder with `xquad.<lang>.json`, the same questions in each.
    pub xquad: JsonFolder,
    /// English, then the other languages that are tested.
    pub languages: Vec<Language>,
    /// Share of the articles to train on, and of those to choose the epoch by, in English.
    pub train: f64,
    pub dev: f64,
    /// Decides which.
    pub seed: u64,
}

impl Default for DividedQuestions {
    fn default() -> Self {
        let (xquad, languages) = (JsonFolder::default(), Vec::new());
        Self { xquad, languages, train: 0.5, dev: 0.1, seed: 1234 }
    }
}

impl DividedQuestions {
    pub fn validate(&self) -> Result<()> {
        self.xquad.required("xquad", "a folder with xquad.<lang>.json")?;
        let english = self.languages.first() == Some(&Language::EN);
        ensure!(english, "languages = {:?}: begin with \"en\"", self.languages);
        let (train, dev) = (self.train, self.dev);
        let fits = train > 0.0 && dev > 0.0 && train + dev < 1.0;
        ensure!(fits, "train = {train}, dev = {dev}: each above 0, together below 1");
        self.languages.iter().try_for_each(|&language| self.read(language).map(drop))
    }

    fn read(&self, language: Language) -> Result<Dataset> {
        let dataset = Dataset::read(self.xquad.join(format!("xquad.{language}.json")))?;
        dataset.check_answers()?;
        dataset.check_scorable()?;
        Ok(dataset)
    }

    /// Writes `train.json`, and `dev-…` and `test-context-xx-question-xx.json` as MLQA names them.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let english = self.read(Language::EN)?;
        let articles: Vec<BTreeSet<String>> = english
            .articles()
            .map(|questions| questions.iter().map(|question| question.id.clone()).collect())
            .collect();
        let mut order: Vec<usize> = (0..articles.len()).collect();
        order.shuffle(&mut trainer::rng_for(self.seed, "divided questions", 0));
        let share = |share: f64| (articles.len() as f64 * share).round() as usize;
        let (train, rest) = order.split_at(share(self.train).clamp(1, articles.len()));
        let (dev, test) =
            rest.split_at(share(self.dev).clamp(1, rest.len().max(1)).min(rest.len()));
        let ids = |chosen: &[usize]| -> BTreeSet<&String> {
            chosen.iter().filter_map(|&number| articles.get(number)).flatten().collect()
        };
        let only = |all: &Dataset, chosen: &[usize], path: PathBuf| -> Result<()> {
            let (mut part, ids) = (all.clone(), ids(chosen));
            part.questions.retain(|question| ids.contains(&question.id));
            ensure!(!part.questions.is_empty(), "{}: no question is left", path.display());
            part.write(&path).with_context(|| path.display().to_string())
        };
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        only(&english, train, folder.join("train.json"))?;
        only(&english, dev, folder.join("dev-context-en-question-en.json"))?;
        for &language in &self.languages {
            let name = format!("test-context-{language}-question-{language}.json");
            only(&self.read(language)?, test, folder.join(name))?;
        }
        Ok(())
    }
}
