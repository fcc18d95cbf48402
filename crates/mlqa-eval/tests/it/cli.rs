//! The program as a user meets it.
use std::path::Path;
use std::process::{Command, Output};

use mlqa_eval::{Language, MLQA_LANGUAGES, Matrix};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mlqa-eval")).args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn scorer(file: &str) -> String {
    testkit::fixture(&format!("scorer/{file}")).display().to_string()
}

/// Exit code 2, nothing on standard output, one `error:` line that holds every word.
fn refused(args: &[&str], words: &[&str]) {
    let output = run(args);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert_eq!(out(&output), "", "{args:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
    for word in words {
        assert!(text.contains(word), "{args:?}: `{word}` is not in: {text}");
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn score_prints_the_official_line() {
    for language in MLQA_LANGUAGES {
        let expected =
            std::fs::read_to_string(scorer(&format!("{language}/expected.json"))).unwrap();
        // The digits as they stand in the file, not through a parser.
        let digits = |key: &str| {
            let rest = expected.split_once(&format!("\"{key}\": ")).unwrap().1;
            rest.split([',', '\n']).next().unwrap().to_owned()
        };
        let output = run(&[
            "score",
            &scorer(&format!("{language}/dataset.json")),
            &scorer(&format!("{language}/predictions.json")),
            language.as_str(),
        ]);
        assert!(output.status.success());
        let line =
            format!("{{\"exact_match\": {}, \"f1\": {}}}\n", digits("exact_match"), digits("f1"));
        assert_eq!(out(&output), line);
        assert_eq!(err(&output).lines().count().to_string(), digits("stderr_lines"));
        let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
        let id = expected["unanswered"][0].as_str().unwrap();
        let line = format!("Unanswered question {id} will receive score 0.");
        assert!(err(&output).lines().any(|got| got == line), "{}", err(&output));
    }
}

#[test]
fn per_question_results_go_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("per.json");
    let (dataset, predictions) = (scorer("zh/dataset.json"), scorer("zh/predictions.json"));
    let output =
        run(&["score", &dataset, &predictions, "zh", "--per-question", file.to_str().unwrap()]);
    assert!(output.status.success());
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let got = read(&file);
    let expected = read(Path::new(&scorer("zh/expected.json")));
    let expected = expected["per_question"].as_object().unwrap();
    assert_eq!(got.as_object().unwrap().len(), expected.len());
    for (id, want) in expected {
        assert_eq!(got[id]["f1"].as_f64(), want["f1"].as_f64(), "{id}");
        assert_eq!(got[id]["exact_match"].as_f64(), want["exact_match"].as_f64(), "{id}");
    }
}

#[test]
fn squad_rules_need_no_language() {
    let args =
        ["score", "--norm", "squad", &scorer("hi/dataset.json"), &scorer("hi/predictions.json")];
    let output = run(&args);
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).starts_with("{\"exact_match\": "));
    refused(&["score", &scorer("hi/dataset.json"), &scorer("hi/predictions.json")], &["LANGUAGE"]);
}

#[test]
fn a_language_that_mlqa_does_not_have_is_scored_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(
        folder.path(),
        "fr.json",
        r#"{"version": "1.0", "data": [{"paragraphs": [{"context": "dans la Maison !", "qas":
        [{"id": "q", "question": "Où ?", "answers": [{"text": "la Maison", "answer_start": 5}]}]}]}]}"#,
    );
    let predictions = write(folder.path(), "p.json", r#"{"q": "maison !"}"#);
    let output = run(&["score", &dataset, &predictions, "fr"]);
    assert!(output.status.success());
    assert_eq!(out(&output), "{\"exact_match\": 0.0, \"f1\": 66.66666666666666}\n");
    let told = "Language fr is none of MLQA's (en, es, de, ar, hi, vi, zh); its articles are not \
                removed.\n";
    assert_eq!(err(&output), told);
    // A region does not make another language.
    assert_eq!(err(&run(&["score", &dataset, &predictions, "es-MX"])), "");
    // SQuAD's rules do not look at the language.
    assert_eq!(
        err(&run(&["types", "--norm", "squad", &dataset, &predictions, "fr"])).lines().count(),
        1
    );
}

