//! Tests of `polyqa train`: adapters, calibration and negative windows.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tch::{Device, Tensor};
use testkit::{Program, assert_close};
use xlmr_model::{Head, Inputs, Model, Role};

use crate::common::{polyqa, read_json};

fn load(folder: &Path) -> Model {
    Model::load(folder, &[Head::Span], Device::Cpu, Default::default()).unwrap().0
}

fn start_logits(model: &Model) -> Tensor {
    let inputs = Inputs::from_rows(&[&[0, 70, 83, 9, 2], &[0, 95, 2]], 1).unwrap();
    let hidden = model.encode(&inputs, false).unwrap();
    model.span_logits(&hidden, false).unwrap().0
}

#[test]
fn only_lora_and_head_are_trained_and_resumed() {
    let adapted_layers = ["query.weight", "key.weight", "value.weight"];
    // Matrices A and B of three linear layers in each of three encoder layers.
    let program =
        check_adapter_training("--lora 4", 2 * 3 * 3, "adapter_model.safetensors", &adapted_layers);
    let line = "train --model model --train train.jsonl --out no --lora";
    let targets = "--set model.adapters.lora.targets=[]";
    program.expect_only_errors(&[
        (&format!("{line} 0"), &["--lora"]),
        (&format!("{line} 4 {targets}"), &["model.adapters", "target_modules"]),
        (&format!("{line} 4 --set training.keep_models=true"), &["keep_models"]),
    ]);
    assert!(!program.path_of("no").exists());
}

#[test]
fn only_bottlenecks_and_head_are_trained_and_resumed() {
    // Weight and bias of two linear layers in each of three encoder layers.
    let program = check_adapter_training("--bottleneck 8", 4 * 3, "adapter.safetensors", &[]);
    let [stopped, uninterrupted] = ["stopped", "whole"].map(|run| {
        program.read_bytes(&format!("{run}/model/adapters/bottleneck/adapter.safetensors"))
    });
    assert!(stopped == uninterrupted);
    program.write("text.txt", "It is in Lima.");
    let answer = |model: &str| {
        let line = format!("answer --model {model} -q Where? --json --device cpu text.txt");
        program.expect_success(&line).out
    };
    let adapted_answer = answer("whole/model");
    program.expect_success("answer --model whole/model -q Where? text.txt");
    std::fs::remove_dir_all(program.path_of("whole/model/adapters")).unwrap();
    assert_ne!(answer("whole/model"), adapted_answer);
    program.expect_only_errors(&[(
        "train --model model --train train.jsonl --out no --bottleneck 0",
        &["--bottleneck"],
    )]);
}

/// Texts, each with an answer.
const TEXTS: [(&str, &str); 3] =
    [("It is in Lima.", "Lima"), ("Anna came home.", "Anna"), ("The car is red.", "red")];

/// Returns `count` questions as JSON lines.
fn question_rows(count: usize) -> String {
    let row = |(id, (text, answer)): (usize, (&str, &str))| {
        let answers = json!({"text": [answer], "answer_start": [text.find(answer)]});
        let row = json!({"id": id.to_string(), "question": "Who or what?", "context": text,
            "answers": answers});
        format!("{row}\n")
    };
    TEXTS.into_iter().cycle().take(count).enumerate().map(row).collect()
}

