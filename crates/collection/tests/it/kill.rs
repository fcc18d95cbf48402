//! Processes that are killed while they build and update a collection, and disks that are full.
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use collection::{Collection, Encoder, Writer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{document, documents, snapshot};

const FOLDER: &str = "COLLECTION_TEST_FOLDER";
const LIMITED: &str = "COLLECTION_TEST_LIMITED";

/// Number of documents.
const DOCUMENTS: u64 = 60;

/// The text of a document in a generation. Some generations lack some documents.
fn text(generation: u64, k: u64) -> Option<String> {
    let exists = !(generation + k).is_multiple_of(7);
    exists.then(|| format!("generation {generation} document {k} {}", "words of Lima ".repeat(9)))
}

/// Writes generation after generation, forever. The document `state` has the generation's number.
fn write_generations(folder: &Path) -> collection::Result<()> {
    let mut writer = Writer::create(folder).or_else(|_| Writer::open(folder))?;
    let probe = vec![1.0, 0.0];
    loop {
        let state = writer.snapshot().document("state")?;
        let generation = state.map_or(0, |state| state.text.parse::<u64>().unwrap() + 1);
        writer.set_encoder(Encoder { options: String::new(), probe: probe.clone() })?;
        writer.update(&document("state", &generation.to_string()))?;
        if std::env::var_os(LIMITED).is_some() {
            // Larger than the limit, and not compressible.
            let words: Vec<String> =
                (0..20_000u64).map(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()).collect();
            writer.update(&document("large", &words.join(" ")))?;
        }
        for k in 0..DOCUMENTS {
            let id = format!("d{k}");
            match text(generation, k) {
                Some(text) => writer.update(&document(&id, &text))?,
                None if writer.snapshot().contains(&id)? => writer.remove(&id)?,
                None => {}
            }
        }
        writer.commit()?;
        let numbers = writer.snapshot().passages_without_vectors()?;
        writer.add_vectors(numbers.iter().map(|&number| (number, probe.clone())).collect())?;
        writer.commit()?;
    }
}

/// The program of the processes; without the variable, it is no test.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let error = write_generations(&folder).unwrap_err();
    if std::env::var_os(LIMITED).is_some() {
        // Read by the test.
        std::fs::write(folder.with_extension("error"), error.to_string()).unwrap();
        return;
    }
    panic!("{error}");
}

fn start(folder: &Path, program: &mut Command) -> Child {
    let arguments = ["--exact", "kill::child", "--nocapture"];
    program.args(arguments).env(FOLDER, folder).stdout(std::process::Stdio::null()).spawn().unwrap()
}

/// Checks all documents; returns the generation.
fn check(folder: &Path) -> Option<u64> {
    let snapshot = match Collection::open(folder) {
        Ok(collection) => collection.snapshot().unwrap(),
        // The creation was killed; a writer continues it.
        Err(_) => {
            let writer = Writer::open(folder).ok()?;
            assert_eq!(writer.snapshot().document_count(), 0);
            return None;
        }
    };
    let stored = documents(&snapshot);
    let Some((_, state)) = stored.iter().find(|(id, _)| id == "state") else {
        assert_eq!(stored, []);
        return None;
    };
    let generation = state.parse().unwrap();
    let expected = (0..DOCUMENTS).filter_map(|k| Some((format!("d{k}"), text(generation, k)?)));
    let mut expected: Vec<(String, String)> = expected.collect();
    expected.push(("state".to_owned(), state.clone()));
    expected.sort();
    let mut sorted = stored.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!(stored.len() as u64, snapshot.document_count(), "generation {generation}");
    // The index agrees: all documents but the state are found by their words.
    let hits = snapshot.select(&"Lima".into(), 99).unwrap();
    assert_eq!(hits.len() + 1, stored.len());
    let without_vectors = snapshot.passages_without_vectors().unwrap().len() as u64;
    assert!([0, snapshot.passage_count()].contains(&without_vectors), "{without_vectors}");
    Some(generation)
}

