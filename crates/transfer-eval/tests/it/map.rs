//! Tests of word vectors, dictionaries and word translation.
use std::path::{Path, PathBuf};

use ndarray::{Array2, array};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use tempfile::TempDir;
use testkit::Program;
use transfer_eval::Error;
use transfer_eval::retrieval::map::{
    Dictionary, Precision, TranslationReport, WordVectors, evaluate_translation,
};

fn file(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn vectors_are_read_with_and_without_a_first_line() {
    let folder = tempfile::tempdir().unwrap();
    // A byte order mark, fastText's space at the end of a line, Windows line ends, a word with a
    // space, a repeated word.
    let text = "\u{feff}4 2\nder 0.5 -1.25 \nNew York 1e-3 2\r\n0 0 7\nder 9 9\n";
    let path = file(&folder, "a.vec", text);
    let vectors = WordVectors::read(&path, 10).unwrap();
    assert_eq!(vectors.words(), ["der", "New York", "0"]);
    assert_eq!(vectors.vectors(), array![[0.5, -1.25], [0.001, 2.0], [0.0, 7.0]]);
    assert_eq!(vectors.repeated(), 1);
    let first = WordVectors::read(&path, 2).unwrap();
    assert_eq!((first.words(), first.repeated()), (&vectors.words()[..2], 0));
    let bare = file(&folder, "b.vec", "der 1 2\ndie 3 4\n");
    assert_eq!(WordVectors::read(bare, 10).unwrap().vectors(), array![[1.0, 2.0], [3.0, 4.0]]);

    let gzip = file(&folder, "a.vec.gz", testkit::gzip(text));
    assert_eq!(WordVectors::read(gzip, 10).unwrap(), vectors);
}

#[test]
fn invalid_vectors_are_errors_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("2 2\na 1 2\nb 1 nan\n", "a.vec:3: `nan` is not a finite float32"),
        ("2 2\na 1 2\nb 1e39 1\n", "a.vec:3: `1e39`"),
        ("a 1 2\nb 1\n", "a.vec:2: 1 values, expected a word and 2 values"),
        ("a\n", "a.vec:1: 0 values, expected a word and 1 values"),
        ("3 2\na 1 2\nb 1 2\n", "a.vec: 2 vectors, but the first line states 3"),
        ("1 2\na 1 2\nb 1 2\n", "a.vec: 2 vectors, but the first line states 1"),
        ("", "a.vec: no vectors"),
    ] {
        let message = WordVectors::read(file(&folder, "a.vec", text), 10).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let path = file(&folder, "b.vec", b"a 1\n\xff 2\n");
    assert!(WordVectors::read(path, 10).unwrap_err().to_string().contains("b.vec:2: not UTF-8"));
}

#[test]
fn written_vectors_are_read_without_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/a.vec");
    let values = array![[0.1f32, f32::MIN_POSITIVE, 1.0], [-1.0e-40, f32::MAX, -0.0]];
    let vectors = WordVectors::new(vec!["New York".into(), "ß".into()], values).unwrap();
    vectors.write(&path).unwrap();
    assert_eq!(WordVectors::read(&path, 10).unwrap(), vectors);
    for word in ["a\nb", " a"] {
        let invalid = WordVectors::new(vec![word.into()], array![[1.0]]).unwrap();
        assert!(matches!(invalid.write(&path), Err(Error::Content { .. })), "{word:?}");
    }
    for (words, vectors) in [
        (vec!["a"], array![[1.0], [2.0]]),
        (vec!["a", "a"], array![[1.0], [2.0]]),
        (vec!["a"], array![[f32::NAN]]),
        (vec![], Array2::zeros((0, 1))),
    ] {
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let result = WordVectors::new(words.clone(), vectors);
        assert!(matches!(result, Err(Error::Array { .. })), "{words:?}");
    }
}

