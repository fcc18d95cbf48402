//! Tests of `hard_negatives`: comparison with the cosines of all candidates.
use crate::common::*;
use ndarray::Array3;
use objectives::{CandidateSpans, Error, HardNegatives, NegativeSelection, hard_negatives};

const LENGTH: i64 = 12;

/// The M candidates of every row, in list order; the gold span of row b is candidate `b % 8`.
const SPANS: [(i64, i64); 8] =
    [(1, 3), (0, 0), (4, 9), (11, 11), (2, 2), (0, 11), (5, 6), (10, 11)];

struct Lists {
    starts: Tensor,
    ends: Tensor,
    valid: Tensor,
    gold: [Tensor; 2],
}

impl Lists {
    fn new(batch: usize) -> Self {
        let row = |pick: fn(&(i64, i64)) -> i64| SPANS.iter().map(pick).collect::<Vec<_>>();
        let (starts, ends) = (row(|span| span.0), row(|span| span.1));
        let gold = |row: &[i64]| ids(&(0..batch).map(|b| row[b % 8]).collect::<Vec<_>>());
        Self {
            gold: [gold(&starts), gold(&ends)],
            starts: table(&vec![starts; batch]),
            ends: table(&vec![ends; batch]),
            valid: flags(&vec![vec![true; 8]; batch]),
        }
    }

    fn select(&self, hidden: &Tensor, selection: NegativeSelection) -> HardNegatives {
        self.try_select(hidden, selection).unwrap()
    }

    fn try_select(
        &self,
        hidden: &Tensor,
        selection: NegativeSelection,
    ) -> Result<HardNegatives, Error> {
        let list = CandidateSpans { starts: &self.starts, ends: &self.ends, valid: &self.valid };
        hard_negatives(hidden, &self.gold[0], &self.gold[1], &list, selection)
    }
}

/// The slots by descending cosine with the gold span, without the gold slot and empty slots.
fn naive_slots(hidden: &Array3<f64>, row: usize, gold: usize, valid: &[bool]) -> Vec<i64> {
    let mean = |(start, end): (i64, i64)| naive_mean(hidden, row, start as usize, end as usize);
    let cosine = |slot: usize| naive_cosine(&mean(SPANS[slot]), &mean(SPANS[gold]));
    let mut slots: Vec<usize> = (0..8).filter(|&slot| slot != gold && valid[slot]).collect();
    slots.sort_by(|&x, &y| cosine(y).total_cmp(&cosine(x)));
    slots.into_iter().map(|slot| slot as i64).collect()
}

const fn hardest(count: usize) -> NegativeSelection {
    NegativeSelection::Hardest { count }
}

#[test]
fn ties_are_ordered_by_slot() {
    let lists = Lists::new(3);
    let actual = lists.select(&tensor3(&states(3, 12, 2)).ones_like(), hardest(3));
    assert_eq!(ints(&actual.slots), [1, 2, 3, 0, 2, 3, 0, 1, 3]);
}

#[test]
fn the_top_prediction_is_the_first_non_gold_span() {
    let mut lists = Lists::new(4);
    let mut valid = vec![vec![true; 8]; 4];
    (valid[2][0], valid[3]) = (false, vec![false; 8]);
    lists.valid = flags(&valid);
    let actual = lists.select(&tensor3(&states(4, 12, 2)), NegativeSelection::TopPrediction);
    assert_eq!(ints(&actual.slots), [1, 0, 1, 0]);
    assert_eq!(bools(&actual.valid), [true, true, true, false]);
}

#[test]
fn random_selection_depends_only_on_the_seed() {
    let hidden = tensor3(&states(64, 12, 2));
    let lists = Lists::new(64);
    let select = |seed| ints(&lists.select(&hidden, NegativeSelection::Random { seed }).slots);
    let mut counts = [0; 8];
    for seed in 0..100 {
        let first = select(seed);
        objectives::tch::manual_seed(seed as i64 + 1);
        assert_eq!(select(seed), first);
        for (b, &slot) in first.iter().enumerate() {
            assert_ne!(slot as usize, b % 8, "the gold span");
            counts[slot as usize] += 1;
        }
    }
    assert_ne!(select(1), select(2));
    // With 6400 uniform draws, the mean per slot is 800 and the standard deviation is 27.
    assert!(counts.iter().all(|&count| (680..=920).contains(&count)), "{counts:?}");
    // The draws of a row do not depend on the rows after it.
    let small_lists = Lists::new(3);
    let first_rows =
        small_lists.select(&hidden.narrow(0, 0, 3), NegativeSelection::Random { seed: 5 });
    assert_eq!(ints(&first_rows.slots), select(5)[..3]);
}

