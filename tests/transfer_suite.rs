//! Tests of the recipe `transfer-suite` with a few steps per task: several models, a run that is
//! started again, and invalid input.
use std::path::Path;
use std::process::Command;

use experiment::read_json;
use results::Measured;
use serde_json::{Value, json};
use testkit::fixture;

use crate::common::{
    CommandExt, assert_contains, expect_failure, program, small_data, small_recipe, succeed,
    summary, write_encoder,
};

/// Writes a few English sentences of three documents, and test files in three languages.
fn write_data(folder: &Path) {
    let sentence = |document: usize, number: usize, words: &[(&str, &str)]| {
        let mut text = format!("# sent_id = d-{document}-{number:04}\n");
        for (k, (word, tag)) in words.iter().enumerate() {
            text.push_str(&format!("{}\t{word}\t{tag}\t-\t-\n", k + 1));
        }
        text + "\n"
    };
    let names = ["Lima", "Paris", "Tokyo", "Berlin"];
    let train: String = (0..24)
        .map(|k| {
            let words = [("Anna", "B-PER"), ("lives", "O"), ("in", "O"), (names[k % 4], "B-LOC")];
            sentence(k / 8, k, &words[k % 2..])
        })
        .collect();
    std::fs::write(folder.join("train.iob2"), train).unwrap();
    for (language, verb) in [("en", "lives"), ("de", "wohnt"), ("zh", "住")] {
        let words = [("Paula", "B-PER"), (verb, "O"), ("Lima", "B-LOC"), ("UNESCO", "B-ORG")];
        let text: String = (0..3).map(|k| sentence(9, k, &words[k..])).collect();
        std::fs::write(folder.join(format!("{language}.iob2")), text).unwrap();
    }
}

/// Writes sentences with two entities in TACRED's format, in three languages.
fn write_relations(folder: &Path) {
    let row = |number: usize, words: &str, relation: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let last = words.len() - 1;
        json!({
            "id": format!("r{number}"), "token": words, "relation": relation,
            "subj_start": 0, "subj_end": 0, "obj_start": last, "obj_end": last,
            "subj_type": "ENTITY", "obj_type": "ENTITY",
        })
    };
    let texts = [
        ("en", "is the capital of", "was seen in"),
        ("de", "ist die Hauptstadt von", "war zu sehen in"),
        ("zh", "是 首都", "在"),
    ];
    for (language, capital, other) in texts {
        let rows = (0..4).flat_map(|k| {
            let (head, tail) = [("Lima", "Peru"), ("Paris", "France")][k % 2];
            [
                row(2 * k, &format!("{head} {capital} {tail}"), "P36"),
                row(2 * k + 1, &format!("{head} {other} {tail}"), "no_relation"),
            ]
        });
        let rows = Value::Array(rows.collect()).to_string();
        std::fs::write(folder.join(format!("relations.{language}.json")), rows).unwrap();
    }
}

/// Returns the suite's command with two names for the same model.
fn suite(folder: &Path, out: &str) -> Command {
    let mut command = small_recipe("transfer-suite", &folder.join(out));
    command.args(["--model", "data/base", "--model", "other=data/base"]);
    command.set_all(small_data("transfer-suite"));
    if !folder.join("relations.en.json").exists() {
        write_relations(folder);
    }
    command.set_all(["tasks.relations.relations=[\"P36\"]"]);
    let file = |language: &str| folder.join(format!("relations.{language}.json"));
    for (key, language) in
        [("train", "en"), ("dev.en", "en"), ("test.en", "en"), ("test.es", "de"), ("test.zh", "zh")]
    {
        command.set_path(&format!("tasks.relations.data.{key}"), &file(language));
    }
    command
}

/// Sets the data of open extraction, in two languages.
fn add_extractions(command: &mut Command) {
    let folder = fixture("transfer/oie");
    for (key, name) in [
        ("train.en", "gold.tsv"),
        ("train.es", "gold.json"),
        ("dev.en", "gold.tsv"),
        ("test.en", "gold.tsv"),
        ("test.es", "gold.json"),
    ] {
        command.set_path(&format!("tasks.oie.data.{key}"), &folder.join(name));
    }
}

