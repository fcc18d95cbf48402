//! All that XLM-K is trained on, each part in memory or streamed.
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use kg_triples::Language;
use kg_triples::knowledge::{EntailmentDataset, EntailmentSource, MentionDataset, MentionSource};
use tokenizers::Tokenizer;
use trainer::{Endless, ExampleStream, ShardedJsonl, Shards, ShuffleConfig, Zipped};
use xlmr_model::SpecialTokens;

use super::streamed::{EntailmentShards, KnowledgeStream, MentionShards, tokens};
use super::{FrequencyBaseline, LossWeights, ProbeConfig, ProbeScores};
use crate::masked_lm::{TextPassages, TextSource, open_text};
use crate::{Error, Result};

/// Where the parts of [`KnowledgeData`] lie. A part with files of examples is streamed, and its
/// source is not read.
pub struct KnowledgeFiles<'f, M, T, S> {
    /// What mentions are made of.
    pub mentions: &'f MentionSource<M>,
    /// Files that `kg-triples mentions` wrote.
    pub mention_examples: &'f [S],
    /// What triples are made of; without pages of its own, those of `mentions`.
    pub triples: &'f EntailmentSource<T, M>,
    /// Files that `kg-triples entailment` wrote.
    pub triple_examples: &'f [S],
    /// How passages for masked language modelling are cut; its own files are `text_files`.
    pub text: TextSource<()>,
    /// Documents for masked language modelling; none: the passages of the mentions.
    pub text_files: &'f [S],
    /// How what is streamed is shuffled.
    pub shuffle: &'f ShuffleConfig,
}

/// Mentions, triples and text (XLM-K, §3.1 and §4.1). What is in memory is drawn from, and has
/// queries for the probes; what is streamed comes once an epoch, in the order of
/// [`trainer::ShuffledLines`], and memory does not grow with it.
pub struct KnowledgeData {
    /// Mentions with descriptions.
    pub mentions: Mentions,
    /// Descriptions in the passages' languages; only if they were asked for.
    within_language: Option<MentionDataset>,
    /// Triples with descriptions.
    pub triples: Triples,
    text: Option<(Shards, TextSource<()>)>,
    shuffle: ShuffleConfig,
    tokenizer: Tokenizer,
}

/// Mentions to train on.
pub enum Mentions {
    /// In memory.
    Drawn(MentionDataset),
    /// From files.
    Streamed(MentionShards),
}

/// Triples to train on.
pub enum Triples {
    /// In memory.
    Drawn(Box<EntailmentDataset>),
    /// From files.
    Streamed(EntailmentShards),
}

impl KnowledgeData {
    /// Reads what is kept in memory, and every streamed file once. With `within_language`, mentions
    /// have descriptions in the passage's language as well, for arms that train on them.
    ///
    /// # Errors
    /// As [`MentionDataset::load`], [`EntailmentDataset::load`] and [`Shards::open_with`];
    /// [`Error::Config`] if `within_language` is asked of streamed mentions, whose descriptions are
    /// those of the files.
    pub fn load<M, T, S>(
        files: &KnowledgeFiles<'_, M, T, S>,
        within_language: bool,
        tokenizer: &Tokenizer,
    ) -> Result<Self>
    where
        M: AsRef<Path> + Clone,
        T: AsRef<Path> + Clone,
        S: AsRef<Path>,
    {
        let load = |multilingual| MentionDataset::load(files.mentions, multilingual, tokenizer);
        let streamed = !files.mention_examples.is_empty();
        if streamed && within_language {
            let rule = "from mentions.pages for an arm with multilingual = false: the languages \
                        of examples in files are those they were written with";
            return Err(Error::config("mentions.examples", "set", rule));
        }
        let mentions = match streamed {
            true => Mentions::Streamed(MentionShards::open(files.mention_examples)?),
            false => Mentions::Drawn(load(true)?),
        };
        let within_language = within_language.then(|| load(false)).transpose()?;
        let triples = match files.triple_examples {
            [] => {
                let source = files.triples.or_pages(&files.mentions.pages);
                Triples::Drawn(EntailmentDataset::load(&source, tokenizer)?.into())
            }
            paths => Triples::Streamed(EntailmentShards::open(paths)?),
        };
        let text = match files.text_files {
            [] => None,
            paths => Some((open_text(paths, tokenizer)?, files.text.clone())),
        };
        let (shuffle, tokenizer) = (files.shuffle.clone(), tokenizer.clone());
        Ok(Self { mentions, within_language, triples, text, shuffle, tokenizer })
    }

