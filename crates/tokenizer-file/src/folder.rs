//! Finds the folder of a model's transformer and its tokenizer file.
use std::io::{Error as IoError, ErrorKind};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::Error;
use crate::sentencepiece::CONVERSION_ADVICE;
use crate::token_types::{CONFIG_FILE, read_object};

/// Supported tokenizer files, in order of preference.
const FILES: [&str; 3] = ["tokenizer.json", SENTENCEPIECE_FILE, "spm.model"];

/// The SentencePiece model of XLM-R and CamemBERT.
const SENTENCEPIECE_FILE: &str = "sentencepiece.bpe.model";

/// Tokenizer files of unsupported formats.
const UNSUPPORTED_FILES: [&str; 5] =
    ["vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "tekken.json"];

/// File with the list of modules of a sentence-transformers model.
pub(crate) const MODULES_FILE: &str = "modules.json";

/// Maximum size of `modules.json` in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// An entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    /// Path relative to the folder of `modules.json`; empty for this folder itself.
    path: String,
    /// Name of a Python class.
    r#type: String,
}

/// Returns the folder with the files of a model's transformer: `folder` itself or, for a
/// sentence-transformers model, the subfolder of the `Transformer` module in `modules.json`
/// (`0_Transformer`). Other modules, such as pooling, are ignored.
///
/// # Errors
/// [`Error::Read`] or [`Error::Content`] if `modules.json` cannot be read, is not a list of
/// modules, or contains a path that is not a subfolder.
pub fn model_folder(folder: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let folder = folder.as_ref();
    let path = folder.join(MODULES_FILE);
    let text = match atomic_file::read_limited(&path, MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(folder.to_owned()),
        Err(error) => return Err(error.into()),
    };
    let content_error = |problem| Error::Content { path: path.clone(), problem };
    let modules: Vec<Module> =
        serde_json::from_slice(&text).map_err(|error| content_error(error.to_string()))?;
    let is_transformer = |module: &&Module| module.r#type.rsplit('.').next() == Some("Transformer");
    let Some(Module { path: module_path, .. }) = modules.iter().find(is_transformer) else {
        return Ok(folder.to_owned());
    };
    let subfolder = folder.join(module_path);
    if !Path::new(module_path).components().all(|part| matches!(part, Component::Normal(_)))
        || !subfolder.is_dir()
    {
        return Err(content_error(format!(
            "its Transformer module is in {module_path:?}, which is not a subfolder; copy the whole model"
        )));
    }
    Ok(subfolder)
}

/// Returns the tokenizer file that [`read`](crate::read) uses for a path. For a model folder, this
/// is the first existing file of `tokenizer.json`, `sentencepiece.bpe.model` (XLM-R) and
/// `spm.model` (DeBERTa) in the folder that [`model_folder`] returns. A path that is not a folder
/// is returned unchanged.
///
/// # Errors
/// [`Error::Read`] with the folder and the supported files. If the folder has only an unsupported
/// tokenizer (`vocab.txt`, `spiece.model`, the SentencePiece model of CamemBERT), the error
/// explains how to convert it. [`Error::Content`] if the `config.json` next to a SentencePiece model
/// is not a JSON object. Also the errors of [`model_folder`].
pub fn find(path: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let path = path.as_ref();
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let folder = model_folder(path)?;
    // A dangling link counts as an existing file, so that the error contains its name.
    let exists = |name: &&str| folder.join(name).symlink_metadata().is_ok();
    let missing = || format!("it has none of {}", FILES.join(", "));
    let reason = match (FILES.into_iter().find(exists), UNSUPPORTED_FILES.into_iter().find(exists))
    {
        (Some(SENTENCEPIECE_FILE), _) => {
            let config = read_object(&folder.join(CONFIG_FILE))?;
            if config["model_type"] != "camembert" {
                return Ok(folder.join(SENTENCEPIECE_FILE));
            }
            format!(
                "CamemBERT numbers the pieces of {SENTENCEPIECE_FILE} differently from XLM-R; {CONVERSION_ADVICE}"
            )
        }
        (Some(name), _) => return Ok(folder.join(name)),
        (None, Some(file)) => format!("{}, but {file}; {CONVERSION_ADVICE}", missing()),
        (None, None) => format!("{}; copy one of them from the model's page", missing()),
    };
    let source = IoError::new(ErrorKind::NotFound, reason);
    Err(atomic_file::Error::new(&folder, "read")(source).into())
}
