//! Mentions to train on: drawn anew for every step, or given.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;

use super::mention_passage::{AlignedMention, AlignedPassage, PassageAligner};
use super::{EncodedDescriptions, HeldOut, MentionConfig, MentionExample};
use crate::{KgError, Language};

/// Entity, language of its mentions, language of its description.
pub type TrainedPair = (String, Language, Language);

/// What a model is trained on in masked entity prediction (XLM-K, §3.2).
///
/// A [`MentionDataset`](super::MentionDataset) draws: the language of the passage with probability
/// n^α / Σ n^α, where n is its number of mentions and α is `smoothing` (XLM-K, §4.1, as XLM-R), the
/// entity in the same way with `entity_smoothing`, one of its mentions uniformly, and a language of
/// its description uniformly. No passage is left out for its language, one with several mentions
/// gives all of them, and every epoch draws anew.
///
/// Examples that were made before, such as those of `kg-triples mentions`, come with
/// [`From`].
#[derive(Clone, Debug, Default)]
pub struct TrainingMentions(Source);

#[derive(Clone, Debug)]
enum Source {
    Given(Vec<MentionExample>),
    Drawn(Box<Drawn>),
}

impl Default for Source {
    fn default() -> Self {
        Self::Given(Vec::new())
    }
}

/// Number of a passage, and of a mention in it.
type Place = (usize, usize);

#[derive(Clone, Debug)]
struct Drawn {
    aligner: PassageAligner,
    passages: Vec<AlignedPassage>,
    descriptions: Arc<EncodedDescriptions>,
    languages: Vec<MentionsOfLanguage>,
    weights: WeightedIndex<f64>,
}

#[derive(Clone, Debug)]
struct MentionsOfLanguage {
    language: Language,
    mentions: usize,
    entities: Vec<MentionsOfEntity>,
    weights: WeightedIndex<f64>,
}

#[derive(Clone, Debug)]
struct MentionsOfEntity {
    entity: String,
    mentions: Vec<Place>,
    description_languages: Vec<Language>,
}

impl From<Vec<MentionExample>> for TrainingMentions {
    fn from(examples: Vec<MentionExample>) -> Self {
        Self(Source::Given(examples))
    }
}

impl TrainingMentions {
    /// Indexes the mentions of `passages` that nothing of `held_out` keeps from training.
    pub(super) fn new(
        aligner: PassageAligner,
        passages: Vec<AlignedPassage>,
        descriptions: Arc<EncodedDescriptions>,
        held_out: &HeldOut,
        (smoothing, entity_smoothing): (f64, f64),
    ) -> Self {
        let mut places: BTreeMap<Language, BTreeMap<&str, Vec<Place>>> = BTreeMap::new();
        for (at, passage) in passages.iter().enumerate() {
            let of_language = places.entry(passage.language).or_default();
            for (number, AlignedMention { entity, .. }) in passage.mentions.iter().enumerate() {
                of_language.entry(entity).or_default().push((at, number));
            }
        }
        let MentionConfig { multilingual, same_language, .. } = aligner.config;
        let trained = |place: &Place| {
            passages.get(place.0).is_some_and(|passage| !held_out.holds_out_text(&passage.id))
        };
        let mut languages = Vec::new();
        for (language, entities) in places {
            let mut own = Vec::new();
            for (entity, mut mentions) in entities {
                mentions.retain(trained);
                let wanted = descriptions.wanted(entity, language, multilingual, same_language);
                let mut others: Vec<Language> = wanted.iter().map(|(other, _)| *other).collect();
                others.retain(|&other| !held_out.holds_out_pair(entity, language, other));
                if !held_out.holds_out_entity(entity) && !mentions.is_empty() && !others.is_empty()
                {
                    let entity = entity.to_owned();
                    own.push(MentionsOfEntity { entity, mentions, description_languages: others });
                }
            }
            let counts = own.iter().map(|entity| entity.mentions.len());
            let Some(weights) = weights(counts, entity_smoothing) else { continue };
            let mentions = own.iter().map(|entity| entity.mentions.len()).sum();
            languages.push(MentionsOfLanguage { language, mentions, entities: own, weights });
        }
        match weights(languages.iter().map(|own| own.mentions), smoothing) {
            Some(weights) => {
                let drawn = Drawn { aligner, passages, descriptions, languages, weights };
                Self(Source::Drawn(Box::new(drawn)))
            }
            None => Self::default(),
        }
    }

    /// How many mentions there are: what an epoch draws.
    pub fn len(&self) -> usize {
        match &self.0 {
            Source::Given(examples) => examples.len(),
            Source::Drawn(drawn) => drawn.languages.iter().map(|own| own.mentions).sum(),
        }
    }

