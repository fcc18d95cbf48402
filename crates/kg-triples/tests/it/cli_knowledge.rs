//! Tests of the subcommands `mentions` and `entailment`: sources, output files and errors.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{countries, expect_errors, failure, has_row, read, stdout, write};
use kg_triples::jsonl::Record;
use kg_triples::knowledge::{Candidate, EntailmentExample, MentionExample};
use shards::{Manifest, Shards};
use tempfile::{TempDir, tempdir};

/// Runs the program with the tokenizer of the fixtures.
fn run(dir: &Path, arguments: &str) -> Output {
    let tokenizer = testkit::fixture("tokenizer.json");
    crate::common::run(dir, &format!("{arguments} --tokenizer {}", tokenizer.display()))
}

/// Pages of two entities in two languages.
fn entity_pages() -> TempDir {
    let dir = tempdir().unwrap();
    std::fs::create_dir(dir.path().join("pages")).unwrap();
    let pages = dir.path().join("pages");
    write(
        &pages,
        "entities.en.jsonl",
        "{\"id\":\"Q515\",\"label\":\"city\",\"extract\":\"A city is larger than a town.\\nA second line.\"}\n\
         {\"id\":\"Q3957\",\"label\":\"town\",\"extract\":\"A town is smaller than a city, and no city.\"}\n",
    );
    write(
        &pages,
        "entities.zh.jsonl",
        "{\"id\":\"Q515\",\"label\":\"城市\",\"extract\":\"城市比城镇大。\"}\n\
         {\"id\":\"Q3957\",\"label\":\"城镇\",\"description\":\"小的城市\"}\n",
    );
    dir
}

#[test]
fn pages_are_linked_by_their_labels() {
    let dir = entity_pages();
    let table = stdout(&run(dir.path(), "mentions --entities pages --out m/m.jsonl.gz"));
    // The columns after the language are: described, labels, ambiguous, too short, links,
    // self-links, entities, passages used.
    assert!(has_row(&table, "en 2 2 0 0 3 2 2 1"), "{table}");
    assert!(has_row(&table, "zh 1 2 0 0 1 1 1 1"), "{table}");
    assert!(has_row(&table, "passages 4") && has_row(&table, "passages used 2"), "{table}");
    let examples: Vec<MentionExample> = read(dir.path().join("m/m.jsonl.gz"));
    let pairs: Vec<_> = examples
        .iter()
        .map(|e| (e.language.to_string(), e.entity.as_str(), e.description_language.to_string()))
        .collect();
    assert_eq!(pairs, [("en".into(), "Q515", "zh".into()), ("zh".into(), "Q3957", "en".into())]);

    let command = "mentions --entities pages --page-text either --count 100 --smoothing 0 --seed 3 \
                   --max-tokens 8 --description-tokens 5";
    let table = stdout(&run(dir.path(), &format!("{command} --out d.jsonl")));
    assert!(has_row(&table, "drawn 100"), "{table}");
    let drawn: Vec<MentionExample> = read(dir.path().join("d.jsonl"));
    assert_eq!(drawn.len(), 100);
    assert!(drawn.iter().all(|e| e.input_ids.len() <= 8 && e.description_ids.len() <= 5));
    let chinese = drawn.iter().filter(|example| example.language == "zh").count();
    assert!((30..70).contains(&chinese), "{chinese} of 100");
    stdout(&run(dir.path(), &format!("{command} --out e.jsonl")));
    assert!(drawn == read::<MentionExample>(dir.path().join("e.jsonl")));

    let table = stdout(&run(
        dir.path(),
        "mentions --entities pages --languages en --monolingual --out o.jsonl",
    ));
    assert!(has_row(&table, "passages used 2") && !table.contains("zh"), "{table}");
}

