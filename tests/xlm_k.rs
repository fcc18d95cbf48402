//! XLM-K at a few steps, an interrupted run, and what a user meets with bad input.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kg_triples::entity_linking::{LabelConfig, LabelMatcher, PageText, page_files, read_pages};
use kg_triples::jsonl::JsonlWriter;
use serde_json::json;

use crate::common::{kill_at, program, refuse, root, succeed, summary};

/// The small recipe, eight steps of a few rows.
fn small(out: &Path) -> Command {
    let mut command = program("xlm-k");
    command.arg("examples/xlm-k/small.toml").arg("--out").arg(out);
    for set in [
        "pretraining.steps=8",
        "pretraining.batch_size=6",
        "pretraining.checkpoint_steps=2",
        "pretraining.log_steps=2",
        "mentions.languages=[\"de\", \"zh\"]",
        "mentions.held_out.queries=20",
        "losses.queue.size=16",
    ] {
        command.args(["--set", set]);
    }
    command
}

/// What training left in each cell, its seconds included, so that training again would show.
fn records(out: &Path) -> BTreeMap<PathBuf, String> {
    let folders = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let cells = folders(out).into_iter().flat_map(|seed| folders(&seed));
    cells
        .map(|cell| (cell.clone(), std::fs::read_to_string(cell.join("trained.json")).unwrap()))
        .collect()
}

#[test]
fn recipe_xlm_k_walks_from_mentions_and_triples_to_its_probes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(small(&out));
    for piece in
        ["described entities", "6 relations", "| MLM only (control) |", "| XLM-K |", "chance"]
    {
        assert!(text.contains(piece), "no {piece:?} in:\n{text}");
    }
    let found = summary(&out);
    assert_eq!(found["seeds"], json!([0]));
    // Who counts pairs of languages knows nothing about pairs that were never trained.
    let guesses = found["guesses"].as_array().unwrap();
    assert_eq!(guesses.len(), 2);
    let hits = |guess: usize, probe: &str| guesses[guess][probe]["hits_at_10"]["mean"].as_f64();
    assert_eq!(hits(1, "xep"), Some(0.0));
    assert!(hits(1, "xep_seen") >= hits(0, "xep_seen") && hits(0, "xep_seen") > Some(20.0));
    for arm in ["mlm", "xlm-k"] {
        for probe in ["xep_seen", "xor"] {
            let score = &found["arms"][arm][probe];
            assert!(
                score["accuracy"]["mean"].is_f64() && score["mrr"]["mean"].is_f64(),
                "{arm} {probe}"
            );
            assert!(score["candidates"].as_u64().unwrap() > 50, "{arm} {probe}: {score}");
        }
    }
    assert!(found["arms"]["xlm-k"]["tokens"].as_u64() > found["arms"]["mlm"]["tokens"].as_u64());
    let metrics = |arm: &str| {
        std::fs::read_to_string(out.join(format!("seed-0/{arm}/pretrain/metrics.jsonl"))).unwrap()
    };
    assert!(["loss/mlm", "loss/mep", "loss/oe"].iter().all(|part| metrics("xlm-k").contains(part)));
    assert!(!metrics("mlm").contains("loss/mep"));
    // The encoder is a plain Hugging Face folder; what the tasks trained beside it has a file of
    // its own.
    let model = out.join("seed-0/xlm-k/model");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "knowledge.safetensors"] {
        assert!(model.join(file).exists(), "{file}");
    }
    let plain = std::fs::read(model.join("model.safetensors")).unwrap();
    assert!(!String::from_utf8_lossy(&plain).contains("mep_query"));
    assert!(out.join("candidates-xor.json").exists());

    // Asked again, the finished run only prints its table.
    let before = records(&out);
    assert!(succeed(small(&out)).contains("| XLM-K |"));
    assert_eq!((summary(&out), records(&out)), (found, before));
}

/// Texts about the entities of the small graph in two languages, as pages have them.
fn pages_of_countries(folder: &Path) -> PathBuf {
    let pages = folder.join("pages");
    std::fs::create_dir(&pages).unwrap();
    let labels = std::fs::read_to_string(root().join("data/mini-kg/labels.tsv")).unwrap();
    for language in ["de", "en"] {
        let mut text = String::new();
        for row in labels.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
            if row[1] == language {
                let extract = format!("{} {}", row[2], row[0]);
                text.push_str(&format!("{}\n", json!({"id": row[0], "extract": extract})));
            }
        }
        std::fs::write(pages.join(format!("entities.{language}.jsonl")), text).unwrap();
    }
    pages
}

