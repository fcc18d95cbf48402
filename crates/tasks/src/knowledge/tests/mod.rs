//! Tests of XLM-K's tasks, data and probes.
mod prepared;
mod probe;
mod task;

use std::path::Path;

use kg_triples::jsonl::JsonlWriter;
use serde::Serialize;
use serde_json::{Value, json};
use shards::{Preparation, PreparedFolder};
use transfer_eval::retrieval::{
    CandidateConfig, CandidateList, Description, GoldLanguage, ListedQuery,
};

/// Creates a candidate list. Each of `candidates` has an entity and the language of its
/// description. Each of `queries` has the language of a mention and the index of the correct
/// candidate.
pub(super) fn candidate_list(
    candidates: &[(&str, &str)],
    queries: &[(&str, usize)],
) -> CandidateList {
    let candidate = |&(entity, language): &(&str, &str)| Description {
        entity: entity.into(),
        language: language.into(),
    };
    let query = |(number, &(language, gold)): (usize, &(&str, usize))| ListedQuery {
        id: number.to_string(),
        entity: candidates[gold].0.into(),
        language: language.into(),
        gold,
    };
    let size = candidates.len();
    CandidateList {
        config: CandidateConfig { size, gold_language: GoldLanguage::Any, seed: 0 },
        candidates: candidates.iter().map(candidate).collect(),
        queries: queries.iter().enumerate().map(query).collect(),
        skipped: Vec::new(),
    }
}

/// Converts rows to JSON.
fn to_json<T: Serialize>(rows: &[T]) -> Vec<Value> {
    rows.iter().map(|row| json!(row)).collect()
}

/// Writes a prepared folder `out` with these files.
fn prepare(out: &Path, files: &[(&str, Vec<Value>)]) {
    let folder = PreparedFolder::start(out).unwrap();
    for (name, rows) in files {
        let path = folder.file(format!("{name}.jsonl.gz")).unwrap();
        let mut writer = JsonlWriter::create(path).unwrap();
        rows.iter().for_each(|row| writer.write(row).unwrap());
        writer.finish().unwrap();
    }
    let preparation = Preparation {
        program: "test",
        arguments: Vec::new(),
        inputs: Vec::new(),
        seed: None,
        counts: Value::Null,
    };
    folder.finish(preparation).unwrap();
}
