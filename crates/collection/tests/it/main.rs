//! Integration tests.
#![allow(clippy::unwrap_used)] // tests

mod bad_input;
mod kill;
mod memory;
mod readers;
mod vectors;
mod words;

use std::path::Path;

use collection::{Collection, Document, Snapshot, Writer};

fn document(id: &str, text: &str) -> Document {
    Document { id: id.into(), text: text.into(), passages: Vec::new() }
}

/// Creates a collection of documents with one passage each.
fn create(folder: &Path, documents: &[(&str, &str)]) -> Writer {
    let mut writer = Writer::create(folder).unwrap();
    for (id, text) in documents {
        writer.add(&document(id, text)).unwrap();
    }
    writer.commit().unwrap();
    writer
}

fn snapshot(folder: &Path) -> std::sync::Arc<Snapshot> {
    Collection::open(folder).unwrap().snapshot().unwrap()
}

/// Returns the ids of the selected passages' documents.
fn select(snapshot: &Snapshot, question: &str, limit: usize) -> Vec<String> {
    let hits = snapshot.select(&question.into(), limit).unwrap();
    hits.iter().map(|hit| hit.passage.document.to_string()).collect()
}

/// Returns ids and texts of all documents.
fn documents(snapshot: &Snapshot) -> Vec<(String, String)> {
    let documents = snapshot.documents().unwrap();
    documents
        .map(|one| one.unwrap())
        .map(|one| (one.id.to_string(), one.text.to_string()))
        .collect()
}
