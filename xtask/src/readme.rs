//! `cargo xtask readme`: writes tables of measured numbers into README files.
//!
//! A README contains `<!-- results: NAME -->` … `<!-- end -->`; this module writes the text between
//! the two markers from summaries of runs. The summaries are stored in the repository, so that a
//! test can compare README and summary. [`tables`] copies tables of a run's `table.md` unchanged.
mod evidence;
mod settings;
mod setups;
mod tables;

use crate::files;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;

/// Languages of the columns, except English.
const LANGUAGES: [&str; 6] = ["de", "es", "ar", "hi", "vi", "zh"];
/// Stored summary of a demo run with several seeds and all arms.
const DEMO_SEEDS: &str = "examples/bridging-gap/results/demo-seeds.json";
/// The page with the main claims of the papers, and the page with all other claims.
const EVIDENCE: &str = "docs/results/evidence.md";
const OTHER_CLAIMS: &str = "docs/results/other-claims.md";
/// The figure of the main claims.
const EVIDENCE_FIGURE: &str = "docs/results/evidence.svg";
/// Start of a block's opening marker, before the block's name and ` -->`.
const OPENING: &str = "<!-- results: ";
/// Closing marker of a block.
const CLOSING: &str = "<!-- end -->";

/// A block of a README: name, path of the README, and text.
struct Block {
    name: String,
    page: String,
    text: String,
}

/// Returns the blocks whose texts are computed from stored summaries and claims.
fn create_blocks(root: &Path) -> Result<Vec<Block>> {
    let seeds = read_json(&root.join(DEMO_SEEDS))?;
    let block = |name: &str, page: &str, text| Block { name: name.into(), page: page.into(), text };
    let recipe = "examples/bridging-gap/README.md";
    let mut blocks = vec![
        block("demo-seeds", recipe, demo_seeds_table(&seeds, &row_names(&seeds, "arms")?)?),
        block("verdicts", EVIDENCE, evidence::format_verdicts(root)?),
        block("main claims", EVIDENCE, evidence::format_main_claims(root)?),
        block("setups of runs", EVIDENCE, setups::format_table(root)?),
        block("other claims", OTHER_CLAIMS, evidence::format_other_claims(root)?),
    ];
    for page in settings::pages(root)? {
        let text = settings::table(&page)?;
        let page = page.strip_prefix(root).unwrap_or(&page).display().to_string();
        blocks.push(block(settings::BLOCK, &page, text));
    }
    Ok(blocks)
}

/// Stores the results of the specified runs, then fills all blocks. `seeds` is the folder of a demo
/// run with several seeds and all arms; `assignments` are values `RECIPE/NAME=RUN` of `--table`.
pub fn update_pages(root: &Path, seeds: Option<&Path>, assignments: &[String]) -> Result<()> {
    for assignment in assignments {
        tables::store_results(root, assignment)?;
    }
    if let Some(run) = seeds {
        let mut summary = read_json(&run.join("summary.json"))?;
        remove_times(&mut summary);
        let path = root.join(DEMO_SEEDS);
        files::write(&path, &(serde_json::to_string_pretty(&summary)? + "\n"))?;
        println!("stored {DEMO_SEEDS}");
    }
    for block in create_blocks(root)? {
        let path = root.join(&block.page);
        let page = files::read(&path)?;
        let filled =
            fill_block(&page, &block.name, &block.text).with_context(|| block.page.clone())?;
        if filled != page {
            files::write(&path, &filled)?;
            println!("{}: {} written", block.page, block.name);
        }
    }
    let figure = evidence::draw_main_claims(root)?;
    let path = root.join(EVIDENCE_FIGURE);
    if !path.exists() || files::read(&path)? != figure {
        files::write(&path, &figure)?;
        println!("{EVIDENCE_FIGURE}: written");
    }
    for path in tables::pages(root)? {
        let page = files::read(&path)?;
        let filled =
            tables::fill_tables(&path, &page).with_context(|| format!("{}", path.display()))?;
        if filled != page {
            files::write(&path, &filled)?;
            println!("{}: written", path.display());
        }
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Value> {
    let text = files::read(path)?;
    serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
}

/// Removes times, which differ between runs and do not occur in tables.
fn remove_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("seconds");
            map.values_mut().for_each(remove_times);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_times),
        _ => {}
    }
}

/// Returns the page with `text` in the block `name`.
fn fill_block(page: &str, name: &str, text: &str) -> Result<String> {
    let opening = format!("{OPENING}{name} -->\n");
    let Some((before, rest)) = page.split_once(&opening) else {
        bail!("no block {OPENING}{name} -->");
    };
    let Some((_, after)) = rest.split_once(CLOSING) else {
        bail!("the block {name} has no {CLOSING}");
    };
    Ok(format!("{before}{opening}{}\n{CLOSING}{after}", text.trim_end()))
}

/// Returns the number at a path of keys.
fn number(summary: &Value, keys: &[&str]) -> Result<f64> {
    let value = keys.iter().try_fold(summary, |value, key| value.get(key));
    value.and_then(Value::as_f64).with_context(|| format!("no number {}", keys.join(".")))
}