#[test]
fn linked_texts_and_wikipedia_pages_are_sources() {
    let dir = entity_pages();
    let line =
        r#"{"id":"1","lang":"en","text":"Bern.","mentions":[{"start":0,"end":4,"entity":"Q515"}]}"#;
    write(dir.path(), "t.jsonl", format!("{line}\n"));
    let table = stdout(&run(dir.path(), "mentions --texts t.jsonl --entities pages --out m.jsonl"));
    assert!(has_row(&table, "texts 1") && has_row(&table, "passages used 1"), "{table}");

    // Without --entities, the texts that are pages of entities are used as descriptions.
    write(
        dir.path(),
        "en",
        "{\"id\":\"1\",\"title\":\"Bern\",\"text\":\"Bern is in &lt;a href=\\\"Switzerland\\\"&gt;Swiss&lt;/a&gt; land.\"}\n",
    );
    write(
        dir.path(),
        "de",
        "{\"id\":\"1\",\"title\":\"Schweiz\",\"text\":\"Die Schweiz ist ein Land.\"}\n",
    );
    write(
        dir.path(),
        "s.tsv",
        "id\tlang\ttitle\nQ70\ten\tBern\nQ39\ten\tSwitzerland\nQ39\tde\tSchweiz\n",
    );
    let wiki = "mentions --wiki en=en,de=de --sitelinks s.tsv --out w.jsonl";
    let table = stdout(&run(dir.path(), wiki));
    assert!(has_row(&table, "texts 2") && has_row(&table, "passages used 1"), "{table}");
    let examples: Vec<MentionExample> = read(dir.path().join("w.jsonl"));
    assert_eq!((examples[0].id.as_str(), examples[0].entity.as_str()), ("en:1", "Q39"));
    assert_eq!(examples[0].description_language, "de");
}

#[test]
fn triples_are_joined_with_descriptions() {
    let dir = entity_pages();
    countries().write_dir(dir.path().join("kg")).unwrap();
    let table = stdout(&run(dir.path(), "entailment --kg kg --synthetic --out e.jsonl.gz"));
    assert!(has_row(&table, "with descriptions 6") && has_row(&table, "relations 2"), "{table}");
    let examples: Vec<EntailmentExample> = read(dir.path().join("e.jsonl.gz"));
    assert_eq!(examples.len(), 6);
    assert!(examples.iter().all(|e| e.subject_language != e.object_language && e.relation < 2));
    stdout(&run(dir.path(), "entailment --kg kg --synthetic --count 50 --out f.jsonl"));
    assert_eq!(read::<EntailmentExample>(dir.path().join("f.jsonl")).len(), 50);

    let text = r#"{"id":"1","lang":"en","entity":"Q183","text":"Germany."}"#;
    let other = r#"{"id":"2","lang":"de","entity":"Q64","text":"Berlin."}"#;
    write(dir.path(), "t.jsonl", format!("{text}\n{other}\n"));
    let table = stdout(&run(dir.path(), "entailment --kg kg --texts t.jsonl --out g.jsonl"));
    assert!(has_row(&table, "with descriptions 1"), "{table}");
    let error = failure(&run(dir.path(), "entailment --kg kg --entities pages --out h.jsonl"));
    assert!(error.contains("no data") && error.contains("6 have no described subject"));
    assert!(!dir.path().join("h.jsonl").exists());
}

