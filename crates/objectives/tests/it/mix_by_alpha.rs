//! Tests of `mix_by_alpha`: hand-computed values.
use crate::common::*;
use objectives::mix_by_alpha;

fn leaf(value: f64) -> Tensor {
    Tensor::from(value).set_requires_grad(true)
}

#[test]
fn alpha_0_and_1_return_one_loss() {
    for (alpha, total) in [(0.0, 2.0), (0.25, 3.0), (0.5, 4.0), (1.0, 6.0)] {
        let (contrastive, hard) = (leaf(6.0), leaf(2.0));
        let mixed = mix_by_alpha(&contrastive, &hard, alpha).unwrap();
        assert_eq!(scalar(&mixed), total);
        mixed.backward();
        let gradient = |leaf: &Tensor| {
            let gradient = leaf.grad();
            gradient.defined().then(|| scalar(&gradient))
        };
        // A loss of weight 0 is not part of the graph.
        assert_eq!(gradient(&contrastive), (alpha > 0.0).then_some(alpha));
        assert_eq!(gradient(&hard), (alpha < 1.0).then_some(1.0 - alpha));
    }
}

#[test]
fn a_loss_of_weight_0_may_be_nan() {
    assert_eq!(scalar(&mix_by_alpha(&leaf(f64::NAN), &leaf(2.0), 0.0).unwrap()), 2.0);
    assert!(scalar(&mix_by_alpha(&leaf(f64::NAN), &leaf(2.0), 0.5).unwrap()).is_nan());
}

#[test]
fn invalid_arguments_are_reported() {
    let run =
        |contrastive: &Tensor, alpha| error_message(mix_by_alpha(contrastive, &leaf(2.0), alpha));
    assert_messages([
        (run(&leaf(1.0), 1.5), "alpha = 1.5: must be in [0, 1]"),
        (run(&leaf(1.0), f64::NAN), "alpha = NaN: must be in [0, 1]"),
        (run(&ids(&[1]), 0.5), "contrastive: expected shape [] = [], got [1]"),
        (run(&Tensor::from(1_i64), 0.5), "contrastive: expected dtype Float…"),
        (run(&Tensor::new(), 0.5), "contrastive: the tensor is undefined…"),
    ]);
}
