use std::collections::{BTreeMap, VecDeque};

use rand::seq::IndexedRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::mention_passage::{LeftOut, PassageAligner};
use super::{EncodedDescriptions, SameLanguage};
use crate::entity_linking::{LinkedText, Passage, passages};
use crate::jsonl::Record;
use crate::{KgError, Language, seed};

/// Which tokens are a mention's where a token reaches across its border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenBoundary {
    /// Every token that touches it, so that none of it shows once they are masked.
    #[default]
    Cover,
    /// The mention is left out.
    Exact,
}

/// How examples of masked entity prediction are made; the defaults are the values of XLM-K (§3.2,
/// §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MentionConfig {
    /// Longest passage in tokens, special tokens counted; of a longer one, a piece around the
    /// mention is taken.
    pub max_tokens: usize,
    /// The description is in another language than the passage; `false` is the ablation "w/o
    /// multilingual description".
    pub multilingual: bool,
    /// Entities that are described in no other language; not stated.
    pub same_language: SameLanguage,
    /// Mentions that do not begin and end with tokens; not stated.
    pub boundary: TokenBoundary,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for MentionConfig {
    fn default() -> Self {
        Self {
            max_tokens: 256,
            multilingual: true,
            same_language: SameLanguage::Skip,
            boundary: TokenBoundary::Cover,
            seed: 42,
        }
    }
}

/// Positions `start..end` of `input_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSpan {
    /// First position.
    pub start: usize,
    /// One past the last position.
    pub end: usize,
}

/// A passage with one mention, and a description of the entity mentioned; nothing is masked yet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MentionExample {
    /// Number of the passage in its source, from 0.
    pub passage: u64,
    /// Id of the text.
    pub id: String,
    /// Language of the passage, u.
    pub language: Language,
    /// Token ids of the passage, `<s> X </s>`.
    pub input_ids: Vec<u32>,
    /// The mention; its first position is the query's, s of Eq. 1.
    pub mention: TokenSpan,
    /// The entity mentioned.
    pub entity: String,
    /// Language of the description, t.
    pub description_language: Language,
    /// Token ids of the description, `<s> … </s>`.
    pub description_ids: Vec<u32>,
}

impl Record for MentionExample {
    const NAME: &'static str = "mention example";

    fn fault(&self) -> Option<String> {
        let (TokenSpan { start, end }, length) = (self.mention, self.input_ids.len());
        if start == 0 || start >= end || end >= length {
            return Some(format!("a mention at {start}..{end} of {length} tokens"));
        }
        self.description_ids.is_empty().then(|| "a description without tokens".into())
    }
}

/// What became of passages; `passages` is the sum of the four reasons and `examples`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct MentionReport {
    /// Texts read.
    pub texts: usize,
    /// Paragraphs that are not blank.
    pub passages: usize,
    /// Left out: without a mention.
    pub without_mention: usize,
    /// Left out: no entity mentioned is described at all.
    pub without_description: usize,
    /// Left out: described, but not in a language that is wanted.
    pub without_language: usize,
    /// Left out: the tokens do not fit, see [`TokenBoundary`]; or a mention longer than the passage
    /// may be.
    pub unaligned: usize,
    /// Examples made.
    pub examples: usize,
    /// Of these, with a description in the passage's language for want of another
    /// ([`SameLanguage::Allow`]).
    pub fallbacks: usize,
    /// Examples by language of the passage.
    pub by_language: BTreeMap<Language, usize>,
    /// Tokens of all passages returned.
    pub tokens: usize,
    /// Tokens of all mentions returned.
    pub mention_tokens: usize,
}

/// Makes one example of each passage that allows it, as the texts come (XLM-K §3.2, its MEP task).
///
/// Of the mentions whose entity has a fitting description one is drawn, then a language among those
/// of its descriptions other than the passage's, both uniformly; of a passage that is too long, a
/// piece with the mention. All draws depend on the seed, the language and the number of the passage
/// alone, not on the number of threads; with another seed each passage gives another example.
///
/// An error of the texts comes out once, and ends the examples.
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
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub struct MentionExamples<'d, I> {
    texts: I,
    descriptions: &'d EncodedDescriptions,
    aligner: PassageAligner,
    ready: VecDeque<Result<MentionExample, KgError>>,
    next_passage: u64,
    report: MentionReport,
    done: bool,
}

/// Texts worked on at a time.
const CHUNK: usize = 256;

