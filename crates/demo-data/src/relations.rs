//! Sentences with two marked entities and their relation, a substitute for MultiTACRED.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kg_triples::entity_linking::{EntityPage, LabelMatcher, Mention};
use kg_triples::jsonl::JsonlReader;
use kg_triples::{KnowledgeGraph, Language, check_unique_languages};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::Serialize;
use serde_json::{Value, json};
use shards::{hash_of, item_rng};
use unicode_segmentation::UnicodeSegmentation;

use crate::generator::{Files, Generator, json_line};
use crate::split::parse_shares;

/// Relation of two entities without a fact, as in TACRED.
const NO_RELATION: &str = "no_relation";
/// Entity type of all entities, because the graph has no types.
const ENTITY_TYPE: &str = "ENTITY";
/// Maximum number of examples with a relation, and without a relation, of one sentence.
const MAX_PER_SENTENCE: usize = 4;
const SPLITS: [&str; 3] = ["train", "dev", "test"];

/// Options of `demo-data relations`: sentences of Wikipedia extracts that mention both entities of
/// a fact.
#[derive(Clone, Debug, clap::Args)]
pub struct RelationConfig {
    /// Folder of the knowledge graph, with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    pub kg: PathBuf,
    /// Folder with entities.<lang>.jsonl.gz (Wikipedia extracts)
    #[arg(long, value_name = "DIR")]
    pub extracts: PathBuf,
    /// Languages of the output; the first one is the training language
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', required = true, value_parser = Language::registered)]
    pub languages: Vec<Language>,
    /// Fractions of the pairs of entities for training, development and test, which add up to 1
    #[arg(long = "split", value_name = "S,S,S", default_value = "0.6,0.15,0.25", value_parser = parse_shares)]
    pub shares: [f64; 3],
    /// Sentences without a relation per sentence with a relation
    #[arg(long, default_value_t = 2.0)]
    pub negatives: f64,
    /// Minimum number of training sentences of a relation in the training language; other relations
    /// are excluded
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub min_examples: usize,
    /// Random seed of the split and of the sentences without a relation
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// A row of TACRED's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    id: String,
    pub(crate) relation: String,
    pub(crate) token: Vec<String>,
    pub(crate) subj_start: usize,
    /// Index of the last word, as in TACRED.
    pub(crate) subj_end: usize,
    pub(crate) obj_start: usize,
    pub(crate) obj_end: usize,
    subj_type: &'static str,
    obj_type: &'static str,
    /// Ids of the two entities, in ascending order. TACRED has no such key.
    pub(crate) entities: [String; 2],
}

/// Rows by language and split.
type Rows = BTreeMap<(Language, &'static str), Vec<Row>>;

impl Generator for RelationConfig {
    const COMMAND: &'static str = "demo-data relations";

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    /// Returns a file `<split>.<lang>.json` for each split and language.
    fn generate(&self) -> Result<(Files, Value)> {
        let mut files = Files::new();
        let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for ((language, split), rows) in self.rows()? {
            let lines = rows.iter().map(|row| Ok(json_line(row)?.trim_end().to_owned()));
            let lines = lines.collect::<Result<Vec<String>>>()?.join(",\n");
            files.push((format!("{split}.{language}.json"), format!("[\n{lines}\n]\n")));
            let counts = counts.entry(format!("{split}.{language}")).or_default();
            for row in rows {
                *counts.entry(row.relation).or_default() += 1;
            }
        }
        Ok((files, json!(counts)))
    }
}

impl RelationConfig {
    /// Creates the rows of all languages and splits.
    ///
    /// The relation of two entities of a sentence is the relation of the only fact about them
    /// (distant supervision). Entities are found by their labels. Pairs with several facts are
    /// excluded, and pairs with a fact in the other direction only. All sentences about a pair of
    /// entities are in the same split, in every language.
    ///
    /// # Errors
    /// If an input cannot be read, an option has an invalid value, or no relation remains.
    pub(crate) fn rows(&self) -> Result<Rows> {
        self.validate()?;
        let graph = KnowledgeGraph::read_dir(&self.kg)?;
        let mut rows = Rows::new();
        for &language in &self.languages {
            for split in SPLITS {
                rows.insert((language, split), Vec::new());
            }
            for row in self.language_rows(&graph, language)? {
                let split = self.split_of(&row.entities);
                rows.entry((language, split)).or_default().push(row);
            }
        }
        let training = self.languages[0];
        let mut training_counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in rows.get(&(training, "train")).into_iter().flatten() {
            *training_counts.entry(&row.relation).or_default() += 1;
        }
        let kept: BTreeSet<String> = training_counts
            .into_iter()
            .filter(|&(name, count)| name != NO_RELATION && count >= self.min_examples)
            .map(|(name, _)| name.to_owned())
            .collect();
        ensure!(
            !kept.is_empty(),
            "--min-examples {}: no relation has as many training sentences in {training}",
            self.min_examples
        );
        for ((language, split), rows) in &mut rows {
            rows.retain(|row| row.relation == NO_RELATION || kept.contains(&row.relation));
            self.sample_negatives(rows, &[language.as_str(), *split]);
            ensure!(
                !rows.is_empty(),
                "{language}: no sentence of the split {split} mentions two entities of {}",
                self.kg.display()
            );
        }
        Ok(rows)
    }

    fn validate(&self) -> Result<()> {
        check_unique_languages("languages", &self.languages)?;
        let valid = self.shares.iter().all(|share| (0.0..=1.0).contains(share));
        ensure!(
            valid && (self.shares.iter().sum::<f64>() - 1.0).abs() < 1e-6,
            "--split {:?}: must be three shares in 0..=1 that add up to 1",
            self.shares
        );
        let negatives = self.negatives;
        let valid = negatives.is_finite() && negatives >= 0.0;
        ensure!(valid, "--negatives {negatives}: must be 0 or more");
        ensure!(self.extracts.is_dir(), "--extracts {}: no such folder", self.extracts.display());
        Ok(())
    }

    /// Returns the split of a pair of entities.
    fn split_of(&self, entities: &[String; 2]) -> &'static str {
        let item = hash_of(&[&entities[0], &entities[1]]);
        let value: f64 = item_rng("relation pairs", self.seed, item).random();
        let [train, dev, _] = self.shares;
        match value {
            value if value < train => SPLITS[0],
            value if value < train + dev => SPLITS[1],
            _ => SPLITS[2],
        }
    }

    /// Removes random rows without a relation until their share is that of `--negatives`. The order
    /// of the rows is unchanged.
    fn sample_negatives(&self, rows: &mut Vec<Row>, name: &[&str]) {
        let mut negatives: Vec<usize> =
            (0..rows.len()).filter(|&index| rows[index].relation == NO_RELATION).collect();
        let positives = rows.len() - negatives.len();
        let count = (positives as f64 * self.negatives).round() as usize;
        negatives.shuffle(&mut item_rng("relation negatives", self.seed, hash_of(name)));
        let removed: BTreeSet<usize> = negatives.into_iter().skip(count).collect();
        let mut index = 0;
        rows.retain(|_| {
            index += 1;
            !removed.contains(&(index - 1))
        });
    }

    /// Returns the rows of all sentences in a language.
    pub(crate) fn language_rows(
        &self,
        graph: &KnowledgeGraph,
        language: Language,
    ) -> Result<Vec<Row>> {
        let code = language.as_str();
        let labels = graph.entities().filter_map(|id| Some((language, graph.label(id, code)?, id)));
        let (matcher, _) = LabelMatcher::new(labels)?;
        let mut facts: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for triple in graph.triples() {
            facts.entry((triple.head, triple.tail)).or_default().push(triple.relation);
        }
        let path = self.extracts.join(format!("entities.{language}.jsonl.gz"));
        let mut rows = Vec::new();
        for page in JsonlReader::<EntityPage>::open(&path)? {
            let page = page?;
            let Some(extract) = page.extract else { continue };
            for (number, sentence) in extract.unicode_sentences().enumerate() {
                let sentence = sentence.trim();
                let mentions = matcher.mentions(sentence, language);
                let name = format!("{}-{language}-{number}", page.id);
                let sentence_rows = sentence_rows(&name, sentence, &mentions, &facts)
                    .with_context(|| path.display().to_string())?;
                let mut rng = item_rng("relation rows", self.seed, hash_of(&[&name]));
                for mut group in sentence_rows {
                    group.shuffle(&mut rng);
                    group.truncate(MAX_PER_SENTENCE);
                    rows.append(&mut group);
                }
            }
        }
        Ok(rows)
    }
}

