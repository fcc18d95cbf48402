//! Inference pairs of facts expressed as sentences, which follow from a premise, contradict it or
//! are neutral. A stand-in for XNLI that is not from a paper.
use std::collections::BTreeSet;

use anyhow::{Context, Result};
use kg_triples::{KnowledgeGraph, Language, Triple};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shards::{hash_of, use_rng};

use super::verbalised::Verbalised;
use crate::facts::Facts;
use crate::questions::template::TemplateSet;
use crate::stand_in::{Files, StandIn};

/// Number of facts about one head in a premise.
pub const PREMISE_FACTS: usize = 2;
/// Random seed of premises and hypotheses.
const SEED: u64 = 42;

/// Pairs about the facts of a graph in files named like XNLI's.
#[derive(Clone, Debug, clap::Args)]
pub struct Inference {
    /// The source of the facts.
    #[command(flatten)]
    pub facts: Facts,
    /// Number of premises per head; each has one hypothesis per label
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub premises: u16,
}

impl StandIn for Inference {
    const COMMAND: &'static str = "demo-data inference";

    fn seed(&self) -> Option<u64> {
        Some(self.facts.split.seed)
    }

    /// Writes `multinli.train.<lang>.tsv`, whose rows are translations of each other;
    /// `xnli.dev.tsv` and `xnli.test.tsv`, with the pairs of all languages; and
    /// `xnli.test.to-<first>.tsv`, which has the rows of `xnli.test.tsv` in the first language.
    fn make(&self) -> Result<(Files, Value)> {
        let (graph, templates, split) = self.facts.read()?;
        let languages = &self.facts.languages;
        let mut files = Files::new();
        let mut counts = Map::new();
        for (name, heads) in split.each() {
            let named_heads = (name, heads);
            let pairs = inference_pairs(&graph, &templates, named_heads, languages, self.premises)?;
            let all: String = pairs.rows.iter().map(|(_, rows)| rows.as_str()).collect();
            let (first, source) = pairs.rows.first().context("no language is given")?;
            match name {
                "train" => files.extend(pairs.rows.iter().map(|(language, rows)| {
                    (format!("multinli.train.{language}.tsv"), format!("{HEADER}{rows}"))
                })),
                _ => files.push((format!("xnli.{name}.tsv"), format!("{HEADER}{all}"))),
            }
            if name == "test" {
                let rows = source.repeat(pairs.rows.len());
                files.push((format!("xnli.test.to-{first}.tsv"), format!("{HEADER}{rows}")));
            }
            counts.insert(name.to_owned(), json!(pairs.report));
        }
        Ok((files, Value::Object(counts)))
    }
}

/// Counts of heads and facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InferenceReport {
    /// Heads with pairs.
    pub heads: usize,
    /// Skipped heads with too few facts.
    pub left_out: usize,
    /// Facts that lack a label or a statement in one of the languages.
    pub without_words: usize,
    /// Number of pairs in each language.
    pub pairs: usize,
}

/// Pairs of one split.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// Rows in XNLI's columns for each language, in the given order.
    pub rows: Vec<(Language, String)>,
    /// Counts of heads and facts.
    pub report: InferenceReport,
}

/// XNLI's columns.
const HEADER: &str = "language\tgold_label\tsentence1\tsentence2\n";

/// Labels of pairs as in XNLI.
const LABELS: [&str; 3] = ["entailment", "neutral", "contradiction"];

/// A premise about a head, with a hypothesis for each of [`LABELS`].
struct Item<'a> {
    premise: Vec<Triple<'a>>,
    hypotheses: [Triple<'a>; 3],
}

