//! Measures the recall of paragraphs with the terms of this crate and with lower-case words
//! (UAX #29), on files of questions in SQuAD's format.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs)] // a program for developers

mod index;
mod spelling;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Parser;
use index::{Index, Split};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spelling::FORMS;
use unicode_segmentation::UnicodeSegmentation;

const XQUAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/xquad");

/// Recall of paragraphs by BM25 with two splittings into terms.
///
/// Prints recall@1 / @5 / @50 in percent, and the difference with its 95 % interval (bootstrap over
/// articles).
#[derive(Parser)]
struct Options {
    /// Question files, .json or .json.gz [default: XQuAD in en, de, es, ar, hi, vi, zh]
    files: Vec<PathBuf>,
    /// Put all files into one index
    #[arg(long)]
    mixed: bool,
    /// Measure spelling forms of the paragraphs
    #[arg(long)]
    forms: bool,
    /// Use every Nth question
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Lower-case words by UAX #29, without folding.
fn split_words(text: &str, visit: &mut dyn FnMut(&str)) {
    text.unicode_words().for_each(|word| visit(&word.to_lowercase()));
}

fn split_terms(text: &str, visit: &mut dyn FnMut(&str)) {
    language::for_each_term(text, visit);
}

const SPLITTINGS: [(&str, Split); 2] = [("words", split_words), ("terms", split_terms)];

/// Paragraphs and questions. A question has the index of its paragraph and of its article.
struct Questions {
    name: String,
    paragraphs: Vec<String>,
    questions: Vec<(String, usize, usize)>,
}

impl Questions {
    fn read(path: &Path, every: usize) -> Self {
        let mut bytes = std::fs::read(path).unwrap();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut unpacked = Vec::new();
            flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked).unwrap();
            bytes = unpacked;
        }
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut all = Self { name, paragraphs: Vec::new(), questions: Vec::new() };
        let mut indices = HashMap::new();
        for (article_index, article) in value["data"].as_array().unwrap().iter().enumerate() {
            for paragraph in article["paragraphs"].as_array().unwrap() {
                let context = paragraph["context"].as_str().unwrap();
                let index = *indices.entry(context.to_owned()).or_insert_with(|| {
                    all.paragraphs.push(context.to_owned());
                    all.paragraphs.len() - 1
                });
                for question in paragraph["qas"].as_array().unwrap() {
                    let question = question["question"].as_str().unwrap().to_owned();
                    all.questions.push((question, index, article_index));
                }
            }
        }
        all.questions = all.questions.into_iter().step_by(every).collect();
        all
    }
}

/// The hits of a question: whether its paragraph is among the first 1, 5 and 50.
type Hits = [f64; 3];

fn hits(index: &Index, first: usize, questions: &Questions) -> Vec<(usize, Hits)> {
    let hit = |(question, gold, article): &(String, usize, usize)| {
        let rank = index.rank(question, first + gold);
        (*article, [1, 5, 50].map(|count| f64::from(u8::from(rank < count))))
    };
    questions.questions.iter().map(hit).collect()
}

fn percent(hits: &[(usize, Hits)]) -> Hits {
    [0, 1, 2].map(|k| 100.0 * hits.iter().map(|(_, hit)| hit[k]).sum::<f64>() / hits.len() as f64)
}

fn format(values: Hits) -> String {
    values.map(|value| format!("{value:.1}")).join(" / ")
}

/// Returns the differences in percent and their 95 % intervals. Articles are drawn with
/// replacement.
fn differences(before: &[(usize, Hits)], after: &[(usize, Hits)]) -> String {
    let articles = 1 + before.iter().map(|(article, _)| *article).max().unwrap();
    let mut sums = vec![[0.0; 4]; articles];
    for ((article, before), (_, after)) in before.iter().zip(after) {
        (0..3).for_each(|k| sums[*article][k] += after[k] - before[k]);
        sums[*article][3] += 1.0;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut draws = vec![[0.0; 3]; 2000];
    for draw in &mut draws {
        let mut total = [0.0; 4];
        for _ in 0..articles {
            let article = sums[rng.random_range(0..articles)];
            (0..4).for_each(|k| total[k] += article[k]);
        }
        (0..3).for_each(|k| draw[k] = 100.0 * total[k] / total[3]);
    }
    let (before, after) = (percent(before), percent(after));
    let interval = |k: usize| {
        let mut values: Vec<f64> = draws.iter().map(|draw| draw[k]).collect();
        values.sort_by(f64::total_cmp);
        format!("{:+.1} ({:+.1} to {:+.1})", after[k] - before[k], values[50], values[1949])
    };
    [0, 1].map(interval).join(" | ")
}

/// Measures files, each with a separate index or all in one index.
fn measure(
    files: &[Questions],
    mixed: bool,
    form: fn(&str) -> String,
) -> Vec<[Vec<(usize, Hits)>; 2]> {
    let spelled: Vec<Vec<String>> =
        files.iter().map(|file| file.paragraphs.iter().map(|text| form(text)).collect()).collect();
    let of_splitting = SPLITTINGS.map(|(name, split)| {
        if mixed {
            let index = Index::new(spelled.iter().flatten().map(String::as_str), split);
            println!(
                "{name}: {:.0} k terms, {} k distinct",
                index.term_count() / 1e3,
                index.vocabulary() / 1000
            );
            let mut first = 0;
            let of_file = files.iter().map(|file| {
                let hits = hits(&index, first, file);
                first += file.paragraphs.len();
                hits
            });
            return of_file.collect::<Vec<_>>();
        }
        let of_file = files.iter().zip(&spelled).map(|(file, paragraphs)| {
            hits(&Index::new(paragraphs.iter().map(String::as_str), split), 0, file)
        });
        of_file.collect()
    });
    let [words, terms] = of_splitting;
    words.into_iter().zip(terms).map(|(words, terms)| [words, terms]).collect()
}

fn main() {
    let mut options = Options::parse();
    if !options.bench {
        return;
    }
    if options.files.is_empty() {
        let languages = ["en", "de", "es", "ar", "hi", "vi", "zh"];
        options.files = languages.map(|code| format!("{XQUAD}/xquad.{code}.json").into()).into();
    }
    let files: Vec<_> =
        options.files.iter().map(|path| Questions::read(path, options.every)).collect();
    let forms = if options.forms { &FORMS[..] } else { &FORMS[..1] };
    for (form, spell) in forms {
        println!(
            "\n{form}\n\n| file | questions | words @1 / @5 / @50 | terms @1 / @5 / @50 | difference @1 | @5 |"
        );
        println!("|---|---:|---:|---:|---:|---:|");
        let mut means = [[0.0; 3]; 2];
        let all_hits = measure(&files, options.mixed, *spell);
        for (file, [words, terms]) in files.iter().zip(&all_hits) {
            let [before, after] = [words, terms].map(|hits| percent(hits));
            for (mean, value) in means.iter_mut().zip([before, after]) {
                (0..3).for_each(|k| mean[k] += value[k] / files.len() as f64);
            }
            let (name, count) = (&file.name, file.questions.len());
            let [before, after] = [before, after].map(format);
            println!("| {name} | {count} | {before} | {after} | {} |", differences(words, terms));
        }
        let [before, after] = means.map(format);
        println!("| mean | | {before} | {after} | | |");
    }
}
