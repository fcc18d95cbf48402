//! Pairs of premise and hypothesis for natural language inference, generated from facts.
//!
//! The pairs are a substitute for XNLI and are not from a paper.
use std::collections::BTreeSet;

use anyhow::{Context, Result};
use kg_triples::{KnowledgeGraph, Language, Triple};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shards::{hash_of, item_rng};

use super::verbalised::VerbalisedFacts;
use crate::facts::FactSource;
use crate::generator::{Files, Generator};
use crate::questions::template::TemplateSet;

/// Number of facts in a premise, all about one head.
pub const PREMISE_FACTS: usize = 2;
/// Random seed of premises and hypotheses.
const SEED: u64 = 42;

/// Options of `demo-data inference`: premise–hypothesis pairs about the facts of a graph, in files
/// named like XNLI's.
#[derive(Clone, Debug, clap::Args)]
pub struct InferenceConfig {
    /// The source of the facts.
    #[command(flatten)]
    pub facts: FactSource,
    /// Maximum number of premises per head entity; each premise has one hypothesis per label
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub premises: u16,
}

impl Generator for InferenceConfig {
    const COMMAND: &'static str = "demo-data inference";

    fn seed(&self) -> Option<u64> {
        Some(self.facts.split.seed)
    }

    /// Returns one file `multinli.train.<lang>.tsv` per language, with translations of the same
    /// pairs; `xnli.dev.tsv` and `xnli.test.tsv`, with the pairs in all languages; and
    /// `xnli.test.to-<first>.tsv`, in which each pair of `xnli.test.tsv` is translated to the first
    /// language.
    fn generate(&self) -> Result<(Files, Value)> {
        let (graph, templates, split) = self.facts.read()?;
        let languages = &self.facts.languages;
        let mut files = Files::new();
        let mut counts = Map::new();
        for (name, heads) in split.by_name() {
            let pairs = create_pairs(&graph, &templates, (name, heads), languages, self.premises)?;
            let all_rows: String = pairs.rows.iter().map(|(_, rows)| rows.as_str()).collect();
            let (first, first_rows) = pairs.rows.first().context("--languages is empty")?;
            match name {
                "train" => files.extend(pairs.rows.iter().map(|(language, rows)| {
                    (format!("multinli.train.{language}.tsv"), format!("{HEADER}{rows}"))
                })),
                _ => files.push((format!("xnli.{name}.tsv"), format!("{HEADER}{all_rows}"))),
            }
            if name == "test" {
                let rows = first_rows.repeat(pairs.rows.len());
                files.push((format!("xnli.test.to-{first}.tsv"), format!("{HEADER}{rows}")));
            }
            counts.insert(name.to_owned(), json!(pairs.report));
        }
        Ok((files, Value::Object(counts)))
    }
}

/// Counts of heads, facts and pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InferenceReport {
    /// Number of heads with pairs.
    pub heads: usize,
    /// Number of skipped heads, which have too few facts for a pair.
    #[serde(rename = "left_out")]
    pub skipped: usize,
    /// Number of facts that lack a label or a statement template in one of the languages.
    #[serde(rename = "without_words")]
    pub without_sentence: usize,
    /// Number of pairs in each language.
    pub pairs: usize,
}

/// Pairs of one split.
#[derive(Clone, Debug, PartialEq)]
pub struct InferencePairs {
    /// The rows of each language, with XNLI's columns. The languages are in the order of
    /// `--languages`.
    pub rows: Vec<(Language, String)>,
    /// Counts of heads, facts and pairs.
    pub report: InferenceReport,
}

/// XNLI's columns.
const HEADER: &str = "language\tgold_label\tsentence1\tsentence2\n";

/// XNLI's labels, in the order of [`Item::hypotheses`].
const LABELS: [&str; 3] = ["entailment", "neutral", "contradiction"];

/// A premise about a head, with a hypothesis for each of [`LABELS`].
struct Item<'a> {
    premise: Vec<Triple<'a>>,
    hypotheses: [Triple<'a>; 3],
}

