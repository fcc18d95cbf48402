//! Removal of the queried object from a sentence.
use unicode_segmentation::UnicodeSegmentation;

use super::RemoveObject;
use crate::entity_linking::LinkedText;

/// Returns the text of a sentence without the mentions of `object`. Mentions must be in order and
/// must not overlap. Spaces around a removed mention are merged into one.
pub(super) fn without_object(sentence: &LinkedText, object: &str, remove: RemoveObject) -> String {
    let mut rest = String::new();
    let mut keep = |part: &str| {
        let joined = rest.is_empty() || rest.ends_with(char::is_whitespace);
        rest.push_str(if joined { part.trim_start() } else { part });
    };
    let mut at = 0;
    let part = |from: usize, to: usize| -> String {
        sentence.text.chars().skip(from).take(to.saturating_sub(from)).collect()
    };
    for mention in sentence.mentions.iter().filter(|mention| mention.entity == object) {
        keep(&part(at, mention.start));
        if remove == RemoveObject::Released {
            let mentioned = part(mention.start, mention.end);
            let last = mentioned.unicode_word_indices().next_back().map_or(0, |(start, _)| start);
            keep(mentioned.get(last..).unwrap_or_default());
        }
        at = mention.end;
    }
    keep(&part(at, usize::MAX));
    rest.trim_end().to_owned()
}
