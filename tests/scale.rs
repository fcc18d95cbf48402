//! The road of XLM-K from a dump and pages of Wikipedia: extract, link, prepare, train, evaluate.
//! The long form has 200 MB.
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use kg_triples::jsonl::{JsonlReader, Record};
use kg_triples::knowledge::{EntailmentExample, MentionExample};
use serde_json::{Value, json};
use shards::Manifest;

use crate::common::{kill_at, succeed, summary, tool};
use crate::xlm_k::{FOLDERS, expect_equal_runs, small_of};

const LANGUAGES: [&str; 3] = ["de", "en", "es"];

/// A made-up world, the same for a number of entities.
struct World {
    entities: usize,
    /// Pages of each language; all but the entities' link to them and are about nothing.
    pages: usize,
}

/// A number in syllables.
fn name(number: usize) -> String {
    let syllables = ["ba", "ri", "no", "gel", "mo", "ta", "lu", "ker", "si", "do"];
    let digits = number.to_string();
    digits.bytes().map(|digit| syllables[usize::from(digit - b'0')]).collect()
}

/// The label of an entity, which is its title.
fn label(entity: usize, language: &str) -> String {
    let kind = match language {
        "de" => "Stadt",
        "en" => "City",
        _ => "Ciudad",
    };
    format!("{kind} {}", name(entity))
}

impl World {
    /// The entity that is `step` of some places after this one.
    fn other(&self, entity: usize, step: usize) -> usize {
        (entity * 7 + step * 13 + 1) % self.entities
    }

    /// An item of Wikidata: labels, descriptions, three statements and links to its pages.
    fn item(&self, entity: usize) -> Value {
        let texts = |text: &dyn Fn(&str) -> String| -> Value {
            let of = |code: &str| json!({ "language": code, "value": text(code) });
            LANGUAGES.iter().map(|code| ((*code).to_owned(), of(code))).collect()
        };
        let claim = |relation: usize| {
            let value = json!({ "entity-type": "item", "id": format!("Q{}", self.other(entity, relation)) });
            let datavalue = json!({ "value": value, "type": "wikibase-entityid" });
            let snak = json!({ "snaktype": "value", "datavalue": datavalue });
            (format!("P{relation}"), json!([{ "mainsnak": snak, "rank": "normal" }]))
        };
        let site = |code: &&str| {
            let title = json!({ "site": format!("{code}wiki"), "title": label(entity, code) });
            (format!("{code}wiki"), title)
        };
        json!({
            "type": "item",
            "id": format!("Q{entity}"),
            "labels": texts(&|code| label(entity, code)),
            "descriptions": texts(&|code| format!("{} {}", label(entity, code), name(entity * 31))),
            "claims": (0..3).map(claim).collect::<Value>(),
            "sitelinks": LANGUAGES.iter().map(site).collect::<Value>(),
        })
    }

    /// A page as WikiExtractor writes it, with links in each of its lines.
    fn page(&self, number: usize, language: &str) -> Value {
        let title = match number < self.entities {
            true => label(number, language),
            false => format!("List {}", name(number)),
        };
        let mut text = title.clone();
        for line in 0..4 {
            let linked = label(self.other(number, line + 3), language);
            let words: Vec<String> =
                (0..24).map(|word| name(number * 97 + line * 31 + word)).collect();
            let (before, after) = words.split_at(words.len() / 2);
            let href = linked.replace(' ', "%20");
            text += &format!(
                "\n{} <a href=\"{href}\">{linked}</a> {} .",
                before.join(" "),
                after.join(" ")
            );
        }
        json!({ "id": number.to_string(), "title": title, "text": text })
    }

    /// Writes `dump.json` and a file of pages for each language; how many bytes they have.
    fn write(&self, folder: &Path) -> u64 {
        let mut dump = BufWriter::new(File::create(folder.join("dump.json")).unwrap());
        writeln!(dump, "[").unwrap();
        for relation in 0..3 {
            let label = json!({ "language": "en", "value": format!("relation {relation}") });
            let property = json!({ "type": "property", "id": format!("P{relation}"), "labels": { "en": label } });
            writeln!(dump, "{property},").unwrap();
        }
        for entity in 0..self.entities {
            let end = if entity + 1 < self.entities { "," } else { "\n]" };
            writeln!(dump, "{}{end}", self.item(entity)).unwrap();
        }
        dump.flush().unwrap();
        let mut bytes = folder.join("dump.json").metadata().unwrap().len();
        for language in LANGUAGES {
            let path = folder.join(format!("{language}.jsonl"));
            let mut pages = BufWriter::new(File::create(&path).unwrap());
            for number in 0..self.pages {
                writeln!(pages, "{}", self.page(number, language)).unwrap();
            }
            pages.flush().unwrap();
            bytes += path.metadata().unwrap().len();
        }
        bytes
    }
}

fn prepare(folder: &Path, command: &str, more: &[&str]) -> String {
    let mut program = tool("kg-triples");
    let base = crate::common::root().join("data/base");
    program.current_dir(folder).args(command.split_whitespace()).args(more);
    if !more.is_empty() {
        program.arg(base);
    }
    succeed(program)
}

fn each<T: Record>(path: &Path, visit: impl FnMut(T)) {
    JsonlReader::<T>::open(path).unwrap().map(Result::unwrap).for_each(visit);
}

