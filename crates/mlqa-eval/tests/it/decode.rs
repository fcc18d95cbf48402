//! Decoding compared with hand-computed values and with exhaustive search.
use mlqa_eval::{
    Compatible, DecodeConfig, Error, Predictions, Question, Window, WindowScore, decode,
    write_n_best,
};
use ndarray::{Array1, arr1};
use proptest::prelude::*;

/// A question with the context `w0 w1 w2 …`; each word has two characters and a space.
fn question(id: &str, words: usize) -> Question {
    let context = (0..words).map(|k| format!("w{k}")).collect::<Vec<_>>().join(" ");
    crate::common::question(id, "", &context, &[])
}

/// A window with the tokens `<s> </s> words from..to </s>`; context tokens begin at index 2.
fn window(question: usize, from: usize, to: usize) -> Window {
    let n = to - from;
    Window {
        question,
        input_ids: vec![0; n + 3],
        token_type_ids: vec![0; n + 3],
        question_end: 1,
        context_start: 2,
        context_end: 2 + n,
        offsets: (from..to).map(|k| (3 * k, 3 * k + 2)).collect(),
        max_context: vec![true; n],
        start_position: None,
        end_position: None,
    }
}

#[test]
fn candidates_equal_hand_computed_values() {
    let (q, w) = ([question("q", 4)], [window(0, 0, 4)]);
    // `<s>` and `</s>` have the highest logits, but are not in the context.
    let start = [arr1(&[9.0, 9.0, 1.0, 3.0, 0.0, 0.0, 9.0])];
    let end = [arr1(&[9.0, 9.0, 2.0, 0.0, 1.5, 0.0, 9.0])];
    let all = decode(&q, &w, &start, &end, &DecodeConfig::default()).unwrap();
    let best = &all[0].candidates[0];
    assert_eq!((best.text.as_str(), best.score), ("w1 w2", 4.5));
    assert_eq!((best.start, best.end, best.window, best.answer_start), (3, 4, 0, 3));
    // Equal scores of 3.0 (3 + 0 and 1 + 2) are ordered by position: (2, 2), (3, 3), (3, 5).
    let order: Vec<(usize, usize)> =
        all[0].candidates.iter().take(4).map(|c| (c.start, c.end)).collect();
    assert_eq!(order, [(3, 4), (2, 2), (3, 3), (3, 5)]);
    let sum: f64 = all[0].candidates.iter().map(|c| c.probability).sum();
    assert!((sum - 1.0).abs() < 1e-12);
    assert_eq!(all[0].null_score, Some(18.0));
    assert_eq!(all[0].answer(), "w1 w2");
}

#[test]
fn windows_are_merged_and_texts_are_distinct() {
    let q = [question("q", 6)];
    let mut w = [window(0, 0, 4), window(0, 2, 6)];
    let peak_at = |at: usize, peak: f32| {
        let mut row = Array1::zeros(7);
        row[at] = peak;
        row
    };
    // w3 is token 5 of the first window and token 3 of the second.
    let logits = [peak_at(5, 2.0), peak_at(3, 4.0)];
    let all = decode(&q, &w, &logits, &logits, &DecodeConfig::default()).unwrap();
    let with_w3: Vec<_> = all[0].candidates.iter().filter(|c| c.text == "w3").collect();
    assert_eq!(with_w3.len(), 1);
    assert_eq!((with_w3[0].window, with_w3[0].score, with_w3[0].answer_start), (1, 8.0, 9));
    // If w3 does not have its maximum context in the second window, it is a valid start only in the
    // first window.
    w[1].max_context[1] = false;
    let all = decode(&q, &w, &logits, &logits, &DecodeConfig::default()).unwrap();
    let with_w3 = all[0].candidates.iter().find(|c| c.text == "w3").unwrap();
    assert_eq!((with_w3.window, with_w3.score), (0, 4.0));
}

#[test]
fn ties_go_to_the_earlier_window_and_token() {
    let q = [question("q", 6)];
    let w = [window(0, 0, 3), window(0, 3, 6)];
    let logits = [Array1::zeros(6), Array1::zeros(6)];
    let all =
        decode(&q, &w, &logits, &logits, &DecodeConfig { n_best: 3, ..DecodeConfig::default() })
            .unwrap();
    let order: Vec<_> = all[0].candidates.iter().map(|c| (c.window, c.start, c.end)).collect();
    assert_eq!(order, [(0, 2, 2), (0, 2, 3), (0, 2, 4)]);
}