/// Returns the time in which a process writes the first generation.
fn time_of_generation(folder: &Path) -> Duration {
    let before = Instant::now();
    let mut child = start(folder, &mut Command::new(std::env::current_exe().unwrap()));
    let is_written = || {
        let snapshot = Collection::open(folder).and_then(|collection| collection.snapshot());
        snapshot.is_ok_and(|snapshot| snapshot.contains("state").unwrap())
    };
    while !is_written() {
        assert_eq!(child.try_wait().unwrap(), None, "the writer ended with an error");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    before.elapsed()
}

fn kill_repeatedly(kills: usize) {
    let folder = tempfile::tempdir().unwrap();
    let time = time_of_generation(&folder.path().join("first"));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut generations, mut last) = (0, None);
    for kill in 0..kills {
        // Every tenth time, a new collection is created and killed early.
        let path = folder.path().join(format!("{}", kill / 10));
        if kill % 10 == 0 {
            last = None;
        }
        let mut child = start(&path, &mut Command::new(std::env::current_exe().unwrap()));
        let longest = if kill % 10 == 0 { time / 2 } else { 4 * time };
        std::thread::sleep(longest.mul_f64(rng.random_range(0.02..1.0)));
        assert_eq!(
            child.try_wait().unwrap(),
            None,
            "the writer ended with an error before the kill"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        if !path.join("collection.json").exists() {
            continue;
        }
        let generation = check(&path);
        assert!(generation >= last, "{generation:?} after {last:?}");
        generations += u64::from(generation > last);
        last = generation;
    }
    assert!(generations > 0);
    // The next writer removes what the killed ones left.
    let path = folder.path().join(format!("{}", (kills - 1) / 10));
    Writer::open(&path).unwrap().finish().unwrap();
    let vectors = std::fs::read_dir(path.join("vectors")).unwrap().count();
    assert!(vectors < 10, "{vectors} files");
}

#[test]
fn killed_writers_leave_the_last_commit() {
    kill_repeatedly(if testkit::is_long() { 200 } else { 12 });
}

/// A kill just before the commit leaves the files of the commit. The next one has the same names.
#[test]
fn a_commit_that_was_killed_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("collection");
    let mut writer = Writer::create(&path).unwrap();
    for k in 0..DOCUMENTS {
        writer.add(&document(&format!("d{k}"), "words of Lima")).unwrap();
    }
    writer.finish().unwrap();
    let meta = path.join("words").join("meta.json");
    let committed = std::fs::read(&meta).unwrap();
    for _ in 0..2 {
        let mut writer = Writer::open(&path).unwrap();
        writer.remove("d1").unwrap();
        writer.finish().unwrap();
        assert_eq!(snapshot(&path).document_count(), DOCUMENTS - 1);
        std::fs::write(&meta, &committed).unwrap();
        assert_eq!(snapshot(&path).document_count(), DOCUMENTS);
    }
}

/// A limit of the file size has the effect of a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    for kibibytes in [1, 2, 4, 8] {
        let path = folder.path().join(format!("limit-{kibibytes}"));
        let mut writer = Writer::create(&path).unwrap();
        writer.add(&document("state", "0")).unwrap();
        writer.remove("d1").unwrap_err();
        for k in 0..DOCUMENTS {
            if let Some(text) = text(0, k) {
                writer.add(&document(&format!("d{k}"), &text)).unwrap();
            }
        }
        writer.finish().unwrap();
        let program = std::env::current_exe().unwrap();
        // Blocks are of 512 bytes in POSIX; shells differ.
        let script = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        let command = command.arg("-c").arg(script).arg(program).env(LIMITED, "1");
        assert!(start(&path, command).wait().unwrap().success());
        let error = std::fs::read_to_string(path.with_extension("error")).unwrap();
        assert!(error.contains("cannot write") && !error.contains('\n'), "{error}");
        assert!(check(&path).is_some());
        // The collection can be written again.
        let mut writer = Writer::open(&path).unwrap();
        writer.update(&document("state", "0")).unwrap();
        writer.finish().unwrap();
        assert_eq!(snapshot(&path).document("state").unwrap().unwrap().text, "0".into());
    }
}