#[test]
fn the_calibration_is_fitted_on_separate_questions() {
    let program = polyqa();
    for (name, count) in [("train", 6), ("dev", 3), ("calibration", 9)] {
        program.write(&format!("{name}.jsonl"), question_rows(count));
    }
    let line = "train --model model --train train.jsonl --dev dev.jsonl --device cpu --out run \
                --set training.steps=2";
    let fit_calibration = |line: &str| -> (Value, String) {
        let printed = program.expect_success(line).out;
        (read_json(&program, "run/summary.json")["calibration"].clone(), printed)
    };
    let (on_dev, _) = fit_calibration(line);
    assert_eq!(on_dev["questions"], 3);
    assert!(on_dev.get("calibration_error_on_dev").is_none());
    // `data.calibration` is an evaluation key, so the model is not trained again.
    let trained = program.read_bytes("run/model/model.safetensors");
    let (on_separate_file, printed) =
        fit_calibration(&format!("{line} --calibration calibration.jsonl"));
    assert!(trained == program.read_bytes("run/model/model.safetensors"));
    assert_eq!(on_separate_file["questions"], 9);
    assert_eq!(on_separate_file["calibration_error_on_dev"].as_array().unwrap().len(), 2);
    assert!(printed.contains("Calibrated on 9 questions"), "{printed}");
    assert!(printed.contains("on the questions of --dev"), "{printed}");
    assert_eq!(read_json(&program, "run/model/calibration.json")["questions"], 9);
    assert!(!program.path_of("run/predictions").exists(), "--calibration is no development file");
}

#[test]
fn no_answer_is_fitted_on_paragraphs_of_other_articles() {
    let program = polyqa();
    // Texts without titles are articles of their own.
    program.write("train.jsonl", question_rows(30));
    program.write("text.txt", "Somebody came home.");
    let train = |out: &str, options: &str| {
        let line = format!(
            "train --model model --train train.jsonl --dev train.jsonl --device cpu --batch-size 4 \
             --learning-rate 1e-3 --set training.steps=30 --out {out} {options}"
        );
        let printed = program.expect_success(&line).out;
        (read_json(&program, &format!("{out}/model/calibration.json")), printed)
    };
    let (fitted, printed) = train("run", "");
    let same = &fitted["no_answer"]["same_language"];
    assert_eq!((&same["mismatched"], &same["answerable"]), (&json!(30), &json!(30)), "{fitted}");
    assert!(fitted["null_threshold"].is_null() && fitted["no_answer"]["other_language"].is_null());
    assert!(printed.contains("No answer, texts in the question's language: null threshold"));
    assert!(printed.contains("No answer, texts in other languages: not fitted"), "{printed}");
    let trained = program.read_bytes("run/model/model.safetensors");
    let predictions = read_json(&program, "run/predictions.json");

    // The thresholds apply to printed answers, but neither to predictions, nor with --compatible.
    let answer = |options: &str| {
        let line = format!("answer --model run/model --device cpu {options}");
        program.expect_success(&line).out
    };
    let set_threshold = |threshold: f64| {
        let mut changed = fitted.clone();
        changed["no_answer"]["same_language"]["null_threshold"] = json!(threshold);
        program.write("run/model/calibration.json", changed.to_string());
    };
    set_threshold(1e9);
    let text_file = "-q Who? text.txt";
    assert!(!answer(text_file).contains("no answer"));
    set_threshold(-1e9);
    let output = answer(text_file);
    let lines: Vec<&str> = output.lines().collect();
    assert!(
        lines[1].starts_with("  no answer (") && lines[2].starts_with("  perhaps ["),
        "{output}"
    );
    let results: Value = serde_json::from_str(&answer(&format!("{text_file} --json"))).unwrap();
    assert_eq!(results["no_answer"], true);
    let expected =
        format!("  no answer ({:.0} %)", 100.0 * results["null_probability"].as_f64().unwrap());
    assert_eq!(lines[1], expected);
    for options in ["--compatible run_qa", "--null-threshold 1e9"] {
        assert!(!answer(&format!("{text_file} {options}")).contains("no answer"), "{options}");
    }
    let printed = answer("--questions train.jsonl --predictions again.json");
    assert_eq!(printed.matches("no answer (").count(), 30);
    assert_eq!(read_json(&program, "again.json"), predictions);
    answer("--questions train.jsonl --predictions null.json --null-threshold -1e9");
    assert!(read_json(&program, "null.json").as_object().unwrap().values().all(|text| text == ""));

    // `data.no_answer` is an evaluation key, so the model is not trained again.
    let (never, printed) = train("run", "--no-answer never");
    assert!(never.get("no_answer").is_none() && !printed.contains("No answer"), "{never}");
    assert!(trained == program.read_bytes("run/model/model.safetensors"));
    assert!(program.read("run/recipe.toml").contains("no_answer = \"never\""));
    // A reader that was trained to return "no answer" has no such fit.
    let unanswerable = json!({"id": "u", "question": "Who?", "context": "No.", "answers":
        {"text": [], "answer_start": []}});
    program.write("train.jsonl", question_rows(30) + &unanswerable.to_string());
    program.write("dev.jsonl", question_rows(30));
    let line = "train --model model --train train.jsonl --dev dev.jsonl --device cpu \
                --set training.steps=1 --out other";
    program.expect_success(line);
    assert!(read_json(&program, "other/model/calibration.json").get("no_answer").is_none());
}

