//! The queries of `sql/` on other engines against what the crate makes of the same tables.
#![cfg(feature = "parquet")]
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use kg_triples::dump::{DumpTable, ExtractConfig, Progress, TableFormat, extract};
use kg_triples::{KnowledgeGraph, Language};
use serde_json::{Value, json};
use testkit::{Peers, peers_python};

const LANGUAGES: [&str; 3] = ["de", "en", "zh"];

/// Draws without a crate: a linear congruence is random enough here.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

/// Items and properties with random labels, descriptions and triples, and redirects in rows.
fn dump() -> String {
    let mut draws = Draws(5);
    let mut lines = Vec::new();
    let texts = |of: &str, one_of: u64, draws: &mut Draws| -> Value {
        let mut texts = serde_json::Map::new();
        for language in LANGUAGES {
            if draws.below(one_of) > 0 {
                let text = format!("{of} '{language}' \"{}\" é数", draws.below(4));
                texts.insert(language.into(), json!({"language": language, "value": text}));
            }
        }
        Value::Object(texts)
    };
    for at in 0..200 {
        let mut claims: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for _ in 0..draws.below(5) {
            let tail = format!("Q{}", draws.below(260));
            let value = json!({"entity-type": "item", "id": tail});
            let snak = json!({"snaktype": "value", "datavalue": {"value": value}});
            let property = format!("P{}", draws.below(6));
            claims.entry(property).or_default().push(json!({"mainsnak": snak}));
        }
        let id = format!("Q{at}");
        lines.push(json!({
            "id": id, "type": "item", "claims": claims,
            "labels": texts(&id, 4, &mut draws),
            "descriptions": texts(&format!("about {id}"), 2, &mut draws),
        }));
    }
    for at in 0..5 {
        let id = format!("P{at}");
        let labels = texts(&id, 3, &mut draws);
        lines.push(json!({"id": id, "type": "property", "labels": labels}));
    }
    // Q240 leads to Q220, Q220 to Q200, and that to an item.
    for at in 200..260 {
        let target = if at < 220 { draws.below(200) } else { at - 20 };
        lines.push(json!({"entity": format!("Q{at}"), "redirect": format!("Q{target}")}));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The extract as TSV and as Parquet, below `folder`.
fn extracts(folder: &Path) -> [PathBuf; 2] {
    let dump_path = folder.join("dump.json");
    std::fs::write(&dump_path, dump()).unwrap();
    [TableFormat::Tsv, TableFormat::Parquet].map(|format| {
        let out = folder.join(format!("{format:?}"));
        let config = ExtractConfig {
            languages: LANGUAGES.map(|code| Language::new(code).unwrap()).to_vec(),
            tables: DumpTable::ALL.to_vec(),
            format,
            part_rows: 50,
            ..ExtractConfig::default()
        };
        extract(&dump_path, &config, &out, &Progress::default()).unwrap();
        out
    })
}

/// What the queries should give: rows of cells, as a sorted set.
struct Expected {
    entailment: BTreeSet<String>,
    coverage: BTreeSet<String>,
}

/// The same from the crate's tables, triple by triple.
fn expected(extract: &Path) -> Expected {
    let graph = KnowledgeGraph::read_dir(extract).unwrap();
    let graph = graph.with_redirects(&extract.join("redirects.tsv")).unwrap();
    let table = std::fs::read_to_string(extract.join("descriptions.tsv")).unwrap();
    let mut described: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for row in table.lines().skip(1) {
        let [id, language, text] = row.split('\t').collect::<Vec<_>>()[..] else { unreachable!() };
        described.insert((id, language), text);
    }
    let mut entailment = BTreeSet::new();
    let mut coverage: BTreeMap<(&str, &str), [u64; 6]> = BTreeMap::new();
    for triple in graph.triples() {
        let (head, relation, tail) = (triple.head, triple.relation, triple.tail);
        for of in LANGUAGES {
            let counts = coverage.entry((of, relation)).or_default();
            let has = [head, relation, tail].map(|id| graph.label(id, of).is_some());
            let texts = [head, tail].map(|id| described.contains_key(&(id, of)));
            let all = has.iter().all(|has| *has);
            let one = [true, has[0], has[1], has[2], all, texts[0] && texts[1]];
            counts.iter_mut().zip(one).for_each(|(sum, one)| *sum += u64::from(one));
            for other in LANGUAGES.into_iter().filter(|other| *other != of && head != tail) {
                let (Some(subject), Some(object)) =
                    (described.get(&(head, of)), described.get(&(tail, other)))
                else {
                    continue;
                };
                let row = json!([
                    head,
                    relation,
                    tail,
                    of,
                    graph.label(head, of),
                    subject,
                    graph.label(relation, of),
                    other,
                    graph.label(tail, other),
                    object
                ]);
                assert!(entailment.insert(row.to_string()));
            }
        }
    }
    let coverage = coverage.into_iter().map(|((language, relation), [a, b, c, d, e, f])| {
        json!([language, relation, a, b, c, d, e, f]).to_string()
    });
    Expected { entailment, coverage: coverage.collect() }
}

#[track_caller]
fn agree(engine: &str, program: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let [tsv, parquet] = extracts(folder.path());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program)
        .arg(root.join("tests/peers/sql.py"))
        .args([Path::new(engine), &parquet, &root.join("../../sql")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Expected { entailment, coverage } = expected(&tsv);
    // Enough for every column to tell.
    assert!(
        entailment.len() > 100 && coverage.len() == 18,
        "{} {}",
        entailment.len(),
        coverage.len()
    );
    for (name, expected) in [("entailment", entailment), ("coverage", coverage)] {
        let rows = found[name].as_array().unwrap();
        let as_set: BTreeSet<String> = rows.iter().map(Value::to_string).collect();
        assert_eq!(rows.len(), as_set.len(), "{name}: a row twice");
        let missing: Vec<_> = expected.difference(&as_set).take(3).collect();
        let more: Vec<_> = as_set.difference(&expected).take(3).collect();
        assert!(missing.is_empty() && more.is_empty(), "{name}: {missing:?} {more:?}");
    }
}

#[test]
fn queries_on_duckdb_give_what_the_crate_gives() {
    let Some(program) = peers_python(Peers::DuckDb) else { return };
    agree("duckdb", &program);
}

/// In the long form alone: Spark takes half a minute to say anything.
#[test]
fn queries_on_spark_give_what_the_crate_gives() {
    if !testkit::long() {
        return;
    }
    if Command::new("java").arg("-version").output().is_err() {
        eprintln!("skipped: there is no java to run Spark on");
        return;
    }
    let Some(program) = peers_python(Peers::Spark) else { return };
    agree("spark", &program);
}
