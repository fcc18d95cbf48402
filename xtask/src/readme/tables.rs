//! Tables that a recipe wrote into its run folder, shown on its page as they are, and the numbers
//! beside them.
//!
//! `<!-- results: FILE | TABLE | ROWS -->` … `<!-- end -->` on `examples/NAME/README.md` shows a
//! table of `examples/NAME/results/FILE`, a stored `table.md`: the one under the heading TABLE, or
//! with it in its first cell; of its rows, where ROWS is given, those that begin with it.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{CLOSE, OPEN};

/// Stores `RUN/table.md` as `examples/RECIPE/results/NAME.md`, and `RUN/numbers.jsonl` as
/// `NAME.jsonl`, for `RECIPE/NAME=RUN`.
pub fn store(root: &Path, assignment: &str) -> Result<()> {
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
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    for (file, ending) in [("table.md", "md"), ("numbers.jsonl", "jsonl")] {
        let (from, path) = (Path::new(run).join(file), folder.join(format!("{name}.{ending}")));
        fs::copy(&from, &path).with_context(|| format!("{}", from.display()))?;
        println!("stored examples/{recipe}/results/{name}.{ending}");
    }
    Ok(())
}

/// The pages of all recipes.
pub fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let examples = root.join("examples");
    let mut pages = Vec::new();
    for entry in fs::read_dir(&examples).with_context(|| format!("{}", examples.display()))? {
        let page = entry?.path().join("README.md");
        if page.is_file() {
            pages.push(page);
        }
    }
    pages.sort();
    Ok(pages)
}

/// The page's text with every such table in its block.
pub fn fill(page: &Path, text: &str) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(OPEN) {
        let (marker, block) = block.split_once(" -->\n").context("a marker without its end")?;
        let (old, after) = block
            .split_once(CLOSE)
            .with_context(|| format!("the block {marker} has no {CLOSE}"))?;
        filled += before;
        filled += &format!("{OPEN}{marker} -->\n");
        match marker.split_once(" | ") {
            Some((file, what)) => filled += &shown(page, file, what)?,
            None => filled += old,
        }
        filled += CLOSE;
        rest = after;
    }
    Ok(filled + rest)
}

/// The table that a marker names.
fn shown(page: &Path, file: &str, what: &str) -> Result<String> {
    let path = page.with_file_name("results").join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let (name, rows) = match what.split_once(" | ") {
        Some((name, rows)) => (name, Some(rows)),
        None => (what, None),
    };
    let found = table(&text, name);
    if found.len() < 3 {
        bail!("{} has no table {name}", path.display());
    }
    let kept = found
        .iter()
        .enumerate()
        .filter(|(line, row)| *line < 2 || rows.is_none_or(|rows| first_cell(row) == rows));
    Ok(kept.map(|(_, row)| format!("{row}\n")).collect())
}

/// The lines of the first table under the heading `name`, or with it in its first cell.
fn table<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let mut lines = text.lines().peekable();
    let mut under = false;
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            under = line.trim_start_matches('#').trim() == name;
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|row| row.starts_with('|')) {
                rows.push(row);
            }
            if under || first_cell(line) == name {
                return rows;
            }
        }
    }
    Vec::new()
}

fn first_cell(row: &str) -> &str {
    row.trim_start_matches('|').split('|').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "| F1 | en |\n|---|---:|\n| a | 1 |\n\n### by language\n\n| | k |\n|---|---|\n\
                       | en | 2 |\n| all | 3 |\n";

    #[test]
    fn a_run_s_table_is_stored_and_shown() {
        let root = tempfile::tempdir().unwrap();
        let (recipe, run) = (root.path().join("examples/r"), root.path().join("run"));
        fs::create_dir_all(&recipe).unwrap();
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("table.md"), RUN).unwrap();
        let page = recipe.join("README.md");
        let text = "x\n<!-- results: small.md | F1 -->\nold\n<!-- end -->\ny\n\
                    <!-- results: other -->\nkept\n<!-- end -->\n\
                    <!-- results: small.md | by language | all -->\n<!-- end -->\n";
        fs::write(&page, text).unwrap();
        store(root.path(), &format!("r/small={}", run.display())).unwrap();
        assert!(pages(root.path()).unwrap().iter().eq([&page]));
        let want = "x\n<!-- results: small.md | F1 -->\n| F1 | en |\n|---|---:|\n| a | 1 |\n\
                    <!-- end -->\ny\n<!-- results: other -->\nkept\n<!-- end -->\n\
                    <!-- results: small.md | by language | all -->\n| | k |\n|---|---|\n| all | 3 |\n\
                    <!-- end -->\n";
        assert_eq!(fill(&page, text).unwrap(), want);
        let missing = text.replace("| F1 ", "| F2 ");
        assert!(fill(&page, &missing).unwrap_err().to_string().ends_with("has no table F2"));
        for wrong in ["r=run", "r/small", "q/small=run"] {
            assert!(store(root.path(), wrong).is_err(), "{wrong}");
        }
    }
}
