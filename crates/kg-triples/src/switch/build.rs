use rand::seq::IndexedRandom;

use super::{EntityLabels, LanguageRule, SwitchConfig};
use crate::entity_linking::{JoinedText, LinkedText, Mention};
use crate::{Language, seed};

/// A sentence with labels of another language in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchedText {
    /// The sentence; its mentions are those of the source in their order, its language that of the
    /// labels, its id that of the source with the language, as in `en:25#0@de`.
    pub text: LinkedText,
    /// For each mention, whether it carries a label; the others keep their text.
    pub switched: Vec<bool>,
}

/// Switches sentence number `number`, whose mentions do not overlap and are in order, as
/// [`sentences`](super::sentences) makes them. Into each language that is drawn, in the order of
/// their codes, those of the [pool](SwitchConfig::pool) left out; into none, if no mention can be
/// switched or, by [`LanguageRule::Shared`], no language has all the labels.
pub fn switch_sentence(
    sentence: &LinkedText,
    number: u64,
    labels: &EntityLabels,
    config: &SwitchConfig,
) -> Vec<SwitchedText> {
    let mut languages = languages(sentence, labels, config);
    if languages.len() > config.count {
        let mut rng = seed::use_rng("switch", config.seed, number);
        languages = languages.choose_multiple(&mut rng, config.count).copied().collect();
        languages.sort_unstable();
    }
    languages.retain(|language| config.languages.contains(language));
    languages.into_iter().map(|language| switch(sentence, language, labels)).collect()
}

/// The languages that are drawn from.
fn languages(sentence: &LinkedText, labels: &EntityLabels, config: &SwitchConfig) -> Vec<Language> {
    let all = config.languages.iter().chain(&config.pool).copied();
    let mut wanted: Vec<Language> = all.filter(|language| *language != config.source).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let has =
        |mention: &Mention, language: &Language| labels.label(&mention.entity, *language).is_some();
    let mentions = &sentence.mentions;
    let known: Vec<&Mention> =
        mentions.iter().filter(|mention| labels.knows(&mention.entity)).collect();
    wanted.retain(|language| match config.rule {
        LanguageRule::Shared => {
            !known.is_empty() && known.iter().all(|mention| has(mention, language))
        }
        LanguageRule::PerMention => mentions.iter().any(|mention| has(mention, language)),
    });
    wanted
}

/// The sentence with the labels of one language.
fn switch(sentence: &LinkedText, language: Language, labels: &EntityLabels) -> SwitchedText {
    let mut joined = JoinedText::default();
    let (mut mentions, mut switched) = (Vec::new(), Vec::new());
    let mut rest = sentence.text.as_str();
    let mut at = 0;
    for mention in &sentence.mentions {
        let (before, after) = cut(rest, mention.start.saturating_sub(at));
        let (unswitched, after) = cut(after, mention.end.saturating_sub(mention.start));
        let label = labels.label(&mention.entity, language);
        joined.push(before);
        let (start, end) = joined.push(label.unwrap_or(unswitched));
        mentions.push(Mention { start, end, entity: mention.entity.clone() });
        switched.push(label.is_some());
        (rest, at) = (after, mention.end);
    }
    joined.push(rest);
    let text = LinkedText {
        id: format!("{}@{language}", sentence.id),
        language,
        entity: sentence.entity.clone(),
        text: joined.text,
        mentions,
        switched_from: Some(sentence.id.clone()),
    };
    SwitchedText { text, switched }
}

/// The first `chars` code points, and the others.
fn cut(text: &str, chars: usize) -> (&str, &str) {
    let at = text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}
