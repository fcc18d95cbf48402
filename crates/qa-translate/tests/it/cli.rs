//! Tests of the program.
use std::process::Stdio;

use crate::common::{Reply, Server, chat_reply, dataset, question, upper_case, upper_case_chat};
use mlqa_eval::Dataset;
use serde_json::{Value, json};
use testkit::Program;

/// Creates the program and, in its folder, the file `en.json` with `count` questions.
fn program(count: usize) -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_qa-translate"));
    let row = |k: usize| {
        let context = format!("number n{k} here");
        question(&k.to_string(), &format!("q{k}"), &context, &format!("n{k}"))
    };
    dataset((0..count).map(row).collect()).write(program.path_of("en.json")).unwrap();
    program
}

/// Returns the report of the folder `out`.
fn report(program: &Program) -> Value {
    serde_json::from_str(&program.read("out/report.json")).unwrap()
}

fn read(program: &Program, name: &str) -> Dataset {
    Dataset::read(program.path_of(name)).unwrap()
}

/// Returns a line of translations from English to German.
fn entry(source: &str, target: &str) -> String {
    json!({"from": "en", "to": "de", "source": source, "target": target}).to_string() + "\n"
}

#[test]
fn translates_with_a_server_and_mixes_files() {
    let program = program(3);
    let server = Server::start(|_, body| upper_case(body));
    let translate =
        |to: &str| format!("translate --in en.json --to {to} --server {} --out out", server.url);
    let output = program.expect_success(&translate("de,zh")).out;
    assert!(output.contains("de: 3 of 3 kept (3 by markers"), "{output}");
    let german = read(&program, "out/train-context-de-question-de.json");
    german.check_answers().unwrap();
    assert_eq!(&*german.questions[1].context, "NUMBER N1 HERE");
    let questions = read(&program, "out/train-context-en-question-zh.json");
    assert_eq!(questions.questions[1].question, "Q1");
    assert_eq!(&*questions.questions[1].context, "number n1 here");
    let before = report(&program);
    assert_eq!((&before["zh"]["kept"], &before["de"]["skip_ratio"]), (&json!(3), &json!(0.0)));
    let mix = "mix --in en.json --translated out --out mixed";
    assert_eq!(
        program.expect_success(mix).out,
        "context en, question de: 3 rows\ncontext en, question zh: 3 rows\n\
         context de, question en: 3 rows\ncontext zh, question en: 3 rows\n"
    );
    let mixed_file = read(&program, "mixed/train-context-zh-question-en.json");
    assert_eq!(mixed_file.questions.len(), 3);
    let all = program.expect_success(&format!("{mix} --all-pairs --to zh,de")).out;
    assert_eq!(all.matches(": 3 rows").count(), 6, "{all}");
    program
        .expect_error("mix --in en.json --translated out --out out", &["--out", "another folder"]);
    // Another language is added to the report, and each language has a separate cache.
    program.expect_success(&translate("fr"));
    let updated = report(&program);
    assert_eq!(updated["fr"]["kept"], json!(3));
    assert_eq!((&updated["de"], &updated["zh"]), (&before["de"], &before["zh"]));
    for code in ["de", "zh", "fr"] {
        let cache = program.read(&format!("out/cache.{code}.jsonl"));
        assert!(cache.lines().all(|line| line.contains(&format!("\"to\":\"{code}\""))));
    }
    program.write("out/report.json", "[1]");
    program.expect_error(&translate("fr"), &["report.json", "expected a report by language"]);
}