#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, predictions) = (scorer("en/dataset.json"), scorer("en/predictions.json"));
    let whole = std::fs::read_to_string(&dataset).unwrap();

    let malformed = write(folder.path(), "malformed.json", "{\n\"data\": [\n{\"title\" 3}\n]}");
    refused(&["score", &malformed, &predictions, "en"], &["malformed.json:3:"]);
    let cut = write(folder.path(), "cut.json", &whole.chars().take(20_000).collect::<String>());
    refused(&["score", &cut, &predictions, "en"], &["cut.json:", "EOF"]);
    refused(&["score", "no-such.json", &predictions, "en"], &["no-such.json", "No such file"]);
    refused(&["score", &dataset, "no-such.json", "en"], &["no-such.json", "No such file"]);
    let words = ["\"f r\"", "expected a language code", "such as `en`"];
    refused(&["score", &dataset, &predictions, "f r"], &words);
    refused(&["score", &dataset, &predictions, "--norm", "mlqa"], &["--norm mlqa", "such as en"]);
    for (name, text, word) in [
        ("list.json", "[]", "expected a map"),
        ("number.json", "{\"a\": \"x\",\n\"b\": 3}", "number.json:2:"),
        ("nested.json", "{\"a\": {\"text\": \"x\"}}", "expected a string"),
    ] {
        let bad = write(folder.path(), name, text);
        refused(&["score", &dataset, &bad, "en"], &[name, word, "predictions: one object"]);
    }
    let empty = write(folder.path(), "empty.json", r#"{"data": []}"#);
    refused(&["score", &empty, &predictions, "en"], &["empty.json", "no questions"]);
    refused(&["matrix", "--data", "no-dir", "--predictions", ".", "--out", "."], &["no-dir"]);
}

#[test]
fn an_answer_that_is_not_in_its_context_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = |start: usize| {
        format!(
            r#"{{"data": [{{"paragraphs": [{{"context": "Ein rotes Haus", "qas":
            [{{"id": "q1", "question": "Was?", "answers": [{{"text": "rotes", "answer_start": {start}}}]}}]}}]}}]}}"#
        )
    };
    let good = write(folder.path(), "good.json", &file(4));
    let bad = write(folder.path(), "bad.json", &file(5));
    let output = run(&["check", &good]);
    assert!(output.status.success());
    assert!(out(&output).ends_with("good.json: 1 questions, 1 answers\n"));
    let words = ["bad.json", "`q1`", "answer_start 5", "`rotes`", "`otes `"];
    refused(&["check", &bad], &words);
    let predictions = write(folder.path(), "p.json", r#"{"q1": "rotes"}"#);
    refused(&["score", &bad, &predictions, "de", "--check-answers"], &words);
    // The official script scores it all the same.
    assert!(run(&["score", &bad, &predictions, "de"]).status.success());
    let all = run(&["check", "--all", &bad, &good]);
    assert_eq!(all.status.code(), Some(2));
    assert!(err(&all).contains("`q1`") && out(&all).contains("good.json"));
}