/// Returns an article of three paragraphs in SQuAD form.
fn article_json() -> String {
    let paragraph = |(k, (text, answer)): (usize, &(&str, &str))| {
        let answers = json!([{"text": answer, "answer_start": text.find(answer)}]);
        json!({"context": text, "qas": [{"id": k.to_string(), "question": "What?",
            "answers": answers}]})
    };
    let paragraphs: Vec<_> = TEXTS.iter().enumerate().map(paragraph).collect();
    json!({"data": [{"title": "One", "paragraphs": paragraphs}]}).to_string()
}

#[test]
fn negative_windows_are_used_only_with_the_option() {
    let program = polyqa();
    program.write("article.json", article_json());
    let train = |file: &str, out: &str, options: &str| {
        let line = format!(
            "train --model model --train {file} --out {out} {options} --device cpu \
             --batch-size 2 --learning-rate 1e-3 --set training.steps=2"
        );
        let output = program.expect_success(&line);
        let weights = program.read_bytes(&format!("{out}/model/model.safetensors"));
        (weights, program.read(&format!("{out}/recipe.toml")), output.out + &output.err)
    };
    let (by_default, _, _) = train("article.json", "default", "");
    let (plain, recipe, _) = train("article.json", "plain", "--negatives 0");
    assert!(!recipe.contains("negative") && by_default == plain, "{recipe}");
    let (one_negative, recipe, printed) = train("article.json", "one", "--negatives 1");
    assert!(recipe.contains("negatives = 1") && one_negative != plain, "{recipe}");
    assert!(printed.contains("up to 1 negative windows"), "{printed}");
    let sigmoid = "--set data.negatives=2 --set data.negative_loss=\"sigmoid\"";
    let (two_negatives, recipe, _) = train("article.json", "sigmoid", sigmoid);
    assert!(recipe.contains("negatives = 2") && two_negatives != one_negative, "{recipe}");
}

#[test]
fn the_window_score_is_stored_with_the_calibration() {
    let program = polyqa();
    program.write("article.json", article_json());
    let long = article_json().replace("It is in", &"Nothing is here at all. ".repeat(40));
    program.write("text.txt", &long);
    let fit_calibration = |folder: &str, options: &str| {
        program.expect_success(&format!(
            "train --model model --train article.json --dev article.json --out {folder} \
             --device cpu --set training.steps=1 {options}"
        ));
        program.read(&format!("{folder}/model/calibration.json"))
    };
    assert!(fit_calibration("run", "").contains("\"window_score\": \"margin\""));
    assert!(!fit_calibration("negatives", "--negatives 1").contains("window_score"), "raw");
    let softmax = fit_calibration("softmax", "--set decoding.window_score=\"softmax\"");
    assert!(softmax.contains("\"window_score\": \"softmax\""));
    let answer = |options: &str| {
        let line = format!("answer --model run/model -q Where? --json --device cpu {options}");
        program.expect_success(&format!("{line} text.txt")).out
    };
    let (by_default, raw) = (answer(""), answer("--window-score raw"));
    assert!(by_default == answer("--window-score margin") && by_default != raw);
    assert!(![&by_default, &raw].contains(&&answer("--window-score softmax")));
    // Without a calibration, the default of --window-score is also margin.
    std::fs::remove_file(program.path_of("run/model/calibration.json")).unwrap();
    let first_score = |out: &str| out.split("\"score\":").nth(1).map(|text| text[..8].to_owned());
    assert_eq!(first_score(&answer("")), first_score(&by_default));
    program.expect_error(
        "answer --model run/model -q Where? --window-score softmax --compatible run_qa text.txt",
        &["--compatible", "--window-score"],
    );
}

