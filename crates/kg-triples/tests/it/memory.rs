//! Tests of commands that read and write line by line: their memory use must not grow with the
//! number of lines. The long test compares inputs of 100 MB and 1 GB.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::process;

use crate::common::{grid, write};

/// Number of entities. It does not depend on the size of the texts.
const ENTITIES: usize = 300;

fn label(entity: usize, language: &str) -> String {
    format!("{language} {}", (entity + 1) * 7919)
}

/// Writes pages with at least `bytes` bytes in total. Each of the first [`ENTITIES`] pages is the
/// page of an entity. Each line links to an entity.
fn write_pages(path: &Path, language: &str, bytes: usize) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut written = 0;
    for number in 0.. {
        let title = match number < ENTITIES {
            true => label(number, language),
            false => format!("List {number}"),
        };
        let mut text = String::new();
        for line in 0..2 {
            let linked = label((number * 7 + line * 13) % ENTITIES, language);
            let words = format!("die Stadt {} liegt an der Aare", number * 31 + line);
            text += &format!("{words} <a href=\"{linked}\">{linked}</a> {words} .\n");
        }
        let page = json!({ "id": number, "title": title, "text": text }).to_string();
        writeln!(file, "{page}").unwrap();
        written += page.len();
        if written > bytes {
            break;
        }
    }
    file.flush().unwrap();
}

/// Writes the inputs of the commands.
fn write_inputs(dir: &Path, bytes: usize) {
    let mut sitelinks = "id\tlang\ttitle\n".to_owned();
    let mut labels = "id\tlang\tlabel\n".to_owned();
    for language in ["de", "en"] {
        write_pages(&dir.join(format!("{language}.jsonl")), language, bytes / 2);
        for entity in 0..ENTITIES {
            let row = format!("Q{entity}\t{language}\t{}\n", label(entity, language));
            sitelinks += &row;
            labels += &row;
        }
    }
    write(dir, "sitelinks.tsv", sitelinks);
    write(dir, "labels.tsv", labels);
    grid(40, 5).write_dir(dir.join("kg")).unwrap();
    // Each triple has ten sequences of about 400 bytes.
    let entities_per_side = (bytes / 4000).isqrt();
    grid(entities_per_side, entities_per_side).write_dir(dir.join("large-kg")).unwrap();
    std::fs::copy(testkit::fixture("tokenizer.json"), dir.join("tokenizer.json")).unwrap();
}

/// The peak memory of each command in MiB.
fn peaks(bytes: usize) -> Vec<(&'static str, f64)> {
    let dir = tempfile::tempdir().unwrap();
    write_inputs(dir.path(), bytes);
    let lines = format!("--count {}", bytes / 250);
    let commands = [
        "link --wiki de=de.jsonl,en=en.jsonl --sitelinks sitelinks.tsv --out linked.jsonl",
        "switch --texts linked.jsonl --labels labels.tsv --source de --languages en --rule \
         per_mention --hold-out 0.1 --validation 50 --out switched",
        "mentions --texts linked.jsonl --tokenizer tokenizer.json --hold-out \
         texts=0.1,pairs=0.1,entities=0.1 --queries 50 --out mentions",
        "mix --in large-kg --tokenizer tokenizer.json --out sequences",
        "entailment --kg kg --synthetic --tokenizer tokenizer.json --out triples",
    ];
    let peak_memory = |command: &'static str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
        program.current_dir(dir.path()).args(command.split_whitespace()).stderr(Stdio::null());
        if command.starts_with("entailment") {
            program.args(lines.split_whitespace());
        }
        (command, process::run_measured(&mut program, &dir.path().join("output")).unwrap().peak_mib)
    };
    commands.into_iter().map(peak_memory).collect()
}

#[test]
fn memory_does_not_grow_with_the_number_of_lines() {
    let (bytes, max_growth_mib) =
        if testkit::is_long() { (100_000_000, 50.0) } else { (100_000, 8.0) };
    for ((command, small), (_, large)) in peaks(bytes).into_iter().zip(peaks(10 * bytes)) {
        println!("{small:.1} MiB, {large:.1} MiB with ten times the lines: {command}");
        assert!(large < small + max_growth_mib, "{small:.1} MiB, {large:.1} MiB: {command}");
    }
}
