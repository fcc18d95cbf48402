//! Facts of a graph as sentences in several languages, from templates.
use anyhow::{Result, ensure};
use experiment::{InputPath, TsvFolder};
use kg_triples::KnowledgeGraph;
use kg_triples::questions::{EntitySplit, SplitHeads, TemplateSet};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

/// Facts that can be said in several languages.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactSource {
    /// A folder with `triples.tsv` and `labels.tsv`.
    pub kg: TsvFolder,
    /// Statements for its relations in each language.
    pub templates: InputPath,
    /// The language that is trained on, then those that are tested too.
    pub languages: Vec<Language>,
    /// Head entities by split.
    pub split: EntitySplit,
}

impl FactSource {
    /// Checks that files are given and fit.
    pub fn validate(&self) -> Result<()> {
        self.kg.required("kg", "a folder with triples.tsv and labels.tsv")?;
        self.templates.required("templates", "sentence templates")?;
        ensure!(!self.languages.is_empty(), "languages = []: give at least one");
        self.read().map(drop)
    }

    /// The language that is trained on.
    pub fn first(&self) -> Language {
        self.languages.first().copied().unwrap_or(Language::EN)
    }

    /// The graph, its statements, and the head entities of each split.
    pub fn read(&self) -> Result<(KnowledgeGraph, TemplateSet, SplitHeads)> {
        let graph = KnowledgeGraph::read_dir(&self.kg)?;
        let split = self.split.divide(&graph)?;
        Ok((graph, TemplateSet::read(&self.templates)?, split))
    }
}
