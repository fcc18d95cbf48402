//! The program `qa-report`.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qa-report")).args(args).output().unwrap()
}

/// Runs `qa-report` with few bootstrap samples, and returns its standard output.
#[track_caller]
pub(crate) fn report(args: &[&str]) -> String {
    let output = run(&[&["--samples", "200"], args].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn expect_rejected(args: &[&str], word: &str) {
    let output = run(args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(word), "{error}");
}

pub(crate) fn fixture(path: &str) -> String {
    testkit::fixture(path).display().to_string()
}

pub(crate) fn write(path: &Path, value: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

/// Returns the JSON of a question file; `rows` are (id, question, context, answer).
pub(crate) fn questions(rows: &[(&str, &str, &str, &str)]) -> Value {
    let paragraph = |(id, question, context, answer): &(&str, &str, &str, &str)| {
        let start = context.find(answer).map(|byte| context[..byte].chars().count());
        let answers = json!([{ "text": answer, "answer_start": start.unwrap() }]);
        json!({ "context": context, "qas": [{ "id": id, "question": question, "answers": answers }] })
    };
    let paragraphs: Vec<Value> = rows.iter().map(paragraph).collect();
    json!({ "version": "1.0", "data": [{ "title": "t", "paragraphs": paragraphs }] })
}

/// Returns the JSON input of the page's script.
pub(crate) fn page_data(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

pub(crate) const HOSTILE: &str = "</script><script>document.title='x'</script><!--<img src=x onerror=alert(1)>\
                       \"'`&amp;\u{202e}\u{2066}\u{1b}[2J\u{0}\u{2028}";

#[cfg(unix)]
#[test]
fn help_examples_succeed() {
    let folder = testkit::run_examples(env!("CARGO_BIN_EXE_qa-report"), &[], 3);
    assert!(folder.path().join("report.html").exists());
    assert!(folder.path().join("arabic-f1.svg").exists());
}

#[test]
fn scores_by_key_are_means_over_pairs_of_the_questions_with_each_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let rows = [("q1", "dog cat", "dog"), ("q2", "dog cat", "cat"), ("q3", "red sea", "red sea")];
    for language in ["en", "de"] {
        let rows = rows.map(|(id, context, answer)| (id, "?", context, answer));
        let mut file = questions(&rows);
        for (at, kind) in ["where", "when", "where"].into_iter().enumerate() {
            file["data"][0]["paragraphs"][at]["qas"][0]["type"] = kind.into();
        }
        write(&folder.path().join(format!("data/test-context-en-question-{language}.json")), &file);
    }
    // English questions: q1 is correct, q2 wrong, q3 has half of the words (F1 2/3). German questions:
    // q1 is wrong, the others are correct.
    let answers = [
        ("en", json!({"q1": "dog", "q2": "cow", "q3": "red"})),
        ("de", json!({"q1": "cow", "q2": "cat", "q3": "red sea"})),
    ];
    for (language, predictions) in answers {
        let name = format!("run/test-context-en-question-{language}.json");
        write(&folder.path().join(name), &predictions);
    }
    let (run, data, out) = (path("run"), path("data"), path("report.html"));
    report(&[&run, "--data", &data, "--out", &out, "--by", "type", "--formats", "json,csv"]);
    let json = fs::read_to_string(path("report.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let table = &json["tables"]["by-type"];
    let row = |value: &str| {
        let rows = table["rows"].as_array().unwrap();
        rows.iter().find(|row| row["value"] == value).unwrap().clone()
    };
    let number = |value: &str, column: &str| row(value)[column].as_f64().unwrap();
    // `where`: F1 (100 + 66.7) / 2 in English, and (0 + 100) / 2 in German. `when`: 0 and 100.
    assert_eq!((number("when", "EM"), number("when", "F1")), (50.0, 50.0));
    assert_eq!(number("where", "EM"), 50.0);
    assert!((number("where", "F1") - 200.0 / 3.0).abs() < 1e-9, "{table}");
    assert_eq!([&row("when")["questions"], &row("where")["questions"]], [&json!(2), &json!(4)]);
    // The only question id of `when` has the mean 50 in every bootstrap sample.
    assert_eq!((number("when", "F1 low"), number("when", "F1 high")), (50.0, 50.0));
    assert_eq!(table["rows"].as_array().unwrap().len(), 2);
    assert!(fs::read_to_string(&out).unwrap().contains("Scores by type."));
    assert!(
        fs::read_to_string(path("report-by-type.csv")).unwrap().starts_with("value,run,F1,EM,")
    );
    expect_rejected(
        &[&run, "--data", &data, "--out", &out, "--by", "kind"],
        "no question has a value of `kind`; questions can be grouped by: title, type",
    );
    let scores = json!({ "arms": { "a": { "de": { "f1": 50.0, "em": 40.0 } } } });
    write(Path::new(&path("summary.json")), &scores);
    expect_rejected(
        &[&path("summary.json"), "--out", &out, "--by", "type"],
        "--by type: the runs have only scores",
    );
}

#[test]
fn a_run_with_several_development_files_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let run_folder = folder.path().join("run");
    let rows = [("a", "?", "one two", "two")];
    let mut sources = serde_json::Map::new();
    for (name, language) in [("dev.de", "de"), ("dev.en", "en"), ("more.de", "de")] {
        let data = folder.path().join(format!("{name}.json"));
        write(&data, &questions(&rows));
        write(&run_folder.join(format!("predictions/{name}.json")), &json!({"a": "two"}));
        let source =
            json!({"path": data, "context": language, "question": language, "squad_rules": false});
        sources.insert(format!("predictions/{name}.json"), source);
    }
    write(&run_folder.join("questions.json"), &Value::Object(sources));
    let page = folder.path().join("report.html");
    let run_argument = format!("reader={}", run_folder.display());
    let arguments = [run_argument.as_str(), "--out", page.to_str().unwrap()];
    let printed = report(&arguments);
    assert!(printed.contains("reader") && printed.contains("more.de"), "{printed}");
    let output = run(&[&["--samples", "200"], &arguments[..]].concat());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("wrote ") && message.contains("report.html"), "{message}");
    // A question file selects its predictions.
    let data = folder.path().join("dev.en.json");
    let printed = report(&[&arguments[..], &["--data", data.to_str().unwrap()]].concat());
    assert!(!printed.contains("more.de"), "{printed}");
}

#[test]
fn input_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let context = format!("a {HOSTILE} b");
    let data = questions(&[(HOSTILE, HOSTILE, &context, HOSTILE), ("b", "?", "one two", "two")]);
    write(Path::new(&at("data.json")), &data);
    let long_answer = format!("one{}", " more".repeat(100_000));
    write(Path::new(&at("predictions.json")), &json!({ HOSTILE: HOSTILE, "b": long_answer }));
    let name = format!("{}={}", HOSTILE.replace('\0', ""), at("predictions.json"));
    let title = HOSTILE.replace('\0', "");
    let page = at("report.html");
    let args = [&name, "--data", &at("data.json"), "--language", "en", "--out", &page];
    let printed =
        report(&[&args[..], &["--title", &title, "--formats", "md,csv,json,svg"]].concat());
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("</script>").count(), 2);
    assert_eq!(html.matches("<script").count(), 2);
    assert!(!html.contains("onerror=alert(1)>"));
    let markdown = fs::read_to_string(at("report.md")).unwrap();
    for part in ["<img", "<!--", "\u{202e}", "\u{1b}", "\u{0}", "\u{2028}"] {
        assert!(![&html, &printed, &markdown].iter().any(|text| text.contains(part)), "{part:?}");
    }
    assert!(html.contains("<h1>&lt;/script&gt;&lt;script&gt;document.title=&#39;x&#39;"));
    let data = page_data(&html);
    assert_eq!(data["items"][0]["question"], HOSTILE);
    assert_eq!(data["items"][0]["gold"][0], json!([[2, HOSTILE.chars().count()], HOSTILE]));
    // Long answers are truncated.
    let answer = &data["items"][1]["answers"][0];
    assert_eq!(answer["text"].as_str().unwrap().len(), 1000);
    assert_eq!(answer["length"], 500_003);
    assert!(html.len() < 200_000, "{} bytes", html.len());
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "svg") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("<script") && !text.contains('\u{202e}'), "{}", path.display());
        }
    }
}

