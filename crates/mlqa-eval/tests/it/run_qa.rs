//! Windows and decoding compared with transformers' run_qa. `golden/run_qa.py` computed the
//! expected results with transformers, from the same questions, tokenizer and logits.
use mlqa_eval::{
    Compatible, DecodeConfig, Error, NBest, NullOdds, Purpose, Question, Window, WindowConfig,
    decode, decode_answers, load_tokenizer, windows,
};
use ndarray::Array1;
use serde_json::Value;

use crate::common::{question, run_qa_golden, run_qa_logit};

const RUN_QA: Option<Compatible> = Some(Compatible::RunQa);

fn to_usize(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn questions(golden: &Value) -> Vec<Question> {
    let rows = golden["examples"].as_array().unwrap();
    rows.iter().map(|row| question(&text(&row[0]), &text(&row[1]), &text(&row[2]), &[])).collect()
}

fn run_qa_config(golden: &Value) -> WindowConfig {
    let max_length = to_usize(&golden["max_length"]);
    // This limit has no effect, because run_qa does not truncate questions.
    let max_question_length = 1;
    let doc_stride = to_usize(&golden["doc_stride"]);
    let compatible = RUN_QA;
    WindowConfig {
        max_length,
        doc_stride,
        max_question_length,
        compatible,
        ..WindowConfig::default()
    }
}

fn cut_windows(golden: &Value) -> (Vec<Question>, Vec<Window>) {
    let tokenizer = load_tokenizer(testkit::fixture("tokenizer.json")).unwrap();
    let questions = questions(golden);
    let windows = windows(&questions, &tokenizer, &run_qa_config(golden), Purpose::Eval).unwrap();
    (questions, windows)
}

fn logits(kind: u64, side: u64, count: usize, length: usize) -> Vec<Array1<f32>> {
    let row =
        |feature| (0..length as u64).map(|at| run_qa_logit(kind, side, feature, at)).collect();
    (0..count as u64).map(row).collect()
}

#[test]
fn windows_equal_transformers() {
    let golden = run_qa_golden();
    let (questions, windows) = cut_windows(&golden);
    let features = golden["features"].as_array().unwrap();
    assert_eq!(windows.len(), features.len());
    for (window, feature) in windows.iter().zip(features) {
        let id = &questions[window.question].id;
        assert_eq!(id, feature["example_id"].as_str().unwrap());
        assert_eq!(serde_json::json!(window.input_ids), feature["input_ids"], "{id}");
        assert_eq!(serde_json::json!(window.offsets), feature["offsets"], "{id}");
        if let Some(start) = feature["context_start"].as_u64() {
            assert_eq!(window.context_start as u64, start, "{id}");
        }
    }
}

fn check_n_best(got: &NBest, run: &Value, odds: &NullOdds) {
    let id = got.id.as_str();
    assert_eq!(got.answer(), run["predictions"][id], "{id}");
    let expected = run["n_best_predictions"][id].as_array().unwrap();
    assert_eq!(got.candidates.len(), expected.len(), "{id}");
    for (candidate, want) in got.candidates.iter().zip(expected) {
        assert_eq!(candidate.text, want[0], "{id}");
        let numbers = [
            f64::from(candidate.start_logit),
            f64::from(candidate.end_logit),
            candidate.probability,
        ];
        let want = [1, 2, 3].map(|k| want[k].as_f64().unwrap());
        assert_eq!(numbers[..2], want[..2], "{id}");
        // run_qa computes probabilities in float32.
        assert!((numbers[2] - want[2]).abs() < 1e-6, "{id}: {numbers:?} {want:?}");
    }
    if let Some(want) = run["null_odds"][id].as_f64() {
        let got = odds.0.iter().find(|(question, _)| question == id).unwrap().1;
        assert!((got - want).abs() < 1e-5, "{id}: {got} {want}");
    }
}

#[test]
fn answers_equal_transformers() {
    let golden = run_qa_golden();
    let (questions, windows) = cut_windows(&golden);
    let mut unanswered = 0;
    for run in golden["runs"].as_array().unwrap() {
        let kind = run["kind"].as_u64().unwrap();
        let length = to_usize(&golden["max_length"]);
        let [start, end] = [0, 1].map(|side| logits(kind, side, windows.len(), length));
        let config = DecodeConfig {
            n_best: to_usize(&run["n_best"]),
            max_answer_length: to_usize(&run["max_answer_length"]),
            allow_null: run["null_threshold"].as_f64().map(|threshold| threshold as f32),
            compatible: RUN_QA,
            ..DecodeConfig::default()
        };
        let all = decode(&questions, &windows, &start, &end, &config).unwrap();
        assert_eq!(all.len(), questions.len());
        let odds = NullOdds::of(&all);
        all.iter().for_each(|list| check_n_best(list, run, &odds));
        unanswered += all.iter().filter(|list| list.answer().is_empty()).count();
        // The candidates of the default mode differ from those of the mode `run_qa`.
        let default_config = DecodeConfig { compatible: None, ..config };
        let default_lists = decode(&questions, &windows, &start, &end, &default_config).unwrap();
        assert!(
            default_lists
                .iter()
                .zip(&all)
                .any(|(default, run_qa)| default.candidates != run_qa.candidates)
        );
        for config in [&config, &default_config] {
            for n_best in [config.n_best, 1] {
                let config = DecodeConfig { n_best, ..config.clone() };
                let all = decode(&questions, &windows, &start, &end, &config).unwrap();
                for list in all.iter().filter(|list| !list.candidates.is_empty()) {
                    let total: f64 =
                        list.candidates.iter().map(|candidate| candidate.probability).sum();
                    assert!((total - 1.0).abs() < 1e-9, "{list:?}");
                }
                let answers = decode_answers(&questions, &windows, &start, &end, &config).unwrap();
                assert!(answers.iter().eq(all.iter().map(NBest::answer)));
            }
        }
    }
    assert!(unanswered > 0, "no question without an answer");
}

#[test]
fn training_windows_ignore_run_qa() {
    let golden = run_qa_golden();
    let tokenizer = load_tokenizer(testkit::fixture("tokenizer.json")).unwrap();
    let compatible = WindowConfig { max_question_length: 20, ..run_qa_config(&golden) };
    let default = WindowConfig { compatible: None, ..compatible.clone() };
    let train = |config| windows(&questions(&golden), &tokenizer, config, Purpose::Train).unwrap();
    assert_eq!(train(&compatible), train(&default));
    assert_ne!(train(&compatible).len(), cut_windows(&golden).1.len());
}

#[test]
fn settings_are_validated_and_serialised() {
    let config = WindowConfig { max_question_length: 400, ..WindowConfig::default() };
    assert!(config.validate(512, 1).is_err());
    WindowConfig { compatible: RUN_QA, ..config }.validate(512, 1).unwrap();
    let json = |compatible| {
        let config = DecodeConfig { compatible, ..DecodeConfig::default() };
        serde_json::to_string(&config).unwrap()
    };
    assert!(!json(None).contains("compatible"));
    assert!(json(RUN_QA).contains("\"compatible\":\"run_qa\""), "{}", json(RUN_QA));
    // The question leaves too few tokens for its context.
    let question = question("q", &"why ".repeat(110), &"word ".repeat(40), &[]);
    let tokenizer = load_tokenizer(testkit::fixture("tokenizer.json")).unwrap();
    let error = windows(&[question], &tokenizer, &run_qa_config(&run_qa_golden()), Purpose::Eval)
        .unwrap_err();
    assert!(matches!(error, Error::NoRoom { .. }), "{error}");
}
