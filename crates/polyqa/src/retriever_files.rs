//! Settings of a sentence encoder from the files of sentence-transformers.
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tasks::pooling::Pooling;

use crate::{Error, Result};

/// Maximum size of a settings file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Maximum size of a model card in bytes. Cards can list the results of many benchmarks.
const MAX_CARD_BYTES: u64 = 64 << 20;

/// Files with the settings of the transformer, in the order in which sentence-transformers reads
/// them.
const TRANSFORMER_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// File with the settings of the whole model.
const MODEL_FILE: &str = "config_sentence_transformers.json";

const MODULES_FILE: &str = "modules.json";

/// Pooling, prefixes and limits of a sentence encoder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub pooling: Pooling,
    pub query_prefix: String,
    pub passage_prefix: String,
    /// Maximum length in tokens, special tokens included.
    pub max_length: Option<usize>,
    /// Whether longer texts lose their start, not their end.
    pub truncate_start: bool,
    /// Whether texts with their prefixes are lower-cased before tokenisation.
    pub lower_case: bool,
    /// Number of elements to which embeddings are truncated.
    pub truncate_dim: Option<usize>,
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

impl Module {
    /// Returns the name of the module's class.
    fn class(&self) -> &str {
        self.r#type.rsplit_once('.').map_or(&self.r#type, |(_module, class)| class)
    }
}

/// Reads the settings of a folder; `name` is the name of the folder or repository.
///
/// # Errors
/// [`Error::Read`] or [`Error::Content`] naming the file and the key, also for a model that is not a
/// sentence encoder, such as a cross-encoder or a reader.
pub(crate) fn load_settings(folder: &Path, name: &str) -> Result<Settings> {
    let modules = read_modules(folder)?;
    let transformer = transformer_folder(folder)?;
    check_class(&transformer, &modules)?;
    let (path, config) = read_first(&transformer, &TRANSFORMER_FILES)?;
    expect_one_of(&path, &config, "transformer_task", &["feature-extraction"])?;
    check_output(&path, &config)?;
    if let Some(kwargs) = config.get("processing_kwargs").filter(|kwargs| !is_empty(kwargs)) {
        let problem =
            format!("processing_kwargs: expected none, got {kwargs}: it is not supported");
        return Err(file_error(&path, problem));
    }
    let model_path = folder.join(MODEL_FILE);
    let model_config = read_json(&model_path)?.unwrap_or(Value::Null);
    expect_one_of(&model_path, &model_config, "model_type", &["SentenceTransformer"])?;
    let truncate_dim = read_count(&model_path, &model_config, "truncate_dim")?;
    check_similarity(&model_path, &model_config, &modules, truncate_dim)?;
    let [query_prefix, passage_prefix] = read_prefixes(folder, &model_path, &model_config, name)?;
    Ok(Settings {
        pooling: read_pooling(folder, &modules)?,
        query_prefix,
        passage_prefix,
        max_length: read_max_length(&transformer, &path, &config)?,
        truncate_start: read_truncate_start(&transformer, &path, &config)?,
        lower_case: read_bool(&path, &config, "do_lower_case")?,
        truncate_dim,
    })
}