#[test]
fn a_matrix_of_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (data, predictions) = (folder.path().join("data"), folder.path().join("predictions"));
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(&predictions).unwrap();
    let to = folder.path().join("tables");
    let copy = |from: &str, folder: &Path, name: &str| {
        std::fs::copy(scorer(from), folder.join(name)).unwrap();
    };
    let args = [
        "matrix",
        "--data",
        data.to_str().unwrap(),
        "--predictions",
        predictions.to_str().unwrap(),
        "--out",
        to.to_str().unwrap(),
    ];
    refused(&args, &["no test-context-"]);
    for name in ["test-context-de-question-de.json", "test-context-de-question-en.json"] {
        copy("de/dataset.json", &data, name);
    }
    copy("en/dataset.json", &data, "dev-context-en-question-en.json");
    std::fs::write(data.join("notes.txt"), "x").unwrap();
    refused(&args, &["that --data has"]);
    copy("de/predictions.json", &predictions, "test-context-de-question-de.json");
    let output = run(&args);
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("| de | 49.81 |"), "{}", out(&output));
    let matrix = Matrix::read_json(to.join("matrix.json")).unwrap();
    assert_eq!(matrix.len(), 1);
    let cell = matrix.get(Language::DE, Language::DE).unwrap();
    assert_eq!((cell.f1, cell.em, cell.questions), (49.807539682539684, 32.5, 40));
    assert_eq!(std::fs::read_to_string(to.join("matrix.md")).unwrap(), out(&output));
    assert!(
        std::fs::read_to_string(to.join("matrix.html")).unwrap().starts_with("<!doctype html>")
    );

    let file = to.join("matrix.json");
    let output =
        run(&["compare", "--table", "003-5", "--run", file.to_str().unwrap(), "--model", "ours"]);
    assert!(out(&output).contains("| Ours | MLQA zero-shot | de | f1 | 62.98 | 49.81 | -13.17 |"));
    let args = ["compare", "--table", "000-1", "--run", file.to_str().unwrap(), "--format", "csv"];
    let text = out(&run(&args));
    assert!(text.starts_with("model,setting,language,metric,paper,run,difference\n"), "{text}");
    assert!(text.contains("\nours,MLQA context en,zh,em,46.8,,\n"), "{text}");
    refused(&["compare", "--table", "9", "--run", file.to_str().unwrap()], &["`9`", "000-1"]);
}

/// The page of `qa-report` is tested beside the same file.
#[test]
fn two_runs_question_by_question() {
    let [data, first, second] = ["data", "predictions", "better"]
        .map(|name| testkit::fixture(&format!("matrix/{name}")).display().to_string());
    let runs = ["--data", &data, "--baseline", &first, "--predictions", &second];
    let output = run(&[&["compare", "--samples", "200", "--format", "json"], &runs[..]].concat());
    let compared = std::fs::read_to_string(testkit::fixture("matrix/compared.json")).unwrap();
    assert_eq!(out(&output), compared);
}

#[test]
fn tables_in_three_forms() {
    let args = ["tables", "--table", "000-1", "--model", "ours", "--language", "zh", "--format"];
    let form = |name| out(&run(&[&args[..], &[name]].concat()));
    assert!(form("md").ends_with("| 000-1 | ours | MLQA context en | zh | em | 46.8 |  |\n"));
    let lines = "table,model,setting,language,metric,value,note\n\
        000-1,ours,MLQA context en,zh,f1,60.13,\n000-1,ours,MLQA context en,zh,em,46.8,\n";
    assert_eq!(form("csv"), lines);
    let value: serde_json::Value = serde_json::from_str(&form("json")).unwrap();
    assert_eq!(value[0]["value"].as_f64(), Some(60.13));
    refused(&["tables", "--table", "5"], &["`5`", "000-1, 001-1"]);
    refused(&["tables", "--model", "no such model"], &["no number matches"]);
}

#[cfg(feature = "windows")]
#[test]
fn coverage_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "text.txt", "der die das\nwas wie wer\n");
    let tokenizer = testkit::fixture("tokenizer.json").display().to_string();
    let questions = scorer("de/dataset.json");
    let args = ["coverage", "--tokenizer", &tokenizer, "--questions", &questions, "--text", &text];
    let ratio = |extra: &[&str]| {
        let output = run(&[&args[..], extra].concat());
        let value: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
        value["ratio"].as_f64().unwrap()
    };
    let types = ratio(&[]);
    assert!(types > 0.0 && types < 0.2, "{types}");
    assert!(ratio(&["--occurrences"]) > types);
    assert!(ratio(&["--of-text"]) > 0.5);
    let bad = write(folder.path(), "tokenizer.json", "{}");
    refused(
        &["coverage", "--tokenizer", &bad, "--questions", &questions, "--text", &text],
        &["tokenizer.json"],
    );
    let empty = write(folder.path(), "empty.txt", "");
    refused(
        &[
            "coverage",
            "--tokenizer",
            &tokenizer,
            "--questions",
            &questions,
            "--text",
            &empty,
            "--of-text",
        ],
        &["the text gave no tokens"],
    );
}

