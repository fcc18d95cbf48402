//! The tables of whole dumps, as TSV and as Parquet.
use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::table::TableReader;
use crate::{Error, Language};

fn code(code: &str) -> Language {
    Language::new(code).unwrap()
}

fn config(format: TableFormat) -> ExtractConfig {
    ExtractConfig {
        languages: vec![code("en"), code("zh"), code("zh-yue")],
        fallback: vec![(code("zh"), vec![code("zh-hans")])],
        tables: DumpTable::ALL.to_vec(),
        format,
        ..ExtractConfig::default()
    }
}

fn write(dump: &str, config: &ExtractConfig, out: &Path) -> Result<ExtractReport, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump");
    std::fs::write(&path, dump).unwrap();
    extract(&path, config, out, &Progress::default())
}

/// The rows of a table, cells joined by tabs.
fn rows(folder: &Path, table: DumpTable) -> Vec<String> {
    let path = folder.join(format!("{}.tsv", table.name()));
    let (mut reader, _) = TableReader::open(&path, &[table.columns()]).unwrap();
    std::iter::from_fn(|| reader.row().unwrap().map(|row| row.join("\t"))).collect()
}

fn all_rows(
    dump: &str,
    config: &ExtractConfig,
) -> (BTreeMap<DumpTable, Vec<String>>, ExtractReport) {
    let out = tempfile::tempdir().unwrap();
    let report = write(dump, config, out.path()).unwrap();
    let read = report.tables.iter().map(|table| (*table, rows(out.path(), *table)));
    (read.collect(), report)
}

