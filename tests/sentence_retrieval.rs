//! Tests of sentence retrieval with a few steps: arms, augmented passages, re-ranking, the loss of
//! parallel questions, an interrupted run and rejected input.
use std::path::Path;
use std::process::Command;

use results::Measured;

use crate::common::{
    CommandExt, assert_equal_files, expect_invalid, kill_at, small_recipe, succeed, summary,
};

/// Returns the small recipe's command with two languages and three steps of four pairs.
fn small_run(out: &Path) -> Command {
    let mut command = small_recipe("sentence-retrieval", out);
    command.set_all([
        "languages=[\"en\",\"de\"]",
        "training.steps=3",
        "training.batch_size=4",
        "training.checkpoint_steps=1",
        "training.log_steps=1",
        "pairs.sentence_length=32",
        "evaluation.sentence_languages=[\"en\",\"de\"]",
        "evaluation.max_sentences=20",
        "evaluation.max_length=32",
        "reranking.languages=[\"en\",\"de\"]",
        "reranking.max_entities=60",
        "reranking.candidates=8",
        "reranking.queries=5",
        "reranking.max_length=32",
        "reranking.training.steps=3",
        "reranking.training.batch_size=2",
        "reranking.training.checkpoint_steps=1",
        "reranking.training.log_steps=1",
    ]);
    command
}

#[test]
fn recipe_sentence_retrieval_compares_arms_and_augmented_passages() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(small_run(&out));
    assert!(text.contains("| sentences, % | PUD, de, p@1 | PUD, p@1 |"), "{text}");
    let tables = std::fs::read_to_string(out.join("table.md")).unwrap();
    for row in ["base", "BM25", "base + questions", "monolingual questions + other questions"] {
        assert!(tables.contains(&format!("| {row} |")), "no {row:?} in:\n{tables}");
    }
    let results = summary(&out);
    let tokens = |arm: &str| results["arms"][arm]["tokens"].as_f64().unwrap();
    let trained_arms = ["parallel", "regression", "paragraph", "paragraph-same", "control"];
    assert!(tokens("base") == 0.0 && trained_arms.iter().all(|arm| tokens(arm) > 0.0), "{results}");
    let bm25 = |setting: &str| {
        let recall =
            &results["arms"]["base"]["scores"]["BM25"][format!("XQuAD, {setting}, recall@5")];
        recall["mean"].as_f64().unwrap()
    };
    assert!(["rerank", "rerank-plain"].iter().all(|arm| tokens(arm) > 0.0), "{results}");
    let recall = |arm: &str, title: &str, metric: &str| {
        let column = format!("entities, different languages, {metric}");
        results["arms"][arm]["scores"][title][column]["mean"].as_f64().unwrap()
    };
    // The list has eight candidates, so all of them have a rank of at most 16 after re-ranking, and
    // the first ranks of the generator are among them.
    assert!(
        recall("rerank", "re-ranked", "recall@16") >= recall("rerank", "re-ranked", "recall@1")
    );
    for title in ["entities: BM25", "entities: vectors", "entities: BM25 + vectors"] {
        assert!(recall("base", title, "recall@16") >= recall("base", title, "recall@1"), "{title}");
    }
    assert!(bm25("same language") > 90.0 && bm25("different languages") < 60.0, "{results}");
    // The test items of PUD are 20 sentences. The test items of XQuAD are the questions of the last
    // twelve articles.
    let numbers = Measured::read(out.join("numbers.jsonl")).unwrap();
    let item_count = |setting: &str| {
        let is_selected = |one: &&Measured| one.model == "base" && one.setting == setting;
        let number = numbers.iter().filter(is_selected).find(|one| one.language == "avg").unwrap();
        let mean = number.items.iter().sum::<f64>() / number.items.len() as f64;
        assert!((mean - number.value).abs() < 0.01, "{setting}: {mean} {}", number.value);
        number.items.len()
    };
    assert_eq!(["PUD", "XQuAD, different languages"].map(item_count), [20, 265]);

    // If the questions added to the paragraphs have weight 0, they do not change the ranks.
    let mut unweighted_run = small_run(&out);
    unweighted_run.args(["--arms", "base"]).set_all(["evaluation.alpha=0"]);
    succeed(unweighted_run);
    let scores = &summary(&out)["arms"]["base"]["scores"];
    for setting in ["same language", "different languages", "lowest pair"] {
        let column = format!("XQuAD, {setting}, recall@5");
        let base_recall = &scores["base"][&column]["mean"];
        assert!(base_recall.is_f64(), "{scores}");
        for other in ["base + questions", "base + other questions"] {
            assert_eq!(base_recall, &scores[other][&column]["mean"], "{other}, {column}");
        }
    }
}

