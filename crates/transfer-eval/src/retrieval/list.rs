//! Fixed lists of descriptions of which one is the right one.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{json_lines, read_text, write_whole};
use crate::{Error, Result};

/// A description that can be a candidate: which entity it describes, in which language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The entity's id.
    pub entity: String,
    /// Language code.
    pub language: String,
}

impl Description {
    /// Reads descriptions, one `{"entity": "Q64", "language": "de"}` a line.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] naming the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let expected = "a description: {\"entity\": \"Q64\", \"language\": \"de\"}";
        let rows = json_lines(path.as_ref(), expected)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

/// A masked mention (XEP), or a subject and a relation (XOR).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The query's id.
    pub id: String,
    /// The entity to be found.
    pub entity: String,
    /// Language of the query's text.
    pub language: String,
}

impl Query {
    /// Reads queries, one `{"id": "a", "entity": "Q64", "language": "en"}` a line.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] naming the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let expected = "a query: {\"id\": \"a\", \"entity\": \"Q64\", \"language\": \"en\"}";
        let rows = json_lines(path.as_ref(), expected)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

/// The language of the right candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GoldLanguage {
    /// Another than the query's, so that only cross-lingual transfer finds it.
    #[default]
    Different,
    /// Any, the query's included.
    Any,
}

/// How a list is drawn. The paper gives the size ("32k") and that the list mixes languages; the
/// rest is our reading.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CandidateConfig {
    /// N, candidates in the list. Reading: 32k is 32,768, as for the queue.
    pub size: usize,
    /// The language of the right candidates.
    pub gold_language: GoldLanguage,
    /// Decides everything random.
    pub seed: u64,
}

impl Default for CandidateConfig {
    fn default() -> Self {
        Self { size: 32_768, gold_language: GoldLanguage::Different, seed: 0 }
    }
}

/// A query with the index of its right candidate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedQuery {
    /// The query's id.
    pub id: String,
    /// The entity to be found.
    pub entity: String,
    /// Language of the query's text.
    pub language: String,
    /// Index of the one candidate that describes the entity.
    pub gold: usize,
}

/// Why a query is not in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its entity has no description.
    NoDescription,
    /// The only candidate of its entity is in the query's language.
    SameLanguage,
}

/// A query that is not in the list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SkippedQuery {
    /// The query's id.
    pub id: String,
    /// Why it is not.
    pub reason: Reason,
}

/// N descriptions of N different entities, and the queries over them. Stored, so that every model
/// is tested on the same list.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateList {
    /// How it was drawn.
    pub config: CandidateConfig,
    /// The candidates in their order, `[N]`.
    pub candidates: Vec<Description>,
    /// The queries, in their original order.
    pub queries: Vec<PlacedQuery>,
    /// Queries that are not scored.
    #[serde(rename = "left_out")]
    pub skipped: Vec<SkippedQuery>,
}

impl CandidateList {
    /// Draws a list: one description for each entity of a query, filled up with other
    /// entities to N, in random order.
    ///
    /// The language of each description is drawn uniformly from those of its entity; with
    /// [`GoldLanguage::Different`] from those in which no query asks for it, or, where there is
    /// none, from all, and then queries in that language are left out. The order of `descriptions`
    /// does not matter.
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
    /// [`Error::Candidates`] if a query id occurs twice, the queries have more than N entities,
    /// there are fewer than N entities, or no query has a candidate.
    pub fn draw(
        descriptions: &[Description],
        queries: &[Query],
        config: &CandidateConfig,
    ) -> Result<Self> {
        let wrong = |message: String| Err(Error::Candidates(message));
        let mut ids = BTreeSet::new();
        if let Some(twice) = queries.iter().find(|query| !ids.insert(&query.id)) {
            return wrong(format!("query id `{}` occurs twice", twice.id));
        }
        let mut described = Languages::new();
        for Description { entity, language } in descriptions {
            described.entry(entity).or_default().insert(language);
        }
        let mut queried = Languages::new();
        for query in queries.iter().filter(|query| described.contains_key(query.entity.as_str())) {
            queried.entry(&query.entity).or_default().insert(&query.language);
        }
        let (size, entities) = (config.size, described.len());
        if queried.len() > size {
            return wrong(format!("{} entities are asked for, but size = {size}", queried.len()));
        }
        if entities < size {
            return wrong(format!("{entities} entities have a description, but size = {size}"));
        }
        let candidates = draw_candidates(&described, &queried, config);
        let (listed, skipped) = list_queries(queries, &queried, &candidates, config.gold_language);
        if listed.is_empty() {
            let missing = skipped.iter().filter(|one| one.reason == Reason::NoDescription).count();
            let same = skipped.len() - missing;
            return wrong(format!(
                "no query has a place: {missing} ask for entities without a description, {same} for \
                 entities described in their own language alone"
            ));
        }
        Ok(Self { config: config.clone(), candidates, queries: listed, skipped })
    }

