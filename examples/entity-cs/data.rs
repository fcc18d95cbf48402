//! Linked English text, switched to other languages.
use std::collections::BTreeMap;

use anyhow::Result;
use kg_triples::Language;
use kg_triples::entity_linking::{LabelConfig, LabelMatcher, LinkedText, PageText};
use kg_triples::jsonl::JsonlReader;
use kg_triples::phrases::PhrasePassage;
use kg_triples::switch::{EntityLabels, SwitchedCorpus};

use crate::recipe::{Recipe, SourceText};

/// What a run trains on and asks for.
pub struct Input {
    pub corpus: SwitchedCorpus,
    pub labels: EntityLabels,
    source: Language,
}

impl Input {
    /// Reads texts and labels, and switches.
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let (data, switch) = (&recipe.data, &recipe.switch);
        let mut wanted = switch.languages.clone();
        wanted.push(switch.source);
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
        Ok(Self { corpus, labels, source: switch.source })
    }

    /// The sentences of an arm, by language.
    pub fn passages(&self, text: SourceText) -> BTreeMap<Language, &[PhrasePassage]> {
        let mut passages = BTreeMap::from([(self.source, self.corpus.source.as_slice())]);
        if text == SourceText::Switched {
            let switched = self.corpus.switched.iter();
            passages.extend(switched.map(|(language, all)| (*language, all.as_slice())));
        }
        passages
    }
}
