//! Tests of From Good to Best with a few steps: complete and interrupted runs, and invalid input.
use std::path::Path;
use std::process::Command;

use experiment::read_json;
use mlqa_eval::{Dataset, Language, Matrix};
use results::Measured;
use serde_json::json;
use trainer::selection::BestEvaluation;

use crate::common::{
    CommandExt, assert_contains, expect_failure, expect_invalid, program, root, small_data,
    small_recipe, succeed, summary,
};

/// Returns the small recipe's command with two languages, six steps per stage and small batches.
fn small_run(out: &Path) -> Command {
    let mut command = small_recipe("good-to-best", out);
    command.set_all([
        "selection={keep=\"best\",from_start=true}",
        "languages=[\"en\", \"zh\"]",
        "stage_one.steps=6",
        "stage_one.batch_size=6",
        "stage_one.checkpoint_steps=2",
        "stage_one.log_steps=2",
        "stage_two.steps=6",
        "stage_two.batch_size=6",
        "stage_two.checkpoint_steps=2",
        "stage_two.log_steps=2",
    ]);
    command.set_all(small_data("good-to-best"));
    command
}

/// Returns all tables of a run; the program prints only the first table.
fn tables(out: &Path) -> String {
    std::fs::read_to_string(out.join("table.md")).unwrap()
}

/// Returns the metrics of an arm's second stage.
fn metrics(out: &Path, arm: &str) -> String {
    std::fs::read_to_string(out.join(format!("seed-0/{arm}/train/metrics.jsonl"))).unwrap()
}

#[test]
fn recipe_good_to_best_trains_reader_and_boundaries() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(small_run(&out));
    let pieces = ["40 training questions", "| stage one |", "| HL + AA-CL |", "table.md"];
    assert_contains(&text, &pieces);
    let tables = tables(&out);
    let pieces = [
        "| stage one |",
        "| plain (control) |",
        "| HL + AA-CL |",
        "minus the control",
        "EM within the k best answers",
        "| language | run | questions | exact |",
        "candidates of 40 windows",
        "Learned weights by slot",
    ];
    assert_contains(&tables, &pieces);
    let results = summary(&out);
    assert_eq!(results["seeds"], json!([0]));
    for arm in ["before", "plain", "hl", "aa-cl", "hl+aa-cl"] {
        let set = &results["arms"][arm]["sets"]["XQuAD"];
        let em = set["scores"]["average"]["em"].as_f64().unwrap();
        let top: Vec<f64> =
            ["1", "3", "5", "10"].map(|k| set["top_k"]["average"][k].as_f64().unwrap()).into();
        assert!((top[0] - em).abs() < 1e-9, "{arm}: top-1 {} is not EM {em}", top[0]);
        assert!(top.is_sorted(), "{arm}: {top:?}");
        // EM counts answers with the gold text, both at the gold position and elsewhere.
        for language in ["en", "zh"] {
            let counts = &set["boundary"][language];
            let count = |key: &str| counts[key].as_u64().unwrap();
            let kinds = ["exact", "superset", "subset", "overlap", "disjoint", "unanswered"];
            assert_eq!(kinds.iter().map(|key| count(key)).sum::<u64>(), 178);
            let em = set["scores"][language]["em"].as_f64().unwrap();
            assert_eq!(count("exact") + count("elsewhere"), (em * 1.78).round() as u64);
        }
    }
    // Every value in `numbers.jsonl` is the mean over its test items.
    let numbers = Measured::read(out.join("numbers.jsonl")).unwrap();
    assert_eq!(numbers.len(), 10, "F1 and EM of five models");
    for number in &numbers {
        let mean = number.items.iter().sum::<f64>() / number.items.len() as f64;
        assert!((mean - number.value).abs() < 0.01, "{}: {mean}, {}", number.model, number.value);
    }
    let metrics = |arm: &str| metrics(&out, arm);
    let joint_metrics = metrics("hl+aa-cl");
    assert!(joint_metrics.contains("loss/hard") && joint_metrics.contains("loss/contrastive"));
    assert!(metrics("plain").contains("loss/span") && !metrics("plain").contains("loss/hard"));
    assert!(
        metrics("aa-cl").contains("loss/span") && metrics("aa-cl").contains("loss/contrastive")
    );
    let tokens = |arm: &str| results["arms"][arm]["tokens"].as_u64();
    assert_eq!(tokens("plain"), tokens("hl+aa-cl"), "the control has as many tokens");
    for file in [
        "seed-0/stage-one/candidates-20.safetensors",
        "seed-0/hl+aa-cl/model/model.safetensors",
        "matrix/plain/XQuAD/matrix.md",
        "table.md",
        "report.html",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    // If a finished run is started again, it only prints its first table. A sweep in the run folder
    // reuses the reader of stage one.
    let rerun = succeed(small_run(&out));
    assert!(rerun.contains("| HL + AA-CL |") && rerun.matches("|---|").count() == 1, "{rerun}");
    let mut sweep_run = small_run(&out);
    sweep_run.args(["--arms", "z-*"]).set_all(["sweeps.z=[1, 50]"]);
    let text = succeed(sweep_run);
    assert!(text.contains("| z-1 |") && text.contains("| z-50 |"), "{text}");
    assert!(out.join("seed-0/stage-one/candidates-50.safetensors").exists());
}