#[test]
fn output_is_deterministic() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let predictions = fixture("scorer/zh/predictions.json");
    let data = fixture("scorer/zh/dataset.json");
    let write_page = |out: &str| {
        report(&[&predictions, "--data", &data, "--language", "zh", "--out", out]);
        fs::read_to_string(out).unwrap()
    };
    let first = write_page(&at("a.html"));
    assert_eq!(first, write_page(&at("b.html")));
    assert!(first.contains("<p class=\"facts\">1 run · 1 pair of languages · 40 questions"));
    // The page loads no external resources.
    for word in ["http://", "https://", "src=\"/", "url(", "@import"] {
        let without_namespace = first.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_namespace.contains(word), "{word}");
    }
}

#[test]
fn differences_equal_the_output_of_compare() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let [data, first, second] =
        ["data", "predictions", "better"].map(|name| fixture(&format!("matrix/{name}")));
    let page = at("report.html");
    let printed = report(&[
        "--data",
        &data,
        &format!("before={first}"),
        &format!("after={second}"),
        "--out",
        &page,
        "--formats",
        "json,md,csv",
    ]);
    assert!(
        printed.contains("| before | ") && printed.contains(" | 4 | 2 | 1 |\n| after | "),
        "{printed}"
    );
    let written: Value = serde_json::from_slice(&fs::read(at("report.json")).unwrap()).unwrap();
    // The file has the output of `mlqa-eval compare`; a test of mlqa-eval checks that it is up to
    // date.
    let compared = fs::read(testkit::fixture("matrix/compared.json")).unwrap();
    let compared: Value = serde_json::from_slice(&compared).unwrap();
    let rows = written["tables"]["differences"]["rows"].as_array().unwrap();
    // The table has two metrics for two pairs and for their mean.
    assert_eq!((rows.len(), compared.as_array().unwrap().len()), (6, 4));
    for (ours, theirs) in rows.iter().zip(compared.as_array().unwrap()) {
        for (key, other) in [
            ("difference", "difference"),
            ("low", "low"),
            ("high", "high"),
            ("p (randomisation)", "p_randomisation"),
            ("p (Holm)", "p_holm"),
        ] {
            let [a, b] = [&ours[key], &theirs[other]].map(|value| value.as_f64().unwrap());
            assert!((a - b).abs() < 1e-9, "{key}: {ours} {theirs}");
        }
    }
    let markdown = fs::read_to_string(at("report.md")).unwrap();
    assert!(
        markdown.contains("## F1, English") || markdown.contains("## F1, before"),
        "{markdown}"
    );
    assert!(
        fs::read_to_string(at("report-scores.csv")).unwrap().starts_with("run,context,question,")
    );
    // Only rows and columns with a value are shown: contexts en and fr, questions in en.
    let html = fs::read_to_string(&page).unwrap();
    assert!(!html.contains(">hi</text>") && html.contains(">fr</text>"));
}

