//! Windows with the fixture's tokenizer (XLM-R's layout of special tokens).
use mlqa_eval::{
    Answer, DecodeConfig, Error, Purpose, Question, Separator, UnanswerableWindow, Window,
    WindowConfig, WindowCounts, decode, load_tokenizer, windows,
};
use ndarray::Array1;
use proptest::prelude::*;
use tokenizers::Tokenizer;

use crate::common::question_with_answer;

const CLS: u32 = 0;
const SEP: u32 = 2;

fn tokenizer() -> Tokenizer {
    load_tokenizer(testkit::fixture("tokenizer.json")).unwrap()
}

fn question(context: &str, answer: &str) -> Question {
    question_with_answer("What is the name of it?", context, answer)
}

fn config(max_length: usize, doc_stride: usize) -> WindowConfig {
    WindowConfig { max_length, doc_stride, ..WindowConfig::default() }
}

fn substring(text: &str, from: usize, to: usize) -> String {
    text.chars().skip(from).take(to - from).collect()
}

/// The text of the window's answer, according to the window's offsets.
fn answer_text(window: &Window, context: &str) -> String {
    let (start, end) = (window.start_position.unwrap(), window.end_position.unwrap());
    let from = window.offsets[start - window.context_start].0;
    let to = window.offsets[end - window.context_start].1;
    substring(context, from, to)
}

/// Checks that the answer's span is the smallest of all token spans that cover the answer.
fn check_smallest_span(window: &Window, question: &Question) {
    let answer = &question.answers[0];
    let leading_spaces = answer.text.chars().take_while(|c| c.is_whitespace()).count();
    let from = answer.answer_start.unwrap() + leading_spaces;
    let to = from + answer.text.trim().chars().count();
    let n = window.offsets.len();
    let covers = |s: usize, e: usize| window.offsets[s].0 <= from && window.offsets[e].1 >= to;
    let smallest = (0..n)
        .flat_map(|s| (s..n).map(move |e| (s, e)))
        .filter(|&(s, e)| window.offsets[s].0 < window.offsets[s].1 && covers(s, e))
        .map(|(s, e)| e - s)
        .min();
    let (start, end) = (window.start_position.unwrap(), window.end_position.unwrap());
    if start == 0 {
        assert_eq!(smallest, None, "a span covers `{}`, but the window has none", answer.text);
    } else {
        assert_eq!(smallest, Some(end - start), "not the smallest span for `{}`", answer.text);
        let text = answer_text(window, &question.context);
        assert!(text.contains(answer.text.trim()), "`{text}` lacks `{}`", answer.text);
        assert_eq!(text, text.trim());
    }
}

#[test]
fn separators_determine_the_layout() {
    let tokenizer = tokenizer();
    let q = question("A red house stands here.", "red house");
    let question_ids = tokenizer.encode(q.question.as_str(), false).unwrap().get_ids().to_vec();
    let context = tokenizer.encode(&*q.context, false).unwrap().get_ids().to_vec();
    let all = [(Separator::Template, 2), (Separator::Double, 2), (Separator::Single, 1)];
    for (separator, count) in all {
        let config = WindowConfig { separator, segment_ids: true, ..WindowConfig::default() };
        let all = windows(std::slice::from_ref(&q), &tokenizer, &config, Purpose::Train).unwrap();
        let [window] = all.as_slice() else { panic!("one window") };
        let expected = [&[CLS][..], &question_ids, &[SEP, SEP][..count], &context, &[SEP]].concat();
        assert_eq!(window.input_ids, expected);
        assert_eq!(window.question_end, 1 + question_ids.len());
        assert_eq!(window.context_start, 1 + question_ids.len() + count);
        assert_eq!(window.context_end, expected.len() - 1);
        assert_eq!(window.offsets.len(), context.len());
        assert!(window.max_context.iter().all(|&max| max));
        // Segment 1 begins at the second `</s>`, or at the context if there is one separator.
        let segment_1_start = 1 + question_ids.len() + 1;
        let types: Vec<u8> = (0..expected.len()).map(|k| u8::from(k >= segment_1_start)).collect();
        assert_eq!(window.token_type_ids, types);
        assert_eq!(answer_text(window, &q.context), "red house");
    }
    let eval_windows = windows(&[q], &tokenizer, &WindowConfig::default(), Purpose::Eval).unwrap();
    assert!(eval_windows[0].token_type_ids.iter().all(|&id| id == 0));
    assert_eq!((eval_windows[0].start_position, eval_windows[0].end_position), (None, None));
}