#[test]
fn recipe_good_to_best_selects_the_model_by_development_questions() {
    let folder = tempfile::tempdir().unwrap();
    // The learning rate of the second stage is so high that training only makes the reader worse.
    let run = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        let mut command = small_run(&out);
        command.args(["--arms", "plain"]).set_all(options);
        command.set_all(["stage_one.steps=20", "stage_two.learning_rate=0.1"]);
        let text = succeed(command);
        (out, text)
    };
    let model = |out: &Path, name: &str| {
        std::fs::read(out.join("seed-0").join(name).join("model/model.safetensors")).unwrap()
    };
    let scores = |out: &Path, name: &str| -> BestEvaluation {
        read_json(out.join("seed-0").join(name).join("train/selection.json")).unwrap()
    };
    let evaluation_option = "stage_two.evaluation_steps=2";
    let (best, text) = run("best", &[evaluation_option]);
    assert!(text.contains("seed 0, plain: train: evaluation 1 of 4 is the best: "), "{text}");
    // Stage one has the same model with and without its start as a candidate.
    assert!(scores(&best, "stage-one").evaluation > 0);
    let results = scores(&best, "plain");
    // The model is scored at the start, after 2 and 4 steps, and at the end.
    assert_eq!((results.evaluation, results.scores.len()), (0, 4));
    let f1 = |index: usize| results.scores[index]["dev-context-en-question-en.json"];
    assert!((1..4).all(|index| f1(index) < f1(0)), "{results:?}");
    assert!(model(&best, "plain") == model(&best, "stage-one"), "the reader is unchanged");
    // With `from_start=false`, the initial model is not a candidate, and the best trained model is
    // selected. With `keep=last`, there is no selection, and the last model is saved.
    let (trained, _) = run("trained", &[evaluation_option, "selection.from_start=false"]);
    let without_start = scores(&trained, "plain");
    assert_eq!(without_start.scores, results.scores[1..]);
    assert!(model(&trained, "plain") != model(&trained, "stage-one"));
    let (last, _) = run("last", &[evaluation_option, "selection.keep=last"]);
    assert!(!last.join("seed-0/plain/train/selection.json").exists());
    let is_last = without_start.evaluation + 1 == without_start.scores.len();
    assert_eq!(model(&last, "plain") == model(&trained, "plain"), is_last);
    assert_eq!(scores(&best, "stage-one").scores.len(), 4, "both stages select");
}

#[test]
fn recipe_good_to_best_trains_figure_2_without_the_contrastive_loss() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = small_run(&out);
    command.args(["--arms", "hl-z-5,mml-z-5,negatives-hardest-count-10"]);
    succeed(command);
    let metrics = |arm: &str| metrics(&out, arm);
    for arm in ["hl-z-5", "mml-z-5"] {
        let lines = metrics(arm);
        assert!(lines.contains("loss/hard") && !lines.contains("loss/contrastive"), "{arm}");
    }
    assert_ne!(metrics("hl-z-5"), metrics("mml-z-5"));
    assert!(metrics("negatives-hardest-count-10").contains("loss/contrastive"));
    assert!(out.join("seed-0/stage-one/candidates-5.safetensors").exists());
}

