//! Tests that the recipes' values equal the values in `paper_values.csv`, which come from the
//! papers or their released code. Further tests run the commands in `paper_tables` at their
//! smallest size.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use crate::common::{program, root, shell, succeed};

/// A row of `paper_values.csv`.
#[derive(Deserialize)]
struct PaperValue {
    paper: String,
    section: String,
    statement: String,
    file: String,
    key: String,
    value: String,
}

/// Returns the parts of a dotted key; a part may be quoted.
fn split_key(key: &str) -> Vec<String> {
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

/// Returns whether a recipe's value equals the value in the paper. Numbers are compared by value,
/// so 3e-5 equals 0.00003.
fn equals_printed(actual: &Value, printed: &str) -> bool {
    let number =
        |value: &Value| value.as_float().or(value.as_integer().map(|integer| integer as f64));
    let printed = format!("value = {printed}")
        .parse::<Table>()
        .map_or_else(|_| Value::String(printed.to_owned()), |table| table["value"].clone());
    match (number(actual), number(&printed)) {
        (Some(actual), Some(printed)) => (actual - printed).abs() <= 1e-12 * printed.abs(),
        _ => *actual == printed,
    }
}

#[test]
fn recipe_values_equal_the_values_of_the_papers() {
    let rows = csv::Reader::from_path(root().join("tests/paper_values.csv")).unwrap();
    let rows: Vec<PaperValue> = rows.into_deserialize().collect::<Result<_, _>>().unwrap();
    let mut recipes: BTreeMap<String, Value> = BTreeMap::new();
    let mut papers: BTreeSet<&str> = BTreeSet::new();
    for row in &rows {
        let recipe = recipes.entry(row.file.clone()).or_insert_with(|| {
            let name = Path::new(&row.file).parent().unwrap().file_name().unwrap();
            if name == "transfer-suite" {
                // `transfer-suite --show` requires data for the tasks, so the test reads the recipe
                // file directly.
                let text = std::fs::read_to_string(root().join(&row.file)).unwrap();
                return Value::Table(text.parse().unwrap());
            }
            let mut command = program(name.to_str().unwrap());
            command.arg(&row.file).args(["--show", "--model", "data/base"]);
            Value::Table(succeed(command).parse().unwrap())
        });
        let location = format!("{} {}, {}: {}", row.paper, row.section, row.statement, row.key);
        let actual = split_key(&row.key).iter().try_fold(&*recipe, |value, part| value.get(part));
        let actual = actual.unwrap_or_else(|| panic!("{location}: {} has no such key", row.file));
        assert!(
            equals_printed(actual, &row.value),
            "{location}: expected {}, got {actual}",
            row.value
        );
        papers.insert(&row.paper);
    }
    let expected = [
        "000",
        "001",
        "002",
        "003",
        "entity-cs",
        "filter",
        "knowledge-adapters",
        "sentence-retrieval",
    ];
    assert_eq!(papers.into_iter().collect::<Vec<_>>(), expected);
}

const RECIPES: [&str; 8] = [
    "bridging-gap",
    "xlm-k",
    "transfer-suite",
    "mixmrc-lakm",
    "good-to-best",
    "entity-cs",
    "filter",
    "knowledge-adapters",
];
const TOOLS: [&str; 6] =
    ["polyqa", "demo-data", "mlqa-eval", "transfer-eval", "kg-triples", "qa-translate"];

/// Reads `paper_tables/PAPER.md`, which has the commands for a paper's tables and figures.
fn read_page(paper: &str) -> String {
    let page = root().join(format!("tests/paper_tables/{paper}.md"));
    std::fs::read_to_string(page).unwrap()
}

/// Returns the texts between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the program of a command if `names` contains it.
fn leading_program<'a>(command: &str, names: &[&'a str]) -> Option<&'a str> {
    names.iter().find(|name| command.starts_with(&format!("{name} "))).copied()
}

/// Returns the commands of the smallest runs, which are in the last column of the table in
/// `paper_tables/PAPER.md`.
fn small_commands(paper: &str) -> Vec<String> {
    let page = read_page(paper);
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_end_matches('|').rsplit_once(" | ")?.1.into());
    let is_command =
        |command: &&str| leading_program(command, &[&RECIPES[..], &TOOLS].concat()).is_some();
    cells.flat_map(|cell: &str| code_spans(cell).filter(is_command)).map(str::to_owned).collect()
}