impl<'d, I: Iterator<Item = Result<LinkedText, KgError>>> MentionExamples<'d, I> {
    /// Starts on `texts`.
    ///
    /// # Errors
    /// [`KgError::Config`] if `max_tokens` is below 3; [`KgError::Tokenizer`] if a special token is
    /// missing.
    pub fn new(
        texts: I,
        descriptions: &'d EncodedDescriptions,
        tokenizer: &Tokenizer,
        config: MentionConfig,
    ) -> Result<Self, KgError> {
        let aligner = PassageAligner::new(tokenizer, config)?;
        Ok(Self {
            texts,
            descriptions,
            aligner,
            ready: VecDeque::new(),
            next_passage: 0,
            report: MentionReport::default(),
            done: false,
        })
    }

    /// Counts of the passages worked on so far, which may be ahead of the examples taken; complete
    /// at the end.
    pub fn report(&self) -> &MentionReport {
        &self.report
    }

    fn work(&mut self) {
        let mut texts = Vec::with_capacity(CHUNK);
        let mut error = None;
        while texts.len() < CHUNK {
            match self.texts.next() {
                Some(Ok(text)) => texts.push(text),
                other => {
                    self.done = true;
                    error = other.and_then(Result::err);
                    break;
                }
            }
        }
        let mut numbered = Vec::new();
        for text in &texts {
            for passage in passages(text) {
                numbered.push((self.next_passage, text, passage));
                self.next_passage += 1;
            }
        }
        self.report.texts += texts.len();
        self.report.passages += numbered.len();
        let (aligner, descriptions) = (&self.aligner, self.descriptions);
        let made: Vec<_> = numbered
            .into_par_iter()
            .map(|(number, text, passage)| example(aligner, descriptions, number, text, &passage))
            .collect();
        for outcome in made {
            match outcome {
                Ok(Ok(example)) => {
                    self.count(&example);
                    self.ready.push_back(Ok(example));
                }
                Ok(Err(LeftOut::WithoutMention)) => self.report.without_mention += 1,
                Ok(Err(LeftOut::WithoutDescription)) => self.report.without_description += 1,
                Ok(Err(LeftOut::WithoutLanguage)) => self.report.without_language += 1,
                Ok(Err(LeftOut::Unaligned)) => self.report.unaligned += 1,
                Err(fault) => {
                    self.done = true;
                    self.ready.push_back(Err(fault));
                    return;
                }
            }
        }
        self.ready.extend(error.map(Err));
    }

    fn count(&mut self, example: &MentionExample) {
        let report = &mut self.report;
        report.examples += 1;
        let fallback =
            self.aligner.config.multilingual && example.description_language == example.language;
        report.fallbacks += usize::from(fallback);
        *report.by_language.entry(example.language).or_default() += 1;
        report.tokens += example.input_ids.len();
        report.mention_tokens += example.mention.end - example.mention.start;
    }
}

impl<I: Iterator<Item = Result<LinkedText, KgError>>> Iterator for MentionExamples<'_, I> {
    type Item = Result<MentionExample, KgError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.done {
            self.work();
        }
        self.ready.pop_front()
    }
}

/// An example of the passage, drawn by the seed, the language and the passage's number.
fn example(
    aligner: &PassageAligner,
    descriptions: &EncodedDescriptions,
    number: u64,
    text: &LinkedText,
    passage: &Passage<'_>,
) -> Result<Result<MentionExample, LeftOut>, KgError> {
    let text_of = (text.id.as_str(), text.language);
    let passage = match aligner.align(number, text_of, passage, descriptions)? {
        Ok(passage) => passage,
        Err(left_out) => return Ok(Err(left_out)),
    };
    let MentionConfig { multilingual, same_language, seed, .. } = aligner.config;
    // The name has at most 24 bytes: a code has at most 23.
    let mut rng = seed::use_rng(&format!("m{}", text.language), seed, number);
    let Some(mention) = passage.mentions.choose(&mut rng) else {
        return Ok(Err(LeftOut::Unaligned));
    };
    let piece = aligner.piece(&passage, &mention.span, &mut rng);
    let entity = &mention.entity;
    let drawn = descriptions.draw(entity, text.language, multilingual, same_language, &mut rng);
    Ok(drawn
        .map(|(language, ids)| aligner.example(&passage, mention, piece, (*language, ids)))
        .ok_or(LeftOut::WithoutLanguage))
}
