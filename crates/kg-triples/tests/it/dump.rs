//! Tests of extracts of dumps in all formats, which are compared with a reference implementation,
//! and tests of damaged dumps.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kg_triples::dump::{ExtractConfig, ExtractProgress, ExtractReport, TermLookup, extract};
use kg_triples::{Error, KnowledgeGraph, Language};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

use crate::common::{compressed, contents, with_threads};

fn dump_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/fixtures/dump.json")
}

fn config() -> ExtractConfig {
    let [en, de, zh] = ["en", "de", "zh"].map(|code| Language::new(code).unwrap());
    let zh_hans = Language::new("zh-hans").unwrap();
    ExtractConfig {
        languages: vec![en, de, zh],
        fallback: vec![(zh, vec![zh_hans])],
        lookup: TermLookup::Exact,
        ..ExtractConfig::default()
    }
}

/// Returns the tables and the report of a dump.
fn tables_of(bytes: &[u8], config: &ExtractConfig) -> Result<(Tables, ExtractReport), Error> {
    let folder = tempfile::tempdir().unwrap();
    let (dump, out) = (folder.path().join("dump"), folder.path().join("out"));
    std::fs::write(&dump, bytes).unwrap();
    let result = extract(&dump, config, &out, &ExtractProgress::default());
    let names = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
    if result.is_err() {
        assert!(names.is_empty(), "nothing is left behind: {names:?}");
    }
    let report = result?;
    assert_eq!(names, TABLES.into_iter().chain(["extract.json"]).map(str::to_owned).collect());
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let written: ExtractReport = serde_json::from_str(&read("extract.json")).unwrap();
    assert_eq!(written, report);
    Ok((TABLES.map(read), report))
}

const TABLES: [&str; 3] = ["labels.tsv", "redirects.tsv", "triples.tsv"];

type Tables = [String; 3];

/// Reference implementation: parses each line as a JSON value and sorts the rows in memory. Also
/// returns the number of invalid lines. Returns `None` if the array has no end, no line is valid,
/// or there are more invalid lines than valid ones.
fn reference_tables(bytes: &[u8]) -> Option<(Tables, u64)> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    lines.retain(|line| !line.is_empty());
    let is_array = lines.first() == Some(&b"[".as_slice());
    if is_array {
        lines.remove(0);
    }
    let (mut labels, mut redirects, mut triples) = (Vec::new(), BTreeMap::new(), Vec::new());
    let (mut ids, mut invalid, mut valid, mut closed) = (BTreeSet::new(), 0, 0, false);
    for line in lines {
        if is_array && !closed && line == b"]" {
            closed = true;
            continue;
        }
        let line = line.strip_suffix(b",").unwrap_or(line).trim_ascii_end();
        let Some(rows) = (!closed).then(|| parse_rows(line)).flatten() else {
            invalid += 1;
            continue;
        };
        valid += 1;
        match rows {
            Rows::Redirect(from, to) => {
                redirects.entry(from).or_insert(to);
            }
            Rows::Entity(id, entity_labels, entity_triples) => {
                if ids.insert(id) {
                    labels.extend(entity_labels);
                    triples.extend(entity_triples);
                }
            }
            Rows::Other => (),
        }
    }
    if is_array && !closed || valid == 0 || invalid > valid {
        return None;
    }
    // Rows are sorted as text by id, and then by their other cells.
    let table = |header: &str, mut rows: Vec<Vec<String>>| {
        rows.sort();
        let lines = rows.into_iter().map(|row| row.join("\t") + "\n");
        format!("{header}\n{}", lines.collect::<String>())
    };
    let redirects = redirects.into_iter().map(|(from, to)| vec![from, to]).collect();
    let tables = [
        table("id\tlang\tlabel\tkind", labels),
        table("id\ttarget_id", redirects),
        table("head_id\trelation_id\ttail_id", triples),
    ];
    Some((tables, invalid))
}

enum Rows {
    Redirect(String, String),
    Entity(String, Vec<Vec<String>>, Vec<Vec<String>>),
    Other,
}