/// Returns the commands that run recipes at the paper's scale: the recipe commands in
/// `paper_tables/PAPER.md` outside the last column of its table. Options in separate backticks are
/// appended to the preceding command, and each placeholder `…` is replaced by an argument.
fn large_recipe_commands(paper: &str) -> Vec<String> {
    let (page, mut commands, mut last_command) = (read_page(paper), Vec::new(), String::new());
    for line in page.lines() {
        let row = line.trim_end_matches('|').rsplit_once(" | ").filter(|_| line.starts_with('|'));
        let mut follows_tool = false;
        for span in code_spans(row.map_or(line, |(row, _)| row)) {
            follows_tool |= leading_program(span, &TOOLS).is_some();
            if let Some(name) = leading_program(span, &RECIPES) {
                let recipe = format!("{name} examples/{name}/recipe.toml");
                let filled = span.replace(&format!("{name} …"), &recipe).replace(" …", "");
                let command = filled.replace("[…]", "[\"file\"]").replace("=…", "=file");
                if !span.starts_with(&format!("{name} …")) {
                    last_command.clone_from(&command);
                }
                commands.push(command);
            } else if span.starts_with("--") && !last_command.is_empty() && !follows_tool {
                commands.push(format!("{last_command} {}", span.trim_end_matches('…')));
            }
        }
    }
    commands
}

/// Returns the commands that run tools at the paper's scale: the tool commands in
/// `paper_tables/PAPER.md` outside the last column of its table. Placeholders `…` are replaced by
/// arguments; commands that remain incomplete are skipped.
fn large_tool_commands(paper: &str) -> Vec<String> {
    let page = read_page(paper);
    let lines = page.lines().map(|line| {
        let row = line.trim_end_matches('|').rsplit_once(" | ").filter(|_| line.starts_with('|'));
        row.map_or(line, |(row, _)| row)
    });
    let spans = lines.flat_map(code_spans).filter(|span| leading_program(span, &TOOLS).is_some());
    let filled = spans.map(|span| span.replace("--run …", "--run file").replace("=…", "=file"));
    let is_complete = |command: &String| !command.contains('…') && command.split(' ').count() > 2;
    filled.filter(is_complete).collect()
}

/// Runs the smallest commands of a paper sequentially in a shell; `$OUT` is a new folder that they
/// share.
fn run_small_commands(paper: &str, min_count: usize) {
    let commands = small_commands(paper);
    assert!(commands.len() >= min_count, "{} commands for {paper}", commands.len());
    let folder = tempfile::tempdir().unwrap();
    for command in commands {
        let mut shell = shell(&command);
        shell.env("OUT", folder.path());
        succeed(shell);
    }
}

#[test]
fn recipe_commands_at_paper_scale_are_valid() {
    check_commands("bridging-gap", large_recipe_commands("bridging-gap"), 3);
    check_commands("xlm-k", large_recipe_commands("xlm-k"), 4);
    check_commands("mixmrc-lakm", large_recipe_commands("mixmrc-lakm"), 3);
    check_commands("good-to-best", large_recipe_commands("good-to-best"), 8);
    check_commands("entity-cs", large_recipe_commands("entity-cs"), 2);
    check_commands("filter", large_recipe_commands("filter"), 2);
    check_commands("knowledge-adapters", large_recipe_commands("knowledge-adapters"), 1);
}

/// Tools parse their arguments before they open files. With valid arguments in an empty folder, a
/// tool can therefore only fail because a file is missing.
#[test]
fn recipe_tool_commands_at_paper_scale_are_valid() {
    let mut count = 0;
    for paper in ["bridging-gap", "xlm-k", "mixmrc-lakm", "good-to-best", "entity-cs", "filter"] {
        for command in large_tool_commands(paper) {
            let folder = tempfile::tempdir().unwrap();
            let output = shell(&command).current_dir(folder.path()).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            let is_valid = output.status.success() || error.contains("No such file");
            assert!(is_valid, "{command}: {error}");
            count += 1;
        }
    }
    assert!(count >= 11, "{count} commands");
}

#[test]
fn recipe_commands_of_small_runs_are_valid() {
    check_commands("entity-cs", small_commands("entity-cs"), 1);
    check_commands("filter", small_commands("filter"), 2);
    check_commands("knowledge-adapters", small_commands("knowledge-adapters"), 1);
}

fn check_commands(paper: &str, commands: Vec<String>, min_count: usize) {
    assert!(commands.len() >= min_count, "{} commands for {paper}", commands.len());
    for command in commands {
        succeed(shell(&format!("{command} --show")));
    }
}

#[test]
fn recipe_small_commands_of_bridging_the_language_gap_succeed() {
    run_small_commands("bridging-gap", 7);
}

#[test]
fn recipe_small_commands_of_xlm_k_succeed() {
    run_small_commands("xlm-k", 8);
}

#[test]
fn recipe_small_commands_of_mixmrc_and_lakm_succeed() {
    run_small_commands("mixmrc-lakm", 8);
}

#[test]
fn recipe_small_commands_of_from_good_to_best_succeed() {
    run_small_commands("good-to-best", 12);
}
