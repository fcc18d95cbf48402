//! Tests of the layouts of tokenizer families, and of unsupported layouts.
use serde_json::{Value, json};
use tokenizer_file::{Layout, LayoutError, Spacing, read};
use tokenizers::Tokenizer;

fn fixture(name: &str) -> Tokenizer {
    read(testkit::fixture(name)).unwrap()
}

fn token_names(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|&id| tokenizer.id_to_token(id).unwrap()).collect()
}

/// Returns XLM-R's tokenizer with another post-processor.
fn with_processor(processor: Value) -> Tokenizer {
    let mut json = serde_json::to_value(fixture("tokenizer.json")).unwrap();
    json["post_processor"] = processor;
    json.to_string().parse().unwrap()
}

/// Creates a template post-processor from texts such as `<s> $A </s>`.
fn template(single: &str, pair: &str) -> Value {
    let items = |text: &str| -> Vec<Value> {
        let item = |piece: &str| match piece {
            "$A" => json!({"Sequence": {"id": "A", "type_id": 0}}),
            "$B" => json!({"Sequence": {"id": "B", "type_id": 1}}),
            token => json!({"SpecialToken": {"id": token, "type_id": 0}}),
        };
        text.split_whitespace().map(item).collect()
    };
    let token = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let special_tokens = json!({"<s>": token("<s>", 0), "</s>": token("</s>", 2)});
    let (single, pair) = (items(single), items(pair));
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special_tokens})
}

#[test]
fn layouts_add_the_special_tokens_of_each_family() {
    for (name, single, pair, other_tokens) in [
        ("tokenizer.json", "<s> A </s>", "<s> A </s> </s> B B </s>", ["<pad>", "<mask>", "<unk>"]),
        (
            "byte_level.json",
            "<|begin_of_text|> A <|end_of_text|>",
            "<|begin_of_text|> A <|end_of_text|> B B <|end_of_text|>",
            ["<|end_of_text|>", "<|mask|>", ""],
        ),
        (
            "wordpiece.json",
            "[CLS] A [SEP]",
            "[CLS] A [SEP] B B [SEP]",
            ["[PAD]", "[MASK]", "[UNK]"],
        ),
        (
            "byte_fallback.json",
            "<bos> A <eos>",
            "<bos> A <eos> B B <eos>",
            ["<pad>", "<mask>", "<unk>"],
        ),
    ] {
        let tokenizer = fixture(name);
        let layout = Layout::of(&tokenizer).unwrap();
        let id = |token: &str| tokenizer.token_to_id(token).unwrap();
        let (a, b) = (id("A"), id("B"));
        assert_eq!(token_names(&tokenizer, &layout.single(&[a])).join(" "), single);
        assert_eq!(token_names(&tokenizer, &layout.pair(&[a], &[b, b]).unwrap()).join(" "), pair);
        let other_ids = [layout.pad(), layout.mask(), layout.unknown()].map(Result::ok);
        assert_eq!(other_ids, other_tokens.map(|token| tokenizer.token_to_id(token)), "{name}");
        // `tokenizers` adds the same special tokens.
        let text = ("Who?", "Nobody knows, 12.");
        let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        let encoded = tokenizer.encode(text, true).unwrap();
        assert_eq!(layout.pair(&ids(text.0), &ids(text.1)).unwrap(), encoded.get_ids());
        let encoded = tokenizer.encode(text.0, true).unwrap();
        assert_eq!(layout.single(&ids(text.0)), encoded.get_ids());
        let control_ids = [Some(layout.before()), Some(layout.after()), other_ids[0], other_ids[1]];
        assert!(control_ids.iter().all(|id| layout.is_control(id.unwrap())));
        assert!(!other_ids[2].is_some_and(|id| layout.is_control(id)) && !layout.is_control(a));
    }
}

#[test]
fn post_processors_of_all_types_are_supported() {
    let bert = json!({"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]});
    let roberta = json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
        "trim_offsets": true, "add_prefix_space": true});
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false,
        "use_regex": true});
    let sequence = json!({"type": "Sequence", "processors": [byte_level, bert]});
    let three_separators = template("<s> $A </s>", "<s> $A </s> <s> </s> $B </s>");
    for (processor, between) in [
        (bert.clone(), vec![2]),
        (roberta, vec![2, 2]),
        (sequence, vec![2]),
        (three_separators, vec![2, 0, 2]),
        // These post-processors add no tokens, so the special tokens are found by name.
        (byte_level, vec![2, 2]),
        (Value::Null, vec![2, 2]),
    ] {
        let layout = Layout::of(&with_processor(processor.clone())).unwrap();
        assert_eq!((layout.before(), layout.after()), (0, 2), "{processor}");
        assert_eq!(layout.between().unwrap(), between, "{processor}");
    }
}