#[cfg(feature = "windows")]
#[test]
fn coverage_of_folders_is_by_language() {
    let folder = tempfile::tempdir().unwrap();
    let [questions, texts] = ["questions", "texts"].map(|name| folder.path().join(name));
    for folder in [&questions, &texts] {
        std::fs::create_dir(folder).unwrap();
    }
    for language in ["de", "es", "zh"] {
        let name = format!("test-context-en-question-{language}.json");
        std::fs::copy(scorer(&format!("{language}/dataset.json")), questions.join(name)).unwrap();
    }
    // Another context's questions do not count, nor does a language without a text.
    let other = questions.join("test-context-de-question-es.json");
    std::fs::copy(scorer("es/dataset.json"), other).unwrap();
    let german = write(&texts, "triples.de.txt", "der die das\nwas wie wer\n");
    write(&texts, "triples.es.txt", "quién qué\n");
    let tokenizer = testkit::fixture("tokenizer.json").display().to_string();
    let [questions_path, texts_path] = [&questions, &texts].map(|path| path.display().to_string());
    let json = |questions: &str, text: &str| -> serde_json::Value {
        let args =
            ["coverage", "--tokenizer", &tokenizer, "--questions", questions, "--text", text];
        serde_json::from_str(&out(&run(&args))).unwrap()
    };
    let all = json(&questions_path, &texts_path);
    assert_eq!(all.as_object().unwrap().len(), 2, "{all}");
    assert!(all["es"]["ratio"].is_f64(), "{all}");
    assert_eq!(all["de"], json(&scorer("de/dataset.json"), &german));
    refused(
        &[
            "coverage",
            "--tokenizer",
            &tokenizer,
            "--questions",
            &questions_path,
            "--text",
            &texts_path,
            "--context",
            "hi",
        ],
        &["context-hi-question", &texts_path],
    );
}

#[test]
fn two_runs_are_compared_question_by_question() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, good) = (scorer("de/dataset.json"), scorer("de/predictions.json"));
    let bad = write(folder.path(), "bad.json", "{}");
    let args = ["compare", "--data", &dataset, "--language", "de", "--samples", "400"];
    let rows = |baseline: &str, predictions: &str| -> serde_json::Value {
        let runs = ["--baseline", baseline, "--predictions", predictions, "--format", "json"];
        let output = run(&[&args[..], &runs].concat());
        serde_json::from_str(&out(&output)).unwrap_or_else(|_| panic!("{}", err(&output)))
    };
    let better = rows(&bad, &good);
    assert_eq!(better[1]["metric"], "em");
    assert_eq!(better[1]["difference"].as_f64(), Some(32.5));
    assert!(better[0]["low"].as_f64().unwrap() > 0.0, "{better}");
    assert_eq!(better[0]["p_randomisation"].as_f64(), Some(1.0 / 401.0));
    let same = rows(&good, &good);
    assert_eq!(same[0]["p_holm"].as_f64(), Some(1.0));
    // Two seeds of the first run have a spread.
    let seeds = rows(&format!("{good},{bad}"), &good);
    assert_eq!(seeds[1]["baseline"].as_f64(), Some(16.25));
    assert!(
        seeds[1]["baseline_sd"].as_f64().unwrap() > 22.0 && seeds[1]["predictions_sd"].is_null()
    );
    refused(
        &["compare", "--data", &dataset, "--baseline", &bad, "--predictions", &good],
        &["language"],
    );
    refused(&["compare", "--data", &dataset], &["--baseline"]);
}

#[test]
fn scores_with_intervals_and_of_squad_two() {
    let (dataset, predictions) = (scorer("de/dataset.json"), scorer("de/predictions.json"));
    let output = run(&["score", &dataset, &predictions, "de", "--intervals"]);
    let value: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(value["f1"].as_f64(), Some(49.807539682539684));
    let [low, high] = [0, 1].map(|k| value["exact_match_interval"][k].as_f64().unwrap());
    assert!(low < 32.5 && 32.5 < high && low > 10.0 && high < 55.0, "{value}");
    let output = run(&["score", "--squad2", &dataset, &predictions]);
    assert!(out(&output).contains("\"HasAns_total\": "), "{}", out(&output));
    assert!(err(&output).lines().any(|line| line.starts_with("Missing prediction for ")));
}
