//! Tests of the positions that carry loss: row-major order and exact gradients of gathered rows.
use crate::common::*;
use objectives::{Error, IGNORE_INDEX, masked_positions};

#[test]
fn positions_are_row_major_and_a_padded_row_has_no_positions() {
    let labels = ids(&[-100, 7, -100, 7, -100, -100, -100, -100, 0, -100, -100, 2]).view([3, 4]);
    let masked = masked_positions(&labels).unwrap();
    assert_eq!(Vec::<i64>::try_from(&masked.indices).unwrap(), [1, 3, 8, 11]);
    assert_eq!(Vec::<i64>::try_from(&masked.targets).unwrap(), [7, 7, 0, 2]);
    assert_eq!((masked.len(), masked.is_empty(), masked.shape), (4, false, [3, 4]));
}

#[test]
fn unmasked_and_empty_batches_have_no_positions() {
    for size in [[2, 3], [0, 3], [2, 0]] {
        let labels = Tensor::full(size, IGNORE_INDEX, INT64);
        let masked = masked_positions(&labels).unwrap();
        assert!(masked.is_empty());
        let hidden = Tensor::zeros([size[0], size[1], 5], FLOAT);
        assert_eq!(masked.gather(&hidden).unwrap().size(), [0, 5]);
    }
}

#[test]
fn gather_selects_rows_from_any_memory_layout() {
    let masked = masked_positions(&ids(&[-100, 1, 2, -100]).view([2, 2])).unwrap();
    let hidden = Tensor::arange(12, FLOAT).view([2, 2, 3]);
    let expected = [3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    // The second tensor is not contiguous: it is [L, B, H] viewed as [B, L, H].
    for hidden in [hidden.shallow_clone(), hidden.transpose(0, 1).contiguous().transpose(0, 1)] {
        let rows = masked.gather(&hidden).unwrap();
        assert_eq!(Vec::<f32>::try_from(rows.view([-1])).unwrap(), expected);
    }
    // Ids in the layout of the labels are gathered in the same way.
    let entities = ids(&[5, 6, 7, 8]).view([2, 2]);
    assert_eq!(Vec::<i64>::try_from(masked.gather(&entities).unwrap()).unwrap(), [6, 7]);
}

#[test]
fn positions_that_are_not_masked_receive_a_gradient_of_exactly_zero() {
    let masked = masked_positions(&ids(&[-100, 1, 2, -100, -100, 0]).view([2, 3])).unwrap();
    let hidden = Tensor::randn([2, 3, 4], DOUBLE).set_requires_grad(true);
    masked.gather(&hidden).unwrap().exp().sum(Kind::Double).backward();
    let grad = hidden.grad();
    for index in [[0, 0], [1, 0], [1, 1]] {
        assert_zero_row(&grad, &index);
    }
    let nonzero_rows = grad.ne(0.0).sum(Kind::Int64).int64_value(&[]);
    assert_eq!(nonzero_rows, 3 * 4, "every masked position has its gradient");
}

#[test]
fn invalid_arguments_are_reported() {
    let flat_error = masked_positions(&ids(&[1, 2])).unwrap_err();
    assert_eq!(flat_error.to_string(), "labels: expected shape [B, L], got [2]");
    let float_labels = Tensor::zeros([1, 2], FLOAT);
    assert!(matches!(masked_positions(&float_labels), Err(Error::Dtype { tensor: "labels", .. })));
    assert!(matches!(masked_positions(&Tensor::new()), Err(Error::Undefined { .. })));
    let range_error = masked_positions(&ids(&[-1, 4, -100]).view([1, 3])).unwrap_err().to_string();
    assert!(
        range_error.contains("labels") && range_error.contains("from -1 to 4"),
        "{range_error}"
    );

    let masked = masked_positions(&ids(&[-100, 1]).view([1, 2])).unwrap();
    for size in [vec![2, 1, 3], vec![1, 3, 3], vec![2]] {
        let hidden = Tensor::zeros(size, FLOAT);
        let error = masked.gather(&hidden).unwrap_err();
        assert!(matches!(error, Error::Shape { tensor: "hidden", .. }), "{error}");
    }
    assert!(matches!(masked.gather(&Tensor::new()), Err(Error::Undefined { .. })));
}

proptest! {
    #![proptest_config(with_cases(64))]

    /// The positions equal those found by a loop.
    #[test]
    fn agrees_with_a_loop(
        length in 1usize..6,
        labels in prop::collection::vec(prop_oneof![Just(-100_i64), 0_i64..9], 0..30),
    ) {
        let rows = labels.len() / length;
        let labels = &labels[..rows * length];
        let (mut indices, mut targets) = (Vec::new(), Vec::new());
        for row in 0..rows {
            for column in 0..length {
                let index = row * length + column;
                if labels[index] != -100 {
                    indices.push(index as i64);
                    targets.push(labels[index]);
                }
            }
        }
        let masked = masked_positions(&ids(labels).view([rows as i64, length as i64])).unwrap();
        prop_assert_eq!(masked.len(), targets.len());
        prop_assert_eq!(Vec::<i64>::try_from(&masked.indices).unwrap(), indices);
        prop_assert_eq!(Vec::<i64>::try_from(&masked.targets).unwrap(), targets);
    }
}
