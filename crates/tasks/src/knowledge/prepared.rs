//! Prepared mentions and triples: training shards and probes.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kg_triples::Language;
use kg_triples::jsonl::{JsonlReader, Record};
use kg_triples::knowledge::{Candidate, EntailmentExample, MentionExample};
use shards::Manifest;
use torch_ext::to_i64;
use trainer::{ShardLine, Shards};
use xlmr_model::Model;

use crate::{Error, Result};

/// Largest row length and largest token id in some files, both of which the model must support.
/// Each of the two values is stored with the file and line in which it occurs.
#[derive(Clone, Default)]
struct Maxima {
    tokens: (usize, String),
    id: (u32, String),
}

impl Maxima {
    fn add(&mut self, location: impl Fn() -> String, ids: &[u32]) {
        if ids.len() > self.tokens.0 {
            self.tokens = (ids.len(), location());
        }
        if let Some(&id) = ids.iter().max()
            && (id > self.id.0 || self.id.1.is_empty())
        {
            self.id = (id, location());
        }
    }

    fn add_line(&mut self, line: ShardLine<'_>, ids: &[u32]) {
        self.add(|| format!("{}: line {}", line.path.display(), line.number), ids);
    }

    fn check_limits(&self, model: &Model) -> Result<()> {
        let (max_length, vocabulary) = (model.config().max_length(), model.config().vocab_size);
        let ((tokens, longest_row), (id, largest_id)) = (&self.tokens, &self.id);
        if to_i64(*tokens) > max_length {
            return Err(Error::data(longest_row, format!("at most {max_length} tokens"), tokens));
        }
        if i64::from(*id) >= vocabulary {
            return Err(Error::data(largest_id, format!("token ids below {vocabulary}"), id));
        }
        Ok(())
    }
}

/// Parses a line, and rejects JSON objects with inconsistent values.
pub(crate) fn parse_record<T: Record>(line: ShardLine<'_>) -> std::result::Result<T, String> {
    let example: T = line.parse()?;
    match example.invalid_reason() {
        Some(reason) => Err(format!("not a valid {}: {reason}", T::NAME)),
        None => Ok(example),
    }
}

/// Reads the rows of a probe file in a prepared folder; empty if there is no such file.
fn read_probe<T: Record>(
    folder: &Path,
    name: &str,
    maxima: &mut Maxima,
    ids: impl Fn(&T) -> [&[u32]; 2],
) -> Result<Vec<T>> {
    let Some(manifest) = Manifest::read(folder)? else { return Ok(Vec::new()) };
    let name = format!("probe/{name}.jsonl.gz");
    let Some(digest) = manifest.files.get(&name) else { return Ok(Vec::new()) };
    let path = folder.join(&name);
    digest.check(&path)?;
    let rows = JsonlReader::open(&path)?.collect::<std::result::Result<Vec<T>, _>>()?;
    for row in &rows {
        for ids in ids(row) {
            maxima.add(|| path.display().to_string(), ids);
        }
    }
    Ok(rows)
}

fn read_candidates(folder: &Path, maxima: &mut Maxima) -> Result<Vec<Candidate>> {
    read_probe(folder, "candidates", maxima, |row: &Candidate| [&row.input_ids, &[]])
}

/// Queries and candidates of XEP (XLM-K, appendix B): held-out mentions, and entity descriptions.
#[derive(Clone, Debug, Default)]
pub struct MentionProbe {
    /// Candidate descriptions, one or more per entity.
    pub candidates: Vec<Candidate>,
    /// Queries from held-out texts about trained entities, in trained language pairs.
    pub unseen_text_queries: Vec<MentionExample>,
    /// Queries from held-out texts about trained entities, in untrained language pairs.
    pub unseen_pair_queries: Vec<MentionExample>,
    /// Queries from held-out texts about untrained entities.
    pub unseen_entity_queries: Vec<MentionExample>,
}

impl MentionProbe {
    fn read(folder: &Path, maxima: &mut Maxima) -> Result<Self> {
        let mut queries = |name: &str| {
            read_probe(folder, name, maxima, |row: &MentionExample| [&row.input_ids, &[]])
        };
        let unseen_text_queries = queries("unseen-texts")?;
        let unseen_pair_queries = queries("unseen-pairs")?;
        let unseen_entity_queries = queries("unseen-entities")?;
        let candidates = read_candidates(folder, maxima)?;
        Ok(Self { candidates, unseen_text_queries, unseen_pair_queries, unseen_entity_queries })
    }

    /// Returns whether there are no queries.
    pub fn is_empty(&self) -> bool {
        [&self.unseen_text_queries, &self.unseen_pair_queries, &self.unseen_entity_queries]
            .iter()
            .all(|q| q.is_empty())
    }
}

/// Queries and candidates of XOR: held-out triples, and descriptions of objects.
#[derive(Clone, Debug, Default)]
pub struct TripleProbe {
    /// Candidate descriptions, one per object.
    pub candidates: Vec<Candidate>,
    /// Held-out triples whose subject and relation have a single object.
    pub unseen_triples: Vec<EntailmentExample>,
}

/// Number of training lines by entity, mention language and description language.
pub type TrainedPairs = BTreeMap<(String, Language, Language), u64>;

/// [`MentionExample`]s written by `kg-triples mentions`.
///
/// Statistics of all examples are computed when the files are opened.
#[derive(Clone)]
pub struct MentionShards {
    pub(super) shards: Shards,
    /// Queries and candidates of XEP; empty without a probe.
    pub probe: MentionProbe,
    /// Languages of the passages.
    pub(super) passage_languages: BTreeSet<Language>,
    /// Languages of passages and descriptions, in training and probe.
    pub(super) languages: BTreeSet<Language>,
    /// Training counts of the entities that are candidates.
    pub(super) trained_pairs: TrainedPairs,
    maxima: Maxima,
}