#[test]
fn dictionaries_are_read_and_split() {
    let folder = tempfile::tempdir().unwrap();
    let text = "house Haus\r\nhouse  Gebäude\n\nhouse\tHaus\nNew York\tNew York\n";
    let dictionary = Dictionary::read(file(&folder, "a.txt", text)).unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let expected = [pair("house", "Haus"), pair("house", "Gebäude"), pair("New York", "New York")];
    assert_eq!(dictionary.pairs(), expected);
    for (text, expected) in [
        ("a b\na b c\n", "a.txt:2: expected a source word and a target word"),
        ("Berlin\n", "a.txt:1: expected"),
        ("a\t\n", "a.txt:1: expected"),
        ("a\tb\tc\n", "a.txt:1: expected"),
        ("\n", "a.txt: no pair"),
    ] {
        let message = Dictionary::read(file(&folder, "a.txt", text)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // The fifth and the tenth source word are held out with all of their translations.
    let sources = [0, 1, 2, 3, 4, 4, 5, 6, 0, 7, 8, 9, 4];
    let numbered = sources.iter().enumerate().map(|(k, s)| (s.to_string(), k.to_string()));
    let (rest, held_out) = Dictionary::new(numbered).split();
    let held_out: Vec<&str> = held_out.pairs().iter().map(|(_, target)| &**target).collect();
    assert_eq!((held_out, rest.pairs().len()), (vec!["4", "5", "11", "12"], 9));
}

fn vocabulary(prefix: &str, vectors: Array2<f32>) -> WordVectors {
    let words = (0..vectors.nrows()).map(|row| format!("{prefix}{row}")).collect();
    WordVectors::new(words, vectors).unwrap()
}

fn dictionary(pairs: impl IntoIterator<Item = (usize, usize)>) -> Dictionary {
    Dictionary::new(pairs.into_iter().map(|(s, t)| (format!("s{s}"), format!("t{t}"))))
}

fn from_json<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn array(value: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = from_json(value);
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

#[test]
fn translation_equals_numpy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/map.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (source, target) = (array(&golden["source"]), array(&golden["target"]));
    let training = dictionary(from_json::<Vec<(usize, usize)>>(&golden["pairs"]));
    let expected = &golden["translation"];
    let golds: Vec<(usize, Vec<usize>)> = from_json(&expected["golds"]);
    let golds = golds.iter().flat_map(|(row, golds)| golds.iter().map(|gold| (*row, *gold)));
    let (source, target) = (vocabulary("s", source), vocabulary("t", target));
    let (report, mapped) =
        evaluate_translation(source, target, &training, &dictionary(golds), 4).unwrap();
    let score = |score| serde_json::to_value(score).unwrap();
    assert_eq!(score(report.without_map), expected["without_map"]);
    assert_eq!(score(report.mapped), expected["mapped"]);
    assert_eq!(score(report.refined.unwrap()), expected["refined"]);
    let rounds = expected["rounds"].as_array().unwrap();
    assert_eq!(report.rounds.len(), rounds.len());
    for (round, expected) in report.rounds.iter().zip(rounds) {
        let mean = expected["mean_cosine"].as_f64().unwrap();
        assert!((round.mean_cosine - mean).abs() < 1e-7, "{round:?}, expected {mean}");
        assert_eq!(round.mutual_pairs, from_json::<usize>(&expected["mutual_pairs"]));
    }
    assert_eq!((mapped.source.words().len(), mapped.target.words().len()), (60, 50));
}

/// Translates with a map that is the identity: the training pairs are equal vectors.
fn translate(source: Array2<f32>, target: Array2<f32>, test: &Dictionary) -> TranslationReport {
    let training = dictionary((0..source.nrows()).map(|row| (row, row)));
    let (source, target) = (vocabulary("s", source), vocabulary("t", target));
    evaluate_translation(source, target, &training, test, 0).unwrap().0
}

#[test]
fn equal_vocabularies_are_translated_and_ties_are_not() {
    // The corners of a cube are distinct vectors with mean 0.
    let cube = Array2::from_shape_fn((8, 3), |(row, k)| if row >> k & 1 == 1 { 1.0 } else { -1.0 });
    let all = Precision { p_at_1: 100.0, p_at_5: 100.0, p_at_10: 100.0 };
    // Two translations of which one has a vector, no translation with a vector, no source word.
    let test = dictionary([(0, 99), (0, 0), (1, 1), (2, 98), (77, 3)]);
    let report = translate(cube.clone(), cube.clone(), &test);
    assert_eq!((report.mapped.cosine, report.mapped.csls), (all, all));
    assert_eq!((report.test_words, report.scored_words, report.chance), (4, 2, 12.5));
    assert_eq!((report.training_pairs, report.test_words_in_training), (8, 3));

    // Each vector occurs twice, so that a wrong candidate is ranked before the translation.
    let doubled = ndarray::concatenate![ndarray::Axis(0), cube, cube];
    let report = translate(doubled.clone(), doubled.clone(), &dictionary([(0, 0), (9, 9)]));
    assert_eq!((report.mapped.cosine.p_at_1, report.mapped.cosine.p_at_5), (0.0, 100.0));
    // The two candidates are both correct.
    let report = translate(doubled.clone(), doubled, &dictionary([(0, 0), (0, 8)]));
    assert_eq!(report.mapped.cosine.p_at_1, 100.0);
}

#[test]
fn nothing_to_fit_or_to_score_is_an_error() {
    let vectors = || vocabulary("s", array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
    let targets = || vocabulary("t", array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
    let (good, bad) = (dictionary([(0, 0)]), dictionary([(7, 7)]));
    for (training, test) in [(&good, &bad), (&bad, &good)] {
        let result = evaluate_translation(vectors(), targets(), training, test, 0);
        assert!(matches!(result, Err(Error::Nothing { .. })));
    }
    let other = vocabulary("t", array![[1.0, 0.0, 2.0]]);
    assert!(matches!(
        evaluate_translation(vectors(), other, &good, &good, 0),
        Err(Error::Array { .. })
    ));
}

#[test]
fn vectors_are_means_of_token_embeddings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base");
    let words = ["Haus", "Haus", "New York"].map(str::to_owned);
    let vectors = WordVectors::from_token_embeddings(&root, words[1..].to_vec()).unwrap();
    let tokenizer = tokenizer_file::read(&root).unwrap();
    let bytes = std::fs::read(root.join("model.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = model.tensor("roberta.embeddings.word_embeddings.weight").unwrap();
    let width = tensor.shape()[1];
    let values: Vec<f32> =
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    for (word, vector) in std::iter::zip(&words[1..], vectors.vectors().outer_iter()) {
        let encoding = tokenizer.encode(word.as_str(), false).unwrap();
        for (k, value) in vector.iter().enumerate() {
            let of_token = |id: &u32| f64::from(values[*id as usize * width + k]);
            let sum: f64 = encoding.get_ids().iter().map(of_token).sum();
            assert_eq!(*value, (sum / encoding.len() as f64) as f32);
        }
    }
    let repeated = WordVectors::from_token_embeddings(&root, words.to_vec()).unwrap_err();
    assert!(repeated.to_string().contains("a word is repeated"), "{repeated}");
    let blank = WordVectors::from_token_embeddings(&root, vec![" ".into()]).unwrap_err();
    assert!(blank.to_string().contains("no token"), "{blank}");

    let folder = tempfile::tempdir().unwrap();
    let copied = std::fs::copy(root.join("tokenizer.json"), folder.path().join("tokenizer.json"));
    copied.unwrap();
    let data = [0; 16];
    let view = |shape: [usize; 2]| TensorView::new(Dtype::F32, shape.to_vec(), &data).unwrap();
    for (tensors, expected) in [
        (vec![("other", view([2, 2]))], "0 tensors of token embeddings"),
        (
            vec![
                ("a.word_embeddings.weight", view([2, 2])),
                ("b.word_embeddings.weight", view([2, 2])),
            ],
            "2 tensors of token embeddings (a.word_embeddings.weight, b.word_embeddings.weight)",
        ),
        (vec![("word_embeddings.weight", view([2, 2]))], "has 2 rows; is this the model's"),
    ] {
        let bytes = safetensors::serialize(tensors, None).unwrap();
        file(&folder, "model.safetensors", bytes);
        let result = WordVectors::from_token_embeddings(folder.path(), vec!["Haus".into()]);
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_program_prints_scores_and_rejects_invalid_files() {
    let program = Program::new(env!("CARGO_BIN_EXE_transfer-eval"));
    let vectors = |prefix: &str, width: usize| {
        (0..10)
            .map(|row| {
                let value = |k: usize| ((row * 7 + k * 3) % 11).to_string();
                format!("{prefix}{row} {}\n", (0..width).map(value).collect::<Vec<_>>().join(" "))
            })
            .collect::<String>()
    };
    program.write("s.vec", vectors("s", 3));
    program.write("t.vec", vectors("t", 3));
    program.write("wide.vec", vectors("t", 4));
    program.write("all.txt", (0..10).map(|k| format!("s{k} t{k}\n")).collect::<String>());
    let line = "map --source s.vec --target t.vec --dictionary all.txt";
    let run = program.expect_success(&format!("{line} --refine 2 --out mapped"));
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["mapped"]["cosine"]["p_at_1"], 100.0);
    assert_eq!((&report["training_pairs"], &report["scored_words"]), (&8.into(), &2.into()));
    assert_eq!(run.err, "");
    let mapped = WordVectors::read(program.path_of("mapped/source.vec"), 10).unwrap();
    assert_eq!(mapped.vectors().dim(), (10, 3));
    let leak = program.expect_success(&format!("{line} --test all.txt")).err;
    assert!(leak.contains("10 of 10 test words are source words of training pairs"), "{leak}");
    program.write("two.txt", "s0 t0\ns1 t1\n");
    let few = format!("{line} --test all.txt").replace("all.txt --test", "two.txt --test");
    let few = program.expect_success(&few).err;
    assert!(few.contains("2 training pairs for 3 dimensions"), "{few}");
    program.expect_only_errors(&[
        (
            "map --source s.vec --target wide.vec --dictionary all.txt",
            &["wide.vec: 4 dimensions", "s.vec has 3"],
        ),
        ("map --source s.vec --target t.vec --dictionary none.txt", &["none.txt"]),
        ("map --model none --dictionary all.txt", &["none"]),
    ]);
}
