//! Answers of other programs: lm-evaluation-harness's samples, and `run_qa`'s folders.
use std::fs;
use std::path::Path;

use mlqa_eval::{Dataset, Language, Normalization, Predictions, Score, score_files};
use serde_json::{Value, json};

use crate::report::{HOSTILE, data_of, fixture, questions, refused, report, run, write};

const TIME: &str = "2026-11-20T14-03-27.318840";

/// A folder with helpers.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Writes lines, and returns where they are.
    fn lines(&self, name: &str, lines: &[Value]) -> String {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.text(name, &text)
    }

    fn text(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }
}

/// A line of samples.
fn sample(number: usize, doc: Value, response: &str) -> Value {
    json!({ "doc_id": number, "doc": doc, "target": "", "arguments": {}, "resps": [[response]],
            "filtered_resps": [response], "filter": "none", "metrics": ["f1"], "f1": 0.5 })
}

/// The question `id` about one text, as the tasks of XQuAD hand it on.
fn doc(id: &str) -> Value {
    json!({ "id": id, "context": "It is in Lima, far away.", "question": format!("{id}?"),
            "answers": { "text": ["Lima"], "answer_start": [9] } })
}

fn names(task: &str) -> String {
    format!("samples_{task}_{TIME}.jsonl")
}

fn score_of(predictions: &Predictions, data: &str, rules: Normalization) -> Score {
    let folder = Folder::new();
    let path = folder.at("predictions.json");
    predictions.write(&path).unwrap();
    score_files(data, path, rules).unwrap().score
}

