//! `cargo xtask widths`: checks that comments are at most as wide as code formatted by rustfmt.
//!
//! rustfmt wraps comments only in nightly releases, and breaks tables and lists then.
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Maximum line width, as `max_width` in rustfmt.toml.
const WIDTH: usize = 100;

/// Folders with the workspace's Rust files.
const FOLDERS: [&str; 6] = ["bindings", "crates", "examples", "benches", "tests", "xtask"];

/// Prints comment lines that are too wide; returns true if there are none.
pub fn check(root: &Path) -> Result<bool> {
    let mut wide = Vec::new();
    for folder in FOLDERS {
        search(root, &root.join(folder), &mut wide)?;
    }
    wide.sort();
    wide.iter().for_each(|line| println!("{line}"));
    match wide.len() {
        0 => println!("every comment has at most {WIDTH} columns"),
        count => println!("comment lines wider than {WIDTH} columns: {count}"),
    }
    Ok(wide.is_empty())
}

fn search(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                search(root, &path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).display();
            found.extend(wide_lines(&text).map(|number| format!("{name}:{number}")));
        }
    }
    Ok(())
}

/// Returns the line numbers of comments that are too wide, except tables and URLs.
fn wide_lines(text: &str) -> impl Iterator<Item = usize> {
    text.lines().enumerate().filter(|(_, line)| is_wide(line)).map(|(index, _)| index + 1)
}

fn is_wide(line: &str) -> bool {
    let comment = line.trim_start();
    let text = comment.trim_start_matches(['/', '!']).trim_start();
    comment.starts_with("//")
        && line.chars().count() > WIDTH
        && !text.starts_with('|')
        && !text.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrappable_comments_count() {
        let long = "word ".repeat(20);
        for wide in [format!("// {long}x"), format!("    /// {long}"), format!("//! {long}x")] {
            assert!(is_wide(&wide), "{wide}");
        }
        for narrow in [
            "// short".to_owned(),
            format!("let text = \"{long}\";"),
            format!("/// | {long} |"),
            format!("// https://example.org/{long}"),
            format!("// {}", "ä".repeat(97)),
        ] {
            assert!(!is_wide(&narrow), "{narrow}");
        }
        let text = format!("fn f() {{}}\n// {long}x\n// short\n//! {long}x\n");
        assert_eq!(wide_lines(&text).collect::<Vec<_>>(), [2, 4]);
    }
}
