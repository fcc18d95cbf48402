//! Masked triples to train on: built in memory, or streamed from files.
use std::collections::BTreeMap;
use std::path::Path;

use kg_triples::{
    BuildReport, DropReport, KnowledgeGraph, Language, Sequence, SequenceConfig, SequenceKind,
    build_sequences_for_pairs,
};
use tokenizers::Tokenizer;
use trainer::{ExampleStream, ShardedJsonl, Shards, ShuffleConfig};

use crate::knowledge::parse;
use crate::{Error, Result};

/// Masked triples of an [`EntityCompletionTask`](super::EntityCompletionTask).
pub enum Sequences {
    /// In memory, in batches of like length, and those that could not be built.
    Built(Vec<Sequence>, DropReport),
    /// From files, in the order of [`trainer::ShuffledLines`].
    Streamed(ChosenSequences),
}

/// Some kinds and languages of a [`SequenceFiles`].
pub struct ChosenSequences {
    shards: Shards,
    shuffle: ShuffleConfig,
    kinds: Vec<SequenceKind>,
    languages: Vec<Language>,
    count: usize,
    /// Tokens of the longest.
    longest: usize,
}

/// Files that `kg-triples mix` wrote, each read once to check and to count its sequences.
///
/// # Example
/// ```
/// use kg_triples::{Language, SequenceKind};
/// use tasks::masked_lm::SequenceFiles;
/// use trainer::ShuffleConfig;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("en.jsonl");
/// # let line = r#"{"fact":0,"kind":"monolingual","languages":["en","en"],"input_ids":[0,9,4,2],
/// #     "labels":[-100,-100,7,-100],
/// #     "entities":[{"start":2,"end":3,"pieces":1,"role":"tail","language":"en"}]}"#;
/// # std::fs::write(&path, line.replace('\n', ""))?;
/// // let path = "sequences.jsonl.gz";
/// let files = SequenceFiles::open(&[path], &ShuffleConfig::default())?;
/// let en = Language::new("en")?;
/// let (_, report) = files.choose(&[SequenceKind::Monolingual], &[en])?;
/// assert_eq!((report.sequences(), report.tokens), (1, 4));
/// assert!(files.choose(&[SequenceKind::Mixed], &[en]).is_err()); // there is none
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct SequenceFiles {
    shards: Shards,
    shuffle: ShuffleConfig,
    counts: BTreeMap<(SequenceKind, Language, Language), Count>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    sequences: usize,
    tokens: usize,
    masked_tokens: usize,
    longest: usize,
}

impl SequenceFiles {
    /// Reads each file once.
    ///
    /// # Errors
    /// As [`Shards::open_with`]; the line of an object that is no sequence is named.
    pub fn open<P: AsRef<Path>>(paths: &[P], shuffle: &ShuffleConfig) -> Result<Self> {
        shuffle.validate()?;
        let mut counts: BTreeMap<_, Count> = BTreeMap::new();
        let shards = Shards::open_with(paths, |line| {
            let sequence: Sequence = parse(line)?;
            let (i, j) = sequence.languages;
            let count = counts.entry((sequence.kind, i, j)).or_default();
            count.sequences += 1;
            count.tokens += sequence.input_ids.len();
            count.masked_tokens +=
                sequence.entities.iter().map(|entity| entity.end - entity.start).sum::<usize>();
            count.longest = count.longest.max(sequence.input_ids.len());
            Ok(())
        })?;
        Ok(Self { shards, shuffle: shuffle.clone(), counts })
    }

    /// The same, or `None` where there is no path.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn if_any<P: AsRef<Path>>(paths: &[P], shuffle: &ShuffleConfig) -> Result<Option<Self>> {
        (!paths.is_empty()).then(|| Self::open(paths, shuffle)).transpose()
    }

    /// The sequences of some kinds whose two languages are among `languages`, and what they are in
    /// numbers.
    ///
    /// # Errors
    /// [`Error::Empty`] if there is none.
    pub fn choose(
        &self,
        kinds: &[SequenceKind],
        languages: &[Language],
    ) -> Result<(ChosenSequences, BuildReport)> {
        let (mut report, mut longest) = (BuildReport::default(), 0);
        for ((kind, i, j), count) in &self.counts {
            if kinds.contains(kind) && languages.contains(i) && languages.contains(j) {
                *report.kept.entry(*kind).or_default() += count.sequences;
                report.tokens += count.tokens;
                report.masked_tokens += count.masked_tokens;
                longest = longest.max(count.longest);
            }
        }
        if report.sequences() == 0 {
            let first = self.shards.files().first().map(|file| file.path().display().to_string());
            let what = format!("sequences of {kinds:?} in {languages:?} from {first:?} on");
            return Err(Error::empty(what));
        }
        let chosen = ChosenSequences {
            shards: self.shards.clone(),
            shuffle: self.shuffle.clone(),
            kinds: kinds.to_vec(),
            languages: languages.to_vec(),
            count: report.sequences(),
            longest,
        };
        Ok((chosen, report))
    }
}

impl Sequences {
    /// The sequences of `config.kinds` in `languages`, whose first one is paired with each other:
    /// chosen from `files` where there are some, else built from `graph`. The report says how many
    /// they are.
    ///
    /// # Errors
    /// As [`SequenceFiles::choose`] and [`build_sequences_for_pairs`].
    pub fn choose_or_build(
        files: Option<&SequenceFiles>,
        graph: &KnowledgeGraph,
        languages: &[Language],
        config: &SequenceConfig,
        tokenizer: &Tokenizer,
    ) -> Result<(Self, BuildReport)> {
        if let Some(files) = files {
            let (chosen, report) = files.choose(&config.kinds, languages)?;
            return Ok((Self::Streamed(chosen), report));
        }
        let (first, others) = languages.split_first().ok_or_else(|| Error::empty("language"))?;
        let pairs = others.iter().map(|other| (first.to_string(), other.to_string()));
        let pairs: Vec<_> = pairs.collect();
        let (built, report) = build_sequences_for_pairs(graph, &pairs, config, tokenizer)?;
        Ok((Self::Built(built, report.dropped), report))
    }
}

impl ChosenSequences {
    /// Tokens of the longest one.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The sequences as a stream.
    pub(super) fn stream(&self) -> Result<SequenceStream> {
        let source = ShardedJsonl::new(self.shards.clone(), self.shuffle.clone())?;
        let (kinds, languages) = (self.kinds.clone(), self.languages.clone());
        let keep = move |sequence: &Sequence| {
            let (i, j) = sequence.languages;
            kinds.contains(&sequence.kind) && languages.contains(&i) && languages.contains(&j)
        };
        let source = source.filtered(keep, self.count as u64);
        Ok(ExampleStream::new(source, |sequence: &Sequence| sequence.input_ids.len()))
    }

    /// What decides which sequences are chosen.
    pub(super) fn choice(&self) -> (&[SequenceKind], &[Language]) {
        (&self.kinds, &self.languages)
    }
}

pub(super) type SequenceStream = ExampleStream<ShardedJsonl<Sequence>>;