/// The demo's arms, in the order of its tables.
const ARMS: [&str; 6] = ["base", "control", "injected", "label-pairs", "false-facts", "unseen"];

/// Returns the names of a table's rows, which are the keys of the map `key` in the summary. Rows of
/// [`ARMS`] come first, in the order of that list.
fn row_names(summary: &Value, key: &str) -> Result<Vec<String>> {
    let map = summary.get(key).and_then(Value::as_object);
    let mut names: Vec<String> =
        map.with_context(|| format!("no map {key}"))?.keys().cloned().collect();
    // A row's name starts with its arm: `control, mapped` is a row of `control`.
    let arm = |name: &str| name.split(", ").next().map(str::to_owned);
    let arm_index = |name: &str| ARMS.iter().position(|known| arm(name).as_deref() == Some(known));
    names.sort_by_key(|name| (arm_index(name).unwrap_or(ARMS.len()), name.clone()));
    Ok(names)
}

fn format_table(header: &[String], rows: &[Vec<String>]) -> String {
    let mut text =
        format!("| {} |\n|---|{}\n", header.join(" | "), "---:|".repeat(header.len() - 1));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

fn demo_seeds_table(summary: &Value, arms: &[String]) -> Result<String> {
    let mut rows = Vec::new();
    for arm in arms {
        let with_interval = |column, mean, half_width| -> Result<String> {
            let value = number(summary, &["arms", arm, column, mean])?;
            Ok(format!("{value:.1} ± {:.1}", number(summary, &["arms", arm, column, half_width])?))
        };
        let mut row = vec![format!("`{arm}`")];
        for column in LANGUAGES.iter().chain(&["average"]) {
            row.push(with_interval(column, "f1", "f1_half_width")?);
        }
        row.push(with_interval("average", "em", "em_half_width")?);
        row.push(format!("{:.1}", number(summary, &["arms", arm, "en", "f1"])?));
        rows.push(row);
    }
    let seeds = summary.get("seeds").and_then(Value::as_array).context("no list seeds")?.len();
    let mut header = vec![format!("F1, {seeds} seeds")];
    header.extend(LANGUAGES.map(str::to_uppercase));
    header.extend(["mean of six", "EM, mean of six", "EN"].map(str::to_owned));
    Ok(format_table(&header, &rows))
}

#[cfg(test)]
mod tests_dependencies;
#[cfg(test)]
mod tests_prose;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn every_page_shows_the_stored_summary() {
        for block in create_blocks(root()).unwrap() {
            let page = fs::read_to_string(root().join(&block.page)).unwrap();
            let filled = fill_block(&page, &block.name, &block.text).unwrap();
            assert!(
                filled == page,
                "{}: block {} is outdated; run `cargo xtask readme`",
                block.page,
                block.name
            );
        }
    }

    #[test]
    fn the_figure_shows_the_stored_results() {
        let stored = fs::read_to_string(root().join(EVIDENCE_FIGURE)).unwrap();
        let drawn = evidence::draw_main_claims(root()).unwrap();
        assert!(drawn == stored, "{EVIDENCE_FIGURE}: outdated; run `cargo xtask readme`");
        let page = fs::read_to_string(root().join(EVIDENCE)).unwrap();
        assert!(page.contains("](evidence.svg)"), "{EVIDENCE} does not show the figure");
    }

    #[test]
    fn every_page_shows_the_stored_tables() {
        for path in tables::pages(root()).unwrap() {
            let page = fs::read_to_string(&path).unwrap();
            let filled = tables::fill_tables(&path, &page).unwrap();
            assert!(filled == page, "{}: outdated; run `cargo xtask readme`", path.display());
        }
    }

    #[test]
    fn only_the_block_is_replaced() {
        let page = "a\n<!-- results: x -->\nold\n<!-- end -->\nb\n";
        let filled = fill_block(page, "x", "new\n").unwrap();
        assert_eq!(filled, "a\n<!-- results: x -->\nnew\n<!-- end -->\nb\n");
        assert_eq!(fill_block(&filled, "x", "new").unwrap(), filled);
        assert!(fill_block(page, "y", "").unwrap_err().to_string().contains("no block"));
        let open = "<!-- results: x -->\nold\n";
        assert!(fill_block(open, "x", "").unwrap_err().to_string().contains("no <!-- end -->"));
    }

    #[test]
    fn missing_numbers_are_reported() {
        let summary = serde_json::json!({ "arms": { "base": { "de": {} } } });
        let error = demo_seeds_table(&summary, &["base".into()]).unwrap_err().to_string();
        assert_eq!(error, "no number arms.base.de.f1");
    }

    #[test]
    fn times_are_not_stored() {
        let mut summary =
            serde_json::json!({ "seconds": 1.0, "arms": [{ "seconds": 2, "f1": 3 }] });
        remove_times(&mut summary);
        assert_eq!(summary, serde_json::json!({ "arms": [{ "f1": 3 }] }));
    }
}