#[test]
fn answers_in_texts_that_normalisation_changes_are_found() {
    let tokenizer = tokenizer();
    // The third value is whether a token ends at the end of the answer.
    for (context, answer, exact) in [
        // Marks of decomposed Vietnamese text are composed before tokenisation.
        (
            "Thu\u{309} \u{111}o\u{302} cu\u{309}a Vie\u{323}\u{302}t Nam la\u{300} Ha\u{300} No\u{323}\u{302}i.",
            "Ha\u{300} No\u{323}\u{302}i",
            false,
        ),
        ("The capital is Ha\u{300} No\u{323}\u{302}i now.", "Ha\u{300} No\u{323}\u{302}i", true),
        ("The hat \u{1112}\u{1161}\u{11ab} was red.", "\u{1112}\u{1161}\u{11ab}", true),
        ("Thủ đô của Việt Nam là Hà Nội.", "Hà Nội", false),
        // The text has full-width letters and digits, half-width katakana with a voicing sign, and
        // a ligature.
        ("In １９４５ the ＡＢＣ office closed.", "ＡＢＣ office", true),
        ("They said ｶﾞｷﾞ twice.", "ｶﾞｷﾞ", true),
        ("The oﬃce of ﬁnance.", "ﬁnance", false),
        ("فاز الفريق في عام ١٩٩٠ بالكأس.", "عام ١٩٩٠", false),
        ("الكِتَابُ الجَدِيدُ هنا.", "الجَدِيدُ", false),
        ("黑豹队的防守只丢了 308分，排名第六。", "308分", false),
        ("भारत की राजधानी नई दिल्ली है।", "नई दिल्ली", false),
        ("한국의 수도는 서울 이다.", "서울", false),
        ("It says 👩‍👩‍👧 🙂 family today.", "family today", true),
        ("He ran 6½ miles.", "6½ miles", false),
        ("Soft\u{ad}ware and x\u{200b}y plus end.", "end", false),
        ("\u{1}\u{2}Control first, then words.", "then words", true),
        ("Two  spaces\tand\u{a0}more\u{3000}here.", "more\u{3000}here", false),
        ("  Leading spaces.", "Leading", false),
    ] {
        let q = question(context, answer);
        let all =
            windows(std::slice::from_ref(&q), &tokenizer, &WindowConfig::default(), Purpose::Train)
                .unwrap();
        assert_ne!(all[0].start_position, Some(0), "{context}");
        check_smallest_span(&all[0], &q);
        let text = answer_text(&all[0], context);
        assert!(
            text.chars().count() <= answer.chars().count() + 12,
            "`{text}` is far more than `{answer}`"
        );
        assert!(!exact || text.trim_end_matches(['.', ',']) == answer, "`{text}` in {context}");
    }
}

#[test]
fn windows_without_the_answer_point_at_cls_or_are_dropped() {
    let tokenizer = tokenizer();
    let context = format!("{} Berlin {}", "one two three ".repeat(30), "four five six ".repeat(30));
    let q = question(&context, "Berlin");
    let mut config = config(60, 10);
    let all = windows(std::slice::from_ref(&q), &tokenizer, &config, Purpose::Train).unwrap();
    let with_answer: Vec<&Window> = all.iter().filter(|w| w.start_position != Some(0)).collect();
    assert!(!with_answer.is_empty() && with_answer.len() < all.len());
    assert!(all.iter().all(|w| w.start_position.is_some() && w.end_position.is_some()));
    config.unanswerable_window = UnanswerableWindow::Drop;
    let remaining = windows(std::slice::from_ref(&q), &tokenizer, &config, Purpose::Train).unwrap();
    assert_eq!(remaining.iter().collect::<Vec<_>>(), with_answer);
    let unanswerable = Question { answers: Vec::new(), ..q };
    assert!(windows(&[unanswerable], &tokenizer, &config, Purpose::Train).unwrap().is_empty());
}

