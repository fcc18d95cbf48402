//! Tests of placing spans in finished translations.
use std::collections::HashMap;
use std::ops::Range;

use mlqa_eval::Language;
use ndarray::array;
use proptest::prelude::*;
use qa_translate::{
    Alignment, ByAlignment, ByCandidates, ByConstrainedDecoding, BySearch, CandidateConfig,
    CodecConfig, Error, FileScorer, PlaceFault, PlaceSpans, Placed, ProjectConfig, ScoreRequest,
    ScoreText, SpanTask, TextScore, Windows, mark, ratio, translation_similarity, units,
};

/// Scores requests by a function and counts the calls.
struct Scored<F> {
    score: F,
    rounds: usize,
}

impl<F: FnMut(&ScoreRequest) -> TextScore> ScoreText for Scored<F> {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        self.rounds += 1;
        Ok(requests.iter().map(&mut self.score).collect())
    }
}

fn scored<F: FnMut(&ScoreRequest) -> TextScore>(score: F) -> Scored<F> {
    Scored { score, rounds: 0 }
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

fn text(task: &SpanTask, span: &Range<usize>) -> String {
    task.target.chars().skip(span.start).take(span.len()).collect()
}

/// Returns a method's result for one task.
fn one(way: &mut dyn PlaceSpans, task: &SpanTask) -> Result<Placed, PlaceFault> {
    way.place(std::slice::from_ref(task)).unwrap().remove(0)
}

/// Creates a task about Bern.
fn bern() -> SpanTask {
    let source = "The capital of Switzerland is Bern.";
    task(source, "Bern", "Bern ist die Hauptstadt der Schweiz.", Some("Bern"))
}

fn plain(config: CodecConfig) -> CodecConfig {
    CodecConfig { rerank: false, ..config }
}

#[test]
fn markers_are_placed_where_the_translation_is_most_probable() {
    let task = bern();
    let missing_path = mark(&task.target, 28, 7).unwrap().text;
    let marked = mark(&task.source, 30, 4).unwrap().text;
    let scorer = scored(|request: &ScoreRequest| {
        assert!(request.source == marked || request.target == task.target);
        total(if request.target == missing_path {
            -1.0
        } else {
            -9.0 - request.target.len() as f64
        })
    });
    let config = plain(CodecConfig::default());
    let mut way = ByConstrainedDecoding { scorer, config };
    let placed = one(&mut way, &task).unwrap();
    assert_eq!((text(&task, &placed.span).as_str(), placed.score), ("Schweiz", -1.0));
    assert_eq!((placed.method, placed.runners_up.len(), way.scorer.rounds), ("codec", 4, 2));
    // Brackets in the texts themselves are not markers.
    let other_task = self::task("see ([1]) or x", "x", "siehe ([1]) oder x", None);
    let config = plain(CodecConfig { max_words: 1, ..CodecConfig::default() });
    let scorer = scored(|request| total(-f64::from(u8::from(!request.target.contains("([[x]])")))));
    let placed = one(&mut ByConstrainedDecoding { scorer, config }, &other_task).unwrap();
    assert_eq!(placed.span, 17..18);
}

/// Returns the words at which spans were tried, given how much the source's markers change each
/// word's score.
fn tried(moved: &[f64], config: &CodecConfig) -> Vec<usize> {
    let target = "a b c d e f g h i j k l m n o p";
    let task = task("one two", "two", target, None);
    let words = units(target);
    let mut starts = Vec::new();
    let scorer = scored(|request: &ScoreRequest| {
        if request.target == target {
            let by = if request.source == task.source { 0.0 } else { 1.0 };
            let tokens = words.iter().zip(moved).map(|(word, m)| (word.clone(), -1.0 - by * m));
            return TextScore { total: -1.0, tokens: tokens.collect() };
        }
        let open = request.target.find("([").unwrap();
        if !starts.contains(&(open / 2)) {
            starts.push(open / 2);
        }
        total(-1.0)
    });
    let _ = one(&mut ByConstrainedDecoding { scorer, config: plain(config.clone()) }, &task);
    starts
}

#[test]
fn spans_start_where_source_markers_change_the_scores() {
    let config = CodecConfig::default();
    let mut moved = vec![0.05; 16];
    moved[7] = 0.5;
    moved[2] = 0.1; // five before
    moved[12] = 0.3; // five after
    moved[13] = 0.4; // six after: outside the window
    assert_eq!(tried(&moved, &config), [2, 7, 12]);
    assert_eq!(tried(&moved, &CodecConfig { window: 1, ..config.clone() }), [7]);
    moved[7] = 0.49;
    assert_eq!(tried(&moved, &config), (0..16).collect::<Vec<_>>());
    // Scores without tokens allow all words.
    assert_eq!(tried(&[], &config), (0..16).collect::<Vec<_>>());
}

/// Returns the selected one of these hypotheses, given the losses of the source span under each.
fn reranked(
    source: &str,
    answer: Option<&str>,
    target: &str,
    hypotheses: &[(&str, f64)],
) -> Result<String, PlaceFault> {
    let task = task(source, source, target, answer);
    let losses: HashMap<&str, f64> = hypotheses.iter().copied().collect();
    let scorer = scored(|request: &ScoreRequest| {
        if request.from == Language::DE {
            return total(-losses[request.source.as_str()]);
        }
        let at =
            hypotheses.iter().position(|(span, _)| request.target.contains(&format!("([{span}])")));
        total(at.map_or(-100.0, |at| -(at as f64)))
    });
    let config = CodecConfig { n_best: hypotheses.len(), ..CodecConfig::default() };
    let mut way = ByConstrainedDecoding { scorer, config };
    one(&mut way, &task).map(|placed| text(&task, &placed.span))
}

#[test]
fn hypotheses_are_reranked_in_the_reverse_direction() {
    let target = "die alte Stadt Rom";
    // A hypothesis spelled like the source or the span's translation is selected, whatever its
    // loss.
    let losses = [("alte Stadt", 1.0), ("Rom", 9.0)];
    assert_eq!(reranked("Rome", Some("Rom"), target, &losses), Ok("Rom".into()));
    // Otherwise the part of the first hypothesis with the lowest loss below its own is selected.
    let losses = [("alte Stadt", 3.0), ("Stadt", 2.0), ("alte", 2.5), ("Rom", 0.5)];
    assert_eq!(reranked("town", None, target, &losses), Ok("Stadt".into()));
    // Otherwise the first hypothesis is selected.
    let losses = [("alte Stadt", 3.0), ("Stadt", 4.0), ("Rom", 1.0)];
    assert_eq!(reranked("town", None, target, &losses), Ok("alte Stadt".into()));
    // Hypotheses that are neither similar nor probable are dropped, even the first.
    let losses = [("alte Stadt", 7.0), ("Stadt", 4.0)];
    assert_eq!(reranked("xyz", None, target, &losses), Ok("Stadt".into()));
    let losses = [("alte Stadt", 7.0), ("Stadt", 5.0)];
    assert_eq!(reranked("xyz", None, target, &losses), Err(PlaceFault::Rejected));
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
        assert!((ratio(a, b) - expected).abs() < 1e-12, "{a} {b}: {}", ratio(a, b));
    }
}

