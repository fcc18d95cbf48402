//! Files of vectors and dictionaries: what is read, and what is refused with its place.
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{Array2, array};
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;
use transfer_eval::retrieval::map::{Dictionary, WordVectors, read_labels, read_texts};

fn file(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[track_caller]
fn refused(path: &Path, words: Option<&Path>, expected: &[&str]) {
    let message = WordVectors::read(path, words, None).unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn text_is_read_with_and_without_its_first_line() {
    let folder = tempfile::tempdir().unwrap();
    // A space at the end as fastText writes it, Windows' ends, a mark, a word with a space.
    let text = "\u{feff}3 2\nder 0.5 -1.25 \nNew York 1e-3 2\r\n0 0 7\n";
    let plain = WordVectors::read(file(&folder, "a.vec", text), None, None).unwrap();
    assert_eq!(plain.words(), ["der", "New York", "0"]);
    assert_eq!(plain.vectors(), array![[0.5, -1.25], [0.001, 2.0], [0.0, 7.0]]);
    let bare = WordVectors::read(file(&folder, "a.txt", "der 1 2\ndie 3 4\n"), None, None);
    assert_eq!(bare.unwrap().vectors(), array![[1.0, 2.0], [3.0, 4.0]]);

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = file(&folder, "a.vec.gz", packed.finish().unwrap());
    assert_eq!(WordVectors::read(packed, None, None).unwrap(), plain);
}

#[test]
fn the_first_words_are_taken_and_repeated_ones_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.vec", "4 1\na 1\nb 2\na 3\nc nan\n");
    let vectors = WordVectors::read(&path, None, Some(2)).unwrap();
    assert_eq!((vectors.words().len(), vectors.repeated()), (2, 0));
    let path = file(&folder, "b.vec", "4 1\na 1\nb 2\na 3\nc 4\n");
    let vectors = WordVectors::read(&path, None, Some(3)).unwrap();
    assert_eq!((vectors.words(), vectors.repeated()), (&["a", "b", "c"].map(String::from)[..], 1));
    assert_eq!(vectors.vectors(), array![[1.0], [2.0], [4.0]]);
}

#[test]
fn bad_text_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("2 2\na 1 2\nb 1 nan\n", "a.vec:3: `b`: `nan` is no finite float32"),
        ("2 2\na 1 2\nb inf 1\n", "a.vec:3: `b`: `inf`"),
        ("2 2\na 1 2\nb 1e39 1\n", "a.vec:3: `b`: `1e39`"),
        ("2 2\na 1 2\nb 1 x\n", "a.vec:3: `b`: `x`"),
        ("a 1 2\nb 1\n", "a.vec:2: `b` has 1 values; expected 2"),
        ("a\n", "a.vec:1: `a` has 0 values"),
        ("3 2\na 1 2\nb 1 2\n", "a.vec: 2 vectors, but its first line says 3"),
        ("1 2\na 1 2\nb 1 2\n", "a.vec: 2 vectors, but its first line says 1"),
        ("", "a.vec: no vectors"),
    ] {
        refused(&file(&folder, "a.vec", text), None, &[expected]);
    }
    let bad = file(&folder, "b.vec", b"a 1\n\xff 2\n");
    refused(&bad, None, &["b.vec:2: not UTF-8"]);
    // A header alone reserves no memory.
    refused(&file(&folder, "c.vec", "4000000000 4000000000\na 1\n"), None, &["c.vec:2:"]);
}

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn arrays_of_numpy_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let words = file(&folder, "words.txt", "der\nNew York\n");
    let header = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
    };
    let single: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let double: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    for (descr, data) in [("<f4", &single), ("<f8", &double)] {
        let path = file(&folder, "a.npy", npy(&header(descr, "False", "(2, 2)"), data));
        let vectors = WordVectors::read(&path, Some(&words), None).unwrap();
        assert_eq!(vectors.vectors(), array![[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(vectors.words(), ["der", "New York"]);
        let first = WordVectors::read(&path, Some(&words), Some(1)).unwrap();
        assert_eq!((first.words().len(), first.vectors().dim()), (1, (1, 2)));
    }
    let case = |header: String, data: &[u8], expected: &str| {
        let path = file(&folder, "b.npy", npy(&header, data));
        refused(&path, Some(&words), &[expected]);
    };
    case(header("<f4", "True", "(2, 2)"), &single, "Fortran");
    case(header("<i8", "False", "(2, 2)"), &single, "`<i8`");
    case(header("<f4", "False", "(4,)"), &single, "two dimensions");
    case(header("<f4", "False", "(3, 2)"), &single, "ends early");
    case(header("<f4", "False", "(4, 1)"), &single, "4 rows");
    case("{}".into(), &single, "no header");
    let nan: Vec<u8> = [1.0f32, 2.0, 3.0, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
    case(header("<f4", "False", "(2, 2)"), &nan, "row 2 has a value that is no finite");
    let path = file(&folder, "c.npy", b"no");
    refused(&path, Some(&words), &["not a .npy file"]);
    refused(&path, None, &["c.npy: holds no words"]);
    refused(&file(&folder, "d.vec", "a 1\n"), Some(&words), &["a text file holds its words"]);
}

#[test]
fn tensors_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let words = file(&folder, "words.txt", "a\nb\n");
    let data: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = |shape: Vec<usize>| TensorView::new(Dtype::F32, shape, &data).unwrap();
    let store = |tensors: Vec<(&str, TensorView<'_>)>| {
        let bytes = safetensors::serialize(tensors, None).unwrap();
        file(&folder, "a.safetensors", bytes)
    };
    for tensors in [
        vec![("anything", view(vec![2, 2]))],
        vec![("first", view(vec![4])), ("vectors", view(vec![2, 2])), ("x", view(vec![4]))],
    ] {
        let read = WordVectors::read(store(tensors), Some(&words), None).unwrap();
        assert_eq!(read.vectors(), array![[1.0, 2.0], [3.0, 4.0]]);
    }
    let path = store(vec![("a", view(vec![2, 2])), ("b", view(vec![4]))]);
    refused(&path, Some(&words), &["no tensor `vectors`; it has `a`, `b`"]);
    refused(&store(vec![("a", view(vec![4]))]), Some(&words), &["`a` is F32 of shape [4]"]);
    let path = store(vec![("a", view(vec![2, 2]))]);
    let bytes = std::fs::read(&path).unwrap();
    let cut = file(&folder, "cut.safetensors", &bytes[..bytes.len() - 1]);
    refused(&cut, Some(&words), &["cut.safetensors: ends early"]);
    let header = file(&folder, "header.safetensors", &bytes[..20]);
    refused(&header, Some(&words), &["header.safetensors: not a safetensors file"]);
}

#[test]
fn what_is_written_is_read_back_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/a.vec");
    let values = array![[0.1f32, f32::MIN_POSITIVE, 1.0], [-1.0e-40, f32::MAX, -0.0]];
    let vectors = WordVectors::new(vec!["New York".into(), "ß".into()], values).unwrap();
    vectors.write(&path).unwrap();
    assert_eq!(WordVectors::read(&path, None, None).unwrap(), vectors);
    let broken = WordVectors::new(vec!["a\nb".into()], Array2::zeros((1, 1))).unwrap();
    assert!(broken.write(&path).unwrap_err().to_string().contains("a\\nb"));
}

#[test]
fn dictionaries_are_read_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = "house Haus\r\nhouse  Gebäude\n\nhouse\tHaus\nNew York\tNew York\nBerlin\n";
    let dictionary = Dictionary::read(file(&folder, "a.txt", text)).unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let expected = [
        pair("house", "Haus"),
        pair("house", "Gebäude"),
        pair("New York", "New York"),
        pair("Berlin", "Berlin"),
    ];
    assert_eq!(dictionary.pairs(), expected);
    assert_eq!(dictionary.reversed().pairs()[1], pair("Gebäude", "house"));
    for (text, expected) in [
        ("a b\na b c\n", "a.txt:2: expected a source word and a target word"),
        ("a\t\n", "a.txt:1: an empty cell"),
        ("a\tb\tc\n", "a.txt:1: expected"),
        ("\n", "a.txt: no pair"),
    ] {
        let message = Dictionary::read(file(&folder, "a.txt", text)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn texts_and_labels_name_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.tsv", "n1\tEin Satz.\nn2 kein\n");
    assert!(read_texts(path).unwrap_err().to_string().contains("a.tsv:2: no tab"));
    let labels = "id\tlang\tlabel\tkind\nQ1\tde\tBern\tentity\nP1\tde\tin\trelation\n";
    let path = file(&folder, "l.tsv", labels);
    assert_eq!(read_labels(&path, "de").unwrap(), [("Q1".to_owned(), "Bern".to_owned())]);
    assert!(read_labels(&path, "fr").unwrap_err().to_string().contains("l.tsv: no text"));
    let path = file(&folder, "m.tsv", "Q1\tde\tBern\n");
    assert!(read_labels(path, "de").unwrap_err().to_string().contains("m.tsv:1:"));
}