/// Parses a line; `None` for an invalid line.
fn parse_rows(line: &[u8]) -> Option<Rows> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let object = value.as_object()?;
    let is_id =
        |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let mut texts = BTreeMap::new();
    for key in ["id", "type", "entity", "redirect"] {
        if let Some(value) = object.get(key) {
            texts.insert(key, value.as_str()?.to_owned());
        }
    }
    // An object may be missing, null, or an empty array.
    let to_object = |value: Option<&Value>| match value {
        None | Some(Value::Null) => Some(serde_json::Map::new()),
        Some(Value::Array(array)) if array.is_empty() => Some(serde_json::Map::new()),
        Some(value) => value.as_object().cloned(),
    };
    let mut labels_by_code = BTreeMap::new();
    for (code, label) in to_object(object.get("labels"))? {
        let code = code.to_ascii_lowercase();
        if !["en", "de", "zh", "zh-hans"].contains(&code.as_str()) {
            continue;
        }
        let label = to_object(Some(&label))?;
        let field = |key: &str| match label.get(key) {
            None => Some(None),
            Some(value) => Some(Some(value.as_str()?.to_owned())),
        };
        let (language, value) = (field("language")?, field("value")?);
        let Some(value) = value else { continue };
        let text: String = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let has_code = language.is_some_and(|language| language.eq_ignore_ascii_case(&code));
        // Default_Ignorable_Code_Point of Unicode 16.
        let is_invisible = |c: char| {
            matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        };
        if has_code && !text.chars().all(|c| c == ' ' || is_invisible(c)) {
            labels_by_code.insert(code, text);
        }
    }
    let mut pairs = Vec::new();
    for (property, statements) in to_object(object.get("claims"))? {
        let statements = match &statements {
            Value::Null => Vec::new(),
            other => other.as_array()?.clone(),
        };
        let mut ranked = Vec::new();
        for statement in &statements {
            let statement = to_object(Some(statement))?;
            let rank = statement.get("rank").map(Value::as_str);
            let rank = rank.map_or(Some("normal"), |rank| rank)?.to_owned();
            let snak = to_object(statement.get("mainsnak"))?;
            let kind =
                snak.get("snaktype").map(Value::as_str).map_or(Some("value"), |kind| kind)?;
            let data = to_object(snak.get("datavalue"))?;
            let value = data.get("value").cloned().unwrap_or_default();
            let is_item = value.get("entity-type").and_then(Value::as_str) == Some("item");
            let number = || Some(format!("Q{}", value.get("numeric-id")?.as_u64()?));
            let id = value.get("id").and_then(Value::as_str).map(str::to_owned).or_else(number);
            let is_unknown = ["somevalue", "novalue"].contains(&kind);
            let tail = id.filter(|id| is_item && !is_unknown && is_id(id));
            ranked.push((rank, tail));
        }
        let preferred = ranked.iter().any(|(rank, _)| rank == "preferred");
        for (rank, tail) in ranked {
            let is_truthy = rank == "preferred" || (rank != "deprecated" && !preferred);
            if let (true, Some(tail), true) = (is_truthy, tail, is_id(&property)) {
                pairs.push((property.clone(), tail));
            }
        }
    }
    if let (Some(from), Some(to)) = (texts.get("entity"), texts.get("redirect")) {
        let are_valid_ids = is_id(from) && is_id(to);
        return are_valid_ids.then(|| Rows::Redirect(from.clone(), to.clone()));
    }
    let id = texts.get("id").filter(|id| is_id(id))?.clone();
    let kind = match texts.get("type").map(String::as_str) {
        Some("item") => "entity",
        Some("property") => "relation",
        _ => return Some(Rows::Other),
    };
    if kind == "relation" {
        pairs.clear();
    }
    let mut labels = Vec::new();
    for (code, fallback_code) in [("en", ""), ("de", ""), ("zh", "zh-hans")] {
        let text = labels_by_code.get(code).or_else(|| labels_by_code.get(fallback_code));
        labels.extend(text.map(|text| [&id, code, text, kind].map(str::to_owned).to_vec()));
    }
    pairs.sort();
    pairs.dedup();
    let triples = pairs.into_iter().map(|(property, tail)| vec![id.clone(), property, tail]);
    Some(Rows::Entity(id.clone(), labels, triples.collect()))
}