/// Creates pairs with XNLI's columns `language`, `gold_label`, `sentence1`, `sentence2` about the
/// facts whose head is in `heads`. All languages have the same pairs.
///
/// - A premise consists of [`PREMISE_FACTS`] facts about one head, in random order.
/// - The entailed hypothesis is one of these facts.
/// - The contradicting hypothesis is a fact of the premise whose tail is replaced by another tail
///   of the same relation. Only facts whose head has a single tail for the relation are changed.
/// - The neutral hypothesis is a fact about the head with a relation that is not in the premise.
///
/// The label follows from premise and hypothesis, without world knowledge.
///
/// # Errors
/// [`kg_triples::Error::Empty`] if no pair can be created.
pub fn create_pairs(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    (split, heads): (&str, &BTreeSet<String>),
    languages: &[Language],
    premises: u16,
) -> Result<InferencePairs, kg_triples::Error> {
    let verbalised = VerbalisedFacts::new(graph, templates, heads, languages);
    let (items, report) = items(&verbalised, premises);
    if items.is_empty() {
        let hint = format!(
            "none of {} heads has {} facts for a premise, a fact with another relation, and a \
             relation with a single tail; {} facts lack labels or statement templates",
            report.skipped, PREMISE_FACTS, report.without_sentence
        );
        return Err(kg_triples::Error::Empty { what: format!("pairs of split {split:?}"), hint });
    }
    let entry = |&language: &Language| Ok((language, render_rows(&verbalised, &items, language)?));
    let rows = languages.iter().map(entry).collect::<Result<_, kg_triples::Error>>()?;
    Ok(InferencePairs { rows, report })
}

fn items<'a>(verbalised: &VerbalisedFacts<'a>, premises: u16) -> (Vec<Item<'a>>, InferenceReport) {
    let tails_by_relation = verbalised.tails_by_relation();
    let tails_by_head = verbalised.tails_by_head();
    let mut report = InferenceReport {
        without_sentence: verbalised.without_sentence,
        ..InferenceReport::default()
    };
    let mut items = Vec::new();
    for facts in verbalised.facts.chunk_by(|a, b| a.head == b.head) {
        let head = facts[0].head;
        let mut rng = item_rng("inference", SEED, hash_of(&[head]));
        let has_one_tail = |fact: &&Triple<'_>| {
            tails_by_head.get(&(head, fact.relation)).is_some_and(|tails| tails.len() == 1)
        };
        let items_before = items.len();
        for _ in 0..premises {
            // The fact to contradict is selected first, then the remaining facts of the premise,
            // then the neutral fact.
            let candidates: Vec<&Triple<'_>> = facts.iter().filter(has_one_tail).collect();
            let Some(&&original) = candidates.choose(&mut rng) else { break };
            let mut other_facts: Vec<Triple<'_>> =
                facts.iter().filter(|fact| **fact != original).copied().collect();
            other_facts.shuffle(&mut rng);
            let mut premise = vec![original];
            premise.extend(other_facts.iter().take(PREMISE_FACTS - 1));
            let has_new_relation =
                |fact: &&Triple<'_>| premise.iter().all(|known| known.relation != fact.relation);
            let neutral = other_facts.iter().find(has_new_relation).copied();
            let wrong_tails: Vec<&str> = tails_by_relation
                .get(original.relation)
                .into_iter()
                .flatten()
                .copied()
                .filter(|&tail| tail != original.tail)
                .filter(|&tail| labels_differ(verbalised, original, tail))
                .collect();
            let (Some(neutral), Some(&tail)) = (neutral, wrong_tails.choose(&mut rng)) else {
                continue;
            };
            if premise.len() < PREMISE_FACTS {
                continue;
            }
            let entailed = premise[rng.random_range(0..premise.len())];
            let contradicting = Triple { tail, ..original };
            premise.shuffle(&mut rng);
            let hypotheses = [entailed, neutral, contradicting];
            items.push(Item { premise, hypotheses });
        }
        match items.len() > items_before {
            true => report.heads += 1,
            false => report.skipped += 1,
        }
    }
    report.pairs = items.len() * LABELS.len();
    (items, report)
}

/// Returns whether `tail` has a label in every language, and each label differs from the label of
/// `original.tail`.
fn labels_differ(verbalised: &VerbalisedFacts<'_>, original: Triple<'_>, tail: &str) -> bool {
    verbalised.languages.iter().all(|&language| {
        let (right, wrong) =
            (verbalised.label(original.tail, language), verbalised.label(tail, language));
        wrong.is_some() && wrong != right
    })
}

fn render_rows(
    verbalised: &VerbalisedFacts<'_>,
    items: &[Item<'_>],
    language: Language,
) -> Result<String, kg_triples::Error> {
    let mut text = String::new();
    for item in items {
        let sentence = |&fact: &Triple<'_>| {
            verbalised.sentence(fact, language).expect("facts of an item have sentences")
        };
        let sentences: Vec<String> = item.premise.iter().map(sentence).collect();
        let premise = sentences.join(" ");
        for (label, fact) in LABELS.iter().zip(&item.hypotheses) {
            let hypothesis = sentence(fact);
            for sentence in [&premise, &hypothesis] {
                if sentence.contains(['\t', '\n', '\r']) {
                    let expected = "a text without tabs and line ends".to_owned();
                    let got = format!("{sentence:?}");
                    return Err(kg_triples::Error::Value { field: "sentence", expected, got });
                }
            }
            text.push_str(&[language.as_str(), label, &premise, &hypothesis].join("\t"));
            text.push('\n');
        }
    }
    Ok(text)
}
