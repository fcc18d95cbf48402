//! Tests of Bridging the Language Gap with a few steps: complete and interrupted runs, and invalid
//! input.
use std::path::Path;
use std::process::{Command, Stdio};

use experiment::read_json;
use results::Measured;
use serde_json::{Value, json};

use crate::common::{
    CommandExt, FEW_ARTICLES_COMMAND, assert_contains, assert_equal_files, expect_failure,
    expect_invalid, kill_at, prepare, program, root, sequences, small_data, small_recipe, succeed,
    summary, tool,
};

/// Returns the command for the demo's recipe with a few steps of each stage.
fn small_run(out: &Path) -> Command {
    let mut command = small_recipe("bridging-gap", out);
    let pairs = "--pairs en-de,en-zh --mixed-target both";
    for (key, options) in [
        ("data.sequences", pairs.to_owned()),
        ("arms.control.sequences", format!("{pairs} --kinds monolingual")),
    ] {
        let folder = sequences(Path::new("data/base"), &options);
        command.set_path(key, &folder);
    }
    command.set_all([
        "run.threads=1",
        "injection.steps=6",
        "injection.batch_size=8",
        "injection.checkpoint_steps=2",
        "fine_tuning.steps=4",
        "fine_tuning.batch_size=4",
        "fine_tuning.checkpoint_steps=2",
    ]);
    command.set_all(small_data("bridging-gap"));
    command
}

#[test]
fn recipe_bridging_gap_runs_from_triples_to_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(small_run(&out));
    let pieces = ["triples: 627", "| base |", "| control |", "| injected |", "report.html"];
    assert_contains(&text, &pieces);
    // The program prints one table; `table.md` has all tables, and `report.html` has the answers.
    let tables = std::fs::read_to_string(out.join("table.md")).unwrap();
    assert!(tables.contains("label retrieval") && !text.contains("label retrieval"), "{text}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for piece in
        [r#""runs":["base","control","injected"]"#, "3 runs · 7 pairs", "data-name=\"loss-"]
    {
        assert!(page.contains(piece), "no {piece:?} in the page");
    }
    let summary = summary(&out);
    assert_eq!(summary["seeds"], serde_json::json!([0]));
    for arm in ["base", "control", "injected"] {
        for language in ["en", "de", "es", "ar", "hi", "vi", "zh", "average"] {
            let scores = &summary["arms"][arm][language];
            assert!(scores["f1"].is_f64() && scores["em"].is_f64(), "{arm} {language}: {scores}");
            assert!(scores["f1_half_width"].is_null());
        }
        assert!(out.join(format!("matrix/{arm}/matrix.md")).exists());
        let model = out.join(format!("seed-0/{arm}/all/model"));
        assert!(model.join("model.safetensors").exists());
    }
    assert!(summary["retrieval"]["injected"]["zh"].is_f64());
    let tokens = |arm: &str| summary["arms"][arm]["tokens"].as_f64().unwrap();
    assert_eq!(tokens("base"), 0.0);
    assert!(tokens("control") > 0.0 && tokens("injected") > 0.0);

    // If a finished run is started again, it only prints its table.
    let rerun = succeed(small_run(&out));
    assert!(rerun.contains("| injected |"));

    // If predictions were removed, they are computed again. If a model file is truncated, the error
    // names the file.
    let removed = out.join("seed-0/base/all/predictions/test-context-en-question-de.json");
    let answers = std::fs::read(&removed).unwrap();
    std::fs::remove_file(&removed).unwrap();
    let rerun = succeed(small_run(&out));
    assert!(rerun.contains("question-de.json: was removed since it was written"), "{rerun}");
    assert_eq!(std::fs::read(&removed).unwrap(), answers);
    let model = out.join("seed-0/control/all/model/model.safetensors");
    let model_bytes = std::fs::read(&model).unwrap();
    std::fs::write(&model, &model_bytes[..1000]).unwrap();
    let error = expect_failure(&small_run(&out).output().unwrap());
    assert!(error.contains("model.safetensors: has 1000 bytes, but"), "{error}");
    std::fs::write(&model, model_bytes).unwrap();

    // The saved model answers a question.
    let mut command = tool("polyqa");
    command.args([
        "answer",
        "-q",
        "Was ist die Amtssprache von Peru ?",
        "data/demo/ask.txt",
        "--model",
    ]);
    command.arg(out.join("seed-0/injected/all/model"));
    let answer = succeed(command);
    assert!(answer.contains('[') && answer.contains('%'), "{answer}");
}

#[test]
fn recipe_bridging_gap_evaluates_xquad_for_each_control() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let data = prepare(&format!("{FEW_ARTICLES_COMMAND},es --fold 1/2"));
    let mut command = program("bridging-gap");
    command
        .args(["examples/bridging-gap/pretrained.toml", "--model", "data/base", "--out"])
        .arg(&out);
    // Runs the commands in the recipe's `[prepare]` section, with fewer languages and the tokenizer
    // of `data/base`.
    let recipe =
        std::fs::read_to_string(root().join("examples/bridging-gap/pretrained.toml")).unwrap();
    let recipe: toml::Table = recipe.parse().unwrap();
    for (name, key) in [
        ("sequences", "data.sequences"),
        ("control", "arms.control.sequences"),
        ("pairs", "arms.label-pairs.sequences"),
        ("false", "arms.false-facts.sequences"),
        ("text", "arms.text.text"),
    ] {
        let command_line = recipe["prepare"][name].as_str().unwrap();
        let options = command_line
            .replace(".pretrained/multilingual-e5-small-trimmed", "data/base")
            .replace(",en-vi,en-zh", "");
        let folder = prepare(&options.split_whitespace().collect::<Vec<_>>().join(" "));
        command.set_all([format!("{key}={folder}")]);
        if name == "text" {
            command.set_all([format!("arms.injected-text.text={folder}")]);
        }
    }
    let arms =
        ["base", "control", "injected", "label-pairs", "false-facts", "injected-text", "text"];
    command.args(["--arms", &arms.join(",")]);
    command.set_all([
        format!("data.train={data}/train-context-en-question-en.json"),
        format!("data.evaluation={data}"),
        "languages=[\"en\", \"es\"]".into(),
        "run.precision=f32".into(),
        "run.threads=1".into(),
        "windows.max_length=158".into(),
        "windows.doc_stride=32".into(),
        "injection.steps=2".into(),
        "injection.batch_size=4".into(),
        "fine_tuning.steps=2".into(),
        "fine_tuning.batch_size=4".into(),
    ]);
    succeed(command);
    // Each item in `numbers.jsonl` is an article. The four articles are split into two folds, so
    // there are two test articles.
    let numbers = Measured::read(out.join("numbers.jsonl")).unwrap();
    let models: Vec<&str> = numbers.iter().step_by(2).map(|one| one.model.as_str()).collect();
    assert_eq!(models, arms);
    for number in &numbers {
        assert_eq!((number.items.len(), number.setting.as_str()), (2, "G-XLT"), "{number:?}");
    }
    // An arm with sequences and running text has one batch of each in every step.
    let summary = summary(&out);
    let tokens = |arm: &str| summary["arms"][arm]["tokens"].as_f64().unwrap();
    assert!(tokens("text") > 0.0, "{summary}");
    assert!(tokens("injected-text") > tokens("text"), "{summary}");
    let losses = out.join("seed-0/injected-text/all/inject/metrics.jsonl");
    let losses = std::fs::read_to_string(losses).unwrap();
    assert!(losses.contains("loss/text/") && losses.contains("loss/facts"), "{losses}");
}