/// Returns the suite's command, with the files of [`write_data`] for the tagging task.
fn tagging_run(folder: &Path, out: &str) -> Command {
    if !folder.join("train.iob2").exists() {
        write_data(folder);
    }
    let mut command = suite(folder, out);
    for (key, name) in [("train", "train"), ("test.en", "en"), ("test.de", "de"), ("test.zh", "zh")]
    {
        let path = folder.join(format!("{name}.iob2"));
        command.set_path(&format!("tasks.ner.data.{key}"), &path);
    }
    command
}

/// Returns the suite's command for the tagging task only, with six epochs of four steps.
pub fn small_run(folder: &Path, out: &str) -> Command {
    let mut command = tagging_run(folder, out);
    command.args(["--arms", "ner.*"]);
    command.set_all([
        "run.seeds=[0,1]",
        "tasks.ner.fine_tuning.batch_size=4",
        "tasks.ner.fine_tuning.epochs=6",
        "tasks.ner.fine_tuning.checkpoint_steps=2",
    ]);
    command
}

/// Returns the suite's command for every task of the small recipe, with little data and one epoch
/// each.
fn all_tasks_run(folder: &Path, out: &str) -> Command {
    let mut command = tagging_run(folder, out);
    command.set_all(
        ["ner", "xnli", "mlqa", "relations", "oie"]
            .map(|task| format!("tasks.{task}.fine_tuning.epochs=1")),
    );
    add_extractions(&mut command);
    command
}

#[test]
fn recipe_suite_evaluates_several_architectures() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = all_tasks_run(folder.path(), "run");
    for architecture in ["bert", "modernbert"] {
        let model = folder.path().join(architecture);
        write_encoder(architecture, &model);
        command.arg("--model").arg(model);
    }
    command.args(["--seeds", "1"]).set_all([
        "tasks.mlqa.windows.segment_ids=false",
        // The other vocabularies lack the marks of the small base, so common words are marks.
        "tasks.relations.encoding.markers=\"none\"",
        "tasks.oie.encoding.marks=[\".\", \",\"]",
    ]);
    succeed(command);
    let results = summary(&folder.path().join("run"));
    for task in ["facts", "mlqa", "ner", "oie", "relations", "xnli"] {
        for model in ["base", "bert", "modernbert"] {
            assert!(results["tasks"][task][model].is_object(), "{task}: {model}");
        }
    }
}