#[test]
fn bad_input_is_reported_and_writes_no_file() {
    let dir = entity_pages();
    countries().write_dir(dir.path().join("kg")).unwrap();
    write(dir.path(), "bad.jsonl", "\n{\"id\":\"1\"}\n");
    write(dir.path(), "wiki", "{\"id\":\"1\"}\n");
    write(dir.path(), "s.tsv", "id\tlang\ttitle\nQ1\ten\n");
    write(&dir.path().join("pages"), "entities.de.jsonl", "{\"id\":\"Q1\"}\n{\"label\":\"x\"}\n");
    let tokenizer = testkit::fixture("tokenizer.json").display().to_string();
    let mention_cases = [
        ("--texts bad.jsonl --entities kg", "files entities.<lang>.jsonl"),
        ("--texts bad.jsonl", "bad.jsonl:2"),
        ("--texts none.jsonl", "none.jsonl"),
        ("--entities pages", "entities.de.jsonl:2"),
        ("--wiki en=wiki --sitelinks s.tsv", "s.tsv:2: columns"),
        ("--wiki en=wiki", "--sitelinks"),
        ("--wiki wiki --sitelinks s.tsv", "language=file"),
        ("", "--entities"),
        ("--entities pages --languages en,zh --max-tokens 2", "max_tokens = 2"),
        ("--entities pages --languages en,zh --count 5 --smoothing 2", "smoothing = 2"),
        ("--entities pages --languages en", "no data"),
        ("--entities pages --count 0", "count = 0: must be 1 or more"),
        ("--entities pages --hold-out texts=0.1", "must be a folder if data is held out"),
        ("--entities pages --hold-out pairs=0.1", "hold_out.texts = 0"),
        ("--entities pages --hold-out text=0.1", "expected texts=F"),
        ("--entities pages --hold-out texts=0.1 --queries 0", "queries = 0"),
        ("--entities pages --queries 5", "--hold-out"),
        (
            "--entities pages --languages en,zh --count 5 --entity-smoothing 2",
            "entity_smoothing = 2",
        ),
    ];
    expect_errors(dir.path(), &format!("mentions --tokenizer {tokenizer}"), &mention_cases);
    let entailment_cases = [
        ("--kg kg", "--entities"),
        ("--kg kg --entities pages", "entities.de.jsonl:2"),
        ("--kg none --synthetic", "none"),
        ("--kg kg --synthetic --count 0", "count = 0: must be 1 or more"),
        ("--kg kg --synthetic --description-tokens 2", "description_tokens = 2"),
        ("--kg kg --synthetic --hold-out 1.5", "hold_out = 1.5"),
        ("--kg kg --synthetic --hold-out 0.5", "must be a folder if data is held out"),
    ];
    expect_errors(dir.path(), &format!("entailment --tokenizer {tokenizer}"), &entailment_cases);
}

/// Pages of 60 cities in three languages. Each page mentions two other cities.
pub fn city_pages() -> TempDir {
    let dir = tempdir().unwrap();
    for code in ["de", "en", "es"] {
        let lines = (0..60).map(|at| {
            let [first, second] = [(at * 7 + 1) % 60, (at * 11 + 5) % 60];
            format!(
                "{{\"id\":\"Q{at}\",\"label\":\"Stadt {at}\",\"extract\":\"Hier Stadt {first} .\\n\
                 Dort Stadt {second} .\"}}\n"
            )
        });
        write(dir.path(), &format!("entities.{code}.jsonl"), lines.collect::<String>());
    }
    dir
}

const HOLD_OUT_COMMAND: &str = "mentions --entities . --hold-out texts=0.3,pairs=0.2,entities=0.1 \
                        --queries 20 --queries-per-entity 2 --candidates 50";

fn read_probe<T: Record>(folder: &Path, name: &str) -> Vec<T> {
    read(folder.join(format!("probe/{name}.jsonl.gz")))
}

/// The queries about unseen texts, language pairs and entities.
fn read_queries(folder: &Path) -> [Vec<MentionExample>; 3] {
    ["unseen-texts", "unseen-pairs", "unseen-entities"].map(|name| read_probe(folder, name))
}

/// Asserts that no training example in the folder `trained` contains a text, pair or entity that
/// the probes in `folder` require to be unseen.
fn expect_no_leak(folder: &Path, trained: &Path) {
    let train: Vec<MentionExample> = read(trained.join("train/mentions.jsonl.gz"));
    let texts: BTreeSet<&str> = train.iter().map(|example| &*example.id).collect();
    let entities: BTreeSet<&str> = train.iter().map(|example| &*example.entity).collect();
    let pair = |e: &MentionExample| (e.entity.clone(), e.language, e.description_language);
    let pairs: BTreeSet<_> = train.iter().map(pair).collect();
    let [unseen_texts, unseen_pairs, unseen_entities] = read_queries(folder);
    for query in unseen_texts.iter().chain(&unseen_pairs).chain(&unseen_entities) {
        assert!(!texts.contains(&*query.id), "a text");
    }
    assert!(unseen_pairs.iter().all(|query| !pairs.contains(&pair(query))), "a pair");
    assert!(unseen_entities.iter().all(|query| !entities.contains(&*query.entity)), "an entity");
}

