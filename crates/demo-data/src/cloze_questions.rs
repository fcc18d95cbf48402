//! Cloze questions over text: a span of a passage is the answer, and the words around it are the
//! question.
//!
//! The files have SQuAD's format, so that windows, decoding and official scoring apply as for any
//! questions. Boundary errors are those of real text.
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use clap::value_parser;
use mlqa_eval::{Answer, Dataset, Question};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};
use shards::rng_for;
use unicode_segmentation::UnicodeSegmentation;

use crate::corpus::{CorpusConfig, HELD_OUT_ARTICLES, LANGUAGES, articles};
use crate::stand_in::{Files, StandIn, json_of};

/// Options for the conversion of passages to questions.
#[derive(Clone, Debug, clap::Args)]
pub struct ClozeQuestions {
    /// Languages of the evaluation questions
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', default_values = LANGUAGES,
          value_parser = PossibleValuesParser::new(LANGUAGES))]
    pub languages: Vec<String>,
    /// Number of training questions, in English
    #[arg(long, default_value_t = 4_000, value_parser = value_parser!(u32).range(1..=MAX_ITEMS))]
    pub train_items: u32,
    /// Number of evaluation questions per held-out paragraph
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=MAX_ITEMS))]
    pub items_per_paragraph: u32,
    /// Maximum length of a context in words
    #[arg(long, default_value_t = 36, value_parser = value_parser!(u16).range(12..))]
    pub context_words: u16,
    /// Random seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Training text, and the paragraphs that are held out from it.
    #[command(flatten)]
    pub corpus: CorpusConfig,
}

/// Questions by split.
#[derive(Clone, Debug, PartialEq)]
struct ClozeData {
    /// Training questions.
    train: Dataset,
    /// Development questions by language.
    dev: BTreeMap<String, Dataset>,
    /// Test questions by language.
    test: BTreeMap<String, Dataset>,
}

/// Minimum length of a passage in words.
const MIN_PASSAGE_WORDS: usize = 12;
/// Maximum number of draws per passage.
const MAX_DRAWS: usize = 20;
/// Maximum number of questions of a language or a paragraph.
const MAX_ITEMS: i64 = 10_000_000;
/// Number of held-out articles for development questions; the remaining ones are for test
/// questions.
const DEV_ARTICLES: usize = 4;
/// Maximum length of an answer in words.
const MAX_ANSWER_WORDS: usize = 4;
/// Number of words and punctuation marks on each side of the answer.
const NEIGHBOURS: RangeInclusive<usize> = 3..=8;
/// Probability that a neighbour is dropped.
const DROP_PROBABILITY: f64 = 0.25;

impl ClozeQuestions {
    /// Generates all questions. The result depends on the seed.
    ///
    /// # Errors
    /// If a file of the corpus cannot be read, or a language has no passage that is long enough.
    fn questions(&self) -> Result<ClozeData> {
        let paragraphs = self.corpus.paragraphs.as_ref();
        let paragraphs = paragraphs.context("--paragraphs: is needed for what is held out")?;
        let corpus = self.corpus.read()?;
        let mut train = Vec::new();
        let passages = corpus.get("en").map(Vec::as_slice).unwrap_or_default();
        let mut passages: Vec<_> = passages.iter().map(|text| Passage::new(text)).collect();
        passages.retain(|passage| passage.words.len() >= MIN_PASSAGE_WORDS);
        ensure!(!passages.is_empty(), "language en: no passage is long enough");
        for k in 0..self.train_items {
            let mut rng = rng_for(self.seed, "cloze train en", u64::from(k));
            train.extend((0..MAX_DRAWS).find_map(|_| {
                let passage = passages.get(rng.random_range(0..passages.len()))?;
                self.draw(passage, format!("train-en-{k}"), &mut rng)
            }));
        }
        let (mut dev, mut test) = (BTreeMap::new(), BTreeMap::new());
        for language in &self.languages {
            let mut all = articles(&paragraphs.join(format!("xquad.{language}.json")))?;
            let mut first = all.split_off(all.len().saturating_sub(HELD_OUT_ARTICLES));
            let last = first.split_off(DEV_ARTICLES.min(first.len()));
            dev.insert(language.clone(), self.evaluation(&first, "dev", language));
            test.insert(language.clone(), self.evaluation(&last, "test", language));
        }
        Ok(ClozeData { train: dataset("train", train), dev, test })
    }