fn expect_reference(bytes: &[u8], config: &ExtractConfig) {
    let extracted = tables_of(bytes, config);
    match (reference_tables(bytes), extracted) {
        (Some((expected, count)), Ok((extracted, report))) => {
            assert_eq!(extracted, expected, "{}", String::from_utf8_lossy(bytes));
            let lines = &report.first_bad_lines;
            assert_eq!(report.bad_lines, count, "{lines:?}: {}", String::from_utf8_lossy(bytes));
        }
        (None, Err(Error::Dump { .. })) => (),
        (expected, extracted) => panic!(
            "{} {:?} for {}",
            expected.is_some(),
            extracted.err().map(|error| error.to_string()),
            String::from_utf8_lossy(bytes)
        ),
    }
}

#[test]
fn the_fixture_is_extracted_as_a_graph() {
    let bytes = std::fs::read(dump_path()).unwrap();
    let (extracted, report) = tables_of(&bytes, &config()).unwrap();
    let swiss_triples = "Q39\tP30\tQ46\nQ39\tP36\tQ70\nQ39\tP37\tQ150\nQ39\tP37\tQ188\n";
    assert!(extracted[2].contains(swiss_triples), "{}", extracted[2]);
    assert!(extracted[0].contains("Q11911\tde\tKanton Bern\tentity\n"), "{}", extracted[0]);
    assert_eq!(extracted[1], "id\ttarget_id\nQ40000\tQ39\n");
    assert_eq!((report.items, report.properties, report.redirects), (7, 6, 1));
    assert_eq!(report.others, BTreeMap::from([("lexeme".to_owned(), 1)]));
    let counts = &report.counts;
    assert_eq!((counts.triples, counts.deprecated, counts.not_preferred), (9, 1, 1));
    assert_eq!((report.lines, report.bad_lines), (17, 0));
    expect_reference(&bytes, &config());

    // The tables can be read as a graph, and the redirects can be resolved in it.
    let folder = tempfile::tempdir().unwrap();
    extract(&dump_path(), &config(), folder.path(), &ExtractProgress::default()).unwrap();
    let graph = KnowledgeGraph::read_dir(folder.path()).unwrap();
    let graph = graph.with_redirects(&folder.path().join("redirects.tsv")).unwrap();
    let country = graph.triples().find(|triple| triple.head == "Q11911").unwrap();
    assert_eq!((country.relation, country.tail), ("P17", "Q39"));
}

#[test]
fn compression_layout_threads_and_memory_do_not_change_the_tables() {
    let bytes = std::fs::read(dump_path()).unwrap();
    let (expected, plain_report) = tables_of(&bytes, &config()).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches(',')).collect();
    let jsonl = lines[1..lines.len() - 1].join("\n");
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let forms = [
        jsonl.clone().into_bytes(),
        jsonl.replace('\n', "\r\n\r\n").into_bytes(),
        [b"\xEF\xBB\xBF".as_slice(), &bytes].concat(),
        text.replace("{\"type\"", "  {  \"type\"").replace(",\n", " , \n").into_bytes(),
        compressed(&bytes, "gz"),
        [compressed(first, "gz"), compressed(second, "gz")].concat(),
        compressed(&bytes, "bz2"),
        [compressed(first, "bz2"), compressed(second, "bz2")].concat(),
        compressed(&bytes, "zst"),
        [compressed(first, "zst"), compressed(second, "zst")].concat(),
    ];
    for (number, form) in forms.iter().enumerate() {
        for (threads, memory) in [(1, 1), (3, 1 << 20)] {
            let config = ExtractConfig { memory, ..config() };
            let (extracted, report) = with_threads(threads, || tables_of(form, &config)).unwrap();
            assert_eq!(extracted, expected, "form {number}");
            assert_eq!(report.counts, plain_report.counts, "form {number}");
            assert_eq!(report.packed_bytes, form.len() as u64, "form {number}");
        }
    }
}

