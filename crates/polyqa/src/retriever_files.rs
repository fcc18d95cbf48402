//! Settings of a sentence encoder from the files of sentence-transformers.
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tasks::pooling::Pooling;

use crate::{Error, Result};

/// Maximum size of a settings file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Pooling, prefixes and maximum length of a sentence encoder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub pooling: Pooling,
    pub query_prefix: String,
    pub passage_prefix: String,
    /// Maximum length in tokens, special tokens included.
    pub max_length: Option<usize>,
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// Reads the settings of a folder; `name` is the name of the folder or repository.
///
/// # Errors
/// [`Error::Read`] or [`Error::Content`] naming the file.
pub(crate) fn load_settings(folder: &Path, name: &str) -> Result<Settings> {
    let config = read_json(&folder.join("sentence_bert_config.json"))?.unwrap_or_default();
    let max_length = config.get("max_seq_length").and_then(Value::as_u64);
    let [query_prefix, passage_prefix] = read_prefixes(folder, name)?;
    Ok(Settings {
        pooling: read_pooling(folder)?,
        query_prefix,
        passage_prefix,
        max_length: max_length.and_then(|length| usize::try_from(length).ok()),
    })
}

fn read_pooling(folder: &Path) -> Result<Pooling> {
    let path = pooling_file(folder)?;
    let Some(config) = read_json(&path)? else { return Ok(Pooling::Mean) };
    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    let modes = config.as_object().into_iter().flatten();
    let modes = modes
        .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true));
    let mut modes: Vec<&str> = modes.map(|(key, _)| key.as_str()).collect();
    modes.extend(config.get("pooling_mode").and_then(Value::as_str));
    match modes.as_slice() {
        _ if flag("include_prompt") == Some(false) => {
            Err(file_error(&path, "include_prompt: false is not supported"))
        }
        ["pooling_mode_mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["pooling_mode_cls_token" | "cls"] => Ok(Pooling::First),
        modes => {
            let modes = modes.join(", ");
            let problem =
                format!("unsupported pooling [{modes}] (supported: mean_tokens or cls_token)");
            Err(file_error(&path, problem))
        }
    }
}

/// Returns the path of the pooling configuration according to `modules.json`, or the default path.
fn pooling_file(folder: &Path) -> Result<PathBuf> {
    let default_path = folder.join("1_Pooling/config.json");
    let path = folder.join("modules.json");
    let Some(list) = read_json(&path)? else { return Ok(default_path) };
    let modules: Vec<Module> = serde_json::from_value(list)
        .map_err(|error| file_error(&path, format!("not a list of modules: {error}")))?;
    let mut pooling = default_path;
    for module in &modules {
        match module.r#type.rsplit('.').next().unwrap_or_default() {
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
fn read_prefixes(folder: &Path, name: &str) -> Result<[String; 2]> {
    let config = read_json(&folder.join("config_sentence_transformers.json"))?.unwrap_or_default();
    let prompt = |keys: [&str; 2]| {
        let prompt = keys.into_iter().find_map(|key| config.get("prompts")?.get(key)?.as_str());
        prompt.unwrap_or_default().to_owned()
    };
    let prompts = [prompt(["query", "question"]), prompt(["passage", "document"])];
    // Empty prompts count as missing, because newer versions of sentence-transformers write them
    // for every model.
    if prompts.iter().any(|prompt| !prompt.is_empty()) {
        return Ok(prompts);
    }
    let is_e5 = is_e5(name) || is_e5(&card_title(folder));
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
fn card_title(folder: &Path) -> String {
    let card = atomic_file::read_to_string_limited(folder.join("README.md"), MAX_BYTES);
    let card = card.unwrap_or_default();
    let heading = card.lines().find(|line| line.starts_with("# ")).unwrap_or_default();
    let base_model = card.lines().find(|line| line.starts_with("base_model:")).unwrap_or_default();
    format!("{base_model} {heading}")
}

/// Reads a JSON file; `None` if it does not exist.
fn read_json(path: &Path) -> Result<Option<Value>> {
    match atomic_file::read_limited(path, MAX_BYTES) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(file_error(path, error)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::read(path, source)),
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
        let outside_path = modules.replace("1_Pooling", "../1_Pooling");
        let dense = modules.replace("Normalize", "Dense");
        let pooling = |config| ("1_Pooling/config.json", config);
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
            (&[max], "1_Pooling/config.json: unsupported pooling [pooling_mode_max_tokens]"),
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
    }
}
