//! Each mistake is one clear error, and the collection is unchanged.
use std::fs;
use std::path::Path;

use collection::{Collection, Document, Error, Writer};

use crate::{create, document, documents, snapshot};

const TEXTS: [(&str, &str); 2] = [("a", "Lima is in Peru."), ("b", "Quito is in Ecuador.")];

fn open_error(folder: &Path) -> String {
    Collection::open(folder).err().unwrap().to_string()
}

#[test]
fn a_folder_that_is_no_collection() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    assert!(open_error(&missing).ends_with("missing: no such folder; expected a collection"));
    assert!(open_error(folder.path()).contains("not a collection"));
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let create = Writer::create(folder.path()).err().unwrap().to_string();
    assert!(create.contains("the folder is not empty"), "{create}");
    assert!(Writer::open(folder.path()).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let file = folder.path().join("notes.txt");
    assert!(Writer::create(&file).is_err() && Collection::open(&file).is_err());
}

#[test]
fn another_format_or_word_splitting() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), &TEXTS).finish().unwrap();
    let again = Writer::create(folder.path()).err().unwrap().to_string();
    assert!(again.contains("is a collection already"), "{again}");
    let marker = folder.path().join("collection.json");
    let meta = folder.path().join("words/meta.json");
    let (marker_text, meta_text) =
        (fs::read_to_string(&marker).unwrap(), fs::read_to_string(&meta).unwrap());
    for text in ["", "{", "{\"format\": \"x\"}"] {
        fs::write(&marker, text).unwrap();
        assert!(open_error(folder.path()).contains("collection.json: not the marker"));
    }
    fs::write(&marker, marker_text.replace('2', "3")).unwrap();
    let newer = open_error(folder.path());
    assert!(newer.contains("format 3 is not supported, expected 2"), "{newer}");
    fs::write(&marker, marker_text).unwrap();
    let version = format!("\\\"terms_version\\\":{}", language::TERMS_VERSION);
    assert!(meta_text.contains(&version), "{meta_text}");
    fs::write(&meta, meta_text.replace(&version, "\\\"terms_version\\\":999")).unwrap();
    let splitting = open_error(folder.path());
    assert!(splitting.contains("version 999 of the word splitting"), "{splitting}");
    assert!(Writer::open(folder.path()).is_err());
    fs::remove_file(&meta).unwrap();
    assert!(open_error(folder.path()).contains("meta.json is missing"));
    assert!(
        Writer::open(folder.path()).err().unwrap().to_string().contains("meta.json is missing")
    );
    fs::write(&meta, meta_text).unwrap();
    assert_eq!(documents(&snapshot(folder.path())).len(), 2);
}

#[test]
fn two_writers() {
    let folder = tempfile::tempdir().unwrap();
    let writer = create(folder.path(), &TEXTS);
    let second = Writer::open(folder.path()).err().unwrap();
    assert!(matches!(second, Error::Busy { .. }), "{second}");
    assert!(second.to_string().contains("another writer is open"), "{second}");
    writer.finish().unwrap();
    Writer::open(folder.path()).unwrap();
}

#[test]
fn the_lock_of_a_dropped_writer_remains_for_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), &TEXTS).finish().unwrap();
    // Another handle of the lock file, as in a child process that did not yet start its program.
    let lock_file = fs::File::open(folder.path().join("words/.tantivy-writer.lock")).unwrap();
    lock_file.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            lock_file.unlock().unwrap();
        });
        Writer::open(folder.path()).unwrap();
    });
    // A lock of another program.
    lock_file.lock().unwrap();
    let error = Writer::open(folder.path()).err().unwrap();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
}

