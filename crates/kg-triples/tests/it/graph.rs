//! Tests of reading, writing and filtering graphs.

use crate::common::{countries, write};
use kg_triples::{Error, GraphBuilder, KnowledgeGraph, LabelKind};
use proptest::prelude::*;
use tempfile::tempdir;

const TRIPLES_TSV: &str = "head_id\trelation_id\ttail_id\nQ183\tP36\tQ64\n";
const LABELS_TSV: &str =
    "id\tlang\tlabel\tkind\nQ183\ten\tGermany\tentity\nP36\ten\tcapital\trelation\n";

fn read(triples: impl AsRef<[u8]>, labels: impl AsRef<[u8]>) -> Result<KnowledgeGraph, Error> {
    let dir = tempdir().unwrap();
    write(dir.path(), "triples.tsv", triples);
    write(dir.path(), "labels.tsv", labels);
    KnowledgeGraph::read_dir(dir.path())
}

/// Returns the file name, line and column of an [`Error::Row`], and a text with its expected and
/// actual value.
fn row_error(result: Result<KnowledgeGraph, Error>) -> (String, u64, &'static str, String) {
    match result {
        Err(Error::Row { path, line, column, expected, got }) => {
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            (file, line, column, format!("{expected} | {got}"))
        }
        other => panic!("expected a row error, got {other:?}"),
    }
}

#[test]
fn reads_ids_labels_and_kinds() {
    let graph = read(TRIPLES_TSV, LABELS_TSV).unwrap();
    let triples: Vec<_> = graph.triples().map(|t| (t.head, t.relation, t.tail)).collect();
    assert_eq!(triples, [("Q183", "P36", "Q64")]);
    assert_eq!(graph.label("Q183", "en"), Some("Germany"));
    assert_eq!(graph.label("P36", "en"), Some("capital"));
    assert_eq!(graph.label("Q64", "en"), None);
    assert_eq!(graph.label("Q183", "de"), None);
    assert_eq!(graph.label("Q1", "en"), None);
    assert_eq!(graph.entities().collect::<Vec<_>>(), ["Q183", "Q64"]);
    assert_eq!(graph.relations().collect::<Vec<_>>(), ["P36"]);
    assert_eq!(graph.languages(), ["en"]);
    assert_eq!((graph.len(), graph.repeated_triples()), (1, 0));
    assert_eq!(graph.triple(0).unwrap().tail, "Q64");
    assert_eq!(graph.triple(1), None);
}

#[test]
fn labels_without_kind_are_entities_and_relations_have_a_separate_file() {
    let dir = tempdir().unwrap();
    write(dir.path(), "triples.tsv", TRIPLES_TSV);
    write(dir.path(), "labels.tsv", "id\tlang\tlabel\nQ183\ten\tGermany\n");
    let without_relation_labels = KnowledgeGraph::read_dir(dir.path()).unwrap();
    assert_eq!(without_relation_labels.label("P36", "en"), None);
    write(dir.path(), "relations.tsv", "relation_id\tlang\tlabel\nP36\ten\tcapital\nP9\ten\tx\n");
    let graph = KnowledgeGraph::read_dir(dir.path()).unwrap();
    assert_eq!(graph.label("P36", "en"), Some("capital"));
    assert_eq!(graph.relations().collect::<Vec<_>>(), ["P36", "P9"]);
    assert_eq!(graph.entities().collect::<Vec<_>>(), ["Q183", "Q64"]);
}

#[test]
fn quotes_bom_crlf_and_empty_lines_are_accepted() {
    let labels = "\u{feff}id\tlang\tlabel\tkind\r\n\r\n  \r\nQ64\ten\t\"Berlin\tentity\r\n\
                  Q183\ten\tGer\"many\"\tentity\r\n";
    let graph = read(TRIPLES_TSV.replace('\n', "\r\n"), labels).unwrap();
    assert_eq!(graph.label("Q64", "en"), Some("\"Berlin"));
    assert_eq!(graph.label("Q183", "en"), Some("Ger\"many\""));
}

#[test]
fn the_order_of_lines_and_duplicate_triples_have_no_effect() {
    let lines = ["b\tr\tc\n", "a\tr\tc\n", "a\tq\tc\n", "b\tr\tc\n"];
    let header = "head_id\trelation_id\ttail_id\n";
    let forward = read(format!("{header}{}", lines.concat()), LABELS_TSV).unwrap();
    let backward: String = lines.iter().rev().copied().collect();
    assert_eq!(read(format!("{header}{backward}"), LABELS_TSV).unwrap(), forward);
    assert_eq!(
        forward.triples().map(|t| (t.head, t.relation)).collect::<Vec<_>>(),
        [("a", "q"), ("a", "r"), ("b", "r")]
    );
    assert_eq!(forward.repeated_triples(), 1);
}

#[test]
fn a_missing_folder_or_file_is_reported() {
    let dir = tempdir().unwrap();
    let missing = dir.path().join("nowhere");
    let error = KnowledgeGraph::read_dir(&missing).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == missing), "{error}");
    write(dir.path(), "triples.tsv", TRIPLES_TSV);
    let error = KnowledgeGraph::read_dir(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("labels.tsv")), "{error}");
}

#[test]
fn a_wrong_header_is_reported_with_the_expected_one() {
    for text in ["", "Q183\tP36\tQ64\n", "head_id\trelation_id\n"] {
        let error = read(text, LABELS_TSV).unwrap_err();
        assert!(matches!(error, Error::Header { line: 1, .. }), "{error}");
        assert!(error.to_string().contains(r"head_id\trelation_id\ttail_id"), "{error}");
    }
    let error = read(TRIPLES_TSV, "id\tlabel\tlang\n").unwrap_err().to_string();
    assert!(
        error.contains(r"id\tlang\tlabel\tkind") && error.contains(r"id\tlabel\tlang"),
        "{error}"
    );
}

