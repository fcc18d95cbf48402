//! Tests of collections: `polyqa index` and `polyqa answer --collection`.
use serde_json::Value;
use testkit::Program;
use xlmr_model::Head;

use crate::common::{copy_model, polyqa, run_with_input, write_model};

/// Documents with a title and a long paragraph each.
fn rows(ids: &[&str]) -> String {
    let row = |id: &&str| {
        let sentence = format!("Der Leuchtturm {id} steht in Lima, é 東京. ");
        let text =
            format!("\u{feff}Titel {id}\n\n{}\n\n{}\n", sentence.repeat(10), sentence.repeat(9));
        serde_json::json!({"id": id, "text": text}).to_string() + "\n"
    };
    ids.iter().map(row).collect()
}

/// Returns the answers to a question over the collection `library`.
fn answers(program: &Program, options: &str) -> Vec<Value> {
    let line = format!("answer --model model --collection library --json -n 999 {options}");
    let output = program.expect_success(&line).out;
    let result: Value = serde_json::from_str(&output).unwrap();
    result["answers"].as_array().unwrap().clone()
}

fn documents(answers: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> =
        answers.iter().map(|answer| answer["document"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn documents_are_indexed_once_and_answered_from_the_collection() {
    let program = polyqa();
    program.write("docs.jsonl", rows(&["a", "b", "c"]));
    program.write("peru.txt", "Lima ist die Hauptstadt von Peru.");
    let output = program.expect_success("index --documents docs.jsonl peru.txt --out library");
    assert_eq!(output.err, "library: 4 documents, 7 passages\n");
    // The documents are not needed any more.
    let texts = rows(&["a", "b", "c"]);
    std::fs::remove_file(program.path_of("docs.jsonl")).unwrap();
    let found = answers(&program, "-q Lima?");
    assert_eq!(documents(&found), ["a", "b", "c", "peru.txt"]);
    for answer in &found {
        let id = answer["document"].as_str().unwrap();
        let row = texts.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = row.clone().find(|row| row["id"] == id).map_or_else(
            || "Lima ist die Hauptstadt von Peru.".to_owned(),
            |row| row["text"].as_str().unwrap().to_owned(),
        );
        let [start, end, start_byte, end_byte] = ["start", "end", "start_byte", "end_byte"]
            .map(|key| usize::try_from(answer[key].as_u64().unwrap()).unwrap());
        assert_eq!(&text[start_byte..end_byte], answer["text"].as_str().unwrap());
        let chars: String = text.chars().skip(start).take(end - start).collect();
        assert_eq!(chars, answer["text"].as_str().unwrap());
        assert!(text.contains(answer["sentence"].as_str().unwrap()));
    }
    // The best passages are read, and passages without a word of the question are not.
    assert_eq!(documents(&answers(&program, "-q Hauptstadt? --candidates 1")), ["peru.txt"]);
    assert!(answers(&program, "-q Wo?").is_empty());
    let output = program.expect_success("answer --model model --collection library -q Wo?").out;
    assert_eq!(output, "Wo?\n  no answer: no passage shares words with the question\n\n");
    // Questions from standard input.
    let line = "answer --model model --collection library --json";
    let output = run_with_input(&program, line, b"Hauptstadt?\n\nLeuchtturm?\n");
    assert_eq!(output.out.lines().count(), 2, "{}", output.err);
    // A collection of another language.
    let question = "Lima 这座城市位于哪个国家？";
    let foreign = program.expect_success(&[
        "answer",
        "--model",
        "model",
        "--collection",
        "library",
        "-q",
        question,
    ]);
    assert!(foreign.err.starts_with("warning: the passages that share words"), "{}", foreign.err);
}

#[test]
fn documents_are_added_replaced_and_removed() {
    let program = polyqa();
    program.write("docs.jsonl", rows(&["a", "b"]));
    program.expect_success("index docs.jsonl --out library");
    program.write(
        "new.jsonl",
        "{\"id\": \"b\", \"text\": \"Neu in Lima\"}\n{\"id\": 3, \"text\": \"Quito\"}\n",
    );
    let output = program.expect_success("index --add new.jsonl --remove a --out library");
    assert_eq!(output.err, "library: 2 documents, 2 passages\n");
    assert_eq!(documents(&answers(&program, "-q Lima/Quito")), ["3", "b"]);
    let output = program.expect_success("index --remove 3 --remove b --out library");
    assert_eq!(output.err, "library: 0 documents, 0 passages\n");
    // A pipe is read once.
    let line = "index --documents - --out library";
    let output = run_with_input(&program, line, b"{\"id\": \"p\", \"text\": \"Lima\"}\n");
    assert_eq!(output.err, "library: 1 documents, 1 passages\n");
}

#[test]
fn mistakes_are_one_error_and_change_nothing() {
    let program = polyqa();
    program.write("docs.jsonl", rows(&["a", "b"]));
    program.write("twice.jsonl", rows(&["c", "c"]));
    program.write("without.jsonl", "{\"id\": \"c\", \"text\": \"Lima\"}\n{\"text\": \"Lima\"}\n");
    for (line, problem) in [
        ("index --out new", "nothing to do"),
        ("index --documents missing.jsonl --out new", "missing.jsonl"),
        ("index --documents twice.jsonl --out new", "document \"c\": the id occurs twice"),
        (
            "index --documents without.jsonl --out new",
            "without.jsonl: line 2: the document has no id",
        ),
        ("index --add docs.jsonl --out new", "new: no such folder"),
        ("index --documents docs.jsonl --remove a --out new", "pass --add"),
        ("index --documents docs.jsonl --out .", "the folder is not empty"),
    ] {
        program.expect_error(line, &[problem]);
        assert!(!program.path_of("new").exists(), "{line}");
    }
    program.expect_success("index --documents docs.jsonl --out library");
    for (line, problem) in [
        ("index --documents docs.jsonl --out library", "has 2 documents; pass --add"),
        ("index --add --documents twice.jsonl --remove a --out library", "occurs twice"),
        ("index --add --documents without.jsonl --out library", "line 2: the document has no id"),
        ("index --remove z --out library", "document \"z\": the collection has no document"),
        ("index --add --out library", "--add needs documents"),
        ("answer --model model --collection model -q Lima", "model: not a collection"),
        ("answer --model model --collection library -q Lima --candidates 0", "at least 1"),
        ("answer --model model --collection library -q Lima docs.jsonl", "cannot be used with"),
        ("serve --model model --port 0 --collection model", "model: not a collection"),
    ] {
        program.expect_error(line, &[problem]);
    }
    assert_eq!(documents(&answers(&program, "-q Lima")), ["a", "b"]);
    program.expect_success("index --remove a --remove b --out library");
    program
        .expect_error("answer --model model --collection library -q Lima", &["has no documents"]);
}

#[test]
fn passages_are_embedded_and_found_by_the_retriever() {
    let program = polyqa();
    write_model(&program.path_of("encoder"), Head::MaskedLm);
    copy_model(&program, "encoder", "other");
    program.write("docs.jsonl", rows(&["a", "b"]) + "{\"id\": \"blank\", \"text\": \" \"}\n");
    program.write("more.jsonl", rows(&["c"]));
    program.expect_success("index --documents docs.jsonl --out library");
    let question = "answer --model model --collection library -q Wo? --json";
    let with_retriever = format!("{question} --retriever encoder");
    program.expect_error(&with_retriever, &["the collection has no embeddings"]);
    // Embeddings are added later.
    let output = program.expect_success("index --retriever encoder --out library");
    assert_eq!(output.err, "library: 3 documents, 5 passages, 4 embeddings\n");
    let output = program.expect_success(&with_retriever);
    assert_eq!(output.err, "");
    let result: Value = serde_json::from_str(&output.out).unwrap();
    // No passage has a word of the question.
    assert!(!result["answers"].as_array().unwrap().is_empty());
    program.expect_error("index --add more.jsonl --out library", &["pass the --retriever"]);
    program.expect_error(
        "index --add more.jsonl --retriever other --query-prefix x: --out library",
        &["options"],
    );
    program.expect_error(&format!("{with_retriever} --query-prefix x:"), &["options"]);
    let output = program.expect_success("index --add more.jsonl --retriever encoder --out library");
    assert_eq!(output.err, "library: 4 documents, 7 passages, 6 embeddings\n");
    let found = answers(&program, "-q Wo? --retriever encoder");
    assert_eq!(documents(&found), ["a", "b", "c"]);
}