#[test]
fn recipe_suite_evaluates_models_on_every_task() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(all_tasks_run(folder.path(), "run"));
    let overview = "| mean over languages | MLQA f1 | NER f1 | XNLI accuracy | relations f1 | open extraction f1 | facts p@1 |";
    assert!(text.contains(overview), "{text}");
    let results = summary(&out);
    let tasks = results["tasks"].as_object().unwrap();
    let names: Vec<&String> = tasks.keys().collect();
    assert_eq!(names, ["facts", "mlqa", "ner", "oie", "relations", "xnli"]);
    for (task, models) in tasks {
        // Both names refer to the same model, so the results are equal.
        let without_seconds = |model: &str| {
            let mut result = models[model].clone();
            result.as_object_mut().unwrap().remove("seconds");
            result
        };
        assert_eq!(without_seconds("base"), without_seconds("other"), "{task}");
    }
    let facts = &tasks["facts"]["base"];
    for metric in ["p@1 train", "p@1 test", "p@1 train, random", "p@1 test, random"] {
        let value = facts[metric]["de"]["mean"].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&value), "{metric}: {value}");
    }
    // Each baseline occurs once in every table of facts, and once per metric in `numbers.jsonl`.
    let baseline = "Baseline: most frequent object of the relation";
    let numbers = Measured::read(out.join("numbers.jsonl")).unwrap();
    for metric in ["p@1 train", "p@1 test"] {
        let value = &facts[&format!("{metric}, most frequent")]["average"]["mean"];
        let results: Vec<f64> = numbers
            .iter()
            .filter(|one| one.model == baseline && one.metric == metric && one.language == "avg")
            .map(|one| one.value)
            .collect();
        assert_eq!(results, [value.as_f64().unwrap()]);
    }
    let table = std::fs::read_to_string(out.join("table.md")).unwrap();
    for heading in ["facts, p@1 train", "facts, p@1 test"] {
        let (_, rows) = table.split_once(&format!("| {heading} |")).unwrap();
        let rows = rows.split("\n\n").next().unwrap();
        assert_eq!(rows.matches("| Baseline: ").count(), 2, "{rows}");
        assert_eq!(rows.matches(baseline).count(), 1, "{rows}");
    }
    assert_contains(&table, &["(001-1)", "(001-2)", "(001-3)", "XLM-R", "| NER, precision |"]);
    assert!(out.join("report.html").exists());
    // The stored score of relations equals the score of the prediction file.
    let trial = out.join("seed-0/relations.base");
    let names = |path: &Path| transfer_eval::relations::read_relation_names(path).unwrap();
    let gold = names(&folder.path().join("relations.zh.json"));
    let predicted = names(&trial.join("predictions/zh.txt"));
    let score = transfer_eval::relations::score_relations(&gold, &predicted).unwrap();
    let stored: Value = read_json(trial.join("result.json")).unwrap();
    let stored_f1 = stored["value"]["metrics"]["f1"]["zh"].as_f64().unwrap();
    assert!((stored_f1 - score.micro.f1).abs() < 1e-9);
    let config: Value = read_json(trial.join("model/config.json")).unwrap();
    assert_eq!(config["id2label"]["1"], "subject:P36");
    let config: Value = read_json(out.join("seed-0/oie.base/model/config.json")).unwrap();
    assert_eq!(
        (&config["id2label"]["1"], &config["id2label"]["10"]),
        (&json!("B-P"), &json!("I-A3"))
    );
    // If a finished run is started again, it computes nothing.
    let rerun = succeed(all_tasks_run(folder.path(), "run"));
    assert!(rerun.contains(overview) && !rerun.contains("seed 0, "), "{rerun}");
}