    /// The languages of passages and descriptions.
    pub fn languages(&self) -> BTreeSet<Language> {
        match &self.mentions {
            Mentions::Drawn(data) => data.languages(),
            Mentions::Streamed(data) => data.languages.clone(),
        }
    }

    /// The relations by number.
    pub fn relations(&self) -> &[String] {
        match &self.triples {
            Triples::Drawn(data) => data.relations(),
            Triples::Streamed(data) => &data.relations,
        }
    }

    /// Mentions that are drawn: with descriptions in other languages, or in the passage's.
    pub(super) fn drawn_mentions(&self, multilingual: bool) -> Result<Option<&MentionDataset>> {
        match (&self.mentions, multilingual) {
            (Mentions::Streamed(_), _) => Ok(None),
            (Mentions::Drawn(data), true) => Ok(Some(data)),
            (Mentions::Drawn(_), false) => match &self.within_language {
                Some(data) => Ok(Some(data)),
                None => Err(Error::empty("mentions with descriptions within a language")),
            },
        }
    }

    /// Whether masked language modelling has text of its own.
    pub(super) fn has_text(&self) -> bool {
        self.text.is_some()
    }

    /// What is streamed of the parts that `weights` train; `None` if all is in memory.
    pub(super) fn stream(
        &self,
        weights: &LossWeights,
        specials: SpecialTokens,
    ) -> Result<Option<KnowledgeStream>> {
        let mut parts = (None, None, None);
        let mlm_on_mentions = weights.mlm != 0.0 && self.text.is_none();
        let reads_mentions =
            weights.mep != 0.0 || weights.description_mlm != 0.0 || mlm_on_mentions;
        if let Mentions::Streamed(data) = &self.mentions
            && reads_mentions
        {
            parts.0 = Some(ShardedJsonl::new(data.shards.clone(), self.shuffle.clone())?);
        }
        if let Triples::Streamed(data) = &self.triples
            && weights.oe != 0.0
        {
            parts.1 = Some(ShardedJsonl::new(data.shards.clone(), self.shuffle.clone())?);
        }
        if let Some((shards, source)) = &self.text
            && weights.mlm != 0.0
        {
            let (shards, tokenizer) = (shards.clone(), &self.tokenizer);
            parts.2 = Some(TextPassages::new(shards, &self.shuffle, source, tokenizer, specials)?);
        }
        let (mentions, triples, text) = parts;
        let drawn = matches!(self.mentions, Mentions::Drawn(_))
            && matches!(self.triples, Triples::Drawn(_))
            && text.is_none();
        let rest = Zipped::new(triples.map(Endless::new), text.map(Endless::new));
        let source = Zipped::new(mentions.map(Endless::new), rest);
        Ok((!drawn).then(|| ExampleStream::new(source, tokens)))
    }

    /// What counting the training examples is worth at XEP, with names for a table; nothing where
    /// mentions are streamed.
    ///
    /// # Errors
    /// As [`FrequencyBaseline::all`].
    pub fn baselines(&self, config: &ProbeConfig) -> Result<Vec<(&'static str, ProbeScores)>> {
        let Mentions::Drawn(mentions) = &self.mentions else { return Ok(Vec::new()) };
        Ok(vec![
            (
                "Guess: the entity most trained in the language",
                FrequencyBaseline::Entity.all(mentions, config)?,
            ),
            (
                "Guess: the same with the description's language",
                FrequencyBaseline::LanguagePair.all(mentions, config)?,
            ),
        ])
    }
}

/// What was read, in a line for each part.
impl fmt::Display for KnowledgeData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |shards: &Shards| (shards.lines(), shards.files().len());
        match &self.mentions {
            Mentions::Drawn(data) => write!(f, "{}", data.report)?,
            Mentions::Streamed(data) => {
                let (examples, files) = count(&data.shards);
                let languages = data.languages.len();
                write!(f, "{examples} mentions in {languages} languages from {files} files; ")?;
                write!(f, "XEP is not asked: files of examples hold out nothing")?;
            }
        }
        match &self.triples {
            Triples::Drawn(data) => write!(f, "\n{}", data.report())?,
            Triples::Streamed(data) => {
                let (examples, files) = count(&data.shards);
                let relations = data.relations.len();
                write!(f, "\n{examples} facts of {relations} relations from {files} files; ")?;
                write!(f, "XOR is not asked: files of examples hold out nothing")?;
            }
        }
        if let Some((shards, source)) = &self.text {
            let ((documents, files), most) = (count(shards), source.max_tokens);
            write!(f, "\n{documents} documents from {files} files, in passages of {most} tokens")?;
        }
        Ok(())
    }
}
