//! Windows with tokenizers of several families: XLM-R, BERT, Gemma (byte fallback), byte level.
use mlqa_eval::{
    Dataset, MLQA_LANGUAGES, Purpose, Question, Separator, Window, WindowConfig, WindowCounts,
    load_tokenizer, windows,
};
use serde_json::{Value, json};
use testkit::fixture;
use tokenizers::Tokenizer;

use crate::common::question_with_answer;

const FAMILIES: [&str; 4] = ["tokenizer", "wordpiece", "byte_fallback", "byte_level"];

fn tokenizer(family: &str) -> Tokenizer {
    load_tokenizer(fixture(&format!("{family}.json"))).unwrap()
}

/// Returns evenly spaced questions of XQuAD in MLQA's languages.
fn questions() -> Vec<Question> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/xquad");
    let sampled = |language: &mlqa_eval::Language| {
        let all = Dataset::read(format!("{root}/xquad.{language}.json")).unwrap().questions;
        let step = if testkit::is_long() { 1 } else { 37 };
        all.into_iter().step_by(step)
    };
    let all: Vec<Question> = MLQA_LANGUAGES.iter().flat_map(sampled).collect();
    assert!(all.len() >= 7 * 32);
    all
}

fn single_window() -> WindowConfig {
    WindowConfig {
        max_length: 8192,
        max_question_length: 1024,
        segment_ids: true,
        ..WindowConfig::default()
    }
}

fn small_windows() -> WindowConfig {
    let separator = Separator::Template;
    let (max_length, doc_stride, max_question_length) = (128, 32, 40);
    WindowConfig { max_length, doc_stride, max_question_length, separator, ..single_window() }
}

fn is_visible(c: char) -> bool {
    !c.is_whitespace()
        && !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        && !matches!(c, '\u{feff}' | '\u{fffd}' | '\u{ad}')
}

/// The tokens of a window's context with their offsets.
fn tokens<'a>(
    window: &'a Window,
    tokenizer: &'a Tokenizer,
) -> impl Iterator<Item = (String, (usize, usize))> + 'a {
    let ids = &window.input_ids[window.context_start..window.context_end];
    let names = ids.iter().map(|&id| tokenizer.id_to_token(id).unwrap());
    names.zip(window.offsets.iter().copied())
}

/// The byte of a piece such as `<0xE4>`.
fn byte_of(piece: &str) -> Option<u8> {
    u8::from_str_radix(piece.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

#[test]
fn single_windows_equal_the_tokenizers_pairs() {
    let questions = questions();
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        let all = windows(&questions, &tokenizer, &single_window(), Purpose::Train).unwrap();
        assert_eq!(all.len(), questions.len());
        for (window, question) in all.iter().zip(&questions) {
            let pair = (&*question.question, &*question.context);
            let encoding = tokenizer.encode(pair, true).unwrap();
            assert_eq!(window.input_ids, encoding.get_ids(), "{family}: {}", question.id);
            // XLM-R's template has one segment; with `segment_ids`, segment 1 begins at the second
            // separator.
            let types: Vec<u32> = window.token_type_ids.iter().map(|&id| id.into()).collect();
            let second_segment = match family {
                "tokenizer" => window.context_start - 1,
                _ => window.context_start,
            };
            assert_eq!(types.iter().position(|&id| id == 1), Some(second_segment));
            assert!(family == "tokenizer" || types == encoding.get_type_ids());
            let question_encoding = tokenizer.encode(pair.0, false).unwrap();
            assert_eq!(&window.input_ids[1..window.question_end], question_encoding.get_ids());
        }
    }
}

#[test]
fn configured_separators_are_the_end_token() {
    let questions = &questions()[..1];
    for (family, after) in [("wordpiece", "[SEP]"), ("byte_fallback", "<eos>")] {
        let tokenizer = tokenizer(family);
        let after = tokenizer.token_to_id(after).unwrap();
        for (separator, count) in [(Separator::Single, 1), (Separator::Double, 2)] {
            let config = WindowConfig { separator, ..single_window() };
            let all = windows(questions, &tokenizer, &config, Purpose::Eval).unwrap();
            let between = &all[0].input_ids[all[0].question_end..all[0].context_start];
            assert_eq!(between, vec![after; count], "{family}");
        }
    }
}

#[test]
fn offsets_match_tokens_and_cover_all_characters() {
    let questions = questions();
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        let all = windows(&questions, &tokenizer, &small_windows(), Purpose::Eval).unwrap();
        let (mut n_bytes, mut n_pieces) = (0, 0);
        for question_windows in all.chunk_by(|window, next| window.question == next.question) {
            let question = &questions[question_windows[0].question];
            let text: Vec<char> = question.context.chars().collect();
            let mut covered = vec![false; text.len()];
            for window in question_windows {
                assert!(window.input_ids.len() <= 128);
                assert!(window.offsets.is_sorted_by_key(|&(start, _)| start), "{}", question.id);
                for (piece, (start, end)) in tokens(window, &tokenizer) {
                    covered[start..end].fill(true);
                    let covered_text: String = text[start..end].iter().copied().collect();
                    n_pieces += 1;
                    if let Some(byte) = byte_of(&piece).filter(|_| start < end) {
                        n_bytes += 1;
                        // A byte token has the offsets of the whole character.
                        assert_eq!(covered_text.chars().count(), 1, "{covered_text:?}");
                        assert!(
                            covered_text.as_bytes().contains(&byte),
                            "{covered_text:?}: {piece}"
                        );
                    } else if family == "byte_fallback" && start < end {
                        assert_eq!(piece.trim_matches('▁'), covered_text);
                    } else if family == "wordpiece" && piece != "[UNK]" {
                        let covered_text: String =
                            covered_text.chars().filter(|&c| is_visible(c)).collect();
                        assert_eq!(piece.strip_prefix("##").unwrap_or(&piece), covered_text);
                    }
                }
            }
            let uncovered = (0..text.len()).find(|&k| is_visible(text[k]) && !covered[k]);
            assert_eq!(uncovered, None, "{family}: {} at {uncovered:?}", question.id);
        }
        assert!(n_bytes * 4 > n_pieces || family != "byte_fallback", "{n_bytes} of {n_pieces}");
    }
}

