//! Dropout drawn for each row of a batch.

use tch::{Device, Kind, Tensor};
use torch_ext::{MicroBatchSeeds, dropout_factors, dropout_factors_like, first_row, token_offsets};

use crate::alone;

#[test]
fn the_dropout_rate_is_as_configured() {
    let _alone = alone();
    let places = token_offsets(200, 1).unwrap();
    for p in [0.0, 0.1, 0.5] {
        let kept = dropout_factors(&places, 300, p).unwrap().ne(0.0);
        let share = kept.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((share - (1.0 - p)).abs() < 0.01, "{p}: {share}");
    }
}

#[test]
fn mismatched_tensors_are_rejected() {
    let _alone = alone();
    let places = token_offsets(2, 2).unwrap();
    for (places, width, p) in [
        (&places, 4, 1.0),
        (&places, 4, -0.1),
        (&places, 4, f64::NAN),
        (&places, 0, 0.1),
        (&places.view([2, 2]), 4, 0.1),
        (&places.to_kind(Kind::Int), 4, 0.1),
    ] {
        assert!(dropout_factors(places, width, p).is_err(), "{places:?} {width} {p}");
    }
    let x = Tensor::zeros([3, 4], (Kind::Float, Device::Cpu));
    assert!(dropout_factors_like(&x, &places, 0.1).is_err());
    let half = Tensor::zeros([2, 2, 5], (Kind::BFloat16, Device::Cpu));
    let like = dropout_factors_like(&half, &places, 0.1).unwrap();
    assert_eq!((like.size(), like.kind()), (half.size(), Kind::BFloat16));
}

#[test]
fn a_micro_batch_draws_its_rows_of_the_batch_and_restores_the_offset() {
    let _alone = alone();
    tch::manual_seed(2);
    let draw =
        |rows, length| dropout_factors(&token_offsets(rows, length).unwrap(), 6, 0.5).unwrap();
    let seeds = MicroBatchSeeds::new().unwrap();
    let (whole, next) = (draw(4, 3), draw(4, 3));
    assert_ne!(whole, next);
    seeds.enter(3).unwrap();
    assert_eq!(first_row(), 3);
    // A part's rows may be shorter than the batch's longest.
    assert_eq!(draw(1, 2), whole.narrow(0, 9, 2));
    assert_eq!(draw(1, 3), next.narrow(0, 9, 3));
    drop(seeds);
    assert_eq!(first_row(), 0);
}
