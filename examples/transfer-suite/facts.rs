//! Facts in several languages, asked as mLAMA does: which object of its relation completes the
//! sentence best. Nothing is trained.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use experiment::{JsonlFolder, Trial};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::cloze_ranking::rank_typed;
use transfer_eval::lama::{build_typed_clozes, read_mlama};
use xlmr_model::{Head, Pretrained};

use crate::recipe::Recipe;
use crate::{Items, SuiteTask, Tested, Trained, start, write_items};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Inputs in a batch.
    pub evaluation_batch_size: usize,
    pub data: Data,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// What tables call the data set.
    pub name: String,
    /// Folders of mLAMA by language, such as `test.de = "mlama1.1/de"`.
    pub test: BTreeMap<Language, JsonlFolder>,
    /// The same of facts that a model may have been trained on, reported beside those of `test`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<Language, JsonlFolder>,
}

/// The metric over all facts.
const PRECISION: &str = "p@1";

impl Facts {
    /// The metric of each set, and its folders by language.
    fn sets(&self) -> Vec<(String, &BTreeMap<Language, JsonlFolder>)> {
        let Data { test, seen, .. } = &self.data;
        match seen.is_empty() {
            true => vec![(PRECISION.to_owned(), test)],
            false => {
                vec![(format!("{PRECISION} train"), seen), (format!("{PRECISION} test"), test)]
            }
        }
    }

    fn folders(&self) -> impl Iterator<Item = &JsonlFolder> {
        self.data.test.values().chain(self.data.seen.values())
    }
}

impl SuiteTask for Facts {
    fn is_given(&self) -> bool {
        !self.data.test.is_empty()
    }

    fn validate(&self) -> Result<()> {
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        for folder in self.folders() {
            folder.required("data.test.*", "a folder of mLAMA")?;
        }
        Ok(())
    }

    fn check(&self, model: &Pretrained) -> Result<()> {
        let length = usize::try_from(model.model.config().max_length())?;
        self.folders().try_for_each(|folder| {
            build_typed_clozes(&read_mlama(folder)?, &model.tokenizer, length)
                .with_context(|| folder.display().to_string())
                .map(drop)
        })
    }

    fn head(&self) -> Head {
        Head::MaskedLm
    }

    fn train(&self, _: &Trial<Recipe>) -> Result<Trained> {
        Ok(Trained::default())
    }

    fn test(&self, trial: &Trial<Recipe>) -> Result<Tested> {
        let model = start(trial, self.head())?;
        let length = usize::try_from(model.model.config().max_length())?;
        let (mut tested, mut items) = (Tested::default(), Items::new());
        for (metric, folders) in self.sets() {
            for (language, folder) in folders {
                let facts = read_mlama(folder)?;
                let clozes = build_typed_clozes(&facts, &model.tokenizer, length)
                    .with_context(|| folder.display().to_string())?;
                let ranks = rank_typed(&model.model, &clozes, self.evaluation_batch_size)?;
                let of = |metric: &str| metric.to_owned();
                let score = clozes.score(&ranks)?.macro_average.p_at_1;
                tested.metrics.entry(of(&metric)).or_default().insert(language.to_string(), score);
                let guess = format!("{metric}, guessing");
                tested
                    .metrics
                    .entry(guess)
                    .or_default()
                    .insert(language.to_string(), clozes.guessing());
                let right = ranks.iter().map(|&rank| if rank == 1 { 100.0 } else { 0.0 });
                items.entry(language.to_string()).or_default().extend(right);
            }
        }
        write_items(trial, &items)?;
        Ok(tested)
    }
}
