//! XLM-K on files that the tools wrote: streamed, interrupted, and refused where they are wrong.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::common::{
    kill_at, kill_child_at, losses, on_two, program, refuse, root, start_two, succeed, summary,
    tool,
};

/// Mentions, triples and text of the embedded data, each in files of its own, in `folder`.
fn write_examples(folder: &Path) {
    let run = |arguments: &[&str], name: &str| {
        let mut command = tool("kg-triples");
        command.args(arguments).args(["--tokenizer", "data/base", "--out"]);
        command.arg(folder.join(name));
        succeed(command);
    };
    for (languages, name) in [("de,en", "mentions/0.jsonl.gz"), ("en,zh", "mentions/1.jsonl")] {
        run(
            &[
                "mentions",
                "--entities",
                "data/codex",
                "--languages",
                languages,
                "--max-tokens",
                "32",
                "--description-tokens",
                "32",
            ],
            name,
        );
    }
    run(
        &["entailment", "--kg", "data/mini-kg", "--labels", "--languages", "de,en,zh"],
        "triples.jsonl.gz",
    );
    let pages = kg_triples::entity_linking::page_files(root().join("data/codex")).unwrap();
    std::fs::create_dir_all(folder.join("text")).unwrap();
    for (language, format) in [("en", "txt"), ("de", "jsonl"), ("zh", "parquet")] {
        let (mut text, mut rows) = (String::new(), Vec::new());
        let (_, path) = pages.iter().find(|(own, _)| own.as_str() == language).unwrap();
        let pages =
            kg_triples::jsonl::JsonlReader::<kg_triples::entity_linking::EntityPage>::open(path);
        for page in pages.unwrap().take(60) {
            let extract = page.unwrap().extract.unwrap_or_default();
            match format {
                "txt" => text.extend([extract.replace('\n', " ").as_str(), "\n"]),
                "parquet" => rows.push(ByteArray::from(extract.as_str())),
                _ => text.extend([json!({ "url": "", "text": extract }).to_string(), "\n".into()]),
            }
        }
        let path = folder.join(format!("text/{language}.{format}"));
        match format {
            "parquet" => write_parquet(&path, &rows),
            _ => std::fs::write(path, text).unwrap(),
        }
    }
}

