//! `combine` and `mix_by_alpha` against sums worked by hand.
use crate::common::{assert_near, draws, scalar};
use objectives::tch::{Kind, Tensor};
use objectives::{Combined, Error, Term, combine, mix_by_alpha};
use proptest::prelude::*;

fn leaf(value: f64) -> Tensor {
    Tensor::from(value).set_requires_grad(true)
}

fn term<'a>(name: &'static str, weight: f64, loss: &'a Tensor) -> Term<'a> {
    Term { name, weight, loss }
}

fn refusal(result: Result<Combined, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn sums_and_reports() {
    let (x, y) = (leaf(2.0), leaf(-3.0));
    let (loss, other) = (&x * &x, &y * 5.0);
    let sum = combine(&[term("square", 0.25, &loss), term("line", -2.0, &other)]).unwrap();
    assert_eq!(scalar(&sum.total), 0.25 * 4.0 - 2.0 * -15.0);
    let names: Vec<&str> = sum.parts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["square", "line"]);
    let values: Vec<f64> = sum.parts.iter().map(|(_, part)| scalar(part)).collect();
    assert_eq!(values, [4.0, -15.0]);
    assert!(sum.parts.iter().all(|(_, part)| !part.requires_grad()));
    sum.total.backward();
    assert_eq!((scalar(&x.grad()), scalar(&y.grad())), (0.25 * 4.0, -10.0));
}

#[test]
fn a_term_of_weight_0_is_reported_and_nothing_else() {
    let (x, y) = (leaf(2.0), leaf(f64::NAN));
    let sum = combine(&[term("off", 0.0, &y), term("on", 3.0, &x)]).unwrap();
    assert_eq!(scalar(&sum.total), 6.0);
    assert!(scalar(&sum.parts[0].1).is_nan());
    sum.total.backward();
    assert!(!y.grad().defined());
    let nothing = refusal(combine(&[term("off", 0.0, &x)]));
    assert_eq!(nothing, "terms: every weight is 0, so nothing would be learned");
}

#[test]
fn a_loss_that_is_not_finite_goes_through() {
    let sum = combine(&[term("a", 1.0, &leaf(f64::NAN)), term("b", 1.0, &leaf(1.0))]).unwrap();
    assert!(scalar(&sum.total).is_nan());
}

#[test]
fn what_does_not_fit_is_named() {
    let x = leaf(1.0);
    assert_eq!(refusal(combine(&[])), "terms: pass at least one term");
    let twice = combine(&[term("mlm", 1.0, &x), term("span", 1.0, &x), term("mlm", 0.0, &x)]);
    assert!(matches!(twice, Err(Error::Duplicate { name: "mlm" })));
    assert!(refusal(twice).starts_with("mlm: two terms have this name"));
    for weight in [f64::NAN, f64::INFINITY] {
        let message = refusal(combine(&[term("mlm", weight, &x)]));
        assert!(message.starts_with(&format!("mlm = {weight}: must be finite")), "{message}");
    }
    let rows = Tensor::from_slice(&[1.0]);
    assert_eq!(
        refusal(combine(&[term("mlm", 1.0, &rows)])),
        "mlm: expected shape [] = [], got [1]"
    );
    let count = Tensor::from(3_i64);
    assert!(refusal(combine(&[term("mlm", 1.0, &count)])).starts_with("mlm: expected dtype Float"));
    let none = Tensor::new();
    assert!(
        refusal(combine(&[term("mlm", 0.0, &none)])).starts_with("mlm: the tensor is undefined")
    );
}

#[test]
fn alpha_mixes_and_its_ends_are_the_parts() {
    let (contrastive, hard) = (leaf(0.7), leaf(4.1));
    let mixed = |alpha| mix_by_alpha(&contrastive, &hard, alpha).unwrap();
    assert_eq!(scalar(&mixed(0.0).total), 4.1);
    assert_eq!(scalar(&mixed(1.0).total), 0.7);
    for alpha in [0.1, 0.3, 0.5, 0.9] {
        assert_near(scalar(&mixed(alpha).total), alpha * 0.7 + (1.0 - alpha) * 4.1, 1e-15);
    }
    let half = mixed(0.5);
    let parts: Vec<_> = half.parts.iter().map(|(name, part)| (*name, scalar(part))).collect();
    assert_eq!(parts, [("contrastive", 0.7), ("hard", 4.1)]);
    half.total.backward();
    assert_eq!((scalar(&contrastive.grad()), scalar(&hard.grad())), (0.5, 0.5));
    for alpha in [-0.01, 1.01, f64::NAN] {
        let message = refusal(mix_by_alpha(&contrastive, &hard, alpha));
        assert_eq!(message, format!("alpha = {alpha}: must be in [0, 1]"));
    }
}

#[test]
fn without_contrast_the_span_side_stands_alone_with_weight_1() {
    // A contrastive loss that cannot be computed then does not matter.
    let (contrastive, hard) = (leaf(f64::NAN), leaf(4.1));
    let mixed = mix_by_alpha(&contrastive, &hard, 0.0).unwrap();
    mixed.total.backward();
    assert_eq!((scalar(&mixed.total), scalar(&hard.grad())), (4.1, 1.0));
    assert!(!contrastive.grad().defined());
}

#[test]
fn low_precision_keeps_its_dtype() {
    let (x, y) = (leaf(2.0).to_kind(Kind::BFloat16), leaf(3.0).to_kind(Kind::Float));
    assert_eq!(combine(&[term("a", 0.5, &x)]).unwrap().total.kind(), Kind::BFloat16);
    let sum = combine(&[term("a", 0.5, &x), term("b", 1.0, &y)]).unwrap();
    assert_eq!((sum.total.kind(), scalar(&sum.total)), (Kind::Float, 4.0));
}

proptest! {
    #![proptest_config(draws(64))]

    #[test]
    fn is_linear(losses in prop::collection::vec((-5.0..5.0_f64, -5.0..5.0_f64), 1..5)) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let tensors: Vec<Tensor> = losses.iter().map(|&(_, loss)| Tensor::from(loss)).collect();
        let terms: Vec<Term<'_>> = losses.iter().zip(&tensors).zip(NAMES)
            .map(|((&(weight, _), loss), name)| term(name, weight, loss)).collect();
        let want: f64 = losses.iter().map(|(weight, loss)| weight * loss).sum();
        if losses.iter().any(|&(weight, _)| weight != 0.0) {
            assert_near(scalar(&combine(&terms).unwrap().total), want, 1e-13);
        }
    }
}