#[test]
fn bytes_of_one_character_have_equal_offsets() {
    let tokenizer = tokenizer("byte_fallback");
    // Characters of four, three and two bytes without a token (one of them twice), an emoji of
    // several code points, and marks that are not composed.
    let context = "x \u{10348}\u{10348} 龘 ж\u{302}ы \u{1f469}\u{200d}\u{1f52c} e\u{301}.\u{1}\ty";
    let question = question_with_answer("?", context, "龘");
    let all = windows(&[question], &tokenizer, &single_window(), Purpose::Train).unwrap();
    let [window] = all.as_slice() else { panic!("one window") };
    let text: Vec<char> = context.chars().collect();
    for (at, c) in text.iter().enumerate().filter(|(_, c)| !c.is_whitespace()) {
        let char_tokens =
            tokens(window, &tokenizer).filter(|&(_, (start, end))| start <= at && at < end);
        let char_tokens: Vec<_> = char_tokens.collect();
        let bytes: Vec<u8> = char_tokens.iter().filter_map(|(piece, _)| byte_of(piece)).collect();
        if bytes.is_empty() {
            assert_eq!(char_tokens.len(), 1, "{c:?}");
        } else {
            assert_eq!(bytes, c.to_string().as_bytes());
            assert!(char_tokens.iter().all(|(_, offsets)| *offsets == (at, at + 1)));
        }
    }
}

/// Returns the offsets of the first token and of the last token of a window's answer.
fn answer_offsets(window: &Window) -> [(usize, usize); 2] {
    [window.start_position, window.end_position]
        .map(|position| window.offsets[position.unwrap() - window.context_start])
}

