use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::seq::{IndexedRandom, SliceRandom};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::mention_passage::{PassageAligner, SkipReason};
use super::mention_queries::MentionQueries;
use super::{
    EncodedDescriptions, EntityCounts, HeldOut, MentionConfig, MentionExample, Resampling, Split,
};
use crate::entity_linking::{LinkedText, Mention, Passage, passages};
use crate::{Error, Language, seed};

/// Counts of used and skipped passages. Without [`MentionExamples::resampled`], `passages` is the
/// sum of `examples` and the five counts of skipped passages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct MentionReport {
    /// Texts read.
    pub texts: usize,
    /// Non-blank paragraphs.
    pub passages: usize,
    /// Passages skipped because they have no mention.
    pub without_mention: usize,
    /// Passages skipped because no mentioned entity has a description.
    pub without_description: usize,
    /// Passages skipped because no description of a mentioned entity is in a suitable language (see
    /// [`MentionConfig::multilingual`]).
    pub without_language: usize,
    /// Passages skipped because the text or all suitable mentions are held out; see [`HeldOut`].
    pub held_out: usize,
    /// Passages skipped because no mention can be used: its tokens are missing, include unknown or
    /// special tokens, or exceed the maximum passage length.
    pub unaligned: usize,
    /// Number of examples.
    pub examples: usize,
    /// Examples by the language of the passage.
    pub by_language: BTreeMap<Language, usize>,
    /// Number of tokens of all returned passages.
    pub tokens: usize,
    /// Number of tokens of all returned mentions.
    pub mention_tokens: usize,
}

/// Iterator over examples of masked entity prediction (XLM-K §3.2). Without [`Self::resampled`],
/// each passage has at most one example.
///
/// For each passage, a mention with a suitable description is drawn uniformly, and then one of the
/// suitable descriptions of the mentioned entity. By default, a description is suitable if its
/// language differs from the language of the passage. A passage that is too long is cropped around
/// the mention. All draws depend only on the seed, the language and the index of the passage.
///
/// The first error of `texts` is returned and ends the iteration.
///
/// ```
/// use kg_triples::Language;
/// use kg_triples::entity_linking::{LinkedText, Mention};
/// use kg_triples::knowledge::{Descriptions, MentionConfig, MentionExamples};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
/// let (en, de) = (Language::new("en")?, Language::new("de")?);
/// let mut descriptions = Descriptions::default();
/// descriptions.add("Q70", en, "Bern is the federal city of Switzerland.")?;
/// let encoded = descriptions.encode(&tokenizer, 256)?;
/// let text = LinkedText {
///     id: "1".into(),
///     language: de,
///     entity: None,
///     text: "Die Aare fließt durch Bern.".into(),
///     mentions: vec![Mention { start: 22, end: 26, entity: "Q70".into() }],
///     switched_from: None,
/// };
/// let texts = [Ok(text)].into_iter(); // or a JsonlReader, or a WikiReader
/// let examples = MentionExamples::new(texts, &encoded, &tokenizer, MentionConfig::default())?;
/// for example in examples {
///     let example = example?;
///     let mention = &example.input_ids[example.mention.start..example.mention.end];
///     assert_eq!(tokenizer.decode(mention, false).unwrap().trim(), "Bern");
/// }
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub struct MentionExamples<'d, I> {
    texts: I,
    builder: ExampleBuilder<'d>,
    pending: VecDeque<Result<MentionExample, Error>>,
    next_passage: u64,
    report: MentionReport,
    mention_counts: EntityCounts,
    queries: Option<MentionQueries>,
    done: bool,
}

/// Number of texts that are processed in parallel.
const BLOCK_TEXTS: usize = 256;

impl<'d, I: Iterator<Item = Result<LinkedText, Error>>> MentionExamples<'d, I> {
    /// Creates an iterator over the examples of `texts`.
    ///
    /// # Errors
    /// [`Error::Config`] if `max_tokens` is below 3; [`Error::Tokenizer`] if a special token is
    /// missing.
    pub fn new(
        texts: I,
        descriptions: &'d EncodedDescriptions,
        tokenizer: &Tokenizer,
        config: MentionConfig,
    ) -> Result<Self, Error> {
        let aligner = PassageAligner::new(tokenizer, config)?;
        Ok(Self {
            texts,
            builder: ExampleBuilder { aligner, descriptions, held_out: None, resampling: None },
            pending: VecDeque::new(),
            next_passage: 0,
            report: MentionReport::default(),
            mention_counts: EntityCounts::default(),
            queries: None,
            done: false,
        })
    }

    /// Excludes held-out texts, entities and language pairs from the examples, and collects queries
    /// about them.
    ///
    /// # Errors
    /// As [`HeldOut::validate`].
    pub fn holding_out(mut self, held_out: &'d HeldOut) -> Result<Self, Error> {
        held_out.validate()?;
        self.queries = Some(MentionQueries::new(held_out));
        self.builder.held_out = Some(held_out);
        Ok(self)
    }

