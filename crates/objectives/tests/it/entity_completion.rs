//! Tests of `entity_completion`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::Array2;
use objectives::{
    EntityCompletionConfig, EntityNormalization, Error, MaskedLmConfig, entity_completion,
    masked_lm,
};
use std::collections::BTreeMap;

const NORMALIZATIONS: [EntityNormalization; 2] =
    [EntityNormalization::Token, EntityNormalization::Entity];

fn config(normalization: EntityNormalization) -> EntityCompletionConfig {
    EntityCompletionConfig { normalization }
}

fn loss(x: &Tensor, t: &[i64], e: &[i64], normalization: EntityNormalization) -> Tensor {
    entity_completion(x, &ids(t), &ids(e), &config(normalization)).unwrap()
}

/// Eq. 2 with a minus sign, computed with loops over entities.
fn naive(logits: &Array2<f64>, targets: &[i64], entities: &[i64], by: EntityNormalization) -> f64 {
    let mut losses_by_entity: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (i, &entity) in entities.iter().enumerate() {
        let nll = naive_nll(logits.row(i), targets[i] as usize, |_| true);
        losses_by_entity.entry(entity).or_default().push(nll);
    }
    match by {
        EntityNormalization::Token => {
            let losses: Vec<f64> = losses_by_entity.into_values().flatten().collect();
            losses.iter().sum::<f64>() / losses.len() as f64
        }
        EntityNormalization::Entity => {
            let count = losses_by_entity.len() as f64;
            losses_by_entity
                .values()
                .map(|nll| nll.iter().sum::<f64>() / nll.len() as f64)
                .sum::<f64>()
                / count
        }
    }
}

#[test]
fn equals_the_loops_and_its_gradient_equals_central_differences() {
    let (logits, targets) = (sines(6, 5, 0.731, 4.0), [3, 0, 4, 3, 2, 2]);
    // Entities of 3, 1 and 2 sub-tokens, not in order, with gaps in the ids.
    let entities = [4, 0, 4, 1, 4, 1];
    for by in NORMALIZATIONS {
        let loss = |[x]: [&Tensor; 1]| loss(x, &targets, &entities, by);
        let naive = naive(&logits, &targets, &entities, by);
        LossCase { inputs: [&logits], loss: &loss, naive }.check(1e-12);
    }
}

#[test]
fn hand_computed_values_are_returned() {
    for by in NORMALIZATIONS {
        // Uniform predictions have the loss ln V for any grouping of the positions.
        let zeros = Tensor::zeros([4, 9], DOUBLE);
        assert_near(scalar(&loss(&zeros, &[0, 8, 3, 3], &[0, 0, 0, 1], by)), 9_f64.ln(), 1e-14);
        // With V = 1 the probability is 1.
        let single_token = Tensor::ones([2, 1], DOUBLE);
        assert_eq!(scalar(&loss(&single_token, &[0, 0], &[0, 1], by)), 0.0);
    }
    // p is 1/2 and 1/2 for entity 0, and 3/4 for entity 1.
    let logits = tensor(&ndarray::array![[0.0, 0.0], [0.0, 0.0], [3_f64.ln(), 0.0]]);
    let (half, three_quarters) = (2_f64.ln(), (4.0 / 3_f64).ln());
    let token = loss(&logits, &[0, 1, 0], &[0, 0, 1], EntityNormalization::Token);
    assert_near(scalar(&token), (2.0 * half + three_quarters) / 3.0, 1e-14);
    let entity = loss(&logits, &[0, 1, 0], &[0, 0, 1], EntityNormalization::Entity);
    assert_near(scalar(&entity), (half + three_quarters) / 2.0, 1e-14);
}