/// Writes the run folder of a recipe: two arms, two seeds, curves.
fn run_folder(folder: &Path) {
    let rows = [
        ("a", "Wo?", "It is in Lima, far away.", "Lima"),
        ("b", "Wer?", "It was Ada who wrote it.", "Ada"),
    ];
    write(&folder.join("run.json"), &json!({ "recipe": "toy", "identity": {} }));
    let commands = [["toy", "toy.toml", "--set", "a='</dd>'"]];
    write(
        &folder.join("machine.json"),
        &json!({ "about": "Plays.", "version": "1.2", "commands": commands,
                 "processors": ["P 9000"], "peak_memory_bytes": 3_u64 << 29 }),
    );
    fs::write(folder.join("recipe.toml"), "title = \"<b>\"\n").unwrap();
    let name = "test-context-en-question-de.json";
    write(&folder.join("questions").join(name), &questions(&rows));
    for (seed, arm, answers) in [
        (9, "base", ["far", "Ada"]),
        (10, "base", ["Lima", "Ada"]),
        (9, "injected", ["Lima", "Ada"]),
        (10, "injected", ["Lima", "Ada"]),
    ] {
        let trial = folder.join(format!("seed-{seed}/{arm}"));
        write(&trial.join("predictions").join(name), &json!({ "a": answers[0], "b": answers[1] }));
        fs::create_dir(trial.join("fine-tune")).unwrap();
        fs::write(trial.join("fine-tune/curves.svg"), "<svg onload='x()'/>").unwrap();
        let lines = "{\"step\": 10, \"loss\": 2.5}\n{\"step\": 20, \"loss\": 1.5}\n{\"st";
        fs::write(trial.join("fine-tune/metrics.jsonl"), lines).unwrap();
        let mut keys = json!({ "cell.arm": arm, "cell.seed": seed, "steps": 20 });
        keys[format!("arms.{arm}.facts")] = json!(if arm == "base" { 0 } else { 7 });
        let files = json!({ "model.safetensors of model": "00ff" });
        let environment = json!({ "threads": 2, "device": "Cpu", "float32_matmul": "high" });
        write(
            &trial.join("trained.json"),
            &json!({ "seconds": 30.5, "tokens": 250, "environment": environment,
                     "training": { "keys": keys, "files": files } }),
        );
    }
}

