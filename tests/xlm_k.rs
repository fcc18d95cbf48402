//! Tests of XLM-K with a few steps on folders that `kg-triples` prepares: complete and interrupted
//! runs, and invalid input.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use experiment::read_json;
use kg_triples::entity_linking::{EntityPage, page_files};
use kg_triples::jsonl::JsonlReader;
use kg_triples::knowledge::MentionExample;
use serde_json::{Value, json};

use crate::common::{
    CommandExt, assert_contains, assert_equal_files, assert_equal_losses, expect_failure,
    expect_invalid, kill_at, kill_child_at, program, root, run_on_two_ranks, small_recipe,
    start_two_ranks, succeed, summary, tool,
};

/// Folder with mentions, monolingual mentions, triples and text of the embedded data; created once.
static FOLDERS: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xlm-k");
    std::fs::create_dir_all(&folder).unwrap();
    let mentions = "mentions --entities data/codex --languages de,zh --max-tokens 32 \
                    --description-tokens 32 --most-mentioned 100 --count 600 \
                    --entity-smoothing 0.3 --hold-out texts=0.1,pairs=0.2,entities=0.1 \
                    --queries 20 --queries-per-entity 4";
    let triples = "entailment --kg data/mini-kg --synthetic --description-tokens 24 --count 300 \
                   --hold-out 0.2";
    for (command, name) in [
        (mentions.to_owned(), "mentions"),
        (format!("{mentions} --monolingual"), "monolingual"),
        (triples.to_owned(), "triples"),
    ] {
        let mut program = tool("kg-triples");
        program.args(command.split_whitespace()).args(["--tokenizer", "data/base", "--out"]);
        program.arg(folder.join(name));
        succeed(program);
    }
    write_text(&folder.join("text"));
    folder
});

/// Writes documents in three languages, as `.txt` and `.jsonl` files.
fn write_text(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let pages = page_files(root().join("data/codex")).unwrap();
    for (language, format) in [("en", "txt"), ("de", "jsonl"), ("zh", "jsonl")] {
        let mut text = String::new();
        let (_, path) =
            pages.iter().find(|(page_language, _)| page_language.as_str() == language).unwrap();
        for page in JsonlReader::<EntityPage>::open(path).unwrap().take(60) {
            let extract = page.unwrap().extract.unwrap_or_default();
            let line = match format {
                "txt" => extract.replace('\n', " "),
                _ => json!({ "url": "", "text": extract }).to_string(),
            };
            text.extend([line.as_str(), "\n"]);
        }
        std::fs::write(folder.join(format!("{language}.{format}")), text).unwrap();
    }
}

/// Returns the small recipe's command on [`FOLDERS`], with eight steps and small batches.
pub fn small_run(out: &Path) -> Command {
    let [mentions, monolingual, triples] =
        ["mentions", "monolingual", "triples"].map(|name| FOLDERS.join(name));
    small_run_on(out, [&mentions, &monolingual, &triples])
}

/// Returns the small recipe's command on the given folders, with eight steps and small batches.
fn small_run_on(out: &Path, [mentions, monolingual, triples]: [&Path; 3]) -> Command {
    let mut command = small_recipe("xlm-k", out);
    command.set_path("data.mentions", mentions).set_path("data.triples", triples);
    command.set_path("arms.table4-2-mep-monolingual.mentions", monolingual);
    command.set_all([
        "pretraining.steps=8",
        "pretraining.batch_size=6",
        "pretraining.checkpoint_steps=2",
        "pretraining.log_steps=2",
        "losses.queue.size=16",
        "shuffle.lines=40",
        "shuffle.open_shards=2",
    ]);
    command
}

/// Returns the command for the arm `xlm-k`, with a separate text for masked language modelling and
/// with micro-batches.
fn text_run(out: &Path) -> Command {
    let mut command = small_run(out);
    command.set_path("mlm.text", &FOLDERS.join("text"));
    command.args(["--arms", "xlm-k"]).set_all(["micro_batch=4", "mlm.max_tokens=24"]);
    command
}

