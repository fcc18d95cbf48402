//! Tests of mixMRC + LAKM with a few steps: complete and interrupted runs, user files, and rejected
//! input.
use std::path::{Path, PathBuf};
use std::process::Command;

use experiment::read_json;
use mlqa_eval::{Dataset, Matrix};
use serde_json::{Value, json};
use trainer::selection::BestEvaluation;

use crate::common::{
    CommandExt, FEW_ARTICLES_COMMAND, assert_contains, demo_data, expect_failure, expect_invalid,
    prepare, program, small_data, small_recipe, succeed, summary, tool,
};

/// Returns the small recipe's command with two languages, six steps and small batches.
fn small_run(out: &Path) -> Command {
    let mut command = small_recipe("mixmrc-lakm", out);
    command.set_all([
        "run.threads=1",
        "languages=[\"en\", \"de\"]",
        "evaluation.contexts=[\"en\", \"de\"]",
        "training.steps=6",
        "training.batch_size=4",
        "training.checkpoint_steps=2",
        "training.log_steps=1",
    ]);
    command.set_all(small_data("mixmrc-lakm"));
    command
}

#[test]
fn recipe_mixmrc_alternates_between_its_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = small_run(&out);
    command.args(["--arms", "baseline,mixmrc,mixmrc-on-top,mixmrc-lakm,lakm-ngrams"]);
    let text = succeed(command);
    let header = "| EM / F1 | en | de | same language | two languages | all pairs |\n";
    let pieces = [header, "translated: ", "mixed: ", "| mixMRC + LAKM |", "| Random n-grams |"];
    assert_contains(&text, &pieces);
    let results = summary(&out);
    // Each arm has six updates on questions. Batches of phrases, and batches of mixed questions in
    // `mixmrc-on-top`, are additional updates.
    for (arm, steps) in [
        ("baseline", 6),
        ("mixmrc", 6),
        ("mixmrc-on-top", 12),
        ("mixmrc-lakm", 9),
        ("lakm-ngrams", 12),
    ] {
        assert_eq!(results["arms"][arm]["steps"], json!(steps), "{arm}");
        assert!(results["arms"][arm]["off_diagonal"]["f1"].is_f64());
        assert!(out.join("matrix").join(arm).join("matrix.md").exists());
    }
    assert!(out.join("report.html").exists());
    let losses_of = |arm: &str| -> Vec<String> {
        let path = out.join(format!("seed-0/{arm}/train/metrics.jsonl"));
        let text = std::fs::read_to_string(path).unwrap();
        let loss_name = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["parts"].as_object().unwrap().keys().next().unwrap().clone()
        };
        text.lines().map(loss_name).collect()
    };
    assert_eq!(
        losses_of("mixmrc-lakm"),
        ["loss/mrc/span", "loss/mixed/span", "loss/lakm/mlm"].repeat(3)
    );
    assert_eq!(losses_of("baseline"), ["loss/span"; 6]);
    assert_eq!(losses_of("mixmrc-on-top"), ["loss/mrc/span", "loss/mixed/span"].repeat(6));
}

#[test]
fn recipe_mixmrc_pools_scores_of_xquad_folds() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool_command = tool("mlqa-eval");
    pool_command.arg("matrix").arg("--out").arg(folder.path());
    let mut questions = 0;
    for fold in 1..=2 {
        let command = format!("{FEW_ARTICLES_COMMAND} --fold {fold}/2");
        let data = prepare(&command);
        let out = folder.path().join(format!("fold-{fold}"));
        let mut command = program("mixmrc-lakm");
        command
            .args(["examples/mixmrc-lakm/pretrained.toml", "--model", "data/base", "--out"])
            .arg(&out);
        command.set_all([
            format!("data.train={data}/train-context-en-question-en.json"),
            format!("data.translated={data}"),
            format!("data.evaluation={data}"),
            "data.phrases=".into(),
            "lakm_max_length=128".into(),
            "languages=[\"en\", \"de\"]".into(),
            "evaluation.contexts=[\"en\", \"de\"]".into(),
            "windows.max_length=158".into(),
            "windows.doc_stride=32".into(),
            "run.arms=[\"mixmrc\"]".into(),
            "run.precision=f32".into(),
            "run.threads=1".into(),
            "training.steps=2".into(),
            "training.batch_size=4".into(),
        ]);
        succeed(command);
        let matrix = Matrix::read_json(out.join("matrix/mixmrc/matrix.json")).unwrap();
        assert_eq!(matrix.len(), 4);
        questions += matrix.cells().next().unwrap().2.questions;
        let predictions = out.join("seed-0/mixmrc/predictions");
        pool_command.args(["--data", &data]).arg("--predictions").arg(predictions);
    }
    succeed(pool_command);
    let matrix = Matrix::read_json(folder.path().join("matrix.json")).unwrap();
    assert!(matrix.cells().all(|(_, _, cell)| cell.questions == questions));
}