/// No text, entity or triple of the probes is trained.
fn expect_nothing_held_out_in_train(folder: &Path) {
    let mut texts = BTreeSet::new();
    let mut entities = BTreeSet::new();
    for name in ["unseen-texts", "unseen-pairs", "unseen-entities"] {
        each(&folder.join(format!("mentions/probe/{name}.jsonl.gz")), |query: MentionExample| {
            if name == "unseen-entities" {
                entities.insert(query.entity);
            }
            texts.insert(query.id);
        });
    }
    assert!(!entities.is_empty() && texts.len() > entities.len());
    each(&folder.join("mentions/train/mentions.jsonl.gz"), |example: MentionExample| {
        assert!(!texts.contains(&example.id) && !entities.contains(&example.entity), "{example:?}");
    });
    let mut facts = BTreeSet::new();
    each(&folder.join("triples/probe/unseen-triples.jsonl.gz"), |query: EntailmentExample| {
        facts.insert(query.fact);
    });
    assert!(!facts.is_empty());
    each(&folder.join("triples/train/triples.jsonl.gz"), |example: EntailmentExample| {
        assert!(!facts.contains(&example.fact), "{example:?}");
    });
}

#[test]
fn recipe_xlm_k_streams_what_is_made_of_a_dump_and_pages() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let long = testkit::long();
    let world = match long {
        true => World { entities: 20_000, pages: 60_000 },
        false => World { entities: 200, pages: 400 },
    };
    let bytes = world.write(folder);
    let least = if long { 200_000_000 } else { 1_000_000 };
    assert!(bytes > least, "{bytes} bytes");

    let tables = "--tables triples,labels,sitelinks --languages de,en,es";
    prepare(folder, &format!("extract --dump dump.json {tables} --out kg"), &[]);
    let pages = "--wiki de=de.jsonl,en=en.jsonl,es=es.jsonl --sitelinks kg/sitelinks.tsv";
    prepare(folder, &format!("link {pages} --out linked"), &[]);
    let texts = "--texts linked/train/linked.jsonl.gz --description-tokens 32";
    let held_out = "--hold-out texts=0.1,pairs=0.2,entities=0.1 --queries 60 --candidates 200";
    let mentions = format!("mentions {texts} --max-tokens 48 {held_out} --out mentions");
    prepare(folder, &mentions, &["--tokenizer"]);
    // Every held-out triple is a query: 60 of them.
    let fraction = 20.0 / world.entities as f64;
    let held_out = format!("--hold-out {fraction} --candidates 200");
    let triples = format!("entailment --kg kg {texts} {held_out} --out triples");
    prepare(folder, &triples, &["--tokenizer"]);
    expect_nothing_held_out_in_train(folder);
    for (name, least) in [("mentions", world.pages), ("triples", world.entities)] {
        let manifest = Manifest::read(folder.join(name)).unwrap().unwrap();
        manifest.check(folder.join(name)).unwrap();
        let examples = manifest.counts["train"]["examples"].as_u64().unwrap();
        assert!(examples > least as u64, "{examples} in {name}");
    }

    let [whole, broken] = ["whole", "broken"].map(|name| folder.join(name));
    let command = |out: &Path| {
        let [mentions, triples] = ["mentions", "triples"].map(|name| folder.join(name));
        let mut command = small_of(out, [&mentions, &mentions, &triples]);
        command.args(["--arms", "xlm-k", "--set", "probe.candidates=200"]);
        command
    };
    let table = succeed(command(&whole));
    assert!(
        table.contains("XEP") && table.contains("XOR") && table.contains("| XLM-K |"),
        "{table}"
    );
    let scores = &summary(&whole)["arms"]["xlm-k"];
    for probe in ["xep_seen", "xep", "xep_new", "xor"] {
        assert!(scores[probe]["queries"].as_u64() > Some(0), "{probe}: {scores}");
    }
    kill_at(command(&broken), &broken.join("seed-0/xlm-k/pretrain/checkpoints/step-00000004"));
    succeed(command(&broken));
    expect_equal_runs(&whole, &broken, "xlm-k");
}

/// Writes ten files of mentions, which together have `bytes`.
fn write_shards(folder: &Path, lines: &str, bytes: usize) {
    std::fs::create_dir(folder).unwrap();
    for number in 0..10 {
        let mut file = File::create(folder.join(format!("{number}.jsonl"))).unwrap();
        for _ in 0..=bytes / 10 / lines.len() {
            file.write_all(lines.as_bytes()).unwrap();
        }
    }
}

/// The long form compares 100 MB with 1 GB.
#[test]
fn recipe_xlm_k_needs_no_more_memory_for_ten_times_the_mentions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut lines = String::new();
    each(&FOLDERS.join("mentions/train/mentions.jsonl.gz"), |example: MentionExample| {
        lines += &format!("{}\n", json!(example));
    });
    let bytes = if testkit::long() { 100_000_000 } else { 1_000_000 };
    let [small, large] = [("small", bytes), ("large", 10 * bytes)].map(|(name, bytes)| {
        let shards = folder.join(name);
        write_shards(&shards, &lines, bytes);
        let out = folder.join(format!("{name}-run"));
        let mut command = small_of(&out, [&shards, &shards, &FOLDERS.join("triples")]);
        command.args(["--arms", "xlm-k", "--set", "pretraining.steps=2"]);
        let peak = testkit::process::run(&mut command, &folder.join("output")).unwrap().peak_mib;
        std::fs::remove_dir_all(shards).unwrap();
        peak
    });
    println!("{small:.0} MiB, {large:.0} MiB with ten times the mentions");
    assert!(large < small + 50.0, "{small:.0} MiB, {large:.0} MiB");
}
