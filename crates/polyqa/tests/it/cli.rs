//! Tests of the command-line program.
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{copy_model, pdf, polyqa, read_json, run_with_input};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn answers_are_printed_as_text_or_json() {
    let program = polyqa();
    program.write("peru.txt", "Lima liegt in Peru.\u{1b}[31m Quito nicht.");
    program.write(
        "rows.jsonl",
        "{\"id\": 7, \"text\": \"Quito est en Équateur.\"}\n\n{\"text\": \"\"}\n",
    );
    program.write("q.jsonl", "{\"id\": \"a\", \"question\": \"Wo?\"}\n{\"question\": \"Qui?\"}\n");
    let output = program.expect_success("answer --model model -q Wo? peru.txt rows.jsonl").out;
    assert!(output.starts_with("Wo?\n  [") && !output.contains('\u{1b}'), "{output}");

    program.write("text.txt", "A text has words.");
    let output = run_with_input(
        &program,
        "answer --model model --questions q.jsonl --json -n 2 --documents rows.jsonl -",
        b"Standard input has a text.",
    );
    let results = json_lines(&output.out);
    assert_eq!(results.len(), 2, "{}", output.err);
    assert_eq!((&results[0]["id"], &results[1]["id"]), (&Value::from("a"), &Value::Null));
    for line in &results {
        let answers = line["answers"].as_array().unwrap();
        assert_eq!(answers.len(), 2);
        for answer in answers {
            assert!(["7", "-"].contains(&answer["document"].as_str().unwrap()), "{answer}");
        }
    }
    // Questions are read line by line; a line that is not UTF-8 is skipped.
    let input = b"\xff\nWhere?\n\nWho?";
    let output = run_with_input(&program, "answer --model model --json text.txt", input);
    assert!(output.err.starts_with("skipped a line that is not UTF-8"), "{}", output.err);
    let questions: Vec<Value> =
        json_lines(&output.out).iter().map(|result| result["question"].clone()).collect();
    assert_eq!(questions, ["Where?", "Who?"]);
}

/// libgomp prints its settings each time that it is loaded. (libtorch may use a different OpenMP
/// library.)
#[test]
#[cfg(target_os = "linux")]
fn the_program_loads_libtorch_once_with_passive_waiting() {
    let program = polyqa();
    let mut command = program.command("--version");
    for name in ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "LRU_CACHE_CAPACITY", "GLIBC_TUNABLES"] {
        command.env_remove(name);
    }
    let output = testkit::run_command(command.env("OMP_DISPLAY_ENV", "true"));
    assert!(output.code == Some(0) && output.out.starts_with("polyqa "), "{}", output.err);
    let policies: Vec<&str> =
        output.err.lines().filter(|line| line.contains("OMP_WAIT_POLICY")).collect();
    assert!(
        policies.len() < 2 && policies.iter().all(|line| line.contains("PASSIVE")),
        "{policies:?}"
    );
}

