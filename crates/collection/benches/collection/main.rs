//! Measures collections: recall on XQuAD, the speed of building compared with tantivy's own writer and
//! tokenizer, and the time and memory of questions.
//!
//! Each measurement runs in a separate process, so that its peak memory is that of the measurement.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs)] // a program for developers

mod texts;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use collection::{Collection, Document, Encoder, Query, Writer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tantivy::schema::{IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexWriter, TantivyDocument};
use texts::{Paragraphs, Texts, questions};

/// Elements of the vectors.
const WIDTH: usize = 384;

/// Number of times that the speed of building is compared.
const ROUNDS: usize = 3;

/// Maximum number of texts of a comparison.
const COMPARED_TEXTS: usize = 100_000;

/// Number of passages per question.
const CANDIDATES: usize = 50;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Measurement>,
    /// Number of texts of 114 words
    #[arg(long, default_value_t = 100_000)]
    passages: usize,
    /// Also measure vectors (random ones of 384 elements)
    #[arg(long)]
    vectors: bool,
    /// Measure only the recall on question files in SQuAD's format (.json or .json.gz), each in a
    /// collection
    #[arg(long, num_args = 1.., value_name = "FILE")]
    sets: Vec<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Measurement {
    Generate { passages: usize },
    Tantivy { passages: usize, folder: PathBuf },
    Build { passages: usize, folder: PathBuf },
    Embed { folder: PathBuf },
    Ask { folder: PathBuf },
    AskVectors { folder: PathBuf },
    Recall { folder: PathBuf, file: Option<PathBuf> },
}

fn main() {
    let options = Options::parse();
    match options.command {
        Some(Measurement::Generate { passages }) => {
            let start = Instant::now();
            let bytes: usize = Texts::new(1).take(passages).map(|text| text.len()).sum();
            report("generate texts", start.elapsed(), &format!("{} MB", bytes / 1_000_000));
        }
        Some(Measurement::Tantivy { passages, folder }) => build_with_tantivy(passages, &folder),
        Some(Measurement::Build { passages, folder }) => build(passages, &folder),
        Some(Measurement::Embed { folder }) => embed(&folder),
        Some(Measurement::Ask { folder }) => ask(&folder, false),
        Some(Measurement::AskVectors { folder }) => ask(&folder, true),
        Some(Measurement::Recall { folder, file: None }) => recall(&folder, &texts::xquad()),
        Some(Measurement::Recall { folder, file: Some(file) }) => {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            recall(&folder, &[(name, texts::read(&file))]);
        }
        None if options.bench => run_all(&options),
        None => {}
    }
}

fn run_all(options: &Options) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    if !options.sets.is_empty() {
        for (number, file) in options.sets.iter().enumerate() {
            run(&["recall", &path(&number.to_string()), &file.to_string_lossy()]);
        }
        return;
    }
    let passages = options.passages.to_string();
    run(&["recall", &path("recall")]);
    run(&["generate", &passages]);
    compare_builds(options.passages.min(COMPARED_TEXTS), folder.path());
    run(&["tantivy", &passages, &path("tantivy")]);
    run(&["build", &passages, &path("words")]);
    run(&["ask", &path("words")]);
    if options.vectors {
        run(&["embed", &path("words")]);
        run(&["ask-vectors", &path("words")]);
    }
}

/// Runs a measurement in a separate process, and returns its output.
fn run(arguments: &[&str]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(arguments).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    print!("{text}");
    assert!(output.status.success(), "{arguments:?}");
    text
}

/// Builds with tantivy and as a collection in turn, so that other programs on the machine affect both,
/// and prints the ratio of the processor times.
fn compare_builds(passages: usize, folder: &Path) {
    let passages = passages.to_string();
    let measure = |name: &str, round: usize| {
        let folder = folder.join(format!("{name}-{round}"));
        let output = run(&[name, &passages, &folder.to_string_lossy()]);
        std::fs::remove_dir_all(folder).unwrap();
        processor_seconds(&output)
    };
    let (mut tantivy, mut collection, mut ratios) = (0.0, 0.0, Vec::new());
    for round in 1..=ROUNDS {
        let (expected, actual) = (measure("tantivy", round), measure("build", round));
        tantivy += expected;
        collection += actual;
        ratios.push(format!("{:.2}", expected / actual));
    }
    println!(
        "building {passages} texts in turn: {:.2} times tantivy's speed by processor time (rounds: {})",
        tantivy / collection,
        ratios.join(", ")
    );
}

/// Returns the processor time that [`report`] printed.
fn processor_seconds(output: &str) -> f64 {
    let (before, _) = output.split_once(" s of processor time").unwrap();
    before.rsplit_once('(').unwrap().1.parse().unwrap()
}

/// Prints a measurement with the process's time and peak memory.
fn report(name: &str, elapsed: Duration, details: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    // The fields of proc(5): user and system time in units of 10 ms.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let processor: f64 = [11, 12].map(|k| fields[k].parse::<f64>().unwrap() / 100.0).iter().sum();
    println!(
        "{name}: {:.2} s ({processor:.2} s of processor time), peak {} MiB, at the end without files {} MiB; {details}",
        elapsed.as_secs_f64(),
        value("VmHWM:"),
        value("RssAnon:"),
    );
}

fn folder_mb(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        bytes += if metadata.is_dir() { folder_mb(&entry.path()) << 20 } else { metadata.len() };
    }
    bytes >> 20
}

