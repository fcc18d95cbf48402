//! Fixed candidate lists of entity descriptions.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use atomic_file::json;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{json_lines, read_text, write_atomic};
use crate::{Error, Result};

/// A candidate description, identified by its entity and language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The entity's id.
    pub entity: String,
    /// Language code.
    pub language: String,
}

impl Description {
    /// Reads descriptions, one `{"entity": "Q64", "language": "de"}` per line.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] naming the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let expected = "a description: {\"entity\": \"Q64\", \"language\": \"de\"}";
        let rows = json_lines(path.as_ref(), expected)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

/// A query: a masked mention (XEP), or a subject and a relation (XOR).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The query's id.
    pub id: String,
    /// The gold entity.
    pub entity: String,
    /// Language of the query's text.
    pub language: String,
}

impl Query {
    /// Reads queries, one `{"id": "a", "entity": "Q64", "language": "en"}` per line.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] naming the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let expected = "a query: {\"id\": \"a\", \"entity\": \"Q64\", \"language\": \"en\"}";
        let rows = json_lines(path.as_ref(), expected)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

/// The language of the gold candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GoldLanguage {
    /// A language other than the query's, so that a correct answer requires cross-lingual transfer.
    #[default]
    Different,
    /// Any language, including the query's.
    Any,
}

/// Options of [`CandidateList::draw`]. The paper specifies only the size ("32k") and that the
/// descriptions are in several languages; all other options are an interpretation.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CandidateConfig {
    /// N, number of candidates in the list. Interpretation: 32k is 32,768, like the queue size.
    pub size: usize,
    /// The language of the gold candidates.
    pub gold_language: GoldLanguage,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for CandidateConfig {
    fn default() -> Self {
        Self { size: 32_768, gold_language: GoldLanguage::Different, seed: 0 }
    }
}

/// A query with the index of its gold candidate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListedQuery {
    /// The query's id.
    pub id: String,
    /// The gold entity.
    pub entity: String,
    /// Language of the query's text.
    pub language: String,
    /// Index of the only candidate that describes the entity.
    pub gold: usize,
}

/// The reason why a query is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The entity has no description.
    NoDescription,
    /// The only candidate of the entity is in the query's language.
    SameLanguage,
}

/// A skipped query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SkippedQuery {
    /// The query's id.
    pub id: String,
    /// The reason.
    pub reason: SkipReason,
}

/// A list of N descriptions of N different entities, and the queries that are evaluated on the
/// list. The list is stored so that all models are evaluated on the same list.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateList {
    /// The options with which the candidates were drawn.
    pub config: CandidateConfig,
    /// The candidates in order, `[N]`.
    pub candidates: Vec<Description>,
    /// The queries, in their original order.
    pub queries: Vec<ListedQuery>,
    /// Queries that are not scored.
    #[serde(rename = "left_out")]
    pub skipped: Vec<SkippedQuery>,
}

