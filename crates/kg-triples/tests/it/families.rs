//! Tests with tokenizers of several families: XLM-R, BERT, Gemma (byte fallback) and EuroBERT (byte
//! level).

use crate::common::{countries, label, unmasked_ids};
use kg_triples::knowledge::Descriptions;
use kg_triples::phrases::{
    PhraseOccurrences, PhrasePassage, SpecialIds, TextSpan, encode_passages,
};
use kg_triples::sequence::{ConcatSeparator, Masking, Role, TripleStyle};
use kg_triples::{Language, SequenceConfig, SequenceKind, build_sequences};
use testkit::fixture;
use tokenizers::Tokenizer;

/// A tokenizer's file name, the tokens before and after a text, the tokens between two texts, and
/// the mask, padding and unknown tokens.
type Family = (&'static str, [&'static str; 2], &'static [&'static str], [&'static str; 3]);

const FAMILIES: [Family; 4] = [
    ("tokenizer", ["<s>", "</s>"], &["</s>", "</s>"], ["<mask>", "<pad>", "<unk>"]),
    ("wordpiece", ["[CLS]", "[SEP]"], &["[SEP]"], ["[MASK]", "[PAD]", "[UNK]"]),
    ("byte_fallback", ["<bos>", "<eos>"], &["<eos>"], ["<mask>", "<pad>", "<unk>"]),
    (
        "byte_level",
        ["<|begin_of_text|>", "<|end_of_text|>"],
        &["<|end_of_text|>"],
        ["<|mask|>", "<|end_of_text|>", "<|end_of_text|>"],
    ),
];

fn tokenizer(family: &str) -> Tokenizer {
    Tokenizer::from_file(fixture(&format!("{family}.json"))).unwrap()
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn configs() -> Vec<SequenceConfig> {
    let mut configs = Vec::new();
    for triple_style in [TripleStyle::Space, TripleStyle::Comma] {
        for concat_separator in [ConcatSeparator::None, ConcatSeparator::SepToken] {
            for masking in [Masking::GoldLength, Masking::FixedLength { masks: 20 }] {
                configs.push(SequenceConfig {
                    triple_style,
                    concat_separator,
                    masking,
                    max_length: 128,
                    ..SequenceConfig::default()
                });
            }
        }
    }
    configs
}

#[test]
fn filled_in_sequences_decode_to_their_triples() {
    let graph = countries();
    for (family, [start, end], between, [mask, pad, unknown]) in FAMILIES {
        let tokenizer = tokenizer(family);
        let id = |token: &str| tokenizer.token_to_id(token).unwrap();
        let separator: Vec<u32> = between.iter().map(|token| id(token)).collect();
        for (config, other) in configs().into_iter().zip(["de", "zh"].into_iter().cycle()) {
            let (sequences, report) =
                build_sequences(&graph, ("en", other), &config, &tokenizer).unwrap();
            assert_eq!((report.facts, report.dropped.missing_label), (6, 0));
            // Only the WordPiece tokenizer has no tokens for some Chinese characters.
            let dropped_count = report.dropped.total();
            assert!(
                dropped_count == 0 || (family == "wordpiece" && other == "zh"),
                "{family}: {report:?}"
            );
            for s in &sequences {
                assert_eq!((s.input_ids[0], s.input_ids.last()), (id(start), Some(&id(end))));
                for entity in &s.entities {
                    assert!(s.input_ids[entity.start..entity.end].iter().all(|&i| i == id(mask)));
                    let padding_labels = &s.labels[entity.start + entity.pieces..entity.end];
                    assert!(padding_labels.iter().all(|&label| label == i64::from(id(pad))));
                }
                let triple = graph.triple(s.fact).unwrap();
                let words = |head: &str, relation: &str, tail: &str| {
                    let relation = label(triple.relation, relation);
                    [label(triple.head, head), relation, label(triple.tail, tail)]
                };
                let monolingual = |language: &str| words(language, language, language);
                let comma = config.triple_style == TripleStyle::Comma;
                let sep = if comma { ", " } else { " " };
                let (i, j) = (s.languages.0.as_str(), s.languages.1.as_str());
                let unmasked = unmasked_ids(s);
                assert!(!unmasked.contains(&id(mask)));
                assert!(pad == end || !unmasked.contains(&id(pad)));
                let body = &unmasked[1..unmasked.len() - 1];
                let text = match s.kind {
                    SequenceKind::Monolingual => monolingual(i).join(sep),
                    SequenceKind::Concatenated => {
                        let separated = config.concat_separator == ConcatSeparator::SepToken;
                        let count = body.windows(separator.len()).filter(|w| **w == separator);
                        assert_eq!(count.count(), usize::from(separated), "{family}");
                        let triple_sep = if separated { " " } else { sep };
                        [monolingual(i).join(sep), monolingual(j).join(sep)].join(triple_sep)
                    }
                    SequenceKind::Mixed => {
                        let is_native = s.entities[0].language == *i;
                        let has_foreign_head = (s.entities[0].role == Role::Head) != is_native;
                        let (head, tail) = if has_foreign_head { (j, i) } else { (i, j) };
                        words(head, i, tail).join(sep)
                    }
                };
                let body: Vec<u32> =
                    body.iter().copied().filter(|&id| !separator.contains(&id)).collect();
                if family == "wordpiece" && body.contains(&id(unknown)) {
                    continue;
                }
                let decoded = tokenizer.decode(&body, false).unwrap();
                if family == "wordpiece" {
                    assert_eq!(without_spaces(&decoded), without_spaces(&text));
                } else {
                    assert_eq!(decoded.trim(), text, "{family}");
                }
            }
        }
    }
}

/// For each language of MLQA: the language, the text before a phrase, the phrase, and the text
/// after it.
const PHRASES: [[&str; 4]; 7] = [
    ["en", "The ", "federal city", " lies on the Aare ."],
    ["es", "El Aare pasa por la ", "ciudad federal", ", en el oeste."],
    ["de", "An der Aare liegt die ", "schöne Bundesstadt", "."],
    ["ar", "تقع ", "المدينة الاتحادية", " على نهر آره."],
    ["hi", "आरे नदी पर ", "संघीय शहर", " बसा है।"],
    ["vi", "Sông Aare chảy qua ", "thành phố liên bang", "."],
    ["zh", "阿勒河流经", "联邦城市", "伯尔尼。"],
];

/// A phrase in a text with directional marks, which BERT's normaliser removes.
const MARKED_PHRASE: [&str; 4] = ["en", "\u{200f}\u{200e}a ", "federal city", " \u{200f}lies here"];

#[test]
fn phrase_positions_match_their_tokens() {
    for (family, [start, end], _, [_, _, unknown]) in FAMILIES {
        let tokenizer = tokenizer(family);
        let id = |token: &str| tokenizer.token_to_id(token).unwrap();
        let specials = SpecialIds { bos: id(start), eos: id(end), unk: id(unknown) };
        for [language, before, phrase, after] in PHRASES.into_iter().chain([MARKED_PHRASE]) {
            let from = before.chars().count();
            let occurrence = TextSpan { start: from, end: from + phrase.chars().count() };
            let passage = PhrasePassage {
                language: Language::new(language).unwrap(),
                text: [before, phrase, after].concat(),
                phrases: vec![PhraseOccurrences {
                    phrase: phrase.to_lowercase(),
                    occurrences: vec![occurrence],
                }],
            };
            let encoding = tokenizer.encode(passage.text.as_str(), true).unwrap();
            let examples = encode_passages(&[passage], &tokenizer, specials, 256).unwrap();
            if family == "wordpiece" && language == "zh" {
                // This tokenizer splits Chinese text into characters, some of which are not in its
                // vocabulary. Unknown tokens belong to no phrase.
                let is_unknown = |at: usize| examples[0].input_ids[at] == specials.unk;
                assert!(!examples[0].phrases.iter().flat_map(Clone::clone).any(is_unknown));
                continue;
            }
            assert_eq!(examples[0].input_ids, encoding.get_ids(), "{family} {language}");
            let [span] = examples[0].phrases.as_slice() else {
                panic!("{family} {language}: {examples:?}")
            };
            let decoded = tokenizer.decode(&examples[0].input_ids[span.clone()], false).unwrap();
            assert_eq!(decoded.trim(), phrase, "{family} {language}");
        }
    }
}

#[test]
fn descriptions_are_enclosed_in_their_tokenizers_special_tokens() {
    for (family, [start, end], _, [mask, ..]) in FAMILIES {
        let tokenizer = tokenizer(family);
        let id = |token: &str| tokenizer.token_to_id(token).unwrap();
        let mut descriptions = Descriptions::default();
        for [language, before, phrase, after] in PHRASES {
            let language = Language::new(language).unwrap();
            // The text contains the mask token, which must be removed from the description.
            let text = [before, phrase, " ", mask, after].concat();
            descriptions.add("Q70", language, &text).unwrap();
        }
        for max_tokens in [256, 9] {
            let encoded = descriptions.encode(&tokenizer, max_tokens).unwrap();
            assert_eq!(encoded.get("Q70").len(), PHRASES.len());
            for (_, ids) in encoded.get("Q70") {
                assert_eq!((ids[0], ids.last()), (id(start), Some(&id(end))), "{family}");
                assert!(ids.len() <= max_tokens && !ids.contains(&id(mask)));
                let inner = &ids[1..ids.len() - 1];
                assert!(!inner.contains(&id(start)) && !inner.contains(&id(end)));
            }
        }
    }
}
