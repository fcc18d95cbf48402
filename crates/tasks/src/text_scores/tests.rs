use mlqa_eval::Language;
use qa_translate::units;
use serde_json::Value;
use tch::{Device, no_grad};
use xlmr_model::{Head, Inputs, LoadOptions, Pretrained};

use super::*;
use crate::testing;

fn base(kind: Kind) -> Pretrained {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let options = LoadOptions::default();
    let loaded = Pretrained::load(root.join("data/base"), &[Head::MaskedLm], Device::Cpu, options);
    let (mut base, _) = loaded.unwrap();
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

/// `ln` of the probability of `id` at the mask `at`, from one forward pass and a sum of
/// exponentials.
fn by_pass(base: &Pretrained, row: &[u32], at: usize, id: u32) -> f64 {
    let inputs = Inputs::from_rows(&[row], 1).unwrap();
    let logits = no_grad(|| {
        let hidden = base.model.encode(&inputs, false).unwrap();
        base.model.mlm_logits(&hidden).unwrap().get(0).get(at as i64)
    });
    let logits = Vec::<f64>::try_from(&logits.to_kind(Kind::Double)).unwrap();
    logits[id as usize] - logits.iter().map(|logit| logit.exp()).sum::<f64>().ln()
}

#[test]
fn scores_are_those_of_a_loop_that_masks_one_token_at_a_time() {
    let base = base(Kind::Double);
    let got = scorer(&base, ScorerConfig::default()).pll(&requests()).unwrap();
    for (request, got) in requests().iter().zip(&got) {
        // Expected input: the tokenizer's template for two texts.
        let texts = (request.source.as_str(), request.target.as_str());
        let encoding = base.tokenizer.encode(texts, true).unwrap();
        let ids = encoding.get_ids();
        let of_target = (0..ids.len()).filter(|&at| encoding.get_sequence_ids()[at] == Some(1));
        let mut want = Vec::new();
        for at in of_target {
            let mut row = ids.to_vec();
            row[at] = base.specials.mask;
            want.push(by_pass(&base, &row, at, ids[at]));
        }
        assert_eq!(got.tokens.len(), want.len(), "{request:?}");
        for ((_, got), want) in got.tokens.iter().zip(&want) {
            assert!((got - want).abs() < 1e-9, "{request:?}: {got} {want}");
        }
        assert!((got.total - want.iter().sum::<f64>()).abs() < 1e-9);
    }
    assert_eq!((got[5].total, got[5].tokens.len()), (0.0, 0));
    assert!(got[1].tokens.len() > 3);
}

#[test]
fn token_ranges_are_code_points_of_the_target() {
    let base = base(Kind::Float);
    let score = scorer(&base, ScorerConfig::default()).pll(&[request("x", "  Ein Haus")]).unwrap();
    let covered: Vec<usize> = score[0].tokens.iter().flat_map(|(place, _)| place.clone()).collect();
    assert_eq!(covered, [2, 3, 4, 6, 7, 8, 9]);
}

#[test]
fn order_and_batch_size_change_nothing() {
    let base = base(Kind::Float);
    let mut requests = requests();
    let want = scorer(&base, ScorerConfig::default()).pll(&requests).unwrap();
    requests.reverse();
    for batch_size in [1, 2, 7] {
        let config = ScorerConfig { batch_size, ..ScorerConfig::default() };
        let mut got = scorer(&base, config).score(&requests).unwrap();
        got.reverse();
        for (got, want) in got.iter().zip(&want) {
            assert!((got.total - want.total).abs() < 1e-4, "{got:?} {want:?}");
            for (got, want) in got.tokens.iter().zip(&want.tokens) {
                assert!(got.0 == want.0 && (got.1 - want.1).abs() < 1e-5, "{got:?} {want:?}");
            }
        }
    }
    let config = ScorerConfig { batch_size: 0, ..ScorerConfig::default() };
    assert!(scorer(&base, config).pll(&requests).is_err());
}

#[test]
fn scores_are_those_of_transformers() {
    let file = std::fs::read(testkit::fixture("pll.json")).unwrap();
    let stored: Value = serde_json::from_slice(&file).unwrap();
    let base = base(Kind::Float);
    let scorer = scorer(&base, ScorerConfig::default());
    let requests = stored["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 3);
    for one in requests {
        let text = |key: &str| one[key].as_str().unwrap();
        let got = scorer.pll(&[request(text("source"), text("target"))]).unwrap();
        let want: Vec<f64> = serde_json::from_value(one["tokens"].clone()).unwrap();
        assert_eq!(got[0].tokens.len(), want.len());
        for ((_, got), want) in got[0].tokens.iter().zip(want) {
            assert!((got - want).abs() < 1e-4, "{one}: {got} {want}");
        }
    }
}

#[test]
fn what_is_too_long_is_counted_and_refused() {
    let base = base(Kind::Float);
    let long = "eins zwei drei vier ".repeat(8);
    let requests = [request("one", &long), request("one", "eins"), request(&long, "eins")];
    let error = scorer(&base, ScorerConfig::default()).score(&requests).unwrap_err();
    let qa_translate::Error::TooLong { count: 2, of: 3, longest, most: 32 } = error else {
        panic!("{error}")
    };
    assert!(longest > 32);
    let config = |most_tokens| ScorerConfig { most_tokens, ..ScorerConfig::default() };
    assert!(scorer(&base, config(longest)).pll(&requests).is_ok());
    assert!(scorer(&base, config(longest - 1)).pll(&requests).is_err());
    // Whatever the limit, the model has 158 positions, four of them for special tokens.
    let error = scorer(&base, config(10_000)).pll(&[request("one", &long.repeat(5))]).unwrap_err();
    assert!(error.to_string().contains("at most 154 are taken"), "{error}");
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

/// The formula of [`ByMaskedMarkers`], with one forward pass per marker.
fn pair_score(base: &Pretrained, task: &SpanTask, span: &Range<usize>) -> f64 {
    let ids = |text: &str| base.tokenizer.encode(text, false).unwrap().get_ids().to_vec();
    let id = |token: &str| base.tokenizer.token_to_id(token).unwrap();
    let mask = base.specials.mask;
    let part = |text: &str, range: Range<usize>| -> Vec<u32> {
        ids(&text.chars().skip(range.start).take(range.len()).collect::<String>())
    };
    let around = |text: &str, span: &Range<usize>, [open, close]: [&[u32]; 2]| -> Vec<u32> {
        let parts = [0..span.start, span.clone(), span.end..text.chars().count()];
        let [before, inside, after] = parts.map(|range| part(text, range));
        [&before, open, &inside, close, &after].concat()
    };
    let source = around(&task.source, &task.span, [&[id("[")], &[id("]")]]);
    let score = |target: Vec<u32>, marker: u32| {
        let row = [&[0][..], &source, &[2, 2], &target, &[2]].concat();
        let at = row.iter().position(|&id| id == mask).unwrap();
        by_pass(base, &row, at, marker)
    };
    score(around(&task.target, span, [&[mask], &[]]), id("["))
        + score(around(&task.target, span, [&[id("[")], &[mask]]), id("]"))
}

#[test]
fn markers_are_placed_where_they_are_most_probable() {
    let base = base(Kind::Double);
    let mut way = ByMaskedMarkers::new(scorer(&base, ScorerConfig::default())).unwrap();
    assert_eq!(way.name(), "codec_mlm");
    (way.n_best, way.max_words) = (99, 3);
    // Separate words, so that markers do not change the tokens; one text contains brackets.
    let tasks = [
        task("The mill [2] in Bern is old .", "Bern", "Die Mühle [2] in Bern ist alt ."),
        task("rain", "rain", "Regen"),
    ];
    let all = way.place(&tasks).unwrap();
    for (task, placed) in tasks.iter().zip(all) {
        let placed = placed.unwrap();
        let words = units(&task.target);
        let mut want: Vec<(Range<usize>, f64)> = Vec::new();
        for (number, word) in words.iter().enumerate() {
            for last in words.iter().skip(number).take(3) {
                let span = word.start..last.end;
                want.push((span.clone(), pair_score(&base, task, &span)));
            }
        }
        want.sort_by(|a, b| b.1.total_cmp(&a.1));
        let got = std::iter::once((placed.span, placed.score)).chain(placed.runners_up);
        for ((span, score), want) in got.zip(&want) {
            assert_eq!(span, want.0);
            assert!((score - want.1).abs() < 1e-9, "{span:?}: {score} {want:?}");
        }
    }
    // With one opening: scores of spans at the best opening only.
    let best = way.marker_scores(&tasks[0]).unwrap().unwrap();
    way.n_best = 1;
    let fewer = way.marker_scores(&tasks[0]).unwrap().unwrap();
    assert!(fewer.len() <= 3 && fewer.len() < best.len());
    assert!(fewer.iter().all(|one| one.0.start == fewer[0].0.start));
}

#[test]
fn texts_that_do_not_fit_the_positions_are_counted() {
    let base = base(Kind::Float);
    let mut way = ByMaskedMarkers::new(scorer(&base, ScorerConfig::default())).unwrap();
    let long = "eins zwei drei vier ".repeat(40);
    let tasks = [task("one", "one", &long), task("one two", "two", ""), task("one", "one", "eins")];
    let all = way.place(&tasks).unwrap();
    assert_eq!(all[0], Err(PlaceFault::TooLong));
    assert_eq!(all[1], Err(PlaceFault::NoCandidate));
    assert_eq!(all[2].as_ref().unwrap().span, 0..4);
    let outside = SpanTask { span: 2..9, ..task("one", "one", "eins") };
    assert!(way.place(&[outside]).is_err());
}
