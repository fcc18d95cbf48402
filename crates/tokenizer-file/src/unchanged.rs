//! Settings with which the tokenizer classes of transformers use a `tokenizer.json` unchanged.
use serde_json::{Map, Value, json};
use tokenizers::{
    ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

/// The key of `tokenizer_config.json` with the name of a tokenizer class.
const TOKENIZER_CLASS: &str = "tokenizer_class";

/// The class that uses all parts of `tokenizer.json`.
const PLAIN_CLASS: &str = "PreTrainedTokenizerFast";

/// Changes a `tokenizer_config.json`, so that transformers uses `tokenizer` unchanged. Returns
/// whether the tokenizer class has been replaced by `PreTrainedTokenizerFast`.
///
/// The classes of transformers overwrite parts of `tokenizer.json`:
///
/// - In versions 4 and 5, the classes of BERT overwrite the options of the normaliser by
///   `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`, and the classes of RoBERTa (in
///   version 4 every class) overwrite the option `add_prefix_space` of a byte-level pre-tokenizer.
///   Without a key, a class uses its default. These keys are set to the options of `tokenizer`.
/// - In version 5, a class creates a new normaliser and pre-tokenizer. If `tokenizer` has others,
///   the class is replaced.
///
/// Keys that have no effect are not changed. Sources: transformers 4.57.6 and 5.24.0.
pub fn retain_in_transformers(tokenizer: &Tokenizer, config: &mut Map<String, Value>) -> bool {
    let mut set = |key: &str, value: Value, default: Value| {
        if config.get(key).unwrap_or(&default) != &value {
            config.insert(key.into(), value);
        }
    };
    if let Some(NormalizerWrapper::BertNormalizer(options)) = tokenizer.get_normalizer() {
        set("do_lower_case", json!(options.lowercase), json!(true));
        set("strip_accents", json!(options.strip_accents), json!(null));
        set("tokenize_chinese_chars", json!(options.handle_chinese_chars), json!(true));
    }
    if let Some(PreTokenizerWrapper::ByteLevel(options)) = tokenizer.get_pre_tokenizer() {
        set("add_prefix_space", json!(options.add_prefix_space), json!(false));
    }
    let is_replaced = !has_parts_of_a_class(tokenizer)
        && config.get(TOKENIZER_CLASS) != Some(&json!(PLAIN_CLASS));
    if is_replaced {
        config.insert(TOKENIZER_CLASS.into(), json!(PLAIN_CLASS));
    }
    is_replaced
}

/// Returns whether normaliser, pre-tokenizer and trimming of offsets are those that a class of
/// transformers creates for a model of this kind.
fn has_parts_of_a_class(tokenizer: &Tokenizer) -> bool {
    let (normalizer, pre_tokenizer) = (tokenizer.get_normalizer(), tokenizer.get_pre_tokenizer());
    match tokenizer.get_model() {
        // BERT, DistilBERT, ELECTRA, MPNet.
        ModelWrapper::WordPiece(_) => {
            let clean_text = matches!(normalizer, Some(NormalizerWrapper::BertNormalizer(options)) if options.clean_text);
            clean_text && matches!(pre_tokenizer, Some(PreTokenizerWrapper::BertPreTokenizer(_)))
        }
        // RoBERTa.
        ModelWrapper::BPE(_) => {
            let use_regex = matches!(pre_tokenizer, Some(PreTokenizerWrapper::ByteLevel(options)) if options.use_regex);
            let trim = matches!(tokenizer.get_post_processor(), Some(PostProcessorWrapper::Roberta(options)) if options.trim_offsets);
            normalizer.is_none() && use_regex && trim
        }
        // XLM-R and CamemBERT.
        ModelWrapper::Unigram(_) => {
            let pre_tokenizer = json!(pre_tokenizer);
            let steps = &pre_tokenizer["pretokenizers"];
            let splits_words = steps[0]["type"] == "WhitespaceSplit"
                && steps[1]["type"] == "Metaspace"
                && steps[1]["prepend_scheme"] == "always"
                && steps[2].is_null();
            splits_words && is_character_map(&json!(normalizer))
        }
        ModelWrapper::WordLevel(_) => false,
    }
}

/// Returns whether a normaliser consists of a SentencePiece character map, optionally with the
/// removal of repeated spaces, which has no effect before a split at white space.
fn is_character_map(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        None | Some("Precompiled") => true,
        Some("Sequence") => {
            let steps = normalizer["normalizers"].as_array();
            steps.is_some_and(|steps| steps.iter().all(is_character_map))
        }
        Some("Replace") => normalizer["pattern"] == json!({"Regex": " {2,}"}),
        Some(_) => false,
    }
}