    /// Resamples the drawn mentions by entity: the drawn mention of a passage yields zero or more
    /// examples instead of one.
    #[must_use]
    pub fn resampled(mut self, resampling: &'d Resampling) -> Self {
        self.builder.resampling = Some(resampling);
        self
    }

    /// Returns the counts of the passages processed so far. Passages are processed in blocks, so
    /// the counts may include examples that have not been returned yet.
    pub fn report(&self) -> &MentionReport {
        &self.report
    }

    /// Returns, by language and entity, the number of mentions that could be drawn for training
    /// examples in the passages processed so far.
    pub fn mention_counts(&self) -> &EntityCounts {
        &self.mention_counts
    }

    /// Returns the queries about unseen texts, language pairs and entities, from the passages
    /// processed so far.
    ///
    /// # Errors
    /// [`Error::Empty`] with the responsible options, if there are no queries or no training
    /// examples.
    pub fn queries(&mut self) -> Result<[Vec<MentionExample>; 3], Error> {
        let Some(queries) = self.queries.take() else { return Ok(Default::default()) };
        if self.report.examples == 0
            && let Some(HeldOut { texts, pairs, entities, .. }) = self.builder.held_out
        {
            return Err(Error::Empty {
                what: "training mentions".into(),
                hint: format!(
                    "hold_out.texts = {texts}, hold_out.pairs = {pairs} and hold_out.entities = \
                     {entities} exclude all {} passages; hold out less, or add texts",
                    self.report.passages
                ),
            });
        }
        queries.finish(|entity| self.mention_counts.contains(entity))
    }

    fn process_block(&mut self) {
        let mut texts = Vec::with_capacity(BLOCK_TEXTS);
        let mut error = None;
        while texts.len() < BLOCK_TEXTS {
            match self.texts.next() {
                Some(Ok(text)) => texts.push(text),
                other => {
                    self.done = true;
                    error = other.and_then(Result::err);
                    break;
                }
            }
        }
        let mut numbered_passages = Vec::new();
        for text in &texts {
            for passage in passages(text) {
                numbered_passages.push((self.next_passage, text, passage));
                self.next_passage += 1;
            }
        }
        self.report.texts += texts.len();
        self.report.passages += numbered_passages.len();
        let builder = &self.builder;
        let output: Vec<_> = numbered_passages
            .into_par_iter()
            .map(|(number, text, passage)| (text.language, builder.build(number, text, &passage)))
            .collect();
        for (language, outcome) in output {
            match outcome {
                Ok(Ok(output)) => self.record_output(language, output),
                Ok(Err(SkipReason::WithoutMention)) => self.report.without_mention += 1,
                Ok(Err(SkipReason::WithoutDescription)) => self.report.without_description += 1,
                Ok(Err(SkipReason::WithoutLanguage)) => self.report.without_language += 1,
                Ok(Err(SkipReason::HeldOut)) => self.report.held_out += 1,
                Ok(Err(SkipReason::Unaligned)) => self.report.unaligned += 1,
                Err(error) => {
                    self.done = true;
                    self.pending.push_back(Err(error));
                    return;
                }
            }
        }
        self.pending.extend(error.map(Err));
    }

    fn record_output(&mut self, language: Language, output: PassageOutput) {
        match output {
            PassageOutput::Examples { examples, entities } => {
                for entity in entities {
                    self.mention_counts.add(language, entity);
                }
                for example in examples {
                    self.count_example(&example);
                    self.pending.push_back(Ok(example));
                }
            }
            PassageOutput::Queries(output) => {
                self.report.held_out += 1;
                if let Some(queries) = &mut self.queries {
                    output.into_iter().for_each(|query| queries.add(query));
                }
            }
        }
    }

    fn count_example(&mut self, example: &MentionExample) {
        let report = &mut self.report;
        report.examples += 1;
        *report.by_language.entry(example.language).or_default() += 1;
        report.tokens += example.input_ids.len();
        report.mention_tokens += example.mention.end - example.mention.start;
    }
}

impl<I: Iterator<Item = Result<LinkedText, Error>>> Iterator for MentionExamples<'_, I> {
    type Item = Result<MentionExample, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.pending.is_empty() && !self.done {
            self.process_block();
        }
        self.pending.pop_front()
    }
}

/// The examples or queries of a passage.
enum PassageOutput {
    /// Training examples of the drawn mention, and the entities of all mentions that could be
    /// drawn. There is one example, or any number of examples with [`Resampling`].
    Examples { examples: Vec<MentionExample>, entities: Vec<String> },
    /// Queries of a passage in a held-out text: at most one per probe.
    Queries(Vec<MentionExample>),
}

/// Creates the examples of passages.
struct ExampleBuilder<'d> {
    aligner: PassageAligner,
    descriptions: &'d EncodedDescriptions,
    held_out: Option<&'d HeldOut>,
    resampling: Option<&'d Resampling>,
}

