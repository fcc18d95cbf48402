//! Tests of placing spans in finished translations.
use std::collections::HashMap;
use std::ops::Range;

use mlqa_eval::Language;
use ndarray::array;
use proptest::prelude::*;
use qa_translate::{
    Alignment, ByAlignment, ByCandidates, ByConstrainedDecoding, BySearch, CandidateScoringConfig,
    Candidates, CodecConfig, Error, PlaceError, PlaceSpans, Placed, ProjectionConfig, ScoreRequest,
    ScoreText, SpanTask, TextScore, Windows, mark, spelling_similarity, translation_similarity,
    word_ranges,
};

/// A scorer that calls a function for each request, and counts its own calls.
struct FunctionScorer<F> {
    score: F,
    calls: usize,
}

impl<F: FnMut(&ScoreRequest) -> TextScore> ScoreText for FunctionScorer<F> {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        self.calls += 1;
        Ok(requests.iter().map(&mut self.score).collect())
    }
}

fn function_scorer<F: FnMut(&ScoreRequest) -> TextScore>(score: F) -> FunctionScorer<F> {
    FunctionScorer { score, calls: 0 }
}

fn total(total: f64) -> TextScore {
    TextScore { total, tokens: Vec::new() }
}

fn task(source: &str, span: &str, target: &str, answer: Option<&str>) -> SpanTask {
    let at = source.find(span).unwrap();
    let start = source[..at].chars().count();
    SpanTask {
        from: Language::EN,
        to: Language::DE,
        source: source.into(),
        span: start..start + span.chars().count(),
        target: target.into(),
        answer: answer.map(str::to_owned),
    }
}

fn span_text(task: &SpanTask, span: &Range<usize>) -> String {
    task.target.chars().skip(span.start).take(span.len()).collect()
}

/// Returns a method's result for one task.
fn place_one(method: &mut dyn PlaceSpans, task: &SpanTask) -> Result<Placed, PlaceError> {
    method.place(std::slice::from_ref(task)).unwrap().remove(0)
}

/// Creates a task about Bern.
fn bern_task() -> SpanTask {
    let source = "The capital of Switzerland is Bern.";
    task(source, "Bern", "Bern ist die Hauptstadt der Schweiz.", Some("Bern"))
}

fn without_reranking(config: CodecConfig) -> CodecConfig {
    CodecConfig { rerank: false, ..config }
}

#[test]
fn markers_are_placed_where_the_translation_is_most_probable() {
    let task = bern_task();
    let marked_text = |text: &str, span| mark(text, &[span]).unwrap().text;
    let best_text = marked_text(&task.target, 28..35);
    let marked = marked_text(&task.source, 30..34);
    let scorer = function_scorer(|request: &ScoreRequest| {
        assert!(request.source == marked || request.target == task.target);
        total(if request.target == best_text { -1.0 } else { -9.0 - request.target.len() as f64 })
    });
    let config = without_reranking(CodecConfig::default());
    let mut method = ByConstrainedDecoding { scorer, config };
    let placed = place_one(&mut method, &task).unwrap();
    assert_eq!((span_text(&task, &placed.span).as_str(), placed.score), ("Schweiz", -1.0));
    assert_eq!((placed.method, placed.runners_up.len(), method.scorer.calls), ("codec", 4, 2));
    // Brackets that the source text contains are not markers.
    let other_task = self::task("see ([1]) or x", "x", "siehe ([1]) oder x", None);
    let config = without_reranking(CodecConfig { max_words: 1, ..CodecConfig::default() });
    let scorer =
        function_scorer(|request| total(-f64::from(u8::from(!request.target.contains("([[x]])")))));
    let placed = place_one(&mut ByConstrainedDecoding { scorer, config }, &other_task).unwrap();
    assert_eq!(placed.span, 17..18);
}

