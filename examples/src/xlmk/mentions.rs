//! Passages with a mention and the description of its entity, divided into what is trained and what is held out.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kg_triples::jsonl::JsonlReader;
use kg_triples::knowledge::{
    Descriptions, EncodedDescriptions, MentionConfig, MentionExample, MentionExamples,
};
use kg_triples::linked::{
    EntityPage, LabelConfig, LabelLinker, LinkedText, PageText, page_files, read_pages,
};
use kg_triples::{KgError, Language};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::share;

/// Where mentions and descriptions come from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MentionSource {
    /// Folder with `entities.<lang>.jsonl[.gz]`: the descriptions, and the passages unless `text` is given.
    pub pages: PathBuf,
    /// Linked texts, JSONL; without them labels are looked for in the pages.
    pub text: Option<PathBuf>,
    /// Languages of passages and descriptions.
    pub languages: Vec<String>,
    /// Longest description in tokens.
    pub description_tokens: usize,
    /// How often each passage gives an example, each time with another mention and language.
    pub draws: u64,
    /// Only this many entities, those with the most mentions in many languages, are trained, asked for and candidates; absent: all.
    pub most_mentioned: Option<usize>,
    /// Exponent of the languages' sizes in the training examples.
    pub smoothing: f64,
    /// Exponent of the entities' mentions in the training examples of a language: 1 as they come, less lets rare ones catch up.
    pub entity_smoothing: f64,
    /// How an example is made of a passage.
    pub examples: MentionConfig,
    /// What is kept for the probe.
    pub held_out: HeldOut,
}

impl Default for MentionSource {
    fn default() -> Self {
        Self {
            pages: PathBuf::new(),
            text: None,
            languages: Vec::new(),
            description_tokens: 256,
            draws: 1,
            most_mentioned: None,
            smoothing: 0.3,
            entity_smoothing: 1.0,
            examples: MentionConfig::default(),
            held_out: HeldOut::default(),
        }
    }
}

/// Shares that are never trained.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeldOut {
    /// Of the texts, all languages of one id together.
    pub texts: f64,
    /// Of the pairs of an entity's languages, (mention, description).
    pub pairs: f64,
    /// Of the entities.
    pub entities: f64,
    /// Queries of each probe at most.
    pub queries: usize,
    /// Queries about one entity at most, so that guessing the most mentioned ones does not pay.
    pub per_entity: Option<usize>,
    /// Decides what is held out.
    pub seed: u64,
}

impl Default for HeldOut {
    fn default() -> Self {
        Self { texts: 0.1, pairs: 0.2, entities: 0.1, queries: 1000, per_entity: None, seed: 0 }
    }
}

/// Examples by their role.
pub struct Mentions {
    /// Trained: known entities, language pairs and texts.
    pub train: Vec<MentionExample>,
    /// Of held-out texts, an entity and a language pair of it that are trained.
    pub seen: Vec<MentionExample>,
    /// Of held-out texts, an entity that is trained, a language pair of it that is not.
    pub known: Vec<MentionExample>,
    /// Of held-out texts, an entity that is not trained.
    pub new: Vec<MentionExample>,
    /// All descriptions as tokens.
    pub descriptions: EncodedDescriptions,
    /// The entities that are described, sorted.
    pub entities: Vec<String>,
    /// A line about what was found.
    pub report: String,
}

impl Mentions {
    /// The languages of mentions and descriptions.
    pub fn languages(&self) -> BTreeSet<String> {
        let known = self.entities.iter().flat_map(|entity| self.descriptions.of(entity));
        let known = known.map(|(language, _)| language.to_string());
        known.chain(self.train.iter().map(|example| example.language.to_string())).collect()
    }