#[test]
fn a_question_file_is_answered_over_its_contexts() {
    let program = polyqa();
    let file = std::fs::read(Path::new(crate::common::DATA).join("xquad/xquad.de.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&file).unwrap();
    let articles = file["data"].as_array_mut().unwrap();
    articles.truncate(1);
    articles[0]["paragraphs"].as_array_mut().unwrap().truncate(2);
    program.write("dev.json", file.to_string());
    let output = program.expect_success(
        "answer --model model --questions dev.json --json --predictions predictions.json \
         --null-odds odds.json --n-best n-best.json",
    );
    let [predictions, odds, n_best] =
        ["predictions.json", "odds.json", "n-best.json"].map(|name| read_json(&program, name));
    let results = json_lines(&output.out);
    assert_eq!(results.len(), predictions.as_object().unwrap().len());
    for line in &results {
        let id = line["id"].as_str().unwrap();
        assert_eq!(line["answers"][0]["text"], predictions[id]);
        assert!(odds[id].is_number() && n_best[id]["candidates"].is_array());
    }
}

#[test]
fn bad_input_is_reported_in_one_line() {
    let program = polyqa();
    program.write("text.txt", "A text.");
    program.write("cut.jsonl", "{\"text\": \"a\"}\n{\"text\": \n");
    program.write(
        "q.jsonl",
        "{\"id\": 1, \"question\": \"a\"}\n{\"id\": \"1\", \"question\": \"b\"}\n",
    );
    program.write("latin.txt", b"caf\xe9");
    program.write("dev.json", "{}");
    program.write("scan.pdf", pdf(&["", ""]));
    copy_model(&program, "model", "bad");
    program.write("bad/calibration.json", "{\"temperature\": 0}");
    copy_model(&program, "model", "runs/seed-0/arm/all/model");
    program.expect_only_errors(&[
        ("answer --model model -q Where? none", &["none"]),
        ("answer --model model -q Where? model", &["model", "is a folder"]),
        ("answer --model model -q Where? latin.txt", &["latin.txt"]),
        ("answer --model model -q Where? cut.jsonl", &["cut.jsonl: line 2"]),
        ("answer --model model -q Where? dev.json", &["dev.json", "--questions"]),
        ("answer --model model -q Where? scan.pdf", &["scan.pdf", "no text", "OCR"]),
        ("index --out library dev.json", &["dev.json", "is JSON"]),
        ("text scan.pdf", &["scan.pdf", "no text"]),
        ("answer --model model -q Where?", &["no documents"]),
        ("answer --model model -q Where? - -", &["standard input) may be used only once"]),
        ("answer --model model -q Where? text.txt --max-length 9", &["max_length"]),
        ("answer --model model -q Where? text.txt -n 0", &["--answers"]),
        ("answer --model model -q Where? text.txt --device tpu", &["tpu"]),
        ("answer --model model -q Where? text.txt --precision f64", &["f64"]),
        ("answer --model model --questions q.jsonl text.txt", &["line 2", "duplicate"]),
        ("answer --model nowhere -q Where? text.txt", &["nowhere"]),
        ("answer --model bad -q Where? text.txt", &["calibration.json"]),
        (
            "answer --model runs -q Where? text.txt",
            &["runs: not a model", "runs/seed-0/arm/all/model"],
        ),
        ("answer --model data/base -q Where? text.txt", &["XLMRobertaForMaskedLM"]),
        ("train --model data/base", &["--train"]),
    ]);
    program.expect_only_error(
        &["answer", "--model", "model", "text.txt", "Where is Lima?"],
        &["Where is Lima?", "passed with -q"],
    );
    program.expect_only_error(
        &["answer", "--model", "model", "-q", " ", "text.txt"],
        &["a question is empty"],
    );
    program.expect_error("doctor --model nowhere", &["nowhere"]);
}

#[test]
fn answers_in_pdf_html_and_markdown_have_positions_in_their_text() {
    let program = polyqa();
    program.write("a.pdf", pdf(&["Lima is in Peru.", "Quito is in Ecuador."]));
    program.write("b.html", "<nav>Home</nav><p>Lima is the <b>capital</b> of Peru.</p>");
    program.write("c.md", "# Quito\n\nQuito is the *capital* of Ecuador.\n");
    program.write("d.txt", "Lima\n<b>text</b>");
    let texts = program.expect_success("text --json a.pdf b.html c.md d.txt").out;
    let texts: Vec<Value> = json_lines(&texts);
    let expected = [
        "Lima is in Peru.\n\n\u{c}Quito is in Ecuador.\n\n\u{c}",
        "Lima is the capital of Peru.",
        "Quito\n\nQuito is the capital of Ecuador.",
        "Lima\n<b>text</b>",
    ];
    assert!(texts.iter().zip(expected).all(|(row, text)| row["text"] == text), "{texts:?}");
    assert_eq!(
        program.expect_success("text a.pdf b.html").out,
        format!("{}{}\n", expected[0], expected[1])
    );
    program.expect_success("index a.pdf b.html c.md d.txt --out library");
    for documents in ["a.pdf b.html c.md d.txt", "--collection library"] {
        let line = format!("answer --model model -q Lima? -n 99 --json {documents}");
        let output = program.expect_success(&line).out;
        let answers = json_lines(&output).remove(0);
        let mut pages = Vec::new();
        for answer in answers["answers"].as_array().unwrap() {
            let document = texts.iter().find(|row| row["id"] == answer["document"]).unwrap();
            let text = document["text"].as_str().unwrap();
            let byte = |key: &str| usize::try_from(answer[key].as_u64().unwrap()).unwrap();
            let (start, end) = (byte("start_byte"), byte("end_byte"));
            assert_eq!(text[start..end], answer["text"]);
            assert_eq!(answer.get("page").is_some(), document["id"] == "a.pdf", "{answer}");
            if let Some(page) = answer.get("page") {
                assert_eq!(*page, 1 + text[..start].matches('\u{c}').count());
                pages.push(page.as_u64());
            }
        }
        assert!(pages.contains(&Some(1)), "{documents}: {answers}");
    }
    let line = "answer --model model -q Lima? -n 1 a.pdf";
    assert!(program.expect_success(line).out.contains("a.pdf, page "));
}

#[test]
fn a_model_is_loaded_by_its_name_in_the_cache() {
    let program = polyqa();
    program.write("text.txt", "A text.");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let repository = "hub/models--someone--reader";
    program.write(&format!("{repository}/refs/main"), commit);
    copy_model(&program, "model", &format!("{repository}/snapshots/{commit}"));
    let run = |line: &str| {
        let mut command = program.command(line);
        command.env("HF_HUB_CACHE", program.path_of("hub")).env("HF_HUB_OFFLINE", "1");
        testkit::run_command(&mut command)
    };
    let answer = |name: &str| run(&format!("answer --model {name} -q Where? text.txt --json"));
    let by_folder = program.expect_success("answer --model model -q Where? text.txt --json");
    assert_eq!(answer("someone/reader").out, by_folder.out);
    let missing = answer("someone/else");
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.starts_with("error: ") && missing.err.contains("someone/else"));

    // A training run records the commit of the model's repository and a digest of each model file.
    program.write(
        "train.jsonl",
        "{\"id\": \"1\", \"question\": \"Where?\", \"context\": \"It is in Lima.\", \
         \"answers\": {\"text\": [\"Lima\"], \"answer_start\": [9]}}\n",
    );
    let trained =
        run("train --model someone/reader --train train.jsonl --out run --set training.steps=1");
    assert_eq!(trained.code, Some(0), "{}", trained.err);
    let identity = &read_json(&program, "run/run.json")["identity"];
    assert_eq!(identity["keys"]["model.revision"], format!("someone/reader@{commit}"));
    let digest = format!("{:x}", Sha256::digest(program.read_bytes("model/model.safetensors")));
    assert!(identity["files"].to_string().contains(&digest), "{identity}");
}

#[test]
fn the_model_is_optional() {
    let program = polyqa();
    program.write("text.txt", "Lima liegt in Peru.");
    let question = "-q Wo? text.txt --json";
    let expected = program.expect_success(&format!("answer --model model {question}")).out;
    let line = format!("answer {question}");
    let run = |line: &str, variable: &str| {
        testkit::run_command(program.command(line).env("POLYQA_MODEL", variable))
    };
    let by_variable = run(&line, "model");
    assert_eq!(by_variable.out, expected);
    assert_eq!(by_variable.err, "note: the model is model (POLYQA_MODEL)\n");
    assert!(run("doctor", "model").out.contains("reader     model\n"));
    let missing = run(&line, "nowhere");
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.starts_with("error: POLYQA_MODEL: nowhere"), "{}", missing.err);
    // The option takes precedence.
    let by_option = run(&format!("answer --model model {question}"), "nowhere");
    assert_eq!((by_option.out.as_str(), by_option.err.as_str()), (&*expected, ""));

    // A reader that is installed with the program.
    copy_model(&program, "model", "usr/share/polyqa/reader");
    let installed = program.path_of("usr/bin/polyqa");
    std::fs::create_dir_all(installed.parent().unwrap()).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_polyqa"), &installed).unwrap();
    let run_installed = |line: &str| {
        let mut command = std::process::Command::new(&installed);
        command.args(line.split(' ')).current_dir(program.path_of(""));
        command.env("POLYQA_PRECISION", "f32").env("POLYQA_MODEL", "");
        testkit::run_command(&mut command)
    };
    let by_folder = run_installed(&line);
    assert_eq!((by_folder.out.as_str(), by_folder.err.as_str()), (&*expected, ""));
    let doctor = run_installed("doctor").out;
    assert!(doctor.contains("/usr/share/polyqa/reader\n"), "{doctor}");
    // A folder next to the program has precedence.
    copy_model(&program, "model", "usr/bin/reader");
    let doctor = run_installed("doctor").out;
    assert!(doctor.contains("/usr/bin/reader\n"), "{doctor}");
}