#[test]
fn a_truncated_or_damaged_archive_is_an_error_with_the_position() {
    let bytes = std::fs::read(dump_path()).unwrap();
    for compressed in ["gz", "bz2", "zst"].map(|extension| compressed(&bytes, extension)) {
        for cut in (4..compressed.len()).step_by(7) {
            let error = tables_of(&compressed[..cut], &config()).err().unwrap().to_string();
            assert!(error.contains("decompressed bytes") || error.contains("no end"), "{error}");
        }
        let mut damaged = compressed.clone();
        let middle = compressed.len() / 2;
        damaged[middle] ^= 0x10;
        assert!(tables_of(&damaged, &config()).is_err(), "a flipped bit");
    }
    for cut in (2..bytes.len() - 2).step_by(11) {
        expect_reference(&bytes[..cut], &config());
    }
}

#[test]
fn too_many_bad_lines_are_an_error_and_few_are_reported() {
    let text = std::fs::read_to_string(dump_path()).unwrap();
    let invalid = text.replacen("\n{", "\nnothing\n{\"id\":3}\n{", 1);
    let (_, report) = tables_of(invalid.as_bytes(), &config()).unwrap();
    assert_eq!(report.bad_lines, 2);
    let bad_line = &report.first_bad_lines[0];
    assert_eq!(
        (bad_line.line, bad_line.offset, bad_line.reason.as_str()),
        (2, 2, "not a JSON object")
    );
    let one_line_config = ExtractConfig { bad_lines: 1, ..config() };
    let error = tables_of(invalid.as_bytes(), &one_line_config).err().unwrap().to_string();
    assert!(
        error.contains("2 invalid lines, but at most 1 are allowed; line 2, byte 2: not a"),
        "{error}"
    );
    // A line that is too long is skipped and not held in memory.
    let limit = ExtractConfig { max_line_bytes: 4000, ..config() };
    let line =
        format!("\n{{\"id\":\"Q1\",\"type\":\"item\",\"x\":\"{}\"}},\n{{", "y".repeat(9 << 20));
    let (extracted, report) = tables_of(text.replacen("\n{", &line, 1).as_bytes(), &limit).unwrap();
    assert_eq!((report.bad_lines, report.items), (1, 7));
    assert_eq!(extracted, tables_of(text.as_bytes(), &config()).unwrap().0);
}

/// A line of a dump: an entity with random labels and statements.
fn entity_line() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[a-zé \\t\u{2028}\u{a0}]{0,6}", "\\PC{0,5}", "[\u{0}-\u{1f}a]{0,3}"];
    let codes = prop::sample::select(vec!["en", "de", "zh", "zh-hans", "fr"]);
    let label = (codes.clone(), text, prop::option::weighted(0.1, codes));
    let rank = prop::sample::select(vec!["normal", "preferred", "deprecated"]);
    let kind = prop::sample::select(vec!["value", "value", "value", "somevalue", "novalue"]);
    let statement = (1u32..4, rank, kind, 0u32..12);
    let kinds = prop::sample::select(vec!["item", "item", "item", "property", "lexeme"]);
    let labels = prop::collection::vec(label, 0..4);
    (0u32..40, kinds, labels, prop::collection::vec(statement, 0..6)).prop_map(
        |(id, kind, labels, statements)| {
            let labels = labels.into_iter().map(|(code, text, language)| {
                let label =
                    serde_json::json!({"language": language.unwrap_or(code), "value": text});
                (code.to_owned(), label)
            });
            let mut claims: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for (property, rank, kind, tail) in statements {
                let value = match tail % 4 {
                    0 => serde_json::json!({"entity-type": "item", "numeric-id": tail}),
                    1 => serde_json::json!("Q5"),
                    _ => serde_json::json!({"entity-type": "item", "id": format!("Q{tail}")}),
                };
                let snak = serde_json::json!({"snaktype": kind, "datavalue": {"value": value}});
                let statement = serde_json::json!({"rank": rank, "mainsnak": snak});
                claims.entry(format!("P{property}")).or_default().push(statement);
            }
            let labels: serde_json::Map<String, Value> = labels.collect();
            let entity = serde_json::json!({
                "id": format!("Q{id}"), "type": kind, "labels": labels, "claims": claims,
            });
            entity.to_string()
        },
    )
}

