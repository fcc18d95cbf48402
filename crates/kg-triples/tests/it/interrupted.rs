//! Tests that killed commands do not change an existing prepared folder. One input of each command
//! is a named pipe, so that the command waits until it is killed.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shards::Manifest;

use crate::cli_knowledge::{city_pages, unfinished_folders};
use crate::common::{countries, write};

/// Commands, each with the input file that is replaced by a pipe.
const COMMANDS: [(&str, &str); 7] = [
    ("link --wiki en=wiki.jsonl --sitelinks sitelinks.tsv", "sitelinks.tsv"),
    ("mentions --texts linked.jsonl --tokenizer tokenizer.json --entities .", "linked.jsonl"),
    ("entailment --kg kg --synthetic --tokenizer tokenizer.json", "kg/labels.tsv"),
    ("mix --in kg --pairs en-de --tokenizer tokenizer.json", "kg/labels.tsv"),
    ("texts --in kg", "kg/labels.tsv"),
    ("switch --texts linked.jsonl --entities . --rule per_mention", "linked.jsonl"),
    ("phrases --queries queries.jsonl --min-chars 0 --unequal", "queries.jsonl"),
];

/// A folder with the inputs of all commands.
fn inputs() -> tempfile::TempDir {
    let dir = city_pages();
    let path = dir.path();
    countries().write_dir(path.join("kg")).unwrap();
    for name in ["tokenizer.json", "queries.jsonl"] {
        fs::copy(testkit::fixture(name), path.join(name)).unwrap();
    }
    let page = r#"{"id":"1","title":"Aare","text":"durch <a href=\"Bern\">Bern</a>"}"#;
    write(path, "wiki.jsonl", page);
    write(path, "sitelinks.tsv", "id\tlang\ttitle\nQ70\ten\tBern\n");
    let linked = command(path, "link --entities . --out linked.jsonl").status().unwrap();
    assert!(linked.success());
    dir
}

fn command(dir: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    command.current_dir(dir).args(arguments.split_whitespace());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs a command with the output folder `made` and returns its manifest.
fn prepare(dir: &Path, arguments: &str) -> Manifest {
    let status = command(dir, &format!("{arguments} --out made")).status().unwrap();
    assert!(status.success(), "{arguments}");
    check_manifest(dir)
}

/// Returns the manifest of `made` and checks its files.
fn check_manifest(dir: &Path) -> Manifest {
    let manifest = Manifest::read(dir.join("made")).unwrap().unwrap();
    manifest.check(dir.join("made")).unwrap();
    manifest
}

/// An input that is a named pipe until this value is dropped.
struct PipedInput {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl PipedInput {
    fn new(path: PathBuf) -> Self {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self { path, bytes }
    }
}

impl Drop for PipedInput {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap();
        fs::write(&self.path, &self.bytes).unwrap();
    }
}

/// Starts a command and waits for its unfinished output folder.
fn start(dir: &Path, arguments: &str) -> Child {
    let mut child = command(dir, &format!("{arguments} --out made")).spawn().unwrap();
    while unfinished_folders(dir).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "{arguments}: ended before its input");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn killed_commands_do_not_change_an_existing_folder() {
    let dir = inputs();
    let dir = dir.path();
    for (arguments, input) in COMMANDS {
        let before = prepare(dir, arguments);
        let input_pipe = PipedInput::new(dir.join(input));
        let mut child = start(dir, arguments);
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        drop(input_pipe);
        assert_eq!(check_manifest(dir), before, "{arguments}");
        for folder in unfinished_folders(dir) {
            assert!(Manifest::read(&folder).unwrap().is_none(), "{arguments}");
            fs::remove_dir_all(folder).unwrap();
        }
        assert_eq!(prepare(dir, arguments), before, "{arguments}");
        fs::remove_dir_all(dir.join("made")).unwrap();
    }
}