#[test]
fn recipe_xlm_k_describes_subjects_and_objects_by_pages() {
    let folder = tempfile::tempdir().unwrap();
    let (out, pages) = (folder.path().join("run"), pages_of_countries(folder.path()));
    let start = |more: &[&str]| {
        let mut command = small(&out);
        command.args(["--arms", "xlm-k", "--set", "triples.descriptions=pages"]).args(more);
        command
    };
    // Those of the mentions are others: nothing is made up instead.
    let error = refuse(&start(&[]).output().unwrap());
    assert!(error.contains("have no described subject"), "{error}");
    let pages = format!("triples.pages={}", pages.display());
    let text = succeed(start(&["--set", &pages]));
    assert!(text.contains("0 without descriptions in two languages"), "{text}");
    let xor = &summary(&out)["arms"]["xlm-k"]["xor"];
    assert!(xor["queries"].as_u64().unwrap() > 50, "{xor}");
}

#[test]
fn recipe_xlm_k_takes_more_seeds_and_arms_and_probes_again_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let start = |more: &[&str]| {
        let mut command = small(&out);
        command.args(["--set", "pretraining.steps=1"]).args(more);
        succeed(command)
    };
    start(&["--arms", "mlm"]);
    let (first, mlm) = (summary(&out), records(&out));
    start(&["--arms", "mlm,xlm-k", "--seeds", "2"]);
    let all = records(&out);
    assert_eq!(all.len(), 4);
    assert!(mlm.iter().all(|(cell, record)| all.get(cell) == Some(record)));
    let both = summary(&out);
    assert_eq!(both["seeds"], json!([0, 1]));
    assert_eq!(both["guesses"], first["guesses"]);
    assert!(both["arms"]["xlm-k"]["xor"]["accuracy"]["sd"].is_f64());
    // The candidates are a key of the evaluation alone.
    start(&["--arms", "mlm", "--set", "probe.candidates=90"]);
    assert_eq!(records(&out), all);
    assert_eq!(summary(&out)["arms"]["mlm"]["xep_seen"]["candidates"], json!(90));
    assert_eq!(summary(&out)["arms"]["mlm"]["xor"]["candidates"], json!(90));
}

#[test]
fn recipe_xlm_k_killed_and_resumed_equals_a_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let arm = |out: &Path| {
        let mut command = small(out);
        command.args(["--arms", "xlm-k"]);
        command
    };
    succeed(arm(&whole));
    kill_at(arm(&broken), &broken.join("seed-0/xlm-k/pretrain/checkpoints/step-00000004"));
    succeed(arm(&broken));
    assert_eq!(summary(&whole), summary(&broken));
    for file in ["model/model.safetensors", "model/knowledge.safetensors", "pretrain/metrics.jsonl"]
    {
        let read = |out: &Path| std::fs::read(out.join("seed-0/xlm-k").join(file)).unwrap();
        assert!(read(&whole) == read(&broken), "{file} differs");
    }
}

#[test]
fn recipe_xlm_k_runs_every_ablation() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = small(&out);
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

