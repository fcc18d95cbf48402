//! The papers' printed values against what the recipes hold, and the commands of the papers' tables
//! and figures at their smallest.
#![allow(clippy::unwrap_used)] // helpers of tests
mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use toml::{Table, Value};

use crate::common::{program, root, succeed, tool};

/// A row of `paper_values.csv`.
#[derive(Deserialize)]
struct Printed {
    paper: String,
    section: String,
    statement: String,
    file: String,
    key: String,
    value: String,
}

/// The parts of a dotted key, which may be quoted.
fn parts(key: &str) -> Vec<String> {
    let mut table: Table = toml::from_str(&format!("{key} = 0")).unwrap();
    let mut parts = Vec::new();
    while let Some((part, value)) = table.into_iter().next() {
        parts.push(part);
        match value {
            Value::Table(inner) => table = inner,
            _ => break,
        }
    }
    parts
}

/// Whether a value in force is the printed one; 3e-5 and 0.00003 are one number, 10 and 10.0 too.
fn same(found: &Value, printed: &str) -> bool {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|own| own as f64));
    let printed = format!("value = {printed}")
        .parse::<Table>()
        .map_or_else(|_| Value::String(printed.to_owned()), |table| table["value"].clone());
    match (number(found), number(&printed)) {
        (Some(found), Some(printed)) => (found - printed).abs() <= 1e-12 * printed.abs(),
        _ => *found == printed,
    }
}

#[test]
fn recipe_values_are_those_that_the_papers_print() {
    let rows = csv::Reader::from_path(root().join("tests/paper_values.csv")).unwrap();
    let rows: Vec<Printed> = rows.into_deserialize().collect::<Result<_, _>>().unwrap();
    let mut recipes: BTreeMap<String, Value> = BTreeMap::new();
    let mut papers: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let recipe = recipes.entry(row.file.clone()).or_insert_with(|| {
            let name = Path::new(&row.file).parent().unwrap().file_name().unwrap();
            if name == "transfer-suite" {
                // Its tasks need data to be shown.
                let text = std::fs::read_to_string(root().join(&row.file)).unwrap();
                return Value::Table(text.parse().unwrap());
            }
            let mut command = program(name.to_str().unwrap());
            command.arg(&row.file).args(["--show", "--model", "data/base"]);
            Value::Table(succeed(command).parse().unwrap())
        });
        let place = format!("{} {}, {}: {}", row.paper, row.section, row.statement, row.key);
        let found = parts(&row.key).iter().try_fold(&*recipe, |value, part| value.get(part));
        let found = found.unwrap_or_else(|| panic!("{place}: {} has no such key", row.file));
        assert!(same(found, &row.value), "{place}: {found} in place of {}", row.value);
        *papers.entry(&row.paper).or_default() += 1;
    }
    assert_eq!(papers.into_keys().collect::<Vec<_>>(), ["000", "001", "002", "003"]);
}

/// The commands of the column "smallest form" in the table of one paper, in their order.
fn commands(paper: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/results.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {paper} ")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_end_matches('|').rsplit_once(" | ")?.1.into());
    let programs = ["bridging-gap", "xlm-k", "transfer-suite", "mixmrc-lakm", "good-to-best"];
    let tools = ["question-answering", "mlqa-eval", "transfer-eval", "kg-triples", "qa-translate"];
    let known = |command: &&str| {
        programs.iter().chain(&tools).any(|name| command.starts_with(&format!("{name} ")))
    };
    cells
        .flat_map(|cell: &str| cell.split('`').skip(1).step_by(2).filter(known))
        .map(str::to_owned)
        .collect()
}

/// Runs the commands one after the other, as a shell would, with `$OUT` an empty folder.
fn run_all(paper: &str, least: usize) {
    let folder = tempfile::tempdir().unwrap();
    let examples = program("ask").get_program().to_owned();
    let examples = Path::new(&examples).parent().unwrap().to_owned();
    let binaries = examples.parent().unwrap().to_owned();
    let path = std::env::join_paths(
        [examples, binaries]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    for name in ["kg-triples", "mlqa-eval", "qa-translate", "transfer-eval"] {
        drop(tool(name));
    }
    let commands = commands(paper);
    assert!(commands.len() >= least, "{} commands for {paper}", commands.len());
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-ec", &command]).current_dir(root());
        shell.env("OUT", folder.path()).env("PATH", path.as_ref().unwrap());
        succeed(shell);
    }
}

#[test]
fn recipe_results_of_bridging_the_language_gap() {
    run_all("000", 9);
}

#[test]
fn recipe_results_of_xlm_k() {
    run_all("001", 8);
}

#[test]
fn recipe_results_of_mixmrc_and_lakm() {
    run_all("002", 19);
}

#[test]
fn recipe_results_of_from_good_to_best() {
    run_all("003", 11);
}
