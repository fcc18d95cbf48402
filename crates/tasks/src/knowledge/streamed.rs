//! Mentions and triples that were made before, as shards.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kg_triples::Language;
use kg_triples::jsonl::Record;
use kg_triples::knowledge::{EntailmentExample, MentionExample};
use trainer::{Endless, ExampleStream, ShardLine, ShardedJsonl, Shards, Zipped};

use crate::masked_lm::TextPassages;
use crate::{Encoder, Error, Result};

/// A mention, a triple, and a passage of text; what is not streamed is missing.
pub(super) type KnowledgeExample =
    (Option<MentionExample>, (Option<EntailmentExample>, Option<Vec<u32>>));

/// Each of the three, again and again, with its own length.
pub(super) type KnowledgeSource = Zipped<
    Option<Endless<ShardedJsonl<MentionExample>>>,
    Zipped<Option<Endless<ShardedJsonl<EntailmentExample>>>, Option<Endless<TextPassages>>>,
>;

pub(super) type KnowledgeStream = ExampleStream<KnowledgeSource>;

/// What a model must be able to read, with the line that asks for it.
#[derive(Default)]
struct Extremes {
    tokens: (usize, String),
    id: (u32, String),
}

impl Extremes {
    fn see(&mut self, line: ShardLine<'_>, ids: &[u32]) {
        let place = || format!("{}: line {}", line.path.display(), line.number);
        if ids.len() > self.tokens.0 {
            self.tokens = (ids.len(), place());
        }
        if let Some(&id) = ids.iter().max()
            && (id > self.id.0 || self.id.1.is_empty())
        {
            self.id = (id, place());
        }
    }

    fn expect_fit(&self, model: &dyn Encoder) -> Result<()> {
        let (most, vocabulary) = (model.max_length(), model.vocab_size());
        let ((tokens, longest), (id, largest)) = (&self.tokens, &self.id);
        if i64::try_from(*tokens).unwrap_or(i64::MAX) > most {
            return Err(Error::data(longest, format!("at most {most} tokens"), tokens));
        }
        if i64::from(*id) >= vocabulary {
            return Err(Error::data(largest, format!("token ids below {vocabulary}"), id));
        }
        Ok(())
    }
}

/// Parses a line, and refuses an object whose parts do not agree.
pub(crate) fn parse<T: Record>(line: ShardLine<'_>) -> std::result::Result<T, String> {
    let example: T = line.parse()?;
    match example.fault() {
        Some(fault) => Err(format!("not one {}: {fault}", T::NAME)),
        None => Ok(example),
    }
}

/// Shards of [`MentionExample`], as `kg-triples mentions` writes them. What a task must know of all
/// examples is counted in the pass that opens them.
pub struct MentionShards {
    pub(super) shards: Shards,
    /// Of the passages.
    pub(super) passage_languages: BTreeSet<Language>,
    /// Of passages and descriptions.
    pub(super) languages: BTreeSet<Language>,
    extremes: Extremes,
}

impl MentionShards {
    /// Reads each file once.
    ///
    /// # Errors
    /// As [`Shards::open_with`]; the line of an object that is no mention is named.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let (mut passage_languages, mut described) = (BTreeSet::new(), BTreeSet::new());
        let mut extremes = Extremes::default();
        let shards = Shards::open_with(paths, |line| {
            let example: MentionExample = parse(line)?;
            passage_languages.insert(example.language);
            described.insert(example.description_language);
            extremes.see(line, &example.input_ids);
            extremes.see(line, &example.description_ids);
            Ok(())
        })?;
        let languages = passage_languages.union(&described).copied().collect();
        Ok(Self { shards, passage_languages, languages, extremes })
    }

    pub(super) fn expect_fit(&self, model: &dyn Encoder) -> Result<()> {
        self.extremes.expect_fit(model)
    }
}

/// Shards of [`EntailmentExample`], as `kg-triples entailment` writes them.
pub struct EntailmentShards {
    pub(super) shards: Shards,
    /// The relations by number.
    pub(super) relations: Vec<String>,
    extremes: Extremes,
}

impl EntailmentShards {
    /// Reads each file once. A number below the largest that no example has is a relation without
    /// a name.
    ///
    /// # Errors
    /// As [`Shards::open_with`]; the line of an object that is no triple, or whose relation has
    /// another number than before, is named.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let mut numbers: BTreeMap<u32, String> = BTreeMap::new();
        let mut extremes = Extremes::default();
        let shards = Shards::open_with(paths, |line| {
            let EntailmentExample { relation, relation_id, subject_ids, object_ids, .. } =
                parse(line)?;
            extremes.see(line, &subject_ids);
            extremes.see(line, &object_ids);
            if relation >= MOST_RELATIONS {
                return Err(format!("relation {relation}: below {MOST_RELATIONS} is expected"));
            }
            match numbers.get(&relation) {
                None => {
                    numbers.insert(relation, relation_id);
                }
                Some(known) if *known != relation_id => {
                    return Err(format!(
                        "relation {relation} is {relation_id}, and {known} before; write all \
                         files from one graph"
                    ));
                }
                Some(_) => (),
            }
            Ok(())
        })?;
        let count = numbers.keys().next_back().map_or(0, |last| last + 1);
        let relations =
            (0..count).map(|number| numbers.get(&number).cloned().unwrap_or_default()).collect();
        Ok(Self { shards, relations, extremes })
    }

    pub(super) fn expect_fit(&self, model: &dyn Encoder) -> Result<()> {
        self.extremes.expect_fit(model)
    }
}

/// More relations than any graph has: a damaged number must not ask for a table of its size.
const MOST_RELATIONS: u32 = 1 << 20;

/// Tokens of what is streamed of an example.
pub(super) fn tokens((mention, (triple, passage)): &KnowledgeExample) -> usize {
    let mention = mention.as_ref().map_or(0, |one| one.input_ids.len() + one.description_ids.len());
    let triple = triple.as_ref().map_or(0, |one| one.subject_ids.len() + one.object_ids.len());
    mention + triple + passage.as_ref().map_or(0, Vec::len)
}