/// Returns the training record of each trial. Records include the training time, so they would
/// change if the trial were trained again.
fn training_records(out: &Path) -> BTreeMap<PathBuf, String> {
    let folders = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let trials = folders(out).into_iter().flat_map(|seed| folders(&seed));
    trials
        .map(|trial| (trial.clone(), std::fs::read_to_string(trial.join("trained.json")).unwrap()))
        .collect()
}

/// Asserts that two runs have equal summaries, and that the models and losses of an arm are equal
/// bit for bit.
fn expect_equal_runs(uninterrupted: &Path, interrupted: &Path, arm: &str) {
    assert_eq!(summary(uninterrupted), summary(interrupted));
    let trials = [uninterrupted, interrupted].map(|out| out.join("seed-0").join(arm));
    let files =
        ["model/model.safetensors", "model/knowledge.safetensors", "pretrain/metrics.jsonl"];
    assert_equal_files([&trials[0], &trials[1]], &files);
}

#[test]
fn recipe_xlm_k_probes_the_encoder_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = small_run(folder.path());
    command.args(["--arms", "mlm", "--set", "arms.mlm.untrained=true"]);
    succeed(command);
    let arm = &summary(folder.path())["arms"]["mlm"];
    assert_eq!(arm["tokens"], json!(0));
    assert!(arm["xep_seen"].is_object(), "{arm}");
    assert!(!folder.path().join("seed-0/mlm/pretrain/metrics.jsonl").exists());
}

#[test]
fn recipe_xlm_k_runs_from_mentions_and_triples_to_its_probes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(small_run(&out));
    let pieces = [
        "600 mentions in 2 languages from 1 files; ",
        "300 triples of 6 relations",
        "| MLM only (control) |",
        "| XLM-K |",
        "chance",
    ];
    assert_contains(&text, &pieces);
    let results = summary(&out);
    assert_eq!(results["seeds"], json!([0]));
    // Baseline 1 counts the training mentions of each entity in the query's language pair. The
    // correct entities of the probe `xep` have no such mentions, so the baseline scores 0.
    let baselines = results["baselines"].as_array().unwrap();
    assert_eq!(baselines.len(), 4);
    let hits_at_10 =
        |baseline: usize, probe: &str| baselines[baseline][probe]["hits_at_10"]["mean"].as_f64();
    assert_eq!(hits_at_10(1, "xep"), Some(0.0));
    assert!(
        hits_at_10(1, "xep_seen").is_some() && hits_at_10(0, "xep_seen") > Some(5.0),
        "{baselines:?}"
    );
    // Baselines 0 and 1 rank entities, and have no object scores. Baselines 2 and 3 rank the same
    // objects as the models.
    for (baseline, xor) in [(0, false), (1, false), (2, true), (3, true)] {
        let by_relation = &baselines[baseline]["xor_by_relation"]["mean"];
        assert_eq!((baselines[baseline]["xor"].is_object(), by_relation.is_f64()), (xor, xor));
        assert_eq!(baselines[baseline]["xep_seen"].is_object(), !xor);
    }
    let query_counts =
        |row: &Value| [row["xor"]["queries"].clone(), row["xor"]["candidates"].clone()];
    assert_eq!(query_counts(&baselines[2]), query_counts(&results["arms"]["xlm-k"]));
    assert!(results["arms"]["xlm-k"]["xor_by_relation"]["mean"].is_f64());
    for arm in ["mlm", "xlm-k"] {
        for probe in ["xep_seen", "xor"] {
            let score = &results["arms"][arm][probe];
            assert!(
                score["accuracy"]["mean"].is_f64() && score["mrr"]["mean"].is_f64(),
                "{arm} {probe}"
            );
            assert!(score["candidates"].as_u64().unwrap() > 50, "{arm} {probe}: {score}");
        }
    }
    assert!(
        results["arms"]["xlm-k"]["tokens"].as_u64() > results["arms"]["mlm"]["tokens"].as_u64()
    );
    let metrics = |arm: &str| {
        std::fs::read_to_string(out.join(format!("seed-0/{arm}/pretrain/metrics.jsonl"))).unwrap()
    };
    assert!(["loss/mlm", "loss/mep", "loss/oe"].iter().all(|part| metrics("xlm-k").contains(part)));
    assert!(metrics("mlm").contains("loss/mlm") && !metrics("mlm").contains("loss/mep"));
    // The encoder is a plain Hugging Face folder; the heads of the tasks are in a separate file.
    let model = out.join("seed-0/xlm-k/model");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "knowledge.safetensors"] {
        assert!(model.join(file).exists(), "{file}");
    }
    let encoder = std::fs::read(model.join("model.safetensors")).unwrap();
    assert!(!String::from_utf8_lossy(&encoder).contains("mep_query"));
    assert!(out.join("candidates-xor.json").exists());
    let numbers = std::fs::read_to_string(out.join("numbers.jsonl")).unwrap();
    for model in ["XLM-K", "Baseline: most frequent object of the relation"] {
        for metric in ["accuracy", "hits@10", "macro accuracy"] {
            let number =
                json!({ "model": model, "setting": "XOR", "language": "all", "metric": metric });
            let number = number.as_object().unwrap();
            let stored = numbers.lines().any(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                number.iter().all(|(key, value)| line[key] == *value)
            });
            assert!(stored, "no {number:?} in:\n{numbers}");
        }
    }
    // The printed table skips values that the run does not have.
    let mut table = tool("transfer-eval");
    table.args(["table", "001-7", "--run"]).arg(out.join("numbers.jsonl"));
    assert!(succeed(table).contains("| **Baseline: most frequent object of the relation** |"));

    // If a finished run is started again, it only prints its table.
    let first_records = training_records(&out);
    assert!(succeed(small_run(&out)).contains("| XLM-K |"));
    assert_eq!((summary(&out), training_records(&out)), (results, first_records));
}