#[test]
fn recipe_suite_compares_models_over_languages_and_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    succeed(small_run(folder.path(), "run"));
    let table = std::fs::read_to_string(out.join("table.md")).unwrap();
    let pieces = ["| NER, f1 | en | de | zh | average |", "| base (max) |", "| other (max) |"];
    assert_contains(&table, &pieces);
    let results = summary(&out);
    assert_eq!(results["seeds"], json!([0, 1]));
    for model in ["base", "other"] {
        let task_summary = &results["tasks"]["ner"][model];
        for language in ["en", "de", "zh", "average"] {
            for metric in ["f1", "precision", "recall"] {
                let one = &task_summary[metric][language];
                assert!(
                    one["mean"].is_f64() && one["half_width"].is_f64(),
                    "{model} {language}: {one}"
                );
            }
        }
        for epoch in task_summary["epochs"].as_array().unwrap() {
            assert!((1..=6).contains(&epoch.as_u64().unwrap()));
        }
    }

    let trial = out.join("seed-1/ner.other");
    let config: Value = read_json(trial.join("model/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["XLMRobertaForTokenClassification"]));
    assert_eq!(config["id2label"]["1"], "B-LOC");
    assert!(!trial.join("fine-tune/checkpoints").exists());
    // The stored score equals the score of the prediction file.
    let value = |name: &str| read_json::<Value>(trial.join(name)).unwrap()["value"].clone();
    assert_eq!(value("trained.json")["dev"].as_array().unwrap().len(), 6);
    let read = |path: &Path| transfer_eval::ner::read_ner(path, None).unwrap();
    let gold = read(&folder.path().join("de.iob2"));
    let predicted = read(&trial.join("predictions/de.conll")).into_iter();
    let predicted: Vec<Vec<Option<String>>> =
        predicted.map(|sentence| sentence.tags.into_iter().map(Some).collect()).collect();
    let score = transfer_eval::ner::score_ner(&gold, &predicted, Default::default()).unwrap();
    let stored_f1 = value("result.json")["metrics"]["f1"]["de"].as_f64().unwrap();
    assert!((100.0 * score.micro.f1 - stored_f1).abs() < 1e-9);

    // If a seed is added, only the new seed is computed.
    let mut third_seed_run = small_run(folder.path(), "run");
    third_seed_run.args(["--seeds", "3"]);
    let text = succeed(third_seed_run);
    // Two lines are printed for each of two models: the selected epoch, and the scores.
    assert_eq!(text.matches("\nseed 2, ").count(), 4, "{text}");
    assert!(!text.contains("seed 1, "), "{text}");
}

/// Writes one corpus of LAMA, and one language of mLAMA.
fn write_lama(folder: &Path) {
    std::fs::create_dir_all(folder.join("lama/TREx")).unwrap();
    std::fs::create_dir_all(folder.join("mlama/de")).unwrap();
    let relation =
        "{\"relation\":\"P36\",\"template\":\"The capital of [X] is [Y] .\",\"type\":\"1-1\"}\n";
    std::fs::write(folder.join("lama/relations.jsonl"), relation).unwrap();
    std::fs::write(folder.join("mlama/de/templates.jsonl"), relation).unwrap();
    let fact = |subject: &str, object: &str| {
        format!(
            "{{\"uuid\":\"{subject}\",\"sub_uri\":\"{subject}\",\"obj_uri\":\"{object}\",\
             \"sub_label\":\"{subject}\",\"obj_label\":\"{object}\"}}\n"
        )
    };
    let facts = fact("France", "Paris") + &fact("Peru", "Lima") + &fact("India", "New Delhi");
    std::fs::write(folder.join("lama/TREx/P36.jsonl"), &facts).unwrap();
    std::fs::write(folder.join("mlama/de/P36.jsonl"), &facts).unwrap();
}

#[test]
fn recipe_suite_evaluates_lama_and_mlama() {
    let folder = tempfile::tempdir().unwrap();
    write_lama(folder.path());
    let suite = |model: &str| {
        let mut command = program("transfer-suite");
        command.arg("examples/transfer-suite/recipe.toml").args(["--model", model]);
        command.arg("--out").arg(folder.path().join("run")).args(["--seeds", "1"]);
        let path = |name: &str| folder.path().join(name).display().to_string();
        command.set_all([
            format!("tasks.lama.data.test={}", path("lama")),
            format!("tasks.facts.data.test.de={}", path("mlama/de")),
            "tasks.lama.clozes.max_length=158".into(),
            "run.threads=1".into(),
            "run.float32_matmul=highest".into(),
        ]);
        command
    };
    let text = succeed(suite("data/base"));
    for task in ["mlqa", "ner", "relations", "xnli"] {
        assert!(text.contains(&format!("{task}: skipped, because it has no data")), "{text}");
    }
    let results = summary(&folder.path().join("run"));
    assert!(results["tasks"]["facts"]["base"]["p@1"]["de"]["mean"].is_f64());
    let table = std::fs::read_to_string(folder.path().join("run/table.md")).unwrap();
    assert!(table.contains("(001-5)") && table.contains("T-REx 1-1"), "{table}");
    // A model without a masked-LM head is rejected.
    let tagger = folder.path().join("tagger");
    let mut train = small_run(folder.path(), "ner");
    train.args(["--seeds", "1"]).set_all(["tasks.ner.fine_tuning.epochs=1"]);
    succeed(train);
    std::fs::rename(folder.path().join("ner/seed-0/ner.base/model"), &tagger).unwrap();
    let mut command = suite(&tagger.display().to_string());
    let error = expect_failure(&command.output().unwrap());
    assert!(error.contains("masked-LM head") && error.contains("--arms"), "{error}");
}

#[test]
fn invalid_settings_are_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, piece) in [
        ("ner.fine_tuning.lerning_rate=1", "lerning_rate"),
        ("ner.fine_tuning.learning_rate=-1", "learning_rate"),
        ("ner.fine_tuning.batch_size=0", "batch_size"),
        ("ner.fine_tuning.steps=9", "fine_tuning.steps"),
        ("ner.evaluation_batch_size=0", "evaluation_batch_size"),
        ("ner.types=[]", "types = []"),
        ("ner.types=[\"PER\"]", "B-LOC"),
        ("ner.selection=best", "best"),
        ("ner.encoding.max_length=159", "158 positions"),
        ("ner.data.train=nowhere.iob2", "nowhere.iob2"),
        ("ner.data.test.nl=nowhere.iob2", "data.test.nl"),
        ("ner.data.dev.en=data/uner/en_ewt.dev.iob2.gz", "data.held_out"),
        ("ner.data.held_out.share=1.5", "held_out.share = 1.5"),
        ("ner.data.held_out.share=0.99", "no training data remain"),
        ("mlqa.data.languages=[]", "languages = []"),
        ("relations.relations=[]", "relations = []"),
        ("relations.relations=[\"P36\",\"P36\"]", "distinct names"),
        ("relations.relations=[\"P30\"]", "relation of example `r0`: expected one of no_relation"),
        ("relations.encoding.max_length=159", "158 positions"),
        ("relations.encoding.marks=[\"@\",\"#\",\"*\",\"^\"]", "mark `@`"),
        ("relations.data.test.de=nowhere.json", "nowhere.json"),
        ("relations.fine_tuning.steps=9", "fine_tuning.steps"),
        ("mlqa.windows.max_length=400", "windows"),
    ] {
        let mut command = small_run(folder.path(), "run");
        if !setting.starts_with("ner.") {
            command = suite(folder.path(), "run");
        }
        command.set_all([format!("tasks.{setting}")]);
        let error = expect_failure(&command.output().unwrap());
        assert!(error.contains(piece), "{setting}: {error}");
        assert!(!folder.path().join("run/summary.json").exists());
        std::fs::remove_dir_all(folder.path().join("run")).ok();
    }
    for (model, piece) in
        [("data/base", "NAME=DIR"), ("new=nowhere", "nowhere"), ("a/b=data/base", "a/b")]
    {
        let output = small_run(folder.path(), "run").args(["--model", model]).output();
        let error = expect_failure(&output.unwrap());
        assert!(error.contains(piece), "{model}: {error}");
    }
    let error_of = |arguments: &[&str]| {
        let mut command = program("transfer-suite");
        command.arg("examples/transfer-suite/recipe.toml").args(arguments);
        command.arg("--out").arg(folder.path().join("run"));
        expect_failure(&command.output().unwrap())
    };
    assert!(error_of(&[]).contains("give --model NAME=DIR"));
    assert!(error_of(&["--model", "data/base"]).contains("and data for a task"));
}

