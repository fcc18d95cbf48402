//! A small graph for the tests.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::questions::build::build_questions;
use crate::questions::item::{QuestionConfig, QuestionSet};
use crate::questions::template::TemplateSet;
use kg_triples::{GraphBuilder, KnowledgeGraph, LabelKind};

pub const TRIPLES: &[[&str; 3]] = &[
    ["Q183", "P36", "Q64"],
    ["Q142", "P36", "Q90"],
    ["Q148", "P36", "Q956"],
    ["Q183", "P37", "Q188"],
    ["Q142", "P37", "Q150"],
    ["Q148", "P37", "Q7850"],
];

/// id, English, German, Chinese
pub const LABELS: &[[&str; 4]] = &[
    ["Q183", "Germany", "Deutschland", "德国"],
    ["Q142", "France", "Frankreich", "法国"],
    ["Q148", "China", "Volksrepublik China", "中国"],
    ["Q64", "Berlin", "Berlin", "伯林"],
    ["Q90", "Paris", "Paris", "巴黎"],
    ["Q956", "Beijing", "Peking", "北京"],
    ["Q188", "German", "Deutsch", "德语"],
    ["Q150", "French", "Französisch", "法语"],
    ["Q7850", "Chinese", "Chinesisch", "中文"],
    ["P36", "capital", "Hauptstadt", "首都"],
    ["P37", "official language", "Amtssprache", "官方语言"],
];

/// Three countries with capital and official language, labelled in en, de and zh.
pub fn countries() -> KnowledgeGraph {
    let mut builder = GraphBuilder::default();
    for [head, relation, tail] in TRIPLES {
        builder.add_triple(head, relation, tail).unwrap();
    }
    for [id, en, de, zh] in LABELS {
        let kind = if id.starts_with('P') { LabelKind::Relation } else { LabelKind::Entity };
        for (language, label) in [("en", en), ("de", de), ("zh", zh)] {
            builder.add_label(id, language, label, kind).unwrap();
        }
    }
    builder.build()
}

/// The label that [`countries`] has.
pub fn label(id: &str, language: &str) -> &'static str {
    let row = LABELS.iter().find(|row| row[0] == id).unwrap();
    row[1 + ["en", "de", "zh"].iter().position(|known| *known == language).unwrap()]
}

/// A file of the embedded data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

pub fn heads(graph: &KnowledgeGraph) -> BTreeSet<String> {
    graph.triples().map(|triple| triple.head.to_owned()).collect()
}

/// The items of the split `test` in the language of the contexts alone.
pub fn one_set(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    heads: &BTreeSet<String>,
    config: &QuestionConfig,
) -> Result<QuestionSet, kg_triples::Error> {
    let contexts = [config.context_language];
    Ok(build_questions(graph, templates, "test", heads, config, &contexts)?.remove(0))
}