#[test]
fn recipe_xlm_k_resumes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, packed) in [("plain", "mlm.packed=false"), ("packed", "mlm.packed=true")] {
        let [uninterrupted, interrupted] =
            ["whole", "broken"].map(|kind| folder.path().join(format!("{name}-{kind}")));
        let command = |out: &Path| {
            let mut command = text_run(out);
            command.set_all([packed]);
            command
        };
        let text = succeed(command(&uninterrupted));
        assert!(text.contains("documents from 3 files, in passages of 24 tokens"), "{text}");
        let trial = |out: &Path| out.join("seed-0/xlm-k");
        let checkpoint = trial(&interrupted).join("pretrain/checkpoints/step-00000004");
        kill_at(command(&interrupted), &checkpoint);
        // Stream 0 is text, stream 1 mentions and stream 2 triples. The run was interrupted within
        // a shard of mentions, after 24 lines of the first epoch.
        let state: Value = read_json(checkpoint.join("state.json")).unwrap();
        let mentions = &state["streams"][1]["position"];
        assert_eq!((&mentions["epoch"], &mentions["position"]["given"]), (&json!(0), &json!(24)));
        succeed(command(&interrupted));
        expect_equal_runs(&uninterrupted, &interrupted, "xlm-k");
        let metrics =
            std::fs::read_to_string(trial(&uninterrupted).join("pretrain/metrics.jsonl")).unwrap();
        assert!(["loss/mlm", "loss/mep", "loss/oe"].iter().all(|part| metrics.contains(part)));
        let scores = &summary(&uninterrupted)["arms"]["xlm-k"];
        assert!(scores["xep_seen"].is_object() && scores["xor"].is_object(), "{scores}");
    }
}

/// A single process reads every document, while two processes divide the documents between them.
/// Stream positions and losses must be equal in both cases.
#[test]
fn recipe_xlm_k_on_two_processes_resumes_and_equals_one() {
    let folder = tempfile::tempdir().unwrap();
    let command = |out: &Path| {
        let mut command = text_run(out);
        command.set_all([
            "pretraining.log_steps=1",
            "micro_batch=3",
            "mlm.packed=true",
            // At the small recipe's higher learning rate, rounding errors would grow to a
            // thousandth of the loss within four steps.
            "pretraining.learning_rate=1e-4",
            "pretraining.groups=[]",
        ]);
        command
    };
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let checkpoint = |out: &Path| out.join("seed-0/xlm-k/pretrain/checkpoints/step-00000004");
    kill_at(command(&one), &checkpoint(&one));
    let mut ranks = start_two_ranks(|| command(&two));
    let mut second_rank = ranks.pop().unwrap();
    kill_child_at(ranks.pop().unwrap(), &checkpoint(&two));
    // The second process fails because the first process was killed.
    assert!(!second_rank.wait().unwrap().success());
    let positions_of = |out: &Path| {
        read_json::<Value>(checkpoint(out).join("state.json")).unwrap()["streams"].take()
    };
    assert_eq!(positions_of(&one), positions_of(&two));
    assert_eq!(positions_of(&two)[1]["position"]["position"]["given"], json!(24));
    succeed(command(&one));
    run_on_two_ranks(|| command(&two));
    assert_equal_losses(&one, &two, 8);
}