    /// Reads, links, encodes and divides. `multilingual: false` trains with descriptions in the passage's language; what is held
    /// out is always in another.
    ///
    /// # Errors
    /// Naming the file and line that cannot be read, or if nothing is left to train on.
    pub fn load(source: &MentionSource, multilingual: bool, tokenizer: &Tokenizer) -> Result<Self> {
        let wanted: Vec<Language> =
            source.languages.iter().map(|code| Language::new(code)).collect::<Result<_, _>>()?;
        let (texts, descriptions, mut entities) = read(source, &wanted)?;
        if let Some(most) = source.most_mentioned {
            let kept = most_mentioned(&texts, most);
            entities.retain(|entity| kept.contains(entity.as_str()));
        }
        let encoded = descriptions.encode(tokenizer, source.description_tokens)?;
        let across = draw(source, &texts, &encoded, &entities, tokenizer, true)?;
        let within;
        let trained = if multilingual {
            &across
        } else {
            within = draw(source, &texts, &encoded, &entities, tokenizer, false)?;
            &within
        };
        let held_out = &source.held_out;
        let train: Vec<MentionExample> = trained
            .iter()
            .filter(|example| held_out.role(example) == Role::Train)
            .cloned()
            .collect();
        ensure!(!train.is_empty(), "{}: no mention to train on", source.pages.display());
        let seen: BTreeSet<&str> = train.iter().map(|example| example.entity.as_str()).collect();
        let pick = |role: Role| {
            let mut passages = BTreeSet::new();
            let mut own: Vec<MentionExample> = across
                .iter()
                .filter(|example| held_out.role(example) == role)
                .filter(|example| (role == Role::New) != seen.contains(example.entity.as_str()))
                .filter(|example| passages.insert(example.passage))
                .cloned()
                .collect();
            own.shuffle(&mut trainer::rng_for(held_out.seed, "queries", 0));
            if let Some(most) = held_out.per_entity {
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                own.retain(|example| {
                    let count = counts.entry(example.entity.clone()).or_default();
                    *count += 1;
                    *count <= most
                });
            }
            own.truncate(held_out.queries);
            own
        };
        let (seen_pairs, known, new) = (pick(Role::Seen), pick(Role::Known), pick(Role::New));
        let report = format!(
            "{} texts, {} described entities; {} examples of {} entities to train on; of held-out texts {} queries in trained pairs of languages, {} in new pairs, {} about new entities",
            texts.len(),
            entities.len(),
            train.len(),
            seen.len(),
            seen_pairs.len(),
            known.len(),
            new.len()
        );
        let train = balance(train, source, held_out.seed);
        Ok(Self { train, seen: seen_pairs, known, new, descriptions: encoded, entities, report })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Seen,
    Known,
    New,
    Unused,
}

impl HeldOut {
    fn role(&self, example: &MentionExample) -> Role {
        let pair =
            format!("{} {} {}", example.entity, example.language, example.description_language);
        let text = share(self.seed, &format!("text {}", example.id)) < self.texts;
        let entity = share(self.seed, &format!("entity {}", example.entity)) < self.entities;
        let pair = share(self.seed, &format!("pair {pair}")) < self.pairs;
        match (text, entity, pair) {
            (false, false, false) => Role::Train,
            (true, false, false) => Role::Seen,
            (true, false, true) => Role::Known,
            (true, true, _) => Role::New,
            _ => Role::Unused,
        }
    }
}

type Read = (Vec<LinkedText>, Descriptions, Vec<String>);

/// Texts with their mentions, descriptions, and the ids of what is described.
fn read(source: &MentionSource, wanted: &[Language]) -> Result<Read> {
    let mut files = page_files(&source.pages)?;
    files.retain(|(language, _)| wanted.is_empty() || wanted.contains(language));
    let mut descriptions = Descriptions::default();
    let (mut labels, mut entities) = (Vec::new(), BTreeSet::new());
    read_pages(&files, |language, page| {
        if let Some(text) = page.text(PageText::Extract) {
            descriptions.add(&page.id, language, text)?;
            entities.insert(page.id.clone());
        }
        if let Some(label) = page.label {
            labels.push((language, label, page.id));
        }
        Ok(())
    })?;
    let texts = match &source.text {
        Some(path) => linked(path, wanted)?,
        None => {
            let (linker, _) = LabelLinker::new(labels, LabelConfig::default())?;
            let mut reports = BTreeMap::new();
            let mut texts = Vec::new();
            for (language, path) in &files {
                for page in JsonlReader::<EntityPage>::open(path)? {
                    if let Some(mut text) = page?.into_text(*language, PageText::Extract) {
                        linker.link(&mut text, &mut reports);
                        texts.push(text);
                    }
                }
            }
            texts
        }
    };
    Ok((texts, descriptions, entities.into_iter().collect()))
}

fn linked(path: &Path, wanted: &[Language]) -> Result<Vec<LinkedText>> {
    let mut texts = Vec::new();
    for text in JsonlReader::<LinkedText>::open(path)? {
        let text = text?;
        if wanted.is_empty() || wanted.contains(&text.language) {
            texts.push(text);
        }
    }
    Ok(texts)
}

fn draw(
    source: &MentionSource,
    texts: &[LinkedText],
    descriptions: &EncodedDescriptions,
    entities: &[String],
    tokenizer: &Tokenizer,
    multilingual: bool,
) -> Result<Vec<MentionExample>> {
    let mut all = Vec::new();
    for k in 0..source.draws {
        let seed = source.examples.seed.wrapping_add(k);
        let config = MentionConfig { multilingual, seed, ..source.examples.clone() };
        let texts = texts.iter().cloned().map(Ok::<_, KgError>);
        let examples = MentionExamples::new(texts, descriptions, tokenizer, config)?;
        all.extend(examples.collect::<Result<Vec<_>, _>>().context("mentions")?);
    }
    // A mention that the vocabulary cannot spell says nothing about its entity.
    let unknown = tokenizer.token_to_id("<unk>");
    all.retain(|example| {
        let span = example.input_ids.get(example.mention.start..example.mention.end);
        span.is_some_and(|span| span.iter().all(|&id| Some(id) != unknown))
    });
    let kept: BTreeSet<&String> = entities.iter().collect();
    all.retain(|example| kept.contains(&example.entity));
    Ok(all)
}

/// The `most` entities with the most mentions in many languages: in the order of the sum of `ln(1 + mentions)` over languages.
fn most_mentioned(texts: &[LinkedText], most: usize) -> BTreeSet<&str> {
    let mut counts: BTreeMap<&str, BTreeMap<Language, usize>> = BTreeMap::new();
    for text in texts {
        for mention in &text.mentions {
            let own = counts.entry(mention.entity.as_str()).or_default();
            *own.entry(text.language).or_default() += 1;
        }
    }
    let spread = |own: BTreeMap<Language, usize>| -> f64 {
        own.into_values().map(|count| (count as f64).ln_1p()).sum()
    };
    let mut order: Vec<(&str, f64)> =
        counts.into_iter().map(|(entity, own)| (entity, spread(own))).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    order.into_iter().take(most).map(|(entity, _)| entity).collect()
}

/// As many examples, with each language's share in proportion to its size to the power of `smoothing`, and within a language
/// each entity's to its number of examples to the power of `entity_smoothing`.
fn balance(
    examples: Vec<MentionExample>,
    source: &MentionSource,
    seed: u64,
) -> Vec<MentionExample> {
    let total = examples.len();
    let mut groups: BTreeMap<Language, BTreeMap<String, Vec<MentionExample>>> = BTreeMap::new();
    for example in examples {
        let own = groups.entry(example.language).or_default();
        own.entry(example.entity.clone()).or_default().push(example);
    }
    let size = |own: &BTreeMap<String, Vec<MentionExample>>| own.values().map(Vec::len).sum();
    let sizes: Vec<usize> = groups.values().map(size).collect();
    let mut balanced = Vec::with_capacity(total);
    for ((language, own), quota) in groups.into_iter().zip(quotas(total, &sizes, source.smoothing))
    {
        let sizes: Vec<usize> = own.values().map(Vec::len).collect();
        let mut rng = trainer::rng_for(seed, language.as_str(), 0);
        for (mut own, quota) in
            own.into_values().zip(quotas(quota, &sizes, source.entity_smoothing))
        {
            own.shuffle(&mut rng);
            balanced.extend(own.iter().cycle().take(quota).cloned());
        }
    }
    // What is left over behind the last whole batch is then of no entity in particular.
    balanced.shuffle(&mut trainer::rng_for(seed, "balanced", 0));
    balanced
}

/// `total` in shares in proportion to the sizes to the power of `smoothing`, each rounded.
fn quotas(total: usize, sizes: &[usize], smoothing: f64) -> Vec<usize> {
    let weight = |count: usize| (count as f64).powf(smoothing);
    let sum: f64 = sizes.iter().map(|&count| weight(count)).sum();
    sizes.iter().map(|&count| (total as f64 * weight(count) / sum).round() as usize).collect()
}
