//! Dropout factors by row and position.
use tch::{Device, Kind, Tensor};
use torch_ext::{MicroBatchSeeds, dropout_factors, dropout_factors_like, first_row, token_offsets};

use crate::lock_rng;

#[test]
fn the_dropout_rate_is_as_configured() {
    let _lock = lock_rng();
    let offsets = token_offsets(200, 1).unwrap();
    for p in [0.0, 0.1, 0.5] {
        let keep_mask = dropout_factors(&offsets, 300, p).unwrap().ne(0.0);
        let kept_share = keep_mask.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((kept_share - (1.0 - p)).abs() < 0.01, "{p}: {kept_share}");
    }
}

#[test]
fn invalid_arguments_are_rejected() {
    let _lock = lock_rng();
    let offsets = token_offsets(2, 2).unwrap();
    for (offsets, width, p) in [
        (&offsets, 4, 1.0),
        (&offsets, 4, -0.1),
        (&offsets, 4, f64::NAN),
        (&offsets, 0, 0.1),
        (&offsets.view([2, 2]), 4, 0.1),
        (&offsets.to_kind(Kind::Int), 4, 0.1),
    ] {
        assert!(dropout_factors(offsets, width, p).is_err(), "{offsets:?} {width} {p}");
    }
    let x = Tensor::zeros([3, 4], (Kind::Float, Device::Cpu));
    assert!(dropout_factors_like(&x, &offsets, 0.1).is_err());
    let half = Tensor::zeros([2, 2, 5], (Kind::BFloat16, Device::Cpu));
    let factors = dropout_factors_like(&half, &offsets, 0.1).unwrap();
    assert_eq!((factors.size(), factors.kind()), (half.size(), Kind::BFloat16));
}

#[test]
fn factors_of_a_micro_batch_equal_those_of_the_batch() {
    let _lock = lock_rng();
    tch::manual_seed(2);
    let draw =
        |rows, length| dropout_factors(&token_offsets(rows, length).unwrap(), 6, 0.5).unwrap();
    let seeds = MicroBatchSeeds::new().unwrap();
    let (batch, next_draw) = (draw(4, 3), draw(4, 3));
    assert_ne!(batch, next_draw);
    seeds.enter(3).unwrap();
    assert_eq!(first_row(), 3);
    // All rows of a micro-batch may be shorter than the longest row of the batch.
    assert_eq!(draw(1, 2), batch.narrow(0, 9, 2));
    assert_eq!(draw(1, 3), next_draw.narrow(0, 9, 3));
    drop(seeds);
    assert_eq!(first_row(), 0);
}