#[test]
fn run_folders_have_a_run_per_arm() {
    let folder = tempfile::tempdir().unwrap();
    run_folder(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let run = folder.path().display().to_string();
    let printed = report(&[&run, "--out", &at("report.html")]);
    let row = "| base | 75.00 | 75.00 | 317.65 |";
    assert!(printed.contains(row), "{printed}");
    let html = fs::read_to_string(at("report.html")).unwrap();
    let data = page_data(&html);
    assert_eq!(data["runs"], json!(["base", "injected"]));
    // The page has the answers of the first seed, 9.
    assert_eq!(data["items"][0]["answers"][0]["text"], "far");
    assert_eq!(data["items"][0]["answers"][0]["at"], json!([15, 3]));
    // One figure has the curves of two runs with two seeds each.
    let (_, drawing) = html.split_once("data-name=\"loss-fine-tune\"").unwrap();
    let drawing = drawing.split_once("</svg>").unwrap().0;
    assert_eq!(drawing.matches("<polyline").count(), 4, "{drawing}");
    assert!(drawing.contains("base: loss 1.5000 at step 20"));
    assert!(!html.contains("onload") && !html.contains("data:image") && !html.contains("<img"));
    // An arm with the same name in both folders is one run; any other arm is a separate run.
    let second = tempfile::tempdir().unwrap();
    run_folder(second.path());
    for seed in ["seed-9", "seed-10"].map(|seed| second.path().join(seed)) {
        fs::rename(seed.join("injected"), seed.join("x")).unwrap();
    }
    let both = format!("{run},{}", second.path().display());
    assert!(report(&[&both, "--out", &at("two.html")]).contains("| x |"));
    let reordered = report(&[&run, "--arms", "injected,base", "--out", &at("other.html")]);
    let position = |name: &str| reordered.find(&format!("| {name} |")).unwrap();
    assert!(position("injected") < position("base"), "{reordered}");
    expect_rejected(&[&run, "--arms", "control", "--out", &at("none.html")], "base, injected");
    // `questions.json` lists the paths of question files in other folders. After the run folder is
    // moved, a path does not exist, but its last components are found in the run folder.
    let name = "test-context-en-question-de.json";
    let moved_questions = folder.path().join("elsewhere");
    fs::rename(folder.path().join("questions"), &moved_questions).unwrap();
    let arms = ["seed-9/base", "seed-10/base", "seed-9/injected", "seed-10/injected"];
    for (path, exists) in [
        (moved_questions.join(name).display().to_string(), true),
        (format!("/gone/{}/elsewhere/{name}", at("x")), true),
        ("/gone/other.json".to_owned(), false),
    ] {
        let source = json!({ name: { "path": path, "context": "en", "question": "de" } });
        for arm in arms {
            write(&folder.path().join(arm).join("predictions/questions.json"), &source);
        }
        match exists {
            true => assert!(report(&[&run, "--out", &at("again.html")]).contains(row)),
            false => expect_rejected(&[&run, "--out", &at("none.html")], "--data DIR"),
        }
    }
    for arm in arms {
        fs::remove_file(folder.path().join(arm).join("predictions/questions.json")).unwrap();
    }
    expect_rejected(&[&run, "--out", &at("none.html")], "--data DIR");
    assert!(!folder.path().join("none.html").exists());
}

#[test]
fn page_begins_with_findings_and_setup() {
    let folder = tempfile::tempdir().unwrap();
    run_folder(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let run = folder.path().display().to_string();
    let page = at("report.html");
    report(&[&run, "--out", &page, "--formats", "json,md"]);
    let html = fs::read_to_string(&page).unwrap();
    let questions = fs::read(folder.path().join("questions/test-context-en-question-de.json"));
    let digest: String =
        Sha256::digest(questions.unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
    for fragment in [
        "<h1>Answers to German questions about English texts</h1>\n<p class=\"finding\">injected has \
         the highest F1, 100.00; 25.00 points above base (95 % interval +0.00 to +50.00, which \
         contains 0: the difference is not significant), over 2 questions, 2 seeds.</p>",
        "<dt>Recipe</dt><dd>toy: Plays.</dd>",
        "<dt>Command</dt><dd>toy toy.toml --set &#39;a=&#39;\\&#39;&#39;&lt;/dd&gt;&#39;\\&#39;&#39;&#39;</dd>",
        "<dt>Seeds</dt><dd>9, 10</dd>",
        "<dt>Programs</dt><dd>polyqa 1.2, scored by mlqa-eval ",
        "<dt>Hardware</dt><dd>P 9000, device cpu, 2 threads, float32 matmul: high</dd>",
        "<dt>Time</dt><dd>2 min 2 s in training and evaluation, 1,000 tokens trained on</dd>",
        "<dt>Peak memory</dt><dd>1.50 GiB</dd>",
        "<bdi>facts</bdi></th><td class=\"text\"><bdi>0</bdi></td><td class=\"text\"><bdi>7</bdi>",
        "<bdi>model.safetensors of model</bdi></th><td class=\"text\"><bdi>00ff</bdi>",
        "<pre>title = &quot;&lt;b&gt;&quot;</pre>",
        &digest,
    ] {
        assert!(html.contains(fragment), "no {fragment} in {}", &html[..9000]);
    }
    // Keys with equal values in all runs are not listed.
    assert!(!html.contains("<bdi>steps</bdi>"));
    let markdown = fs::read_to_string(at("report.md")).unwrap();
    assert!(markdown.contains("\ninjected has the highest F1, 100.00;"), "{markdown}");
    let written: Value = serde_json::from_slice(&fs::read(at("report.json")).unwrap()).unwrap();
    assert_eq!(written["run"]["seeds"], "9, 10");

    // The first run is the best run. A single prediction file has no recipe.
    report(&[&run, "--arms", "injected,base", "--out", &page]);
    let html = fs::read_to_string(&page).unwrap();
    let text = "No run has a higher F1 than injected, 100.00; base is second, 25.00 points below";
    assert!(html.contains(text));
    let [data, predictions] =
        ["dataset", "predictions"].map(|name| fixture(&format!("scorer/es/{name}.json")));
    report(&[&predictions, "--data", &data, "--language", "es", "--out", &page]);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<h1>Answers to Spanish questions about Spanish texts</h1>"));
    assert!(
        html.contains("<p class=\"finding\">predictions: F1 ")
            && html.contains(", over 40 questions.</p>")
    );
    assert_eq!(html.matches("<dt>").count(), 1, "only programs");
}

#[test]
fn findings_compare_the_questions_of_both_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for language in ["de", "en"] {
        let name = format!("test-context-{language}-question-{language}.json");
        let rows = [("a", "?", "one two", "two"), ("b", "?", "one two", "one")];
        write(&folder.path().join("data").join(&name), &questions(&rows));
        let answers = json!({ "a": "two", "b": if language == "en" { "one" } else { "x" } });
        write(&folder.path().join("both").join(&name), &answers);
    }
    let english_file = folder.path().join("english/test-context-en-question-en.json");
    write(&english_file, &json!({ "a": "two", "b": "x" }));
    let page = at("report.html");
    report(&[&at("both"), &at("english"), "--data", &at("data"), "--out", &page]);
    // The first run has a mean F1 of 75, and an F1 of 100 on the English questions.
    let html = fs::read_to_string(&page).unwrap();
    let (_, rest) = html.split_once("<p class=\"finding\">").unwrap();
    let (finding, _) = rest.split_once("</p>").unwrap();
    assert!(
        finding.starts_with(
            "No run has a higher F1 than both, 100.00; english is second, 50.00 \
                                 points below (95 % interval −100.00 to +0.00"
        ),
        "{finding}"
    );
    assert!(finding.ends_with(", over the 2 questions that both answer."), "{finding}");
}

#[test]
fn different_questions_and_invalid_options_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    run_folder(&first);
    run_folder(&second);
    let different_questions = questions(&[("a", "Wo?", "It is in Rome.", "Rome")]);
    write(&second.join("questions/test-context-en-question-de.json"), &different_questions);
    let [first, second] = [first, second].map(|path| path.display().to_string());
    expect_rejected(&[&first, &second, "--out", "/dev/null"], "the same questions");
    expect_rejected(&[&first, "--out", "-", "--formats", "md"], "--formats");
    expect_rejected(&[&first, "--beside", "md"], "use --formats");
}

#[test]
fn invalid_inputs_preserve_the_existing_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let [data, predictions] =
        ["dataset", "predictions"].map(|name| fixture(&format!("scorer/es/{name}.json")));
    let page = at("report.html");
    let options = ["--data", &data, "--language", "es", "--out", &page];
    report(&[&[predictions.as_str()], &options[..]].concat());
    let original_page = fs::read(&page).unwrap();
    fs::create_dir(at("empty")).unwrap();
    write(Path::new(&at("run/run.json")), &json!({}));
    fs::write(at("page.json"), "<!doctype html><title>Sign in</title>").unwrap();
    write(Path::new(&at("nothing.json")), &json!({}));
    write(Path::new(&at("others.json")), &json!({ "of another file": "x" }));
    write(Path::new(&at("matrix.json")), &json!({ "title": "", "cells": [] }));
    write(Path::new(&at("summary.json")), &json!({ "arms": {} }));
    for (input, word) in [
        ("empty", "no predictions"),
        ("run", "no predictions"),
        ("page.json", "page.json:1:1"),
        ("nothing.json", "nothing.json: no answer to any question of"),
        ("others.json", "others.json: no answer to any question of"),
        ("matrix.json", "no scores in"),
        ("summary.json", "no scores"),
    ] {
        // Each invalid input is tested as the only run and after a valid run.
        for valid_runs in [&[][..], &[predictions.as_str()]] {
            expect_rejected(&[valid_runs, &[&at(input)], &options].concat(), word);
            assert_eq!(fs::read(&page).unwrap(), original_page, "{input}");
        }
    }
}

