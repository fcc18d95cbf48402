//! Tests of inputs for tokenizers of several families: XLM-R, BERT, Gemma (byte fallback) and byte
//! level.
use testkit::fixture;
use tokenizers::{Tokenizer, TruncationParams};
use transfer_eval::lama::{
    ClozeConfig, CommonVocabulary, Fact, Relation, TypedFact, TypedFacts, build_clozes,
    build_typed_clozes,
};
use transfer_eval::ner::{IGNORE_INDEX, Labels, NerConfig, Sentence, encode_ner};
use transfer_eval::xnli::{NliConfig, NliExample, NliLabel, encode_nli};

const FAMILIES: [&str; 4] = ["tokenizer", "wordpiece", "byte_fallback", "byte_level"];

/// A sentence and a following question, in the seven languages of MLQA.
const PAIRS: [[&str; 3]; 7] = [
    ["en", "The school is in Newcastle, by the river.", "Was it built before the war?"],
    ["es", "La escuela está en Newcastle, junto al río.", "¿Se construyó antes de la guerra?"],
    ["de", "Die Schule liegt in Newcastle am Fluß.", "Wurde sie vor dem Krieg gebaut?"],
    ["ar", "المدرسة في نيوكاسل، بجانب النهر.", "هل بنيت قبل الحرب؟"],
    ["hi", "विद्यालय न्यूकैसल में नदी के किनारे है।", "क्या यह युद्ध से पहले बना था?"],
    ["vi", "Trường học ở Newcastle, bên bờ sông.", "Nó được xây trước chiến tranh phải không?"],
    ["zh", "学校在纽卡斯尔的河边。", "它是战前建的吗？"],
];

pub fn tokenizer(family: &str) -> Tokenizer {
    Tokenizer::from_file(fixture(&format!("{family}.json"))).unwrap()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

#[test]
fn complete_and_truncated_pairs_equal_the_output_of_tokenizers() {
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        for [language, premise, hypothesis] in PAIRS {
            let example = NliExample {
                language: language.parse().unwrap(),
                premise: premise.into(),
                hypothesis: hypothesis.into(),
                label: NliLabel::Neutral,
                line: 1,
            };
            for max_length in [512, 31, 16, 9] {
                let config = NliConfig { max_length };
                let inputs =
                    encode_nli(std::slice::from_ref(&example), &tokenizer, &config).unwrap();
                let mut truncating_tokenizer = tokenizer.clone();
                let truncation = TruncationParams { max_length, ..TruncationParams::default() };
                truncating_tokenizer.with_truncation(Some(truncation)).unwrap();
                let expected = truncating_tokenizer.encode((premise, hypothesis), true).unwrap();
                assert_eq!(inputs[0].input_ids, expected.get_ids(), "{family} {language}");
            }
        }
        let min_length = if family == "tokenizer" { 6 } else { 5 };
        let config = NliConfig { max_length: min_length - 1 };
        let message = encode_nli(&[], &tokenizer, &config).unwrap_err().to_string();
        assert!(message.contains(&format!("at least {min_length}")), "{message}");
        assert!(encode_nli(&[], &tokenizer, &NliConfig { max_length: min_length }).is_ok());
    }
}

fn mask_name(family: &str) -> &'static str {
    match family {
        "wordpiece" => "[MASK]",
        "byte_level" => "<|mask|>",
        _ => "<mask>",
    }
}

#[test]
fn words_follow_the_sentence_and_labels_are_at_word_starts() {
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        for [language, text, _] in PAIRS {
            let words: Vec<&str> = text.split(' ').collect();
            let tags = vec!["B-LOC"; words.len()];
            let sentences = [Sentence::new(&words, &tags)];
            let labels = Labels::of(&sentences);
            let inputs =
                encode_ner(&sentences, &tokenizer, &labels, &NerConfig::default()).unwrap();
            // The input equals the encoded text. For byte tokenizers, the text begins with a space.
            let space = if family.starts_with("byte") { " " } else { "" };
            let encoding = tokenizer.encode(format!("{space}{text}"), true).unwrap();
            assert_eq!(inputs[0].input_ids, encoding.get_ids(), "{family} {language}");
            assert_eq!(inputs[0].words.len(), words.len());
            let mut labelled_count = 0;
            for (&id, &label) in inputs[0].input_ids.iter().zip(&inputs[0].labels) {
                if label != IGNORE_INDEX {
                    let piece = tokenizer.id_to_token(id).unwrap();
                    let has_space_mark = piece.starts_with(['▁', 'Ġ']);
                    assert_eq!(has_space_mark, family != "wordpiece", "{piece}");
                    assert!(!piece.starts_with("##"), "{piece}");
                    labelled_count += 1;
                }
            }
            assert_eq!(labelled_count, words.len());
        }
    }
}