#[test]
fn recipe_bridging_gap_streams_sequences_and_resumes_within_a_shard() {
    let folder = tempfile::tempdir().unwrap();
    // Files without a manifest are also streamed.
    let shards = folder.path().join("sequences");
    std::fs::create_dir(&shards).unwrap();
    for (pairs, name) in [("en-de,en-zh", "0.jsonl.gz"), ("en-es,en-vi", "1.jsonl.gz")] {
        let sequence_folder = sequences(Path::new("data/base"), &format!("--pairs {pairs}"));
        std::fs::copy(sequence_folder.join("train/sequences.jsonl.gz"), shards.join(name)).unwrap();
    }
    let streamed = |out: &Path| {
        let mut command = small_run(out);
        command.args(["--arms", "control,injected"]).set_path("data.sequences", &shards);
        command.set_all(["arms.control.sequences=", "shuffle={lines=5000}"]);
        command
    };
    let (uninterrupted, interrupted) = (folder.path().join("whole"), folder.path().join("broken"));
    let trial = |out: &Path| out.join("seed-0/injected/all");
    succeed(streamed(&uninterrupted));
    kill_at(streamed(&interrupted), &trial(&interrupted).join("inject/checkpoints/step-00000004"));
    let state = trial(&interrupted).join("inject/checkpoints/step-00000004/state.json");
    let state: Value = read_json(state).unwrap();
    assert_eq!(state["streams"][0]["batches"], json!(4), "{state}");
    succeed(streamed(&interrupted));
    assert_eq!(summary(&uninterrupted), summary(&interrupted));
    let files = ["model/model.safetensors", "inject/metrics.jsonl"];
    assert_equal_files([&trial(&uninterrupted), &trial(&interrupted)], &files);
    // The control trains on the monolingual sequences of the same files, with about as many tokens
    // as the arm `injected`.
    let results = summary(&uninterrupted);
    let tokens = |arm: &str| results["arms"][arm]["tokens"].as_f64().unwrap();
    assert!((tokens("control") / tokens("injected") - 1.0).abs() < 0.25, "{results}");
    std::fs::write(shards.join("2.jsonl"), "{\"fact\": 1}\n").unwrap();
    let error = expect_failure(&streamed(&folder.path().join("wrong")).output().unwrap());
    assert!(error.contains("2.jsonl: line 1, column 11: missing field"), "{error}");
}

