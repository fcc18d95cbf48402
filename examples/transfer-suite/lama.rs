//! Completion of facts by pre-trained models: LAMA's English facts with objects of one token
//! (XLM-K, section 4.4, Table 5), and facts in several languages as in mLAMA, where the objects of
//! a relation are ranked.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use experiment::{InputPath, JsonlFolder};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::cloze_ranking::{rank_clozes, rank_typed};
use transfer_eval::lama::{
    ClozeConfig, CommonVocabulary, Corpus, build_clozes, build_typed_clozes, read_corpus,
    read_mlama, score_lama,
};
use xlmr_model::{Head, Pretrained};

use crate::benchmark::{Benchmark, BenchmarkInfo, Scorer, Split, TestResults, check_length};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lama {
    /// Inputs per evaluation batch.
    pub evaluation_batch_size: usize,
    pub data: LamaData,
    pub clozes: ClozeConfig,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LamaData {
    /// LAMA's folder `data`, with `relations.jsonl` and a folder for each part.
    pub test: InputPath,
    /// Folders of LAMA's parts, set by [`Lama::find_parts`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, JsonlFolder>,
    /// File with the words that may be predicted, one per line; not set: the whole vocabulary.
    pub vocabulary: InputPath,
}

/// LAMA's parts and their folders.
const CORPORA: [(Corpus, &str); 4] = [
    (Corpus::GoogleRe, "Google_RE"),
    (Corpus::TRex, "TREx"),
    (Corpus::ConceptNet, "ConceptNet"),
    (Corpus::Squad, "Squad"),
];

impl Lama {
    /// Sets `parts` to the existing folders of LAMA's parts, so that the run records their files as
    /// inputs.
    pub fn find_parts(&mut self) {
        for (_, name) in CORPORA {
            let folder = self.data.test.join(name);
            if self.data.test.is_set() && folder.is_dir() {
                self.data.parts.insert(name.to_owned(), folder.into());
            }
        }
    }
}

impl Benchmark for Lama {
    fn info(&self) -> BenchmarkInfo<'_> {
        let (has_data, batch_size) = (self.data.test.is_set(), self.evaluation_batch_size);
        BenchmarkInfo { name: "", has_data, batch_size, training: None }
    }

    fn validate(&self) -> Result<()> {
        let names = CORPORA.map(|(_, name)| name).join(", ");
        let folder: &Path = &self.data.test;
        let has_parts = !self.data.parts.is_empty();
        ensure!(has_parts, "data.test = {folder:?}: contains none of the folders {names}");
        Ok(())
    }

    fn head(&self) -> Head {
        Head::MaskedLm
    }

    fn scorer<'a>(&'a self, _: Split, model: &'a Pretrained) -> Result<Scorer<'a>> {
        check_length("clozes.max_length", self.clozes.max_length, model)?;
        let path = &self.data.vocabulary;
        let vocabulary = path.is_set().then(|| CommonVocabulary::read(path)).transpose()?;
        let candidates = vocabulary.as_ref().map(|words| words.candidates(&model.tokenizer));
        let candidates = candidates.transpose()?;
        let mut parts = Vec::new();
        for (corpus, name) in CORPORA {
            if !self.data.parts.contains_key(name) {
                continue;
            }
            let corpus_relations = read_corpus(&self.data.test, corpus)?;
            let (relations, facts): (Vec<_>, Vec<_>) = corpus_relations
                .into_iter()
                .map(|(relation, facts)| (relation, facts.facts))
                .unzip();
            let vocabulary = vocabulary.as_ref();
            let clozes = build_clozes(&facts.concat(), &model.tokenizer, vocabulary, &self.clozes);
            parts.push((corpus, relations, clozes.with_context(|| corpus.name())?.clozes));
        }
        let score = move |_: Option<&Path>| {
            let mut results = TestResults::default();
            let mut totals = Vec::new();
            for (corpus, relations, clozes) in &parts {
                let size = self.evaluation_batch_size;
                let ranks = rank_clozes(&model.model, clozes, candidates.as_ref(), size)?;
                for row in score_lama(relations, clozes, &ranks)?.measured("", *corpus) {
                    if row.setting.ends_with(" Total") {
                        totals.push(row.value);
                    }
                    results.parts.insert(row.setting, row.value);
                }
            }
            results.add("p@1", "en", totals.iter().sum::<f64>() / totals.len().max(1) as f64);
            Ok(results)
        };
        Ok(Scorer { languages: vec!["en".to_owned()], score: Box::new(score) })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Inputs per evaluation batch.
    pub evaluation_batch_size: usize,
    pub data: FactsData,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactsData {
    /// Name of the data set in tables.
    pub name: String,
    /// Folders of mLAMA by language, such as `test.de = "mlama1.1/de"`.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub test: BTreeMap<Language, JsonlFolder>,
    /// Folders with facts that a model may have been trained on. Results on them are reported in
    /// addition to results on `test`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "language::plausible::keys")]
    pub seen: BTreeMap<Language, JsonlFolder>,
}

/// Metric suffix of the baseline that predicts a random object of the relation.
const RANDOM_SUFFIX: &str = ", random";
/// Metric suffix of the baseline that predicts the object that occurs in most facts of the relation
/// in `seen`.
const FREQUENT_SUFFIX: &str = ", most frequent";

/// Suffixes of the baseline metrics, and the titles of their rows.
pub const BASELINE_ROWS: [(&str, &str); 2] = [
    (RANDOM_SUFFIX, "Baseline: random object of the relation"),
    (FREQUENT_SUFFIX, "Baseline: most frequent object of the relation"),
];

/// Name of the metric of the facts in `seen`.
const SEEN_METRIC: &str = "p@1 train";

impl Facts {
    /// Returns the metric name and the folders by language of each set of facts: the facts in
    /// `seen`, if any, and the test facts.
    fn sets(&self) -> Vec<(&str, &BTreeMap<Language, JsonlFolder>)> {
        let FactsData { test, seen, .. } = &self.data;
        match seen.is_empty() {
            true => vec![("p@1", test)],
            false => vec![(SEEN_METRIC, seen), ("p@1 test", test)],
        }
    }
}

impl Benchmark for Facts {
    fn info(&self) -> BenchmarkInfo<'_> {
        let (has_data, batch_size) = (!self.data.test.is_empty(), self.evaluation_batch_size);
        BenchmarkInfo { name: &self.data.name, has_data, batch_size, training: None }
    }

    fn validate(&self) -> Result<()> {
        for folder in self.sets().into_iter().flat_map(|(_, folders)| folders.values()) {
            folder.required("data.test.*", "a folder of mLAMA")?;
        }
        Ok(())
    }

    fn head(&self) -> Head {
        Head::MaskedLm
    }

    fn scorer<'a>(&'a self, _: Split, model: &'a Pretrained) -> Result<Scorer<'a>> {
        let length = usize::try_from(model.model.config().max_length())?;
        let mut sets = Vec::new();
        for (metric, folders) in self.sets() {
            for (language, folder) in folders {
                let clozes = build_typed_clozes(&read_mlama(folder)?, &model.tokenizer, length)
                    .with_context(|| folder.display().to_string())?;
                sets.push((metric, language, clozes));
            }
        }
        let score = move |_: Option<&Path>| {
            let mut results = TestResults::default();
            for (metric, language, clozes) in &sets {
                let ranks = rank_typed(&model.model, clozes, self.evaluation_batch_size)?;
                results.add(metric, language, clozes.score(&ranks)?.macro_average.p_at_1);
                let random_score = clozes.random_baseline();
                results.add(&format!("{metric}{RANDOM_SUFFIX}"), language, random_score);
                let seen = sets.iter().find(|(metric, seen_language, _)| {
                    *metric == SEEN_METRIC && seen_language == language
                });
                if let Some((_, _, seen)) = seen {
                    let percent = clozes.frequency_baseline(seen);
                    results.add(&format!("{metric}{FREQUENT_SUFFIX}"), language, percent);
                }
            }
            Ok(results)
        };
        let languages = self.data.test.keys().map(Language::to_string).collect();
        Ok(Scorer { languages, score: Box::new(score) })
    }
}
