//! XQuAD, and seeded texts made of its sentences.
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Minimum number of words of a text.
const WORDS: usize = 114;

/// Paragraphs with their questions.
pub type Paragraphs = Vec<(String, Vec<String>)>;

/// Reads XQuAD in seven languages.
pub fn xquad() -> Vec<(String, Paragraphs)> {
    ["en", "de", "es", "ar", "hi", "vi", "zh"].map(|code| (code.to_owned(), of_xquad(code))).into()
}

fn of_xquad(code: &str) -> Paragraphs {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/xquad");
    read(&folder.join(format!("xquad.{code}.json")))
}

/// Reads a file in SQuAD's format. Equal paragraphs become one paragraph with all questions.
pub fn read(path: &Path) -> Paragraphs {
    let mut bytes = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked).unwrap();
        bytes = unpacked;
    }
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut all = Paragraphs::new();
    let mut indices: HashMap<String, usize> = HashMap::new();
    for article in value["data"].as_array().unwrap() {
        for paragraph in article["paragraphs"].as_array().unwrap() {
            let context = text(&paragraph["context"]);
            let index = *indices.entry(context.clone()).or_insert_with(|| {
                all.push((context, Vec::new()));
                all.len() - 1
            });
            let questions = paragraph["qas"].as_array().unwrap();
            all[index].1.extend(questions.iter().map(|qa| text(&qa["question"])));
        }
    }
    all
}

/// Returns questions in the languages of [`Texts`].
pub fn questions(count: usize) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let all: Vec<String> = LANGUAGES
        .iter()
        .flat_map(|code| of_xquad(code))
        .flat_map(|(_, questions)| questions)
        .collect();
    (0..count).map(|_| all.choose(&mut rng).unwrap().clone()).collect()
}

/// Languages with spaces between words, of which each text has one.
const LANGUAGES: [&str; 5] = ["en", "de", "es", "ar", "vi"];

/// Texts of at least 114 words: a made-up name with a number, and sentences of XQuAD.
pub struct Texts {
    rng: ChaCha8Rng,
    sentences: Vec<Vec<(String, usize)>>,
}

impl Texts {
    pub fn new(seed: u64) -> Self {
        let sentences = |code: &&str| {
            let paragraphs = of_xquad(code);
            let sentences = paragraphs.iter().flat_map(|(text, _)| text.split_inclusive(". "));
            sentences.map(|one| (one.trim().to_owned(), one.split_whitespace().count())).collect()
        };
        let sentences = LANGUAGES.iter().map(sentences).collect();
        Self { rng: ChaCha8Rng::seed_from_u64(seed), sentences }
    }
}

impl Iterator for Texts {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let rng = &mut self.rng;
        let syllables =
            ["ka", "lo", "mi", "ren", "tas", "vu", "dor", "el", "pri", "nu", "sha", "go"];
        let mut text = String::new();
        for _ in 0..rng.random_range(2..5) {
            text.push_str(syllables.choose(rng).unwrap());
        }
        text.push_str(&format!(" {}. ", rng.random_range(1..100_000)));
        let sentences = self.sentences.choose(rng).unwrap();
        let mut words = 2;
        while words < WORDS {
            let (sentence, count) = sentences.choose(rng).unwrap();
            text.push_str(sentence);
            text.push(' ');
            words += count;
        }
        Some(text)
    }
}