/// The baseline: one writer thread, the default tokenizer, texts and ids stored.
fn build_with_tantivy(passages: usize, folder: &Path) {
    let start = Instant::now();
    std::fs::create_dir_all(folder).unwrap();
    let mut schema = Schema::builder();
    let id = schema.add_text_field("id", STRING | STORED);
    let terms = TextFieldIndexing::default()
        .set_tokenizer("default")
        .set_index_option(IndexRecordOption::WithFreqs);
    let options = TextOptions::default().set_indexing_options(terms).set_stored();
    let text = schema.add_text_field("text", options);
    let index = Index::create_in_dir(folder, schema.build()).unwrap();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 100 << 20).unwrap();
    for (number, passage) in Texts::new(1).take(passages).enumerate() {
        let mut document = TantivyDocument::new();
        document.add_text(id, number.to_string());
        document.add_text(text, passage);
        writer.add_document(document).unwrap();
    }
    writer.commit().unwrap();
    writer.wait_merging_threads().unwrap();
    report("build with tantivy", start.elapsed(), &format!("{} MiB on disk", folder_mb(folder)));
}

fn build(passages: usize, folder: &Path) {
    let start = Instant::now();
    let mut writer = Writer::create(folder).unwrap();
    for (number, text) in Texts::new(1).take(passages).enumerate() {
        let document =
            Document { id: number.to_string().into(), text: text.into(), passages: Vec::new() };
        writer.add(&document).unwrap();
    }
    writer.finish().unwrap();
    report("build a collection", start.elapsed(), &format!("{} MiB on disk", folder_mb(folder)));
}

fn random_vector(rng: &mut ChaCha8Rng) -> Vec<f32> {
    let vector: Vec<f32> = (0..WIDTH).map(|_| rng.random_range(-1.0..1.0)).collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / norm).collect()
}

fn embed(folder: &Path) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let start = Instant::now();
    let mut writer = Writer::open(folder).unwrap();
    let encoder = Encoder { options: String::new(), probe: random_vector(&mut rng) };
    writer.set_encoder(encoder).unwrap();
    let numbers = writer.snapshot().passages_without_vectors().unwrap();
    for numbers in numbers.chunks(16_384) {
        let rows = numbers.iter().map(|&number| (number, random_vector(&mut rng))).collect();
        writer.add_vectors(rows).unwrap();
        writer.commit().unwrap();
    }
    writer.finish().unwrap();
    report("add random vectors", start.elapsed(), &format!("{} MiB on disk", folder_mb(folder)));
}

/// Returns the median and the 95th percentile in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p95 {:.1} ms", ms(50), ms(95))
}

fn ask(folder: &Path, with_vectors: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let questions = questions(200);
    let start = Instant::now();
    let snapshot = Collection::open(folder).unwrap().snapshot().unwrap();
    let mut ask = |question: &str| {
        let query = Query::from(question);
        match with_vectors {
            true => {
                let vector = random_vector(&mut rng);
                snapshot.select_hybrid(&query, &vector, CANDIDATES, &|_| false).unwrap()
            }
            false => snapshot.select(&query, CANDIDATES).unwrap(),
        }
    };
    let first = ask(&questions[0]);
    let opened = start.elapsed();
    assert_eq!(first.len(), CANDIDATES);
    let timed = |question: &String| {
        let start = Instant::now();
        ask(question);
        start.elapsed()
    };
    let times: Vec<Duration> = questions.iter().map(timed).collect();
    let name = if with_vectors { "words and vectors" } else { "words" };
    let details = format!(
        "{} passages, open and first question {:.0} ms, {} questions: {}",
        snapshot.passage_count(),
        opened.as_secs_f64() * 1e3,
        questions.len(),
        percentiles(times)
    );
    report(name, start.elapsed(), &details);
}

/// Recall of paragraphs, with the paragraphs of all languages or sets in one collection.
fn recall(folder: &Path, all: &[(String, Paragraphs)]) {
    let start = Instant::now();
    let mut writer = Writer::create(folder).unwrap();
    for (language, paragraphs) in all {
        for (index, (text, _)) in paragraphs.iter().enumerate() {
            let id = format!("{language}-{index}").into();
            writer.add(&Document { id, text: text.as_str().into(), passages: Vec::new() }).unwrap();
        }
    }
    writer.finish().unwrap();
    let snapshot = Collection::open(folder).unwrap().snapshot().unwrap();
    println!("| one collection | questions | recall@1 / @5 / @50 |\n|---|---:|---:|");
    let (mut sums, mut total) = ([0.0; 3], 0.0);
    for (language, paragraphs) in all {
        let (mut hits, mut count) = ([0u32; 3], 0u32);
        for (index, (_, questions)) in paragraphs.iter().enumerate() {
            let gold = format!("{language}-{index}");
            for question in questions {
                let found = snapshot.select(&question.as_str().into(), CANDIDATES).unwrap();
                let rank = found.iter().position(|hit| *hit.passage.document == gold);
                for (hit, limit) in hits.iter_mut().zip([1, 5, 50]) {
                    *hit += u32::from(rank.is_some_and(|rank| rank < limit));
                }
                count += 1;
            }
        }
        let percent = hits.map(|hit| 100.0 * f64::from(hit) / f64::from(count));
        println!("| {language} | {count} | {} |", percent.map(|x| format!("{x:.1}")).join(" / "));
        sums.iter_mut().zip(percent).for_each(|(sum, value)| *sum += value);
        total += 1.0;
    }
    let mean = sums.map(|sum| format!("{:.1}", sum / total)).join(" / ");
    println!("| mean | | {mean} |\n");
    report("recall", start.elapsed(), "");
}