/// Returns the indices of words at which candidate spans start. `changes` contains the change of
/// each word's score that the source's markers cause.
fn candidate_starts(changes: &[f64], config: &CodecConfig) -> Vec<usize> {
    let target = "a b c d e f g h i j k l m n o p";
    let task = task("one two", "two", target, None);
    let words = word_ranges(target);
    let mut starts = Vec::new();
    let scorer = function_scorer(|request: &ScoreRequest| {
        if request.target == target {
            let marker_weight = if request.source == task.source { 0.0 } else { 1.0 };
            let tokens = words
                .iter()
                .zip(changes)
                .map(|(word, change)| (word.clone(), -1.0 - marker_weight * change));
            return TextScore { total: -1.0, tokens: tokens.collect() };
        }
        let start = request.target.find("([").unwrap() / 2;
        if !starts.contains(&start) {
            starts.push(start);
        }
        total(-1.0)
    });
    let _ = place_one(
        &mut ByConstrainedDecoding { scorer, config: without_reranking(config.clone()) },
        &task,
    );
    starts
}

#[test]
fn spans_start_where_source_markers_change_the_scores() {
    let config = CodecConfig::default();
    let mut changes = vec![0.05; 16];
    changes[7] = 0.5;
    changes[2] = 0.1; // five words before
    changes[12] = 0.3; // five words after
    changes[13] = 0.4; // six words after, outside the window
    assert_eq!(candidate_starts(&changes, &config), [2, 7, 12]);
    assert_eq!(candidate_starts(&changes, &CodecConfig { window: 1, ..config.clone() }), [7]);
    changes[7] = 0.49;
    assert_eq!(candidate_starts(&changes, &config), (0..16).collect::<Vec<_>>());
    // If the scores have no tokens, spans may start at all words.
    assert_eq!(candidate_starts(&[], &config), (0..16).collect::<Vec<_>>());
}

/// Returns the selected hypothesis. `hypotheses` contains spans, each with the loss of the source
/// span given this hypothesis.
fn rerank(
    source: &str,
    answer: Option<&str>,
    target: &str,
    hypotheses: &[(&str, f64)],
) -> Result<String, PlaceError> {
    let task = task(source, source, target, answer);
    let losses: HashMap<&str, f64> = hypotheses.iter().copied().collect();
    let scorer = function_scorer(|request: &ScoreRequest| {
        if request.from == Language::DE {
            return total(-losses[request.source.as_str()]);
        }
        let at =
            hypotheses.iter().position(|(span, _)| request.target.contains(&format!("([{span}])")));
        total(at.map_or(-100.0, |at| -(at as f64)))
    });
    let config = CodecConfig { n_best: hypotheses.len(), ..CodecConfig::default() };
    let mut method = ByConstrainedDecoding { scorer, config };
    place_one(&mut method, &task).map(|placed| span_text(&task, &placed.span))
}

#[test]
fn hypotheses_are_reranked_in_the_reverse_direction() {
    let target = "die alte Stadt Rom";
    // A hypothesis spelled like the source or the span's translation is selected, regardless of its
    // loss.
    let losses = [("alte Stadt", 1.0), ("Rom", 9.0)];
    assert_eq!(rerank("Rome", Some("Rom"), target, &losses), Ok("Rom".into()));
    // Otherwise, the hypothesis with the lowest loss among the parts of the first hypothesis is
    // selected, if its loss is lower than the loss of the first hypothesis.
    let losses = [("alte Stadt", 3.0), ("Stadt", 2.0), ("alte", 2.5), ("Rom", 0.5)];
    assert_eq!(rerank("town", None, target, &losses), Ok("Stadt".into()));
    // Otherwise, the first hypothesis is selected.
    let losses = [("alte Stadt", 3.0), ("Stadt", 4.0), ("Rom", 1.0)];
    assert_eq!(rerank("town", None, target, &losses), Ok("alte Stadt".into()));
    // Hypotheses that are neither similar nor probable are dropped, even the first.
    let losses = [("alte Stadt", 7.0), ("Stadt", 4.0)];
    assert_eq!(rerank("xyz", None, target, &losses), Ok("Stadt".into()));
    let losses = [("alte Stadt", 7.0), ("Stadt", 5.0)];
    assert_eq!(rerank("xyz", None, target, &losses), Err(PlaceError::Rejected));
}