#[test]
fn token_normalisation_equals_masked_language_modelling() {
    let (logits, targets) = (tensor(&sines(6, 11, 1.137, 3.0)), [1, 10, 4, 0, 0, 7]);
    let mlm = scalar(&masked_lm(&logits, &ids(&targets), &MaskedLmConfig::default()).unwrap());
    let [token, entity] = NORMALIZATIONS;
    assert_eq!(scalar(&loss(&logits, &targets, &[0, 0, 1, 2, 2, 2], token)), mlm);
    for entities in [[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [0; 6]] {
        assert_near(scalar(&loss(&logits, &targets, &entities, entity)), mlm, 1e-14);
    }
    let loss_of_unequal_entities = scalar(&loss(&logits, &targets, &[0, 0, 0, 0, 0, 1], entity));
    assert!(
        (loss_of_unequal_entities - mlm).abs() > 1e-3,
        "unequal entity sizes must change the loss: {loss_of_unequal_entities}, {mlm}"
    );
}

#[test]
fn low_precision_logits_are_reduced_in_float32() {
    let logits = sines(9, 50, 0.417, 6.0);
    let (targets, entities) = ([3, 1, 49, 0, 7, 7, 20, 21, 22], [0, 0, 0, 0, 1, 1, 2, 3, 3]);
    for by in NORMALIZATIONS {
        let low = tensor(&logits).to_kind(Kind::BFloat16);
        let actual = loss(&low, &targets, &entities, by);
        assert_eq!(actual.kind(), Kind::Float);
        let rounded_logits: Vec<f64> = Vec::try_from(low.to_kind(Kind::Double).view([-1])).unwrap();
        let rounded_logits = Array2::from_shape_vec((9, 50), rounded_logits).unwrap();
        assert_near(scalar(&actual), naive(&rounded_logits, &targets, &entities, by), 1e-6);
        assert_near(scalar(&actual), naive(&logits, &targets, &entities, by), 0.024);
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let logits = Tensor::zeros([2, 4], FLOAT);
    for by in NORMALIZATIONS {
        let error_of = |targets: &Tensor, entities: &Tensor| {
            error_message(entity_completion(&logits, targets, entities, &config(by)))
        };
        let targets = ids(&[1, 1]);
        assert_messages([
            (error_of(&targets, &ids(&[0, -1])), "entities: every value…from -1 to 0…"),
            (error_of(&targets, &ids(&[0])), "entities: expected shape [N] = [2], got [1]"),
            (error_of(&targets, &Tensor::new()), "…entities: the tensor is undefined…"),
            (error_of(&targets, &ids(&[0, 0]).to_kind(Kind::Float)), "…got Float…"),
            (error_of(&ids(&[1, 7]), &ids(&[0, 0])), "targets: every value…"),
        ]);
        let empty = entity_completion(&logits.narrow(0, 0, 0), &ids(&[]), &ids(&[]), &config(by));
        assert!(matches!(empty, Err(Error::Empty { .. })));
        // An id far above the number of entities needs no additional memory.
        let huge_id_loss =
            entity_completion(&logits, &ids(&[1, 1]), &ids(&[0, i64::MAX - 1]), &config(by));
        assert_near(scalar(&huge_id_loss.unwrap()), 4_f64.ln(), 1e-6);
    }
}

/// N rows, each with a target and an entity id. Batches include a single entity, single-token
/// entities and gaps in the ids.
fn batches() -> impl Strategy<Value = (Array2<f64>, Vec<i64>, Vec<i64>)> {
    (1usize..8, 1usize..6).prop_flat_map(|(n, v)| {
        let logits = matrix(-20.0..20.0, n, v);
        (logits, prop::collection::vec(0..v as i64, n), prop::collection::vec(0..5_i64, n))
    })
}

proptest! {
    #![proptest_config(with_cases(96))]

    #[test]
    fn agrees_with_the_loops((logits, targets, entities) in batches()) {
        for by in NORMALIZATIONS {
            let actual = scalar(&loss(&tensor(&logits), &targets, &entities, by));
            assert_near(actual, naive(&logits, &targets, &entities, by), 1e-10);
        }
    }
}