#[test]
fn an_interrupted_run_resumes_from_its_cache() {
    let program = program(5);
    // The third and the fourth request fail.
    let server = Server::start(|number, body| match number {
        2 | 3 => Reply::Status(500, "down".into()),
        _ => upper_case(body),
    });
    let translate = format!(
        "translate --in en.json --to de --server {} --out out --batch-size 2 --attempts 2 \
         --first-wait 0.01",
        server.url
    );
    program.expect_error(&translate, &["status 500: down", "tried 2 times"]);
    assert!(!program.path_of("out/report.json").exists());
    program.expect_success(&translate);
    // Four questions were translated in the first run.
    let requested = server.requested_texts();
    assert_eq!(requested[4 + 2].1, "q4");
    assert_eq!(requested.len(), 4 + 2 + 1 + 5);
    // A third run sends no request.
    program.expect_success(&translate);
    assert_eq!(server.requested_texts(), requested);
}

#[test]
fn translates_with_files_and_parallel_data() {
    let program = program(1);
    program.write("t.jsonl", entry("q0", "f0"));
    let translate = "translate --in en.json --to de --file t.jsonl --out out";
    program.expect_error(translate, &["t.jsonl", "number ([n0]) here"]);
    let without_translation = program.expect_error(&format!("{translate} --missing skip"), &[]);
    let output = without_translation.out;
    assert!(
        output.contains("0 of 1 kept") && output.contains("passage without translation: 1"),
        "{output}"
    );
    // A run that writes no training data fails.
    assert!(without_translation.err.contains("no question was kept for de"), "{output}");
    assert!(program.path_of("out/report.json").exists());
    assert!(!program.path_of("out/train-context-de-question-de.json").exists());
    program.write("t.jsonl", entry("q0", "f0") + &entry("number ([n0]) here", "hier ([ n0 ])"));
    assert!(program.expect_success(translate).out.contains("1 of 1 kept"));

    let english = "data/xquad/xquad.en.json --split xquad";
    let parallel = "de=data/xquad/xquad.de.json,zh=data/xquad/xquad.zh.json";
    let output = program
        .expect_success(&format!("translate --in {english} --parallel {parallel} --out out"))
        .out;
    assert!(output.contains("zh: 1190 of 1190 kept"), "{output}");
    let output =
        program.expect_success(&format!("mix --in {english} --translated out --out mixed")).out;
    assert_eq!(output.matches(": 1190 rows").count(), 4, "{output}");
}

#[test]
fn concurrent_runs_of_two_languages_keep_both_reports() {
    let program = program(6);
    let server = Server::start(|_, body| upper_case(body));
    let start = |to: &str| {
        let arguments = format!(
            "translate --in en.json --to {to} --server {} --batch-size 1 --out out",
            server.url
        );
        program.command(&arguments).stdout(Stdio::null()).spawn().unwrap()
    };
    let mut runs = ["de", "es", "fr"].map(start);
    assert!(runs.iter_mut().all(|run| run.wait().unwrap().success()));
    let report = report(&program);
    for code in ["de", "es", "fr"] {
        assert_eq!(report[code]["kept"], json!(6), "{report}");
        let name = format!("out/train-context-{code}-question-{code}.json");
        assert_eq!(read(&program, &name).questions.len(), 6);
    }
}

#[test]
fn a_file_that_is_not_a_cache_is_not_overwritten() {
    let program = program(1);
    let server = Server::start(|_, body| upper_case(body));
    let translate = format!("translate --in en.json --to de --server {} --out out", server.url);
    let data = program.read_bytes("en.json");
    for (name, content) in [("rows", &data[..]), ("note", b"buy milk"), ("line", b"{\"a\": 1}\n")] {
        program.write(name, content);
        let expected = [&*format!("{name}:1: expected")];
        program.expect_error(&format!("{translate} --cache {name}"), &expected);
        assert_eq!(program.read_bytes(name), content, "{name}");
    }
    // The data set itself is rejected as a cache.
    let expected = ["en.json", "one of the inputs"];
    program.expect_error(&format!("{translate} --cache en.json"), &expected);
    assert_eq!(program.read_bytes("en.json"), data);
    assert_eq!(server.request_count(), 0);
}