    fn evaluation(&self, articles: &[Vec<String>], split: &str, language: &str) -> Dataset {
        let mut questions = Vec::new();
        for (place, text) in articles.iter().flatten().enumerate() {
            let passage = Passage::new(text);
            for k in 0..self.items_per_paragraph {
                let id = format!("{split}-{language}-{place}-{k}");
                let mut rng = rng_for(self.seed, &format!("cloze {id}"), 0);
                let drawn = (0..MAX_DRAWS).find_map(|_| self.draw(&passage, id.clone(), &mut rng));
                questions.extend(drawn);
            }
        }
        dataset(split, questions)
    }

    /// Draws a question about a part of the passage; `None` if the draw is unsuitable.
    fn draw(&self, passage: &Passage<'_>, id: String, rng: &mut ChaCha8Rng) -> Option<Question> {
        let words = passage.words.len();
        let length = words.min(usize::from(self.context_words));
        if length < MIN_PASSAGE_WORDS {
            return None;
        }
        let first = rng.random_range(0..=words - length);
        let size = rng.random_range(1..=MAX_ANSWER_WORDS);
        // Two words before and one after the answer, as in the training task of the base model.
        let last = length.checked_sub(size + 1).filter(|last| *last > 2)?;
        let answer = first + rng.random_range(2..last);
        let part = passage.part(first, first + length)?;
        let (from, to) = (*passage.words.get(answer)?, *passage.words.get(answer + size - 1)?);
        let count_before = rng.random_range(NEIGHBOURS);
        let count_after = rng.random_range(NEIGHBOURS);
        let before = from.saturating_sub(count_before).max(part.0)..from;
        let after = to + 1..(to + 1 + count_after).min(part.1);
        let kept: Vec<usize> =
            before.chain(after).filter(|_| rng.random::<f64>() >= DROP_PROBABILITY).collect();
        if kept.len() < *NEIGHBOURS.start() {
            return None;
        }
        let (whole, answer) = (passage.range(part.0, part.1 - 1)?, passage.range(from, to)?);
        let answer_start = passage.text.get(whole.start..answer.start)?.chars().count();
        let (context, text) = (passage.text.get(whole)?, passage.text.get(answer)?.to_owned());
        Some(Question {
            id,
            question: passage.join(&kept),
            context: context.into(),
            answers: vec![Answer { text, answer_start }],
            title: "".into(),
        })
    }
}

impl StandIn for ClozeQuestions {
    const COMMAND: &'static str = "demo-data cloze-questions";

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    /// Writes `train.json` and, for each language, `dev-context-xx-question-xx.json` and `test-…`,
    /// named as in MLQA.
    fn make(&self) -> Result<(Files, Value)> {
        let ClozeData { train, dev, test } = self.questions()?;
        let mut files = vec![("train.json".to_owned(), json_of(&train)?)];
        let mut counts = Map::from_iter([("train".to_owned(), train.questions.len().into())]);
        for (split, sets) in [("dev", dev), ("test", test)] {
            let questions: usize = sets.values().map(|set| set.questions.len()).sum();
            counts.insert(split.to_owned(), questions.into());
            for (language, set) in sets {
                let name = format!("{split}-context-{language}-question-{language}.json");
                files.push((name, json_of(&set)?));
            }
        }
        Ok((files, Value::Object(counts)))
    }
}

fn dataset(name: &str, questions: Vec<Question>) -> Dataset {
    Dataset { path: name.into(), version: Some("1.1".into()), questions }
}

/// A text, split into words (UAX 29) and the marks between them.
struct Passage<'a> {
    text: &'a str,
    /// Byte ranges `[start, end)` of all words and marks, without white space.
    units: Vec<(usize, usize)>,
    /// Indices of the units that are words.
    words: Vec<usize>,
}

impl<'a> Passage<'a> {
    fn new(text: &'a str) -> Self {
        let (mut units, mut words) = (Vec::new(), Vec::new());
        let units_of = text.split_word_bound_indices();
        for (at, unit) in units_of.filter(|(_, unit)| !unit.trim().is_empty()) {
            if unit.chars().any(char::is_alphanumeric) {
                words.push(units.len());
            }
            units.push((at, at + unit.len()));
        }
        Self { text, units, words }
    }

