//! Runs the commands in `docs/guides/process-a-wikidata-dump.md`, and compares their output with
//! the output on the page.
use crate::common::{root, shell, succeed};

/// Returns the fenced code blocks of a page: info string and text.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        match (line.strip_prefix("```"), in_block) {
            (Some(info), false) => {
                blocks.push((info, String::new()));
                in_block = true;
            }
            (Some(_), true) => in_block = false,
            (None, true) => {
                let (_, text) = blocks.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

#[test]
fn the_walkthrough_prints_the_documented_output() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("data"), folder.path().join("data")).unwrap();
    let page =
        std::fs::read_to_string(root().join("docs/guides/process-a-wikidata-dump.md")).unwrap();
    let mut printed = String::new();
    let mut compared_count = 0;
    for (info, text) in blocks(&page) {
        match info.split_once(" file=") {
            Some((_, name)) => std::fs::write(folder.path().join(name), text).unwrap(),
            // Blocks marked `console` process published dumps, which are too large for a test.
            None if info == "console" => {}
            None if info == "sh" => {
                printed.clear();
                for line in text.lines() {
                    let mut command = shell(line);
                    command.current_dir(folder.path());
                    let output = succeed(command);
                    // `kg-triples` prints tables of counts, which the page omits.
                    if !line.starts_with("kg-triples") {
                        printed.push_str(&output);
                    }
                }
            }
            None => {
                assert_eq!(info, "text");
                assert_eq!(printed, text, "after {compared_count} blocks");
                compared_count += 1;
            }
        }
    }
    assert_eq!(compared_count, 5);
}
