//! Collections in memory.
use collection::{Document, Encoder, MemoryWriter, Writer};

use crate::{document, documents, snapshot};

/// A document with three pages, of which each is a passage.
fn pages(id: &str) -> Document {
    let text =
        format!("\u{feff}Écrit à Lima, {id}.\u{c}\n\n東京は首都。\u{c}\n\nThe end of Quito.\u{c}");
    let page = |word: &str| {
        let start = text.find(word).unwrap();
        start..start + text[start..].find('\u{c}').unwrap()
    };
    let passages = ["Écrit", "東京", "The end"].map(page).to_vec();
    Document { id: id.into(), text: text.into(), passages }
}

#[test]
fn a_collection_in_memory_equals_one_in_a_folder() {
    let all = [
        pages("a"),
        document("b", "Lima and Quito are in the Andes."),
        document("c", ""),
        pages("d"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path()).unwrap();
    let mut memory_writer = MemoryWriter::new().unwrap();
    for document in &all {
        writer.add(document).unwrap();
        memory_writer.add(document).unwrap();
    }
    writer.finish().unwrap();
    let (expected, actual) = (snapshot(folder.path()), memory_writer.finish().unwrap());
    assert_eq!((actual.document_count(), actual.passage_count()), (4, 8));
    assert_eq!(documents(&actual), documents(&expected));
    for question in ["Lima", "首都", "the end of a", "nothing"] {
        let query = question.into();
        let hits = actual.select(&query, 9).unwrap();
        assert_eq!(hits, expected.select(&query, 9).unwrap(), "{question}");
        // All scores, in the order of the passages.
        let mut of_hits: Vec<(u64, f32)> =
            hits.iter().map(|hit| (hit.passage.number, hit.words.unwrap())).collect();
        of_hits.sort_by_key(|&(number, _)| number);
        assert_eq!(actual.word_scores(&query).unwrap(), of_hits, "{question}");
        assert_eq!(expected.word_scores(&query).unwrap(), of_hits, "{question}");
    }
    let page = |number| actual.passage(number).unwrap().unwrap().page;
    let expected_pages = [Some(1), Some(2), Some(3), None, None, Some(1), Some(2), Some(3)];
    assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(page), expected_pages);
}

#[test]
fn an_empty_collection_in_memory_has_no_passages() {
    let snapshot = MemoryWriter::new().unwrap().finish().unwrap();
    assert_eq!((snapshot.document_count(), snapshot.passage_count()), (0, 0));
    let error = snapshot.select(&"Lima".into(), 9).unwrap_err().to_string();
    assert_eq!(error, "documents in memory: the collection has no documents; add documents first");
}

#[test]
fn invalid_documents_and_vectors_are_errors() {
    let mut writer = MemoryWriter::new().unwrap();
    writer.add(&document("a", "Lima")).unwrap();
    let error = writer.add(&document("a", "Quito")).unwrap_err().to_string();
    assert_eq!(error, "document \"a\": the id occurs twice; expected each id once");
    writer.add(&document("", "Quito")).unwrap_err();
    writer.add(&document("b", "Quito")).unwrap();
    let build = |rows: &[(u64, Vec<f32>)]| {
        let mut writer = MemoryWriter::new().unwrap();
        for id in ["a", "b", "c"] {
            writer.add(&document(id, "Lima")).unwrap();
        }
        let encoder = Encoder { options: String::new(), probe: vec![1.0, 0.0] };
        writer.finish().unwrap().with_vectors(encoder, rows)
    };
    for rows in [
        vec![(1, vec![1.0, 0.0]), (0, vec![1.0, 0.0])],
        vec![(1, vec![1.0, 0.0]), (1, vec![1.0, 0.0])],
        vec![(3, vec![1.0, 0.0])],
        vec![(0, vec![1.0])],
        vec![(0, vec![1.0, 1.0])],
    ] {
        assert!(build(&rows).is_err(), "{rows:?}");
    }
    let snapshot = build(&[(0, vec![0.6, 0.8]), (2, vec![1.0, 0.0])]).unwrap();
    assert_eq!(snapshot.vector_scores(&[0.0, 1.0]).unwrap(), [(0, 0.8), (2, 0.0)]);
    assert_eq!(snapshot.passages_without_vectors().unwrap(), [1]);
    let hits = snapshot.select_hybrid(&"?".into(), &[0.0, 1.0], 9, &|_| false).unwrap();
    let found: Vec<(u64, Option<f32>)> =
        hits.iter().map(|hit| (hit.passage.number, hit.cosine)).collect();
    assert_eq!(found, [(0, Some(0.8)), (2, Some(0.0))]);
    assert!(snapshot.vector_scores(&[1.0]).is_err());
    assert!(build(&[]).unwrap().vector_scores(&[1.0, 0.0]).unwrap().is_empty());
    let without = MemoryWriter::new().unwrap().finish().unwrap();
    assert!(without.vector_scores(&[1.0, 0.0]).is_err());
}
