//! Helpers for tests: small graphs, a tokenizer, files, and runs of the program.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use kg_triples::entity_linking::{LinkedText, Mention};
use kg_triples::jsonl::{self, JsonlReader, Record};
use kg_triples::{Error, GraphBuilder, KnowledgeGraph, LabelKind, Language, Sequence};
use serde::Serialize;
use serde_json::Value;
use tempfile::{TempDir, tempdir};
use tokenizers::Tokenizer;

/// A graph of three countries with their capitals and official languages, labelled in en, de and
/// zh.
pub fn countries() -> KnowledgeGraph {
    KnowledgeGraph::read_dir(testkit::fixture("countries")).unwrap()
}

/// A temporary folder that contains the graph [`countries`] in the folder `kg`.
pub fn countries_folder() -> TempDir {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    dir
}

/// Returns the label of an id in the graph [`countries`].
pub fn label(id: &str, language: &str) -> &'static str {
    static COUNTRIES: LazyLock<KnowledgeGraph> = LazyLock::new(countries);
    COUNTRIES.label(id, language).unwrap()
}

/// A graph of triples (head, relation, tail) and labels (id, language, label).
pub fn graph<T: AsRef<str>>(triples: &[[T; 3]], labels: &[[T; 3]]) -> KnowledgeGraph {
    let mut builder = GraphBuilder::default();
    for [head, relation, tail] in triples {
        builder.add_triple(head.as_ref(), relation.as_ref(), tail.as_ref()).unwrap();
    }
    for [id, language, label] in labels {
        let is_relation = triples.iter().any(|[_, relation, _]| relation.as_ref() == id.as_ref());
        let kind = if is_relation { LabelKind::Relation } else { LabelKind::Entity };
        builder.add_label(id.as_ref(), language.as_ref(), label.as_ref(), kind).unwrap();
    }
    builder.build()
}

/// A graph in which one relation connects each of `heads` entities to each of `tails` entities,
/// labelled in en and de.
pub fn grid(heads: usize, tails: usize) -> KnowledgeGraph {
    let facts = (0..heads).flat_map(|head| (0..tails).map(move |tail| (head, tail)));
    let fact =
        |(head, tail): (usize, usize)| [format!("H{head}"), "P1".to_owned(), format!("T{tail}")];
    let mut labels = Vec::new();
    for language in ["en", "de"] {
        labels.push(["P1", language, "rel"].map(str::to_owned));
        for (letter, count) in [("H", heads), ("T", tails)] {
            labels.extend((0..count).map(|at| {
                [format!("{letter}{at}"), language.to_owned(), format!("{language} {letter}{at}")]
            }));
        }
    }
    graph(&facts.map(fact).collect::<Vec<_>>(), &labels)
}

pub fn language(code: &str) -> Language {
    Language::new(code).unwrap()
}

/// A text in the language `code` whose mentions are given as (substring, entity).
pub fn linked_text(code: &str, text: &str, mentions: &[(&str, &str)]) -> LinkedText {
    let mention = |(part, entity): &(&str, &str)| {
        let start = text[..text.find(part).unwrap()].chars().count();
        Mention { start, end: start + part.chars().count(), entity: (*entity).to_owned() }
    };
    LinkedText {
        id: "t".into(),
        language: language(code),
        entity: None,
        text: text.to_owned(),
        mentions: mentions.iter().map(mention).collect(),
        switched_from: None,
    }
}

/// Returns the text of a mention.
pub fn mention_text(text: &str, mention: &Mention) -> String {
    text.chars().skip(mention.start).take(mention.end - mention.start).collect()
}

/// Runs `work` in a pool of `threads` threads.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// The XLM-R-like tokenizer of the fixtures. Its special tokens have the ids 0 (`<s>`), 1
/// (`<pad>`), 2 (`</s>`) and 3 (`<unk>`); `<mask>` has the largest id.
pub fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(testkit::fixture("tokenizer.json")).unwrap()
}

pub fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(dir.join(name), text).unwrap();
}