#[test]
fn truncation_and_padding_of_the_tokenizer_are_disabled() {
    let mut truncating = tokenizer();
    let _ = truncating
        .with_truncation(Some(tokenizers::TruncationParams { max_length: 4, ..Default::default() }))
        .unwrap();
    truncating.with_padding(Some(tokenizers::PaddingParams {
        strategy: tokenizers::PaddingStrategy::Fixed(50),
        ..Default::default()
    }));
    let q = question("A red house stands here in the old town.", "old town");
    let config = WindowConfig::default();
    let expected =
        windows(std::slice::from_ref(&q), &tokenizer(), &config, Purpose::Train).unwrap();
    assert_eq!(windows(&[q], &truncating, &config, Purpose::Train).unwrap(), expected);
}

#[test]
fn long_questions_are_truncated_and_impossible_settings_rejected() {
    let tokenizer = tokenizer();
    let q = Question { question: "why ".repeat(300), ..question("A red house.", "red") };
    let all =
        windows(std::slice::from_ref(&q), &tokenizer, &WindowConfig::default(), Purpose::Eval)
            .unwrap();
    assert_eq!(all[0].context_start, 1 + 64 + 2);
    let error =
        windows(std::slice::from_ref(&q), &tokenizer, &config(100, 40), Purpose::Eval).unwrap_err();
    assert!(matches!(&error, Error::NoRoom { id, budget: 32, .. } if id == "q"), "{error}");
    let error = windows(&[q], &tokenizer, &config(0, 0), Purpose::Eval).unwrap_err();
    assert!(matches!(error, Error::Config { key: "max_length", .. }), "{error}");
}

#[test]
fn training_answer_at_a_wrong_offset_is_an_error() {
    let mut q = question("A red house.", "red");
    q.answers[0].answer_start = Some(0);
    let error = windows(&[q], &tokenizer(), &WindowConfig::default(), Purpose::Train).unwrap_err();
    assert!(matches!(&error, Error::AnswerMismatch { id, .. } if id == "q"), "{error}");
}

#[test]
fn vocabulary_without_special_tokens_is_rejected() {
    let json = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "<s>": 1}, "unk_token": "[UNK]"}}"#;
    let other: Tokenizer = json.parse().unwrap();
    let error = windows(&[], &other, &WindowConfig::default(), Purpose::Eval).unwrap_err();
    assert!(matches!(error, Error::SpecialToken { .. }), "{error}");
    assert!(error.to_string().contains("none of the tokens <s> and </s>, "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(128)) })]

    /// The context consists of words of many scripts with any separators. The answer may begin and
    /// end inside words.
    #[test]
    fn any_answer_is_covered_by_the_smallest_span(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "house", "Hà", "No\u{323}\u{302}i", "ＡＢＣ", "ﬁx", "½", "308分", "黑豹队", "دلهي",
                "الجَدِيدُ", "दिल्ली", "🙂", "👩‍👧", "ｶﾞ", "x\u{200d}y", "U.S.", "1,000", "\u{1112}\u{1161}",
            ]), 3..24),
        separators in prop::collection::vec(prop::sample::select(vec![" ", "  ", "\u{a0}", "\n", ""]), 24),
        from in 0.0..1.0_f64, len in 0.0..1.0_f64,
    ) {
        let context: String =
            words.iter().zip(&separators).flat_map(|(word, gap)| [*word, *gap]).collect();
        let chars: Vec<char> = context.chars().collect();
        let start = (from * (chars.len() - 1) as f64) as usize;
        let end = start + 1 + (len * (chars.len() - start - 1) as f64) as usize;
        let text: String = chars[start..end].iter().collect();
        // Another test covers answers whose first or last character belongs to no token.
        let has_no_token = |c: Option<char>| c.is_none_or(|c| c == '\u{200d}');
        prop_assume!(!has_no_token(text.trim().chars().next()) && !has_no_token(text.trim().chars().last()));
        let q = Question {
            answers: vec![Answer::at(start, text)],
            ..question(&context, words[0])
        };
        let tokenizer = TOKENIZER.with(Clone::clone);
        let all = windows(std::slice::from_ref(&q), &tokenizer, &config(400, 10), Purpose::Train).unwrap();
        prop_assert_eq!(all.len(), 1);
        check_smallest_span(&all[0], &q);
        prop_assert_ne!(all[0].start_position, Some(0));
    }
}

