//! Tests of XLM-K's tasks, data and probes.
mod prepared;
mod probe;
mod task;

use std::path::Path;

use kg_triples::jsonl::JsonlWriter;
use serde::Serialize;
use serde_json::{Value, json};
use shards::{Preparation, PreparedFolder};

/// Converts rows to JSON.
fn rows<T: Serialize>(rows: &[T]) -> Vec<Value> {
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
    let about = Preparation { program: "test", seed: None, counts: Value::Null };
    folder.finish(about).unwrap();
}
