use mlqa_eval::Language;
use qa_translate::word_ranges;
use serde_json::Value;
use tch::{Device, no_grad};
use xlmr_model::{Inputs, Pretrained};

use super::*;
use crate::testing;

fn base(kind: Kind) -> Pretrained {
    let mut base = testing::base();
    base.model.set_kind(kind).unwrap();
    base
}

fn scorer(base: &Pretrained, config: ScorerConfig) -> EncoderScorer<'_> {
    EncoderScorer::new(&base.model, &base.tokenizer, config).unwrap()
}

fn request(source: &str, target: &str) -> ScoreRequest {
    let (source, target) = (source.to_owned(), target.to_owned());
    ScoreRequest { from: Language::EN, to: Language::DE, source, target }
}

fn requests() -> Vec<ScoreRequest> {
    [
        ("the city of Bern", "die Stadt Bern"),
        ("a ([b]) c", "[x] ([y])"),
        ("rain", "Regen"),
        ("the United States", "美國的"),
        ("", "nichts davor"),
        ("what stands before nothing", ""),
        (" a long text with white space ", "ein  Text. "),
    ]
    .map(|(source, target)| request(source, target))
    .to_vec()
}

/// Computes the natural logarithm of the probability of `id` at the mask `position`, from one
/// forward pass and a sum of exponentials.
fn reference_log_probability(base: &Pretrained, row: &[u32], position: usize, id: u32) -> f64 {
    let inputs = Inputs::from_rows(&[row], 1).unwrap();
    let logits = no_grad(|| {
        let hidden = base.model.encode(&inputs, false).unwrap();
        base.model.mlm_logits(&hidden).unwrap().get(0).get(position as i64)
    });
    let logits = Vec::<f64>::try_from(&logits.to_kind(Kind::Double)).unwrap();
    logits[id as usize] - logits.iter().map(|logit| logit.exp()).sum::<f64>().ln()
}

#[test]
fn scores_equal_the_reference_with_one_mask_per_row() {
    let base = base(Kind::Double);
    let actual = scorer(&base, ScorerConfig::default()).pll(&requests()).unwrap();
    for (request, actual) in requests().iter().zip(&actual) {
        // Expected input: the tokenizer's template for two texts.
        let texts = (request.source.as_str(), request.target.as_str());
        let encoding = base.tokenizer.encode(texts, true).unwrap();
        let ids = encoding.get_ids();
        let target_positions =
            (0..ids.len()).filter(|&position| encoding.get_sequence_ids()[position] == Some(1));
        let mut expected = Vec::new();
        for position in target_positions {
            let mut row = ids.to_vec();
            row[position] = base.special_tokens.mask;
            expected.push(reference_log_probability(&base, &row, position, ids[position]));
        }
        assert_eq!(actual.tokens.len(), expected.len(), "{request:?}");
        for ((_, actual), expected) in actual.tokens.iter().zip(&expected) {
            assert!((actual - expected).abs() < 1e-9, "{request:?}: {actual} {expected}");
        }
        assert!((actual.total - expected.iter().sum::<f64>()).abs() < 1e-9);
    }
    assert_eq!((actual[5].total, actual[5].tokens.len()), (0.0, 0));
    assert!(actual[1].tokens.len() > 3);
}

#[test]
fn token_ranges_are_code_points_of_the_target() {
    let base = base(Kind::Float);
    let score = scorer(&base, ScorerConfig::default()).pll(&[request("x", "  Ein Haus")]).unwrap();
    let covered: Vec<usize> = score[0].tokens.iter().flat_map(|(range, _)| range.clone()).collect();
    assert_eq!(covered, [2, 3, 4, 6, 7, 8, 9]);
}

#[test]
fn scores_do_not_depend_on_order_or_batch_size() {
    let base = base(Kind::Float);
    let mut requests = requests();
    let expected = scorer(&base, ScorerConfig::default()).pll(&requests).unwrap();
    requests.reverse();
    for batch_size in [1, 2, 7] {
        let config = ScorerConfig { batch_size, ..ScorerConfig::default() };
        let mut actual = scorer(&base, config).score(&requests).unwrap();
        actual.reverse();
        for (actual, expected) in actual.iter().zip(&expected) {
            assert!((actual.total - expected.total).abs() < 1e-4, "{actual:?} {expected:?}");
            for (actual, expected) in actual.tokens.iter().zip(&expected.tokens) {
                assert!(
                    actual.0 == expected.0 && (actual.1 - expected.1).abs() < 1e-5,
                    "{actual:?} {expected:?}"
                );
            }
        }
    }
    let config = ScorerConfig { batch_size: 0, ..ScorerConfig::default() };
    assert!(scorer(&base, config).pll(&requests).is_err());
}

#[test]
fn scores_equal_the_scores_of_transformers() {
    let file = std::fs::read(testkit::fixture("pll.json")).unwrap();
    let fixture: Value = serde_json::from_slice(&file).unwrap();
    let base = base(Kind::Float);
    let scorer = scorer(&base, ScorerConfig::default());
    let requests = fixture["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 3);
    for stored_request in requests {
        let text = |key: &str| stored_request[key].as_str().unwrap();
        let actual = scorer.pll(&[request(text("source"), text("target"))]).unwrap();
        let expected: Vec<f64> = serde_json::from_value(stored_request["tokens"].clone()).unwrap();
        assert_eq!(actual[0].tokens.len(), expected.len());
        for ((_, actual), expected) in actual[0].tokens.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-4, "{stored_request}: {actual} {expected}");
        }
    }
}

