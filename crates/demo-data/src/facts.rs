//! Options of the commands that express a graph's facts with sentence templates.
use std::path::PathBuf;

use anyhow::Result;
use kg_triples::{KnowledgeGraph, Language, check_unique_languages};

use crate::questions::template::TemplateSet;
use crate::split::{EntitySplit, SplitIds};

/// The default languages: the languages of MLQA.
pub(crate) const LANGUAGES: &str = "en,de,es,ar,hi,vi,zh";

/// A knowledge graph with sentence templates in several languages.
#[derive(Clone, Debug, clap::Args)]
pub struct FactSource {
    /// Folder of the knowledge graph, with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    pub kg: PathBuf,
    /// File of sentence templates for the graph's relations, with the columns relation_id, lang,
    /// kind (statement or question) and template
    #[arg(long, value_name = "FILE")]
    pub templates: PathBuf,
    /// Languages of the output; the first one is the training language
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', default_value = LANGUAGES, value_parser = Language::registered)]
    pub languages: Vec<Language>,
    /// Options for splitting the head entities.
    #[command(flatten)]
    pub split: EntitySplit,
}

impl FactSource {
    /// Reads the graph, its templates, and the head entities of each split.
    ///
    /// # Errors
    /// If a file cannot be read or an option has an invalid value. The error names the file or
    /// option.
    pub fn read(&self) -> Result<(KnowledgeGraph, TemplateSet, SplitIds)> {
        check_unique_languages("languages", &self.languages)?;
        let graph = KnowledgeGraph::read_dir(&self.kg)?;
        let split = self.split.split_heads(&graph)?;
        Ok((graph, TemplateSet::read(&self.templates)?, split))
    }
}