#[test]
fn recipe_suite_trains_open_extraction_with_gates_of_languages() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str, settings: &[&str]| {
        let mut command = small_recipe("transfer-suite", &folder.path().join(out));
        command.args(["--model", "data/base", "--arms", "oie.*", "--seeds", "1"]);
        add_extractions(&mut command);
        command.set_all([
            "tasks.oie.fine_tuning.epochs=40",
            "tasks.oie.fine_tuning.batch_size=4",
            "tasks.oie.fine_tuning.learning_rate=3e-3",
        ]);
        command.set_all(settings);
        command
    };
    let mixture = "adapters={mixture={modules=3,languages=[\"en\",\"es\"],lora={rank=4}}}";
    for (out, settings) in [("all", &[][..]), ("mixture", &[mixture])] {
        succeed(run(out, settings));
        // The model learns the sentences that it is tested on.
        let trial = folder.path().join(out).join("seed-0/oie.base");
        let stored: Value = read_json(trial.join("result.json")).unwrap();
        let f1 = stored["value"]["metrics"]["f1"].clone();
        assert!(
            f1["en"].as_f64().unwrap() > 50.0 && f1["es"].as_f64().unwrap() > 50.0,
            "{out}: {f1}"
        );
        // The stored score equals the score of the prediction file.
        let gold = transfer_eval::oie::read_oie_gold(fixture("transfer/oie/gold.json")).unwrap();
        let predicted = transfer_eval::oie::read_oie(trial.join("predictions/es.tsv")).unwrap();
        let score = transfer_eval::oie::score_oie(&gold, &predicted).unwrap();
        assert!((100.0 * score.f1 - f1["es"].as_f64().unwrap()).abs() < 1e-9);
    }
    // A language without a gate is found before training.
    let english_only = "adapters={mixture={modules=3,languages=[\"en\"],lora={rank=4}}}";
    let error = expect_failure(&run("invalid", &[english_only]).output().unwrap());
    assert_contains(&error, &["language", "es", "[en]"]);
}
