//! Compares the recipes with the values that the papers print (of the last three papers: the values
//! of the released code), and runs the commands for the papers' tables and figures.
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
    let all = ["000", "001", "002", "003", "entity-cs", "filter", "knowledge-adapters"];
    assert_eq!(papers.into_keys().collect::<Vec<_>>(), all);
}

const RECIPES: [&str; 9] = [
    "bridging-gap",
    "xlm-k",
    "transfer-suite",
    "mixmrc-lakm",
    "good-to-best",
    "entity-cs",
    "filter",
    "filter-xnli",
    "knowledge-adapters",
];

/// A row of `paper_commands.csv`: a command for a table or figure of a paper.
#[derive(Deserialize)]
struct Listed {
    paper: String,
    scale: Scale,
    command: String,
}

/// The size of a listed command's run.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Scale {
    /// With the paper's data, which the user provides.
    Paper,
    /// With the embedded data.
    Small,
}

/// The commands of one paper at one scale, in their order.
fn commands(paper: &str, scale: Scale) -> Vec<String> {
    let rows = csv::Reader::from_path(root().join("tests/paper_commands.csv")).unwrap();
    let rows: Vec<Listed> = rows.into_deserialize().collect::<Result<_, _>>().unwrap();
    let rows = rows.into_iter().filter(|row| row.paper == paper && row.scale == scale);
    rows.map(|row| row.command).collect()
}

/// Whether a command starts a recipe's program, not a tool.
fn is_recipe(command: &str) -> bool {
    command.split(' ').next().is_some_and(|program| RECIPES.contains(&program))
}

/// Runs the small commands sequentially in a shell, with `$OUT` an empty folder.
fn run_all(paper: &str, least: usize) {
    let commands = commands(paper, Scale::Small);
    assert!(commands.len() >= least, "{} commands for {paper}", commands.len());
    let folder = tempfile::tempdir().unwrap();
    for command in commands {
        let mut shell = shell(&command);
        shell.env("OUT", folder.path());
        succeed(shell);
    }
}

/// A shell for one command, with the programs on its path.
fn shell(command: &str) -> Command {
    let examples = program("bridging-gap").get_program().to_owned();
    let examples = Path::new(&examples).parent().unwrap().to_owned();
    let binaries = examples.parent().unwrap().to_owned();
    let path = std::env::join_paths(
        [examples, binaries]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    for name in ["demo-data", "kg-triples", "mlqa-eval", "polyqa", "qa-translate", "transfer-eval"]
    {
        drop(tool(name));
    }
    let mut shell = Command::new("sh");
    shell.args(["-ec", command]).current_dir(root()).env("PATH", path.unwrap());
    shell
}

#[test]
fn recipe_commands_at_the_papers_scale_are_understood() {
    understood("bridging-gap", Scale::Paper, 3);
    understood("xlm-k", Scale::Paper, 4);
    understood("mixmrc-lakm", Scale::Paper, 6);
    understood("good-to-best", Scale::Paper, 8);
    understood("entity-cs", Scale::Paper, 2);
    understood("filter", Scale::Paper, 2);
    understood("knowledge-adapters", Scale::Paper, 1);
}

/// A tool parses its arguments before it opens files: in an empty folder the only error is a
/// missing file.
#[test]
fn recipe_tools_at_the_papers_scale_are_understood() {
    let mut count = 0;
    for paper in ["bridging-gap", "xlm-k", "mixmrc-lakm", "good-to-best", "entity-cs", "filter"] {
        let tools = commands(paper, Scale::Paper).into_iter().filter(|one| !is_recipe(one));
        for command in tools {
            let folder = tempfile::tempdir().unwrap();
            let output = shell(&command).current_dir(folder.path()).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            let understood = output.status.success() || error.contains("No such file");
            assert!(understood, "{command}: {error}");
            count += 1;
        }
    }
    assert!(count >= 14, "{count} commands");
}

#[test]
fn recipe_commands_of_small_runs_are_understood() {
    understood("entity-cs", Scale::Small, 1);
    understood("filter", Scale::Small, 2);
    understood("knowledge-adapters", Scale::Small, 1);
}

/// Each recipe's command prints its settings with `--show`.
fn understood(paper: &str, scale: Scale, least: usize) {
    let commands = commands(paper, scale).into_iter().filter(|command| is_recipe(command));
    let commands: Vec<String> = commands.collect();
    assert!(commands.len() >= least, "{} commands for {paper}", commands.len());
    for command in commands {
        succeed(shell(&format!("{command} --show")));
    }
}

#[test]
fn recipe_results_of_bridging_the_language_gap() {
    run_all("bridging-gap", 7);
}

#[test]
fn recipe_results_of_xlm_k() {
    run_all("xlm-k", 8);
}

#[test]
fn recipe_results_of_mixmrc_and_lakm() {
    run_all("mixmrc-lakm", 19);
}

#[test]
fn recipe_results_of_from_good_to_best() {
    run_all("good-to-best", 12);
}