#[test]
fn translation_similarity_by_hand() {
    let score = |total, tokens: usize| TextScore { total, tokens: vec![(0..1, 0.0); tokens] };
    // Means -1, -0.5, -2 and -0.25: (2^-0.5 + 2^-1.75) / 2.
    let (ab, aa, ba, bb) = (score(-2.0, 2), score(-1.0, 2), total(-6.0), total(-0.75));
    let actual = translation_similarity((&ab, 9), (&aa, 9), (&ba, 3), (&bb, 3));
    assert!((actual - (0.5f64.sqrt() + 2f64.powf(-1.75)) / 2.0).abs() < 1e-12);
}

/// Scores texts higher the more similar they are.
fn alike(request: &ScoreRequest) -> TextScore {
    total(-(1.0 - ratio(&request.source, &request.target)) * request.target.len() as f64)
}

#[test]
fn the_best_candidate_takes_its_first_free_occurrence() {
    let source = "Anna met Anna in Rome";
    let target = "In Rom traf Anna Anna";
    let mut first = task(source, "Anna", target, None);
    first.span = 0..4;
    let second = SpanTask { span: 9..13, ..first.clone() };
    let rome_task = task(source, "Rome", target, None);
    let elsewhere = task("Anna", "Anna", target, None);
    let mut way = ByCandidates {
        generator: Windows,
        scorer: scored(alike),
        config: CandidateConfig { max_candidates: 100 },
    };
    let tasks = [first, second, rome_task.clone(), elsewhere];
    let found = way.place(&tasks).unwrap();
    let spans: Vec<_> = found.iter().map(|one| one.as_ref().unwrap().span.clone()).collect();
    assert_eq!(spans, [12..16, 17..21, 3..6, 12..16]);
    assert_eq!(way.scorer.rounds, 1);
    let none = ByCandidates { config: CandidateConfig { max_candidates: 0 }, ..way };
    assert_eq!(one(&mut { none }, &rome_task), Err(PlaceFault::NoCandidate));
}

