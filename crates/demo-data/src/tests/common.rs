//! Helpers of the tests: graphs, paths and question sets.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::questions::build::build_questions;
use crate::questions::item::{QuestionConfig, QuestionSet};
use crate::questions::template::TemplateSet;
use kg_triples::KnowledgeGraph;

/// Returns a graph of three countries with their capitals and official languages, labelled in
/// English, German and Chinese.
pub fn countries() -> KnowledgeGraph {
    KnowledgeGraph::read_dir(testkit::fixture("countries")).unwrap()
}

/// Returns the path of a file in `data/`.
pub fn data_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

pub fn heads(graph: &KnowledgeGraph) -> BTreeSet<String> {
    graph.triples().map(|triple| triple.head.to_owned()).collect()
}

/// Returns the items of the split `test` with contexts in `config.context_language`.
pub fn test_set(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    heads: &BTreeSet<String>,
    config: &QuestionConfig,
) -> Result<QuestionSet, kg_triples::Error> {
    let context_languages = [config.context_language];
    Ok(build_questions(graph, templates, "test", heads, config, &context_languages)?.remove(0))
}