#[test]
fn too_long_texts_are_counted_and_rejected() {
    let base = base(Kind::Float);
    let long_text = "eins zwei drei vier ".repeat(8);
    let requests =
        [request("one", &long_text), request("one", "eins"), request(&long_text, "eins")];
    let error = scorer(&base, ScorerConfig::default()).score(&requests).unwrap_err();
    let qa_translate::Error::TooLong { count: 2, requests: 3, longest_request, max_tokens: 32 } =
        error
    else {
        panic!("{error}")
    };
    assert!(longest_request > 32);
    let config = |max_tokens| ScorerConfig { max_tokens, ..ScorerConfig::default() };
    assert!(scorer(&base, config(longest_request)).pll(&requests).is_ok());
    assert!(scorer(&base, config(longest_request - 1)).pll(&requests).is_err());
    // The model has 158 positions, and special tokens use four of them. The remaining 154 positions
    // limit the length if `max_tokens` is larger.
    let error =
        scorer(&base, config(10_000)).pll(&[request("one", &long_text.repeat(5))]).unwrap_err();
    assert!(error.to_string().contains("at most 154 are supported"), "{error}");
    let no_head =
        xlmr_model::Model::new(&testing::model(4000).config().clone(), &[], Device::Cpu, 1);
    assert!(EncoderScorer::new(&no_head.unwrap(), &base.tokenizer, config(32)).is_err());
}

fn task(source: &str, span: &str, target: &str) -> SpanTask {
    let start = source[..source.find(span).unwrap()].chars().count();
    SpanTask {
        from: Language::EN,
        to: Language::DE,
        source: source.to_owned(),
        span: start..start + span.chars().count(),
        target: target.to_owned(),
        answer: None,
    }
}

/// Computes the score of [`MaskedMarkerPlacer`], with one forward pass per marker.
fn pair_score(base: &Pretrained, task: &SpanTask, span: &Range<usize>) -> f64 {
    let ids = |text: &str| base.tokenizer.encode(text, false).unwrap().get_ids().to_vec();
    let id = |token: &str| base.tokenizer.token_to_id(token).unwrap();
    let mask = base.special_tokens.mask;
    let part_ids = |text: &str, range: Range<usize>| -> Vec<u32> {
        ids(&text.chars().skip(range.start).take(range.len()).collect::<String>())
    };
    let with_markers = |text: &str, span: &Range<usize>, [open, close]: [&[u32]; 2]| -> Vec<u32> {
        let parts = [0..span.start, span.clone(), span.end..text.chars().count()];
        let [before, inside, after] = parts.map(|range| part_ids(text, range));
        [&before, open, &inside, close, &after].concat()
    };
    let source = with_markers(&task.source, &task.span, [&[id("[")], &[id("]")]]);
    let score = |target: Vec<u32>, marker: u32| {
        let row = [&[0][..], &source, &[2, 2], &target, &[2]].concat();
        let position = row.iter().position(|&id| id == mask).unwrap();
        reference_log_probability(base, &row, position, marker)
    };
    score(with_markers(&task.target, span, [&[mask], &[]]), id("["))
        + score(with_markers(&task.target, span, [&[id("[")], &[mask]]), id("]"))
}

#[test]
fn markers_are_placed_where_they_are_most_probable() {
    let base = base(Kind::Double);
    let mut placer = MaskedMarkerPlacer::new(scorer(&base, ScorerConfig::default())).unwrap();
    assert_eq!(placer.name(), "codec_mlm");
    (placer.n_best, placer.max_words) = (99, 3);
    // Words and punctuation are separated by spaces, so that added markers do not change the
    // tokenisation. One text contains brackets.
    let tasks = [
        task("The mill [2] in Bern is old .", "Bern", "Die Mühle [2] in Bern ist alt ."),
        task("rain", "rain", "Regen"),
    ];
    let placements = placer.place(&tasks).unwrap();
    for (task, placed) in tasks.iter().zip(placements) {
        let placed = placed.unwrap();
        let words = word_ranges(&task.target);
        let mut expected: Vec<(Range<usize>, f64)> = Vec::new();
        for (number, word) in words.iter().enumerate() {
            for last in words.iter().skip(number).take(3) {
                let span = word.start..last.end;
                expected.push((span.clone(), pair_score(&base, task, &span)));
            }
        }
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let actual = std::iter::once((placed.span, placed.score)).chain(placed.runners_up);
        for ((span, score), expected) in actual.zip(&expected) {
            assert_eq!(span, expected.0);
            assert!((score - expected.1).abs() < 1e-9, "{span:?}: {score} {expected:?}");
        }
    }
    // With `n_best = 1`, only spans that start at the best opening marker have scores.
    let all_spans = placer.marker_scores(&tasks[0]).unwrap().unwrap();
    placer.n_best = 1;
    let with_one_start = placer.marker_scores(&tasks[0]).unwrap().unwrap();
    assert!(with_one_start.len() <= 3 && with_one_start.len() < all_spans.len());
    assert!(
        with_one_start.iter().all(|scored_span| scored_span.0.start == with_one_start[0].0.start)
    );
}

#[test]
fn texts_that_exceed_the_positions_are_rejected() {
    let base = base(Kind::Float);
    let mut placer = MaskedMarkerPlacer::new(scorer(&base, ScorerConfig::default())).unwrap();
    let long_text = "eins zwei drei vier ".repeat(40);
    let tasks =
        [task("one", "one", &long_text), task("one two", "two", ""), task("one", "one", "eins")];
    let placements = placer.place(&tasks).unwrap();
    assert_eq!(placements[0], Err(PlaceError::TooLong));
    assert_eq!(placements[1], Err(PlaceError::NoCandidate));
    assert_eq!(placements[2].as_ref().unwrap().span, 0..4);
    let outside_task = SpanTask { span: 2..9, ..task("one", "one", "eins") };
    assert!(placer.place(&[outside_task]).is_err());
}
