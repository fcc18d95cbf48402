//! Masked triples from files.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kg_triples::{BuildReport, Language, Sequence, SequenceKind};
use trainer::{Fingerprint, ShardFile, Shards, ShuffleConfig};

use crate::knowledge::parse_record;
use crate::shard_examples::{LineReader, ShardExamples};
use crate::{Error, Result};

/// Sequences of [`SequenceFiles`], selected by kind and language for an
/// [`EntityCompletionTask`](super::EntityCompletionTask).
pub struct SelectedSequences {
    shards: Shards,
    shuffle: ShuffleConfig,
    kinds: Vec<SequenceKind>,
    languages: Vec<Language>,
    sequence_count: u64,
    /// Number of tokens of the longest sequence.
    max_tokens: usize,
}

/// Files written by `kg-triples mix`. Each file is read once for validation and counting.
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
/// let (_, report) = files.select(&[SequenceKind::Monolingual], &[en])?;
/// assert_eq!((report.sequence_count(), report.tokens), (1, 4));
/// assert!(files.select(&[SequenceKind::Mixed], &[en]).is_err()); // no mixed sequences
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct SequenceFiles {
    shards: Shards,
    shuffle: ShuffleConfig,
    counts: BTreeMap<PathBuf, Counts>,
}

/// Counts of a file's sequences, by kind and languages.
type Counts = BTreeMap<(SequenceKind, Language, Language), SequenceCounts>;

#[derive(Clone, Copy, Default)]
struct SequenceCounts {
    sequences: usize,
    tokens: usize,
    masked_tokens: usize,
    max_tokens: usize,
}

impl SequenceFiles {
    /// Opens the files and reads each file once.
    ///
    /// # Errors
    /// The errors of [`Shards::open_with`]; the error names the line of a JSON object that is not a
    /// sequence.
    pub fn open<P: AsRef<Path>>(paths: &[P], shuffle: &ShuffleConfig) -> Result<Self> {
        shuffle.validate()?;
        let mut counts: BTreeMap<PathBuf, Counts> = BTreeMap::new();
        let shards = Shards::open_with(paths, |line| {
            let sequence: Sequence = parse_record(line)?;
            let (i, j) = sequence.languages;
            let file_counts = counts.entry(line.path.to_owned()).or_default();
            let count = file_counts.entry((sequence.kind, i, j)).or_default();
            count.sequences += 1;
            count.tokens += sequence.input_ids.len();
            count.masked_tokens +=
                sequence.entities.iter().map(|entity| entity.end - entity.start).sum::<usize>();
            count.max_tokens = count.max_tokens.max(sequence.input_ids.len());
            Ok(())
        })?;
        Ok(Self { shards, shuffle: shuffle.clone(), counts })
    }

    /// Selects sequences by kind and by `languages`, and returns their counts.
    ///
    /// If two languages are selected and there are files of this pair of languages, only sequences
    /// in these files are selected. Monolingual sequences of the two languages in files of other
    /// pairs are not selected.
    ///
    /// # Errors
    /// [`Error::Empty`] if no sequence is selected.
    pub fn select(
        &self,
        kinds: &[SequenceKind],
        languages: &[Language],
    ) -> Result<(SelectedSequences, BuildReport)> {
        let shards = match languages {
            [i, j] => self.files_of_pair(&format!("{i}-{j}.")),
            _ => self.shards.clone(),
        };
        let (mut report, mut max_tokens) = (BuildReport::default(), 0);
        // A file without lines has no counts.
        let counts = shards.files().iter().filter_map(|file| self.counts.get(file.path()));
        for ((kind, i, j), count) in counts.flatten() {
            if kinds.contains(kind) && languages.contains(i) && languages.contains(j) {
                *report.kept.entry(*kind).or_default() += count.sequences;
                report.tokens += count.tokens;
                report.masked_tokens += count.masked_tokens;
                max_tokens = max_tokens.max(count.max_tokens);
            }
        }
        if report.sequence_count() == 0 {
            let files = format!("the files from {} on", self.shards.files()[0].path().display());
            return Err(Error::empty(format!(
                "sequences of {kinds:?} in {languages:?} in {files}"
            )));
        }
        let selected = SelectedSequences {
            shards,
            shuffle: self.shuffle.clone(),
            kinds: kinds.to_vec(),
            languages: languages.to_vec(),
            sequence_count: report.sequence_count() as u64,
            max_tokens,
        };
        Ok((selected, report))
    }

    /// Returns the files whose names start with `prefix`, or all files if no name does.
    fn files_of_pair(&self, prefix: &str) -> Shards {
        let has_prefix = |file: &ShardFile| {
            let name = file.path().file_name().expect("a file that was read has a name");
            name.as_encoded_bytes().starts_with(prefix.as_bytes())
        };
        match self.shards.files().iter().any(has_prefix) {
            true => self.shards.filter(has_prefix),
            false => self.shards.clone(),
        }
    }
}

impl SelectedSequences {
    /// Number of tokens of the longest sequence.
    pub(super) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Creates the examples, which are the sequences converted by `row`.
    pub(super) fn examples<T: 'static>(
        &self,
        row: impl Fn(&Sequence) -> std::result::Result<T, String> + 'static,
        tokens: fn(&T) -> usize,
    ) -> Result<ShardExamples<T>> {
        let mut selection = Fingerprint::new();
        selection.add_json("chosen", &(&self.kinds, &self.languages));
        let (kinds, languages) = (self.kinds.clone(), self.languages.clone());
        let reader = LineReader {
            parse: Box::new(move |line| {
                let sequence: Sequence = parse_record(line)?;
                let (i, j) = sequence.languages;
                let selected = kinds.contains(&sequence.kind)
                    && languages.contains(&i)
                    && languages.contains(&j);
                selected.then(|| row(&sequence)).into_iter().collect()
            }),
            selection,
            example_count: Some(self.sequence_count),
            tokens,
        };
        ShardExamples::open(self.shards.clone(), &self.shuffle, reader)
    }
}
