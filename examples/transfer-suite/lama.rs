//! LAMA: how often the pre-trained model completes an English fact in a single piece (XLM-K,
//! section 4.4, Table 5). Nothing is trained.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use experiment::{InputPath, JsonlFolder, Trial};
use serde::{Deserialize, Serialize};
use tasks::cloze_ranking::rank_clozes;
use transfer_eval::Ties;
use transfer_eval::lama::{
    ClozeConfig, CommonVocabulary, Corpus, Fact, Relation, build_clozes, read_corpus, score_lama,
};
use xlmr_model::{Head, Pretrained};

use crate::recipe::Recipe;
use crate::{Items, SuiteTask, Tested, Trained, check_length, start, write_items};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lama {
    /// Inputs in a batch.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub clozes: ClozeConfig,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// LAMA's folder `data`, with `relations.jsonl` and a folder for each part.
    pub test: InputPath,
    /// The parts' folders; found in `test`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, JsonlFolder>,
    /// Words from which a prediction is chosen, one a line; empty: the whole vocabulary.
    pub vocabulary: InputPath,
}

/// The parts and their folders.
const FOLDERS: [(Corpus, &str); 4] = [
    (Corpus::GoogleRe, "Google_RE"),
    (Corpus::TRex, "TREx"),
    (Corpus::ConceptNet, "ConceptNet"),
    (Corpus::Squad, "Squad"),
];

impl Lama {
    /// Names the folders of the parts that are there, so that their files belong to the run.
    pub fn find_parts(&mut self) {
        for (_, name) in FOLDERS {
            let folder = self.data.test.join(name);
            if self.data.test.is_set() && folder.is_dir() {
                self.data.parts.insert(name.to_owned(), folder.into());
            }
        }
    }

    /// The relations of a part with their facts.
    fn read(&self, corpus: Corpus) -> Result<(Vec<Relation>, Vec<Fact>)> {
        let all = read_corpus(&self.data.test, corpus)?;
        let (relations, facts): (Vec<_>, Vec<_>) =
            all.into_iter().map(|(relation, facts)| (relation, facts.facts)).unzip();
        Ok((relations, facts.concat()))
    }

    fn parts(&self) -> impl Iterator<Item = Corpus> {
        let there = |(_, name): &(Corpus, &str)| self.data.parts.contains_key(*name);
        FOLDERS.into_iter().filter(there).map(|(corpus, _)| corpus)
    }
}

impl SuiteTask for Lama {
    fn is_given(&self) -> bool {
        self.data.test.is_set()
    }

    fn validate(&self) -> Result<()> {
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        let names = FOLDERS.map(|(_, name)| name).join(", ");
        let folder: &Path = &self.data.test;
        ensure!(
            !self.data.parts.is_empty(),
            "data.test = {folder:?}: it holds none of the folders {names}"
        );
        Ok(())
    }

    fn check(&self, model: &Pretrained) -> Result<()> {
        check_length("clozes.max_length", self.clozes.max_length, model)?;
        self.parts().try_for_each(|corpus| {
            build_clozes(&self.read(corpus)?.1, &model.tokenizer, None, &self.clozes)
                .with_context(|| corpus.name())
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
        let words = &self.data.vocabulary;
        let words = words.is_set().then(|| CommonVocabulary::read(words)).transpose()?;
        let candidates = words.as_ref().map(|words| words.candidates(&model.tokenizer));
        let candidates = candidates.transpose()?;
        let (mut tested, mut items) = (Tested::default(), Items::new());
        let mut total = Vec::new();
        for corpus in self.parts() {
            let (relations, facts) = self.read(corpus)?;
            let built = build_clozes(&facts, &model.tokenizer, words.as_ref(), &self.clozes)
                .with_context(|| corpus.name())?;
            let (batch, ties) = (self.evaluation_batch_size, Ties::Pessimistic);
            let ranks = rank_clozes(&model.model, &built.clozes, candidates.as_ref(), ties, batch)?;
            let score = score_lama(&relations, &built.clozes, &ranks)?;
            for row in score.measured("", corpus) {
                if row.setting.ends_with(" Total") {
                    total.push(row.value);
                }
                tested.parts.insert(row.setting, row.value);
            }
            let right = ranks.iter().map(|&rank| if rank == Some(1) { 100.0 } else { 0.0 });
            items.entry("en".to_owned()).or_default().extend(right);
        }
        write_items(trial, &items)?;
        let mean = total.iter().sum::<f64>() / total.len().max(1) as f64;
        tested.metrics.insert("p@1".to_owned(), [("en".to_owned(), mean)].into());
        Ok(tested)
    }
}