#[test]
fn recipe_xlm_k_runs_every_ablation() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = small_run(&out);
    command.args(["--arms", "table4-*", "--set", "pretraining.steps=1"]);
    let text = succeed(command);
    for row in [
        "XLM-K w/o knowledge task",
        "MEP w/o multilingual description",
        "MEP",
        "OE w/o contrastive loss",
        "OE",
    ] {
        assert!(text.contains(&format!("\n| {row} |")), "no {row} in:\n{text}");
    }
}

#[test]
fn recipe_xlm_k_at_paper_shape_evaluates_unseen_entities() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = program("xlm-k");
    command.args(["examples/xlm-k/shape.toml", "--model", "data/base", "--out"]).arg(&out);
    command.set_path("data.mentions", &FOLDERS.join("mentions"));
    command.set_path("data.triples", &FOLDERS.join("triples"));
    command.set_all([
        "run.seeds=[0]",
        "run.device=cpu",
        "run.precision=f32",
        "micro_batch=4",
        "losses.queue.size=16",
        "pretraining.steps=2",
        "pretraining.batch_size=8",
    ]);
    succeed(command);
    for arm in ["mlm", "xlm-k"] {
        let results = &summary(&out)["arms"][arm];
        for probe in ["xep", "xep_new", "xor"] {
            assert!(results[probe]["hits_at_10"]["mean"].is_f64(), "{arm} {probe}: {results}");
        }
    }
}

#[test]
fn recipe_xlm_k_evaluates_no_probe_without_probe_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // The training data has no probes, because `data.mentions` is a folder of training files and
    // `data.triples` is a single file.
    let train_folder = |name: &str| FOLDERS.join(name).join("train");
    let mut command = small_run(&out);
    command.set_path("data.mentions", &train_folder("mentions"));
    command.set_path("data.triples", &train_folder("triples").join("triples.jsonl.gz"));
    command.args(["--arms", "xlm-k", "--set", "pretraining.steps=1"]);
    let text = succeed(command);
    assert_contains(&text, &["no XEP queries: the folder has no probe", "no XOR queries"]);
    let scores = &summary(&out)["arms"]["xlm-k"];
    assert!(scores["xep_seen"].is_null() && scores["xor"].is_null(), "{scores}");
}