/// Extracts a dump `name` with the content `bytes` to a folder that contains an earlier extract.
/// The extract must fail without changing the folder; its error is returned.
fn extract_error(name: &str, bytes: &[u8], config: &ExtractConfig) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (dump, out) = (folder.path().join(name), folder.path().join("out"));
    extract(&dump_path(), config, &out, &ExtractProgress::default()).unwrap();
    let before = contents(&out);
    std::fs::write(&dump, bytes).unwrap();
    let error = extract(&dump, config, &out, &ExtractProgress::default()).err();
    assert_eq!(contents(&out), before, "{name}");
    let error = error.unwrap_or_else(|| panic!("{name} is accepted")).to_string();
    assert!(error.contains(name), "{error}");
    error
}

/// First bytes of invalid files. Some begin like a supported format but are truncated or damaged.
const INVALID_STARTS: [&[u8]; 14] = [
    b"",
    HTML_PAGE.as_bytes(),
    b"\xFD7zXZ\0",
    b"\x04\x22\x4D\x18",
    b"PK\x03\x04",
    b"PAR1",
    b"\x1F\x8B",
    b"\x1F\x8B\x08",
    b"\x1F\x8C",
    b"BZh",
    b"BZh91AY&SY",
    b"\x28\xB5\x2F\xFD",
    b"\x28\xB5\x2F\xFC",
    b"\xEF\xBB\xBF[",
];

const HTML_PAGE: &str = "<!DOCTYPE html>\n<html>\n<h1>503 Service Unavailable</h1>\n</html>\n";

#[test]
fn an_invalid_dump_does_not_change_the_extract() {
    let bytes = std::fs::read(dump_path()).unwrap();
    for name in ["page.json.gz", "page.json.BZ2", "page.json.zst"] {
        let error = extract_error(name, HTML_PAGE.as_bytes(), &config());
        assert!(error.contains("its extension indicates compression with"), "{error}");
    }
    // These files have another compression than their extension indicates, damaged first bytes or
    // no bytes.
    assert!(
        extract_error("d.gz", &compressed(&bytes, "bz2"), &config())
            .contains("compression with gzip")
    );
    let mut damaged = compressed(&bytes, "zst");
    damaged[0] ^= 1;
    assert!(extract_error("d.zst", &damaged, &config()).contains("compression with zstd"));
    extract_error("d.bz2", b"", &config());
    extract_error("d", &damaged, &config());
    for (start, expected) in [
        (b"\xFD7zXZ\0\0\x04".as_slice(), "it is compressed with xz"),
        (b"\x04\x22\x4D\x18d", "it is compressed with lz4"),
        (b"PK\x03\x04\x14\0", "it is a zip archive"),
    ] {
        for name in ["dump.json", "dump.json.gz", "dump.json.xz"] {
            let error = extract_error(name, &[start, &bytes].concat(), &config());
            assert!(error.contains(expected), "{error}");
        }
    }
    let texts = ["", "\n", "[\n]\n", "[]", "{}", "# nothing\n", "Some text.\nMore.\n", HTML_PAGE];
    for text in texts {
        let error = extract_error("dump", text.as_bytes(), &config());
        assert!(error.contains("not a Wikidata dump: of "), "{error}");
    }
    // With little memory, the extract stores its state. The state is removed when the dump is found
    // to be invalid.
    let config = ExtractConfig { memory: 1, ..config() };
    extract_error("dump", "{\"id\":\"Q1\",\"type\":\"item\"}\nx\ny\n".as_bytes(), &config);
}