/// The embedded pages with their labels linked, as `kg-triples link` writes them.
fn write_linked(path: &Path, languages: &[&str]) {
    let mut files = page_files(root().join("data/codex")).unwrap();
    files.retain(|(language, _)| languages.contains(&language.as_str()));
    let (mut labels, mut texts) = (Vec::new(), Vec::new());
    read_pages(&files, |language, page| {
        labels.extend(page.label.clone().map(|label| (language, label, page.id.clone())));
        texts.extend(page.into_text(language, PageText::Extract));
        Ok(())
    })
    .unwrap();
    let (matcher, _) = LabelMatcher::new(labels, LabelConfig::default()).unwrap();
    let mut writer = JsonlWriter::create(path).unwrap();
    for mut text in texts {
        matcher.link(&mut text, &mut BTreeMap::new());
        writer.write(&text).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn recipe_xlm_k_reads_the_links_of_texts() {
    let folder = tempfile::tempdir().unwrap();
    let (linked, out) = (folder.path().join("linked.jsonl.gz"), folder.path().join("run"));
    write_linked(&linked, &["de", "zh"]);
    let text = |command: &mut Command| {
        command.args(["--set", "mentions.links=anchors", "--set"]);
        command.arg(format!("mentions.text={}", linked.display()));
    };
    let mut command = small(&out);
    text(&mut command);
    let from_text = succeed(command);
    // The file holds the links that labels give: the same world, and the same numbers.
    let labels = folder.path().join("labels");
    assert_eq!(from_text.lines().next(), succeed(small(&labels)).lines().next());
    assert_eq!(summary(&out)["arms"], summary(&labels)["arms"]);
    let numbers = std::fs::read_to_string(out.join("numbers.jsonl")).unwrap();
    assert!(numbers.contains("\"model\":\"XLM-K\",\"setting\":\"XOR\""), "{numbers}");
    // The file is an input like others: one that is gone is named before anything is trained.
    let mut command = small(&folder.path().join("other"));
    command.args(["--set", "mentions.links=anchors", "--set", "mentions.text=nowhere.jsonl"]);
    assert!(refuse(&command.output().unwrap()).contains("nowhere.jsonl"));
}

#[test]
fn recipe_xlm_k_names_what_is_missing_or_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // At paper scale the number of steps is nobody's guess.
    let mut paper = program("xlm-k");
    paper.args(["examples/xlm-k/recipe.toml", "--model", "data/base", "--out"]).arg(&out);
    paper.args(["--set", "mentions.pages=data/codex", "--set", "triples.kg=data/mini-kg"]);
    let error = refuse(&paper.output().unwrap());
    assert!(error.contains("pretraining.steps is not set"), "{error}");
    // Nor are labels taken for links unless one says so.
    paper.args(["--set", "pretraining.steps=9"]);
    let error = refuse(&paper.output().unwrap());
    assert!(error.contains("mentions.text = none: must be a file of linked texts"), "{error}");
    for (set, names) in [
        ("mentions.pages=", "mentions.pages: is not set"),
        ("triples.kg=nowhere", "triples.kg = nowhere"),
        ("mentions.description_tokens=4000", "mentions.description_tokens = 4000: the model has"),
        ("micro_batch=0", "micro_batch = 0"),
        ("run.arms=[\"none\"]", "no arm is called"),
        ("arms.mlm.weights.mlm=nan", "arms.mlm.weights.mlm = NaN"),
        ("arms.xlm-k.weights.mep=1e30", "arms.xlm-k.weights.mep = 1"),
        ("losses.masking.probability=-1.0", "losses.masking.probability = -1: must be from 0 to 1"),
        ("losses.masking.corruption.random=nan", "losses.masking.corruption.random = NaN"),
        ("losses.oe.loss.l2_eps=1e30", "losses.oe.loss.l2_eps = 1"),
        ("mentions.languages=[\"de\", \"de\"]", "mentions.languages: de is listed twice"),
        ("facts.held_out=0.1", "unknown key `facts`"),
        ("arms.mlm.parts.mlm=1.0", "unknown key `parts`"),
        ("losses.mep.loss.temperature=0.0", "losses.mep.loss.temperature = 0"),
        ("losses.oe.loss.temperature=1e30", "must be at most 1000"),
        ("mentions.smoothing=nan", "mentions.smoothing = NaN"),
        ("losses.mep.tau=1.0", "tau"),
        ("triples.held_out_fraction=1.5", "triples.held_out_fraction = 1.5"),
        ("mentions.held_out.texts=0.0", "mentions.held_out.texts = 0"),
        ("mentions.held_out.queries=0", "mentions.held_out.queries = 0"),
        ("mentions.held_out.per_entity=0", "mentions.held_out.per_entity = 0"),
        ("triples.smoothing=2.0", "triples.smoothing = 2"),
        ("losses.mention.targets=true", "unknown key `targets`"),
        ("mentions.smoothing=-1.0", "mentions.smoothing = -1"),
        ("mentions.smoothing=nan", "mentions.smoothing = NaN"),
        ("mentions.entity_smoothing=-1.0", "mentions.entity_smoothing = -1"),
    ] {
        let mut command = small(&out);
        command.args(["--set", set]);
        let error = refuse(&command.output().unwrap());
        assert!(error.contains(names), "{set}: {error}");
    }
    // The paper's letter is what the recipe says, apart from what it leaves open.
    let text = std::fs::read_to_string(root().join("examples/xlm-k/recipe.toml")).unwrap();
    for piece in
        ["learning_rate = 3e-5", "batch_size = 8192", "size = 32768", "warmup_steps = 10000"]
    {
        assert!(text.contains(piece), "{piece}");
    }
}