/// The newest samples of a task, in a folder of fixtures.
fn samples_of(folder: &str, task: &str) -> Vec<Value> {
    let folder = testkit::fixture(folder);
    let names = fs::read_dir(&folder).unwrap().map(|one| one.unwrap().path());
    let is_own = |path: &std::path::PathBuf| {
        path.file_name().unwrap().to_str().unwrap().starts_with(&format!("samples_{task}_"))
    };
    let newest = names.filter(is_own).max().unwrap();
    let text = fs::read_to_string(newest).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn scores_are_those_of_the_official_scorer() {
    let folder = Folder::new();
    let data = fixture("harness/data/test-context-de-question-de.json");
    for (chat, task, rules) in [
        ("harness/samples/acme__chat-1b", "mlqa_de_de", Normalization::Mlqa(Language::DE)),
        ("harness/xquad/acme__chat-1b", "xquad_de", Normalization::SquadEn),
    ] {
        let lines = samples_of(chat, task);
        let said = |line: &Value| {
            let text = line["filtered_resps"][0].as_str().unwrap().trim().to_owned();
            (line["doc"]["id"].as_str().unwrap().to_owned(), text)
        };
        let predictions = Predictions(lines.iter().map(said).collect());
        let mut asked = Dataset::read(&data).unwrap();
        asked.questions.retain(|question| predictions.get(&question.id).is_some());
        asked.write(folder.at("asked.json")).unwrap();
        let expected = score_of(&predictions, &folder.at("asked.json"), rules);
        // With its own questions, with a folder of them, with a file.
        let page = folder.at("report.html");
        let given =
            [vec![], vec!["--data", data.rsplit_once('/').unwrap().0], vec!["--data", &data]];
        for given in given {
            let chat = format!("chat={}", fixture(chat));
            report(&[&[&chat, "--out", &page, "--beside", "json"], &given[..]].concat());
            let rows = folder.json("report.json")["tables"]["scores"]["rows"].clone();
            let is_german = |row: &&Value| row["context"] == "de";
            let row = rows.as_array().unwrap().iter().find(is_german).unwrap();
            assert_eq!(row["F1"], expected.f1, "{task}");
            assert_eq!(row["EM"], expected.exact_match, "{task}");
            assert_eq!(row["questions"], lines.len(), "{task}");
            // A sentence for an answer, and another's words.
            assert_eq!(row["not a span %"], 200.0 / lines.len() as f64, "{task}");
        }
        // What the harness itself logged of each question.
        let own: f64 = lines.iter().map(|line| line["f1"].as_f64().unwrap()).sum();
        assert!((100.0 * own / lines.len() as f64 - expected.f1).abs() < 1e-9, "{task}");
    }
}

#[test]
fn a_reader_and_a_chat_model_are_compared_on_what_both_were_asked() {
    let folder = Folder::new();
    let page = folder.at("report.html");
    let [reader, chat, data] =
        ["reader", "samples", "data"].map(|name| fixture(&format!("harness/{name}")));
    let args = [&format!("reader={reader}"), &format!("chat={chat}"), "--data", &data];
    let output =
        run(&[&args[..], &["--out", &page, "--beside", "json", "--samples", "200"]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("note: mlqa_de_de: using the newest of 2 sample files, "), "{error}");
    let written = folder.json("report.json");
    let summary = written["tables"]["summary"]["rows"].as_array().unwrap();
    assert_eq!((&summary[0]["questions"], &summary[1]["questions"]), (&json!(8), &json!(6)));
    assert_eq!(summary[0]["not a span %"], 0.0);
    let note = written["tables"]["summary"]["note"].as_str().unwrap();
    let shared =
        "chat answers 6 questions and reader 8; differences are over the 6 that both answer.";
    assert!(note.contains(shared), "{note}");
    // The reader's mistakes in the questions that the chat model was not asked do not count.
    let rows = written["tables"]["differences"]["rows"].as_array().unwrap();
    let mean = rows.iter().find(|row| row["languages"] == "mean" && row["metric"] == "EM").unwrap();
    assert_eq!((&mean["questions"], &mean["first run"]), (&json!(6), &json!(250.0 / 3.0)));
    let html = folder.read("report.html");
    assert!(html.contains("over the 6 questions that both answer.</p>"));
    for piece in
        ["<bdi>acme/chat-1b</bdi>", "<bdi>0.4.13</bdi>", "<dt>Files</dt><dd>mlqa_de_de: using"]
    {
        assert!(html.contains(piece), "{piece}");
    }
    let item = &data_of(&html)["items"][3];
    assert_eq!((&item["id"], &item["answers"][1]), (&json!("mill-4"), &Value::Null));
    assert_eq!(data_of(&html)["items"][1]["answers"][1]["text"], "Die Müllerin heißt Ada Winter.");

    // A question file that was given has all questions.
    let other = folder.lines(&names("mlqa_de_de"), &[sample(0, doc("x"), "Lima")]);
    let chat = format!("chat={other}");
    refused(&[args[0], &chat, "--out", &page, "--data", &data], "line 1: question `x` is not in");
}

#[test]
fn ids_and_answers_have_many_forms() {
    let folder = Folder::new();
    let page = folder.at("report.html");
    let gold = |answers: Value| {
        let mut doc = doc("a");
        doc["answers"] = answers;
        sample(0, doc, " Lima \n")
    };
    let id = |id: Value| {
        let mut doc = doc("a");
        doc["id"] = id;
        sample(0, doc, "Lima")
    };
    let said = |key: &str, value: Value| {
        let mut line = sample(0, doc("a"), "Rome");
        line[key] = value;
        line
    };
    let mut without = sample(0, doc("a"), "Lima");
    without["doc"].as_object_mut().unwrap().remove("id");
    let words = "text-"; // The same words have the same id, whoever was asked.
    for (line, expected, at) in [
        (gold(json!({ "text": ["Lima"], "answer_start": [9] })), "a", json!([9, 4])),
        (gold(json!({ "text": ["Rome", "Lima"] })), "a", json!(null)),
        (gold(json!(["Lima"])), "a", json!([9, 4])),
        (gold(json!([{ "text": "Lima", "answer_start": 9 }])), "a", json!([9, 4])),
        (gold(json!([{ "text": "Lima", "answer_start": 2 }])), "a", json!([9, 4])),
        (gold(json!([{ "text": "Lima", "answer_start": -1 }])), "a", json!([9, 4])),
        (id(json!(7)), "7", json!([9, 4])),
        (id(json!(null)), words, json!([9, 4])),
        (without, words, json!([9, 4])),
        (said("filtered_resps", json!([["Lima", "Rome"]])), "a", json!([9, 4])),
        (said("filtered_resps", json!(["Lima", ["-1.5", "False"]])), "a", json!([9, 4])),
        (
            said("resps", json!([["Lima"]]))
                .as_object()
                .map(|line| {
                    let mut line = line.clone();
                    line.remove("filtered_resps");
                    line.into()
                })
                .unwrap(),
            "a",
            json!([9, 4]),
        ),
    ] {
        let path = folder.lines(&names("xquad_en"), std::slice::from_ref(&line));
        let printed = report(&[&path, "--out", &page]);
        assert!(printed.contains(" | 100.00 | 100.00 | "), "{line}: {printed}");
        let item = &data_of(&folder.read("report.html"))["items"][0];
        assert!(item["id"].as_str().unwrap().starts_with(expected), "{line}: {item}");
        assert_eq!(item["gold"][0][0], at, "{line}");
        assert_eq!(item["answers"][0]["at"], json!([9, 4]), "{line}");
    }
    // Questions without ids are those of the same words in a question file.
    let data = folder.at("data.json");
    write(Path::new(&data), &questions(&[("q7", "a?", "It is in Lima, far away.", "Lima")]));
    let path = folder.lines(&names("xquad_en"), &[id(json!(null))]);
    report(&[&path, "--data", &data, "--language", "en", "--out", &page]);
    assert_eq!(data_of(&folder.read("report.html"))["items"][0]["id"], "q7");
}

#[test]
fn a_file_that_is_not_understood_is_named_with_its_line() {
    let folder = Folder::new();
    let data = folder.at("data.json");
    write(Path::new(&data), &questions(&[("a", "a?", "It is in Lima, far away.", "Lima")]));
    let [a, b] = ["a", "b"].map(|id| sample(0, doc(id), "Lima").to_string());
    let mut second = sample(1, doc("b"), "Lima");
    second["doc"]["question"] = "a?".into();
    let with = |key: &str, value: Value| {
        let mut line = sample(1, doc("b"), "x");
        match line.get(key) {
            Some(_) => line[key] = value,
            None => line["doc"][key] = value,
        }
        format!("{a}\n{line}\n")
    };
    let wants = |text: &str, args: &[&str], error: &str| {
        let path = folder.text(&names("xquad_en"), text);
        let output = run(&[&[path.as_str(), "--out", "/dev/null"], args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with(&format!("error: {path}")) && said.contains(error), "{said}");
        assert_eq!(output.status.code(), Some(2));
    };
    let given = ["--data", &data, "--language", "en"];
    let maths = json!({ "doc_id": 0, "doc": { "question": "1 + 1?", "answer": "2" } });
    for (text, args, error) in [
        (
            format!("{a}\n{{\"doc_id\": x\n"),
            &[][..],
            "l:2:12: expected value; expected lines of lm",
        ),
        (format!("{a}\n{}", &b[..90]), &[], "; the last line is incomplete, so the program"),
        (format!("{a}\n{}\n", &b[..90]), &[], "l:2:90: EOF while parsing a string; expected"),
        (format!("{a}\n{{\"id\": 1}}\n"), &[], "l:2:1: no `doc`"),
        (format!("{maths}\n"), &[], "line 1: the task is not question answering over a text"),
        (format!("{a}\n{maths}\n"), &[], "l:2:1: `doc` has no `context`, unlike the lines above"),
        (format!("{a}\n{a}\n"), &[], "line 2: question `a` is also in line 1"),
        (format!("{a}\n{b}\n"), &[], "line 2: doc_id 0 is also in line 1, with another question"),
        (
            with("resps", json!([]))
                .replace("\"filtered_resps\":[\"x\"]", "\"filtered_resps\":[[]]"),
            &[],
            "l:2:1: neither `filtered_resps` nor `resps` has a text",
        ),
        (
            with("answers", json!({ "text": ["a"], "answer_start": [1, 2] })),
            &[],
            "l:2:1: `answers`: `text` has 1 values",
        ),
        (with("answers", json!("Lima")), &[], "l:2:1: `answers`: lists `text` and"),
        (with("context", json!(7)), &[], "l:2:1: invalid type: integer `7`"),
        (with("id", json!(["a"])), &[], "l:2:1: `id` in `doc` is neither"),
        ("\n".into(), &[], "is empty"),
        (
            format!("{}\n", with("id", json!("c")).lines().nth(1).unwrap()),
            &given,
            "line 1: question `c` is not in",
        ),
        (
            format!("{}\n", with("id", json!("a")).lines().nth(1).unwrap()),
            &given,
            "line 1: question `a` has another text or context than in",
        ),
        (
            format!("{}\n", with("answers", json!([])).lines().nth(1).unwrap()),
            &[],
            "no questions to score",
        ),
    ] {
        wants(&text, args, error);
    }
    // Seeds are of one task; a task that names no languages is asked for them.
    let [de, en] = ["xquad_de", "xquad_en"].map(|task| folder.text(&names(task), &a));
    refused(
        &[&format!("chat={de},{en}"), "--out", "/dev/null"],
        "comma-separated paths are the seeds",
    );
    let other = folder.text("samples.jsonl", &a);
    refused(&[&other, "--out", "/dev/null"], "give --language LANG");
    report(&[&other, "--language", "en", "--out", &folder.at("report.html")]);
    refused(&[&folder.at(&names("gone")), "--out", "/dev/null"], "cannot read");
    fs::create_dir(folder.at("none")).unwrap();
    let looked = "no predictions: neither run.json, nor predictions named as MLQA's";
    refused(&[&folder.at("none"), "--out", "/dev/null"], looked);
    folder.text(&format!("maths/{}", names("gsm8k")), &maths.to_string());
    refused(&[&folder.at("maths"), "--out", "/dev/null"], "is not question answering over a text");
}

#[test]
fn a_folder_is_described_by_its_files() {
    let folder = Folder::new();
    let line = |response: &str| sample(0, doc("a"), response).to_string();
    let mut strict = sample(0, doc("a"), "Rome");
    strict["filter"] = "strict".into();
    folder.text("out/one/samples_xquad_en_2026-11-19T09-00-00.5.jsonl", &line("Rome"));
    folder.text(&format!("out/one/{}", names("xquad_en")), &format!("{}\n{strict}", line("Lima")));
    folder.text(&format!("out/one/{}", names("gsm8k")), "{\"doc\": {\"question\": \"?\"}}");
    folder.text(
        &format!("out/one/results_{TIME}.json"),
        "{\"model_name\": \"m/one\", \"n-shot\": {\"a\": 0}}",
    );
    folder.text(&format!("out/two/{}", names("xquad_en")), &line("far"));
    // The output path has a run for each model; its own folder one.
    let page = folder.at("report.html");
    let output = run(&[&folder.at("out"), "--out", &page, "--samples", "200"]);
    let [said, notes] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(
        said.contains("| m/one | xquad | 100.00 |") && said.contains("| two | xquad | 0.00 |"),
        "{said}"
    );
    let file = names("xquad_en");
    let expected = [
        "note: skipped tasks without a text to read: gsm8k\n".to_owned(),
        format!("note: xquad_en: using the newest of 2 sample files, {TIME}\n"),
        format!("note: {file}: responses of the first filter; skipped filters: strict\n"),
    ];
    for note in &expected {
        assert!(notes.contains(note), "{notes}");
    }
    assert_eq!(notes.lines().count(), 3);
    let said = report(&[&format!("chat={}", folder.at("out/one")), "--out", &page]);
    assert!(said.contains("| chat | xquad | 100.00 |"), "{said}");
    assert!(folder.read("report.html").contains("SQuAD's English rules"));

    // A reader's questions tell which of two sets it is compared on.
    let mlqa = json!({ "id": "m", "context": "In Rome.", "question": "m?", "answers": ["Rome"] });
    folder.lines(&format!("out/one/{}", names("mlqa_en_en")), &[sample(0, mlqa, "Rome")]);
    for (id, context, answer, shared) in
        [("a", "It is in Lima, far away.", "Lima", "mlqa"), ("m", "In Rome.", "Rome", "xquad")]
    {
        write(
            Path::new(&folder.at("data.json")),
            &questions(&[(id, &format!("{id}?"), context, answer)]),
        );
        write(Path::new(&folder.at("said.json")), &json!({ id: "It" }));
        let data = folder.at("data");
        fs::create_dir_all(&data).unwrap();
        fs::copy(folder.at("data.json"), folder.at("data/test-context-en-question-en.json"))
            .unwrap();
        fs::create_dir_all(folder.at("reader")).unwrap();
        fs::copy(folder.at("said.json"), folder.at("reader/test-context-en-question-en.json"))
            .unwrap();
        let chat = format!("chat={}", folder.at("out/one"));
        // Without --data for the samples, whose sets have files of other names.
        let source = json!({ "test-context-en-question-en.json": {
            "path": folder.at("data/test-context-en-question-en.json"), "context": "en", "question": "en" } });
        write(Path::new(&folder.at("reader/questions.json")), &source);
        let said = report(&[&folder.at("reader"), &chat, "--out", &page, "--beside", "json"]);
        assert!(
            said.contains("| chat | – | 100.00 |")
                && said.contains(&format!("| chat | {shared} |")),
            "{said}"
        );
        let rows = folder.json("report.json")["tables"]["differences"]["rows"].clone();
        assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    }
}

#[test]
fn a_folder_of_run_qa_is_a_run() {
    let folder = Folder::new();
    let page = folder.at("report.html");
    let data = fixture("harness/data/test-context-de-question-de.json");
    let (other, chat) = (fixture("harness/run_qa"), fixture("harness/samples"));
    let args = ["--data", &data, "--out", &page, "--beside", "json"];
    report(&[&[&other[..]], &args[..]].concat());
    let expected = score_files(
        &data,
        format!("{other}/eval_predictions.json"),
        Normalization::Mlqa(Language::DE),
    );
    let row = &folder.json("report.json")["tables"]["summary"]["rows"][0];
    assert_eq!((&row["run"], &row["F1"]), (&json!("run_qa"), &json!(expected.unwrap().score.f1)));
    let answer = &data_of(&folder.read("report.html"))["items"][1]["answers"][0];
    assert_eq!(answer["n_best"], json!([["Ada Winter und wohnt", 0.75], ["Roggen", 0.25]]));
    // Beside a chat model; what its own program measured stands among what differs.
    let folder_of_data = data.rsplit_once('/').unwrap().0;
    let both = [&format!("other={other}"), &chat[..], "--data", folder_of_data, "--language", "de"];
    report(&[&both[..], &args[2..]].concat());
    let html = folder.read("report.html");
    assert!(
        html.contains("<bdi>eval_f1 (from run_qa)</bdi>")
            && html.contains("<bdi>66.66666666666667</bdi>")
    );
    // Of two files the first counts; without languages and questions it is as with any file.
    for name in ["eval", "predict"] {
        folder.text(&format!("both/{name}_predictions.json"), "{\"mill-1\": \"1904\"}");
    }
    let output = run(&[&[&folder.at("both")[..]], &args[..], &["--samples", "200"]].concat());
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(
        notes.ends_with("/both: using eval_predictions.json; skipped: predict_predictions.json\n"),
        "{notes}"
    );
    refused(&[&other, "--out", "/dev/null"], "give --language LANG");
    refused(&[&other, "--language", "de", "--out", "/dev/null"], "give --data FILE");
    refused(
        &[&other, "--language", "fr", "--data", folder_of_data, "--out", "/dev/null"],
        "no questions for",
    );
}

#[test]
fn what_a_model_wrote_is_text_and_cut_where_it_is_long() {
    let folder = Folder::new();
    let page = folder.at("report.html");
    let long = format!("Lima{}", " and so on".repeat(100_000));
    let said = [HOSTILE, &long, "It is \u{202e}Lima\u{0}", ""];
    let line =
        |(at, response): (usize, &&str)| sample(at, doc(&format!("q{at}{HOSTILE}")), response);
    let lines: Vec<Value> = said.iter().enumerate().map(line).collect();
    let results = json!({ "model_name": HOSTILE, "lm_eval_version": HOSTILE, "config": { "limit": HOSTILE } });
    folder.text(&format!("chat/results_{TIME}.json"), &results.to_string());
    folder.lines(&format!("chat/{}", names(HOSTILE.split('/').next().unwrap())), &lines);
    let printed = report(&[
        &folder.at("chat"),
        "--language",
        "en",
        "--out",
        &page,
        "--beside",
        "md,csv,json,svg",
    ]);
    let html = folder.read("report.html");
    assert_eq!((html.matches("<script").count(), html.matches("</script>").count()), (2, 2));
    for text in [&html, &printed, &folder.read("report.md")] {
        for part in ["<img", "<!--", "\u{202e}", "\u{1b}", "\u{0}"] {
            assert!(!text.contains(part), "{part:?}");
        }
    }
    let answers = |at: usize| data_of(&html)["items"][at]["answers"][0].clone();
    assert_eq!(answers(0)["text"], HOSTILE.trim());
    let cut = answers(1);
    assert_eq!(cut["text"].as_str().unwrap().len(), 1000);
    assert_eq!(cut["length"], 1_000_004);
    // Cut for display alone.
    assert!(cut["f1"].as_f64().unwrap() < 0.01 && cut["at"].is_null());
    assert_eq!((&answers(3)["text"], &answers(3)["answered"]), (&json!(""), &json!(true)));
    assert!(html.len() < 200_000, "{} bytes", html.len());
}