impl ExampleBuilder<'_> {
    /// Creates the examples of a passage, or its queries if the text is held out. Draws depend only
    /// on the seed, the language and the number of the passage.
    fn build(
        &self,
        number: u64,
        text: &LinkedText,
        passage: &Passage<'_>,
    ) -> Result<Result<PassageOutput, SkipReason>, Error> {
        let held_out = self.held_out.filter(|held_out| held_out.holds_out_text(&text.id));
        match held_out {
            Some(held_out) => {
                let queries = self.create_queries(held_out, number, text, passage)?;
                Ok(queries.map(PassageOutput::Queries))
            }
            None => self.create_examples(number, text, passage),
        }
    }

    /// Returns the descriptions that can be combined with a mention in `language` for training.
    fn trainable_descriptions(
        &self,
        entity: &str,
        language: Language,
    ) -> Vec<&(Language, Vec<u32>)> {
        let multilingual = self.aligner.config.multilingual;
        let mut descriptions = self.descriptions.suitable(entity, language, multilingual);
        if let Some(held_out) = self.held_out {
            let is_held_out = held_out.holds_out_entity(entity);
            descriptions.retain(|(code, _)| {
                !is_held_out && !held_out.holds_out_pair(entity, language, *code)
            });
        }
        descriptions
    }

    fn create_examples(
        &self,
        number: u64,
        text: &LinkedText,
        passage: &Passage<'_>,
    ) -> Result<Result<PassageOutput, SkipReason>, Error> {
        let MentionConfig { multilingual, seed, .. } = self.aligner.config;
        let text_id = (text.id.as_str(), text.language);
        let can_use = |mention: &Mention| {
            !self.trainable_descriptions(&mention.entity, text.language).is_empty()
        };
        let aligned = self.aligner.align(number, text_id, passage, self.descriptions, can_use)?;
        let aligned = match aligned {
            Ok(aligned) => aligned,
            Err(SkipReason::WithoutLanguage) => {
                let has_suitable = |mention: &Mention| {
                    let (entity, language) = (&mention.entity, text.language);
                    !self.descriptions.suitable(entity, language, multilingual).is_empty()
                };
                let has_suitable_mention = passage.mentions.iter().any(has_suitable);
                return Ok(Err(if has_suitable_mention {
                    SkipReason::HeldOut
                } else {
                    SkipReason::WithoutLanguage
                }));
            }
            Err(reason) => return Ok(Err(reason)),
        };
        // `item_rng` uses only the first 24 bytes of a name, so the name is short: `m` and the
        // language code.
        let mut rng = seed::item_rng(&format!("m{}", text.language), seed, number);
        let Some(mention) = aligned.mentions.choose(&mut rng) else {
            return Ok(Err(SkipReason::Unaligned));
        };
        let descriptions = self.trainable_descriptions(&mention.entity, text.language);
        let mut examples = Vec::new();
        let count = match self.resampling {
            Some(resampling) => resampling.draw(text.language, &mention.entity, &mut rng),
            None => 1,
        };
        for _ in 0..count {
            let window_start = self.aligner.draw_window_start(&aligned, &mention.span, &mut rng);
            let Some(description) = descriptions.choose(&mut rng) else {
                return Ok(Err(SkipReason::WithoutLanguage));
            };
            let example = self.aligner.create_example(&aligned, mention, window_start, description);
            examples.push(example);
        }
        let entities = aligned.mentions.into_iter().map(|mention| mention.entity).collect();
        Ok(Ok(PassageOutput::Examples { examples, entities }))
    }

    /// Creates at most one query per probe. The target of a query is a description in another
    /// language than the passage.
    fn create_queries(
        &self,
        held_out: &HeldOut,
        number: u64,
        text: &LinkedText,
        passage: &Passage<'_>,
    ) -> Result<Result<Vec<MentionExample>, SkipReason>, Error> {
        let targets = |entity: &str| self.descriptions.suitable(entity, text.language, true);
        let text_id = (text.id.as_str(), text.language);
        let can_use = |mention: &Mention| !targets(&mention.entity).is_empty();
        let aligned = self.aligner.align(number, text_id, passage, self.descriptions, can_use)?;
        let Ok(aligned) = aligned else { return Ok(Err(SkipReason::HeldOut)) };
        let mut pairs: Vec<_> = (aligned.mentions.iter())
            .flat_map(|mention| {
                targets(&mention.entity).into_iter().map(move |target| (mention, target))
            })
            .collect();
        let mut rng = seed::item_rng("query", held_out.seed, number);
        pairs.shuffle(&mut rng);
        let mut splits: BTreeSet<Split> = BTreeSet::new();
        let mut queries = Vec::new();
        for (mention, description) in pairs {
            let window_start = self.aligner.draw_window_start(&aligned, &mention.span, &mut rng);
            let example = self.aligner.create_example(&aligned, mention, window_start, description);
            if splits.insert(held_out.split_of(&example)) {
                queries.push(example);
            }
        }
        Ok(Ok(queries))
    }
}