/// A dump with every kind of text of an item, and with values and entities that are skipped.
fn dump() -> String {
    let item = r#"{"type":"item","id":"Q2",
        "labels":{"en":{"language":"en","value":"two"}},
        "descriptions":{
            "en":{"language":"en","value":" a\tnumber\u2028 "},
            "zh":{"language":"zh-hant","value":"x"},
            "zh-hans":{"language":"zh-hans","value":"数字"},
            "zh-yue":{"language":"zh-yue","value":" \t"},
            "de":{"language":"de","value":"eine Zahl"}},
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
fn every_table_has_its_rows() {
    let (found, report) = all_rows(&dump(), &config(TableFormat::Tsv));
    let expected: [(DumpTable, &[&str]); 5] = [
        (DumpTable::Triples, &["Q2\tP1\tQ3"]),
        (DumpTable::Labels, &["P1\ten\tis\trelation", "Q2\ten\ttwo\tentity"]),
        (DumpTable::Descriptions, &["P1\ten\twhat it is", "Q2\ten\ta number", "Q2\tzh\t数字"]),
        (DumpTable::Sitelinks, &["Q2\ten\t2 (number)", "Q2\tzh-yue\t二"]),
        (DumpTable::Redirects, &["Q9\tQ2"]),
    ];
    for (table, rows) in expected {
        assert_eq!(found[&table], rows, "{table:?}");
    }
    let counts = report.counts;
    assert_eq!((counts.descriptions, counts.fallback_descriptions), (3, 1));
    assert_eq!((counts.foreign_descriptions, counts.empty_descriptions), (1, 1));
    assert_eq!((counts.sitelinks, counts.empty_sitelinks), (2, 1));
    assert_eq!((counts.triples, counts.other_values), (1, 3));
}

#[test]
fn only_what_is_asked_for_is_read_and_written() {
    for table in DumpTable::ALL {
        let config = ExtractConfig { tables: vec![table, table], ..config(TableFormat::Tsv) };
        let out = tempfile::tempdir().unwrap();
        let report = write(&dump(), &config, out.path()).unwrap();
        let names = std::fs::read_dir(out.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let mut expected = vec!["extract.json".to_owned(), format!("{}.tsv", table.name())];
        expected.sort();
        assert_eq!((names, report.tables), (expected, vec![table]));
        let has = |wanted: DumpTable, count: u64| assert_eq!(count > 0, table == wanted);
        has(DumpTable::Triples, report.counts.statements);
        has(DumpTable::Labels, report.counts.labels);
        has(DumpTable::Descriptions, report.counts.descriptions);
        has(DumpTable::Sitelinks, report.counts.sitelinks);
    }
    // What is not asked for may be of any form.
    let odd = r#"{"id":"Q1","type":"item","labels":3,"descriptions":[1]}"#;
    let config = ExtractConfig { tables: vec![DumpTable::Triples], ..config(TableFormat::Tsv) };
    let (_, report) = all_rows(odd, &config);
    assert_eq!((report.items, report.bad_lines), (1, 0));
}

#[test]
fn sitelinks_are_what_links_are_resolved_with() {
    let out = tempfile::tempdir().unwrap();
    write(&dump(), &config(TableFormat::Tsv), out.path()).unwrap();
    let sitelinks = crate::entity_linking::Sitelinks::read(out.path().join("sitelinks.tsv"));
    assert_eq!(sitelinks.unwrap().entity(code("en"), "2_(number)"), Some("Q2"));
}

#[test]
fn nothing_to_write_is_an_error() {
    let refused = |config: ExtractConfig| {
        let out = tempfile::tempdir().unwrap();
        write(&dump(), &config, &out.path().join("out")).unwrap_err().to_string()
    };
    let tsv = || config(TableFormat::Tsv);
    assert!(refused(ExtractConfig { tables: vec![], ..tsv() }).starts_with("tables = []"));
    #[cfg(not(feature = "parquet"))]
    {
        let error = refused(config(TableFormat::Parquet));
        assert!(error.contains("--features parquet"), "{error}");
        let out = tempfile::tempdir().unwrap();
        std::fs::create_dir(out.path().join("triples")).unwrap();
        let error = crate::KnowledgeGraph::read_dir(out.path()).unwrap_err().to_string();
        assert!(error.contains("--features kg-triples/parquet"), "{error}");
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    use proptest::prelude::*;

    use super::*;
    use crate::KnowledgeGraph;

    /// The bytes of every file but `extract.json`, by its path.
    fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for table in std::fs::read_dir(folder).unwrap() {
            let table = table.unwrap().path();
            for part in std::fs::read_dir(&table).into_iter().flatten() {
                let part = part.unwrap().path();
                let name = part.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                all.insert(name, std::fs::read(&part).unwrap());
            }
        }
        all
    }

    #[test]
    fn rows_and_graphs_are_those_of_tsv() {
        let (tsv, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&dump(), &config(TableFormat::Tsv), tsv.path()).unwrap();
        let small = ExtractConfig { part_rows: 2, ..config(TableFormat::Parquet) };
        let report = write(&dump(), &small, parts.path()).unwrap();
        for table in DumpTable::ALL {
            assert_eq!(rows(parts.path(), table), rows(tsv.path(), table), "{table:?}");
        }
        let names: Vec<String> = bytes(parts.path()).into_keys().collect();
        let files = |table: &str| names.iter().filter(|name| name.starts_with(table)).count();
        assert_eq!((files("labels/"), files("descriptions/"), files("redirects/")), (1, 2, 1));
        let text = std::fs::read_to_string(parts.path().join("extract.json")).unwrap();
        assert_eq!(serde_json::from_str::<ExtractReport>(&text).unwrap(), report);
        let graph = |folder: &Path| {
            let graph = KnowledgeGraph::read_dir(folder).unwrap();
            graph.with_redirects(&folder.join("redirects.tsv")).unwrap()
        };
        assert_eq!(graph(parts.path()), graph(tsv.path()));
        let sitelinks = crate::entity_linking::Sitelinks::read(parts.path().join("sitelinks"));
        assert_eq!(sitelinks.unwrap().entity(code("en"), "2 (number)"), Some("Q2"));
    }

    #[test]
    fn a_table_has_one_form_in_a_folder() {
        let out = tempfile::tempdir().unwrap();
        let exists = |name: &str| out.path().join(name).exists();
        for _ in 0..2 {
            write(&dump(), &config(TableFormat::Parquet), out.path()).unwrap();
            assert!(exists("labels/part-00000.parquet") && !exists("labels.tsv"));
            write(&dump(), &config(TableFormat::Tsv), out.path()).unwrap();
            assert!(exists("labels.tsv") && !exists("labels"));
        }
        // Other files are not touched, and then no extract.json says that the folder is complete.
        std::fs::create_dir(out.path().join("labels")).unwrap();
        std::fs::write(out.path().join("labels/mine.txt"), "").unwrap();
        let error = write(&dump(), &config(TableFormat::Parquet), out.path()).unwrap_err();
        assert!(error.to_string().contains("mine.txt"), "{error}");
        assert!(exists("labels/mine.txt") && !exists("extract.json"));
    }

    #[test]
    fn damaged_and_foreign_files_are_errors() {
        let out = tempfile::tempdir().unwrap();
        write(&dump(), &config(TableFormat::Parquet), out.path()).unwrap();
        let part = out.path().join("labels/part-00000.parquet");
        let whole = std::fs::read(&part).unwrap();
        for cut in (0..whole.len()).step_by(5) {
            std::fs::write(&part, &whole[..cut]).unwrap();
            let error = KnowledgeGraph::read_dir(out.path()).unwrap_err().to_string();
            assert!(error.contains("part-00000.parquet"), "{error}");
        }
        // Any other byte is an error or another text, and never more.
        for at in (0..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            changed[at] ^= 0x14;
            std::fs::write(&part, &changed).unwrap();
            let _ = KnowledgeGraph::read_dir(out.path());
        }
        std::fs::copy(out.path().join("triples/part-00000.parquet"), &part).unwrap();
        let error = KnowledgeGraph::read_dir(out.path()).unwrap_err().to_string();
        assert!(error.contains("no column id; it has head_id, relation_id, tail_id"), "{error}");
        std::fs::remove_file(&part).unwrap();
        let error = KnowledgeGraph::read_dir(out.path()).unwrap_err().to_string();
        assert!(error.contains("no file *.parquet"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(testkit::cases(16)))]

        #[test]
        fn any_text_is_read_back_and_threads_do_not_change_the_output(
            texts in prop::collection::vec(any::<String>(), 1..40),
            part_rows in 1usize..9,
        ) {
            let lines: Vec<String> = (0u32..).zip(&texts).map(|(at, text)| {
                let text = serde_json::json!({"language": "en", "value": text});
                let entity = serde_json::json!({
                    "id": format!("Q{}", at % 30), "type": "item", "labels": {"en": text},
                    "descriptions": {"en": text},
                    "sitelinks": {"enwiki": {"title": text["value"]}},
                });
                entity.to_string()
            }).collect();
            let dump = lines.join("\n");
            // What is written of a text, by the rules.
            let mut expected: BTreeMap<String, String> = BTreeMap::new();
            for (at, text) in (0u32..).zip(&texts) {
                let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let joined: String = joined.chars().filter(|c| !c.is_control()).collect();
                expected.entry(format!("Q{}", at % 30)).or_insert(joined);
            }
            let expected: Vec<String> = expected.into_iter()
                .filter(|(_, text)| !text.is_empty())
                .map(|(id, text)| format!("{id}\ten\t{text}"))
                .collect();
            let mut all = Vec::new();
            for (threads, memory) in [(1, 1), (2, 1 << 20)] {
                let config =
                    ExtractConfig { memory, part_rows, ..config(TableFormat::Parquet) };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let out = tempfile::tempdir().unwrap();
                pool.install(|| write(&dump, &config, out.path())).unwrap();
                for table in [DumpTable::Descriptions, DumpTable::Sitelinks] {
                    prop_assert_eq!(&rows(out.path(), table), &expected);
                }
                let labels = rows(out.path(), DumpTable::Labels);
                let labels: Vec<&str> =
                    labels.iter().map(|row| row.strip_suffix("\tentity").unwrap()).collect();
                prop_assert_eq!(&labels, &expected);
                let parts = bytes(out.path());
                let files = parts.keys().filter(|name| name.starts_with("labels/")).count();
                prop_assert_eq!(files, expected.len().div_ceil(part_rows).max(1));
                all.push(parts);
            }
            prop_assert_eq!(&all[0], &all[1]);
            let (tsv, _) = all_rows(&dump, &config(TableFormat::Tsv));
            prop_assert_eq!(&tsv[&DumpTable::Descriptions], &expected);
        }
    }
}