#[test]
fn invalid_input_is_reported_in_one_line() {
    let program = program(1);
    program.write("t.jsonl", "nonsense\n");
    let language =
        ["translate", "--in", "en.json", "--to", "f r", "--file", "t.jsonl", "--out", "o"];
    program.expect_error(&language, &["expected a code of ISO 639", "\"f r\""]);
    for (arguments, expected) in [
        ("translate --to de --file t.jsonl", &["t.jsonl:1: expected"][..]),
        ("translate --to en --server http://x", &["language en"]),
        ("translate --to de --server x", &["url = x"]),
        (
            "translate --to de --api-key-env QA_TRANSLATE_UNSET --server http://x",
            &["api_key_env", "QA_TRANSLATE_UNSET"],
        ),
        ("mix --translated .", &["train-context-x-question-x.json"]),
        ("translate --to de", &["--file", "--server", "--parallel"]),
    ] {
        program.expect_error(&format!("{arguments} --in en.json --out out"), expected);
    }
}

#[test]
fn invalid_input_does_not_change_the_output() {
    let program = program(3);
    program.copy("en.json", "de.json");
    let translate = "translate --in en.json --parallel de=de.json --out out";
    let mix = "mix --in en.json --translated out --out mixed";
    program.expect_success(translate);
    program.expect_success(mix);
    let files = |folder: &str| -> Vec<_> {
        let mut files: Vec<_> = std::fs::read_dir(program.path_of(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect()
    };
    let before = [files("out"), files("mixed")];
    let invalid_contents =
        ["<html>\n503\n</html>\n", "", "{}", "[]", "{\"version\": \"1.1\", \"data\": []}"];
    for (arguments, path) in [
        (translate, "en.json"),
        (translate, "de.json"),
        (mix, "en.json"),
        (mix, "out/train-context-de-question-de.json"),
    ] {
        let original = program.read_bytes(path);
        for bytes in invalid_contents {
            program.write(path, bytes);
            program.expect_error(arguments, &[]);
            program.write(path, &original);
            let (report, data): (Vec<_>, Vec<_>) =
                files("out").into_iter().partition(|(_, path)| path.ends_with("report.json"));
            // `report.json` may change, because it contains the reasons for which questions were
            // skipped. All other files are unchanged.
            assert!(data.iter().all(|file| before[0].contains(file)), "{bytes}");
            assert_eq!((report.len(), data.len()), (1, before[0].len() - 1));
            assert_eq!(files("mixed"), before[1], "{bytes}");
        }
    }
}

#[test]
fn translations_of_a_chat_server_are_cached() {
    let program = program(2);
    let server = Server::start(|_, body| upper_case_chat(body));
    let command =
        format!("translate --in en.json --to de --chat {} --model m --out out", server.url);
    for _ in 0..2 {
        let printed = program.expect_success(&command).out;
        assert!(printed.contains("de: 2 of 2 kept (2 by markers"), "{printed}");
        // Two questions and two passages are requested.
        assert_eq!(server.request_count(), 4);
    }
    let without_model = command.replace(" --model m", "");
    program.expect_error(&without_model, &["--model"]);
}

#[cfg(unix)]
#[test]
fn examples_of_help_run() {
    // Each row contains a command, the number of its examples, and a file that the examples write.
    for (command, count, output) in [
        (&[][..], 3, "mixed/xquad-context-de-question-en.json"),
        (&["translate"], 2, "french/train-context-fr-question-fr.json"),
        (&["mix"], 3, "all/xquad-context-de-question-es.json"),
        (&["ner"], 1, "french/en.fr.conll"),
        (&["place"], 1, "pairs.txt"),
    ] {
        let folder = testkit::run_examples(env!("CARGO_BIN_EXE_qa-translate"), command, count);
        assert!(folder.path().join(output).exists(), "{command:?}: {output}");
    }
}

#[test]
fn a_cache_belongs_to_a_translator() {
    let program = program(2);
    let server = Server::start(|_, body| {
        let name = body["model"].as_str().unwrap();
        let text = body["messages"][1]["content"].as_str().unwrap();
        chat_reply(&format!("{name} {text}"), "stop")
    });
    let url = &server.url;
    let command = |options: &str| format!("translate --in en.json --to de --out out {options}");
    let question = || read(&program, "out/train-context-de-question-de.json").questions.remove(0);
    program.expect_success(&command(&format!("--chat {url} --model a")));
    assert_eq!(question().question, "a q0");
    let output = program.expect_success(&command(&format!("--chat {url} --model b")));
    assert_eq!((question().question.as_str(), server.request_count()), ("b q0", 8));
    let note = "cache.de.jsonl: 4 translations by another translator are not used";
    assert!(output.err.contains(note), "{}", output.err);
    // The translations of the first model are retained, and reused by the first model.
    program.expect_success(&command(&format!("--chat {url} --model a")));
    assert_eq!((question().question.as_str(), server.request_count()), ("a q0", 8));
    // A name makes the cache independent of the server's address.
    let named = "--model a --provider-name mine";
    program.expect_success(&command(&format!("--chat {url} {named}")));
    assert_eq!(server.request_count(), 12);
    program.expect_success(&command(&format!("--chat http://127.0.0.1:9 {named}")));
}

#[test]
fn rejected_texts_are_errors_or_skipped_and_listed() {
    let program = program(3);
    let server = Server::start(|_, body| match body["q"].to_string().contains("n1") {
        true => Reply::Status(400, json!({"error": "too long"}).to_string()),
        false => upper_case(body),
    });
    let command = format!("translate --in en.json --to de --server {} --out out", server.url);
    let expected = ["status 400: too long", "number ([n1]) here", "--missing skip"];
    program.expect_error(&command, &expected);
    let output = program.expect_success(&format!("{command} --missing skip")).out;
    assert!(output.contains("de: 2 of 3 kept"), "{output}");
    assert!(output.contains("text rejected by the server: 1"), "{output}");
    let rejected = &report(&program)["de"]["replies"]["rejected_texts"][0];
    assert_eq!(
        (&rejected["reason"], &rejected["text"]),
        (&json!("status"), &json!("number ([n1]) here"))
    );
}

#[test]
fn unanswerable_questions_are_translated_and_mixed() {
    let program = program(2);
    let mut source = read(&program, "en.json");
    source.questions[1].answers.clear();
    source.write(program.path_of("en.json")).unwrap();
    let server = Server::start(|_, body| upper_case(body));
    let command = format!("translate --in en.json --to de --server {} --out out", server.url);
    let output = program.expect_success(&command).out;
    assert!(output.contains("1 by markers") && output.contains("1 unanswerable"), "{output}");
    let report = report(&program);
    assert_eq!((&report["de"]["kept"], &report["de"]["skip_ratio"]), (&json!(2), &json!(0.0)));
    let german = read(&program, "out/train-context-de-question-de.json");
    assert_eq!(german.questions[1].question, "Q1");
    assert_eq!(&*german.questions[1].context, "NUMBER N1 HERE");
    assert!(german.questions[1].answers.is_empty());
    assert!(program.read("out/train-context-de-question-de.json").contains("is_impossible"));
    let mix = "mix --in en.json --translated out --out mixed";
    assert_eq!(program.expect_success(mix).out.matches(": 2 rows").count(), 2);
}

#[test]
fn the_form_of_the_markers_can_be_selected() {
    let program = program(3);
    // A translator that repeats a word beside brackets, loses tags and retains quotes.
    let server = Server::start(|_, body| {
        let texts = body["q"].as_array().unwrap().iter().map(|text| {
            text.as_str().unwrap().replace("([", "again ([").replace("<m>", "").to_uppercase()
        });
        let texts: Vec<String> = texts.collect();
        Reply::Status(200, json!({ "translatedText": texts }).to_string())
    });
    let run = |options: &str| {
        let command = format!("translate --in en.json --to de --server {} --out out", server.url);
        let output = program.expect_success(&format!("{command} {options}")).out;
        let german = read(&program, "out/train-context-de-question-de.json");
        (output, german.questions[1].clone())
    };
    assert_eq!(&*run("").1.context, "NUMBER AGAIN N1 HERE");
    let (output, question) = run("--markers auto");
    for line in [
        "de: brackets: 0 of 3 translations unchanged by markers, 3 recovered, 3 equal",
        "de: tags: 0 of 3 translations unchanged by markers, 0 recovered, 0 equal",
        "de: quotes: 3 of 3 translations unchanged by markers, 3 recovered, 3 equal",
        "3 by markers",
    ] {
        assert!(output.contains(line), "{output}");
    }
    assert_eq!((&*question.context, question.answers[0].answer_start), ("NUMBER N1 HERE", Some(7)));
    assert_eq!(report(&program)["de"]["markers"], json!("quotes"));
    let (output, question) = run("--markers none");
    assert!(output.contains("0 by markers, 3 by search"), "{output}");
    assert_eq!((&*question.context, question.answers[0].answer_start), ("NUMBER N1 HERE", Some(7)));
    assert!(run("--markers tags").0.contains("0 by markers, 3 by search"));
    let command =
        "translate --in en.json --to de --file t.jsonl --out out --markers none --no-search";
    program.expect_error(command, &["--markers = none", "--no-search"]);
}

#[test]
fn answers_are_placed_by_an_alignment_file() {
    let program = program(0);
    let text = "The town hall, built in 1843.";
    let mut source = vec![
        question("a", "What?", text, "town hall"),
        question("b", "When?", text, "1843"),
        question("c", "Who?", text, "built"),
        question("d", "How?", text, "The"),
    ];
    source[3].answers.clear();
    dataset(source).write(program.path_of("en.json")).unwrap();
    let translations = [
        (text, "1843 entstand das Rathaus."),
        ("What?", "Was?"),
        ("When?", "Wann?"),
        ("Who?", "Wer?"),
        ("How?", "Wie?"),
    ];
    program.write("t.jsonl", translations.map(|(a, b)| entry(a, b)).concat());
    let place = "place --in en.json --to de --file t.jsonl";
    program.expect_success(&format!("{place} --pairs pairs.txt"));
    let pairs = program.read("pairs.txt");
    let lines: Vec<&str> = pairs.lines().collect();
    assert_eq!(lines[0], "The town hall , built in 1843 . ||| 1843 entstand das Rathaus .");
    assert_eq!(
        lines[1..],
        ["What ? ||| Was ?", "When ? ||| Wann ?", "Who ? ||| Wer ?", "How ? ||| Wie ?"]
    );
    program.write("links.txt", "1-3 2-3 6-0 7-4\n0-0\n\n\n\n");
    let place = format!("{place} --alignment links.txt --out out");
    let output = program.expect_success(&place).out;
    assert!(output.contains("de: 3 of 4 kept"), "{output}");
    assert!(output.contains("answer not in the passage: 1"), "{output}");
    let german = read(&program, "out/train-context-de-question-de.json");
    german.check_answers().unwrap();
    let answers: Vec<_> = german.questions.iter().map(|q| (&*q.id, q.answers.first())).collect();
    assert_eq!(answers[0].1.unwrap().text, "Rathaus");
    assert_eq!(answers[1].1.unwrap().text, "1843");
    assert_eq!(answers[2], ("d", None));
    for (links, expected) in [
        ("1-3\n", ["links.txt:2: expected 5 lines", "got 1 lines"]),
        ("1-3\n\n\n\n\n0-0\n", ["links.txt:6: expected 5 lines", "got 6 lines"]),
        ("\n2-0\n\n\n\n", ["links.txt:2: expected links i-j with i below 2", "\"2-0\""]),
        ("1:3\n\n\n\n\n", ["links.txt:1: expected links i-j", "\"1:3\""]),
    ] {
        program.write("links.txt", links);
        program.expect_error(&place, &expected);
    }
}