#[test]
fn documents_without_id_twice_or_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), &TEXTS);
    let error = |result: collection::Result<()>| result.unwrap_err().to_string();
    assert!(error(writer.add(&document("", "x"))).contains("the id is empty"));
    assert!(error(writer.add(&document(&"x".repeat(5000), "x"))).contains("5000 bytes"));
    assert!(error(writer.add(&document("a", "x"))).contains("document \"a\": the collection has"));
    writer.add(&document("c", "Sucre")).unwrap();
    for twice in [error(writer.add(&document("c", "x"))), error(writer.update(&document("c", "x")))]
    {
        assert!(twice.contains("document \"c\": the id occurs twice"), "{twice}");
    }
    assert!(error(writer.remove("d")).contains("document \"d\": the collection has no document"));
    writer.remove("b").unwrap();
    assert!(error(writer.remove("b")).contains("twice"));
    for (bounds, problem) in [
        (&[(0, 4), (3, 7)][..], "passage 3..7"),
        (&[(0, 99)], "passage 0..99"),
        (&[(5, 4)], "passage 5..4"),
        (&[(0, 4)], "\"in\" is outside"),
        (&[(5, 12)], "\"lima\" is outside"),
    ] {
        let passages = bounds.iter().map(|&(start, end)| start..end).collect();
        let document = Document { passages, ..document("e", "Lima in Peru") };
        let error = error(writer.add(&document));
        assert!(error.contains(problem), "{error}");
    }
    // The other changes are complete.
    writer.finish().unwrap();
    let expected = [("a", TEXTS[0].1), ("c", "Sucre")];
    let expected = expected.map(|(id, text)| (id.to_owned(), text.to_owned()));
    assert_eq!(documents(&snapshot(folder.path())), expected);
}

#[test]
fn an_empty_collection() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), &[]);
    let collection = Collection::open(folder.path()).unwrap();
    let error = || collection.snapshot().unwrap().select(&"Lima".into(), 9).unwrap_err();
    assert!(matches!(error(), Error::Empty { .. }));
    writer.add(&document("a", "Lima")).unwrap();
    writer.commit().unwrap();
    assert_eq!(collection.snapshot().unwrap().select(&"Lima".into(), 9).unwrap().len(), 1);
    writer.remove("a").unwrap();
    writer.finish().unwrap();
    assert!(error().to_string().contains("has no documents"));
    assert_eq!(documents(&collection.snapshot().unwrap()), []);
}

#[test]
fn creation_that_was_killed_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    // The process was killed after the marker was written.
    fs::write(folder.path().join("collection.json"), "{\"format\": 2}\n").unwrap();
    assert!(Collection::open(folder.path()).is_err());
    let mut writer = Writer::open(folder.path()).unwrap();
    writer.add(&document("a", "Lima")).unwrap();
    writer.finish().unwrap();
    assert_eq!(snapshot(folder.path()).document_count(), 1);
}

/// Copies a folder with its subfolders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Reads everything of a collection.
fn read_all(folder: &Path) -> collection::Result<Vec<Document>> {
    let snapshot = Collection::open(folder)?.snapshot()?;
    snapshot.select(&"Where is Lima in Peru?".into(), 9)?;
    let mut vector = vec![0.0; 4];
    vector[0] = 1.0;
    snapshot.select_hybrid(&"Lima".into(), &vector, 9, &|_| false)?;
    snapshot.documents()?.collect()
}

#[test]
fn files_cut_at_any_byte() {
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original");
    let mut writer = create(&original, &TEXTS);
    let mut probe = vec![0.0; 4];
    probe[0] = 1.0;
    let encoder = collection::Encoder { options: "a".to_owned(), probe: probe.clone() };
    writer.set_encoder(encoder).unwrap();
    writer.add_vectors(vec![(0, probe.clone()), (1, probe)]).unwrap();
    writer.finish().unwrap();
    let expected = read_all(&original).unwrap();
    assert_eq!(expected.len(), 2);
    let copied = folder.path().join("copied");
    copy(&original, &copied);
    let subfolders = ["", "words", "vectors"].map(|name| original.join(name));
    let mut files = Vec::new();
    for entry in subfolders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The locks and the list of files are not read.
        if path.is_file() && !name.starts_with('.') {
            files.push(path);
        }
    }
    assert!(files.len() > 6, "{files:?}");
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let target = copied.join(path.strip_prefix(&original).unwrap());
        // Each byte of a short file, and 150 places of a longer one.
        let step = bytes.len().div_ceil(150);
        for length in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            fs::write(&target, &bytes[..length]).unwrap();
            match read_all(&copied) {
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
                // The line break at the end of a JSON file is no content.
                Ok(documents) => assert!(documents == expected && length + 1 == bytes.len()),
            }
        }
        fs::remove_file(&target).unwrap();
        assert!(read_all(&copied).is_err(), "{}", path.display());
        fs::write(&target, &bytes).unwrap();
    }
    assert_eq!(read_all(&copied).unwrap(), expected);
}