thread_local! {
    static TOKENIZER: Tokenizer = tokenizer();
}

#[test]
fn unusable_training_questions_are_counted() {
    let tokenizer = tokenizer();
    let long_question = "house ".repeat(40);
    let words = "red ".repeat(30);
    let questions = [
        crate::common::question("plain", "What?", "A red house.", &[("red", 2)]),
        crate::common::question("none", "What?", "A red house.", &[]),
        crate::common::question("blank answer", "What?", "A red house.", &[(" ", 1)]),
        crate::common::question("blank context", "What?", " ", &[]),
        crate::common::question("cut", &long_question, "A red house.", &[("red", 2)]),
        crate::common::question("outside", "What?", &words, &[(words.trim_end(), 0)]),
    ];
    let config = WindowConfig {
        max_length: 30,
        doc_stride: 4,
        max_question_length: 10,
        ..WindowConfig::default()
    };
    let want = WindowCounts {
        questions: 6,
        without_answer: 2,
        blank_answer: 1,
        blank_context: 1,
        answer_outside: 1,
        truncated_question: 1,
    };
    for unanswerable_window in [UnanswerableWindow::Cls, UnanswerableWindow::Drop] {
        let config = WindowConfig { unanswerable_window, ..config.clone() };
        let all = windows(&questions, &tokenizer, &config, Purpose::Train).unwrap();
        let counts = WindowCounts::of(&questions, &all, &tokenizer, &config).unwrap();
        assert_eq!(counts, want, "{unanswerable_window:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(64)) })]

    /// If logits depend only on the position in the document, the answer does not depend on how the
    /// document is split into windows.
    #[test]
    fn best_answer_does_not_depend_on_the_windows(
        words in prop::collection::vec(
            prop::sample::select(vec!["house", "Hà", "308分", "黑豹", "दिल्ली", "🙂", "U.S.", "\r\n"]), 40..120),
        target in 0.0..1.0_f64, cuts in prop::collection::vec((24usize..60, 8usize..14), 4),
    ) {
        let context = words.join(" ");
        let question = crate::common::question("q", "Where?", &context, &[]);
        let tokenizer = load_tokenizer(testkit::fixture("tokenizer.json")).unwrap();
        let single_window = WindowConfig { max_length: 100_000, ..WindowConfig::default() };
        let questions = [question];
        let best = |config: &WindowConfig| {
            let all = windows(&questions, &tokenizer, config, Purpose::Eval).unwrap();
            let length = context.chars().count() as f64;
            let logits = |all: &[Window], end: bool| -> Vec<Array1<f32>> {
                let logits_of = |window: &Window| {
                    let mut row = Array1::zeros(window.input_ids.len());
                    for (token, &(from, to)) in window.offsets.iter().enumerate() {
                        // Logits decrease with the distance from the target position.
                        let edge = if end { to } else { from } as f64;
                        let distance = (edge - target * length).abs() / length;
                        row[window.context_start + token] = 10.0 - 100.0 * distance as f32;
                    }
                    row
                };
                all.iter().map(logits_of).collect()
            };
            let (starts, ends) = (logits(&all, false), logits(&all, true));
            let lists = decode(&questions, &all, &starts, &ends, &DecodeConfig::default()).unwrap();
            let best = lists[0].candidates.first().cloned().unwrap_or_default();
            (best.text, best.answer_start, best.score)
        };
        let expected = best(&single_window);
        for (max_length, doc_stride) in cuts {
            let config = WindowConfig { max_length, doc_stride, max_question_length: 8, ..single_window.clone() };
            prop_assert_eq!(&best(&config), &expected);
        }
    }
}
