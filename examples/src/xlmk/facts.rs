//! Triples with descriptions of subject and object. Where a graph has no descriptions, they are made of its other facts.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use kg_triples::KnowledgeGraph;
use kg_triples::knowledge::RelationIds;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use trainer::Fingerprint;

use super::share;

/// Where triples come from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactSource {
    /// Folder with `triples.tsv` and `labels.tsv`.
    pub kg: PathBuf,
    /// Languages of the descriptions; absent: all of the graph.
    pub languages: Vec<String>,
    /// Longest description in tokens.
    pub description_tokens: usize,
    /// Share of the facts that is never trained nor told.
    pub held_out: f64,
    /// Decides what is held out.
    pub seed: u64,
}

impl Default for FactSource {
    fn default() -> Self {
        Self {
            kg: PathBuf::new(),
            languages: Vec::new(),
            description_tokens: 256,
            held_out: 0.2,
            seed: 0,
        }
    }
}

/// A triple as object entailment sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectExample {
    /// `<s> … </s>` of the subject.
    pub subject_ids: Vec<i64>,
    /// The relation's number.
    pub relation: i64,
    /// The object.
    pub object: String,
    /// `<s> … </s>` of the object.
    pub object_ids: Vec<i64>,
}

/// The facts of a graph, trained and held out.
pub struct Facts {
    graph: KnowledgeGraph,
    tokenizer: Tokenizer,
    languages: Vec<String>,
    room: usize,
    relations: RelationIds,
    /// Fact numbers.
    train: Vec<u32>,
    /// Fact numbers whose subject and relation have one object.
    test: Vec<u32>,
    /// The trained facts about each entity.
    about: BTreeMap<String, Vec<u32>>,
}

impl Facts {
    /// Reads a graph and divides its facts.
    ///
    /// # Errors
    /// Naming the file and line that cannot be read, or if a part is empty.
    pub fn load(source: &FactSource, tokenizer: &Tokenizer) -> Result<Self> {
        let graph = KnowledgeGraph::read_dir(&source.kg)?;
        let languages: Vec<String> = if source.languages.is_empty() {
            graph.languages().iter().map(ToString::to_string).collect()
        } else {
            source.languages.clone()
        };
        ensure!(languages.len() > 1, "{}: one language only", source.kg.display());
        let (mut train, mut test) = (Vec::new(), Vec::new());
        let mut objects: BTreeMap<(String, String), usize> = BTreeMap::new();
        for triple in graph.triples() {
            *objects.entry((triple.head.into(), triple.relation.into())).or_default() += 1;
        }
        let mut about: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (fact, triple) in (0u32..).zip(graph.triples()) {
            let labelled = [triple.head, triple.relation, triple.tail]
                .iter()
                .all(|id| languages.iter().all(|language| graph.label(id, language).is_some()));
            if !labelled {
                continue;
            }
            let name = format!("fact {} {} {}", triple.head, triple.relation, triple.tail);
            if share(source.seed, &name) < source.held_out {
                let key = (triple.head.to_owned(), triple.relation.to_owned());
                if objects.get(&key) == Some(&1) {
                    test.push(fact);
                }
                continue;
            }
            train.push(fact);
            for entity in [triple.head, triple.tail] {
                about.entry(entity.to_owned()).or_default().push(fact);
            }
        }
        ensure!(!train.is_empty() && !test.is_empty(), "{}: too few facts", source.kg.display());
        let relations = RelationIds::of(&graph);
        let room = source.description_tokens.saturating_sub(2);
        Ok(Self {
            graph,
            tokenizer: tokenizer.clone(),
            languages,
            room,
            relations,
            train,
            test,
            about,
        })
    }

    /// The relations by number.
    pub fn relations(&self) -> &[String] {
        self.relations.ids()
    }