/// Returns an error if the embeddings are not computed from the last hidden states.
fn check_output(path: &Path, config: &Value) -> Result<()> {
    for (key, expected) in [("method", "forward"), ("method_output_name", "last_hidden_state")] {
        let value =
            config.get("modality_config").and_then(|modalities| modalities["text"].get(key));
        match value.filter(|value| !value.is_null()) {
            Some(value) if value != expected => {
                let key = format!("modality_config.text.{key}");
                return Err(file_error(path, format!("{key}: expected {expected:?}, got {value}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the folder of the transformer, which older versions of sentence-transformers write to a
/// subfolder.
fn transformer_folder(folder: &Path) -> Result<PathBuf> {
    tokenizer_file::model_folder(folder)
        .map_err(|error| file_error(&folder.join(MODULES_FILE), error.problem()))
}

/// Returns the modules of a model; empty if there is no list.
fn read_modules(folder: &Path) -> Result<Vec<Module>> {
    let path = folder.join(MODULES_FILE);
    let Some(list) = read_json(&path)? else { return Ok(Vec::new()) };
    serde_json::from_value(list)
        .map_err(|error| file_error(&path, format!("not a list of modules: {error}")))
}

/// Returns an error if `config.json` names a class with a head for answers or labels. A pooling
/// module shows that the model is used without the head.
fn check_class(transformer: &Path, modules: &[Module]) -> Result<()> {
    let path = transformer.join("config.json");
    let config = read_json(&path)?.unwrap_or(Value::Null);
    let class = config["architectures"][0].as_str().unwrap_or(""); // no class is named
    let kind = [
        ("ForQuestionAnswering", "a reader"),
        ("ForSequenceClassification", "a cross-encoder or a classifier"),
        ("ForTokenClassification", "a token classifier"),
        ("ForMultipleChoice", "a multiple-choice model"),
    ];
    let kind = kind.iter().find(|(suffix, _)| class.ends_with(suffix));
    match kind.filter(|_| !modules.iter().any(|module| module.class() == "Pooling")) {
        None => Ok(()),
        Some((_, kind)) => {
            let problem = format!(
                "architectures: expected the class of an encoder, got {class:?}: this is {kind}, not a \
                 sentence encoder"
            );
            Err(file_error(&path, problem))
        }
    }
}

/// Returns an error if `key` is present and not one of the `supported` names.
fn expect_one_of(path: &Path, config: &Value, key: &str, supported: &[&str]) -> Result<()> {
    match config.get(key).filter(|value| !value.is_null()) {
        Some(value) if !value.as_str().is_some_and(|name| supported.contains(&name)) => {
            let supported = supported.join("\" or \"");
            Err(file_error(path, format!("{key}: expected \"{supported}\", got {value}")))
        }
        _ => Ok(()),
    }
}

/// Returns an error if the model's similarity function orders passages differently from the cosine.
/// On embeddings of norm 1, the dot product and the Euclidean distance have the cosine's order.
fn check_similarity(
    path: &Path,
    config: &Value,
    modules: &[Module],
    truncate_dim: Option<usize>,
) -> Result<()> {
    let is_normalized = modules.last().is_some_and(|module| module.class() == "Normalize");
    let supported: &[&str] = match is_normalized && truncate_dim.is_none() {
        true => &["cosine", "dot", "euclidean"],
        false => &["cosine"],
    };
    expect_one_of(path, config, "similarity_fn_name", supported)
}

/// Reads the maximum length in tokens as sentence-transformers does: from the tokenizer's options or
/// `max_seq_length` in the transformer's settings, else from the tokenizer's configuration.
fn read_max_length(transformer: &Path, path: &Path, config: &Value) -> Result<Option<usize>> {
    const KEY: &str = "model_max_length";
    for options in ["processor_kwargs", "tokenizer_args"] {
        if let Some(options) = config.get(options).filter(|value| !value.is_null())
            && let Some(length) = read_count(path, options, KEY)?
        {
            return Ok(Some(length));
        }
    }
    if let Some(length) = read_count(path, config, "max_seq_length")? {
        return Ok(Some(length));
    }
    let path = transformer.join("tokenizer_config.json");
    match read_json(&path)? {
        Some(config) => read_count(&path, &config, KEY),
        None => Ok(None),
    }
}

/// Reads the side at which long texts are truncated, from the tokenizer's options or configuration.
fn read_truncate_start(transformer: &Path, path: &Path, config: &Value) -> Result<bool> {
    const KEY: &str = "truncation_side";
    let tokenizer_path = transformer.join("tokenizer_config.json");
    let tokenizer_config = read_json(&tokenizer_path)?;
    let options = ["processor_kwargs", "tokenizer_args"].map(|key| (path, config.get(key)));
    for (path, options) in
        options.into_iter().chain([(&*tokenizer_path, tokenizer_config.as_ref())])
    {
        match options.and_then(|options| options.get(KEY)) {
            None | Some(Value::Null) => {}
            Some(Value::String(side)) if side == "right" => return Ok(false),
            Some(Value::String(side)) if side == "left" => return Ok(true),
            Some(other) => {
                let problem = format!("{KEY}: expected \"left\" or \"right\", got {other}");
                return Err(file_error(path, problem));
            }
        }
    }
    Ok(false)
}

/// Reads a positive integer; `None` if the key is absent or null, or if the number exceeds the
/// range of 64 bits, which means "no limit" in the files of transformers.
fn read_count(path: &Path, config: &Value, key: &str) -> Result<Option<usize>> {
    let value = match config.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if count > 0 => Ok(Some(count)),
        _ if value.as_f64().is_some_and(|number| number >= 1e18) => Ok(None),
        _ => Err(file_error(path, format!("{key}: expected a positive integer, got {value}"))),
    }
}

/// Reads a boolean; false if the key is absent or null.
fn read_bool(path: &Path, config: &Value, key: &str) -> Result<bool> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(file_error(path, format!("{key}: expected true or false, got {other}"))),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

/// The keys of earlier versions, one for each pooling mode, in the order of sentence-transformers.
const MODE_KEYS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

fn read_pooling(folder: &Path, modules: &[Module]) -> Result<Pooling> {
    let path = pooling_file(folder, modules)?;
    let Some(config) = read_json(&path)? else { return Ok(Pooling::Mean) };
    if config.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(file_error(&path, "include_prompt: false is not supported"));
    }
    let pooling_error = |got: String| {
        let problem = format!("pooling_mode: expected \"mean\" or \"cls\", got {got}");
        file_error(&path, problem)
    };
    let modes: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(modes)) => {
            let names: Option<Vec<&str>> = modes.iter().map(Value::as_str).collect();
            names.ok_or_else(|| pooling_error(format!("{modes:?}")))?
        }
        Some(other) if !other.is_null() => return Err(pooling_error(other.to_string())),
        _ => {
            let mut modes = Vec::new();
            for (key, mode) in MODE_KEYS {
                if read_bool(&path, &config, key)? {
                    modes.push(mode);
                }
            }
            // As in sentence-transformers, the mean is the default.
            if modes.is_empty() { vec!["mean"] } else { modes }
        }
    };
    match modes.as_slice() {
        ["mean"] => Ok(Pooling::Mean),
        ["cls"] => Ok(Pooling::First),
        [mode] => Err(pooling_error(format!("{mode:?}"))),
        modes => Err(pooling_error(format!("the concatenation of {modes:?}"))),
    }
}

/// Returns the path of the pooling configuration according to `modules.json`, or the default path.
fn pooling_file(folder: &Path, modules: &[Module]) -> Result<PathBuf> {
    let path = folder.join(MODULES_FILE);
    let mut pooling = folder.join("1_Pooling/config.json");
    for module in modules {
        match module.class() {
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let relative = Path::new(&module.path);
                pooling = folder.join(relative).join("config.json");
                let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
                if !inside || !pooling.is_file() {
                    let problem =
                        format!("there is no {:?} for its Pooling module", pooling.display());
                    return Err(file_error(&path, format!("{problem}; copy the whole model")));
                }
            }
            other => {
                let allowed = "supported: Transformer, Pooling, Normalize";
                return Err(file_error(&path, format!("unsupported module {other:?} ({allowed})")));
            }
        }
    }
    Ok(pooling)
}

/// Returns the prefixes of questions and passages.
///
/// As in `encode_document` of sentence-transformers, the first present key of `document`, `passage`
/// and `corpus` is the prompt of passages, even if it is empty.
fn read_prefixes(folder: &Path, path: &Path, config: &Value, name: &str) -> Result<[String; 2]> {
    let prompt = |keys: &[&str]| -> Result<String> {
        let prompts = config.get("prompts").unwrap_or(&Value::Null);
        match keys.iter().find_map(|&key| Some((key, prompts.get(key)?))) {
            None | Some((_, Value::Null)) => Ok(String::new()),
            Some((_, Value::String(text))) => Ok(text.clone()),
            Some((key, other)) => {
                Err(file_error(path, format!("prompts.{key}: expected a text, got {other}")))
            }
        }
    };
    let prompts = [prompt(&["query", "question"])?, prompt(&["document", "passage", "corpus"])?];
    // Empty prompts count as missing, because newer versions of sentence-transformers write them
    // for every model.
    if prompts.iter().any(|prompt| !prompt.is_empty()) {
        return Ok(prompts);
    }
    let is_e5 = is_e5(name) || is_e5(&card_title(folder)?);
    Ok(if is_e5 { ["query: ".into(), "passage: ".into()] } else { prompts })
}

/// Returns whether a name contains the word E5, as in `multilingual-e5-small`. Models with
/// `instruct` in their name are excluded because they require a prompt that describes the task.
fn is_e5(name: &str) -> bool {
    let has_word = |expected: &str| {
        name.split(|c: char| !c.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case(expected))
    };
    has_word("e5") && !has_word("instruct")
}

/// Returns the base model and the first heading of a model card. The rest of the card is ignored,
/// because it may mention other models.
///
/// # Errors
/// [`Error::Read`] if there is a card that cannot be read.
fn card_title(folder: &Path) -> Result<String> {
    let path = folder.join("README.md");
    let card = match atomic_file::read_to_string_limited(&path, MAX_CARD_BYTES) {
        Ok(card) => card,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    let line = |start: &str| card.lines().find(|line| line.starts_with(start)).unwrap_or("");
    Ok(format!("{} {}", line("base_model:"), line("# ")))
}

/// Reads the first existing file of `names`; returns its path with an empty value if none exists.
fn read_first(folder: &Path, names: &[&str]) -> Result<(PathBuf, Value)> {
    for name in names {
        let path = folder.join(name);
        if let Some(config) = read_json(&path)? {
            return Ok((path, config));
        }
    }
    Ok((folder.join(names[0]), Value::Null))
}

/// Reads a JSON file; `None` if it does not exist.
fn read_json(path: &Path) -> Result<Option<Value>> {
    match atomic_file::read_limited(path, MAX_BYTES) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(file_error(path, error)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn file_error(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::Content { path: path.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_settings(name: &str, files: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        load_settings(folder.path(), name)
    }

    fn prefixes(name: &str, files: &[(&str, &str)]) -> [String; 2] {
        let settings = read_settings(name, files).unwrap();
        [settings.query_prefix, settings.passage_prefix]
    }

    const POOLING: (&str, &str) = (
        "1_Pooling/config.json",
        r#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": true,
            "pooling_mode_mean_tokens": false, "include_prompt": true}"#,
    );

    #[test]
    fn the_truncated_side_is_that_of_the_tokenizer() {
        let truncate_start = |files: &[(&str, &str)]| {
            read_settings("mine", files).map(|settings| settings.truncate_start)
        };
        let left = ("tokenizer_config.json", r#"{"truncation_side": "left"}"#);
        let right =
            ("sentence_bert_config.json", r#"{"processor_kwargs": {"truncation_side": "right"}}"#);
        assert!(!truncate_start(&[]).unwrap());
        assert!(truncate_start(&[left]).unwrap());
        assert!(!truncate_start(&[left, right]).unwrap());
        let other = ("tokenizer_config.json", r#"{"truncation_side": "both"}"#);
        let error = truncate_start(&[other]).unwrap_err().to_string();
        assert!(error.contains("truncation_side") && error.contains("\"both\""), "{error}");
    }

    #[test]
    fn outputs_other_than_hidden_states_are_errors() {
        let settings = |output: &str| {
            let config = format!(
                r#"{{"modality_config": {{"text": {{"method": "forward", "method_output_name": {output}}}}}}}"#
            );
            read_settings("mine", &[("sentence_bert_config.json", &config)])
        };
        settings("\"last_hidden_state\"").unwrap();
        let error = settings("\"pooler_output\"").unwrap_err().to_string();
        assert!(error.contains("modality_config.text.method_output_name"), "{error}");
    }

    #[test]
    fn settings_are_read_from_the_files_of_sentence_transformers() {
        let default = read_settings("bge", &[]).unwrap();
        assert_eq!((default.pooling, default.max_length), (Pooling::Mean, None));
        let modules = r#"[
            {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
        let length = ("sentence_bert_config.json", r#"{"max_seq_length": 128}"#);
        let settings = read_settings("bge", &[("modules.json", modules), POOLING, length]).unwrap();
        assert_eq!((settings.pooling, settings.max_length), (Pooling::First, Some(128)));
        assert_eq!(read_settings("bge", &[POOLING]).unwrap().pooling, Pooling::First);
        let new_format = ("1_Pooling/config.json", r#"{"pooling_mode": "mean"}"#);
        assert_eq!(read_settings("bge", &[new_format]).unwrap().pooling, Pooling::Mean);
        let list = ("1_Pooling/config.json", r#"{"pooling_mode": ["cls"]}"#);
        assert_eq!(read_settings("bge", &[list]).unwrap().pooling, Pooling::First);
        let none = ("1_Pooling/config.json", r#"{"pooling_mode_cls_token": false}"#);
        assert_eq!(read_settings("bge", &[none]).unwrap().pooling, Pooling::Mean);
        // The tokenizer's maximum length applies unless the transformer's settings have one.
        let tokenizer = ("tokenizer_config.json", r#"{"model_max_length": 64}"#);
        assert_eq!(read_settings("bge", &[tokenizer]).unwrap().max_length, Some(64));
        assert_eq!(read_settings("bge", &[tokenizer, length]).unwrap().max_length, Some(128));
        let endless = ("tokenizer_config.json", r#"{"model_max_length": 1e30}"#);
        assert_eq!(read_settings("bge", &[endless]).unwrap().max_length, None);
        let options = (
            "sentence_xlm-roberta_config.json",
            r#"{"max_seq_length": 32, "do_lower_case": true, "transformer_task": "feature-extraction"}"#,
        );
        let settings = read_settings("bge", &[tokenizer, options]).unwrap();
        assert_eq!((settings.max_length, settings.lower_case), (Some(32), true));
        let truncated = (MODEL_FILE, r#"{"truncate_dim": 256, "similarity_fn_name": "cosine"}"#);
        assert_eq!(read_settings("bge", &[truncated]).unwrap().truncate_dim, Some(256));
        // On embeddings of norm 1, the dot product has the cosine's order.
        let dot =
            (MODEL_FILE, r#"{"similarity_fn_name": "dot", "model_type": "SentenceTransformer"}"#);
        assert!(read_settings("bge", &[("modules.json", modules), POOLING, dot]).is_ok());
        // A pooling module shows that the head in config.json is not used.
        let reader = ("config.json", r#"{"architectures": ["BertForQuestionAnswering"]}"#);
        assert!(read_settings("bge", &[("modules.json", modules), POOLING, reader]).is_ok());
        let outside_path = modules.replace("1_Pooling", "../1_Pooling");
        let dense = modules.replace("Normalize", "Dense");
        let pooling = |config| ("1_Pooling/config.json", config);
        let class = |class: &str| -> (&str, &str) {
            let config = format!(r#"{{"architectures": ["{class}"]}}"#);
            ("config.json", Box::leak(config.into_boxed_str()))
        };
        let max =
            pooling(r#"{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": false}"#);
        for (files, problem) in [
            (&[("modules.json", modules)][..], "modules.json: there is no"),
            (&[("modules.json", outside_path.as_str()), POOLING], "modules.json: there is no"),
            (
                &[("modules.json", dense.as_str()), POOLING],
                "modules.json: unsupported module \"Dense\"",
            ),
            (&[pooling(r#"{"include_prompt": false}"#)], "include_prompt"),
            (
                &[max],
                "1_Pooling/config.json: pooling_mode: expected \"mean\" or \"cls\", got \"max\"",
            ),
            (
                &[pooling(r#"{"pooling_mode": ["mean", "cls"]}"#)],
                r#"pooling_mode: expected "mean" or "cls", got the concatenation of ["mean", "cls"]"#,
            ),
            (
                &[pooling(r#"{"pooling_mode": 3}"#)],
                "pooling_mode: expected \"mean\" or \"cls\", got 3",
            ),
            (
                &[(MODEL_FILE, r#"{"similarity_fn_name": "dot"}"#)],
                "similarity_fn_name: expected \"cosine\", got \"dot\"",
            ),
            (
                &[(MODEL_FILE, r#"{"truncate_dim": 0}"#)],
                "truncate_dim: expected a positive integer",
            ),
            (
                &[(MODEL_FILE, r#"{"model_type": "CrossEncoder"}"#)],
                "model_type: expected \"SentenceTransformer\", got \"CrossEncoder\"",
            ),
            (
                &[("sentence_bert_config.json", r#"{"transformer_task": "fill-mask"}"#)],
                "transformer_task: expected \"feature-extraction\", got \"fill-mask\"",
            ),
            (&[class("XLMRobertaForQuestionAnswering")], "this is a reader"),
            (&[class("BertForSequenceClassification")], "this is a cross-encoder or a classifier"),
            (
                &[("config_sentence_transformers.json", "{")],
                "config_sentence_transformers.json: EOF",
            ),
        ] {
            let error = read_settings("bge", files).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn prefixes_come_from_prompts_or_the_name_e5() {
        let e5 = ["query: ", "passage: "];
        assert_eq!(prefixes("multilingual-e5-small-trimmed", &[]), e5);
        let card = |text| prefixes("mine", &[("README.md", text)]);
        assert_eq!(card("---\nbase_model: intfloat/multilingual-e5-base\n---\n# Mine\n"), e5);
        assert_eq!(card("# A model\n\nBetter than E5.\n"), ["", ""]);
        assert_eq!(prefixes("multilingual-e5-large-instruct", &[]), ["", ""]);
        let file = "config_sentence_transformers.json";
        let prompts = r#"{"prompts": {"query": "q: ", "document": "d: "}}"#;
        assert_eq!(prefixes("multilingual-e5-small", &[(file, prompts)]), ["q: ", "d: "]);
        let empty = r#"{"prompts": {"query": "", "document": ""}}"#;
        assert_eq!(prefixes("multilingual-e5-small", &[(file, empty)]), e5);
        let both = r#"{"prompts": {"query": "q: ", "document": "", "passage": "p: "}}"#;
        assert_eq!(prefixes("mine", &[(file, both)]), ["q: ", ""]);
        let passage = r#"{"prompts": {"query": "q: ", "passage": "p: ", "corpus": "c: "}}"#;
        assert_eq!(prefixes("mine", &[(file, passage)]), ["q: ", "p: "]);
    }
}
