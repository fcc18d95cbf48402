//! Tests of answers over passages that PostgreSQL retrieves, if pgserver is installed.
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{PythonPackages, python_with};

use crate::common::{polyqa, xquad};
use crate::sentence_transformers::write_encoder;
use crate::serve::Service;

/// Starts PostgreSQL in the folder of the first argument, and runs the script of the second one with
/// the others.
const SCRIPT: &str = "
import runpy, sys
import pgserver
folder, script = sys.argv[1:3]
with pgserver.get_server(folder) as server:
    sys.argv = [script, '--database', server.get_uri(), *sys.argv[3:]]
    runpy.run_path(script, run_name='__main__')
";

#[test]
fn answers_over_passages_of_postgres_have_offsets_in_their_documents() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let mut import = Command::new(&python);
    let import = import.args(["-c", "import pgserver, psycopg"]).stderr(Stdio::null()).status();
    if !import.unwrap().success() {
        return;
    }
    let program = polyqa();
    let encoder = program.path_of("encoder");
    write_encoder(&encoder, &[]);
    let mut documents: BTreeMap<String, String> = BTreeMap::new();
    let mut questions = Vec::new();
    for language in ["en", "de", "zh"] {
        let mut contexts: Vec<_> = xquad(language).into_iter().take(40).collect();
        contexts.dedup_by(|question, previous| question.context == previous.context);
        questions.push(contexts[1].question.clone());
        for (index, pair) in contexts.chunks(2).enumerate() {
            // Each document has several paragraphs, of which the first is empty.
            let texts: Vec<&str> = pair.iter().map(|question| &*question.context).collect();
            documents.insert(format!("{language}-{index}"), format!("\n{}", texts.join("\n")));
        }
    }
    let rows = documents.iter().map(|(id, text)| json!({"id": id, "text": text}).to_string());
    program.write("docs.jsonl", rows.collect::<Vec<_>>().join("\n"));
    let service = Service::start_in(program, "");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/answer_from_postgres.py");
    let mut command = Command::new(&python);
    command.args(["-c", SCRIPT]).arg(service.program.path_of("database")).arg(script);
    command.args(["--server", &format!("http://{}", service.address), "--candidates", "10"]);
    command.arg("--encoder").arg(&encoder).arg("--documents");
    command.arg(service.program.path_of("docs.jsonl"));
    command.args(questions.iter().flat_map(|question| ["--question", question]));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(answers.len() >= questions.len(), "{text}");
    for answer in &answers {
        let document: Vec<char> = documents[answer["document"].as_str().unwrap()].chars().collect();
        let offset = |key: &str| usize::try_from(answer[key].as_u64().unwrap()).unwrap();
        let found: String = document[offset("start")..offset("end")].iter().collect();
        assert_eq!(answer["text"], found, "{answer}");
    }
}