/// Trains a reader with `option`, once with an interruption and once without an interruption.
///
/// Checks that checkpoints contain only the head and `tensor_count` adapter tensors, and that only
/// the encoder's linear layers `layers` change. Also checks that the base model with the
/// file `adapter_file` equals the trained model.
fn check_adapter_training(
    option: &str,
    tensor_count: usize,
    adapter_file: &str,
    layers: &[&str],
) -> Program {
    let program = polyqa();
    program.write("train.jsonl", question_rows(12));
    // The configuration contradicts the tokenizer, whose `</s>` has id 2. Training corrects the id.
    let config = program.read("model/config.json");
    let changed_config = config.replace("\"eos_token_id\": 2", "\"eos_token_id\": 5");
    assert_ne!(changed_config, config);
    program.write("model/config.json", changed_config);
    let line_for = |out: &str| {
        format!(
            "train --model model --train train.jsonl --out {out} {option} --learning-rate 1e-3 \
             --batch-size 2 --device cpu --set training.steps=60 --set training.checkpoint_steps=2"
        )
    };
    let mut command = program.command(&line_for("stopped"));
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint_folder = program.path_of("stopped/seed-42/reader/fine-tune/checkpoints");
    let checkpoint = || {
        let entries = checkpoint_folder.read_dir().into_iter().flatten().flatten();
        let names =
            entries.map(|entry| entry.path()).filter(|path| path.join("state.json").exists());
        names.filter(|path| path.to_string_lossy().contains("/step-")).max()
    };
    while checkpoint().is_none() && process.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(143), "ended before it was stopped");

    // Checkpoints contain no parameters of the encoder.
    let tensors = Tensor::read_safetensors(checkpoint().unwrap().join("parameters.safetensors"));
    let stored: BTreeSet<String> = tensors.unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(stored.iter().all(|name| Role::Adapters.matches(name) || Role::Head.matches(name)));
    assert_eq!(stored.len(), tensor_count + 2); // and the head
    program.expect_success(&line_for("stopped"));
    let printed = program.expect_success(&line_for("whole")).out;
    assert_eq!(printed.matches("eos_token_id is 5, but").count(), 1, "{printed}");
    assert!(program.read("whole/model/config.json").contains("\"eos_token_id\": 2"));
    for file in [&format!("adapter/{adapter_file}"), "model/model.safetensors"] {
        let [stopped, uninterrupted] =
            ["stopped", "whole"].map(|run| program.read_bytes(&format!("{run}/{file}")));
        assert!(stopped == uninterrupted, "{file}");
    }

    // The encoder equals the base model's, except for linear layers with a merged LoRA.
    let (base, trained) = (load(&program.path_of("model")), load(&program.path_of("whole/model")));
    let base_tensors: BTreeMap<String, Tensor> = base.named_parameters().into_iter().collect();
    for (name, tensor) in trained.named_parameters() {
        if Role::Adapters.matches(&name) {
            continue;
        }
        let is_trained = layers.iter().chain(&["qa_outputs"]).any(|layer| name.contains(layer));
        assert_eq!(!tensor.equal(&base_tensors[&name]), is_trained, "{name}");
    }
    let mut model = base;
    let base_logits = start_logits(&model);
    model.load_adapter("separate", program.path_of("whole/adapter"), Head::Span).unwrap();
    model.set_active_adapters(&["separate"]).unwrap();
    assert_close("adapter", &start_logits(&model), &start_logits(&trained), 1e-5);
    assert!((start_logits(&model) - base_logits).abs().max().double_value(&[]) > 1e-3);
    program
}