#[test]
fn recipe_bridging_gap_trains_one_model_per_language_pair() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("paper");
    let by_pair = sequences(Path::new("data/base"), "--pairs en-de,en-zh --by-pair");
    let mut command = program("bridging-gap");
    command.arg("examples/bridging-gap/recipe.toml").arg("--out").arg(&out);
    command.args(["--model", "data/base"]);
    command.set_all([
        "run.device=cpu".to_owned(),
        "run.threads=1".into(),
        "languages=[\"en\", \"de\", \"zh\"]".into(),
        "data.kg=data/demo/kg".into(),
        format!("data.sequences={}", by_pair.display()),
        "injection.steps=3".into(),
        "fine_tuning.steps=3".into(),
        "windows.max_length=158".into(),
        "windows.doc_stride=32".into(),
    ]);
    command.set_all(small_data("bridging-gap"));
    succeed(command);
    for group in ["en-de", "en-zh"] {
        assert!(out.join("seed-42/injected").join(group).join("result.json").exists());
    }
    let summary = summary(&out);
    assert!(summary["arms"]["injected"]["zh"]["f1"].is_f64());
}

#[test]
fn invalid_settings_are_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let cases = [
        ("injection.lerning_rate=1", "lerning_rate"),
        ("injection.learning_rate=-1", "learning_rate"),
        ("injection.learning_rate=fast", "learning_rate"),
        ("run.arms=[\"inject\"]", "inject"),
        ("languages=[\"en\", \"xx\"]", "xx"),
        ("languages=[\"en\", \"de\", \"de\"]", "languages: de is listed twice"),
        ("injection.weight_decay=1e30", "weight_decay = 1"),
        ("injection.max_grad_norm=1e30", "max_grad_norm = 1"),
        ("injection.steps=1000000000000", "steps = 1000000000000: must be 10 billion or less"),
        ("data.train=nowhere.json", "nowhere.json"),
        ("data.kg=nowhere", "nowhere"),
        ("model.path=nowhere", "model.path = nowhere"),
        ("run.device=tpu", "tpu"),
        ("run.device=cuda:77", "cuda:77"),
        ("fine_tuning.batch_size=0", "batch_size"),
        ("evaluation.split=tset", "tset"),
        ("windows.max_length=90", "max_length = 90"),
        ("windows.max_length=500", "at most 158"),
        (
            "data.sequences=",
            "data.sequences: is not set: give an output folder of `kg-triples mix`",
        ),
        ("data.sequences=nowhere", "nowhere"),
        ("arms.injected.text=nowhere", "arms.injected.text = nowhere"),
        ("arms.control.equal_tokens=base", "equal_tokens = \"base\": both arms must have `kinds`"),
        ("arms.control.equal_tokens=none", "equal_tokens = \"none\": no such arm"),
    ];
    expect_invalid(|| small_run(&out), &cases);
    let text_run = || {
        let mut command = small_run(&out);
        command.set_all(["arms.injected.text=data/pud"]);
        command
    };
    expect_invalid(
        text_run,
        &[
            ("text.weight=0", "text.weight = 0: must be positive"),
            ("text.max_length=2", "text.max_length = 2: must be 3 or more"),
            ("text.max_length=500", "text.max_length = 500"),
        ],
    );
    let prepare = "prepare.questions=demo-data fact-questions --kg nowhere";
    let failed_run = small_run(&out).set_all([prepare, "data.evaluation={questions}"]).output();
    let error = expect_failure(&failed_run.unwrap());
    assert!(error.contains("add --prepare, or run `demo-data fact-questions --kg nowhere"));
    let missing_recipe = program("bridging-gap").arg("nowhere.toml").output().unwrap();
    assert!(expect_failure(&missing_recipe).contains("nowhere.toml"));
}

#[test]
fn a_full_disk_is_reported_in_one_line_and_leaves_no_partial_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let command = small_run(&out);
    // The shell limits files to 1 MiB (2048 blocks of 512 bytes). Question files are smaller, and
    // checkpoints are larger.
    let limited_output = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = expect_failure(&limited_output);
    assert!(error.contains("too large") || error.contains("No space"), "{error}");
    let checkpoints = out.join("seed-0/base/all/fine-tune/checkpoints");
    let partial_files: Vec<_> = std::fs::read_dir(&checkpoints).unwrap().collect();
    assert!(partial_files.is_empty(), "{partial_files:?}");
    // Without the limit, the same command resumes the run.
    succeed(small_run(&out));
}