    /// The index of each query's right candidate, in the order of the queries.
    pub fn golds(&self) -> Vec<usize> {
        self.queries.iter().map(|query| query.gold).collect()
    }

    /// Reads what [`CandidateList::write`] wrote.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] if it is not such JSON; [`Error::Content`] if the number of
    /// candidates is not the size, an entity occurs twice, or a query's candidate does not describe
    /// its entity.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let list: Self = serde_json::from_str(&read_text(path)?).map_err(|error| {
            Error::line(path, error.line(), format!("{error}; expected a candidate list"))
        })?;
        match list.fault() {
            Some(message) => Err(Error::content(path, message)),
            None => Ok(list),
        }
    }

    fn fault(&self) -> Option<String> {
        let (size, count) = (self.config.size, self.candidates.len());
        if count != size {
            return Some(format!("{count} candidates, but size = {size}"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.candidates.iter().find(|one| !seen.insert(&one.entity)) {
            return Some(format!("entity `{}` occurs twice among the candidates", twice.entity));
        }
        let fits = |query: &&PlacedQuery| {
            self.candidates.get(query.gold).is_some_and(|one| one.entity == query.entity)
        };
        let query = self.queries.iter().find(|query| !fits(query))?;
        let PlacedQuery { id, entity, gold, .. } = query;
        Some(format!("query `{id}`: candidate {gold} does not describe `{entity}`"))
    }

    /// Writes the list as JSON, one candidate or query per line, atomically.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |error: serde_json::Error| Error::write(path)(error.into());
        let rows = |key: &str, rows: Result<Vec<String>, serde_json::Error>| {
            rows.map(|rows| format!("\"{key}\": [\n{}\n]", rows.join(",\n"))).map_err(failed)
        };
        let text = format!(
            "{{\"config\": {},\n{},\n{},\n{}}}\n",
            serde_json::to_string(&self.config).map_err(failed)?,
            rows("candidates", self.candidates.iter().map(serde_json::to_string).collect())?,
            rows("queries", self.queries.iter().map(serde_json::to_string).collect())?,
            rows("left_out", self.skipped.iter().map(serde_json::to_string).collect())?,
        );
        write_whole(path, text.as_bytes())
    }
}

/// Languages by entity.
type Languages<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// `config.size` entities in random order, those of `queried` among them, each with one of its
/// languages.
fn draw_candidates(
    described: &Languages<'_>,
    queried: &Languages<'_>,
    config: &CandidateConfig,
) -> Vec<Description> {
    let mut others: Vec<&str> =
        described.keys().copied().filter(|entity| !queried.contains_key(entity)).collect();
    others.shuffle(&mut rng(config.seed, "others", ""));
    others.truncate(config.size - queried.len());
    let mut chosen: Vec<&str> = queried.keys().copied().chain(others).collect();
    chosen.shuffle(&mut rng(config.seed, "order", ""));

    let none = BTreeSet::new();
    let describe = |entity: &&str| {
        let all = described.get(entity).unwrap_or(&none);
        let avoided = match config.gold_language {
            GoldLanguage::Different => queried.get(entity).unwrap_or(&none),
            GoldLanguage::Any => &none,
        };
        let free: Vec<&str> = all.difference(avoided).copied().collect();
        let free = if free.is_empty() { all.iter().copied().collect() } else { free };
        let language = free.choose(&mut rng(config.seed, "language", entity)).unwrap_or(&"");
        Description { entity: (*entity).to_owned(), language: (*language).to_owned() }
    };
    chosen.iter().map(describe).collect()
}

/// The queries with the index of their right candidate, and those that have none.
fn list_queries(
    queries: &[Query],
    queried: &Languages<'_>,
    candidates: &[Description],
    gold_language: GoldLanguage,
) -> (Vec<PlacedQuery>, Vec<SkippedQuery>) {
    let candidates: BTreeMap<&str, (usize, &str)> = candidates
        .iter()
        .enumerate()
        .map(|(index, one)| (one.entity.as_str(), (index, one.language.as_str())))
        .collect();
    let (mut listed, mut skipped) = (Vec::new(), Vec::new());
    for Query { id, entity, language } in queries {
        let candidate = match queried.contains_key(entity.as_str()) {
            true => candidates.get(entity.as_str()),
            false => None,
        };
        let reason = match candidate {
            None => Reason::NoDescription,
            Some((_, described))
                if described == language && gold_language == GoldLanguage::Different =>
            {
                Reason::SameLanguage
            }
            Some(&(gold, _)) => {
                let (id, entity, language) = (id.clone(), entity.clone(), language.clone());
                listed.push(PlacedQuery { id, entity, language, gold });
                continue;
            }
        };
        skipped.push(SkippedQuery { id: id.clone(), reason });
    }
    (listed, skipped)
}

/// The generator of one purpose and item, so that no draw depends on how many came before.
fn rng(seed: u64, purpose: &str, item: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update([u8::try_from(purpose.len()).unwrap_or(u8::MAX)]);
    hash.update(purpose.as_bytes());
    hash.update(item.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}