    /// The byte range from the start of unit `first` to the end of unit `last`.
    fn range(&self, first: usize, last: usize) -> Option<Range<usize>> {
        Some(self.units.get(first)?.0..self.units.get(last)?.1)
    }

    /// The range `[first, last)` of the units of the words `[from, to)`, with the marks that follow
    /// them.
    fn part(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let first = if from == 0 { 0 } else { *self.words.get(from)? };
        let last = self.words.get(to).copied().unwrap_or(self.units.len());
        Some((first, last))
    }

    /// Joins units into one text. Units that are adjacent in the passage are joined directly,
    /// others with a space.
    fn join(&self, units: &[usize]) -> String {
        let mut text = String::new();
        let mut previous_end = None;
        for &(start, end) in units.iter().filter_map(|unit| self.units.get(*unit)) {
            if !text.is_empty() && previous_end != Some(start) {
                text.push(' ');
            }
            text.push_str(self.text.get(start..end).unwrap_or_default());
            previous_end = Some(end);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config() -> ClozeQuestions {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
        let corpus = CorpusConfig {
            extracts: root.join("codex"),
            sentences: root.join("pud"),
            paragraphs: Some(root.join("xquad")),
            paragraph_copies: 1,
            shortest_extract: 40,
        };
        ClozeQuestions {
            languages: LANGUAGES.map(String::from).into(),
            train_items: 30,
            items_per_paragraph: 2,
            context_words: 36,
            seed: 0,
            corpus,
        }
    }

    #[test]
    fn a_question_is_the_text_around_its_answer() {
        let text = "One two three four five six, seven eight nine ten eleven twelve thirteen.";
        let passage = Passage::new(text);
        assert_eq!((passage.words.len(), passage.units.len()), (13, 15));
        let config = config();
        for k in 0..50 {
            let mut rng = rng_for(0, "test", k);
            let Some(question) = config.draw(&passage, "q".into(), &mut rng) else { continue };
            let answer = &question.answers[0];
            assert_eq!(&*question.context, text);
            question.check_answers(Path::new("test")).unwrap();
            // All words differ, so a word of the question is around the answer and not in it.
            let (before, rest) = text.split_at(answer.answer_start);
            let after = &rest[answer.text.len()..];
            let words: Vec<&str> = question.question.split(' ').collect();
            let around = |word: &&str| before.contains(word) || after.contains(word);
            assert!(words.len() > 1 && words.iter().all(around), "{question:?}");
            assert!((1..=4).contains(&answer.text.split(' ').count()));
        }
    }

    #[test]
    fn characters_that_touch_stay_together() {
        let passage = Passage::new("北京是 a city.");
        assert_eq!(passage.join(&[0, 1, 3, 4, 5]), "北京 a city.");
        assert_eq!(passage.join(&[0, 2, 4]), "北 是 city");
    }

    #[test]
    fn a_seed_fixes_all_questions_and_held_out_text_is_not_trained_on() {
        let config = config();
        let data = config.questions().unwrap();
        assert_eq!(data, config.questions().unwrap());
        assert_ne!(
            data.train,
            ClozeQuestions { seed: 1, ..config.clone() }.questions().unwrap().train
        );
        assert_eq!(data.train.questions.len(), 30);
        for set in data.dev.values().chain(data.test.values()).chain([&data.train]) {
            set.check_answers().unwrap();
            for question in &set.questions {
                let answer = &question.answers[0].text;
                assert!(!answer.is_empty() && answer.trim() == answer, "{question:?}");
                assert!(!question.question.trim().is_empty());
            }
        }
        // 60 parallel paragraphs, 20 of them for development.
        let count = |sets: &BTreeMap<String, Dataset>| -> Vec<usize> {
            sets.values().map(|set| set.questions.len()).collect()
        };
        assert_eq!(count(&data.dev), [40; 7]);
        assert_eq!(count(&data.test), [80; 7]);
        let training = config.corpus.read().unwrap();
        for (language, set) in &data.test {
            for question in &set.questions {
                let held_out = |text: &String| !text.contains(&*question.context);
                assert!(training[language].iter().all(held_out), "{}", question.id);
            }
        }
    }
}
