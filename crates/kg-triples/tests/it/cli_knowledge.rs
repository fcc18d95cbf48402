//! The subcommands `mentions` and `entailment`: their sources, their files, and what they refuse.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{countries, write};
use kg_triples::jsonl::{JsonlReader, Record};
use kg_triples::knowledge::{EntailmentExample, MentionExample};
use tempfile::{TempDir, tempdir};

fn run(dir: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    let tokenizer = testkit::fixture("tokenizer.json");
    command.current_dir(dir).args(arguments.split_whitespace()).arg("--tokenizer").arg(tokenizer);
    command.output().unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn failure(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty() && error.starts_with("error: "), "{error}");
    error
}

/// Whether a line of a table consists of these words.
fn has_row(table: &str, row: &str) -> bool {
    table.lines().any(|line| line.split_whitespace().eq(row.split_whitespace()))
}

fn read<T: Record>(path: &Path) -> Vec<T> {
    JsonlReader::open(path).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Pages of two entities in two languages.
fn entities() -> TempDir {
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
    let dir = entities();
    let table = stdout(&run(dir.path(), "mentions --entities pages --out m/m.jsonl.gz"));
    // described, labels, ambiguous, too short, links, own page, entities, passages used
    assert!(has_row(&table, "en 2 2 0 0 3 2 2 1"), "{table}");
    assert!(has_row(&table, "zh 1 2 0 0 1 1 1 1"), "{table}");
    assert!(has_row(&table, "passages 4") && has_row(&table, "passages used 2"), "{table}");
    let made: Vec<MentionExample> = read(&dir.path().join("m/m.jsonl.gz"));
    let pairs: Vec<_> = made
        .iter()
        .map(|e| (e.language.to_string(), e.entity.as_str(), e.description_language.to_string()))
        .collect();
    assert_eq!(pairs, [("en".into(), "Q515", "zh".into()), ("zh".into(), "Q3957", "en".into())]);

    let table = stdout(&run(
        dir.path(),
        "mentions --entities pages --page-text either --count 100 --smoothing 0 --seed 3 --max-tokens 8 --description-tokens 5 --out d.jsonl",
    ));
    assert!(has_row(&table, "drawn 100"), "{table}");
    let drawn: Vec<MentionExample> = read(&dir.path().join("d.jsonl"));
    assert_eq!(drawn.len(), 100);
    assert!(drawn.iter().all(|e| e.input_ids.len() <= 8 && e.description_ids.len() <= 5));
    let chinese = drawn.iter().filter(|example| example.language == "zh").count();
    assert!((30..70).contains(&chinese), "{chinese} of 100");
    stdout(&run(
        dir.path(),
        "mentions --entities pages --page-text either --count 100 --smoothing 0 --seed 3 --max-tokens 8 --description-tokens 5 --out e.jsonl",
    ));
    assert!(drawn == read::<MentionExample>(&dir.path().join("e.jsonl")));

    let table = stdout(&run(
        dir.path(),
        "mentions --entities pages --languages en --monolingual --out o.jsonl",
    ));
    assert!(has_row(&table, "passages used 2") && !table.contains("zh"), "{table}");
}

#[test]
fn linked_texts_and_wikipedia_pages_are_sources_too() {
    let dir = entities();
    let line =
        r#"{"id":"1","lang":"en","text":"Bern.","mentions":[{"start":0,"end":4,"entity":"Q515"}]}"#;
    write(dir.path(), "t.jsonl", format!("{line}\n"));
    let table = stdout(&run(dir.path(), "mentions --texts t.jsonl --entities pages --out m.jsonl"));
    assert!(has_row(&table, "texts 1") && has_row(&table, "passages used 1"), "{table}");

    // Pages of entities describe them where no folder does.
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
    let made: Vec<MentionExample> = read(&dir.path().join("w.jsonl"));
    assert_eq!((made[0].id.as_str(), made[0].entity.as_str()), ("en:1", "Q39"));
    assert_eq!(made[0].description_language, "de");
}

#[test]
fn triples_are_joined_with_descriptions() {
    let dir = entities();
    countries().write_dir(dir.path().join("kg")).unwrap();
    let table = stdout(&run(dir.path(), "entailment --kg kg --labels --out e.jsonl.gz"));
    assert!(has_row(&table, "usable 6") && has_row(&table, "relations 2"), "{table}");
    let made: Vec<EntailmentExample> = read(&dir.path().join("e.jsonl.gz"));
    assert_eq!(made.len(), 6);
    assert!(made.iter().all(|e| e.subject_language != e.object_language && e.relation < 2));
    stdout(&run(dir.path(), "entailment --kg kg --labels --count 50 --out f.jsonl"));
    assert_eq!(read::<EntailmentExample>(&dir.path().join("f.jsonl")).len(), 50);

    let text = r#"{"id":"1","lang":"en","entity":"Q183","text":"Germany."}"#;
    let other = r#"{"id":"2","lang":"de","entity":"Q64","text":"Berlin."}"#;
    write(dir.path(), "t.jsonl", format!("{text}\n{other}\n"));
    let table = stdout(&run(dir.path(), "entailment --kg kg --texts t.jsonl --out g.jsonl"));
    assert!(has_row(&table, "usable 1"), "{table}");
    let error = failure(&run(dir.path(), "entailment --kg kg --entities pages --out h.jsonl"));
    assert!(error.contains("nothing is left") && error.contains("6 have no described subject"));
    assert!(!dir.path().join("h.jsonl").exists());
}

#[test]
fn bad_input_is_named_and_leaves_no_file() {
    let dir = entities();
    countries().write_dir(dir.path().join("kg")).unwrap();
    write(dir.path(), "bad.jsonl", "\n{\"id\":\"1\"}\n");
    write(dir.path(), "wiki", "{\"id\":\"1\"}\n");
    write(dir.path(), "s.tsv", "id\tlang\ttitle\nQ1\ten\n");
    write(&dir.path().join("pages"), "entities.de.jsonl", "{\"id\":\"Q1\"}\n{\"label\":\"x\"}\n");
    for (arguments, why) in [
        ("mentions --texts bad.jsonl --entities kg", "files entities.<lang>.jsonl"),
        ("mentions --texts bad.jsonl", "bad.jsonl:2"),
        ("mentions --texts none.jsonl", "none.jsonl"),
        ("mentions --entities pages", "entities.de.jsonl:2"),
        ("mentions --wiki en=wiki --sitelinks s.tsv", "s.tsv:2: columns"),
        ("mentions --wiki en=wiki", "--sitelinks"),
        ("mentions --wiki wiki --sitelinks s.tsv", "language=file"),
        ("mentions", "--entities"),
        ("mentions --entities pages --languages en,zh --max-tokens 2", "max_tokens = 2"),
        ("mentions --entities pages --languages en,zh --count 5 --smoothing 2", "smoothing = 2"),
        ("mentions --entities pages --languages en", "nothing is left"),
        ("entailment --kg kg", "--entities"),
        ("entailment --kg kg --entities pages", "entities.de.jsonl:2"),
        ("entailment --kg none --labels", "none"),
        ("entailment --kg kg --labels --description-tokens 2", "description_tokens = 2"),
    ] {
        let error = failure(&run(dir.path(), &format!("{arguments} --out out.jsonl")));
        assert!(error.contains(why), "{arguments}: {error}");
        assert!(!dir.path().join("out.jsonl").exists(), "{arguments}");
    }
}
