//! Stores the results of runs, and copies stored tables unchanged to the recipes' pages.
//!
//! `<!-- results: FILE | TABLE | ROWS -->` … `<!-- end -->` on `examples/NAME/README.md` shows a
//! table of `examples/NAME/results/FILE`, a stored `table.md`. TABLE is the heading above the table
//! or its first cell. ROWS is optional: it is the first cell of the rows to show.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use results::{INTERVAL_LEGEND, Measured, Table, cell};

use super::setups::Setup;
use super::{CLOSING, OPENING};
use crate::files;

/// Name of the mean over languages in results.
const MEAN: &str = "avg";

/// Stores `RUN/table.md` as `examples/RECIPE/results/NAME.md`, `RUN/numbers.jsonl` as `NAME.jsonl`,
/// and the setup of a recipe's run as `NAME.setup.json`, for `RECIPE/NAME=RUN`.
///
/// The results of several runs are combined into one table: `RUN,RUN` for runs that tested
/// different parts of the items, `RUN+RUN` for runs with different seeds.
pub fn store_results(root: &Path, assignment: &str) -> Result<()> {
    let parts = assignment.split_once('=').and_then(|(name, run)| {
        let (recipe, name) = name.split_once('/')?;
        Some((recipe, name, run))
    });
    let Some((recipe, name, run)) = parts else {
        bail!("--table {assignment}: give RECIPE/NAME=RUN, such as xlm-k/small=runs/xlm-k");
    };
    let page = root.join("examples").join(recipe).join("README.md");
    if !page.is_file() {
        bail!("--table {assignment}: there is no {}", page.display());
    }
    let folder = root.join("examples").join(recipe).join("results");
    let runs: Vec<&Path> = run.split([',', '+']).map(Path::new).collect();
    let run_numbers = runs.iter().map(|run| Ok(Measured::read(run.join("numbers.jsonl"))?));
    let run_numbers = run_numbers.collect::<Result<Vec<_>>>()?;
    let numbers = match run.contains('+') {
        true => combine_seeds(&run_numbers),
        false => pool_items(&run_numbers),
    };
    let numbers = numbers.with_context(|| run.to_owned())?;
    let table = match runs.as_slice() {
        [run] => files::read(&run.join("table.md"))?,
        _ => format!("{}\n{INTERVAL_LEGEND}\n", create_table(&numbers)),
    };
    let setup = Setup::read(&runs)?;
    files::write(&folder.join(format!("{name}.md")), &table)?;
    if let Some(setup) = setup {
        setup.write(&folder, name)?;
    }
    Measured::write(folder.join(format!("{name}.jsonl")), &numbers)?;
    println!("stored examples/{recipe}/results/{name}.md and {name}.jsonl");
    Ok(())
}

/// Returns the fields that identify a result within its run.
fn key(result: &Measured) -> [String; 4] {
    [&result.model, &result.setting, &result.language, &result.metric].map(String::clone)
}

/// Returns from each run the result with the [`key`] of `number`. It is an error if a run has no
/// such result, or if `is_comparable` is false for the run's result.
fn matching_results<'r>(
    runs: &'r [Vec<Measured>],
    number: &Measured,
    is_comparable: impl Fn(&Measured) -> bool,
) -> Result<Vec<&'r Measured>> {
    let results = runs.iter().map(|run| {
        let result = run.iter().find(|result| key(result) == key(number));
        result.filter(|result| is_comparable(result))
    });
    let results: Option<Vec<&Measured>> = results.collect();
    results.with_context(|| {
        format!("{:?}: not in every run with the same number of seeds and items", key(number))
    })
}

/// Combines runs that have one seed each. The returned results have all seeds.
fn combine_seeds(runs: &[Vec<Measured>]) -> Result<Vec<Measured>> {
    let Some(first_run) = runs.first() else { return Ok(Vec::new()) };
    let join = |number: &Measured| {
        let is_comparable = |result: &Measured| {
            result.seeds.is_empty()
                && result.items.len() == number.items.len()
                && result.weights == number.weights
        };
        let seed_results = matching_results(runs, number, is_comparable)?;
        let [model, setting, language, metric] = key(number);
        let seeds: Vec<f64> = seed_results.iter().map(|result| result.value).collect();
        let combined = Measured::of_seeds(&model, &setting, &language, &metric, seeds);
        let mean = |index: usize| {
            let sum: f64 = seed_results.iter().map(|result| result.items[index]).sum();
            sum / seed_results.len() as f64
        };
        let items = (0..number.items.len()).map(mean).collect();
        Ok(Measured { items, weights: number.weights.clone(), ..combined })
    };
    first_run.iter().map(join).collect()
}

