//! A BM25 index (Robertson and Zaragoza 2009) over the terms of a splitting.
use std::collections::HashMap;

/// Calls a function with each term of a text.
pub type Split = fn(&str, &mut dyn FnMut(&str));

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The term frequencies of passages.
pub struct Index {
    split: Split,
    /// Passages and frequencies of each term.
    postings: HashMap<String, Vec<(usize, f64)>>,
    lengths: Vec<f64>,
    mean_length: f64,
}

impl Index {
    pub fn new<'t>(passages: impl Iterator<Item = &'t str>, split: Split) -> Self {
        let mut postings: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
        let mut lengths = Vec::new();
        for (index, passage) in passages.enumerate() {
            let mut length = 0.0;
            split(passage, &mut |term| {
                length += 1.0;
                let passages = postings.entry(term.to_owned()).or_default();
                match passages.last_mut() {
                    Some((last, count)) if *last == index => *count += 1.0,
                    _ => passages.push((index, 1.0)),
                }
            });
            lengths.push(length);
        }
        let mean_length = lengths.iter().sum::<f64>() / lengths.len() as f64;
        Self { split, postings, lengths, mean_length }
    }

    pub fn term_count(&self) -> f64 {
        self.lengths.iter().sum()
    }

    pub fn vocabulary(&self) -> usize {
        self.postings.len()
    }

    /// Returns the rank of a passage for a question, from 0. Passages with equal scores are ranked
    /// by their index. The rank of a passage without a term of the question is `usize::MAX`.
    pub fn rank(&self, question: &str, gold: usize) -> usize {
        let mut scores: HashMap<usize, f64> = HashMap::new();
        (self.split)(question, &mut |term| {
            let Some(passages) = self.postings.get(term) else { return };
            let (all, count) = (self.lengths.len() as f64, passages.len() as f64);
            let idf = (1.0 + (all - count + 0.5) / (count + 0.5)).ln();
            for &(passage, frequency) in passages {
                let norm = 1.0 - B + B * self.lengths[passage] / self.mean_length;
                let weight = frequency * (K1 + 1.0) / (frequency + K1 * norm);
                *scores.entry(passage).or_default() += idf * weight;
            }
        });
        let Some(&gold_score) = scores.get(&gold) else { return usize::MAX };
        let is_before = |(&passage, &score): (&usize, &f64)| {
            score > gold_score || (score == gold_score && passage < gold)
        };
        scores.iter().filter(|&entry| is_before(entry)).count()
    }
}