#[test]
fn similarity_equals_difflib() {
    // Expected values are from Python's `SequenceMatcher(None, a, b).ratio()`.
    for (a, b, expected) in [
        ("", "", 1.0),
        ("", "a", 0.0),
        ("rome", "rom", 6.0 / 7.0),
        ("private thread", "private volatile thread", 28.0 / 37.0),
        ("qabxcd", "abycdf", 8.0 / 12.0),
        ("北京市", "北京", 4.0 / 5.0),
        ("abcabc", "cab", 6.0 / 9.0),
    ] {
        assert!(
            (spelling_similarity(a, b) - expected).abs() < 1e-12,
            "{a} {b}: {}",
            spelling_similarity(a, b)
        );
    }
}

#[test]
fn translation_similarity_matches_a_hand_computed_value() {
    let score = |total, tokens: usize| TextScore { total, tokens: vec![(0..1, 0.0); tokens] };
    // The means are -1, -0.5, -2 and -0.25, so the similarity is (2^-0.5 + 2^-1.75) / 2.
    let (ab, aa, ba, bb) = (score(-2.0, 2), score(-1.0, 2), total(-6.0), total(-0.75));
    let actual = translation_similarity((&ab, 9), (&aa, 9), (&ba, 3), (&bb, 3));
    assert!((actual - (0.5f64.sqrt() + 2f64.powf(-1.75)) / 2.0).abs() < 1e-12);
}

/// Returns a score that increases with the similarity of the texts.
fn similarity_score(request: &ScoreRequest) -> TextScore {
    total(
        -(1.0 - spelling_similarity(&request.source, &request.target))
            * request.target.len() as f64,
    )
}

#[test]
fn the_first_unoccupied_occurrence_of_the_best_candidate_is_selected() {
    let source = "Anna met Anna in Rome";
    let target = "In Rom traf Anna Anna";
    let mut first = task(source, "Anna", target, None);
    first.span = 0..4;
    let second = SpanTask { span: 9..13, ..first.clone() };
    let rome_task = task(source, "Rome", target, None);
    let other_source = task("Anna", "Anna", target, None);
    let mut method = ByCandidates {
        generator: Windows,
        scorer: function_scorer(similarity_score),
        config: CandidateScoringConfig { max_candidates: 100 },
    };
    let tasks = [first, second, rome_task.clone(), other_source];
    let found = method.place(&tasks).unwrap();
    let spans: Vec<_> = found.iter().map(|one| one.as_ref().unwrap().span.clone()).collect();
    assert_eq!(spans, [12..16, 17..21, 3..6, 12..16]);
    assert_eq!(method.scorer.calls, 1);
    let no_candidates =
        ByCandidates { config: CandidateScoringConfig { max_candidates: 0 }, ..method };
    assert_eq!(place_one(&mut { no_candidates }, &rome_task), Err(PlaceError::NoCandidate));
}

