//! Whether transformers passes token types to a folder's model.
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use crate::{Error, model_folder};

pub(crate) const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
pub(crate) const CONFIG_FILE: &str = "config.json";

/// The key of `tokenizer_config.json` that lists the inputs of a model.
pub const MODEL_INPUT_NAMES: &str = "model_input_names";

/// The name of the input with token types.
const TOKEN_TYPES: &str = "token_type_ids";

/// Maximum size of a configuration file in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Tokenizer classes whose default inputs contain token types, without the suffix `Fast`. They have
/// these inputs in transformers 4.57 and 5.24.
const CLASSES_WITH_TYPES: [&str; 4] =
    ["BertTokenizer", "ElectraTokenizer", "DebertaTokenizer", "DebertaV2Tokenizer"];

/// The class of a tokenizer without rules of its own. Its default inputs contain token types in
/// transformers 4, and no token types in transformers 5.
const PLAIN_CLASS: &str = "PreTrainedTokenizer";

/// RemBERT's class. As [`PLAIN_CLASS`], its default inputs contain token types only in transformers
/// 4.
const REMBERT_CLASS: &str = "RemBertTokenizer";

/// A key that only transformers 5 writes to `tokenizer_config.json`.
const VERSION_5_KEY: &str = "backend";

/// Model types whose tokenizer class has token types, for folders that name no class.
const MODEL_TYPES_WITH_TYPES: [&str; 5] = ["bert", "electra", "deberta", "deberta-v2", "rembert"];

/// Returns whether the tokenizer of a model folder returns token types (segments) in transformers.
///
/// As in transformers, the list `model_input_names` in `tokenizer_config.json` decides. Without a
/// list, the tokenizer's class decides, which is `tokenizer_class` in `tokenizer_config.json` or
/// `config.json`. Without a class, `model_type` in `config.json` decides. The classes of BERT,
/// ELECTRA and DeBERTa return token types. The classes of XLM-R, RoBERTa, CamemBERT, DistilBERT
/// and MPNet do not, and neither does the class that transformers 5 uses in place of an unknown class.
///
/// `PreTrainedTokenizerFast` and RemBERT's class return token types in transformers 4 and none in
/// transformers 5. They count as classes with token types, unless the file has the key `backend`,
/// which only transformers 5 writes.
///
/// # Errors
/// [`Error::Read`] or [`Error::Content`] for a configuration file that cannot be read, is not a JSON
/// object, or has a list of inputs that is not a list of names; the errors of [`model_folder`].
pub fn returns_token_types(folder: impl AsRef<Path>) -> Result<bool, Error> {
    let folder = model_folder(folder)?;
    let path = folder.join(TOKENIZER_CONFIG_FILE);
    let tokenizer_config = read_object(&path)?;
    match &tokenizer_config[MODEL_INPUT_NAMES] {
        Value::Null => {}
        Value::Array(names) if names.iter().all(Value::is_string) => {
            return Ok(names.iter().any(|name| name == TOKEN_TYPES));
        }
        other => {
            let problem = format!("{MODEL_INPUT_NAMES}: expected a list of names, got {other}");
            return Err(Error::Content { path, problem });
        }
    }
    let config = read_object(&folder.join(CONFIG_FILE))?;
    let class = tokenizer_config["tokenizer_class"].as_str();
    let class = class.or_else(|| config["tokenizer_class"].as_str());
    Ok(match class.map(|class| class.strip_suffix("Fast").unwrap_or(class)) {
        Some(PLAIN_CLASS | REMBERT_CLASS) => tokenizer_config.get(VERSION_5_KEY).is_none(),
        Some(class) => CLASSES_WITH_TYPES.contains(&class),
        None => {
            let model_type = config["model_type"].as_str();
            model_type.is_some_and(|model_type| MODEL_TYPES_WITH_TYPES.contains(&model_type))
        }
    })
}

/// Reads a JSON object; null if the file does not exist.
pub(crate) fn read_object(path: &Path) -> Result<Value, Error> {
    let content_error = |problem| Error::Content { path: path.to_owned(), problem };
    match atomic_file::read_limited(path, MAX_BYTES) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error.into()),
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(content_error("expected a JSON object".into())),
            Err(error) => Err(content_error(error.to_string())),
        },
    }
}