#[test]
fn the_post_processor_determines_the_segments_of_pairs() {
    let template = |types: [u32; 3]| {
        let [last_separator, second, after] = types;
        let token =
            |id: &str, type_id: u32| json!({"SpecialToken": {"id": id, "type_id": type_id}});
        let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
        let special = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
        json!({"type": "TemplateProcessing",
            "single": [token("<s>", 0), text("A", 0), token("</s>", 0)],
            "pair": [token("<s>", 0), text("A", 0), token("</s>", 0), token("</s>", last_separator),
                text("B", second), token("</s>", after)],
            "special_tokens": {"<s>": special("<s>", 0), "</s>": special("</s>", 2)}})
    };
    let roberta = json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
        "trim_offsets": true, "add_prefix_space": true});
    let bert = json!({"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]});
    for (processor, expected) in [
        (template([0, 0, 0]), None),
        (template([0, 1, 1]), Some(0)),
        (template([1, 1, 1]), Some(1)),
        (roberta, None),
        (bert, Some(0)),
        // Without a post-processor, the tokens are those of XLM-R.
        (Value::Null, None),
    ] {
        let layout = Layout::of(&with_processor(processor.clone())).unwrap();
        assert_eq!(layout.pair_segments().unwrap(), expected, "{processor}");
    }
    let error = Layout::of(&with_processor(template([0, 1, 0]))).unwrap().pair_segments();
    let message = error.unwrap_err().to_string();
    assert!(message.contains("`<s> A </s> </s> B </s>` the types [0, 0, 0, 0, 1, 0]"), "{message}");
    // The base model of this project was trained with segment 1 from the second separator on.
    let base = read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/base")).unwrap();
    assert_eq!(Layout::of(&base).unwrap().pair_segments().unwrap(), Some(1));
}

#[test]
fn truncation_and_padding_do_not_change_the_layout() {
    let mut tokenizer = fixture("wordpiece.json");
    let expected = Layout::of(&tokenizer).unwrap();
    tokenizer.with_padding(Some(tokenizers::PaddingParams {
        strategy: tokenizers::PaddingStrategy::Fixed(64),
        ..Default::default()
    }));
    let truncation = tokenizers::TruncationParams { max_length: 3, ..Default::default() };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    assert_eq!(Layout::of(&tokenizer).unwrap(), expected);
}

#[test]
fn a_padding_token_with_an_unknown_name_is_taken_from_the_padding() {
    let mut json = serde_json::to_value(fixture("wordpiece.json")).unwrap();
    json["added_tokens"][0]["content"] = "[FILL]".into();
    let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
    let pad_id = vocabulary.remove("[PAD]").unwrap();
    vocabulary.insert("[FILL]".into(), pad_id);
    let mut tokenizer: Tokenizer = json.to_string().parse().unwrap();
    let error = Layout::of(&tokenizer).unwrap().pad().unwrap_err().to_string();
    assert!(error.contains("no padding token (supported: <pad>, [PAD]"), "{error}");
    let pad_token = "[FILL]".to_owned();
    let padding = tokenizers::PaddingParams { pad_token, pad_id: 0, ..Default::default() };
    tokenizer.with_padding(Some(padding));
    assert_eq!(Layout::of(&tokenizer).unwrap().pad(), Ok(0));
    // The default padding token, `[PAD]`, is no longer in the vocabulary, so the padding
    // configuration is ignored.
    let padding = tokenizers::PaddingParams { pad_id: 7, ..Default::default() };
    tokenizer.with_padding(Some(padding));
    assert!(Layout::of(&tokenizer).unwrap().pad().is_err());
}

#[test]
fn the_token_marked_special_is_used() {
    let mut json = serde_json::to_value(fixture("wordpiece.json")).unwrap();
    json["model"]["vocab"]["<mask>"] = 3000.into();
    let tokenizer: Tokenizer = json.to_string().parse().unwrap();
    assert_eq!(tokenizer.token_to_id("<mask>"), Some(3000));
    assert_eq!(Layout::of(&tokenizer).unwrap().mask(), Ok(4));
}

#[test]
fn errors_contain_the_unsupported_layout() {
    for (single, layout) in [
        ("<s> $A", "`<s> A`"),
        ("$A </s>", "`A </s>`"),
        ("<s> <s> $A </s>", "`<s> <s> A </s>`"),
        ("<s> $A </s> </s>", "`<s> A </s> </s>`"),
        ("<s> $A $A </s>", "`<s> A A </s>`"),
    ] {
        let error = Layout::of(&with_processor(template(single, "$A $B"))).unwrap_err();
        assert!(matches!(error, LayoutError::Single { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(layout) && message.contains("one token before"), "{message}");
    }
    for (pair, expected) in [
        ("$A $B", "`A B`"),
        ("<s> $A $B </s>", "`<s> A B </s>`"),
        ("<s> $B </s> $A </s>", "`<s> B </s> A </s>`"),
        ("<s> $A </s> $B", "`<s> A </s> B`"),
        ("<s> $A </s> $B </s> </s>", "`<s> A </s> B </s> </s>`"),
        ("</s> $A </s> $B </s>", "`</s> A </s> B </s>`"),
    ] {
        let layout = Layout::of(&with_processor(template("<s> $A </s>", pair))).unwrap();
        // Single texts are still supported.
        assert_eq!(layout.single(&[7]), [0, 7, 2]);
        let message = layout.between().unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("<s> A … B </s>"), "{message}");
        assert_eq!(layout.pair(&[7], &[8]).unwrap_err().to_string(), message);
    }
}

#[test]
fn missing_special_tokens_are_errors_that_list_the_supported_names() {
    let json = r#"{"version": "1.0", "model": {"type": "WordLevel",
        "vocab": {"[UNK]": 0, "<s>": 1, "[SEP]": 2}, "unk_token": "[UNK]"}}"#;
    let error = Layout::of(&json.parse().unwrap()).unwrap_err();
    assert_eq!(error, LayoutError::NoSpecialTokens);
    assert!(error.to_string().contains("<|begin_of_text|> and <|end_of_text|>"), "{error}");
    let message = error.to_string();
    assert!(message.contains("<s> and </s>") && message.contains("[CLS] and [SEP]"), "{message}");

    let json = r#"{"version": "1.0", "model": {"type": "WordLevel",
        "vocab": {"?": 0, "[CLS]": 1, "[SEP]": 2}, "unk_token": "?"}}"#;
    let layout = Layout::of(&json.parse().unwrap()).unwrap();
    assert_eq!(layout.pair(&[7], &[8]).unwrap(), [1, 7, 2, 8, 2]);
    assert_eq!(layout.unknown(), Ok(0));

    // MPNet's vocabulary has two names of unknown tokens.
    let json = r###"{"version": "1.0", "model": {"type": "WordPiece", "unk_token": "[UNK]",
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "[UNK]": 4}}}"###;
    assert_eq!(Layout::of(&json.parse().unwrap()).unwrap().unknown(), Ok(4));
    let message = layout.mask().unwrap_err().to_string();
    assert!(message.contains("no mask token (supported: <mask>, [MASK]"), "{message}");

    // `tokenizers` panics for a template with a token that is missing from `special_tokens`.
    let mut invalid_template = template("<s> $A </s>", "$A $B");
    invalid_template["special_tokens"].as_object_mut().unwrap().remove("</s>");
    let error = Layout::of(&with_processor(invalid_template)).unwrap_err();
    assert!(matches!(error, LayoutError::PostProcessor(_)), "{error}");
}

#[test]
fn separately_encoded_words_give_the_tokens_of_the_text() {
    for (name, after_space, continuation) in [
        ("tokenizer.json", "house", "house"),
        ("wordpiece.json", "house", "##house"),
        ("byte_fallback.json", " house", "house"),
        ("byte_level.json", " house", "house"),
    ] {
        let tokenizer = fixture(name);
        let spacing = Spacing::of(&tokenizer).unwrap();
        assert_eq!(spacing.after_space("house"), after_space, "{name}");
        assert_eq!(spacing.continuation("house"), continuation, "{name}");
        assert_eq!(spacing.marks_spaces(), after_space != "house");
        // If each word is encoded as after a space, the concatenated tokens equal the tokens of the
        // text.
        let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        let word_ids: Vec<u32> =
            ["a", "red", "house"].iter().flat_map(|word| ids(&spacing.after_space(word))).collect();
        assert_eq!(word_ids, ids(&spacing.after_space("a red house")), "{name}");
        let begins_after = |before: &str| spacing.word_begins_after(&tokenizer, before).unwrap();
        assert_eq!(begins_after("("), name == "wordpiece.json");
        assert!(!begins_after("") && !begins_after("b"));
    }
}
