//! `cargo xtask widths`: checks that comments are at most as wide as code formatted by rustfmt.
//!
//! rustfmt wraps comments only in nightly releases, and breaks tables and lists then.
use crate::files;
use crate::process::Failed;
use anyhow::Result;
use std::path::Path;

/// Maximum line width, as `max_width` in rustfmt.toml.
const WIDTH: usize = 100;

/// Folders with the workspace's Rust files.
const FOLDERS: [&str; 6] = ["bindings", "crates", "examples", "benches", "tests", "xtask"];

/// Prints comment lines that are too wide; the exit code is 1 if there are any.
pub fn check(root: &Path) -> Result<()> {
    let mut wide = Vec::new();
    for folder in FOLDERS {
        search(root, &root.join(folder), &mut wide)?;
    }
    wide.sort();
    wide.iter().for_each(|line| println!("{line}"));
    if wide.is_empty() {
        println!("every comment has at most {WIDTH} columns");
        return Ok(());
    }
    println!("comment lines wider than {WIDTH} columns: {}", wide.len());
    Err(Failed(1).into())
}

fn search(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for path in files::entries(folder)? {
        if path.is_dir() {
            if !path.ends_with("target") {
                search(root, &path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = files::read(&path)?;
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