#[test]
fn recipe_xlm_k_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // The number of steps has no default at paper scale.
    let mut paper = program("xlm-k");
    paper.args(["examples/xlm-k/recipe.toml", "--model", "data/base", "--out"]).arg(&out);
    let error = expect_failure(&paper.output().unwrap());
    assert!(error.contains("pretraining.steps is not set"), "{error}");
    paper.args(["--set", "pretraining.steps=9"]);
    let error = expect_failure(&paper.output().unwrap());
    assert!(
        error.contains("data.mentions: is not set: give an output folder of `kg-triples m"),
        "{error}"
    );
    let triples = FOLDERS.join("triples").display().to_string();
    let text = FOLDERS.join("text").display().to_string();
    let cases = [
        ("data.mentions=", "data.mentions: is not set"),
        ("data.triples=nowhere", "data.triples = nowhere"),
        (&format!("data.mentions={triples}"), "triples.jsonl.gz: line 1, column"),
        (&format!("data.triples={text}"), "de.jsonl: line 1, column"),
        ("micro_batch=0", "micro_batch = 0"),
        ("run.arms=[\"none\"]", "no arm is called"),
        ("arms.mlm.weights.mlm=nan", "arms.mlm.weights.mlm = NaN"),
        ("arms.xlm-k.weights.mep=1e30", "arms.xlm-k.weights.mep = 1"),
        ("losses.masking.probability=-1.0", "losses.masking.probability = -1: must be from 0 to 1"),
        ("losses.masking.corruption.random=nan", "losses.masking.corruption.random = NaN"),
        ("losses.oe.loss.l2_eps=1e30", "losses.oe.loss.l2_eps = 1"),
        ("facts.held_out=0.1", "unknown key `facts`"),
        ("arms.mlm.parts.mlm=1.0", "unknown key `parts`"),
        ("losses.mep.loss.temperature=0.0", "losses.mep.loss.temperature = 0"),
        ("losses.oe.loss.temperature=1e30", "must be at most 1000"),
        ("losses.mep.tau=1.0", "tau"),
        ("losses.mention.targets=true", "unknown key `targets`"),
        ("losses.queue.size=1000000000000", "losses.queue.size = 1000000000000"),
        ("pretraining.batch_size=1000000000000", "batch_size = 1000000000000"),
        ("mlm.max_tokens=2", "mlm.max_tokens = 2"),
        ("mlm.max_tokens=4000", "mlm.max_tokens = 4000: the model has"),
        ("shuffle.lines=0", "shuffle.lines = 0"),
    ];
    let command = || {
        let mut command = small_run(&out);
        command.set_all([format!("mlm.text={text}").as_str(), "mlm.max_tokens=24"]);
        command
    };
    expect_invalid(command, &cases);
}

/// A token id outside the vocabulary is reported with its file and line.
#[test]
fn recipe_xlm_k_reports_the_line_of_an_unknown_id() {
    let folder = tempfile::tempdir().unwrap();
    let examples =
        JsonlReader::<MentionExample>::open(FOLDERS.join("mentions/train/mentions.jsonl.gz"));
    let mut text = String::new();
    for (number, example) in examples.unwrap().enumerate() {
        let mut example = example.unwrap();
        if number == 6 {
            example.description_ids.insert(1, 99_999);
        }
        text.push_str(&format!("{}\n", json!(example)));
    }
    let mentions_file = folder.path().join("plain.jsonl");
    std::fs::write(&mentions_file, text).unwrap();
    let mut command = small_run(&folder.path().join("run"));
    command.set_path("data.mentions", &mentions_file);
    let error = expect_failure(&command.output().unwrap());
    assert!(error.contains("plain.jsonl: line 7: expected token ids below"), "{error}");
}

/// Writes ten files of mentions with a total size of about `bytes` bytes.
fn write_shards(folder: &Path, lines: &str, bytes: usize) {
    std::fs::create_dir(folder).unwrap();
    for number in 0..10 {
        let mut file = File::create(folder.join(format!("{number}.jsonl"))).unwrap();
        for _ in 0..=bytes / 10 / lines.len() {
            file.write_all(lines.as_bytes()).unwrap();
        }
    }
}

/// Compares the peak memory for 1 MB and for 10 MB of mentions; in long test runs, for 100 MB and
/// for 1 GB.
#[test]
fn recipe_xlm_k_memory_does_not_grow_with_the_mentions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut lines = String::new();
    for example in
        JsonlReader::<MentionExample>::open(FOLDERS.join("mentions/train/mentions.jsonl.gz"))
            .unwrap()
    {
        lines += &format!("{}\n", json!(example.unwrap()));
    }
    let bytes = if testkit::is_long() { 100_000_000 } else { 1_000_000 };
    let [small, large] = [("small", bytes), ("large", 10 * bytes)].map(|(name, bytes)| {
        let shards = folder.join(name);
        write_shards(&shards, &lines, bytes);
        let out = folder.join(format!("{name}-run"));
        let mut command = small_run_on(&out, [&shards, &shards, &FOLDERS.join("triples")]);
        command.args(["--arms", "xlm-k", "--set", "pretraining.steps=2"]);
        let peak_mib =
            testkit::process::run_measured(&mut command, &folder.join("output")).unwrap().peak_mib;
        std::fs::remove_dir_all(shards).unwrap();
        peak_mib
    });
    println!("{small:.0} MiB, {large:.0} MiB with ten times the mentions");
    assert!(large < small + 50.0, "{small:.0} MiB, {large:.0} MiB");
}