#[test]
fn missing_scores_are_listed_and_never_estimated() {
    let folder = tempfile::tempdir().unwrap();
    let (path, missing_path) =
        (folder.path().join("scores.jsonl"), folder.path().join("wanted.jsonl"));
    let tasks = [bern(), task("a b", "b", "x y b", Some("b"))];
    let direct = ByConstrainedDecoding { scorer: scored(alike), config: CodecConfig::default() }
        .place(&tasks)
        .unwrap();
    let mut rounds = 0;
    let placed = loop {
        let scorer = FileScorer::read(&path, &missing_path).unwrap();
        let mut way = ByConstrainedDecoding { scorer, config: CodecConfig::default() };
        match way.place(&tasks) {
            Ok(placed) => break placed,
            Err(Error::Unscored { count, .. }) => {
                let requests = std::fs::read_to_string(&missing_path).unwrap();
                assert_eq!(requests.lines().count(), count);
                let mut all = std::fs::read_to_string(&path).unwrap_or_default();
                for line in requests.lines() {
                    let request: ScoreRequest = serde_json::from_str(line).unwrap();
                    let mut scored = serde_json::to_value(&request).unwrap();
                    scored["total"] = alike(&request).total.into();
                    all.push_str(&format!("{scored}\n"));
                }
                std::fs::write(&path, all).unwrap();
                rounds += 1;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((placed, rounds), (direct, 3));
    for (line, problem) in [
        ("{\"from\": \"en\"}", "missing field"),
        (r#"{"from":"en","to":"de","source":"a","target":"b","total":1e999}"#, ""),
        (
            r#"{"from":"en","to":"de","source":"a","target":"b","total":-1,"tokens":[[0,2,-1]]}"#,
            "outside",
        ),
    ] {
        std::fs::write(&path, format!("\n{line}\n")).unwrap();
        let error = FileScorer::read(&path, &missing_path).unwrap_err().to_string();
        assert!(error.contains("scores.jsonl:2") && error.contains(problem), "{error}");
    }
    let prefix = r#"{"from":"en","to":"de","source":"a","target":"b","total":-"#;
    std::fs::write(&path, format!("{prefix}1}}\n{prefix}2}}\n")).unwrap();
    let error = FileScorer::read(&path, &missing_path).unwrap_err().to_string();
    assert!(error.contains("a second score"), "{error}");
}

#[test]
fn search_and_alignment_find_a_span() {
    let task = bern();
    let mut search = BySearch::default();
    assert_eq!(one(&mut search, &task).unwrap().span, 0..4);
    let unknown = SpanTask { answer: None, ..task.clone() };
    assert_eq!(one(&mut search, &unknown), Err(PlaceFault::NoAnswer));
    let absent = SpanTask { answer: Some("Basel".into()), ..task.clone() };
    assert_eq!(one(&mut search, &absent), Err(PlaceFault::NotFound));
    let align = |task: &SpanTask| {
        let source_tokens = vec![0..29, 30..34, 34..35];
        assert_eq!(task.source.chars().count(), 35);
        let target_tokens = vec![0..4, 5..35, 35..36];
        let similarity = array![[0.1, 0.9, 0.0], [0.8, 0.2, 0.0], [0.0, 0.0, 1.0]];
        Ok(Alignment { similarity, source_tokens, target_tokens })
    };
    let mut alignment = ByAlignment { align, config: ProjectConfig::default() };
    assert_eq!(one(&mut alignment, &task).unwrap().span, 0..4);
    let outside = SpanTask { span: 30..99, ..task };
    assert!(matches!(search.place(&[outside]), Err(Error::Span { .. })));
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
        let noise = |request: &ScoreRequest| {
            let hash = request.target.bytes().fold(seed, |state, byte| {
                (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
            });
            total(-3.0 * (hash % 10_007) as f64 / 10_007.0)
        };
        let codec = ByConstrainedDecoding { scorer: scored(noise), config: CodecConfig::default() };
        let scorer = scored(noise);
        let config = CandidateConfig::default();
        let candidates = ByCandidates { generator: Windows, scorer, config };
        let ways: [Box<dyn PlaceSpans>; 3] =
            [Box::new(codec), Box::new(candidates), Box::new(BySearch::default())];
        for mut way in ways {
            if let Ok(placed) = one(way.as_mut(), &task) {
                let spans = placed.runners_up.iter().map(|one| &one.0).chain([&placed.span]);
                for span in spans {
                    prop_assert!(span.start < span.end && span.end <= target.chars().count());
                    prop_assert!(!text(&task, span).trim().is_empty());
                }
            }
        }
        // Words cover everything except white space exactly once, in order.
        let words = units(&target);
        prop_assert!(words.windows(2).all(|two| two[0].end <= two[1].start));
        let covered: String = words.iter().map(|word| text(&task, word)).collect();
        let all: String = target.split_whitespace().collect();
        prop_assert_eq!(covered.split_whitespace().collect::<String>(), all);
    }
}