#[test]
fn answer_positions_cover_the_answers() {
    let questions = questions();
    for (family, min_share) in FAMILIES.into_iter().zip([0.95, 0.95, 0.7, 0.7]) {
        let tokenizer = tokenizer(family);
        for (config, all_found) in [(single_window(), true), (small_windows(), false)] {
            let all = windows(&questions, &tokenizer, &config, Purpose::Train).unwrap();
            let mut questions_with_answer = std::collections::BTreeSet::new();
            for window in all.iter().filter(|window| window.start_position != Some(0)) {
                let question = &questions[window.question];
                questions_with_answer.insert(window.question);
                let [first, last] = answer_offsets(window);
                let answer = &question.answers[0];
                let text: Vec<char> = question.context.chars().collect();
                let covered: String = text[first.0..last.1].iter().collect();
                assert!(covered.contains(answer.text.trim()), "{family}: {covered:?}, {answer:?}");
                // The span has no superfluous tokens.
                let leading_spaces = answer.text.chars().take_while(|c| c.is_whitespace()).count();
                let start = answer.answer_start.unwrap() + leading_spaces;
                let end = start + answer.text.trim().chars().count();
                assert!(first.0 <= start && start < first.1, "{family}: {answer:?} {first:?}");
                assert!(last.0 < end && end <= last.1, "{family}: {answer:?} {last:?}");
            }
            let share = questions_with_answer.len() as f64 / questions.len() as f64;
            assert!(share > min_share && (!all_found || share == 1.0), "{family}: {share}");
            let counts = WindowCounts::of(&questions, &all, &tokenizer, &config).unwrap();
            assert_eq!(
                counts.answer_outside,
                questions.len() - questions_with_answer.len(),
                "{family}"
            );
            let is_truncated = |question: &&Question| {
                let ids = tokenizer.encode(question.question.as_str(), false).unwrap();
                ids.len() > config.max_question_length
            };
            assert_eq!(
                counts.truncated_question,
                questions.iter().filter(is_truncated).count(),
                "{family}"
            );
        }
    }
}

#[test]
fn dropped_characters_do_not_shift_offsets() {
    // The context has direction marks before and in the text, and a byte order mark before the
    // text.
    let context = "\u{feff}\u{200f}\u{1}Bern \u{200f}lies\u{200d} on\u{ad} the Aare .";
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        for answer in ["Bern", "lies", "Aare"] {
            let marked_question = question_with_answer("\u{200e}Where?", context, answer);
            let all =
                windows(&[marked_question], &tokenizer, &single_window(), Purpose::Train).unwrap();
            let [window] = all.as_slice() else { panic!("one window") };
            let [first, last] = answer_offsets(window);
            let text: String = context
                .chars()
                .skip(first.0)
                .take(last.1 - first.0)
                .filter(|&c| is_visible(c))
                .collect();
            assert!(text.starts_with(answer), "{family}: {text:?}");
            let pair = ("\u{200e}Where?", context);
            assert_eq!(window.input_ids, tokenizer.encode(pair, true).unwrap().get_ids());
        }
    }
}

#[test]
fn byte_level_offsets_include_the_first_character() {
    let stored = std::fs::read(fixture("byte_level.json")).unwrap();
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    let byte_level = |prefix: bool, trim: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim,
            "use_regex": true})
    };
    let sequence = |steps: &[Value]| json!({"type": "Sequence", "pretokenizers": steps});
    let template = &stored["post_processor"]["processors"][1];
    let context = "  It was a red house, Zoë's, of 1920 (not 鐵路)\n \u{1f469}\u{200d}\u{1f52c}.";
    for split in ["none", "Whitespace", "WhitespaceSplit", "BertPreTokenizer"] {
        for (prefix, trim) in [(true, true), (true, false), (false, true), (false, false)] {
            let roberta = json!({"type": "RobertaProcessing", "cls": ["<|begin_of_text|>", 2997],
                "sep": ["<|end_of_text|>", 2998], "trim_offsets": trim,
                "add_prefix_space": prefix});
            let byte_level_sequence =
                json!({"type": "Sequence", "processors": [byte_level(prefix, trim), template]});
            for processor in [roberta, byte_level_sequence] {
                let name = format!("{split} {prefix} {trim} {}", processor["type"]);
                let mut json = stored.clone();
                json["pre_tokenizer"] = match split {
                    "none" => byte_level(prefix, trim),
                    split => sequence(&[json!({"type": split}), byte_level(prefix, trim)]),
                };
                json["post_processor"] = processor;
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("tokenizer.json");
                std::fs::write(&path, json.to_string()).unwrap();
                let tokenizer = load_tokenizer(&path).unwrap();
                for answer in ["It", "red house", "Zoë's", "1920", "(not", "鐵路", "鐵路)"] {
                    let questions = [question_with_answer("What?", context, answer)];
                    let all =
                        windows(&questions, &tokenizer, &single_window(), Purpose::Train).unwrap();
                    let [window] = all.as_slice() else { panic!("one window") };
                    let [first, last] = answer_offsets(window);
                    let text: Vec<char> = context.chars().collect();
                    let covered: String = text[first.0..last.1].iter().collect();
                    assert_eq!(covered, answer, "{name}");
                }
            }
        }
    }
}
