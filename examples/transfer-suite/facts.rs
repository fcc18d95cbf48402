//! Facts in several languages, asked as mLAMA does: which object of its relation completes the
//! sentence best. Nothing is trained.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use examples::fact_source::FactSource;
use experiment::{Cell, JsonlFolder};
use kg_triples::probes::write_clozes;
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::cloze_ranking::rank_typed;
use transfer_eval::lama::{build_typed_clozes, read_mlama};
use xlmr_model::{Head, Pretrained};

use crate::recipe::Recipe;
use crate::{Items, SuiteTask, Tested, Trained, made, start, write_items};

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
    /// Facts of a graph, in place of them: those of its splits `train` and `test` apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactSource>,
}

const NAME: &str = "facts";
const SPLITS: [&str; 2] = ["train", "test"];
/// The metric over all facts.
const PRECISION: &str = "p@1";

impl Facts {
    /// The metric of each set, and its folders by language.
    fn sets(&self, made: &Path) -> Vec<(String, BTreeMap<String, PathBuf>)> {
        let Some(facts) = &self.data.facts else {
            let folder = |(language, folder): (&Language, &JsonlFolder)| {
                (language.to_string(), folder.to_path_buf())
            };
            return vec![(PRECISION.to_owned(), self.data.test.iter().map(folder).collect())];
        };
        let of = |split: &str| {
            let folder = |code: &Language| (code.to_string(), made.join(split).join(code.as_str()));
            (format!("{PRECISION} {split}"), facts.languages.iter().map(folder).collect())
        };
        SPLITS.map(of).into()
    }
}

impl SuiteTask for Facts {
    fn is_given(&self) -> bool {
        !self.data.test.is_empty() || self.data.facts.is_some()
    }

    fn validate(&self) -> Result<()> {
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        if let Some(facts) = &self.data.facts {
            ensure!(self.data.test.is_empty(), "data.test: not with data.facts");
            return facts.validate().context("data.facts");
        }
        for folder in self.data.test.values() {
            folder.required("data.test.*", "a folder of mLAMA")?;
        }
        Ok(())
    }

    fn check(&self, model: &Pretrained) -> Result<()> {
        let length = usize::try_from(model.model.config().max_length())?;
        self.data.test.values().try_for_each(|folder| {
            build_typed_clozes(&read_mlama(folder)?, &model.tokenizer, length)
                .with_context(|| folder.display().to_string())
                .map(drop)
        })
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        let Some(facts) = &self.data.facts else { return Ok(()) };
        let (graph, templates, split) = facts.read()?;
        for name in SPLITS {
            let (heads, languages) = (split.get(name)?, &facts.languages);
            let report = write_clozes(&graph, &templates, heads, languages, folder.join(name))?;
            let (asked, out) = (report.facts, report.without_words);
            experiment::log(format!(
                "facts of split {name}: {asked} asked in each language, {out} without words"
            ));
        }
        Ok(())
    }

    fn head(&self) -> Head {
        Head::MaskedLm
    }

    fn train(&self, _: &Cell<Recipe>) -> Result<Trained> {
        Ok(Trained::default())
    }

    fn test(&self, cell: &Cell<Recipe>) -> Result<Tested> {
        let model = start(cell, self.head())?;
        let length = usize::try_from(model.model.config().max_length())?;
        let (mut tested, mut items) = (Tested::default(), Items::new());
        for (metric, folders) in self.sets(&made(cell, NAME)) {
            for (language, folder) in folders {
                let facts = read_mlama(&folder)?;
                let clozes = build_typed_clozes(&facts, &model.tokenizer, length)
                    .with_context(|| folder.display().to_string())?;
                let ranks = rank_typed(&model.model, &clozes, self.evaluation_batch_size)?;
                let of = |metric: &str| metric.to_owned();
                let score = clozes.score(&ranks)?.macro_average.p_at_1;
                tested.metrics.entry(of(&metric)).or_default().insert(language.clone(), score);
                let guess = format!("{metric}, guessing");
                tested
                    .metrics
                    .entry(guess)
                    .or_default()
                    .insert(language.clone(), clozes.guessing());
                let right = ranks.iter().map(|&rank| if rank == 1 { 100.0 } else { 0.0 });
                items.entry(language).or_default().extend(right);
            }
        }
        write_items(cell, &items)?;
        Ok(tested)
    }
}
