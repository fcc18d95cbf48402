//! Facts of a graph that templates express as sentences in several languages.
use std::path::PathBuf;

use anyhow::Result;
use kg_triples::{KnowledgeGraph, Language, check_unique_languages};

use crate::questions::template::TemplateSet;
use crate::split::{EntitySplit, SplitIds};

/// The languages of the demo.
pub(crate) const LANGUAGES: &str = "en,de,es,ar,hi,vi,zh";

/// The source of facts that templates express in several languages.
#[derive(Clone, Debug, clap::Args)]
pub struct Facts {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    pub kg: PathBuf,
    /// Sentences for its relations: relation_id, lang, kind (statement or question), template
    #[arg(long, value_name = "FILE")]
    pub templates: PathBuf,
    /// The language that is trained on, then the others
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', default_value = LANGUAGES)]
    pub languages: Vec<Language>,
    /// Head entities by split.
    #[command(flatten)]
    pub split: EntitySplit,
}

impl Facts {
    /// Reads the graph, its templates, and the head entities of each split.
    ///
    /// # Errors
    /// Naming an unreadable file or an invalid value.
    pub fn read(&self) -> Result<(KnowledgeGraph, TemplateSet, SplitIds)> {
        check_unique_languages("languages", &self.languages)?;
        let graph = KnowledgeGraph::read_dir(&self.kg)?;
        let split = self.split.divide(&graph)?;
        Ok((graph, TemplateSet::read(&self.templates)?, split))
    }
}
