use crate::common::draws;
use std::ops::Range;

use objectives::IGNORE_INDEX;
use objectives::masking::{
    EntityMasked, EntityMaskingConfig, MaskingError, MentionChoice, MentionQuery, MlmMaskingConfig,
    SpanMask, Tokens, entity_masking,
};
use proptest::prelude::*;

use super::{ALL_MASKED, MASK, assert_depends_on_example_alone, example, vocab};

const NONE: i64 = IGNORE_INDEX;

fn all(span_mask: SpanMask, targets: bool) -> EntityMaskingConfig {
    EntityMaskingConfig {
        mentions: MentionChoice::All,
        span_mask,
        targets,
        ..EntityMaskingConfig::default()
    }
}

/// Mentions 0 (one token), 1 (three tokens) and 2 (two tokens, right after 0), not given in order
/// of position.
const INPUT: [u32; 9] = [0, 10, 11, 12, 13, 14, 15, 16, 2];
const SPANS: [Range<usize>; 3] = [1..2, 5..8, 2..4];

fn masked(config: &EntityMaskingConfig) -> EntityMasked {
    entity_masking((&INPUT).into(), &SPANS, &vocab(), 0, config).unwrap()
}

fn queries(pairs: [(usize, usize); 3]) -> Vec<MentionQuery> {
    pairs.into_iter().map(|(mention, position)| MentionQuery { mention, position }).collect()
}

#[test]
fn a_mask_for_each_token_keeps_the_length() {
    let with = masked(&all(SpanMask::PerToken, true));
    assert_eq!(with.input_ids, [0, MASK, MASK, MASK, 13, MASK, MASK, MASK, 2]);
    assert_eq!(with.labels, [NONE, 10, 11, 12, NONE, 14, 15, 16, NONE]);
    assert_eq!(with.mentions, [-1, 0, 2, 2, -1, 1, 1, 1, -1]);
    assert_eq!(with.queries, queries([(0, 1), (2, 2), (1, 5)]));
    let without = masked(&all(SpanMask::PerToken, false));
    assert_eq!(without.labels, [NONE; 9]);
    assert_eq!(EntityMasked { labels: with.labels.clone(), ..without }, with);
}

#[test]
fn one_mask_for_a_mention_shortens_the_example() {
    let with = masked(&all(SpanMask::Single, true));
    assert_eq!(with.input_ids, [0, MASK, MASK, 13, MASK, 2]);
    // One mask cannot be several tokens.
    assert_eq!(with.labels, [NONE, 10, NONE, NONE, NONE, NONE]);
    assert_eq!(with.mentions, [-1, 0, 2, -1, 1, -1]);
    assert_eq!(with.queries, queries([(0, 1), (2, 2), (1, 4)]));
}

#[test]
fn one_mention_is_drawn_and_all_alike() {
    let mut seen = [0; 3];
    for number in 0..3_000 {
        let config = EntityMaskingConfig::default();
        let masked = entity_masking((&INPUT).into(), &SPANS, &vocab(), number, &config).unwrap();
        let [query] = masked.queries[..] else { panic!("one mention") };
        assert_eq!(query.position, SPANS[query.mention].start);
        for (at, id) in masked.input_ids.iter().enumerate() {
            let inside = SPANS[query.mention].contains(&at);
            assert_eq!(*id, if inside { MASK } else { INPUT[at] });
        }
        seen[query.mention] += 1;
    }
    seen.iter().for_each(|seen| assert!(i32::abs_diff(*seen, 1_000) < 120, "{seen:?}"));

    for (count, expected) in [(0, 0), (2, 2), (3, 3), (9, 3)] {
        let mentions = MentionChoice::Count { count };
        let config = EntityMaskingConfig { mentions, ..Default::default() };
        assert_eq!(masked(&config).queries.len(), expected);
    }
}

#[test]
fn the_rest_is_masked_around_the_mentions() {
    let mlm = MlmMaskingConfig { probability: 1.0, corruption: ALL_MASKED, ..Default::default() };
    for (span_mask, label) in [
        (SpanMask::PerToken, vec![NONE, NONE, NONE, NONE, 13, NONE, NONE, NONE, NONE]),
        (SpanMask::Single, vec![NONE, NONE, NONE, 13, NONE, NONE]),
    ] {
        let config = EntityMaskingConfig { rest: Some(mlm.clone()), ..all(span_mask, false) };
        let masked = masked(&config);
        assert_eq!(masked.labels, label);
        let text = masked.input_ids.len() - 2;
        assert_eq!(masked.input_ids[1..=text], vec![MASK; text]);
    }
    // With targets both kinds of labels stand side by side.
    let config = EntityMaskingConfig { rest: Some(mlm.clone()), ..all(SpanMask::PerToken, true) };
    assert_eq!(masked(&config).labels, [NONE, 10, 11, 12, 13, 14, 15, 16, NONE]);

    // Word ids move with their tokens: 13 and 16 are words, and no word reaches across the mention.
    let word_ids = [None, Some(0), Some(0), Some(1), Some(1), Some(1), Some(1), Some(2), None];
    let tokens = Tokens { input_ids: &INPUT, word_ids: Some(&word_ids) };
    for number in 0..200 {
        let rest = MlmMaskingConfig { probability: 0.5, whole_words: true, ..mlm.clone() };
        let config = EntityMaskingConfig { rest: Some(rest), ..all(SpanMask::Single, false) };
        let mention = std::slice::from_ref(&(3..5));
        let masked = entity_masking(tokens, mention, &vocab(), number, &config).unwrap();
        let labels: Vec<i64> = masked.labels;
        assert_eq!(labels.len(), 8);
        assert_eq!(labels[1] == NONE, labels[2] == NONE, "one word");
        assert_eq!(labels[4] == NONE, labels[5] == NONE, "one word");
        assert_eq!([labels[0], labels[3], labels[7]], [NONE; 3]);
    }
}

