//! The program as a user meets it.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{Reply, Server, dataset, question, upper};
use mlqa_eval::Dataset;
use serde_json::{Value, json};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qa-translate")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn done(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Exit code 2 and one `error:` line that holds every word.
fn refused(args: &[&str], words: &[&str]) {
    let output = run(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: `{word}` is not in: {said}");
    }
}

/// `en.json` with `count` questions; returns its path.
fn english(folder: &Path, count: usize) -> String {
    let rows = (0..count)
        .map(|k| {
            question(
                &k.to_string(),
                &format!("q{k}"),
                &format!("number n{k} here"),
                &format!("n{k}"),
            )
        })
        .collect();
    let path = folder.join("en.json");
    dataset(rows).write(&path).unwrap();
    path.display().to_string()
}

/// The report of the folder `out`.
fn report(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("out/report.json")).unwrap()).unwrap()
}

#[test]
fn from_a_server_to_mixed_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (source, out) = (english(folder.path(), 3), at("out"));
    let server = Server::start(|_, body| upper(body));
    let said = done(&[
        "translate",
        "--in",
        &source,
        "--to",
        "de,zh",
        "--server",
        &server.url,
        "--out",
        &out,
    ]);
    assert!(said.contains("de: 3 of 3 kept (3 by markers"), "{said}");
    let german = Dataset::read(at("out/train-context-de-question-de.json")).unwrap();
    german.check_answers().unwrap();
    assert_eq!(&*german.questions[1].context, "NUMBER N1 HERE");
    let wording = Dataset::read(at("out/train-context-en-question-zh.json")).unwrap();
    assert_eq!(wording.questions[1].question, "Q1");
    assert_eq!(&*wording.questions[1].context, "number n1 here");
    let report = report(folder.path());
    assert_eq!((&report["zh"]["kept"], &report["de"]["skip_ratio"]), (&json!(3), &json!(0.0)));
    // A language more is added, and each has a cache of its own.
    let args =
        |to| ["translate", "--in", &source, "--to", to, "--server", &server.url, "--out", &out];
    done(&args("fr"));
    let with_french = self::report(folder.path());
    assert_eq!(with_french["fr"]["kept"], json!(3));
    assert_eq!((&with_french["de"], &with_french["zh"]), (&report["de"], &report["zh"]));
    for code in ["de", "zh", "fr"] {
        let cache = fs::read_to_string(at(&format!("out/cache.{code}.jsonl"))).unwrap();
        assert!(cache.lines().all(|line| line.contains(&format!("\"to\":\"{code}\""))));
    }
    fs::write(at("out/report.json"), "[1]").unwrap();
    refused(&args("fr"), &["report.json", "no report by language"]);
    fs::write(at("out/report.json"), with_french.to_string()).unwrap();
    for code in ["de", "zh", "en"] {
        // What the rest of this test is about.
        fs::remove_file(at(&format!("out/train-context-{code}-question-fr.json"))).ok();
    }
    fs::remove_file(at("out/train-context-fr-question-fr.json")).unwrap();

    let one = at("one.json");
    let mix =
        ["mix", "--in", &source, "--translated", &out, "--one-file", &one, "--out", &at("mixed")];
    let said = done(&mix);
    assert_eq!(
        said,
        "context en, question de: 3 rows\ncontext en, question zh: 3 rows\n\
         context de, question en: 3 rows\ncontext zh, question en: 3 rows\n"
    );
    assert_eq!(Dataset::read(&one).unwrap().questions.len(), 12);
    let pair = Dataset::read(at("mixed/train-context-zh-question-en.json")).unwrap();
    assert_eq!(pair.questions.len(), 3);
    let first = fs::read(&one).unwrap();
    done(&mix);
    assert_eq!(fs::read(&one).unwrap(), first);
    done(&[&mix[..], &["--all-pairs", "--to", "zh,de"]].concat());
    assert_eq!(Dataset::read(&one).unwrap().questions.len(), 18);
    refused(
        &["mix", "--in", &source, "--translated", &out, "--out", &out],
        &["--out", "another folder"],
    );
}