/// Returns the rows of a sentence with a relation, and those without a relation.
fn sentence_rows(
    name: &str,
    sentence: &str,
    mentions: &[Mention],
    facts: &BTreeMap<(&str, &str), Vec<&str>>,
) -> Result<[Vec<Row>; 2]> {
    // The first mention of each entity, in the order of the entities.
    let mut first_mentions: BTreeMap<&str, &Mention> = BTreeMap::new();
    for mention in mentions {
        first_mentions.entry(&mention.entity).or_insert(mention);
    }
    let mut rows = [Vec::new(), Vec::new()];
    if first_mentions.len() < 2 {
        return Ok(rows);
    }
    let words = Words::of(sentence);
    for (&head, &subject) in &first_mentions {
        for (&tail, &object) in &first_mentions {
            if head == tail {
                continue;
            }
            let relation = match facts.get(&(head, tail)).map(Vec::as_slice) {
                Some([relation]) => *relation,
                Some(_) => continue,
                None if facts.contains_key(&(tail, head)) => continue,
                None => NO_RELATION,
            };
            let (subj_start, subj_end) = words.span(subject)?;
            let (obj_start, obj_end) = words.span(object)?;
            let mut entities = [head.to_owned(), tail.to_owned()];
            entities.sort();
            rows[usize::from(relation == NO_RELATION)].push(Row {
                id: format!("{name}-{head}-{tail}"),
                relation: relation.to_owned(),
                token: words.texts.clone(),
                subj_start,
                subj_end,
                obj_start,
                obj_end,
                subj_type: ENTITY_TYPE,
                obj_type: ENTITY_TYPE,
                entities,
            });
        }
    }
    Ok(rows)
}

/// The words of a sentence by Unicode Standard Annex 29, without white space.
struct Words {
    texts: Vec<String>,
    /// First and last-plus-one code point of each word.
    spans: Vec<(usize, usize)>,
}

impl Words {
    fn of(sentence: &str) -> Self {
        let mut words = Self { texts: Vec::new(), spans: Vec::new() };
        let mut start = 0;
        for word in sentence.split_word_bounds() {
            let end = start + word.chars().count();
            if !word.trim().is_empty() {
                words.texts.push(word.to_owned());
                words.spans.push((start, end));
            }
            start = end;
        }
        words
    }

    /// Returns the first and the last word of a mention.
    fn span(&self, mention: &Mention) -> Result<(usize, usize)> {
        let first = self.spans.iter().position(|span| span.0 == mention.start);
        let last = self.spans.iter().position(|span| span.1 == mention.end);
        first.zip(last).with_context(|| {
            format!("mention {}..{} does not consist of words", mention.start, mention.end)
        })
    }
}