#[test]
fn recipe_mixmrc_compares_translators() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepare(&format!("{FEW_ARTICLES_COMMAND} --fold 1/2"));
    // The second translator has translated only ten questions.
    let name = "train-context-de-question-de.json";
    let mut few = Dataset::read(Path::new(&data).join(name)).unwrap();
    let count = few.questions.len();
    few.questions.truncate(10);
    few.write(folder.path().join(name)).unwrap();
    let out = folder.path().join("run");
    let command = || {
        let mut command = program("mixmrc-lakm");
        command.args(["examples/mixmrc-lakm/apertium.toml", "--out"]).arg(&out);
        command.set_all([
            format!("data.train={data}/train-context-en-question-en.json"),
            format!("data.translated={data}"),
            format!("data.evaluation={data}"),
            "languages=[\"en\", \"de\"]".into(),
            "evaluation.contexts=[\"en\", \"de\"]".into(),
            "training.steps=2".into(),
            "training.batch_size=4".into(),
        ]);
        command
    };
    let error = expect_failure(&command().output().unwrap());
    assert!(error.contains("data.translators.apertium: is not set"), "{error}");
    let mut run = command();
    run.set_all([format!("data.translators.apertium={}", folder.path().display())]);
    let text = succeed(run);
    assert!(text.contains(&format!("questions: {count}, translated: {count}, mixed: ")), "{text}");
    assert!(
        text.contains(&format!("apertium: questions: {count}, translated: 10, mixed: 20")),
        "{text}"
    );
    let arms = &summary(&out)["arms"];
    assert_eq!(
        (&arms["mixmrc"]["steps"], &arms["mixmrc-apertium"]["steps"]),
        (&json!(2), &json!(2))
    );
}

/// Returns a folder with English and German questions and their translations, as a user would
/// provide them.
fn question_folder() -> PathBuf {
    demo_data("fact-questions", "--parallel --languages en,de --items 12").into()
}

/// Returns the command for the recipe at paper scale, but with the small model `data/base`.
/// `settings` select the data.
fn paper_run(out: &Path, settings: &[String]) -> Command {
    let mut command = program("mixmrc-lakm");
    command.args(["examples/mixmrc-lakm/recipe.toml", "--model", "data/base", "--out"]);
    command.arg(out).set_all(["run.threads=1", "windows.max_length=158", "lakm_max_length=128"]);
    command.set_all(["windows.doc_stride=32", "training.batch_size=4", "evaluation.split=test"]);
    command.set_all(settings);
    command
}

/// Returns settings that select the files in the folder `questions` and the languages of a run.
fn file_settings(questions: &Path, languages: &str) -> Vec<String> {
    let train = questions.join("train-context-en-question-en.json");
    vec![
        format!("data.train={}", train.display()),
        format!("data.evaluation={}", questions.display()),
        format!("data.translated={}", questions.display()),
        format!("languages={languages}"),
        format!("evaluation.contexts={languages}"),
    ]
}

#[test]
fn recipe_mixmrc_at_paper_scale_reads_the_files_of_the_tools() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = file_settings(&question_folder(), "[\"en\", \"de\"]");
    settings.extend(["training.steps=2".into(), "run.arms=[\"mixmrc\"]".into()]);
    let out = folder.path().join("run");
    let text = succeed(paper_run(&out, &settings));
    assert!(text.contains("| mixmrc |"), "{text}");
    // If the path of a data file is not set, the error names its key.
    let error_without = |key: &str, arm: &str| {
        let mut other_settings = settings.clone();
        other_settings.retain(|set| !set.starts_with(key));
        other_settings.push(format!("run.arms=[{arm:?}]"));
        expect_failure(&paper_run(&out, &other_settings).output().unwrap())
    };
    for (key, arm) in [
        ("data.evaluation", "mixmrc"),
        ("data.translated", "mixmrc"),
        // This arm does not train on translations. The translations are still required, because
        // LAKM draws as many passages as there are mixed questions.
        ("data.translated", "zero-shot-lakm"),
        ("data.phrases", "lakm"),
    ] {
        let error = error_without(key, arm);
        assert!(error.contains(&format!("{key}: is not set")), "{arm}: {error}");
    }
}

