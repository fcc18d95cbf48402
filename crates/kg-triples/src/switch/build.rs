use rand::seq::IndexedRandom;

use super::{EntityLabels, LanguageRule, SwitchConfig};
use crate::entity_linking::{JoinedText, LinkedText, Mention};
use crate::{Language, seed};

/// A sentence in which mentions are replaced by labels in another language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchedText {
    /// The switched sentence. It has the mentions of the source sentence, in order, at their new
    /// positions. Its language is the language of the labels. Its id consists of the id of the
    /// source sentence and the language, as in `en:25#0@de`.
    pub text: LinkedText,
    /// For each mention, whether it was replaced by a label.
    pub switched: Vec<bool>,
}

/// Draws languages for a sentence and returns the sentence switched into each of them, sorted by
/// language code. `number` is the index of the sentence, on which the draw depends.
///
/// Mentions must not overlap and must be in order, as returned by [`sentences`](super::sentences).
/// A drawn language that is only in the [pool](SwitchConfig::pool) is skipped. The result is
/// therefore empty if only such languages are drawn, and also if [`LanguageRule`] allows no
/// language.
pub fn switch_sentence(
    sentence: &LinkedText,
    number: u64,
    labels: &EntityLabels,
    config: &SwitchConfig,
) -> Vec<SwitchedText> {
    let mut languages = possible_languages(sentence, labels, config);
    if languages.len() > config.count {
        let mut rng = seed::item_rng("switch", config.seed, number);
        languages = languages.choose_multiple(&mut rng, config.count).copied().collect();
        languages.sort_unstable();
    }
    languages.retain(|language| config.languages.contains(language));
    languages.into_iter().map(|language| switch_into(sentence, language, labels)).collect()
}

/// Returns the languages from which the languages of a sentence are drawn.
fn possible_languages(
    sentence: &LinkedText,
    labels: &EntityLabels,
    config: &SwitchConfig,
) -> Vec<Language> {
    let targets = config.languages.iter().chain(&config.pool).copied();
    let mut candidates: Vec<Language> =
        targets.filter(|language| *language != config.source).collect();
    candidates.sort_unstable();
    candidates.dedup();
    let has_label =
        |mention: &Mention, language: &Language| labels.label(&mention.entity, *language).is_some();
    let mentions = &sentence.mentions;
    let labelled: Vec<&Mention> =
        mentions.iter().filter(|mention| labels.contains(&mention.entity)).collect();
    candidates.retain(|language| match config.rule {
        LanguageRule::Shared => {
            !labelled.is_empty() && labelled.iter().all(|mention| has_label(mention, language))
        }
        LanguageRule::PerMention => mentions.iter().any(|mention| has_label(mention, language)),
    });
    candidates
}

/// Returns the sentence with its mentions replaced by labels in `language`.
fn switch_into(sentence: &LinkedText, language: Language, labels: &EntityLabels) -> SwitchedText {
    let mut joined = JoinedText::default();
    let (mut mentions, mut switched) = (Vec::new(), Vec::new());
    let mut remaining = sentence.text.as_str();
    let mut position = 0;
    for mention in &sentence.mentions {
        let (before, after) = split_after(remaining, mention.start.saturating_sub(position));
        let (unswitched, after) = split_after(after, mention.end.saturating_sub(mention.start));
        let label = labels.label(&mention.entity, language);
        joined.push(before);
        let (start, end) = joined.push(label.unwrap_or(unswitched));
        mentions.push(Mention { start, end, entity: mention.entity.clone() });
        switched.push(label.is_some());
        (remaining, position) = (after, mention.end);
    }
    joined.push(remaining);
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

/// Splits a text after `chars` code points.
fn split_after(text: &str, chars: usize) -> (&str, &str) {
    let at = text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}
