//! Tests that a killed and resumed extract writes the same files as an uninterrupted one.
#![cfg(unix)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::common::{compressed, contents};

const OUT: &str = "out";

/// A dump in JSON lines that includes invalid lines, redirects and duplicates.
fn dump(entities: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut lines = Vec::new();
    for _ in 0..entities {
        let id = rng.random_range(0..entities * 2);
        match rng.random_range(0..40) {
            0 => writeln!(lines, "{{\"id\":{id}}}").unwrap(),
            1 => writeln!(lines, "{{\"entity\":\"Q{id}\",\"redirect\":\"Q1\"}}").unwrap(),
            _ => {
                let label = |code: &str| {
                    let text = format!("label {id} in {code} ").repeat(12);
                    format!("\"{code}\":{{\"language\":\"{code}\",\"value\":\"{text}\"}}")
                };
                let codes = if id % 3 == 0 { ["mul", "de", "zh"] } else { ["en", "de", "zh"] };
                let labels = codes.map(label).join(",");
                let value = format!("{{\"entity-type\":\"item\",\"id\":\"Q{}\"}}", id / 2);
                let snak =
                    format!("{{\"snaktype\":\"value\",\"datavalue\":{{\"value\":{value}}}}}");
                let claims = format!("{{\"P1\":[{{\"mainsnak\":{snak}}}]}}");
                let ignored_text = "x".repeat(rng.random_range(0..3000));
                writeln!(
                    lines,
                    "{{\"type\":\"item\",\"id\":\"Q{id}\",\"labels\":{{{labels}}},\
                     \"claims\":{claims},\"x\":\"{ignored_text}\"}}"
                )
                .unwrap();
            }
        }
    }
    lines
}

/// Starts an extract with 1 MiB of memory for sorting.
fn start(dir: &Path, dump: &str, languages: &str) -> Child {
    start_with_options(dir, dump, &["--memory", "1", "--languages", languages])
}