#[test]
fn recipe_mixmrc_stops_when_scores_converge() {
    let folder = tempfile::tempdir().unwrap();
    let questions = question_folder();
    let run = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        let mut settings = file_settings(&questions, "[\"en\", \"de\"]");
        // The learning rate is too small to change an answer, so the score converges at the first
        // evaluation.
        settings.extend(["run.arms=[\"mixmrc\"]", "training.steps=20"].map(String::from));
        settings.extend(["training.learning_rate=1e-12", "training.patience=2"].map(String::from));
        settings.extend(["training.evaluation_steps=2", "selection.metric=f1"].map(String::from));
        settings.extend(options.iter().map(|set| (*set).to_owned()));
        let text = succeed(paper_run(&out, &settings));
        let stage = out.join("seed-42/mixmrc/train");
        let best = stage.join("selection.json");
        let best: Option<BestEvaluation> = best.exists().then(|| read_json(best).unwrap());
        (summary(&out)["arms"]["mixmrc"]["steps"].as_u64().unwrap(), best, text)
    };
    let dev = format!("data.dev={}", questions.display());
    let (steps, best, _) = run("files", &[&dev]);
    let best = best.unwrap();
    assert_eq!((steps, best.evaluation, best.scores.len()), (6, 0, 3));
    let names: Vec<&String> = best.scores[0].keys().collect();
    assert_eq!(names, ["dev-context-de-question-de.json", "dev-context-en-question-en.json"]);
    // With `keep=last`, training does not stop early: all 20 steps are run.
    let (steps, best, last_text) = run("last", &[&dev, "selection.keep=last"]);
    assert_eq!((steps, best), (20, None));
    // Without `data.dev`, a share of the training passages is held out, together with their
    // questions and translations.
    let (steps, best, text) = run("held-out", &["selection.held_out=0.3"]);
    assert!(steps == 6 && best.unwrap().scores[0].contains_key("held out"));
    let counts = |text: &str| -> Vec<usize> {
        let (_, counts) = text.split_once("questions: ").unwrap();
        let numbers = counts.lines().next().unwrap().split(|c: char| !c.is_ascii_digit());
        numbers.filter_map(|number| number.parse().ok()).collect()
    };
    let (all_counts, held_out_counts) = (counts(&last_text), counts(&text));
    assert!(
        all_counts[0] > held_out_counts[0] && held_out_counts[0] > 0,
        "{all_counts:?} {held_out_counts:?}"
    );
    let first = held_out_counts[0];
    assert_eq!(held_out_counts, [first, first, 2 * first]);
}

/// Copies the question files, and replaces `de` by `fr` in their names, because French is not a
/// language of MLQA. Test files in which question and passage have different languages are not
/// copied.
fn copy_as_french(questions: &Path, folder: &Path) -> PathBuf {
    let french = folder.join("french");
    std::fs::create_dir(&french).unwrap();
    for entry in std::fs::read_dir(questions).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().replace("-de", "-fr");
        if !name.contains("-context-") {
            continue;
        }
        let name_parts = name.strip_prefix("test-context-").map(|name| name.split_at(2));
        let is_cross_lingual =
            name_parts.is_some_and(|(context, rest)| !rest.contains(&format!("-{context}.")));
        if !is_cross_lingual {
            std::fs::copy(&path, french.join(name)).unwrap();
        }
    }
    french
}