#[test]
fn recipe_sentence_retrieval_learns_parallel_questions() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = small_run(&out);
    command.args(["--arms", "parallel"]);
    command.set_all(["training.steps=40", "training.batch_size=32", "training.log_steps=10"]);
    succeed(command);
    let metrics = out.join("seed-0/parallel/train/metrics.jsonl");
    let metrics = std::fs::read_to_string(metrics).unwrap();
    let loss = |line: &str| -> f64 {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap()
    };
    let losses: Vec<f64> = metrics.lines().map(loss).collect();
    // Guessing has the loss ln 32 = 3.47. Without the higher learning rate of the word embeddings, the
    // loss of the last ten steps is above 2.9; with it, 2.4.
    assert!(losses.last() < Some(&2.7), "{losses:?}");
}

#[test]
fn recipe_sentence_retrieval_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let [uninterrupted, interrupted] = ["whole", "broken"].map(|name| folder.path().join(name));
    let paragraph_run = |out: &Path| {
        let mut command = small_run(out);
        command.args(["--arms", "paragraph"]);
        command
    };
    succeed(paragraph_run(&uninterrupted));
    let stage = interrupted.join("seed-0/paragraph/train");
    kill_at(paragraph_run(&interrupted), &stage.join("checkpoints/step-00000001"));
    succeed(paragraph_run(&interrupted));
    let files = ["seed-0/paragraph/model/model.safetensors", "numbers.jsonl"];
    assert_equal_files([&uninterrupted, &interrupted], &files);
}

#[test]
fn recipe_sentence_retrieval_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("data.xquad=", "data.xquad: is not set: give a folder with XQuAD's files"),
        ("languages=[\"en\"]", "languages = [\"en\"]: must be two languages or more"),
        ("languages=[\"en\",\"fr\"]", "xquad.fr.json"),
        ("train_articles=48", "train_articles = 48: no questions in one of the splits"),
        ("dropped_words=1.5", "dropped_words = 1.5: must be in [0, 1)"),
        ("evaluation.alpha=1", "evaluation.alpha = 1: must be in [0, 1)"),
        ("evaluation.max_length=4000", "evaluation.max_length = 4000: the model has "),
        ("arms.parallel.batch_size=0", "arms.parallel"),
        ("arms.parallel.rerank.rank_weight=1", "arms.parallel: give either positive or rerank"),
        ("arms.rerank.rerank.rank_weight=-1", "rank_weight = -1: must be finite and 0 or more"),
        ("reranking.languages=[]", "reranking.languages = []: arms with `rerank` need two or more"),
        ("reranking.languages=[\"en\",\"fr\"]", "0 entities have names and descriptions in 2"),
        ("reranking.candidates=61", "reranking.candidates = 61: there are 60 entities"),
        ("reranking.held_out=1", "reranking.held_out = 1: must be in (0, 1)"),
        ("reranking.max_length=4000", "reranking.max_length = 4000: the model has "),
        ("data.entities=", "data.entities: is not set"),
    ];
    expect_invalid(|| small_run(&folder.path().join("run")), &cases);
    assert!(!folder.path().join("run/seed-0").exists());
}