    /// Adds the trained facts with their labels, and how they are described.
    pub fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("tokenizer", &*self.tokenizer).number("tokens", self.room as u64);
        fingerprint
            .serialize("languages", &self.languages)
            .serialize("relations", self.relations());
        for triple in self.train.iter().filter_map(|&fact| self.graph.triple(fact)) {
            for id in [triple.head, triple.relation, triple.tail] {
                fingerprint.add("id", id);
                for language in &self.languages {
                    fingerprint.add("label", self.graph.label(id, language).unwrap_or_default());
                }
            }
        }
    }

    /// A line about what was found.
    pub fn report(&self) -> String {
        format!(
            "{} facts of {} relations to train on, {} held out whose answer is one",
            self.train.len(),
            self.relations.len(),
            self.test.len()
        )
    }

    /// A random training example: subject and object described in two languages, or, without `multilingual`, in one.
    ///
    /// # Errors
    /// If a text cannot be encoded.
    pub fn draw(&self, multilingual: bool, rng: &mut ChaCha8Rng) -> Result<ObjectExample> {
        let fact = self.train.choose(rng).copied().ok_or_else(|| anyhow!("no fact"))?;
        let (first, second) = self.languages(multilingual, rng)?;
        self.example(fact, first, second, rng)
    }

    fn languages(&self, multilingual: bool, rng: &mut ChaCha8Rng) -> Result<(&str, &str)> {
        let count = self.languages.len();
        let first = rng.random_range(0..count);
        let second =
            if multilingual { (first + rng.random_range(1..count)) % count } else { first };
        match (self.languages.get(first), self.languages.get(second)) {
            (Some(first), Some(second)) => Ok((first, second)),
            _ => Err(anyhow!("no language")),
        }
    }

    fn example(
        &self,
        fact: u32,
        subject_language: &str,
        object_language: &str,
        rng: &mut ChaCha8Rng,
    ) -> Result<ObjectExample> {
        let triple = self.graph.triple(fact).ok_or_else(|| anyhow!("no fact {fact}"))?;
        let relation = self.relations.number(triple.relation);
        Ok(ObjectExample {
            subject_ids: self.describe(triple.head, subject_language, Some(fact), rng)?,
            relation: relation.map(i64::from).ok_or_else(|| anyhow!("no relation"))?,
            object: triple.tail.to_owned(),
            object_ids: self.describe(triple.tail, object_language, Some(fact), rng)?,
        })
    }

    /// `label . relation other . relation other …`: what the trained facts but `without` say about `entity`, in random order, as
    /// much as there is room for.
    fn describe(
        &self,
        entity: &str,
        language: &str,
        without: Option<u32>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<i64>> {
        let label = |id: &str| {
            self.graph.label(id, language).ok_or_else(|| anyhow!("{id} has no label in {language}"))
        };
        let mut facts: Vec<u32> = self
            .about
            .get(entity)
            .into_iter()
            .flatten()
            .copied()
            .filter(|fact| Some(*fact) != without)
            .collect();
        facts.shuffle(rng);
        let mut text = label(entity)?.to_owned();
        // A fact takes two tokens at least; more need not be written out.
        for fact in facts.into_iter().take(self.room / 2) {
            let Some(triple) = self.graph.triple(fact) else { continue };
            let other = if triple.head == entity { triple.tail } else { triple.head };
            text.push_str(&format!(" . {} {}", label(triple.relation)?, label(other)?));
        }
        let encoded = self.tokenizer.encode_fast(text, true).map_err(|error| anyhow!("{error}"))?;
        let mut ids: Vec<i64> = encoded.get_ids().iter().map(|&id| i64::from(id)).collect();
        if ids.len() > self.room + 2
            && let Some(&last) = ids.last()
        {
            ids.truncate(self.room + 1);
            ids.push(last);
        }
        Ok(ids)
    }

    /// Everything that is an object, and one language for its description in the probe.
    pub fn objects(&self) -> Vec<(String, String)> {
        let objects: BTreeSet<&str> = self.graph.triples().map(|triple| triple.tail).collect();
        objects
            .into_iter()
            .filter(|object| self.about.contains_key(*object))
            .filter_map(|object| {
                let mut rng = trainer::rng_for(0, object, 0);
                let language = self.languages.choose(&mut rng)?;
                Some((object.to_owned(), language.clone()))
            })
            .collect()
    }

    /// The description of an object of the probe, without the facts that are asked for.
    ///
    /// # Errors
    /// If a text cannot be encoded.
    pub fn object_ids(&self, object: &str, language: &str) -> Result<Vec<i64>> {
        self.describe(object, language, None, &mut trainer::rng_for(1, object, 0))
    }

    /// The held-out facts as queries: subject and relation, described in a language other than `object_language` says.
    ///
    /// # Errors
    /// If a text cannot be encoded.
    pub fn queries(
        &self,
        object_language: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<(String, ObjectExample)>> {
        let mut queries = Vec::new();
        for &fact in &self.test {
            let Some(triple) = self.graph.triple(fact) else { continue };
            let Some(own) = object_language(triple.tail) else { continue };
            let mut rng = trainer::rng_for(2, "query", u64::from(fact));
            let others: Vec<&String> =
                self.languages.iter().filter(|language| **language != own).collect();
            let Some(language) = others.choose(&mut rng) else { continue };
            queries.push(((*language).clone(), self.example(fact, language, &own, &mut rng)?));
        }
        Ok(queries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tokenizer = crate::vocabulary::read(&root.join("data/base/tokenizer.json")).unwrap();
        let source = FactSource {
            kg: root.join("data/mini-kg"),
            description_tokens: 24,
            ..FactSource::default()
        };
        Facts::load(&source, &tokenizer).unwrap()
    }

    #[test]
    fn descriptions_tell_other_trained_facts_only() {
        let facts = facts();
        let train: BTreeSet<u32> = facts.train.iter().copied().collect();
        assert!(facts.test.iter().all(|fact| !train.contains(fact)));
        assert!(facts.about.values().flatten().all(|fact| train.contains(fact)));
        let mut rng = trainer::rng_for(1, "test", 0);
        // A country of one continent: without that fact its description does not name the continent.
        let fact = *facts
            .train
            .iter()
            .find(|&&fact| {
                let triple = facts.graph.triple(fact).unwrap();
                triple.relation == "continent" && facts.about[triple.head].len() < 5
            })
            .unwrap();
        let triple = facts.graph.triple(fact).unwrap();
        let text = |without| {
            let ids = facts
                .describe(triple.head, "en", without, &mut trainer::rng_for(2, "text", 0))
                .unwrap();
            let ids: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
            facts.tokenizer.decode(&ids, true).unwrap()
        };
        let continent = facts.graph.label("continent", "en").unwrap();
        assert!(text(None).contains(continent), "{}", text(None));
        assert!(!text(Some(fact)).contains(continent), "{}", text(Some(fact)));
        for _ in 0..200 {
            let example = facts.draw(true, &mut rng).unwrap();
            assert!(example.subject_ids.len() <= 24 && example.object_ids.len() <= 24);
            assert!((0..6).contains(&example.relation));
            for ids in [&example.subject_ids, &example.object_ids] {
                assert_eq!((ids.first(), ids.last()), (Some(&0), Some(&2)));
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_examples() {
        let facts = facts();
        let draw = || facts.draw(true, &mut trainer::rng_for(5, "draw", 1)).unwrap();
        assert_eq!(draw(), draw());
        let languages = facts.objects();
        let of = |object: &str| {
            languages.iter().find(|(own, _)| own == object).map(|(_, language)| language.clone())
        };
        let queries = facts.queries(of).unwrap();
        assert!(queries.len() > 30);
        assert_eq!(queries, facts.queries(of).unwrap());
        for (language, example) in &queries {
            assert_ne!(Some(language), of(&example.object).as_ref());
        }
    }
}