#[test]
fn examples_of_the_help_run() {
    testkit::run_examples(env!("CARGO_BIN_EXE_polyqa"), &["score"], 4);
    testkit::run_examples(env!("CARGO_BIN_EXE_polyqa"), &["report"], 3);
    let program = testkit::Program::new(env!("CARGO_BIN_EXE_polyqa"));
    assert!(program.expect_success("completions bash").out.contains("polyqa"));
}

#[test]
fn the_doctor_describes_readers_encoders_and_unsupported_models() {
    let program = polyqa();
    let output = program.expect_success("doctor --model model").out;
    let weights = program.read_bytes("model/model.safetensors").len().div_ceil(1_000_000);
    for text in [
        "type       xlm-roberta, XLMRobertaForQuestionAnswering\n",
        "encoder    3 layers of 128, 4 attention heads\n",
        "vocabulary 4000\n",
        "max length 128 tokens\n",
        "tokenizer  BPE, 4000 tokens\n",
        "QA head    span\n",
        "answer     yes\ntrain      yes\nencode     no: model/config.json: architectures: ",
        &format!("weights    {weights} MB, "),
        " parameters in F32\n",
        "windows    128 tokens",
        "calibrated none",
        "polyqa",
        "GPUs",
        "threads",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    assert!(!output.contains("note"), "{output}");
    let config = program.read("model/config.json");
    let changed_config = config.replace("\"eos_token_id\": 2", "\"eos_token_id\": 5");
    program.write("model/config.json", changed_config);
    let output = program.expect_success("doctor --model model").out;
    assert!(output.contains("note       config.json: eos_token_id is 5, but"), "{output}");

    let doctor = |folder: &str, error: &[&str], expected: &[(&str, &str)]| {
        let output = program.expect_error(&format!("doctor --model {folder} --json"), error);
        let output: Value = serde_json::from_str(&output.out).unwrap();
        assert!(output["error"].is_string(), "{output}");
        for (key, value) in expected {
            assert_eq!(&output[key], value, "{key}: {output}");
        }
    };
    let can_train = [
        ("QA_head", "none"),
        ("answer", "no"),
        ("train", "yes"),
        ("encode", "yes"),
        ("next", "polyqa train --model data/base --train FILE --out DIR"),
    ];
    doctor("data/base", &["config.json names XLMRobertaForMaskedLM", "span head"], &can_train);
    program.write("albert/config.json", config.replace("\"xlm-roberta\"", "\"albert\""));
    let unsupported =
        [("type", "albert (not supported)"), ("answer", "no"), ("train", "no"), ("encode", "no")];
    doctor("albert", &["`model_type`", "\"albert\"", "\"xlm-roberta\""], &unsupported);
    program.write("pickle/config.json", config.clone());
    program.write("pickle/pytorch_model.bin", "x");
    program.copy("model/tokenizer.json", "pickle/tokenizer.json");
    doctor("pickle", &["save_pretrained"], &[("answer", "no"), ("train", "no")]);

    // The headers suffice to detect a wrong shape and a truncated file.
    program.copy("model/tokenizer.json", "wide/tokenizer.json");
    program.copy("model/model.safetensors", "wide/model.safetensors");
    let wide_config = config.replace("\"intermediate_size\": 256", "\"intermediate_size\": 512");
    program.write("wide/config.json", wide_config);
    doctor("wide", &["expected shape [512, 128] according to config.json, got [256, 128]"], &[]);
    program.write("wide/config.json", config);
    program.write("wide/model.safetensors", &program.read_bytes("model/model.safetensors")[..9000]);
    doctor("wide", &["truncated"], &[]);
}

#[test]
#[cfg(unix)]
fn pipes_are_read_once() {
    let program = polyqa();
    let rows = "{\"id\": \"a\", \"text\": \"Lima liegt in Peru.\"}\n{\"id\": \"b\", \"text\": \"Quito nicht.\"}\n";
    program.write("rows.jsonl", rows);
    program.write("text.txt", "Lima liegt in Peru.");
    let run = |file: &str, content: &str, options: &str| {
        let pipe = program.path_of(file);
        let _ = std::fs::remove_file(&pipe);
        let status = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(status.success());
        let line = format!("answer --model model --json -n 2 -q Wo? {options} {file}");
        let mut command = program.command(&line);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| std::fs::write(&pipe, content));
            let output = testkit::run_command(&mut command);
            writer.join().unwrap().unwrap();
            output
        })
    };
    let expected = |options: &str| {
        program.expect_success(&format!("answer --model model --json -n 2 -q Wo? {options}")).out
    };
    let with_rows = run("pipe", rows, "--documents");
    assert_eq!(with_rows.out, expected("--documents rows.jsonl"), "{}", with_rows.err);
    let named_rows = run("pipe.jsonl", rows, "");
    assert_eq!(named_rows.out, expected("rows.jsonl"), "{}", named_rows.err);
    let as_text = run("pipe.txt", "Lima liegt in Peru.", "");
    assert_eq!(
        as_text.out,
        expected("text.txt").replace("text.txt", "pipe.txt"),
        "{}",
        as_text.err
    );
    let invalid = run("pipe.jsonl", "{", "");
    assert!(
        invalid.code != Some(0) && invalid.err.contains("pipe.jsonl: line 1"),
        "{}",
        invalid.err
    );
}

