use unicode_segmentation::UnicodeSegmentation;

use crate::entity_linking::{LinkedText, Mention, Passage, passages};

/// Splits a text into sentences (Unicode Standard Annex 29) with non-overlapping mentions.
///
/// If mentions overlap, the mention that begins first is retained; if several begin at the same
/// position, the longest is retained. The function also returns the number of skipped mentions,
/// which overlap a retained mention or span several lines. The id of a sentence consists of the
/// text's id and an index, as in `en:25#0`.
pub fn sentences(text: &LinkedText) -> (Vec<LinkedText>, usize) {
    let mut sentences = Vec::new();
    for mut passage in passages(text) {
        remove_overlaps(&mut passage.mentions);
        for Passage { text: body, mentions } in split_sentences(&passage) {
            sentences.push(LinkedText {
                id: format!("{}#{}", text.id, sentences.len()),
                language: text.language,
                // Only the whole text describes the entity, if any.
                entity: None,
                text: body.to_owned(),
                mentions,
                switched_from: None,
            });
        }
    }
    let retained_count: usize = sentences.iter().map(|sentence| sentence.mentions.len()).sum();
    (sentences, text.mentions.len() - retained_count)
}

/// Removes mentions that overlap an earlier mention.
fn remove_overlaps(mentions: &mut Vec<Mention>) {
    mentions.sort_by_key(|mention| (mention.start, std::cmp::Reverse(mention.end)));
    let mut end = 0;
    mentions.retain(|mention| {
        let is_separate = mention.start >= end;
        if is_separate {
            end = mention.end;
        }
        is_separate
    });
}

/// Splits a passage into sentences. If a mention contains a sentence boundary, the passage is not
/// split there.
fn split_sentences<'t>(passage: &Passage<'t>) -> Vec<Passage<'t>> {
    let mut sentences = Vec::new();
    let mut mentions = passage.mentions.iter().peekable();
    // The start of the sentence in bytes and in code points.
    let (mut begin, mut begin_chars) = (0, 0);
    let (mut end, mut end_chars) = (0, 0);
    for part in passage.text.split_sentence_bounds() {
        end += part.len();
        end_chars += part.chars().count();
        let crosses_end = |m: &&Mention| m.start < end_chars && m.end > end_chars;
        if passage.mentions.iter().any(|mention| crosses_end(&mention)) {
            continue;
        }
        let body = &passage.text[begin..end];
        let trimmed = body.trim_start();
        let start = begin_chars + (body.chars().count() - trimmed.chars().count());
        let mut sentence_mentions = Vec::new();
        while let Some(mention) = mentions.next_if(|mention| mention.end <= end_chars) {
            sentence_mentions.push(Mention {
                start: mention.start.saturating_sub(start),
                end: mention.end.saturating_sub(start),
                entity: mention.entity.clone(),
            });
        }
        let trimmed = match sentence_mentions.last() {
            // The white space is not trimmed, because it belongs to the last mention.
            Some(last) if last.end > trimmed.trim_end().chars().count() => trimmed,
            _ => trimmed.trim_end(),
        };
        if !trimmed.is_empty() {
            sentences.push(Passage { text: trimmed, mentions: sentence_mentions });
        }
        (begin, begin_chars) = (end, end_chars);
    }
    sentences
}