/// A Parquet file with a column `text`, 20 rows to a group.
fn write_parquet(path: &Path, text: &[ByteArray]) {
    let schema = parse_message_type("message rows { required binary text (UTF8); }").unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).unwrap();
    for text in text.chunks(20) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(text, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

struct Files(PathBuf);

impl Files {
    /// The small recipe on these files, eight steps of a few rows.
    fn command(&self, out: &Path) -> Command {
        let mut command = program("xlm-k");
        command.arg("examples/xlm-k/small.toml").arg("--out").arg(out);
        for set in [
            "run.arms=[\"mlm\", \"xlm-k\"]",
            "pretraining.steps=8",
            "pretraining.batch_size=6",
            "pretraining.checkpoint_steps=2",
            "pretraining.log_steps=2",
            "losses.queue.size=16",
            "micro_batch=4",
            "shuffle.lines=40",
            "shuffle.open_shards=2",
            "mlm.max_tokens=24",
        ] {
            command.args(["--set", set]);
        }
        command
    }

    fn stream(&self, command: &mut Command, parts: &[&str]) {
        for part in parts {
            let (raw, key, file) = match *part {
                "mentions" => ("mentions.pages=", "mentions.examples", "mentions"),
                "triples" => ("triples.kg=", "triples.examples", "triples.jsonl.gz"),
                _ => ("run.threads=1", "mlm.text", "text"),
            };
            command.args(["--set", raw, "--set"]);
            command.arg(format!("{key}={}", self.0.join(file).display()));
        }
    }

    /// Everything streamed.
    fn all(&self, out: &Path) -> Command {
        let mut command = self.command(out);
        self.stream(&mut command, &["mentions", "triples", "text"]);
        command.args(["--arms", "xlm-k"]);
        command
    }
}

#[test]
fn recipe_xlm_k_streamed_killed_and_resumed_equals_a_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    write_examples(folder.path());
    let files = Files(folder.path().into());
    for (name, packed) in [("plain", "mlm.packed=false"), ("packed", "mlm.packed=true")] {
        let out = |kind: &str| folder.path().join(format!("{name}-{kind}"));
        let (whole, broken) = (out("whole"), out("broken"));
        let command = |out: &Path| {
            let mut command = files.all(out);
            command.args(["--set", packed]);
            command
        };
        let text = succeed(command(&whole));
        for piece in ["mentions in 3 languages from 2 files; XEP is not asked", "XOR is not asked"]
        {
            assert!(text.contains(piece), "no {piece:?} in:\n{text}");
        }
        let cell = |out: &Path| out.join("seed-0/xlm-k");
        let checkpoint = cell(&broken).join("pretrain/checkpoints/step-00000004");
        kill_at(command(&broken), &checkpoint);
        // In the middle of a shard: the mentions' first epoch, the first block and 24 of its lines.
        let state = std::fs::read_to_string(checkpoint.join("state.json")).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        let mentions = &state["streams"][0]["position"][0];
        assert_eq!((&mentions["epoch"], &mentions["position"]["given"]), (&json!(0), &json!(24)));
        succeed(command(&broken));
        assert_eq!(summary(&whole), summary(&broken));
        let models = ["model/model.safetensors", "model/knowledge.safetensors"];
        for file in models.into_iter().chain(["pretrain/metrics.jsonl"]) {
            let read = |out: &Path| std::fs::read(cell(out).join(file)).unwrap();
            assert!(read(&whole) == read(&broken), "{name}: {file} differs");
        }
        let metrics = std::fs::read_to_string(cell(&whole).join("pretrain/metrics.jsonl")).unwrap();
        assert!(["loss/mlm", "loss/mep", "loss/oe"].iter().all(|part| metrics.contains(part)));
        let scores = &summary(&whole)["arms"]["xlm-k"];
        assert!(scores["xep_seen"].is_null() && scores["xor"].is_null(), "{scores}");
    }
}

/// One process reads every document itself, two share them: the places in the streams are the same,
/// and so are the losses.
#[test]
fn recipe_xlm_k_streamed_on_two_processes_killed_and_resumed_loses_as_on_one() {
    let folder = tempfile::tempdir().unwrap();
    write_examples(folder.path());
    let files = Files(folder.path().into());
    let command = |out: &Path| {
        let mut command = files.all(out);
        for set in [
            "pretraining.log_steps=1",
            "micro_batch=3",
            "mlm.packed=true",
            // At the demo's own rate a rounding is a thousandth of the loss within four steps.
            "pretraining.learning_rate=1e-4",
            "pretraining.groups=[]",
        ] {
            command.args(["--set", set]);
        }
        command
    };
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let checkpoint = |out: &Path| out.join("seed-0/xlm-k/pretrain/checkpoints/step-00000004");
    kill_at(command(&one), &checkpoint(&one));
    let mut ranks = start_two(|| command(&two));
    let mut follower = ranks.pop().unwrap();
    kill_child_at(ranks.pop().unwrap(), &checkpoint(&two));
    // The other one ends by itself.
    assert!(!follower.wait().unwrap().success());
    let places = |out: &Path| {
        let state = std::fs::read_to_string(checkpoint(out).join("state.json")).unwrap();
        serde_json::from_str::<Value>(&state).unwrap()["streams"].take()
    };
    assert_eq!(places(&one), places(&two));
    assert_eq!(places(&two)[0]["position"][0]["position"]["given"], json!(24));
    succeed(command(&one));
    on_two(|| command(&two));
    let (one, two) = (losses(&one), losses(&two));
    assert_eq!((one.len(), two.len()), (8, 8));
    for (a, b) in one.iter().zip(&two) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{one:?}\n{two:?}");
    }
}

