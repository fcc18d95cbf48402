//! Removal of the queried object from a sentence.
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::entity_linking::LinkedText;

/// Selects the words of the object that are removed from the sentences of `ts` pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoveObject {
    /// The whole object is removed.
    #[default]
    Whole,
    /// All words (Unicode Standard Annex 29) of the object except the last are removed. The paper's
    /// released code does this, because it excludes the last position of a mention. An object of
    /// one word is therefore not removed.
    Released,
}

/// Returns the text of a sentence after removing words from every mention of the entity `object`.
/// `remove` selects the words. Mentions must be sorted and must not overlap. White space before and
/// after removed words is merged.
pub(super) fn without_object(sentence: &LinkedText, object: &str, remove: RemoveObject) -> String {
    let mut text = String::new();
    let mut push = |part: &str| {
        let ends_in_space = text.is_empty() || text.ends_with(char::is_whitespace);
        text.push_str(if ends_in_space { part.trim_start() } else { part });
    };
    let mut position = 0;
    let substring = |from: usize, to: usize| -> String {
        sentence.text.chars().skip(from).take(to.saturating_sub(from)).collect()
    };
    for mention in sentence.mentions.iter().filter(|mention| mention.entity == object) {
        push(&substring(position, mention.start));
        if remove == RemoveObject::Released {
            let mention_text = substring(mention.start, mention.end);
            let last_word_start =
                mention_text.unicode_word_indices().next_back().map_or(0, |(start, _)| start);
            push(&mention_text[last_word_start..]);
        }
        position = mention.end;
    }
    push(&substring(position, usize::MAX));
    text.trim_end().to_owned()
}