fn fact(before: &str, object: &str, after: &str) -> Fact {
    Fact {
        id: "1".into(),
        relation: "P36".into(),
        object: object.into(),
        before: before.into(),
        after: after.into(),
        from_template: true,
        line: 1,
    }
}

#[test]
fn filled_clozes_equal_the_sentence() {
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        let mut single_piece_count = 0;
        for (before, after, spaced) in [
            ("They went to ", " for years.", [true; 4]),
            ("", " is a place.", [true, true, false, false]),
            // BERT's tokenizer begins a word after punctuation and after each Chinese character.
            ("They went (", " for years.", [false, true, false, false]),
            ("他们在", " 的", [false, true, false, false]),
        ] {
            let spaced = spaced[FAMILIES.iter().position(|&one| one == family).unwrap()];
            for object in ["Newcastle", "Europe", "school", "war", "California", "first"] {
                let facts = [fact(before, object, after)];
                let built =
                    build_clozes(&facts, &tokenizer, None, &ClozeConfig::default()).unwrap();
                let cloze = &built.clozes[0];
                assert_eq!(cloze.spaced, spaced, "{family}: {before:?}");
                let mut filled = cloze.input_ids.clone();
                let mask = tokenizer.id_to_token(filled[cloze.mask]).unwrap();
                assert_eq!(mask, mask_name(family));
                let sentence_ids = ids(&tokenizer, &format!("{before}{object}{after}"));
                if let Some(gold) = cloze.gold {
                    filled[cloze.mask] = gold;
                    assert_eq!(filled, sentence_ids, "{family}: {before:?} {object}");
                    single_piece_count += 1;
                } else {
                    assert_ne!(filled.len(), sentence_ids.len(), "{family}: {before:?} {object}");
                }
            }
        }
        assert!(single_piece_count >= 5, "{family}: {single_piece_count}");
    }
}

#[test]
fn further_gaps_are_mask_tokens() {
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        let facts = [fact("A ", "school", " is a [MASK].")];
        let built = build_clozes(&facts, &tokenizer, None, &ClozeConfig::default()).unwrap();
        let input = &built.clozes[0].input_ids;
        let mask = input[built.clozes[0].mask];
        assert_eq!(input.iter().filter(|&&id| id == mask).count(), 2, "{family}");
    }
}

#[test]
fn candidates_exist_at_word_starts_and_inside_words() {
    let words = CommonVocabulary::new(["school", "war", "ing", "nowhere at all"]);
    for (family, space, continuation) in
        [("tokenizer", "▁", ""), ("wordpiece", "", "##"), ("byte_fallback", "▁", "")]
    {
        let tokenizer = tokenizer(family);
        let candidates = words.candidates(&tokenizer).unwrap();
        let token_strings = |ids: &[u32]| -> Vec<String> {
            ids.iter().map(|&id| tokenizer.id_to_token(id).unwrap()).collect()
        };
        let spaced = token_strings(candidates.ids(true));
        assert!(spaced.contains(&format!("{space}school")), "{family}: {spaced:?}");
        let joined = token_strings(candidates.ids(false));
        assert!(joined.contains(&format!("{continuation}ing")), "{family}: {joined:?}");
    }
}

#[test]
fn objects_with_any_number_of_pieces_replace_the_placeholder() {
    let capital_fact = |country: &str, city: &str| TypedFact {
        id: country.into(),
        sub_uri: country.into(),
        obj_uri: city.into(),
        sub_label: country.into(),
        obj_label: city.into(),
    };
    for family in FAMILIES {
        let tokenizer = tokenizer(family);
        for template in ["The capital of [X] is [Y] .", "[Y] is the capital of [X] ."] {
            let template = Some(template.to_owned());
            let relation = Relation { id: "P36".into(), template: template.clone(), kind: None };
            let facts = vec![
                capital_fact("France", "Paris"),
                capital_fact("भारत", "नई दिल्ली"),
                capital_fact("中国", "北京"),
            ];
            let all = [TypedFacts { relation, facts: facts.clone() }];
            let built = build_typed_clozes(&all, &tokenizer, 128).unwrap();
            for (cloze, fact) in built.clozes.iter().zip(&facts) {
                let object = &built.candidates(cloze)[cloze.gold];
                let filled = [&cloze.before, object, &cloze.after].map(Vec::as_slice).concat();
                let text = template.clone().unwrap();
                let text = text.replace("[X]", &fact.sub_label).replace("[Y]", &fact.obj_label);
                assert_eq!(filled, ids(&tokenizer, &text), "{family}: {text}");
            }
            let mask = tokenizer.id_to_token(built.mask).unwrap();
            assert_eq!(mask, mask_name(family));
        }
    }
}