#[test]
fn a_mention_may_be_the_whole_text_and_an_example_without_mentions_stays() {
    let masked = |input: &[u32], spans: &[Range<usize>]| {
        let config = all(SpanMask::Single, true);
        entity_masking(input.into(), spans, &vocab(), 0, &config).unwrap()
    };
    assert_eq!(masked(&[0, 10, 11, 2], std::slice::from_ref(&(1..3))).input_ids, [0, MASK, 2]);
    assert_eq!(masked(&[10, 11], std::slice::from_ref(&(0..2))).input_ids, [MASK]);
    for input in [&[][..], &[0, 2, 1], &[0, 10, 2]] {
        let masked = masked(input, &[]);
        assert_eq!(masked.input_ids, input);
        assert!(masked.queries.is_empty() && masked.labels.iter().all(|label| *label == NONE));
    }
}

#[test]
fn spans_that_do_not_fit_are_named() {
    let refuse = |spans: &[Range<usize>]| {
        let config = EntityMaskingConfig::default();
        entity_masking((&INPUT).into(), spans, &vocab(), 0, &config).unwrap_err()
    };
    let empty = refuse(&[1..2, 4..4]);
    assert_eq!(
        empty.to_string(),
        "spans[1] = 4..4: expected start < end <= 9, the number of tokens"
    );
    #[allow(clippy::reversed_empty_ranges)] // what is to be refused
    let reversed = refuse(&[5..3, 1..2]);
    assert!(matches!(reversed, MaskingError::Span { span: 0, start: 5, end: 3, length: 9 }));
    for span in [8..10, 20..30, 0..usize::MAX] {
        assert!(matches!(refuse(&[1..2, span]), MaskingError::Span { span: 1, .. }));
    }
    assert_eq!(
        refuse(&[5..7, 1..2, 2..6]),
        MaskingError::Overlap { first: 2, first_range: 2..6, second: 0, second_range: 5..7 }
    );
    assert!(matches!(refuse(&[1..3, 1..3]), MaskingError::Overlap { first: 0, second: 1, .. }));
    assert_eq!(refuse(&[2..3, 6..9]), MaskingError::SpecialInSpan { span: 1, position: 8, id: 2 });
    let tokens = Tokens { input_ids: &INPUT, word_ids: Some(&[]) };
    let error = entity_masking(tokens, &[], &vocab(), 0, &EntityMaskingConfig::default());
    assert_eq!(error.unwrap_err(), MaskingError::WordIds { expected: 9, got: 0 });
}

#[test]
fn only_seed_and_example_decide() {
    let input_ids = example(60, 4);
    let spans: Vec<Range<usize>> = (0..20).map(|at| 3 * at + 1..3 * at + 3).collect();
    let config = EntityMaskingConfig { rest: Some(Default::default()), ..Default::default() };
    assert_depends_on_example_alone(|number| {
        entity_masking((&input_ids).into(), &spans, &vocab(), number, &config).unwrap()
    });
}

proptest! {
    #![proptest_config(draws(128))]

    /// Putting the mentions back gives the example; the query positions hold masks.
    #[test]
    fn nothing_else_changes(
        lengths in prop::collection::vec((0_usize..3, 1_usize..4), 0..8),
        count in 0_usize..9,
        single: bool,
        number: u64,
    ) {
        let text = lengths.iter().map(|(gap, length)| gap + length).sum();
        let input_ids = example(text, 2);
        let mut at = 1;
        let spans: Vec<Range<usize>> = lengths.iter().map(|(gap, length)| {
            let start = at + gap;
            at = start + length;
            start..at
        }).collect();
        let span_mask = if single { SpanMask::Single } else { SpanMask::PerToken };
        let mentions = MentionChoice::Count { count };
        let config = EntityMaskingConfig { span_mask, mentions, ..Default::default() };
        let masked =
            entity_masking((&input_ids).into(), &spans, &vocab(), number, &config).unwrap();
        prop_assert_eq!(masked.queries.len(), count.min(spans.len()));
        let mut restored = Vec::new();
        let mut before = -1;
        for (at, (id, mention)) in masked.input_ids.iter().zip(&masked.mentions).enumerate() {
            if *mention < 0 {
                restored.push(*id);
            } else {
                prop_assert_eq!(*id, MASK);
                if *mention != before {
                    let mention = usize::try_from(*mention).unwrap();
                    let query = MentionQuery { mention, position: at };
                    prop_assert!(masked.queries.contains(&query));
                    restored.extend(&input_ids[spans[mention].clone()]);
                }
            }
            before = *mention;
        }
        prop_assert_eq!(restored, input_ids);
        prop_assert!(masked.queries.is_sorted_by_key(|query| query.position));
    }
}