    /// Whether examples are drawn anew each time, whatever their index; else an index is always the
    /// same example.
    pub fn are_drawn(&self) -> bool {
        matches!(self.0, Source::Drawn(_))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An example: number `index` of those given, or one that is drawn.
    ///
    /// # Errors
    /// [`KgError::Empty`] if there is no such example.
    pub fn example(
        &self,
        index: usize,
        rng: &mut impl Rng,
    ) -> Result<Cow<'_, MentionExample>, KgError> {
        let example = match &self.0 {
            Source::Given(examples) => examples.get(index).map(Cow::Borrowed),
            Source::Drawn(drawn) => drawn.example(rng).map(Cow::Owned),
        };
        let nothing = || KgError::Empty {
            what: format!("mention number {index}"),
            hint: format!("there are {} mentions to train on", self.len()),
        };
        example.ok_or_else(nothing)
    }

    /// The languages of the passages.
    pub fn languages(&self) -> BTreeSet<Language> {
        match &self.0 {
            Source::Given(examples) => examples.iter().map(|example| example.language).collect(),
            Source::Drawn(drawn) => drawn.languages.iter().map(|own| own.language).collect(),
        }
    }

    /// The entities that are mentioned.
    pub fn entities(&self) -> BTreeSet<&str> {
        match &self.0 {
            Source::Given(examples) => examples.iter().map(|one| one.entity.as_str()).collect(),
            Source::Drawn(drawn) => {
                let entities = drawn.languages.iter().flat_map(|own| &own.entities);
                entities.map(|own| own.entity.as_str()).collect()
            }
        }
    }

    /// The share of the examples that each entity has in each pair of languages; all together are
    /// 1.
    pub fn shares(&self) -> BTreeMap<TrainedPair, f64> {
        let mut shares = BTreeMap::new();
        match &self.0 {
            Source::Given(examples) => {
                for MentionExample { entity, language, description_language, .. } in examples {
                    let pair = (entity.clone(), *language, *description_language);
                    *shares.entry(pair).or_default() += 1.0 / examples.len() as f64;
                }
            }
            Source::Drawn(drawn) => {
                for (own, weight) in drawn.languages.iter().zip(drawn.weights.weights()) {
                    let in_language = weight / drawn.weights.total_weight();
                    for (entity, weight) in own.entities.iter().zip(own.weights.weights()) {
                        let of_entity = in_language * weight / own.weights.total_weight();
                        for other in &entity.description_languages {
                            let pair = (entity.entity.clone(), own.language, *other);
                            let share = of_entity / entity.description_languages.len() as f64;
                            shares.insert(pair, share);
                        }
                    }
                }
            }
        }
        shares
    }

    /// Calls `visit` with the name and text of everything that decides the examples, in a fixed
    /// order: for a fingerprint of the data.
    pub fn visit(&self, mut visit: impl FnMut(&'static str, &str)) {
        match &self.0 {
            Source::Given(examples) => {
                for example in examples {
                    visit("mention", &format!("{example:?}"));
                }
            }
            Source::Drawn(drawn) => {
                visit("config", &format!("{:?}", drawn.aligner.config));
                for passage in &drawn.passages {
                    visit("passage", &format!("{passage:?}"));
                }
                for (entity, ..) in self.shares().keys() {
                    visit("description", &format!("{:?}", drawn.descriptions.get(entity)));
                }
                for (own, weight) in drawn.languages.iter().zip(drawn.weights.weights()) {
                    visit("language", &format!("{} {weight}", own.language));
                    for (entity, weight) in own.entities.iter().zip(own.weights.weights()) {
                        visit("entity", &format!("{entity:?} {weight}"));
                    }
                }
            }
        }
    }
}

impl Drawn {
    fn example(&self, rng: &mut impl Rng) -> Option<MentionExample> {
        let language = self.languages.get(self.weights.sample(rng))?;
        let entity = language.entities.get(language.weights.sample(rng))?;
        let &(at, number) = entity.mentions.choose(rng)?;
        let wanted = entity.description_languages.choose(rng)?;
        let known = self.descriptions.get(&entity.entity);
        let (other, ids) = known.iter().find(|(other, _)| other == wanted)?;
        let passage = self.passages.get(at)?;
        let mention = passage.mentions.get(number)?;
        let piece = self.aligner.piece(passage, &mention.span, rng);
        Some(self.aligner.example(passage, mention, piece, (*other, ids)))
    }
}

/// Weights n^α; `None` without any n above 0.
fn weights(counts: impl Iterator<Item = usize>, exponent: f64) -> Option<WeightedIndex<f64>> {
    WeightedIndex::new(counts.map(|count| (count as f64).powf(exponent))).ok()
}