#[test]
fn damaged_records_of_a_run_are_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    run_folder(folder.path());
    let run = folder.path().display().to_string();
    let page = folder.path().join("report.html").display().to_string();
    for (file, position) in [
        ("machine.json", "machine.json:1:"),
        ("run.json", "run.json:1:"),
        ("seed-9/base/trained.json", "trained.json:1:"),
        ("seed-9/base/fine-tune/metrics.jsonl", "metrics.jsonl: line 1: "),
    ] {
        let path = folder.path().join(file);
        let original = fs::read(&path).unwrap();
        fs::write(&path, "]\n{\"step\": 20, \"loss\": 1.5}\n").unwrap();
        expect_rejected(&[&run, "--out", &page], position);
        fs::write(&path, original).unwrap();
    }
    // Files that a run has not written yet are no error.
    fs::remove_file(folder.path().join("machine.json")).unwrap();
    report(&[&run, "--out", &page]);
    expect_rejected(&[&run, "--out", ".."], "cannot write ..");
}

#[test]
fn missing_options_are_rejected() {
    let predictions = fixture("scorer/es/predictions.json");
    let data = fixture("scorer/es/dataset.json");
    for (args, error) in [
        (["--data", &data], "cannot determine the language of the answers; give --language LANG"),
        (["--language", "es"], "cannot determine the question file; give --data FILE"),
    ] {
        let output = run(&[&[&predictions, "--out", "/dev/null"], &args[..]].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text, format!("error: {predictions}: {error}\n"));
    }
}