fn expect_nothing_held_out_in_train(folder: &Path) {
    expect_no_leak(folder, folder);
    let train: Vec<MentionExample> = read(folder.join("train/mentions.jsonl.gz"));
    let entities: BTreeSet<&str> = train.iter().map(|example| &*example.entity).collect();
    let [unseen_texts, unseen_pairs, unseen_entities] = read_queries(folder);
    let candidates: Vec<Candidate> = read_probe(folder, "candidates");
    for query in unseen_texts.iter().chain(&unseen_pairs).chain(&unseen_entities) {
        let is_gold = |candidate: &&Candidate| {
            candidate.entity == query.entity && candidate.language == query.description_language
        };
        assert_eq!(candidates.iter().find(is_gold).unwrap().input_ids, query.description_ids);
    }
    for queries in [unseen_texts, unseen_pairs] {
        assert!(!queries.is_empty() && queries.len() <= 20);
        assert!(queries.iter().all(|query| entities.contains(&*query.entity)));
    }
    let candidates: BTreeSet<String> =
        candidates.into_iter().map(|candidate| candidate.entity).collect();
    assert_eq!(candidates.len(), 50);
}

#[test]
fn no_held_out_data_is_in_train_for_any_seed_and_number_of_threads() {
    let dir = city_pages();
    for (number, options) in
        ["--seed 1", "--seed 2 --monolingual", "--seed 3 --count 300 --entity-smoothing 0.3"]
            .into_iter()
            .enumerate()
    {
        let folder = |threads: &str| {
            let out = format!("out-{number}-{threads}");
            let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
            command.current_dir(dir.path()).args(HOLD_OUT_COMMAND.split_whitespace());
            command.args(options.split_whitespace()).args(["--out", &out, "--tokenizer"]);
            command.arg(testkit::fixture("tokenizer.json")).env("RAYON_NUM_THREADS", threads);
            stdout(&command.output().unwrap());
            dir.path().join(out)
        };
        let [one, four] = ["1", "4"].map(folder);
        expect_nothing_held_out_in_train(&one);
        let files = |folder: &Path| Manifest::read(folder).unwrap().unwrap().files;
        assert_eq!(files(&one), files(&four), "{options}");
    }
}

