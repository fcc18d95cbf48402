//! Tests of complete extracts.
use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::tsv::TsvReader;
use crate::{Error, Language};

fn language(code: &str) -> Language {
    Language::new(code).unwrap()
}

fn config() -> ExtractConfig {
    ExtractConfig {
        languages: vec![language("en"), language("zh"), language("zh-yue")],
        fallback: vec![(language("zh"), vec![language("zh-hans")])],
        lookup: TermLookup::Exact,
        tables: DumpTable::ALL.to_vec(),
        ..ExtractConfig::default()
    }
}

fn extract_to(dump: &str, config: &ExtractConfig, out: &Path) -> Result<ExtractReport, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump");
    std::fs::write(&path, dump).unwrap();
    extract(&path, config, out, &ExtractProgress::default())
}

/// Returns the rows of a table, with cells joined by tabs.
fn rows(folder: &Path, table: DumpTable, lookup: TermLookup) -> Vec<String> {
    let path = folder.join(format!("{}.tsv", table.name()));
    let (mut reader, _) = TsvReader::open(&path, &[table.columns(lookup)]).unwrap();
    std::iter::from_fn(|| reader.row().unwrap().map(|row| row.join("\t"))).collect()
}

fn extract_rows(
    dump: &str,
    config: &ExtractConfig,
) -> (BTreeMap<DumpTable, Vec<String>>, ExtractReport) {
    let out = tempfile::tempdir().unwrap();
    let report = extract_to(dump, config, out.path()).unwrap();
    let rows_by_table =
        report.tables.iter().map(|table| (*table, rows(out.path(), *table, config.lookup)));
    (rows_by_table.collect(), report)
}

/// A dump with an item, two properties and a redirect. The item has labels, descriptions and
/// sitelinks, some of which must be skipped.
fn dump() -> String {
    let item = r#"{"type":"item","id":"Q2",
        "labels":{"en":{"language":"en","value":"two"}},
        "descriptions":{
            "en":{"language":"en","value":" a\tnumber\u2028 "},
            "zh":{"language":"zh-hant","value":"x"},
            "zh-hans":{"language":"zh-hans","value":"数字"},
            "zh-yue":{"language":"zh-yue","value":" \t"},
            "de":{"language":"de","value":"eine Zahl"}},
        "aliases":{"en":[{"language":"en","value":"pair"},{"language":"en","value":"two"},
            {"language":"en","value":"pair"}],"mul":[{"language":"mul","value":"II"}]},
        "sitelinks":{
            "enwiki":{"site":"enwiki","title":"2 (number)","badges":["Q1"]},
            "zh_yuewiki":{"site":"zh_yuewiki","title":"二"},
            "zhwiki":{"site":"zhwiki","title":" "},
            "zhwikiquote":{"site":"zhwikiquote","title":"二"},
            "dewiki":{"site":"dewiki","title":"Zwei"},
            "commonswiki":{"site":"commonswiki","title":"Category:2"}},
        "claims":{"P1":[
            {"mainsnak":{"snaktype":"value","datavalue":{"type":"wikibase-entityid","value":
                {"entity-type":"item","id":"Q3"}}}},
            {"mainsnak":{"snaktype":"value","datavalue":{"type":"wikibase-entityid","value":
                {"entity-type":"property","id":"P2","numeric-id":2}}}},
            {"mainsnak":{"snaktype":"value","datavalue":{"type":"wikibase-entityid","value":
                {"entity-type":"lexeme","id":"L4"}}}},
            {"mainsnak":{"snaktype":"value","datavalue":{"type":"string","value":"L5"}}}]}}"#;
    let property = r#"{"type":"property","id":"P1","labels":{"en":{"language":"en","value":"is"}},
        "descriptions":{"en":{"language":"en","value":"what it is"}},
        "sitelinks":{}}"#;
    let lines = [item, property, r#"{"type":"property","id":"P9"}"#];
    let lines = lines.map(|line| line.replace('\n', " "));
    format!("[\n{},\n{{\"entity\":\"Q9\",\"redirect\":\"Q2\"}}\n]\n", lines.join(",\n"))
}

#[test]
fn all_tables_have_the_expected_rows() {
    let (rows_by_table, report) = extract_rows(&dump(), &config());
    let expected: [(DumpTable, &[&str]); 6] = [
        (DumpTable::Triples, &["Q2\tP1\tQ3"]),
        (DumpTable::Labels, &["P1\ten\tis\trelation", "Q2\ten\ttwo\tentity"]),
        (DumpTable::Descriptions, &["P1\ten\twhat it is", "Q2\ten\ta number", "Q2\tzh\t数字"]),
        (DumpTable::Aliases, &["Q2\ten\tpair\tentity\tlanguage"]),
        (DumpTable::Sitelinks, &["Q2\ten\t2 (number)", "Q2\tzh-yue\t二"]),
        (DumpTable::Redirects, &["Q9\tQ2"]),
    ];
    for (table, rows) in expected {
        assert_eq!(rows_by_table[&table], rows, "{table:?}");
    }
    let counts = report.counts;
    assert_eq!((counts.descriptions, counts.fallback_descriptions), (3, 1));
    assert_eq!((counts.foreign_descriptions, counts.empty_descriptions), (1, 1));
    assert_eq!((counts.sitelinks, counts.empty_sitelinks), (2, 1));
    assert_eq!((counts.triples, counts.other_values), (1, 3));
}

#[test]
fn only_requested_tables_are_read_and_written() {
    for table in DumpTable::ALL {
        let config = ExtractConfig { tables: vec![table, table], ..config() };
        let out = tempfile::tempdir().unwrap();
        let report = extract_to(&dump(), &config, out.path()).unwrap();
        let names = std::fs::read_dir(out.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let mut expected = vec!["extract.json".to_owned(), format!("{}.tsv", table.name())];
        expected.sort();
        assert_eq!((names, report.tables), (expected, vec![table]));
        let check = |expected: DumpTable, count: u64| assert_eq!(count > 0, table == expected);
        check(DumpTable::Triples, report.counts.statements);
        check(DumpTable::Labels, report.counts.labels);
        check(DumpTable::Descriptions, report.counts.descriptions);
        check(DumpTable::Aliases, report.counts.aliases);
        check(DumpTable::Sitelinks, report.counts.sitelinks);
    }
    // The fields of tables that are not requested can have any type.
    let line = r#"{"id":"Q1","type":"item","labels":3,"descriptions":[1]}"#;
    let config = ExtractConfig { tables: vec![DumpTable::Triples], ..config() };
    let (_, report) = extract_rows(line, &config);
    assert_eq!((report.items, report.bad_lines), (1, 0));
}

#[test]
fn sitelinks_are_read_by_entity_linking() {
    let out = tempfile::tempdir().unwrap();
    extract_to(&dump(), &config(), out.path()).unwrap();
    let sitelinks = crate::entity_linking::Sitelinks::read(out.path().join("sitelinks.tsv"));
    assert_eq!(sitelinks.unwrap().entity(language("en"), "2_(number)"), Some("Q2"));
}

#[test]
fn a_config_without_tables_is_an_error() {
    let out = tempfile::tempdir().unwrap();
    let config = ExtractConfig { tables: vec![], ..config() };
    let error = extract_to(&dump(), &config, &out.path().join("out")).unwrap_err().to_string();
    assert!(error.starts_with("tables = []"), "{error}");
}