/// Returns the question of a file with the answer "The" at the beginning of the context.
fn article_question() -> String {
    json!({"version": "1.1", "data": [{"paragraphs": [{"context": "The ferry is red.", "qas": [
        {"id": "g", "question": "Which word?", "answers": [{"text": "The", "answer_start": 0}]}]}]}]})
    .to_string()
}

#[test]
fn languages_are_taken_from_known_codes_in_file_names() {
    let program = polyqa();
    program.write("train.jsonl", question_rows(3));
    for name in ["dev-v1.1.json", "quiz.dev.json", "dev/xquad.fr.json", "dev/._xquad.fr.json"] {
        program.write(name, article_question());
    }
    program.write("dev/._xquad.fr.json", "\0\u{5}\u{16}\u{7}");
    let line = "train --model model --train train.jsonl --device cpu --set training.steps=1 --out run \
                --dev dev-v1.1.json quiz.dev.json dev";
    let printed = program.expect_success(line);
    let note = "dev-v1.1.json: scored by MLQA's rules for en (the default, because the file's name has \
                no language";
    assert!(printed.out.contains(note), "{}", printed.out);
    assert!(printed.out.contains("dev-v1.1.json is scored by the rules for en, the default"));
    let scores = read_json(&program, "run/summary.json")["scores"].clone();
    let languages: Vec<_> = scores
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            [&one["file"], &one["language"], &one["language_source"]]
                .map(|text| text.as_str().unwrap())
        })
        .collect();
    let expected = [
        ["dev-v1.1.json", "en", "default"],
        ["quiz.dev.json", "en", "default"],
        ["xquad.fr.json", "fr", "file_name"],
    ];
    assert_eq!(languages, expected);
    let line = "train --model model --train train.jsonl --dev dev-v1.1.json --out no";
    program.expect_only_errors(&[
        (&format!("{line} --language eng"), &["--language", "did you mean `en` (English)?"]),
        (&format!("{line} --set data.language='\"1\"'"), &["data.language"]),
    ]);
}

#[test]
fn invalid_questions_are_skipped_or_repaired_and_listed() {
    let program = polyqa();
    let answers = |text: &str, start: usize| json!([{"text": text, "answer_start": start}]);
    let qa = |id: &str, text: &str, start| json!({"id": id, "question": "?", "answers": answers(text, start)});
    // "Grünau" starts at code point 15 and at byte 16.
    let context = "Die Mühle ist Grünau.";
    let start = context.chars().take_while(|&c| c != 'G').count();
    let qas = [qa("a", "Grünau", start + 1), qa("b", "Die", 0), qa("c", "Nirgends", 3)];
    let data = json!({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]});
    program.write("train.json", data.to_string());
    let line = "train --model model --train train.json --device cpu --set training.steps=1";
    program.expect_only_errors(&[(
        &format!("{line} --out no"),
        &["train.json: question `a`: answer_start", "--invalid-questions skip or repair"],
    )]);
    for (mode, questions, skipped, repaired) in [("skip", 1, 2, 0), ("repair", 2, 1, 1)] {
        let printed =
            program.expect_success(&format!("{line} --out {mode} --invalid-questions {mode}"));
        let note = format!("invalid questions: {skipped} skipped");
        assert!(printed.out.contains(&note), "{}", printed.out);
        let training = read_json(&program, &format!("{mode}/summary.json"))["training"].clone();
        assert_eq!(training["questions"], questions, "{training}");
        assert_eq!(training["invalid_skipped"], skipped, "{training}");
        assert_eq!(training["offsets_repaired"].as_u64().unwrap_or(0), repaired, "{training}");
        let list = read_json(&program, &format!("{mode}/invalid-questions.json"));
        let ids: Vec<_> = list.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        assert_eq!(ids, ["a", "c"]);
    }
}
