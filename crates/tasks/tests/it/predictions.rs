//! Tests of predictions: results do not depend on batches, and padding has no effect.
use tasks::cloze_ranking::rank_clozes;
use tasks::sequence_classification::{best_classes, classify_nli};
use tasks::token_classification::{best_labels, best_labels_with_probabilities};
use tch::{Device, Kind, Tensor};
use transfer_eval::lama::Cloze;
use transfer_eval::xnli::NliInput;
use xlmr_model::{Config, Head, Inputs, LoadOptions, Model};

/// Creates rows of token ids with different lengths.
fn rows() -> Vec<Vec<u32>> {
    (0..11u32)
        .map(|k| {
            let words = (0..4 + k * 7 % 13).map(|position| 5 + (k * 31 + position * 17) % 290);
            std::iter::once(0).chain(words).chain([2]).collect()
        })
        .collect()
}

fn load(name: &str, head: Head) -> Model {
    let path = testkit::fixture(&format!("hf/{name}"));
    Model::load(path, &[head], Device::Cpu, LoadOptions::default()).unwrap().0
}

/// Computes the hidden states of a single row, `[1, L, H]`.
fn hidden_of(model: &Model, row: &[u32]) -> Tensor {
    let inputs = Inputs::from_rows(&[row], 1).unwrap();
    tch::no_grad(|| model.encode(&inputs, false).unwrap())
}

#[test]
fn labels_equal_the_labels_of_single_rows() {
    let model = load("tokcls", Head::TokenClassification { labels: 5 });
    let rows = rows();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let expected: Vec<Vec<usize>> = rows
        .iter()
        .map(|row| {
            let logits = model.token_logits(&hidden_of(&model, row), false).unwrap();
            let labels: Vec<i64> = logits.argmax(-1, false).view([-1]).try_into().unwrap();
            labels.into_iter().map(|label| usize::try_from(label).unwrap()).collect()
        })
        .collect();
    assert!(expected.concat().iter().any(|&label| label != expected[0][0]), "labels must differ");
    for batch_size in [1, 4, 100] {
        assert_eq!(best_labels(&model, &rows, batch_size).unwrap(), expected, "{batch_size}");
        let predicted = best_labels_with_probabilities(&model, &rows, None, batch_size).unwrap();
        for ((row, tokens), labels) in rows.iter().zip(&predicted).zip(&expected) {
            let logits = model.token_logits(&hidden_of(&model, row), false).unwrap();
            let probabilities = logits.softmax(-1, Kind::Double).get(0);
            assert_eq!(tokens.len(), labels.len());
            for ((position, token), &label) in (0..).zip(tokens).zip(labels) {
                let expected = probabilities.double_value(&[position, label as i64]);
                assert_eq!(token.label, label);
                assert!((f64::from(token.probability) - expected).abs() < 1e-5, "{token:?}");
            }
        }
    }
    assert!(best_labels(&model, &[], 4).unwrap().is_empty());
    let error = best_labels(&model, &rows, 0).unwrap_err().to_string();
    assert_eq!(error, "batch_size = 0: must be 1 or more");
    assert!(classify_nli(&model, &[NliInput { input_ids: vec![0, 5, 2], label: 0 }], 4).is_err());
}

#[test]
fn classes_equal_the_classes_of_single_pairs() {
    let model = load("seqcls", Head::SequenceClassification { labels: 3 });
    let inputs: Vec<NliInput> =
        rows().into_iter().map(|input_ids| NliInput { input_ids, label: 0 }).collect();
    let expected: Vec<i64> = inputs
        .iter()
        .map(|input| {
            let logits =
                model.sequence_logits(&hidden_of(&model, &input.input_ids), None, false).unwrap();
            logits.argmax(-1, false).int64_value(&[0])
        })
        .collect();
    for batch_size in [1, 4] {
        let actual: Vec<i64> = classify_nli(&model, &inputs, batch_size)
            .unwrap()
            .iter()
            .map(|label| label.class())
            .collect();
        assert_eq!(actual, expected, "{batch_size}");
        let rows: Vec<&[u32]> = inputs.iter().map(|input| input.input_ids.as_slice()).collect();
        let classes = best_classes(&model, &rows, batch_size).unwrap();
        assert!(
            classes
                .iter()
                .zip(&expected)
                .all(|(&actual, &expected_class)| actual as i64 == expected_class)
        );
    }
    let head = Head::SequenceClassification { labels: 2 };
    let two_label_model = Model::new(&Config::tiny(300), &[head], Device::Cpu, 1).unwrap();
    let error = classify_nli(&two_label_model, &inputs, 4).unwrap_err().to_string();
    assert!(error.contains("expected [B, 3], got shape"), "{error}");
}

#[test]
fn ranks_equal_the_ranks_of_single_clozes() {
    let model = load("mlm", Head::MaskedLm);
    let cloze = |(k, input_ids): (usize, Vec<u32>)| {
        let mask = 1 + k % 3;
        let gold = (k != 4).then(|| u32::try_from(k * 23 % 300).unwrap());
        Cloze { id: k.to_string(), relation: "r".into(), input_ids, mask, gold, spaced: true }
    };
    let mut clozes: Vec<Cloze> = rows().into_iter().enumerate().map(cloze).collect();
    let expected: Vec<Option<usize>> = clozes
        .iter()
        .map(|cloze| {
            let gold = usize::try_from(cloze.gold?).unwrap();
            let logits = model.mlm_logits(&hidden_of(&model, &cloze.input_ids)).unwrap();
            let row = logits.select(0, 0).select(0, i64::try_from(cloze.mask).unwrap());
            let scores: Vec<f32> = row.try_into().unwrap();
            Some(1 + scores.iter().filter(|&&score| score > scores[gold]).count())
        })
        .collect();
    for batch_size in [1, 4] {
        let actual = rank_clozes(&model, &clozes, None, batch_size).unwrap();
        assert_eq!(actual, expected, "{batch_size}");
    }
    clozes[7].gold = Some(300);
    let error = rank_clozes(&model, &clozes, None, 4).unwrap_err().to_string();
    assert_eq!(error, "cloze 8: piece 300, but V = 300");
    clozes[7].mask = 99;
    let error = rank_clozes(&model, &clozes, None, 4).unwrap_err().to_string();
    assert!(error.starts_with("cloze 8: mask at 99, but the input has"), "{error}");
}