#[test]
fn recipe_xlm_k_streamed_parts_stand_beside_parts_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    write_examples(folder.path());
    let files = Files(folder.path().into());
    let scores = |parts: &[&str]| {
        let out = folder.path().join(format!("run-{}", parts.join("-")));
        let mut command = files.command(&out);
        command.args(["--set", "pretraining.steps=2", "--set", "mentions.held_out.queries=20"]);
        command.args(["--set", "mentions.languages=[\"de\", \"zh\"]", "--arms", "mlm,xlm-k"]);
        files.stream(&mut command, parts);
        succeed(command);
        // The control reads the text, or else the passages of the mentions, and nothing more.
        let metrics = out.join("seed-0/mlm/pretrain/metrics.jsonl");
        let metrics = std::fs::read_to_string(metrics).unwrap();
        assert!(metrics.contains("loss/mlm") && !metrics.contains("loss/mep"), "{metrics}");
        let arm = summary(&out)["arms"]["xlm-k"].take();
        (arm["xep_seen"].is_object(), arm["xor"].is_object())
    };
    assert_eq!(scores(&["triples"]), (true, false));
    assert_eq!(scores(&["mentions"]), (false, true));
    assert_eq!(scores(&["mentions", "text"]), (false, true));
    assert_eq!(scores(&["text"]), (true, true));
}

#[test]
fn recipe_xlm_k_streamed_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    write_examples(folder.path());
    let files = Files(folder.path().into());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let refused = |sets: &[String]| {
        let mut command = files.all(&folder.path().join("run"));
        for set in sets {
            command.args(["--set", set]);
        }
        refuse(&command.output().unwrap())
    };
    for (set, piece) in [
        ("mentions.pages=data/codex".into(), "mentions.examples: and mentions.pages are both set"),
        ("triples.kg=data/mini-kg".into(), "triples.examples: and triples.kg are both set"),
        ("mentions.examples=nowhere".into(), "nowhere"),
        ("mentions.examples.max_tokens=32".into(), "examples is not a section"),
        ("mlm.max_tokens=2".into(), "mlm.max_tokens = 2"),
        ("mlm.max_tokens=4000".into(), "mlm.max_tokens = 4000: the model has"),
        ("shuffle.lines=0".into(), "shuffle.lines = 0"),
        ("losses.queue.size=1000000000000".into(), "losses.queue.size = 1000000000000"),
        ("pretraining.batch_size=1000000000000".into(), "batch_size = 1000000000000"),
        ("arms.xlm-k.multilingual=false".into(), "mentions.examples = set: must be from mentions"),
        (
            format!("mentions.examples={}", at("triples.jsonl.gz")),
            "triples.jsonl.gz: line 1, column",
        ),
        (format!("triples.examples={}", at("text")), "de.jsonl: line 1, column"),
    ] {
        let error = refused(std::slice::from_ref(&set));
        assert!(error.contains(piece), "{set}: {error}");
    }
    // A damaged file and one that the model cannot read are named before anything is trained.
    let gz = std::fs::read(at("mentions/0.jsonl.gz")).unwrap();
    std::fs::write(at("mentions/0.jsonl.gz"), &gz[..gz.len() / 2]).unwrap();
    let error = refused(&[]);
    assert!(error.contains("0.jsonl.gz: after line") && error.contains("cut off"), "{error}");
    std::fs::remove_file(at("mentions/0.jsonl.gz")).unwrap();
    let lines = std::fs::read_to_string(at("mentions/1.jsonl")).unwrap();
    let long = lines.replacen("\"description_ids\":[0,", "\"description_ids\":[0,99999,", 1);
    std::fs::write(at("mentions/1.jsonl"), long).unwrap();
    let error = refused(&[]);
    assert!(error.contains("1.jsonl: line 1: expected token ids below"), "{error}");
}
