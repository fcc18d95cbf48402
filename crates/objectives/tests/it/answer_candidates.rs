//! Tests of `answer_candidates`: comparison with hand-written lists and with loops.
use crate::common::*;
use objectives::{AnswerCandidates, CandidateSpans, Error, IGNORE_INDEX, answer_candidates};

const LENGTH: i64 = 10;

type Span = (i64, i64);

/// A candidate list per row, as tensors; empty slots are last.
struct SpanLists {
    starts: Tensor,
    ends: Tensor,
    valid: Tensor,
}

impl SpanLists {
    fn new(rows: &[Vec<Span>], slots: usize) -> Self {
        let padded_field = |pick: fn(&Span) -> i64| -> Tensor {
            let row = |row: &Vec<Span>| {
                let mut values: Vec<i64> = row.iter().map(pick).collect();
                values.resize(slots, 77); // invalid position: empty slots are ignored
                values
            };
            table(&rows.iter().map(row).collect::<Vec<_>>())
        };
        let valid = |row: &Vec<Span>| (0..slots).map(|i| i < row.len()).collect();
        Self {
            starts: padded_field(|span| span.0),
            ends: padded_field(|span| span.1),
            valid: flags(&rows.iter().map(valid).collect::<Vec<_>>()),
        }
    }

    fn spans(&self) -> CandidateSpans<'_> {
        CandidateSpans { starts: &self.starts, ends: &self.ends, valid: &self.valid }
    }
}

fn run(lists: &SpanLists, gold: &[Span]) -> Result<AnswerCandidates, Error> {
    let starts = Tensor::from_slice(&gold.iter().map(|span| span.0).collect::<Vec<_>>());
    let ends = Tensor::from_slice(&gold.iter().map(|span| span.1).collect::<Vec<_>>());
    answer_candidates(&lists.spans(), &starts, &ends, LENGTH)
}

/// The slots of each row, with empty slots as `None`; checks that empty slots contain 0.
#[track_caller]
fn slots(z: &AnswerCandidates) -> Vec<Vec<Option<Span>>> {
    let (batch, k) = z.starts.size2().unwrap();
    let (starts, ends, valid) = (ints(&z.starts), ints(&z.ends), bools(&z.valid));
    let slot_span = |i: usize| {
        assert!(valid[i] || (starts[i], ends[i]) == (0, 0), "an empty slot holds a span");
        valid[i].then_some((starts[i], ends[i]))
    };
    let (batch, k) = (batch as usize, k as usize);
    (0..batch).map(|b| (b * k..(b + 1) * k).map(slot_span).collect()).collect()
}

#[test]
fn gold_spans_are_inserted_into_lists() {
    let rows = [
        vec![(1, 2), (3, 3), (5, 8)], // full, gold in the middle
        vec![(1, 2), (3, 3), (5, 8)], // full, gold absent
        vec![(1, 2)],                 // empty slots
        vec![],                       // no candidates
        vec![(1, 2), (3, 3), (5, 8)], // no gold span
        vec![(0, 0), (3, 3)],         // gold at the first position
        vec![(9, 9), (3, 3), (4, 4)], // gold at the last position and first in the list
    ];
    let gold = [(3, 3), (4, 9), (4, 9), (2, 2), (3, LENGTH), (0, 0), (9, 9)];
    let lists = SpanLists::new(&rows, 3);
    let z = run(&lists, &gold).unwrap();
    let (a, b, c) = (Some((1, 2)), Some((3, 3)), Some((5, 8)));
    assert_eq!(
        slots(&z),
        [
            [a, b, c],
            [a, b, Some((4, 9))],
            [a, Some((4, 9)), None],
            [Some((2, 2)), None, None],
            [a, b, c],
            [Some((0, 0)), b, None],
            [Some((9, 9)), b, Some((4, 4))],
        ]
    );
    assert_eq!(ints(&z.gold_index), [1, 2, 1, 0, IGNORE_INDEX, 0, 0]);
}

#[test]
fn duplicate_gold_spans_are_listed_once() {
    let lists = SpanLists::new(&[vec![(3, 3), (1, 2), (3, 3)]], 4);
    let (gold, other) = (Some((3, 3)), Some((1, 2)));
    let z = run(&lists, &[(3, 3)]).unwrap();
    assert_eq!(slots(&z), [[gold, other, None, None]]);
}