/// Combines results of runs that tested different parts of the items; runs are weighted by their
/// number of items. Within a run, the weights of the items remain.
fn pool_items(runs: &[Vec<Measured>]) -> Result<Vec<Measured>> {
    let Some((first_run, other_runs)) = runs.split_first() else { return Ok(Vec::new()) };
    if other_runs.is_empty() {
        return Ok(first_run.clone());
    }
    let pool = |number: &Measured| {
        let is_comparable =
            |part: &Measured| part.seeds.len() == number.seeds.len() && !part.items.is_empty();
        let parts = matching_results(runs, number, is_comparable)?;
        let item_count: usize = parts.iter().map(|part| part.items.len()).sum();
        let mean = |value: &dyn Fn(&Measured) -> f64| {
            let sum: f64 = parts.iter().map(|&part| value(part) * part.items.len() as f64).sum();
            sum / item_count as f64
        };
        let seeds = match number.seeds.len() {
            0 => vec![mean(&|result| result.value)],
            seed_count => {
                (0..seed_count).map(|index| mean(&|result| result.seeds[index])).collect()
            }
        };
        let [model, setting, language, metric] = key(number);
        let combined = Measured::of_seeds(&model, &setting, &language, &metric, seeds);
        // The mean weight of each part is 1, so a part's sum of weights is its number of items.
        Ok(combined.with_items(parts.iter().flat_map(|part| part.weighted_items())))
    };
    first_run.iter().map(pool).collect()
}

/// Creates a table of the means over languages, with a row for each model, and a column for each
/// setting and metric.
fn create_table(numbers: &[Measured]) -> Table {
    let (mut columns, mut models) = (Vec::new(), Vec::new());
    let column = |result: &Measured| format!("{}, {}", result.setting, result.metric);
    let means = || numbers.iter().filter(|number| number.language == MEAN);
    for number in means() {
        if !columns.contains(&column(number)) {
            columns.push(column(number));
        }
        if !models.contains(&&number.model) {
            models.push(&number.model);
        }
    }
    let mut table = Table::new("mean over languages", &columns);
    for model in models {
        let find = |name: &String| means().find(|one| &one.model == model && column(one) == *name);
        table.add_row(
            model,
            columns.iter().map(|name| cell(find(name).map(Measured::mean_interval))),
        );
    }
    table
}

/// Returns the pages of all recipes.
pub fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let folders = files::entries(&root.join("examples"))?;
    let pages = folders.iter().map(|folder| folder.join("README.md"));
    Ok(pages.filter(|page| page.is_file()).collect())
}

/// Returns the page's text with all tables in their blocks.
pub fn fill_tables(page: &Path, text: &str) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(OPENING) {
        let (marker, block) = block.split_once(" -->\n").context("a marker without its end")?;
        let (current, after) = block
            .split_once(CLOSING)
            .with_context(|| format!("the block {marker} has no {CLOSING}"))?;
        filled += before;
        filled += &format!("{OPENING}{marker} -->\n");
        match marker.split_once(" | ") {
            Some((file, selection)) => filled += &table_rows(page, file, selection)?,
            None => filled += current,
        }
        filled += CLOSING;
        rest = after;
    }
    Ok(filled + rest)
}

/// Returns the table that a marker specifies. `selection` is `TABLE` or `TABLE | ROWS`.
fn table_rows(page: &Path, file: &str, selection: &str) -> Result<String> {
    let path = page.with_file_name("results").join(file);
    let text = files::read(&path)?;
    let (name, rows) = match selection.split_once(" | ") {
        Some((name, rows)) => (name, Some(rows)),
        None => (selection, None),
    };
    let table_lines = find_table(&text, name);
    if table_lines.len() < 3 {
        bail!("{} has no table {name}", path.display());
    }
    let selected = table_lines
        .iter()
        .enumerate()
        .filter(|(index, row)| *index < 2 || rows.is_none_or(|rows| first_cell(row) == rows));
    Ok(selected.map(|(_, row)| format!("{row}\n")).collect())
}

/// Returns the lines of the first table under the heading `name`, or with the first cell `name`.
fn find_table<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let mut lines = text.lines().peekable();
    let mut in_section = false;
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            in_section = line.trim_start_matches('#').trim() == name;
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|row| row.starts_with('|')) {
                rows.push(row);
            }
            if in_section || first_cell(line) == name {
                return rows;
            }
        }
    }
    Vec::new()
}