fn start_with_options(dir: &Path, dump: &str, options: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    command.current_dir(dir).args(["extract", "--threads", "2", "--out", OUT]).args(options);
    match dump.strip_prefix("< ") {
        Some(input) => {
            command.args(["--dump", "-"]).stdin(File::open(dir.join(input)).unwrap());
        }
        None => {
            command.args(["--dump", dump]);
        }
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a run that must exit with `code`, and returns its standard error.
fn wait_for_exit(child: Child, code: i32) -> String {
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    error
}

/// Returns the files of the output folder.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    contents(&dir.join(OUT))
}

fn stored_state(dir: &Path) -> Option<Vec<u8>> {
    fs::read(dir.join(OUT).join(".extract/state.json")).ok()
}

/// Starts a run and kills it as soon as `when` returns true. Returns whether the run was killed.
fn kill_when(dir: &Path, dump: &str, when: impl Fn() -> bool) -> bool {
    kill(start(dir, dump, "en,de"), when)
}

/// Kills a started run as soon as `when` returns true. Returns whether the run was killed.
fn kill(mut child: Child, when: impl Fn() -> bool) -> bool {
    let start_time = Instant::now();
    loop {
        if when() {
            child.kill().unwrap();
            let status = child.wait().unwrap();
            return !status.success();
        }
        if child.try_wait().unwrap().is_some() || start_time.elapsed() > Duration::from_secs(60) {
            wait_for_exit(child, 0);
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Starts runs and kills each run shortly after it has stored its state, until a run completes.
/// Returns the number of killed runs.
fn kill_repeatedly(dir: &Path, dump: &str, rng: &mut ChaCha8Rng) -> usize {
    let mut kills = 0;
    loop {
        let (before, start_time) = (stored_state(dir), Instant::now());
        let kill_delay = Duration::from_millis(rng.random_range(0..15));
        let stored_after = Cell::new(None);
        let killed = kill_when(dir, dump, || {
            if stored_after.get().is_none() && stored_state(dir) != before {
                stored_after.set(Some(start_time.elapsed()));
            }
            stored_after.get().is_some_and(|at| start_time.elapsed() > at + kill_delay)
        });
        if !killed {
            return kills;
        }
        kills += 1;
    }
}

#[test]
fn a_killed_extract_resumes_and_writes_the_same_bytes() {
    let bytes = dump(4000);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for extension in ["bz2", "gz", "json", "< zst"] {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("dump.{}", extension.trim_start_matches("< "));
        fs::write(dir.path().join(&name), compressed(&bytes, extension.trim_start_matches("< ")))
            .unwrap();
        let dump = if extension.starts_with('<') { format!("< {name}") } else { name };
        wait_for_exit(start(dir.path(), &dump, "en,de"), 0);
        let expected = files(dir.path());
        let names: Vec<_> = expected.keys().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["extract.json", "labels.tsv", "redirects.tsv", "triples.tsv"]);

        let mut kills = 0;
        // Several attempts are made, because a run may complete before it is killed.
        for _ in 0..20 {
            fs::remove_dir_all(dir.path().join(OUT)).unwrap();
            let (start_time, delay_ms) = (Instant::now(), rng.random_range(0..20));
            kill_when(dir.path(), &dump, || start_time.elapsed() > Duration::from_millis(delay_ms));
            kills = kill_repeatedly(dir.path(), &dump, &mut rng);
            if kills > 1 {
                break;
            }
        }
        assert!(kills > 1, "{extension}: killed {kills} times");
        assert!(files(dir.path()) == expected, "{extension}");
    }
}

#[test]
fn a_killed_merge_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump.bz2"), compressed(&dump(5000), "bz2")).unwrap();
    wait_for_exit(start(dir.path(), "dump.bz2", "en,de"), 0);
    let expected = files(dir.path());
    let is_writing = || {
        let mut entries = fs::read_dir(dir.path().join(OUT)).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().starts_with(".writing-"))
    };
    fs::remove_dir_all(dir.path().join(OUT)).unwrap();
    let mut attempts = 0;
    while !kill_when(dir.path(), "dump.bz2", is_writing) {
        attempts += 1;
        assert!(attempts < 20, "never killed while it wrote tables");
    }
    let state = String::from_utf8(stored_state(dir.path()).unwrap()).unwrap();
    assert!(state.contains("\"read\":true"), "{state}");
    // Temporary folders of earlier versions are also removed.
    fs::create_dir(dir.path().join(OUT).join(".extract-abc")).unwrap();
    wait_for_exit(start(dir.path(), "dump.bz2", "en,de"), 0);
    assert!(files(dir.path()) == expected);
}

#[test]
fn a_killed_extract_repeats_at_most_64_mib_of_reading() {
    // A dump of 160 MiB, most of which is skipped.
    let mut bytes = Vec::new();
    for id in 0..40 {
        let label = format!("{{\"en\":{{\"language\":\"en\",\"value\":\"label {id}\"}}}}");
        write!(bytes, "{{\"type\":\"item\",\"id\":\"Q{id}\",\"labels\":{label},\"x\":\"").unwrap();
        bytes.resize(bytes.len() + (4 << 20), b'x');
        bytes.extend(b"\"}\n");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump"), &bytes).unwrap();
    let start = || start_with_options(dir.path(), "dump", &["--languages", "en"]);
    assert_eq!(wait_for_exit(start(), 0), "");
    let expected = files(dir.path());

    let lock = dir.path().join(OUT).join(".extract/lock");
    while !kill(start(), || lock.exists()) {}
    // Depending on the time of the kill, the next run starts from the beginning or resumes.
    let is_restart = stored_state(dir.path()).is_none();
    let mut child = start();
    while stored_state(dir.path()).is_none() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    let stderr = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert_eq!(stderr.contains("note: starts from the beginning; "), is_restart, "{stderr}");
    let state = stored_state(dir.path()).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let offset = state["offset"].as_u64().unwrap();
    // The state is stored after at least 64 MiB have been read. Its offset may be smaller, because
    // chunks that are still queued are not included.
    assert!((1..=96 << 20).contains(&offset), "{offset}");
    let stderr = wait_for_exit(start(), 0);
    let expected_note = format!("note: resumes the unfinished extract in {OUT} after {offset} ");
    assert!(stderr.contains(&expected_note), "{stderr}");
    assert!(files(dir.path()) == expected);
}

#[test]
fn another_dump_or_other_options_cannot_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = dump(5000);
    fs::write(dir.path().join("dump"), &bytes).unwrap();
    fs::write(dir.path().join("other"), &bytes[1..]).unwrap();
    let is_stored = || stored_state(dir.path()).is_some();
    assert!(kill_when(dir.path(), "dump", is_stored));
    let error = wait_for_exit(start(dir.path(), "dump", "en,zh"), 2);
    assert!(error.contains("unfinished extract with other options"), "{error}");
    for option in [["--lookup", "exact"], ["--mul", "any-script"]] {
        let options = [["--memory", "1"], ["--languages", "en,de"], option].concat();
        let error = wait_for_exit(start_with_options(dir.path(), "dump", &options), 2);
        assert!(error.contains("unfinished extract with other options"), "{error}");
    }
    let error = wait_for_exit(start(dir.path(), "other", "en,de"), 2);
    assert!(error.contains("of another dump") && error.contains("--restart"), "{error}");
    fs::write(dir.path().join("dump"), &bytes[1..]).unwrap();
    let error = wait_for_exit(start(dir.path(), "dump", "en,de"), 2);
    assert!(error.contains("of this dump before it changed"), "{error}");
    // A state with another key stands for the state of an earlier version.
    let state = String::from_utf8(stored_state(dir.path()).unwrap()).unwrap();
    let path = dir.path().join(OUT).join(".extract/state.json");
    fs::write(path, state.replacen("\"offset\":", "\"place\":", 1)).unwrap();
    let error = wait_for_exit(start(dir.path(), "dump", "en,de"), 2);
    assert!(error.contains("cannot be read, use --restart to start again"), "{error}");

    // Standard input has no path. A run on other input fails when the bytes differ.
    fs::remove_dir_all(dir.path().join(OUT)).unwrap();
    assert!(kill_when(dir.path(), "< other", is_stored));
    fs::write(dir.path().join("dump"), &bytes).unwrap();
    let error = wait_for_exit(start(dir.path(), "< dump", "en,de"), 2);
    assert!(error.contains("differ from those that the unfinished extract read"), "{error}");
    wait_for_exit(start(dir.path(), "< other", "en,de"), 0);
}

#[test]
fn a_pipe_is_read_like_a_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump"), dump(20)).unwrap();
    let program = env!("CARGO_BIN_EXE_kg-triples");
    let mut shell = Command::new("sh");
    let line =
        format!("cat dump | {program} extract --dump /dev/fd/0 --languages en,de --out {OUT}");
    shell.args(["-c", &line]).current_dir(dir.path());
    wait_for_exit(shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap(), 0);
    let mut files_of_pipe = files(dir.path());
    wait_for_exit(start(dir.path(), "dump", "en,de"), 0);
    // The run on the pipe and the run on the file write the same files, although their memory
    // limits differ.
    files_of_pipe.retain(|path, bytes| files(dir.path()).get(path) != Some(bytes));
    assert!(files_of_pipe.is_empty(), "{:?}", files_of_pipe.keys());
}

#[test]
fn symbolic_links_in_place_of_the_state_folder_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path_of = |name: &str| dir.path().join(name);
    fs::write(path_of("dump"), dump(20)).unwrap();
    fs::create_dir_all(path_of(OUT).join(".extract")).unwrap();
    fs::write(path_of("mine"), "mine").unwrap();
    std::os::unix::fs::symlink(path_of("mine"), path_of(OUT).join(".extract/lock")).unwrap();
    let error = wait_for_exit(start(dir.path(), "dump", "en,de"), 2);
    assert!(error.contains(".extract/lock"), "{error}");
    fs::remove_dir_all(path_of(OUT).join(".extract")).unwrap();
    fs::create_dir(path_of("elsewhere")).unwrap();
    std::os::unix::fs::symlink(path_of("elsewhere"), path_of(OUT).join(".extract")).unwrap();
    let error = wait_for_exit(start(dir.path(), "dump", "en,de"), 2);
    assert!(error.contains("symbolic link"), "{error}");
    assert_eq!(fs::read_to_string(path_of("mine")).unwrap(), "mine");
    assert_eq!(fs::read_dir(path_of("elsewhere")).unwrap().count(), 0);
}