#[test]
fn recipe_mixmrc_arms_make_equal_numbers_of_question_updates() {
    let folder = tempfile::tempdir().unwrap();
    let questions = copy_as_french(&question_folder(), folder.path());
    let passages = |language: &str, count: usize| -> String {
        let passage = |number: usize| {
            let text = format!("number {number} of new york city");
            let start = text.find("new").unwrap();
            json!({"lang": language, "text": text, "phrases": [{"phrase": "new york",
                "occurrences": [{"start": start, "end": start + 8}]}]})
            .to_string()
                + "\n"
        };
        (0..count).map(passage).collect()
    };
    let phrases = folder.path().join("phrases.jsonl");
    std::fs::write(&phrases, passages("en", 40) + &passages("fr", 10)).unwrap();
    let mut settings = file_settings(&questions, "[\"en\", \"fr\"]");
    settings.push(format!("data.phrases={}", phrases.display()));
    settings.extend(["training.epochs=2".into(), "training.log_steps=1".into()]);
    settings.push("selection.keep=last".into());
    let out = folder.path().join("run");
    let error = expect_failure(&paper_run(&out, &settings).output().unwrap());
    assert!(error.contains("test-context-en-question-fr.json"), "{error}");
    settings.push("evaluation.questions=of_context".into());
    let text = succeed(paper_run(&out, &settings));

    let number = |name: &str| -> usize {
        let (_, after_name) =
            text.split_once(name).unwrap_or_else(|| panic!("no {name:?} in:\n{text}"));
        after_name.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    let source = number("questions: ");
    assert_eq!((number("translated: "), number("mixed: ")), (source, 2 * source));
    // As in section 3.2 of the paper, as many passages are drawn as there are mixed questions. The
    // file has 50 passages, so some are not drawn.
    assert!(2 * source < 50);
    assert_eq!(number("passages with phrases: "), 2 * source);

    // The number of updates: two epochs, in batches of four, over the questions in the language of
    // their passages.
    let updates = u64::try_from(2 * (2 * source).div_ceil(4)).unwrap();
    assert!(updates.is_multiple_of(2), "{updates}: choose another number of items");
    for (arm, [mrc, mixed, lakm]) in [
        ("baseline", [updates, 0, 0]),
        ("lakm", [updates, 0, updates]),
        ("mixmrc", [updates / 2, updates / 2, 0]),
        ("mixmrc-lakm", [updates / 2, updates / 2, updates / 2]),
    ] {
        let path = out.join(format!("seed-42/{arm}/train/metrics.jsonl"));
        let text = std::fs::read_to_string(path).unwrap();
        let count_steps = |names: &[&str]| -> u64 {
            let has_loss = |line: &&str| {
                let line: Value = serde_json::from_str(line).unwrap();
                names.iter().any(|name| line["parts"].get(name).is_some())
            };
            text.lines().filter(has_loss).count().try_into().unwrap()
        };
        let losses = [
            count_steps(&["loss/span", "loss/mrc/span"]),
            count_steps(&["loss/mixed/span"]),
            count_steps(&["loss/lakm/mlm"]),
        ];
        assert_eq!(losses, [mrc, mixed, lakm], "{arm}");
        assert_eq!(summary(&out)["arms"][arm]["steps"], json!(mrc + mixed + lakm), "{arm}");
        // French questions are answered and scored.
        let predictions = out.join(format!("seed-42/{arm}/predictions"));
        assert!(predictions.join("test-context-fr-question-fr.json").exists(), "{arm}");
        // The folder contains two prediction files and `questions.json`.
        assert_eq!(std::fs::read_dir(predictions).unwrap().count(), 3, "{arm}");
        let summary = summary(&out);
        assert!(summary["arms"][arm]["languages"]["fr"]["f1"].is_f64(), "{arm}");
        assert!(summary["arms"][arm].get("off_diagonal").is_none(), "{arm}");
        let table = std::fs::read_to_string(out.join("table.md")).unwrap();
        let row = table.lines().nth(2).unwrap();
        assert_eq!(row.matches(" – |").count(), 1, "{row}");
        assert!(table.ends_with("passage and question are in this language.\n"), "{table}");
    }
}

#[test]
fn recipe_mixmrc_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let cases = [
        ("languages=[\"de\", \"en\"]", "languages = [\"de\", \"en\"]"),
        ("rounds.mixed=0", "rounds.mixed=0"),
        ("selection.held_out=-1.0", "selection.held_out = -1"),
        ("lakm_max_length=4000", "lakm_max_length = 4000: the model has"),
        ("lakm_max_length=0", "lakm_max_length = 0: must be 3 or more"),
        ("ngrams.max_tokens=0", "ngrams.max_tokens = 0: must be at least 1"),
        ("languages=[\"en\", \"de\", \"de\"]", "languages: de is listed twice"),
        ("windows.max_length=40", "max_length = 40"),
        ("data.evaluation=nowhere", "data.evaluation = nowhere"),
        ("run.arms=[\"nobody\"]", "nobody"),
        ("training.learning_rat=1", "learning_rat"),
    ];
    expect_invalid(|| small_run(&out), &cases);
    assert!(!out.exists(), "no run folder is created");
}