#[test]
fn null_is_predicted_only_with_a_threshold() {
    let (q, w) = ([question("q", 2)], [window(0, 0, 2)]);
    let logits = [arr1(&[2.0, 0.0, 1.0, 0.0, 0.0])];
    let answer = |allow_null| {
        let config = DecodeConfig { allow_null, ..DecodeConfig::default() };
        decode(&q, &w, &logits, &logits, &config).unwrap()[0].answer().to_owned()
    };
    assert_eq!(answer(None), "w0");
    assert_eq!(answer(Some(0.0)), "");
    // The null score is 4 and does not exceed the span's score 2 + 2, so the span is the answer.
    assert_eq!(answer(Some(2.0)), "w0");
}

#[test]
fn errors_name_invalid_logits() {
    let (q, w) =
        ([question("first", 2), question("second", 2)], [window(0, 0, 2), window(1, 0, 2)]);
    let good = Array1::<f32>::zeros(5);
    let decode_error = |start: &[Array1<f32>], end: &[Array1<f32>]| {
        decode(&q, &w, start, end, &DecodeConfig::default()).unwrap_err()
    };
    for value in [f32::NAN, f32::INFINITY] {
        let mut bad = good.clone();
        bad[3] = value;
        let error = decode_error(&[good.clone(), good.clone()], &[good.clone(), bad]);
        let Error::Logits { id, window, tensor, problem } = &error else { panic!("{error}") };
        assert_eq!((id.as_str(), *window, *tensor), ("second", 1, "end_logits"));
        assert!(problem.contains("token 3"), "{problem}");
    }
    let error = decode_error(&[good.clone(), Array1::zeros(4)], &[good.clone(), good.clone()]);
    assert!(matches!(&error, Error::Logits { id, .. } if id == "second"), "{error}");
    let error = decode_error(std::slice::from_ref(&good), &[good.clone(), good.clone()]);
    assert!(matches!(error, Error::LogitsCount { expected: 2, got: 1, .. }), "{error}");
    // Logits after the window are ignored, and −∞ is valid.
    let mut longer_row = Array1::<f32>::zeros(9);
    longer_row[7] = f32::NAN;
    longer_row[2] = f32::NEG_INFINITY;
    let rows = [longer_row.clone(), longer_row];
    let all = decode(&q, &w, &rows, &rows, &DecodeConfig::default()).unwrap();
    assert_eq!(all[0].candidates.len(), 1);
    assert_eq!(all[0].answer(), "w1");
}

#[test]
fn windows_that_do_not_match_the_questions_are_errors() {
    let logits = [Array1::<f32>::zeros(7)];
    let run_qa = DecodeConfig { compatible: Some(Compatible::RunQa), ..DecodeConfig::default() };
    let error = |window: Window, config: &DecodeConfig| {
        let (question, error) = (question("q", 4), |error: Error| error.to_string());
        decode(&[question], &[window], &logits, &logits, config).map_err(error).unwrap_err()
    };
    let valid = window(0, 0, 4);
    for config in [&DecodeConfig::default(), &run_qa] {
        let message = error(Window { question: 1, ..valid.clone() }, config);
        assert!(message.contains("window 0 belongs to question index 1"), "{message}");
        let message = error(Window { offsets: Vec::new(), ..valid.clone() }, config);
        assert!(message.contains("has 0 offsets for 4 tokens of the context"), "{message}");
        let message = error(Window { max_context: vec![true], ..valid.clone() }, config);
        assert!(message.contains("has 1 max_context for 4 tokens"), "{message}");
        let message = error(Window { context_end: 8, ..valid.clone() }, config);
        assert!(message.contains("has the context 2..8 in 7 tokens"), "{message}");
        // The context has only four words.
        let message = error(window(0, 3, 7), config);
        assert!(message.contains("after the end of its context"), "{message}");
    }
}