#[test]
fn an_empty_batch_gives_an_empty_result() {
    let empty = Tensor::zeros([0, 3], INT64);
    let valid = empty.to_kind(Kind::Bool);
    let list = CandidateSpans { starts: &empty, ends: &empty, valid: &valid };
    let gold = Tensor::zeros([0], INT64);
    let z = answer_candidates(&list, &gold, &gold, LENGTH).unwrap();
    assert_eq!((z.starts.size(), z.gold_index.size()), (vec![0, 3], vec![0]));
}

#[test]
fn invalid_arguments_are_reported() {
    let lists = SpanLists::new(&[vec![(1, 2), (3, 3)]], 2);
    let error_of = |lists: &SpanLists, gold: &[Span]| error_message(run(lists, gold));
    let list_error = |rows: Vec<Span>, slots| error_of(&SpanLists::new(&[rows], slots), &[(1, 2)]);
    let short_mask =
        SpanLists { valid: flags(&[vec![true]]), ..SpanLists::new(&[vec![(1, 2), (3, 3)]], 2) };
    let wrong_dtype =
        SpanLists { valid: lists.starts.shallow_clone(), ..SpanLists::new(&[vec![(1, 2); 2]], 2) };
    assert_messages([
        (error_of(&lists, &[(5, 4)]), "gold_ends[0] = 4: the span starts at 5…"),
        (error_of(&lists, &[(1, 2); 2]), "gold_starts: expected shape [B] = [1], got [2]"),
        (list_error(vec![(1, 2), (3, 1)], 2), "candidates.ends[0, 1] = 1: the span starts at 3…"),
        (list_error(vec![(1, 10), (3, 3)], 2), "candidates.ends: every value must be in 0..10…"),
        (list_error(vec![], 0), "candidates.starts: no slot for the gold span…"),
        (
            error_of(&short_mask, &[(1, 2)]),
            "candidates.valid: expected shape [B, M] = [1, 2], got [1, 1]",
        ),
        (error_of(&wrong_dtype, &[(1, 2)]), "candidates.valid: expected dtype Bool…"),
    ]);
}

/// Reference implementation with loops.
fn naive_slots(list: &[Span], slots: usize, gold: Span) -> Vec<Option<Span>> {
    let is_inside = |position: i64| (0..LENGTH).contains(&position);
    let mut row: Vec<Option<Span>> = list.iter().copied().map(Some).collect();
    if is_inside(gold.0) && is_inside(gold.1) && !list.contains(&gold) {
        row.truncate(slots - 1);
        row.push(Some(gold));
    }
    row.resize(slots, None);
    row
}

/// K, and for each row a list of distinct spans and a gold span, which may be in the list or
/// outside the window.
fn batches() -> impl Strategy<Value = (usize, Vec<(Vec<Span>, Span)>)> {
    let span =
        |upper: i64| (0..upper, 0..upper).prop_map(|(a, b)| if a <= b { (a, b) } else { (b, a) });
    (1usize..6).prop_flat_map(move |k| {
        let list = prop::collection::hash_set(span(4), 0..=k)
            .prop_map(|set| set.into_iter().collect::<Vec<_>>());
        let gold = prop_oneof![4 => span(4), 1 => span(LENGTH), 1 => Just((-1, 2))];
        let row = (list, gold, any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(list, gold, pick, inside)| {
                let gold = if inside && !list.is_empty() { *pick.get(&list) } else { gold };
                (list, gold)
            },
        );
        (Just(k), prop::collection::vec(row, 1..6))
    })
}

proptest! {
    #![proptest_config(with_cases(256))]

    #[test]
    fn agrees_with_the_loops((k, rows) in batches()) {
        let (lists, gold): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let tensors = SpanLists::new(&lists, k);
        let z = run(&tensors, &gold).unwrap();
        let expected: Vec<_> =
            lists.iter().zip(&gold).map(|(list, &gold)| naive_slots(list, k, gold)).collect();
        prop_assert_eq!(slots(&z), expected.clone());
        for ((row, &gold), index) in expected.iter().zip(&gold).zip(ints(&z.gold_index)) {
            let count = row.iter().filter(|&&span| span == Some(gold)).count();
            if index == IGNORE_INDEX {
                prop_assert_eq!(count, 0);
            } else {
                prop_assert_eq!(count, 1);
                prop_assert_eq!(row[index as usize], Some(gold));
            }
        }
    }
}
