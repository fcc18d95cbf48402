//! Linked English text, switched to other languages: in memory, or from files.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use examples::corpus::plain_passages;
use experiment::Experiment;
use kg_triples::Language;
use kg_triples::entity_linking::{LabelConfig, LabelMatcher, LinkedText, PageText};
use kg_triples::jsonl::JsonlReader;
use kg_triples::phrases::PhrasePassage;
use kg_triples::switch::{EntityLabels, SwitchedCorpus};
use tasks::masked_lm::{LinkedTextFiles, SwitchedSentences};

use crate::recipe::Recipe;

/// What a run trains on and asks for.
pub struct Input {
    pub sentences: SwitchedSentences,
    pub asked: Option<Asked>,
    /// Sentences as people write them, by language.
    pub plain: BTreeMap<Language, Vec<PhrasePassage>>,
}

/// Entities whose labels are asked for.
pub struct Asked {
    pub labels: EntityLabels,
    /// Those that were switched, by language.
    pub switched: BTreeMap<Language, BTreeSet<String>>,
    /// Those that the texts mention and that never were.
    pub held_out: BTreeSet<String>,
}

impl Input {
    /// Opens the files of `data.switched`, or reads texts and labels, and switches.
    pub fn read(experiment: &Experiment<Recipe>) -> Result<Self> {
        let recipe = &experiment.recipe;
        let (data, switch) = (&recipe.data, &recipe.switch);
        let mut wanted = switch.languages.clone();
        wanted.push(switch.source);
        let plain = plain_passages(&data.sentences, &wanted)?;
        if data.switched.is_set() {
            let files = LinkedTextFiles::open(&data.switched, &recipe.shuffle, recipe.validation)?;
            experiment.log(format!("streams sentences: {:?}", files.texts()));
            return Ok(Self { sentences: SwitchedSentences::Streamed(files), asked: None, plain });
        }
        let labels = match data.labels.is_set() {
            true => EntityLabels::read(&data.labels, Some(&wanted))?,
            false => EntityLabels::read_pages(&data.pages, Some(&wanted))?,
        };
        let held_out = labels.draw(data.held_out, data.held_out_seed);
        let corpus = if data.texts.is_set() {
            let texts = JsonlReader::<LinkedText>::open(&data.texts)?;
            SwitchedCorpus::of(texts, &labels, &held_out, switch)?
        } else {
            let (text, config) = (PageText::Extract, LabelConfig::default());
            let texts = LabelMatcher::link_pages(&data.pages, switch.source, text, config)?;
            SwitchedCorpus::of(texts.into_iter().map(Ok), &labels, &held_out, switch)?
        };
        experiment.log(&corpus);
        let (switched, held_out) = (corpus.seen.clone(), corpus.held_out.clone());
        let sentences = SwitchedSentences::held(corpus, recipe.validation);
        Ok(Self { sentences, asked: Some(Asked { labels, switched, held_out }), plain })
    }
}