impl CandidateList {
    /// Draws a list of N entities with one description each, in random order: the entities of all
    /// queries, and random other entities.
    ///
    /// The language of each description is drawn uniformly from the languages in which its entity
    /// is described. With [`GoldLanguage::Different`], the languages of the queries about the
    /// entity are excluded. If no language remains, the language is drawn from all languages of the
    /// entity, and queries about the entity in the drawn language are skipped. The result does not
    /// depend on the order of `descriptions`.
    ///
    /// ```
    /// use transfer_eval::retrieval::{CandidateConfig, CandidateList, Description, Query};
    ///
    /// let describe = |entity: &str, language: &str| Description {
    ///     entity: entity.into(),
    ///     language: language.into(),
    /// };
    /// let descriptions =
    ///     ["Q1", "Q2", "Q3"].map(|q| [describe(q, "de"), describe(q, "en")]).concat();
    /// let queries = [Query { id: "a".into(), entity: "Q2".into(), language: "en".into() }];
    /// let config = CandidateConfig { size: 3, ..CandidateConfig::default() };
    /// let list = CandidateList::draw(&descriptions, &queries, &config)?;
    /// assert_eq!(list.candidates[list.queries[0].gold], describe("Q2", "de"));
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Candidates`] if two queries have the same id, if the queries are about more than N
    /// entities, if fewer than N entities have a description, or if no query has a candidate.
    pub fn draw(
        descriptions: &[Description],
        queries: &[Query],
        config: &CandidateConfig,
    ) -> Result<Self> {
        let list_error = |message: String| Err(Error::Candidates(message));
        let mut ids = BTreeSet::new();
        if let Some(duplicate) = queries.iter().find(|query| !ids.insert(&query.id)) {
            return list_error(format!("query id `{}` occurs twice", duplicate.id));
        }
        let mut languages = LanguagesByEntity::new();
        for Description { entity, language } in descriptions {
            languages.entry(entity).or_default().insert(language);
        }
        let mut query_languages = LanguagesByEntity::new();
        for query in queries.iter().filter(|query| languages.contains_key(query.entity.as_str())) {
            query_languages.entry(&query.entity).or_default().insert(&query.language);
        }
        let (size, entities) = (config.size, languages.len());
        if query_languages.len() > size {
            return list_error(format!(
                "the queries have {} entities, but size = {size}",
                query_languages.len()
            ));
        }
        if entities < size {
            return list_error(format!(
                "{entities} entities have a description, but size = {size}"
            ));
        }
        let candidates = draw_candidates(&languages, &query_languages, config);
        let (listed, skipped) =
            list_queries(queries, &query_languages, &candidates, config.gold_language);
        if listed.is_empty() {
            let no_description =
                skipped.iter().filter(|query| query.reason == SkipReason::NoDescription).count();
            let same_language = skipped.len() - no_description;
            return list_error(format!(
                "no query has a candidate: {no_description} queries for entities without a description, {same_language} \
                 for entities described only in the query's language"
            ));
        }
        Ok(Self { config: config.clone(), candidates, queries: listed, skipped })
    }

    /// The index of each query's gold candidate, in the order of the queries.
    pub fn gold_indices(&self) -> Vec<usize> {
        self.queries.iter().map(|query| query.gold).collect()
    }

    /// Reads a list written by [`CandidateList::write`].
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] for invalid JSON; [`Error::Content`] if the number of
    /// candidates differs from the size, an entity occurs twice, or a query's candidate does not
    /// describe its entity.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let list: Self = serde_json::from_str(&read_text(path)?).map_err(|error| {
            Error::line(path, error.line(), format!("{error}; expected a candidate list"))
        })?;
        match list.find_problem() {
            Some(message) => Err(Error::content(path, message)),
            None => Ok(list),
        }
    }

    fn find_problem(&self) -> Option<String> {
        let (size, count) = (self.config.size, self.candidates.len());
        if count != size {
            return Some(format!("{count} candidates, but size = {size}"));
        }
        let mut entities = BTreeSet::new();
        if let Some(duplicate) =
            self.candidates.iter().find(|candidate| !entities.insert(&candidate.entity))
        {
            return Some(format!(
                "entity `{}` occurs twice among the candidates",
                duplicate.entity
            ));
        }
        let is_valid = |query: &&ListedQuery| {
            self.candidates
                .get(query.gold)
                .is_some_and(|candidate| candidate.entity == query.entity)
        };
        let query = self.queries.iter().find(|query| !is_valid(query))?;
        let ListedQuery { id, entity, gold, .. } = query;
        Some(format!("query `{id}`: candidate {gold} does not describe `{entity}`"))
    }

    /// Writes the list as JSON, one candidate or query per line, atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let text = format!(
            "{{\"config\": {},\n\"candidates\": {},\n\"queries\": {},\n\"left_out\": {}}}\n",
            json::to_string(path, &self.config)?,
            lines(path, &self.candidates)?,
            lines(path, &self.queries)?,
            lines(path, &self.skipped)?,
        );
        write_atomic(path, text.as_bytes())
    }
}

/// Returns a JSON array with one line per value, for the file `path`.
fn lines<T: Serialize>(path: &Path, values: &[T]) -> Result<String> {
    let lines = values.iter().map(|value| json::to_string(path, value));
    Ok(format!("[\n{}\n]", lines.collect::<Result<Vec<_>, _>>()?.join(",\n")))
}

/// Languages by entity.
type LanguagesByEntity<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Draws `config.size` entities, including all queried entities, in random order, and one language
/// for each entity.
fn draw_candidates(
    languages: &LanguagesByEntity<'_>,
    query_languages: &LanguagesByEntity<'_>,
    config: &CandidateConfig,
) -> Vec<Description> {
    let mut other_entities: Vec<&str> =
        languages.keys().copied().filter(|entity| !query_languages.contains_key(entity)).collect();
    other_entities.shuffle(&mut rng(config.seed, "others", ""));
    other_entities.truncate(config.size - query_languages.len());
    let mut entities: Vec<&str> = query_languages.keys().copied().chain(other_entities).collect();
    entities.shuffle(&mut rng(config.seed, "order", ""));

    let none = BTreeSet::new();
    let describe = |entity: &&str| {
        let available = &languages[entity];
        let excluded = match config.gold_language {
            // An entity without a query has no query languages.
            GoldLanguage::Different => query_languages.get(entity).unwrap_or(&none),
            GoldLanguage::Any => &none,
        };
        let allowed: Vec<&str> = available.difference(excluded).copied().collect();
        let allowed =
            if allowed.is_empty() { available.iter().copied().collect() } else { allowed };
        let language = allowed.choose(&mut rng(config.seed, "language", entity));
        let language = language.expect("an entity is described in a language");
        Description { entity: (*entity).to_owned(), language: (*language).to_owned() }
    };
    entities.iter().map(describe).collect()
}

/// Returns the queries with the index of their gold candidate, and the skipped queries.
fn list_queries(
    queries: &[Query],
    query_languages: &LanguagesByEntity<'_>,
    candidates: &[Description],
    gold_language: GoldLanguage,
) -> (Vec<ListedQuery>, Vec<SkippedQuery>) {
    let candidates: BTreeMap<&str, (usize, &str)> = candidates
        .iter()
        .enumerate()
        .map(|(index, description)| {
            (description.entity.as_str(), (index, description.language.as_str()))
        })
        .collect();
    let (mut listed, mut skipped) = (Vec::new(), Vec::new());
    for Query { id, entity, language } in queries {
        let candidate = match query_languages.contains_key(entity.as_str()) {
            true => candidates.get(entity.as_str()),
            false => None,
        };
        let reason = match candidate {
            None => SkipReason::NoDescription,
            Some((_, described_in))
                if described_in == language && gold_language == GoldLanguage::Different =>
            {
                SkipReason::SameLanguage
            }
            Some(&(gold, _)) => {
                let (id, entity, language) = (id.clone(), entity.clone(), language.clone());
                listed.push(ListedQuery { id, entity, language, gold });
                continue;
            }
        };
        skipped.push(SkippedQuery { id: id.clone(), reason });
    }
    (listed, skipped)
}

/// Returns a random generator seeded with `seed`, `purpose` and `item`, so that a draw does not
/// depend on earlier draws.
fn rng(seed: u64, purpose: &str, item: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update([u8::try_from(purpose.len()).expect("purposes are short")]);
    hash.update(purpose.as_bytes());
    hash.update(item.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}