/// Creates pairs with XNLI's columns `language`, `gold_label`, `sentence1`, `sentence2` about the
/// facts whose head is in `heads`. All languages have the same pairs.
///
/// A premise is [`PREMISE_FACTS`] facts about one head, in random order. The entailed hypothesis is
/// one of these facts. The contradiction is a fact of the premise in which the tail is replaced by
/// another tail of the relation that is not a tail of the head; only facts whose head has one tail
/// for the relation are changed. The neutral hypothesis is a fact about the head with a relation
/// that is not in the premise. The label depends only on the premise, not on world knowledge.
///
/// # Errors
/// [`kg_triples::Error::Empty`] if no pair can be created.
pub fn inference_pairs(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    (split, heads): (&str, &BTreeSet<String>),
    languages: &[Language],
    premises: u16,
) -> Result<Pairs, kg_triples::Error> {
    let verbalised = Verbalised::new(graph, templates, heads, languages);
    let (items, report) = items(&verbalised, premises);
    if items.is_empty() {
        let hint = format!(
            "of {} heads none has {} facts, one more by another relation, and a relation with one \
             tail; {} facts lack labels or statements",
            report.left_out, PREMISE_FACTS, report.without_words
        );
        return Err(kg_triples::Error::Empty { what: format!("pairs of split {split:?}"), hint });
    }
    let rows_of = |&language: &Language| Ok((language, rows(&verbalised, &items, language)?));
    let rows = languages.iter().map(rows_of).collect::<Result<_, kg_triples::Error>>()?;
    Ok(Pairs { rows, report })
}

fn items<'a>(verbalised: &Verbalised<'a>, premises: u16) -> (Vec<Item<'a>>, InferenceReport) {
    let (tails, answers) = (verbalised.tails(), verbalised.answers());
    let mut report =
        InferenceReport { without_words: verbalised.without_words, ..InferenceReport::default() };
    let mut items = Vec::new();
    for facts in verbalised.facts.chunk_by(|one, next| one.head == next.head) {
        let Some(head) = facts.first().map(|fact| fact.head) else { continue };
        let mut rng = use_rng("inference", SEED, hash_of(&[head]));
        let one_tail = |fact: &&Triple<'_>| {
            answers.get(&(head, fact.relation)).is_some_and(|tails| tails.len() == 1)
        };
        let before = items.len();
        for _ in 0..premises {
            // The contradicted fact comes first, then other facts, and one of another relation.
            let changeable: Vec<&Triple<'_>> = facts.iter().filter(one_tail).collect();
            let Some(&&changed) = changeable.choose(&mut rng) else { break };
            let mut others: Vec<Triple<'_>> =
                facts.iter().filter(|fact| **fact != changed).copied().collect();
            others.shuffle(&mut rng);
            let mut premise = vec![changed];
            premise.extend(others.iter().take(PREMISE_FACTS - 1));
            let new = |fact: &&Triple<'_>| premise.iter().all(|one| one.relation != fact.relation);
            let neutral = others.iter().find(new).copied();
            let wrong: Vec<&str> = tails
                .get(changed.relation)
                .into_iter()
                .flatten()
                .copied()
                .filter(|&tail| tail != changed.tail)
                .filter(|&tail| has_wrong_label(verbalised, changed, tail))
                .collect();
            let (Some(neutral), Some(&tail)) = (neutral, wrong.choose(&mut rng)) else { continue };
            if premise.len() < PREMISE_FACTS {
                continue;
            }
            let entailed = premise.get(rng.random_range(0..premise.len())).copied();
            let contradicted = Triple { tail, ..changed };
            premise.shuffle(&mut rng);
            let hypotheses = [entailed.unwrap_or(changed), neutral, contradicted];
            items.push(Item { premise, hypotheses });
        }
        match items.len() > before {
            true => report.heads += 1,
            false => report.left_out += 1,
        }
    }
    report.pairs = items.len() * LABELS.len();
    (items, report)
}

/// Whether a wrong tail has a label in all languages that differs from the right tail's label.
fn has_wrong_label(verbalised: &Verbalised<'_>, changed: Triple<'_>, tail: &str) -> bool {
    verbalised.languages.iter().all(|&language| {
        let (right, wrong) =
            (verbalised.label(changed.tail, language), verbalised.label(tail, language));
        wrong.is_some() && wrong != right
    })
}

fn rows(
    verbalised: &Verbalised<'_>,
    items: &[Item<'_>],
    language: Language,
) -> Result<String, kg_triples::Error> {
    let mut text = String::new();
    for item in items {
        let sentences: Vec<String> =
            item.premise.iter().filter_map(|&fact| verbalised.sentence(fact, language)).collect();
        let premise = sentences.join(" ");
        for (label, &fact) in LABELS.iter().zip(&item.hypotheses) {
            let hypothesis = verbalised.sentence(fact, language).unwrap_or_default();
            for sentence in [&premise, &hypothesis] {
                if sentence.contains(['\t', '\n', '\r']) {
                    let expected = "no tab and no line end".to_owned();
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