#[test]
fn rows_without_a_gold_span_have_no_negatives() {
    let mut lists = Lists::new(3);
    lists.gold = [ids(&[1, -1, 5]), ids(&[3, 0, LENGTH])];
    let hidden = tensor3(&states(3, 12, 4));
    for selection in
        [hardest(2), NegativeSelection::TopPrediction, NegativeSelection::Random { seed: 3 }]
    {
        let actual = lists.select(&hidden, selection);
        assert!(bools(&actual.valid.get(0)).iter().all(|&valid| valid));
        assert!(bools(&actual.valid.narrow(0, 1, 2)).iter().all(|&valid| !valid));
    }
}

#[test]
fn empty_lists_and_batches_give_empty_results() {
    for (batch, slots) in [(0, 4), (3, 0)] {
        let empty = Tensor::zeros([batch, slots], (Kind::Int64, objectives::tch::Device::Cpu));
        let lists = Lists {
            starts: empty.shallow_clone(),
            ends: empty.shallow_clone(),
            valid: empty.to_kind(Kind::Bool),
            gold: [0, 1].map(|_| empty.sum_dim_intlist(1, false, Kind::Int64)),
        };
        let hidden = tensor3(&states(3, 12, 4)).narrow(0, 0, batch);
        for (selection, width) in [
            (hardest(3), 3.min(slots)),
            (NegativeSelection::TopPrediction, 1.min(slots)),
            (NegativeSelection::Random { seed: 3 }, 1.min(slots)),
        ] {
            assert_eq!(lists.select(&hidden, selection).slots.size(), [batch, width]);
        }
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let hidden = tensor3(&states(2, 12, 4));
    let error_of = |lists: &Lists, hidden: &Tensor, count| {
        error_message(lists.try_select(hidden, hardest(count)))
    };
    let lists = Lists::new(2);
    let reversed_gold = Lists { gold: [ids(&[3, 0]), ids(&[2, 0])], ..Lists::new(2) };
    let extra_row = Lists { gold: Lists::new(2).gold, ..Lists::new(3) };
    assert_messages([
        (error_of(&lists, &hidden, 0), "count = 0: must be at least 1"),
        (
            error_of(&lists, &hidden.narrow(1, 0, 8), 1),
            "candidates.starts: every value must be in 0..8…",
        ),
        (error_of(&reversed_gold, &hidden, 1), "gold_ends[0] = 2: the span starts at 3…"),
        (error_of(&Lists::new(3), &hidden, 1), "gold_starts: expected shape [B] = [2], got [3]"),
        (
            error_of(&extra_row, &hidden, 1),
            "candidates.starts: expected shape [B, M] = [2, 8], got [3, 8]",
        ),
    ]);
}

proptest! {
    #![proptest_config(with_cases(64))]

    #[test]
    fn agrees_with_the_loops_in_any_row_order(
        values in prop::collection::vec(-3.0..3.0_f64, 4 * 12 * 3),
        valid in prop::collection::vec(prop::bool::weighted(0.7), 4 * 8),
        without_candidates in 0..4usize,
        count in 1usize..10,
    ) {
        let hidden = Array3::from_shape_vec((4, 12, 3), values).unwrap();
        let mut valid: Vec<Vec<bool>> = valid.chunks(8).map(Vec::from).collect();
        valid[without_candidates] = vec![false; 8];
        let mut lists = Lists::new(4);
        lists.valid = flags(&valid);
        let actual = lists.select(&tensor3(&hidden), hardest(count));
        let width = count.min(8);
        for (b, valid) in valid.iter().enumerate() {
            let mut expected = naive_slots(&hidden, b, b, valid);
            expected.truncate(width);
            let row = |tensor: &Tensor| ints(&tensor.get(b as i64));
            let (slots, starts, ends) = (row(&actual.slots), row(&actual.starts), row(&actual.ends));
            prop_assert_eq!(&slots[..expected.len()], &expected[..]);
            // Empty slots are last and hold 0.
            let mut spans: Vec<_> = expected.iter().map(|&slot| SPANS[slot as usize]).collect();
            let is_filled: Vec<bool> = (0..width).map(|i| i < spans.len()).collect();
            prop_assert_eq!(bools(&actual.valid.get(b as i64)), is_filled);
            spans.resize(width, (0, 0));
            prop_assert_eq!(starts.into_iter().zip(ends).collect::<Vec<_>>(), spans);
        }
        let reversed = Lists {
            starts: lists.starts.flip([0]),
            ends: lists.ends.flip([0]),
            valid: lists.valid.flip([0]),
            gold: [lists.gold[0].flip([0]), lists.gold[1].flip([0])],
        };
        let reversed = reversed.select(&tensor3(&hidden).flip([0]), hardest(count));
        prop_assert_eq!(ints(&reversed.slots.flip([0])), ints(&actual.slots));
    }
}