#[test]
fn search_and_alignment_find_a_span() {
    let task = bern_task();
    let mut search = BySearch::default();
    assert_eq!(place_one(&mut search, &task).unwrap().span, 0..4);
    let without_answer = SpanTask { answer: None, ..task.clone() };
    assert_eq!(place_one(&mut search, &without_answer), Err(PlaceError::NoAnswer));
    let with_other_answer = SpanTask { answer: Some("Basel".into()), ..task.clone() };
    assert_eq!(place_one(&mut search, &with_other_answer), Err(PlaceError::NotFound));
    let align = |task: &SpanTask| {
        let source_tokens = vec![0..29, 30..34, 34..35];
        assert_eq!(task.source.chars().count(), 35);
        let target_tokens = vec![0..4, 5..35, 35..36];
        let similarity = array![[0.1, 0.9, 0.0], [0.8, 0.2, 0.0], [0.0, 0.0, 1.0]];
        Ok(Alignment { similarity, source_tokens, target_tokens })
    };
    let mut by_alignment = ByAlignment { align, config: ProjectionConfig::default() };
    assert_eq!(place_one(&mut by_alignment, &task).unwrap().span, 0..4);
    let task_outside = SpanTask { span: 30..99, ..task.clone() };
    assert!(matches!(search.place(&[task_outside]), Err(Error::Span { .. })));
    let alignment_error = |similarity, target_tokens: Vec<Range<usize>>| {
        let source_tokens = vec![0..29, 30..34];
        let alignment = Alignment { similarity, source_tokens, target_tokens };
        let align = |_: &SpanTask| Ok(alignment.clone());
        let mut by_alignment = ByAlignment { align, config: ProjectionConfig::default() };
        by_alignment.place(std::slice::from_ref(&task)).unwrap_err().to_string()
    };
    let similarity = array![[0.1, 0.9], [0.8, 0.2]];
    let error = alignment_error(similarity.clone(), vec![0..4, 5..35, 35..36]);
    assert!(error.starts_with("similarity: expected the shape (2, 3)"), "{error}");
    let error = alignment_error(similarity, vec![0..99, 5..35]);
    assert!(error.contains("0..99 is outside a text of length 36"), "{error}");
}

#[test]
fn a_candidate_outside_the_translation_is_an_error() {
    struct Outside;
    impl Candidates for Outside {
        fn candidates(&mut self, _: &SpanTask) -> Result<Vec<Range<usize>>, Error> {
            Ok(vec![0..1, 30..99])
        }
    }
    let scorer = function_scorer(|_: &ScoreRequest| TextScore::default());
    let config = CandidateScoringConfig { max_candidates: 9 };
    let mut method = ByCandidates { generator: Outside, scorer, config };
    assert!(matches!(method.place(&[bern_task()]), Err(Error::Span { end: 99, .. })));
}

proptest! {
    #[test]
    fn placed_spans_are_part_of_the_translation(
        source in "[a-z(\\[ ]{0,6}\\PC{1,12}",
        target in "\\PC{0,24}|[\u{300}-\u{303}a-c ]{1,20}|[北京 \u{5d0}-\u{5d4}]{1,12}|[ab ]{0,20}",
        from in 0usize..12,
        length in 1usize..8,
        seed in any::<u64>(),
    ) {
        let characters = source.chars().count();
        let span = from.min(characters - 1)..(from + length).min(characters);
        let task = SpanTask {
            from: Language::EN, to: Language::ZH, source: source.clone(), span: span.clone(),
            target: target.clone(), answer: Some(target.chars().take(3).collect()),
        };
        prop_assume!(!span.is_empty() && task.text().is_ok());
        let noise_score = |request: &ScoreRequest| {
            let hash = request.target.bytes().fold(seed, |state, byte| {
                (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
            });
            total(-3.0 * (hash % 10_007) as f64 / 10_007.0)
        };
        let codec = ByConstrainedDecoding { scorer: function_scorer(noise_score), config: CodecConfig::default() };
        let scorer = function_scorer(noise_score);
        let config = CandidateScoringConfig::default();
        let candidates = ByCandidates { generator: Windows, scorer, config };
        let methods: [Box<dyn PlaceSpans>; 3] =
            [Box::new(codec), Box::new(candidates), Box::new(BySearch::default())];
        for mut method in methods {
            if let Ok(placed) = place_one(method.as_mut(), &task) {
                let spans = placed.runners_up.iter().map(|one| &one.0).chain([&placed.span]);
                for span in spans {
                    prop_assert!(span.start < span.end && span.end <= target.chars().count());
                    prop_assert!(!span_text(&task, span).trim().is_empty());
                }
            }
        }
        // The words cover all characters except white space exactly once, in order.
        let words = word_ranges(&target);
        prop_assert!(words.windows(2).all(|two| two[0].end <= two[1].start));
        let words_text: String = words.iter().map(|word| span_text(&task, word)).collect();
        let all: String = target.split_whitespace().collect();
        prop_assert_eq!(words_text.split_whitespace().collect::<String>(), all);
    }
}