#[test]
fn recipe_good_to_best_runs_on_files_with_both_normalisations() {
    let folder = tempfile::tempdir().unwrap();
    // Questions generated from facts replace SQuAD and MLQA.
    let data = small_data("good-to-best");
    let xquad = folder.path().join("xquad");
    let mut small_dataset = Dataset::read(root().join("data/xquad/xquad.zh.json")).unwrap();
    small_dataset.questions.truncate(20);
    small_dataset.write(xquad.join("xquad.zh.json")).unwrap();
    let paper = folder.path().join("paper");
    let mut command = program("good-to-best");
    command
        .args(["examples/good-to-best/recipe.toml", "--model", "data/base", "--out"])
        .arg(&paper);
    command.set_all([
        data[0].as_str(),
        data[2].as_str(),
        format!("data.xquad={}", xquad.display()).as_str(),
        "languages=[\"zh\"]",
        "run.arms=[\"hl+aa-cl\"]",
        "run.device=cpu",
        "windows.max_length=158",
        "windows.doc_stride=32",
        "windows.max_question_length=48",
        "stage_one.steps=2",
        "stage_one.batch_size=4",
        "stage_two.steps=2",
        "stage_two.batch_size=4",
    ]);
    // An evaluation file without articles is rejected before training. With the original file, the
    // run succeeds.
    let path = xquad.join("xquad.zh.json");
    let original = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "{\"data\": []}").unwrap();
    let error = expect_failure(&command.output().unwrap());
    assert!(error.contains("xquad.zh.json"), "{error}");
    assert!(!paper.join("seed-42").exists(), "nothing was trained");
    std::fs::write(&path, original).unwrap();
    let text = succeed(command);
    assert!(text.contains("| F1 / EM, mean over languages | mlqa | xquad |"), "{text}");
    // Without `data.dev`, the questions of one training passage are held out for selection.
    assert!(text.contains("39 training questions"), "{text}");
    let selection: BestEvaluation =
        read_json(paper.join("seed-42/hl+aa-cl/train/selection.json")).unwrap();
    assert!(selection.scores[0].contains_key("held out"), "{selection:?}");
    let text = tables(&paper);
    assert!(text.contains("xquad, F1 / EM under SQuAD's English normalisation"), "{text}");
    let page = std::fs::read_to_string(paper.join("report.html")).unwrap();
    assert!(page.contains("the rules of each set: MLQA's or SQuAD's English rules"));
    let results = summary(&paper);
    let set = &results["arms"]["hl+aa-cl"]["sets"]["xquad"];
    assert!(set["squad"]["zh"]["em"].is_f64());
    assert!(results["arms"]["hl+aa-cl"]["sets"]["mlqa"]["squad"].as_object().unwrap().is_empty());
    // The run's matrices are inputs of `mlqa-eval compare`. XQuAD has one matrix for SQuAD's rules
    // and another for MLQA's rules.
    let matrix = |name: &str| {
        let path = paper.join("matrix/hl+aa-cl").join(name).join("matrix.json");
        let matrix = Matrix::read_json(path).unwrap();
        let em = matrix.get(Language::ZH, Language::ZH).unwrap().em;
        (matrix.title, em)
    };
    let (title, em) = matrix("xquad");
    assert_eq!(title, "HL + AA-CL, xquad, SQuAD's English rules");
    assert_eq!(Some(em), set["squad"]["zh"]["em"].as_f64());
    let (title, em) = matrix("xquad-mlqa-rules");
    assert_eq!(title, "HL + AA-CL, xquad, MLQA's rules");
    assert_eq!(Some(em), set["scores"]["zh"]["em"].as_f64());
    assert_eq!(matrix("mlqa").0, "HL + AA-CL, mlqa");
}

#[test]
fn recipe_good_to_best_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut paper_run = program("good-to-best");
    paper_run.args(["examples/good-to-best/recipe.toml", "--out"]).arg(&out);
    let error = expect_failure(&paper_run.output().unwrap());
    assert!(error.contains("data.train: is not set"), "{error}");
    let cases = [
        ("model.path=", "model.path: is not set"),
        ("model.path=nowhere", "model.path = nowhere"),
        ("boundary.alpha=1.5", "boundary.alpha = 1.5"),
        ("boundary.contrast.temperature=0.0", "temperature = 0"),
        ("boundary.contrast.temperature=1e30", "must be above 0 and at most 1000"),
        ("boundary.contrast.tau=1.0", "tau"),
        ("data.name=xquad", "data.name = \"xquad\""),
        ("boundary.hard.weighting=soft", "weighting"),
        ("candidates.count=0", "candidates.count = 0"),
        ("arms.hl.candidates=0", "arms.hl"),
        ("arms.before.alpha=0.5", "arms.before"),
        ("run.arms=[\"none\"]", "no arm is called"),
        ("run_arms=[\"plain\"]", "unknown key `run_arms`"),
        ("reading.context_only=true", "qa"),
        ("sweeps.gamma=[1]", "sweeps.gamma = 1"),
        ("windows.max_length=4000", "max_length = 4000"),
        ("evaluation.top_k=[30]", "evaluation.top_k"),
        ("data.split=train", "data.split"),
        ("data.mlqa=", "data.mlqa: is not set"),
        ("selection.held_out=1.0", "selection.held_out = 1"),
        ("selection.decoding.n_best=0", "selection.decoding.n_best = 0"),
        ("selection.keep=first", "first"),
    ];
    expect_invalid(|| small_run(&out), &cases);
    assert!(!out.exists(), "no run folder is created");
}