impl MentionShards {
    /// Opens a prepared folder, a file of training lines or a folder of such files, and reads each
    /// file once.
    ///
    /// # Errors
    /// The errors of [`Shards::open_with`]; the error names the line of a JSON object that is not a
    /// mention, or a file that changed since it was prepared.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut maxima = Maxima::default();
        let probe = MentionProbe::read(path, &mut maxima)?;
        let candidate_entities: BTreeSet<&str> =
            probe.candidates.iter().map(|row| &*row.entity).collect();
        let mut passage_languages = BTreeSet::new();
        let mut description_languages = BTreeSet::new();
        let mut trained_pairs = TrainedPairs::new();
        let shards = Shards::open_with([path], |line| {
            let example: MentionExample = parse_record(line)?;
            passage_languages.insert(example.language);
            description_languages.insert(example.description_language);
            maxima.add_line(line, &example.input_ids);
            maxima.add_line(line, &example.description_ids);
            if candidate_entities.contains(example.entity.as_str()) {
                let pair = (example.entity, example.language, example.description_language);
                *trained_pairs.entry(pair).or_default() += 1;
            }
            Ok(())
        })?;
        let mut languages: BTreeSet<Language> =
            passage_languages.union(&description_languages).copied().collect();
        languages.extend(probe.candidates.iter().map(|row| row.language));
        let queries =
            [&probe.unseen_text_queries, &probe.unseen_pair_queries, &probe.unseen_entity_queries];
        languages.extend(queries.into_iter().flatten().map(|row| row.language));
        Ok(Self { shards, probe, passage_languages, languages, trained_pairs, maxima })
    }

    pub(super) fn check_limits(&self, model: &Model) -> Result<()> {
        self.maxima.check_limits(model)
    }
}

/// [`EntailmentExample`]s written by `kg-triples entailment`.
#[derive(Clone)]
pub struct EntailmentShards {
    pub(super) shards: Shards,
    /// Queries and candidates of XOR; empty without a probe.
    pub probe: TripleProbe,
    /// Relations by index.
    pub(super) relations: Vec<String>,
    /// Training triples for the baselines.
    pub(super) facts: TrainedFacts,
    maxima: Maxima,
}

impl EntailmentShards {
    /// Opens a prepared folder, a file of training lines or a folder of such files, and reads each
    /// file once. The list of relation names has an empty name at each unused relation index.
    ///
    /// # Errors
    /// The errors of [`Shards::open_with`]; the error names the line of a JSON object that is not a
    /// triple or whose relation index belongs to another relation, or a file that changed since it
    /// was prepared.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut maxima = Maxima::default();
        let candidates = read_candidates(path, &mut maxima)?;
        let unseen_triples =
            read_probe(path, "unseen-triples", &mut maxima, |row: &EntailmentExample| {
                [&row.subject_ids, &[]]
            })?;
        let mut relations = Relations::default();
        for query in &unseen_triples {
            let result = relations.add(query);
            result.map_err(|reason| {
                Error::data(path.display().to_string(), "one relation per index", reason)
            })?;
        }
        let mut facts = TrainedFacts::default();
        let shards = Shards::open_with([path], |line| {
            let example: EntailmentExample = parse_record(line)?;
            if !unseen_triples.is_empty() {
                facts.add(&example);
            }
            maxima.add_line(line, &example.subject_ids);
            maxima.add_line(line, &example.object_ids);
            relations.add(&example)
        })?;
        let probe = TripleProbe { candidates, unseen_triples };
        Ok(Self { shards, probe, relations: relations.names(), facts, maxima })
    }

    pub(super) fn check_limits(&self, model: &Model) -> Result<()> {
        self.maxima.check_limits(model)
    }
}

/// Distinct training triples (subject, relation, object).
///
/// If there are more than [`MAX_FACTS`], none are stored, no baseline is computed, and the flag is
/// true.
#[derive(Clone, Debug, Default)]
pub(super) struct TrainedFacts(pub(super) BTreeSet<[Box<str>; 3]>, bool);

/// Maximum number of triples in memory.
const MAX_FACTS: usize = 1_000_000;

impl TrainedFacts {
    pub(super) fn add(&mut self, example: &EntailmentExample) {
        let EntailmentExample { subject, relation_id, object, .. } = example;
        self.1 |= self.0.len() >= MAX_FACTS;
        if self.1 {
            self.0.clear();
        } else {
            self.0.insert([subject, relation_id, object].map(|id| id.as_str().into()));
        }
    }
}

/// Relations by index.
#[derive(Default)]
struct Relations(BTreeMap<u32, String>);

impl Relations {
    fn add(&mut self, example: &EntailmentExample) -> std::result::Result<(), String> {
        let EntailmentExample { relation, relation_id, .. } = example;
        if *relation >= MAX_RELATIONS {
            return Err(format!("relation {relation}: expected an index below {MAX_RELATIONS}"));
        }
        match self.0.get(relation) {
            Some(previous) if previous != relation_id => Err(format!(
                "relation {relation} is {relation_id}, but was {previous}; write all files from \
                 one graph"
            )),
            Some(_) => Ok(()),
            None => {
                self.0.insert(*relation, relation_id.clone());
                Ok(())
            }
        }
    }

    /// Returns the id of each relation; empty for a relation of the graph without an example.
    fn names(self) -> Vec<String> {
        let mut names = Vec::new();
        for (number, name) in self.0 {
            names.resize(number as usize, String::new());
            names.push(name);
        }
        names
    }
}

/// Upper bound on relation indices, so that a damaged index does not cause a huge allocation.
const MAX_RELATIONS: u32 = 1 << 20;