#[test]
fn page_has_the_requested_number_of_questions() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (language, ids) in [("de", 0..3), ("en", 0..3), ("es", 0..1)] {
        let name = format!("test-context-{language}-question-{language}.json");
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        let rows = ids.iter().map(|id| (id.as_str(), "?", "one two", "two"));
        write(&folder.path().join("data").join(&name), &questions(&rows.collect::<Vec<_>>()));
        write(&folder.path().join("predictions").join(&name), &json!({ "0": "two" }));
    }
    for (requested, shown) in [("0", 0), ("1", 1), ("4", 4), ("6", 6), ("100", 7)] {
        let (predictions, data, page) = (at("predictions"), at("data"), at("report.html"));
        report(&[&predictions, "--data", &data, "--out", &page, "--questions", requested]);
        let page = fs::read_to_string(&page).unwrap();
        let items = match shown {
            0 => 0,
            _ => page_data(&page)["items"].as_array().unwrap().len(),
        };
        assert_eq!(items, shown, "--questions {requested}");
    }
}

#[test]
fn n_best_lists_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let lists =
        json!({ "a": { "id": "a", "candidates": [{ "text": "ten", "probability": 0.75 }] } });
    write(Path::new(&at("n-best.json")), &lists);
    report(&[
        &fixture("rows/predictions.json"),
        "--data",
        &fixture("rows/questions.jsonl"),
        "--language",
        "en",
        "--n-best",
        &at("n-best.json"),
        "--out",
        &at("report.html"),
    ]);
    let data = page_data(&fs::read_to_string(at("report.html")).unwrap());
    assert_eq!(data["items"][0]["answers"][0]["n_best"], json!([["ten", 0.75]]));
}

#[test]
fn figure_of_the_readme_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("demo.html").display().to_string();
    let summary = root.join("examples/bridging-gap/results/demo-seeds.json").display().to_string();
    report(&[&summary, "--out", &page, "--formats", "svg"]);
    let drawn = fs::read_to_string(folder.path().join("demo-f1.svg")).unwrap();
    let stored = fs::read_to_string(root.join("docs/demo-f1.svg")).unwrap();
    assert_eq!(drawn, stored, "qa-report …/results/demo-seeds.json --out demo.html --formats svg");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains("](docs/demo-f1.svg)"));
}