#[test]
fn held_out_texts_do_not_depend_on_the_number_of_files() {
    let dir = city_pages();
    stdout(&crate::common::run(dir.path(), "link --entities . --out linked.jsonl"));
    let text = std::fs::read_to_string(dir.path().join("linked.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (name, part) in ["c", "b", "a"].into_iter().zip(lines.chunks(lines.len().div_ceil(3))) {
        write(dir.path(), &format!("{name}.jsonl"), part.join("\n") + "\n");
    }
    for seed in 0..3 {
        let [one, three] = ["linked.jsonl", "a.jsonl,b.jsonl,c.jsonl"].map(|files| {
            let options = format!("--texts {files} --seed {seed} --out out-{}", files.len());
            stdout(&run(dir.path(), &format!("{HOLD_OUT_COMMAND} {options}")));
            dir.path().join(format!("out-{}", files.len()))
        });
        expect_no_leak(&one, &three);
        expect_no_leak(&three, &one);
    }
}

#[test]
fn the_manifest_describes_the_folder() {
    let dir = city_pages();
    stdout(&run(dir.path(), &format!("{HOLD_OUT_COMMAND} --most-mentioned 30 --out made")));
    let output = dir.path().join("made");
    let manifest = Manifest::read(&output).unwrap().unwrap();
    manifest.check(&output).unwrap();
    assert_eq!((manifest.program.as_str(), manifest.seed), ("kg-triples mentions", Some(42)));
    assert!(manifest.inputs.contains_key(Path::new("entities.de.jsonl")), "{:?}", manifest.inputs);
    let lines = Shards::open([&output]).unwrap().line_count();
    assert_eq!(manifest.counts["train"]["examples"], lines);
    assert_eq!(manifest.counts["train"]["by_language"].as_object().unwrap().len(), 3);
    let texts: Vec<MentionExample> = read_probe(&output, "unseen-texts");
    assert_eq!(manifest.counts["probe"]["unseen-texts"], texts.len());
    let train: Vec<MentionExample> = read(output.join("train/mentions.jsonl.gz"));
    let entities: BTreeSet<String> = train.into_iter().map(|example| example.entity).collect();
    assert!(entities.len() <= 30, "{entities:?}");
    // Without held-out data, no probe is written.
    stdout(&run(dir.path(), "mentions --entities . --out whole"));
    assert!(dir.path().join("whole/train").is_dir() && !dir.path().join("whole/probe").exists());
}

#[test]
fn held_out_triples_are_queries_for_candidate_objects() {
    let dir = tempdir().unwrap();
    let command = "entailment --kg kg --synthetic --hold-out 0.3 --out made";
    // Each head has five tails for the relation. A query must have only one tail, so there are no
    // queries.
    crate::common::grid(12, 5).write_dir(dir.path().join("kg")).unwrap();
    let error = failure(&run(dir.path(), command));
    assert!(error.contains("queries of 60 triples: no data"), "{error}");
    crate::common::grid(40, 1).write_dir(dir.path().join("kg")).unwrap();
    for options in ["--seed 1", "--seed 2 --count 200"] {
        let command = format!("{command} {options}");
        let table = stdout(&run(dir.path(), &command));
        assert!(has_row(&table, "candidates 1"), "{table}");
        let output = dir.path().join("made");
        let train: Vec<EntailmentExample> = read(output.join("train/triples.jsonl.gz"));
        let trained: BTreeSet<u32> = train.iter().map(|example| example.fact).collect();
        let queries: Vec<EntailmentExample> = read_probe(&output, "unseen-triples");
        assert!(!queries.is_empty() && queries.iter().all(|query| !trained.contains(&query.fact)));
        let candidates: Vec<Candidate> = read_probe(&output, "candidates");
        assert!(queries.iter().all(|query| query.object == candidates[0].entity));
        Manifest::read(&output).unwrap().unwrap().check(&output).unwrap();
    }
}

/// The values of XLM-K are 256 tokens per text (sections 3.1 to 3.3), smoothing by 0.3 as in XLM-R
/// (4.1) and 32k candidates (appendix B). *Bridging the Language Gap* samples 20,000 triples
/// (III-A).
#[test]
fn defaults_are_the_values_of_the_papers() {
    let dir = tempdir().unwrap();
    let defaults = [("description-tokens", "256"), ("smoothing", "0.3"), ("candidates", "32768")];
    let commands = [
        ("mentions", defaults.as_slice()),
        ("entailment", &defaults),
        ("sample", &[("count", "20000")]),
    ];
    for (command, options) in commands {
        let help_text = stdout(&run(dir.path(), &format!("{command} --help")));
        for (option, value) in options {
            let (_, option_help) = help_text.split_once(&format!("--{option} <")).unwrap();
            let default = option_help.split("[default: ").nth(1).unwrap();
            assert!(
                default.starts_with(&format!("{value}]")),
                "{command} --{option}: {option_help}"
            );
        }
    }
}

/// The unfinished prepared folders in `dir`.
pub fn unfinished_folders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_unfinished =
        |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".preparing-");
    entries.filter(is_unfinished).collect()
}