/// Compresses bytes with gzip (`gz`), bzip2 in blocks of 100 kB (`bz2`) or zstd with a checksum
/// (`zst`). For any other extension, the bytes are unchanged.
pub fn compressed(bytes: &[u8], extension: &str) -> Vec<u8> {
    match extension {
        "gz" => testkit::gzip(bytes),
        "bz2" => {
            let level = bzip2::Compression::fast();
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zst" => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => bytes.to_owned(),
    }
}

/// Writes records to a file and checks that the same records are read from it.
pub fn expect_round_trip<T: Record + Serialize + PartialEq + Debug>(records: &[T]) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("r.jsonl.gz");
    jsonl::write(&path, records).unwrap();
    assert_eq!(read::<T>(&path), records);
}

/// Returns the error of reading a file `r.jsonl` whose line 3 is `record` with the field `key`
/// changed to `value`.
pub fn changed_line_error<T: Record + Serialize>(record: &T, key: &str, value: Value) -> String {
    let valid = serde_json::to_value(record).unwrap();
    let mut changed = valid.clone();
    changed[key] = value;
    line_error::<T>(&valid.to_string(), &changed.to_string())
}

/// Returns the error of reading a file `r.jsonl` whose line 3 is `invalid`. Checks that nothing is
/// read after this error.
pub fn line_error<T: Record>(valid: &str, invalid: &str) -> String {
    let dir = tempdir().unwrap();
    write(dir.path(), "r.jsonl", format!("{valid}\n\n{invalid}\n{valid}\n"));
    let reader = JsonlReader::<T>::open(dir.path().join("r.jsonl")).unwrap();
    let errors: Vec<_> = reader.skip(1).map(|record| record.err().unwrap()).collect();
    assert!(matches!(errors.as_slice(), [Error::Json { line: 3, .. }]), "{invalid}: {errors:?}");
    errors[0].to_string()
}

/// Reads all lines of a file.
pub fn read<T: Record>(path: impl AsRef<Path>) -> Vec<T> {
    JsonlReader::open(path).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Returns the token ids of a sequence in which masks are replaced by their targets. Masks that
/// predict padding are removed.
pub fn unmasked_ids(sequence: &Sequence) -> Vec<u32> {
    let is_padding = |at: usize| {
        let mut entities = sequence.entities.iter();
        entities.any(|entity| (entity.start + entity.pieces..entity.end).contains(&at))
    };
    let ids = sequence.input_ids.iter().zip(&sequence.labels).enumerate();
    ids.filter(|(at, _)| !is_padding(*at))
        .map(|(_, (input, label))| u32::try_from(*label).unwrap_or(*input))
        .collect()
}

/// Returns the contents of the file `path`, or of all files in the folder `path`.
pub fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if path.is_file() {
        return BTreeMap::from([(path.to_owned(), std::fs::read(path).unwrap())]);
    }
    std::fs::read_dir(path).unwrap().flat_map(|entry| contents(&entry.unwrap().path())).collect()
}

/// Runs the program in a folder.
pub fn run(dir: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    command.current_dir(dir).args(arguments.split_whitespace()).output().unwrap()
}

/// The arguments of `mix` on the graph `kg` with the tokenizer of the fixtures.
pub fn mix_arguments(rest: &str) -> String {
    format!("mix --in kg --tokenizer {} {rest}", testkit::fixture("tokenizer.json").display())
}

/// Runs the command `prefix` with the arguments of each case. Asserts that the command fails with
/// an error that contains the text of the case, and that it writes no file.
#[track_caller]
pub fn expect_errors(dir: &Path, prefix: &str, cases: &[(&str, &str)]) {
    for (arguments, expected) in cases {
        let error = failure(&run(dir, &format!("{prefix} {arguments} --out out.jsonl")));
        assert!(error.contains(expected), "{arguments}: {error}");
        assert!(!dir.join("out.jsonl").exists(), "{arguments}");
    }
}

/// Returns the standard output of a run that must succeed.
#[track_caller]
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the error line of a run. The run must fail with exit code 2 and print nothing except
/// this line.
#[track_caller]
pub fn failure(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty());
    assert!(error.starts_with("error: ") && error.trim_end().lines().count() == 1, "{error}");
    error
}

/// Whether a line of the table consists of the words of `row`.
pub fn has_row(table: &str, row: &str) -> bool {
    table.lines().any(|line| line.split_whitespace().eq(row.split_whitespace()))
}