fn first_cell(row: &str) -> &str {
    let cells = row.trim_start_matches('|');
    cells.split_once('|').map_or(cells, |(first, _)| first).trim()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn items_are_pooled_and_seeds_are_combined() {
        let part = |seeds: [f64; 2], items: &[f64]| {
            let number = Measured::of_seeds("a", "two languages", "avg", "f1", seeds);
            vec![Measured { items: items.to_vec(), ..number }]
        };
        let equal_runs = [part([10.0, 14.0], &[12.0]), part([20.0, 20.0], &[15.0, 18.0, 27.0])];
        let pooled = pool_items(&equal_runs).unwrap();
        assert_eq!(pooled[0].seeds, [17.5, 18.5]);
        assert_eq!(pooled[0].items, [12.0, 15.0, 18.0, 27.0]);
        assert_eq!(pooled[0].value, 18.0);
        assert!(pooled[0].weights.is_empty());
        assert!(create_table(&pooled).to_string().ends_with("| a | 18.0 ± 6.4 |\n"));
        // The first run has an article with 30 questions and one with 10, the second two with 20.
        let unequal = |value: f64, items: [(f64, f64); 2]| {
            vec![Measured::new("a", "XQuAD", "avg", "em", value).with_items(items)]
        };
        let runs = [
            unequal(35.0, [(30.0, 30.0), (50.0, 10.0)]),
            unequal(45.0, [(40.0, 20.0), (50.0, 20.0)]),
        ];
        let pooled = &pool_items(&runs).unwrap()[0];
        assert_eq!(pooled.weights, [1.5, 0.5, 1.0, 1.0]);
        let sum: f64 = pooled.weighted_items().map(|(value, weight)| value * weight).sum();
        assert_eq!((pooled.value, sum / 4.0), (40.0, 40.0));
        let run_of_seed = |value: f64, items: &[f64]| {
            let number = Measured::of_seeds("a", "facts", "avg", "p@1", [value]);
            vec![Measured { items: items.to_vec(), seeds: Vec::new(), ..number }]
        };
        let combined =
            combine_seeds(&[run_of_seed(10.0, &[0.0, 1.0]), run_of_seed(14.0, &[1.0, 1.0])])
                .unwrap();
        assert_eq!(combined[0].value, 12.0);
        assert_eq!(combined[0].seeds, [10.0, 14.0]);
        assert_eq!(combined[0].items, [0.5, 1.0]);
        assert!(combine_seeds(&[run_of_seed(10.0, &[0.0]), run_of_seed(14.0, &[])]).is_err());
        let error =
            pool_items(&[equal_runs[0].clone(), part([1.0, 2.0], &[])]).unwrap_err().to_string();
        assert!(error.contains("not in every run"), "{error}");
        assert_eq!(pool_items(&equal_runs[..1]).unwrap(), equal_runs[0]);
    }

    const RUN: &str = "| F1 | en |\n|---|---:|\n| a | 1 |\n\n### by language\n\n| | k |\n|---|---|\n\
                       | en | 2 |\n| all | 3 |\n";

    #[test]
    fn the_table_of_a_run_is_stored_and_shown() {
        let root = tempfile::tempdir().unwrap();
        let (recipe, run) = (root.path().join("examples/r"), root.path().join("run"));
        fs::create_dir_all(&recipe).unwrap();
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("table.md"), RUN).unwrap();
        fs::write(run.join("machine.json"), "{}").unwrap();
        fs::write(run.join("recipe.toml"), "[run]\nprecision = \"f32\"\n").unwrap();
        files::write(&run.join("seed-0/a/result.json"), r#"{"seconds": 72.0}"#).unwrap();
        Measured::write(run.join("numbers.jsonl"), &[]).unwrap();
        let page = recipe.join("README.md");
        let text = "x\n<!-- results: small.md | F1 -->\nold\n<!-- end -->\ny\n\
                    <!-- results: other -->\nkept\n<!-- end -->\n\
                    <!-- results: small.md | by language | all -->\n<!-- end -->\n";
        fs::write(&page, text).unwrap();
        store_results(root.path(), &format!("r/small={}", run.display())).unwrap();
        assert!(pages(root.path()).unwrap().iter().eq([&page]));
        let expected = "x\n<!-- results: small.md | F1 -->\n| F1 | en |\n|---|---:|\n| a | 1 |\n\
                    <!-- end -->\ny\n<!-- results: other -->\nkept\n<!-- end -->\n\
                    <!-- results: small.md | by language | all -->\n| | k |\n|---|---|\n| all | 3 |\n\
                    <!-- end -->\n";
        assert_eq!(fill_tables(&page, text).unwrap(), expected);
        let setup = files::read(&recipe.join("results/small.setup.json")).unwrap();
        assert!(setup.contains("\"hours\": 0.02"), "{setup}");
        let missing = text.replace("| F1 ", "| F2 ");
        assert!(fill_tables(&page, &missing).unwrap_err().to_string().ends_with("has no table F2"));
        for invalid in ["r=run", "r/small", "q/small=run"] {
            assert!(store_results(root.path(), invalid).is_err(), "{invalid}");
        }
    }
}