#[test]
fn array_views_are_accepted_and_files_are_written() {
    let (q, w) = (
        [question("b", 2), question("a", 2), question("none", 2)],
        [window(0, 0, 2), window(1, 0, 2)],
    );
    let logits = [arr1(&[0.0, 0.0, 1.0, 0.0, 0.0]), arr1(&[0.0, 0.0, 0.0, 1.0, 0.0])];
    let views: Vec<_> = logits.iter().map(Array1::view).collect();
    let all = decode(&q, &w, &views, &logits, &DecodeConfig::default()).unwrap();
    assert_eq!(all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["b", "a", "none"]);
    let predictions = Predictions::from(all.as_slice());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.json");
    predictions.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "{\n \"a\": \"w1\",\n \"b\": \"w0\",\n \"none\": \"\"\n}\n");
    assert_eq!(Predictions::read(&path).unwrap(), predictions);
    let path = folder.path().join("n_best.json");
    write_n_best(&path, &all).unwrap();
    let value: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(value["b"]["candidates"][0]["text"], "w0");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(128)) })]

    /// The result equals that of an exhaustive search over the n highest starts and ends; of equal
    /// logits, the first is used. If n_best is at least 9, the search covers all spans.
    #[test]
    fn decoding_equals_an_exhaustive_search(
        start in prop::collection::vec(-3_i8..3, 12), end in prop::collection::vec(-3_i8..3, 12),
        max_answer_length in 1_usize..6, n_best in 1_usize..60,
    ) {
        let (q, w) = ([question("q", 9)], [window(0, 0, 9)]);
        let row = |v: &[i8]| v.iter().map(|&x| f32::from(x)).collect::<Array1<f32>>();
        let (start, end) = (row(&start), row(&end));
        let top = |row: &Array1<f32>| {
            let mut positions: Vec<usize> = (2..11).collect();
            positions.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            positions.truncate(n_best);
            positions
        };
        let mut spans = Vec::new();
        for s in top(&start) {
            for e in top(&end) {
                if s <= e && e < s + max_answer_length {
                    spans.push((start[s] + end[e], s, e));
                }
            }
        }
        spans.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        spans.truncate(n_best);
        let config = DecodeConfig { n_best, max_answer_length, ..DecodeConfig::default() };
        let all = decode(&q, &w, &[start], &[end], &config).unwrap();
        let got: Vec<_> = all[0].candidates.iter().map(|c| (c.score, c.start, c.end)).collect();
        prop_assert_eq!(got, spans);
    }
}

#[test]
fn a_huge_n_best_is_supported_and_nan_is_rejected() {
    let (q, w) = ([question("q", 4)], [window(0, 0, 4)]);
    let logits = [arr1(&[0.0, 1.0, 5.0, 3.0, 2.0, 4.0, 0.0])];
    let config = |n_best| DecodeConfig { n_best, ..DecodeConfig::default() };
    let all = decode(&q, &w, &logits, &logits, &config(usize::MAX)).unwrap();
    assert_eq!(all, decode(&q, &w, &logits, &logits, &config(1000)).unwrap());
    let null = DecodeConfig { allow_null: Some(f32::NAN), ..config(1) };
    let error = decode(&q, &w, &logits, &logits, &null).unwrap_err();
    assert!(error.to_string().contains("allow_null = NaN"), "{error}");
}

#[test]
fn windows_are_compared_by_logits_log_probabilities_or_margins() {
    let (q, w) = ([question("q", 4)], [window(0, 0, 2), window(0, 2, 4)]);
    // The first window has the higher logits, and the second window has the larger margin over
    // `<s>`.
    let logits = [arr1(&[0.0_f32, 9.0, 6.0, 6.0, 9.0]), arr1(&[-1.0_f32, 9.0, 5.5, -2.0, 9.0])];
    let best = |window_score| {
        let config = DecodeConfig { window_score, ..DecodeConfig::default() };
        let all = decode(&q, &w, &logits, &logits, &config).unwrap();
        let best = &all[0].candidates[0];
        (best.text.clone(), best.score, all[0].null_score.unwrap())
    };
    assert_eq!(best(WindowScore::Raw), ("w0".into(), 12.0, -2.0));
    assert_eq!(best(WindowScore::Margin), ("w2".into(), 13.0, 0.0));
    let (text, score, null) = best(WindowScore::Softmax);
    let log_sum = |logits: [f32; 3]| logits.iter().map(|logit| logit.exp()).sum::<f32>().ln();
    let (first, second) = (log_sum([0.0, 6.0, 6.0]), log_sum([-1.0, 5.5, -2.0]));
    assert_eq!(text, "w2");
    assert!((score - 2.0 * (5.5 - second)).abs() < 1e-5, "{score}");
    assert!((null - 2.0 * (-first).min(-1.0 - second)).abs() < 1e-5, "{null}");

    // If all logits of a window are −∞, nothing is subtracted. For margins, a logit of −∞ at `<s>`
    // is sufficient.
    let none = f32::NEG_INFINITY;
    let without_baseline = [arr1(&[none, 1.0, 2.0, 3.0, 1.0]), arr1(&[none; 5])];
    for window_score in [WindowScore::Softmax, WindowScore::Margin] {
        let config = DecodeConfig { window_score, ..DecodeConfig::default() };
        let all = decode(&q, &w, &without_baseline, &without_baseline, &config).unwrap();
        assert_eq!(all[0].candidates[0].text, "w1");
        let nan = [arr1(&[0.0, 0.0, f32::NAN, 0.0, 0.0]), logits[1].clone()];
        let error = decode(&q, &w, &nan, &logits, &config).unwrap_err().to_string();
        assert!(error.contains("NaN at token 2"), "{error}");
        let config = DecodeConfig { compatible: Some(Compatible::RunQa), ..config };
        assert!(config.validate().unwrap_err().to_string().contains("window_score"));
    }
}
