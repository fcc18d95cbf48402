//! Which files of the embedded data folders are read.
use experiment::InputFiles;

/// Pages of entities by language.
pub enum EntityPages {}

impl InputFiles for EntityPages {
    const EXPECTED: &'static str = "entities.<lang>.jsonl[.gz]";

    fn reads(name: &str) -> bool {
        name.starts_with("entities.")
    }
}

/// Parallel sentences by language, and the Vietnamese treebank's.
pub enum Sentences {}

impl InputFiles for Sentences {
    const EXPECTED: &'static str = "<lang>.tsv";

    fn reads(name: &str) -> bool {
        name.ends_with(".tsv") || name.starts_with("vi-vtb.")
    }
}

/// XQuAD's question files.
pub enum XquadFiles {}

impl InputFiles for XquadFiles {
    const EXPECTED: &'static str = "xquad.<lang>.json";

    fn reads(name: &str) -> bool {
        name.starts_with("xquad.")
    }
}