#[test]
fn a_run_that_stopped_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (source, out) = (english(folder.path(), 5), at("out"));
    let broken = Server::start(|number, body| match number {
        0 | 1 => upper(body),
        _ => Reply::Say(500, "down".into()),
    });
    let args = |url: &str| {
        [
            "translate",
            "--in",
            &source,
            "--to",
            "de",
            "--server",
            url,
            "--out",
            &out,
            "--batch-size",
            "2",
            "--attempts",
            "2",
            "--first-wait",
            "0.01",
        ]
        .map(str::to_owned)
    };
    let owned = args(&broken.url);
    refused(&owned.each_ref().map(String::as_str), &["status 500: down", "tried 2 times"]);
    assert!(!Path::new(&at("out/report.json")).exists());
    let mended = Server::start(|_, body| upper(body));
    let owned = args(&mended.url);
    done(&owned.each_ref().map(String::as_str));
    let asked: Vec<String> = mended
        .requests
        .lock()
        .unwrap()
        .iter()
        .flat_map(|(_, body)| body["q"].as_array().unwrap().clone())
        .map(|text| text.as_str().unwrap().to_owned())
        .collect();
    // Four questions were translated by the first server.
    assert_eq!(asked[0], "q4");
    assert_eq!(asked.len(), 1 + 5);
    // A third run asks nobody.
    let owned = args("http://127.0.0.1:9");
    done(&owned.each_ref().map(String::as_str));
}

#[test]
fn files_of_translations_and_parallel_data() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (source, out, file) = (english(folder.path(), 1), at("out"), at("t.jsonl"));
    let line = |source: &str, target: &str| {
        json!({"from": "en", "to": "de", "source": source, "target": target}).to_string() + "\n"
    };
    fs::write(&file, line("q0", "f0")).unwrap();
    let args = ["translate", "--in", &source, "--to", "de", "--file", &file, "--out", &out];
    refused(&args, &["t.jsonl", "number ([n0]) here"]);
    let nothing = run(&[&args[..], &["--missing", "skip"]].concat());
    let said = text(&nothing.stdout);
    assert!(
        said.contains("0 of 1 kept") && said.contains("passage without translation: 1"),
        "{said}"
    );
    // Nothing that could be trained on is no success.
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("no question was kept for de"), "{said}");
    assert!(Path::new(&at("out/report.json")).exists());
    assert!(!Path::new(&at("out/train-context-de-question-de.json")).exists());
    fs::write(&file, line("q0", "f0") + &line("number ([n0]) here", "hier ([ n0 ])")).unwrap();
    assert!(done(&args).contains("1 of 1 kept"));

    let xquad =
        |code: &str| format!("{}/../../data/xquad/xquad.{code}.json", env!("CARGO_MANIFEST_DIR"));
    let (english, parallel) = (xquad("en"), format!("de={},zh={}", xquad("de"), xquad("zh")));
    let said = done(&[
        "translate",
        "--in",
        &english,
        "--parallel",
        &parallel,
        "--split",
        "xquad",
        "--out",
        &out,
    ]);
    assert!(said.contains("zh: 1190 of 1190 kept"), "{said}");
    let said = done(&[
        "mix",
        "--in",
        &english,
        "--translated",
        &out,
        "--split",
        "xquad",
        "--one-file",
        &at("m.json"),
    ]);
    assert_eq!(said.matches(": 1190 rows").count(), 4, "{said}");
}

#[test]
fn runs_of_two_languages_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (english(folder.path(), 6), folder.path().join("out"));
    let server = Server::start(|_, body| upper(body));
    let start = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qa-translate"));
        command.args(["translate", "--in", &source, "--to", to, "--server", &server.url]);
        command.args(["--batch-size", "1", "--out"]).arg(&out);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut runs = ["de", "es", "fr"].map(start);
    assert!(runs.iter_mut().all(|run| run.wait().unwrap().success()));
    let report = report(folder.path());
    for code in ["de", "es", "fr"] {
        assert_eq!(report[code]["kept"], json!(6), "{report}");
        let name = format!("train-context-{code}-question-{code}.json");
        assert_eq!(Dataset::read(out.join(name)).unwrap().questions.len(), 6);
    }
}

#[test]
fn a_cache_that_is_none_stays_and_an_older_one_counts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (source, out) = (english(folder.path(), 1), at("out"));
    let server = Server::start(|_, body| upper(body));
    let args = ["translate", "--in", &source, "--to", "de", "--server", &server.url, "--out", &out];
    let data = fs::read(&source).unwrap();
    for (name, content) in [("data", &data[..]), ("note", b"buy milk"), ("line", b"{\"a\": 1}\n")] {
        fs::write(at(name), content).unwrap();
        let cache = at(name);
        refused(&[&args[..], &["--cache", &cache]].concat(), &[&format!("{name}:1: expected")]);
        assert_eq!(fs::read(at(name)).unwrap(), content, "{name}");
    }
    // The data set itself.
    refused(&[&args[..], &["--cache", &source]].concat(), &["en.json", "one of the inputs"]);
    assert_eq!(fs::read(&source).unwrap(), data);
    assert_eq!(server.count(), 0);

    let line = |source: &str, target: &str| {
        json!({"from": "en", "to": "de", "source": source, "target": target}).to_string() + "\n"
    };
    fs::create_dir(&out).unwrap();
    let older = line("q0", "f0") + &line("number ([n0]) here", "");
    fs::write(at("out/cache.jsonl"), &older).unwrap();
    assert!(done(&args).contains("1 of 1 kept"));
    // Asked for what the older cache lacks, or has nothing for.
    assert_eq!(server.count(), 1);
    assert_eq!(fs::read_to_string(at("out/cache.jsonl")).unwrap(), older);
    let german = Dataset::read(at("out/train-context-de-question-de.json")).unwrap();
    assert_eq!(german.questions[0].question, "f0");
}

