//! Tests of translations from files and the cache.
use std::fs;
use std::path::Path;

use crate::common::{DE, EN, ES, FunctionTranslator};
use qa_translate::{Cached, Error, FileTranslator, MissingText, Translator};

fn entry(to: &str, source: &str, target: &str) -> String {
    format!("{{\"from\":\"en\",\"to\":\"{to}\",\"source\":\"{source}\",\"target\":\"{target}\"}}\n")
}

fn line_count(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

/// Opens a cache whose translator returns no translations.
fn open_cache(path: &Path) -> Result<Cached<impl Translator + use<>>, Error> {
    Cached::open(FunctionTranslator(|_: &str| None), path)
}

#[test]
fn translations_are_looked_up_by_languages_and_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let german = entry("de", "dog", "Hund");
    fs::write(&path, format!("{german}\n{}{german}", entry("es", "dog", "perro"))).unwrap();
    let mut file = FileTranslator::read(&path, MissingText::Skip).unwrap();
    let actual = file.translate(&["dog", "cat", "dog"], EN, DE).unwrap();
    assert_eq!(actual, [Some("Hund".into()), None, Some("Hund".into())]);
    assert_eq!(file.translate(&["dog"], EN, ES).unwrap(), [Some("perro".into())]);
    assert_eq!(file.translate(&["dog"], DE, EN).unwrap(), [None]);
    let mut strict = FileTranslator::read(&path, MissingText::Error).unwrap();
    let error = strict.translate(&["dog", "cat"], EN, DE).unwrap_err().to_string();
    assert!(
        error.contains("t.jsonl") && error.contains("\"cat\"") && error.contains("en to de"),
        "{error}"
    );
}

#[test]
fn file_errors_contain_the_line_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    for (second, words) in [
        (entry("de", "dog", "Köter"), "a second translation, \"Köter\" after \"Hund\""),
        ("{\"from\": \"en\"}\n".to_owned(), "missing field `to`"),
        (entry("x x", "dog", "?"), "expected a language code"),
        ("\"from\"\n".to_owned(), "invalid type"),
        ("{\"from\": \"en\", \"x\": 1}\n".to_owned(), "unknown field `x`"),
    ] {
        fs::write(&path, entry("de", "dog", "Hund") + &second).unwrap();
        let error = FileTranslator::read(&path, MissingText::Skip).unwrap_err();
        assert!(matches!(error, Error::Line { line: 2, .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let missing = FileTranslator::read(folder.path().join("none"), MissingText::Skip).unwrap_err();
    assert!(matches!(missing, Error::File(_)));
}

#[test]
fn the_cache_requests_a_text_once_and_persists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/cache.jsonl");
    let mut requested = Vec::new();
    {
        let inner = FunctionTranslator(|text: &str| {
            requested.push(text.to_owned());
            (text != "no").then(|| text.to_uppercase())
        });
        let mut cached = Cached::open(inner, &path).unwrap();
        let actual = cached.translate(&["a", "b", "a", "no", "c"], EN, DE).unwrap();
        let expected = ["A", "B", "A"].map(|t| Some(t.to_owned()));
        assert_eq!(actual[..3], expected);
        assert_eq!((actual[3].as_deref(), actual[4].as_deref()), (None, Some("C")));
        cached.translate(&["a"], EN, DE).unwrap();
        // A translation of the same text into another language is a separate request.
        cached.translate(&["a"], EN, ES).unwrap();
        assert_eq!(line_count(&path), 4);
    }
    assert_eq!(requested, ["a", "b", "no", "c", "a"]);
    // The cache is a valid file of translations, and a restarted program sends no request for
    // cached texts.
    let mut file = FileTranslator::read(&path, MissingText::Error).unwrap();
    assert_eq!(file.translate(&["c"], EN, DE).unwrap(), [Some("C".into())]);
    let mut reopened =
        Cached::open(FunctionTranslator(|_: &str| panic!("requested again")), &path).unwrap();
    assert_eq!(reopened.translate(&["b", "a"], EN, DE).unwrap().len(), 2);
}

#[test]
fn an_incomplete_last_line_is_removed_and_other_invalid_lines_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.jsonl");
    let all_lines = entry("de", "a", "A") + &entry("de", "b", "B");
    for cut in 0..=all_lines.len() {
        fs::write(&path, &all_lines.as_bytes()[..cut]).unwrap();
        let mut cached =
            Cached::open(FunctionTranslator(|text: &str| Some(text.to_uppercase())), &path)
                .unwrap();
        assert_eq!(line_count(&path), all_lines[..cut].matches('\n').count(), "{cut}");
        cached.translate(&["a", "b"], EN, DE).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), all_lines, "{cut}");
    }
    // A line of zeros, which a power failure can cause, is removed.
    fs::write(&path, [entry("de", "a", "A").as_bytes(), b"\0\0\0\n"].concat()).unwrap();
    open_cache(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), entry("de", "a", "A"));
    // A last line is removed only if it may be the start of a line of the cache.
    for other in ["{", "{\"data\": []}", "{\"from\": \"en", "{\"from\":\"en\"}\n", "text"] {
        let is_incomplete = "{\"from\":".starts_with(other);
        fs::write(&path, entry("de", "a", "A") + other).unwrap();
        let opened = open_cache(&path);
        assert_eq!(opened.is_ok(), is_incomplete, "{other}");
        let tail = if is_incomplete { "" } else { other };
        assert_eq!(fs::read_to_string(&path).unwrap(), entry("de", "a", "A") + tail);
    }
    fs::write(&path, format!("{{\"from\n{all_lines}")).unwrap();
    let error = open_cache(&path).err().unwrap();
    assert!(matches!(error, Error::Line { line: 1, .. }), "{error}");
}

#[test]
fn blank_translations_are_requested_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.jsonl");
    fs::write(&path, entry("de", "a", "") + &entry("de", "b", "B") + "\n").unwrap();
    let mut requested = Vec::new();
    let mut cached = Cached::open(
        FunctionTranslator(|text: &str| {
            requested.push(text.to_owned());
            Some(if text == "c" { " ".to_owned() } else { text.to_uppercase() })
        }),
        &path,
    )
    .unwrap();
    let actual = cached.translate(&["a", "b", "c"], EN, DE).unwrap();
    assert_eq!(actual, [Some("A".into()), Some("B".into()), None]);
    cached.translate(&["a", "c"], EN, DE).unwrap();
    drop(cached);
    assert_eq!(requested, ["a", "c", "c"]);
    let mut reopened = open_cache(&path).unwrap();
    assert_eq!(reopened.translate(&["a", "b", "c"], EN, DE).unwrap(), actual);
}

#[cfg(unix)]
#[test]
fn a_cache_is_locked_while_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.jsonl");
    let first = open_cache(&path).unwrap();
    let error = open_cache(&path).err().unwrap().to_string();
    assert!(error.contains("cache.jsonl") && error.contains("in use by another run"), "{error}");
    drop(first);
    open_cache(&path).unwrap();
}
