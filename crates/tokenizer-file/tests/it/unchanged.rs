//! Tests of the settings with which transformers uses a `tokenizer.json` unchanged. The settings'
//! effect in transformers is tested in `xlmr-model`.
use serde_json::{Value, json};
use testkit::fixture;
use tokenizer_file::retain_in_transformers;
use tokenizers::Tokenizer;

/// Returns the tokenizer in the fixture `name` after a change.
fn tokenizer(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let text = std::fs::read(fixture(name)).unwrap();
    let mut json: Value = serde_json::from_slice(&text).unwrap();
    change(&mut json);
    json.to_string().parse().unwrap()
}

/// Returns the changed configuration, and whether the class has been replaced.
fn retain(tokenizer: &Tokenizer, config: &Value) -> (Value, bool) {
    let mut changed = config.as_object().unwrap().clone();
    let is_replaced = retain_in_transformers(tokenizer, &mut changed);
    (changed.into(), is_replaced)
}

#[test]
fn settings_of_the_file_replace_other_values_and_defaults() {
    let cased = tokenizer("wordpiece.json", |_| {});
    let uncased = tokenizer("wordpiece.json", |json| {
        json["normalizer"]["lowercase"] = true.into();
        json["normalizer"]["strip_accents"] = Value::Null;
    });
    let roberta = |prefix: bool| {
        tokenizer("byte_level.json", |json| {
            json["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": prefix,
                "trim_offsets": true, "use_regex": true});
            json["post_processor"] = json!({"type": "RobertaProcessing", "trim_offsets": true,
                "add_prefix_space": prefix, "sep": ["</s>", 2], "cls": ["<s>", 0]});
        })
    };
    let (bert, roberta_class) = ("BertTokenizer", "RobertaTokenizer");
    for (tokenizer, class, stored, expected) in [
        (&cased, bert, json!({}), json!({"do_lower_case": false, "strip_accents": false})),
        (
            &cased,
            bert,
            json!({"do_lower_case": true}),
            json!({"do_lower_case": false,
            "strip_accents": false}),
        ),
        (&uncased, bert, json!({}), json!({})),
        (&uncased, bert, json!({"do_lower_case": true}), json!({"do_lower_case": true})),
        (
            &uncased,
            bert,
            json!({"strip_accents": true, "tokenize_chinese_chars": false}),
            json!({"strip_accents": null, "tokenize_chinese_chars": true}),
        ),
        (&roberta(false), roberta_class, json!({}), json!({})),
        (&roberta(true), roberta_class, json!({}), json!({"add_prefix_space": true})),
        (
            &roberta(false),
            roberta_class,
            json!({"add_prefix_space": true}),
            json!({"add_prefix_space": false}),
        ),
    ] {
        let with_class = |mut config: Value| {
            config["tokenizer_class"] = class.into();
            config
        };
        let (changed, is_replaced) = retain(tokenizer, &with_class(stored.clone()));
        assert_eq!((changed, is_replaced), (with_class(expected), false), "{stored}");
    }
}

#[test]
fn a_class_that_would_drop_a_part_is_replaced() {
    let step = |kind: &'static str| {
        move |json: &mut Value| {
            let steps = json!([{"type": kind}, json["normalizer"]]);
            json["normalizer"] = json!({"type": "Sequence", "normalizers": steps});
        }
    };
    let class = json!({"tokenizer_class": "C"});
    for (tokenizer, expected) in [
        (tokenizer("tokenizer.json", |_| {}), false),
        (tokenizer("tokenizer.json", |json| json["normalizer"] = Value::Null), false),
        (tokenizer("tokenizer.json", step("Lowercase")), true),
        (
            tokenizer("tokenizer.json", |json| {
                json["pre_tokenizer"] = json["pre_tokenizer"]["pretokenizers"][1].clone();
            }),
            true,
        ),
        (tokenizer("wordpiece.json", step("NFKC")), true),
        (tokenizer("wordpiece.json", |json| json["normalizer"]["clean_text"] = false.into()), true),
        // Byte-level BPE with a pattern of its own, and BPE over pieces.
        (tokenizer("byte_level.json", |_| {}), true),
        (tokenizer("byte_fallback.json", |_| {}), true),
    ] {
        let (changed, is_replaced) = retain(&tokenizer, &class);
        assert_eq!(is_replaced, expected, "{changed}");
        let name = if expected { "PreTrainedTokenizerFast" } else { "C" };
        assert_eq!(changed["tokenizer_class"], name);
        // A replaced class is not replaced again.
        assert_eq!(retain(&tokenizer, &changed), (changed.clone(), false));
    }
}