#[test]
fn bad_input_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (source, out, file) = (english(folder.path(), 1), at("out"), at("t.jsonl"));
    fs::write(&file, "nonsense\n").unwrap();
    refused(
        &["translate", "--in", &source, "--to", "de", "--file", &file, "--out", &out],
        &["t.jsonl:1: expected"],
    );
    refused(
        &["translate", "--in", &source, "--to", "en", "--server", "http://x", "--out", &out],
        &["language en"],
    );
    refused(
        &["translate", "--in", &source, "--to", "de", "--server", "x", "--out", &out],
        &["url = x"],
    );
    let unset = ["--api-key-env", "QA_TRANSLATE_UNSET", "--server", "http://x"];
    refused(
        &[&["translate", "--in", &source, "--to", "de", "--out", &out], &unset[..]].concat(),
        &["api_key_env", "QA_TRANSLATE_UNSET"],
    );
    refused(
        &["mix", "--in", &source, "--translated", folder.path().to_str().unwrap(), "--out", &out],
        &["train-context-x-question-x.json"],
    );
    refused(
        &["translate", "--in", &source, "--to", "f r", "--file", &file, "--out", &out],
        &["expected a language code", "\"f r\""],
    );
    refused(
        &["translate", "--in", &source, "--to", "de", "--out", &out],
        &["--file", "--server", "--parallel"],
    );
}

#[test]
fn a_wrong_input_leaves_the_output_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (source, german, out) = (english(folder.path(), 3), at("de.json"), at("out"));
    fs::copy(&source, &german).unwrap();
    let (parallel, mixed) = (format!("de={german}"), at("mixed"));
    let translate = ["translate", "--in", &source, "--parallel", &parallel, "--out", &out];
    let mix = ["mix", "--in", &source, "--translated", &out, "--out", &mixed];
    done(&translate);
    done(&mix);
    let files = |folder: &str| -> Vec<_> {
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect()
    };
    let before = [files(&out), files(&mixed)];
    let wrong = ["<html>\n503\n</html>\n", "", "{}", "[]", "{\"version\": \"1.1\", \"data\": []}"];
    let translated = at("out/train-context-de-question-de.json");
    let cases = [
        (&translate[..], &source),
        (&translate[..], &german),
        (&mix[..], &source),
        (&mix[..], &translated),
    ];
    for (args, path) in cases {
        let good = fs::read(path).unwrap();
        for bytes in wrong {
            fs::write(path, bytes).unwrap();
            refused(args, &[]);
            fs::write(path, &good).unwrap();
            let (report, data): (Vec<_>, Vec<_>) =
                files(&out).into_iter().partition(|(_, path)| path.ends_with("report.json"));
            // The report says why nothing was kept.
            assert!(data.iter().all(|file| before[0].contains(file)), "{bytes}");
            assert_eq!((report.len(), data.len()), (1, before[0].len() - 1));
            assert_eq!(files(&mixed), before[1], "{bytes}");
        }
    }
}

#[test]
fn a_language_that_is_named_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (source, out) = (english(folder.path(), 3), at("out"));
    let twice = format!("de={source},de={source}");
    let once = format!("de={source}");
    let translate = ["translate", "--in", &source, "--out", &out];
    let with = |rest: &[&str], words: &[&str]| {
        refused(&[&translate[..], rest].concat(), words);
        assert!(!Path::new(&out).exists());
    };
    with(&["--to", "fr,de,fr", "--server", "http://localhost:1"], &["language fr: is named twice"]);
    with(&["--parallel", &twice], &["language de: is named twice"]);
    with(&["--parallel", &once, "--to", "fr"], &["no file in a language of --to"]);
    let mix = ["mix", "--in", &source, "--translated", &at("t"), "--to", "de,de", "--out", &out];
    fs::create_dir(at("t")).unwrap();
    fs::copy(&source, at("t/train-context-de-question-de.json")).unwrap();
    refused(&mix, &["language de: ", "twice"]);
    let output = run(&["translate", "--in", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("--out <DIR>") && text(&output.stderr).contains("--help")
    );
}