#[test]
fn long_questions_cause_a_warning() {
    let program = polyqa();
    program.write("text.txt", "Lima liegt in Peru.");
    let long = "word ".repeat(150);
    let run = |question: &str| {
        let mut command = program.command("answer --model model --json text.txt -q Wo? -q");
        let output = testkit::run_command(command.arg(question));
        assert_eq!(output.code, Some(0), "{}", output.err);
        output
    };
    let output = run(&long);
    assert!(
        output.err.contains("warning: only the first 64 of 300 tokens of the question \"word word"),
        "{}",
        output.err
    );
    let lines = json_lines(&output.out);
    assert_eq!(lines[0].get("truncated_question"), None);
    assert_eq!(lines[1]["truncated_question"]["max_tokens"], 64);
    assert!(!run("Was?").err.contains("warning"));
}

#[cfg(unix)]
#[test]
fn a_signal_removes_temporary_files() {
    use std::os::unix::process::ExitStatusExt;

    for (name, number) in [("-INT", 2), ("-TERM", 15)] {
        let program = polyqa();
        program.write("text.txt", "Lima liegt in Peru.");
        let folder = program.path_of("temporary");
        std::fs::create_dir(&folder).unwrap();
        let files = || std::fs::read_dir(&folder).unwrap().count();
        // The program waits for a question.
        let mut command = program.command("answer --model model text.txt");
        let mut child = command.env("TMPDIR", &folder).stdin(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while files() == 0 {
            assert!(
                start.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let id = child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(number));
        assert_eq!(files(), 0, "{name}");
    }
}
