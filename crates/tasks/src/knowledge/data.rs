//! Training data and probes of XLM-K, from prepared folders.
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use kg_triples::Language;
use kg_triples::knowledge::EntailmentExample;
use objectives::masking::MlmMaskingConfig;
use serde::Deserialize;
use tokenizers::Tokenizer;
use trainer::{ShardedJsonl, Shards, ShuffleConfig};
use xlmr_model::{Model, SpecialTokens};

use super::prepared::{EntailmentShards, MentionShards};
use crate::Result;
use crate::masked_lm::{MlmTask, TextPassages, TextSource, open_text};

/// Mentions, triples and text of XLM-K (§3.1 and §4.1), and the queries and candidates of the
/// probes.
///
/// Examples are streamed once per epoch, in the order of [`trainer::ShuffledLines`].
///
/// # Example
/// ```no_run
/// use tasks::knowledge::KnowledgeData;
/// use trainer::ShuffleConfig;
///
/// // Folders that `kg-triples mentions` and `kg-triples entailment` wrote.
/// let data = KnowledgeData::open("mentions", "triples", &ShuffleConfig::default())?;
/// println!("{data}");
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone)]
pub struct KnowledgeData {
    /// Mentions with descriptions.
    pub mentions: MentionShards,
    /// Triples with descriptions.
    pub triples: EntailmentShards,
    text: Option<MlmText>,
    shuffle: ShuffleConfig,
}

/// Text for masked language modelling.
#[derive(Clone)]
struct MlmText {
    shards: Shards,
    source: TextSource<()>,
    tokenizer: Tokenizer,
}

/// The passage in a line of the mention files.
#[derive(Deserialize)]
struct Passage {
    input_ids: Vec<u32>,
}

impl AsRef<[u32]> for Passage {
    fn as_ref(&self) -> &[u32] {
        &self.input_ids
    }
}

/// The description in a line of the mention files.
#[derive(Deserialize)]
struct Description {
    description_ids: Vec<u32>,
}

impl AsRef<[u32]> for Description {
    fn as_ref(&self) -> &[u32] {
        &self.description_ids
    }
}

impl KnowledgeData {
    /// Opens the files of mentions and triples, and reads every file once. Masked language
    /// modelling uses the passages of the mentions.
    ///
    /// # Errors
    /// The errors of [`MentionShards::open`] and [`EntailmentShards::open`].
    pub fn open(
        mentions: impl AsRef<Path>,
        triples: impl AsRef<Path>,
        shuffle: &ShuffleConfig,
    ) -> Result<Self> {
        let mentions = MentionShards::open(mentions)?;
        let triples = EntailmentShards::open(triples)?;
        Ok(Self { mentions, triples, text: None, shuffle: shuffle.clone() })
    }

    /// Replaces the training mentions, for a separate experimental arm.
    ///
    /// # Errors
    /// The errors of [`MentionShards::open`].
    pub fn with_mentions(&self, path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { mentions: MentionShards::open(path)?, ..self.clone() })
    }

    /// Sets separate documents for masked language modelling, if `files` is not empty.
    ///
    /// # Errors
    /// The errors of [`Shards::open_with`]; the error names a line without text, or the first file
    /// if no document has a token that can be masked.
    pub fn with_text<P: AsRef<Path>>(
        self,
        files: &[P],
        source: &TextSource<()>,
        tokenizer: &Tokenizer,
    ) -> Result<Self> {
        if files.is_empty() {
            return Ok(self);
        }
        let shards = open_text(files, tokenizer)?;
        let text = MlmText { shards, source: source.clone(), tokenizer: tokenizer.clone() };
        Ok(Self { text: Some(text), ..self })
    }

    /// Returns the languages of passages and descriptions.
    pub fn languages(&self) -> &BTreeSet<Language> {
        &self.mentions.languages
    }

    /// Returns the ids of the relations, by relation index.
    pub fn relations(&self) -> &[String] {
        &self.triples.relations
    }

    /// Creates a source that parses each line of the mention files as a `T`.
    pub(super) fn mention_lines<T>(&self) -> Result<ShardedJsonl<T>> {
        Ok(ShardedJsonl::new(self.mentions.shards.clone(), self.shuffle.clone())?)
    }

    /// Creates a source that parses each line of the triple files.
    pub(super) fn triple_lines(&self) -> Result<ShardedJsonl<EntailmentExample>> {
        Ok(ShardedJsonl::new(self.triples.shards.clone(), self.shuffle.clone())?)
    }

    /// Creates the task of masked language modelling (§4.1) on the text or, without text, on the
    /// passages of the mentions.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) naming a line that does not fit the model; the errors of
    /// [`MlmTask::new`].
    pub fn masked_lm<'a>(
        &self,
        model: &'a Model,
        specials: SpecialTokens,
        masking: &MlmMaskingConfig,
    ) -> Result<MlmTask<'a>> {
        let Some(MlmText { shards, source, tokenizer }) = &self.text else {
            self.mentions.check_limits(model)?;
            let passages = self.mention_lines::<Passage>()?;
            return MlmTask::new(model, specials, passages, masking);
        };
        let shards = shards.clone();
        let text = TextPassages::new(shards, &self.shuffle, source, tokenizer, specials)?;
        MlmTask::new(model, specials, text, masking)
    }

    /// Creates the task of masked language modelling on the descriptions of the mentions' entities,
    /// for the ablation without knowledge tasks (Table 4).
    ///
    /// # Errors
    /// The errors of [`masked_lm`](Self::masked_lm).
    pub fn description_lm<'a>(
        &self,
        model: &'a Model,
        specials: SpecialTokens,
        masking: &MlmMaskingConfig,
    ) -> Result<MlmTask<'a>> {
        self.mentions.check_limits(model)?;
        let descriptions = self.mention_lines::<Description>()?;
        MlmTask::new(model, specials, descriptions, masking)
    }
}

/// Formats the counts of the data: one line each for mentions, triples and text.
impl fmt::Display for KnowledgeData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |shards: &Shards| (shards.line_count(), shards.files().len());
        let (examples, files) = count(&self.mentions.shards);
        let languages = self.mentions.passage_languages.len();
        write!(f, "{examples} mentions in {languages} languages from {files} files; ")?;
        let probe = &self.mentions.probe;
        match probe.is_empty() {
            true => write!(f, "no XEP queries: the folder has no probe (see --hold-out)")?,
            false => write!(
                f,
                "{} queries in new texts, {} in new pairs of languages, {} about new entities",
                probe.unseen_text_queries.len(),
                probe.unseen_pair_queries.len(),
                probe.unseen_entity_queries.len()
            )?,
        }
        let (examples, files) = count(&self.triples.shards);
        let relations = self.relations().len();
        write!(f, "\n{examples} triples of {relations} relations from {files} files; ")?;
        match self.triples.probe.unseen_triples.len() {
            0 => write!(f, "no XOR queries: the folder has no probe (see --hold-out)")?,
            queries => write!(f, "{queries} queries")?,
        }
        if let Some(MlmText { shards, source, .. }) = &self.text {
            let (documents, files) = count(shards);
            let max_tokens = source.max_tokens;
            write!(
                f,
                "\n{documents} documents from {files} files, in passages of {max_tokens} tokens"
            )?;
        }
        Ok(())
    }
}