#[test]
fn more_bad_lines_than_entities_are_an_error() {
    let item = "{\"id\":\"Q1\",\"type\":\"item\"}\n";
    let error = extract_error("dump", format!("{item}x\ny\n").as_bytes(), &config());
    assert!(error.contains("of 3 lines, 1 are entities and 2 are invalid; line 2"), "{error}");
    for valid in [item, "{\"entity\":\"Q1\",\"redirect\":\"Q2\"}\n", "{\"id\":\"L1\"}\n"] {
        let (_, report) = tables_of(format!("{valid}x\n").as_bytes(), &config()).unwrap();
        assert_eq!(report.bad_lines, 1);
    }
}

#[test]
fn ntriples_are_rejected() {
    let triple = "<http://www.wikidata.org/entity/Q1> \
                  <http://www.w3.org/2000/01/rdf-schema#label> \"one\"@en .\n";
    for text in [triple.to_owned(), format!("\u{feff}{triple}"), format!("_:b1{triple}")] {
        for bytes in [text.clone().into_bytes(), compressed(text.as_bytes(), "bz2")] {
            let error = extract_error("dump", &bytes, &config());
            let expected = "line 1: not a JSON entity; N-Triples dumps are not supported: use \
                            latest-all.json.bz2";
            assert!(error.ends_with(expected), "{error}");
        }
    }
}

#[test]
fn byte_order_marks_are_accepted_before_any_line() {
    let text = std::fs::read_to_string(dump_path()).unwrap();
    let (expected, _) = tables_of(text.as_bytes(), &config()).unwrap();
    let text_with_marks = format!("\u{feff}{}", text.replace('\n', "\n\u{feff}"));
    let (extracted, report) = tables_of(text_with_marks.as_bytes(), &config()).unwrap();
    assert_eq!((&extracted, report.bad_lines), (&expected, 0));
    // A line that is not valid UTF-8 is counted as invalid.
    let text_with_marks = [text_with_marks.as_bytes(), b"\n\"\xFF\"\n"].concat();
    let (extracted, report) = tables_of(&text_with_marks, &config()).unwrap();
    assert_eq!((extracted, report.bad_lines), (expected, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::case_count(48)))]

    #[test]
    fn random_dumps_agree_with_the_reference(
        lines in prop::collection::vec(entity_line(), 0..30),
        is_array: bool,
    ) {
        let text = match is_array {
            true => format!("[\n{}\n]\n", lines.join(",\n")),
            false => lines.join("\n"),
        };
        expect_reference(text.as_bytes(), &config());
    }

    #[test]
    fn changed_bytes_agree_with_the_reference(
        lines in prop::collection::vec(entity_line(), 1..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = lines.join("\n").into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            // Changes that create brackets or escape sequences are excluded, because they have
            // separate tests.
            if ![b'[', b']', b'u', b'\\'].contains(&byte) {
                bytes[at] = byte;
            }
        }
        expect_reference(&bytes, &config());
    }

    #[test]
    fn a_changed_archive_is_an_error_or_has_equal_tables(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let bytes = std::fs::read(dump_path()).unwrap();
        let (expected, _) = tables_of(&bytes, &config()).unwrap();
        for mut compressed in ["gz", "bz2", "zst"].map(|extension| compressed(&bytes, extension)) {
            // The first four bytes are not changed, because they determine the compression.
            for (at, byte) in &changes {
                *at.get_mut(&mut compressed[4..]) = *byte;
            }
            if let Some(cut) = cut {
                compressed.truncate(4 + cut.index(compressed.len() - 4));
            }
            if let Ok((changed_tables, _)) = tables_of(&compressed, &config()) {
                prop_assert_eq!(&changed_tables, &expected);
            }
        }
    }
}

proptest! {
    // The seed is fixed, so that failures are reproducible.
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::with_cases(testkit::case_count(48))
    })]

    #[test]
    fn random_invalid_files_do_not_change_the_extract(
        start in prop::sample::select(INVALID_STARTS.to_vec()),
        rest in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "([a-z<>\\[\\]{}\":,.# ]{0,12}\n){0,8}".prop_map(String::into_bytes),
        ],
        name in prop::sample::select(vec!["d", "d.json", "d.nt", "d.gz", "d.bz2", "d.zst", "d.xz"]),
    ) {
        extract_error(name, &[start, &rest].concat(), &config());
    }
}