#[test]
fn wrong_cells_are_reported_with_line_and_column() {
    let (file, line, column, text) =
        row_error(read(format!("{TRIPLES_TSV}\nQ1\tP1\n"), LABELS_TSV));
    assert_eq!((file.as_str(), line, column), ("triples.tsv", 4, "columns"));
    assert_eq!(text, "3 (head_id, relation_id, tail_id) | 2");

    let (file, line, column, _) = row_error(read(format!("{TRIPLES_TSV}Q1\t\tQ2\n"), LABELS_TSV));
    assert_eq!((file.as_str(), line, column), ("triples.tsv", 3, "relation_id"));

    let invalid_utf8 = [TRIPLES_TSV.as_bytes(), b"Q1\tP1\tQ\xff2\n"].concat();
    let (_, line, column, text) = row_error(read(invalid_utf8, LABELS_TSV));
    assert_eq!((line, column), (3, "tail_id"));
    assert!(text.starts_with("valid UTF-8"), "{text}");

    for (cells, column) in [
        ("\ten\tGermany\tentity", "id"),
        ("Q1\t\tGermany\tentity", "language"),
        ("Q1\tGermany (country)\ten\tentity", "language"),
        ("Q1\ten\t \tentity", "label"),
        ("Q1\ten\tGermany\tentities", "kind"),
    ] {
        let (file, line, actual, text) =
            row_error(read(TRIPLES_TSV, format!("{LABELS_TSV}{cells}\n")));
        assert_eq!((file.as_str(), line, actual), ("labels.tsv", 4, column), "{text}");
    }
}

#[test]
fn a_second_label_is_an_error_unless_it_is_equal() {
    let (_, line, column, text) =
        row_error(read(TRIPLES_TSV, format!("{LABELS_TSV}Q183\ten\tDeutschland\tentity\n")));
    assert_eq!((line, column), (4, "label"));
    assert!(text.contains("Germany") && text.contains("Deutschland"), "{text}");
    let graph = read(TRIPLES_TSV, format!("{LABELS_TSV}Q183\ten\tGermany\trelation\n")).unwrap();
    assert_eq!(graph.relations().collect::<Vec<_>>(), ["P36", "Q183"]);
}

#[test]
fn filter_retains_only_the_labels_of_its_triples() {
    let graph = countries();
    let capitals = graph.filter(|triple| triple.relation == "P36");
    assert_eq!(capitals.len(), 3);
    assert_eq!(capitals.relations().collect::<Vec<_>>(), ["P36"]);
    assert_eq!(
        capitals.entities().collect::<Vec<_>>(),
        ["Q142", "Q148", "Q183", "Q64", "Q90", "Q956"]
    );
    assert_eq!(capitals.label("Q956", "zh"), Some("北京"));
    assert_eq!(capitals.label("Q188", "de"), None);
    assert!(graph.filter(|_| false).is_empty());
    assert_eq!(graph.filter(|_| true), graph);
}

#[test]
fn labels_that_cannot_be_stored_are_rejected() {
    let mut builder = GraphBuilder::default();
    assert!(matches!(
        builder.add_triple("a\tb", "r", "c"),
        Err(Error::Value { field: "head_id", .. })
    ));
    assert!(matches!(
        builder.add_label("a", "en", "two\nlines", LabelKind::Entity),
        Err(Error::Value { field: "label", .. })
    ));
}

#[test]
fn a_failed_write_leaves_no_file() {
    let dir = tempdir().unwrap();
    // Writing fails, because labels.tsv is a folder and cannot be replaced.
    std::fs::create_dir(dir.path().join("labels.tsv")).unwrap();
    assert!(matches!(countries().write_dir(dir.path()), Err(Error::Io { .. })));
    let entries: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
}

fn text() -> impl Strategy<Value = String> {
    "[\\PC&&[^\\t\\n\\r]]{1,12}".prop_filter("not blank", |text| !text.trim().is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_written_folder_is_read_as_an_equal_graph(
        triples in prop::collection::btree_set((text(), text(), text()), 0..12),
        labels in prop::collection::btree_map((text(), "[a-z]{2,3}"), (text(), any::<bool>()), 0..20),
    ) {
        let mut builder = GraphBuilder::default();
        for (head, relation, tail) in &triples {
            builder.add_triple(head, relation, tail).unwrap();
        }
        for ((id, language), (label, is_entity)) in &labels {
            let kind = if *is_entity { LabelKind::Entity } else { LabelKind::Relation };
            builder.add_label(id, language, label, kind).unwrap();
        }
        let graph = builder.build();
        prop_assert_eq!(graph.len(), triples.len());
        let dir = tempdir().unwrap();
        graph.write_dir(dir.path()).unwrap();
        let read_graph = KnowledgeGraph::read_dir(dir.path()).unwrap();
        for ((id, language), (label, _)) in &labels {
            prop_assert_eq!(read_graph.label(id, language), Some(label.as_str()));
        }
        let read: std::collections::BTreeSet<_> =
            read_graph.triples().map(|t| (t.head.to_owned(), t.relation.to_owned(), t.tail.to_owned())).collect();
        prop_assert_eq!(read, triples);
        // The graphs are equal, because every id has a label or a triple.
        prop_assert_eq!(read_graph, graph);
    }
}
