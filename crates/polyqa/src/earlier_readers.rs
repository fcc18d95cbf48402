//! Segments of readers that earlier versions of `polyqa train` wrote.
use std::path::Path;

use mlqa_eval::WindowConfig;
use serde::Deserialize;
use tokenizer_file::MODEL_INPUT_NAMES;
use xlmr_model::Config;

use crate::Result;
use crate::calibration;

/// Maximum size of a configuration file in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The part of a run's `recipe.toml` that determines segments.
#[derive(Deserialize)]
struct Recipe {
    windows: Option<WindowConfig>,
}

/// Returns whether an earlier version of `polyqa train` trained the reader in `folder` with the
/// context in segment 1, although its tokenizer returns no token types.
///
/// Earlier versions did so for every model with several segments, and did not record it in the
/// folder. The current version writes the key `model_input_names` to `tokenizer_config.json` of such
/// a model, so a file without this key is from an earlier version or from another program. A folder
/// is from `polyqa train` if it has a `calibration.json`, or if the folder above it is a run whose
/// `recipe.toml` has `windows.segment_ids = true`.
///
/// # Errors
/// [`Error::Content`] or [`Error::Read`] naming a file that cannot be read.
pub(crate) fn trained_with_segments(folder: &Path, config: &Config) -> Result<bool> {
    if config.type_vocab_size < 2 || has_input_names(&folder.join("tokenizer_config.json"))? {
        return Ok(false);
    }
    if folder.join(calibration::FILE_NAME).is_file() {
        return Ok(true);
    }
    let Some(run) = folder.parent().filter(|_| folder.ends_with("model")) else { return Ok(false) };
    let path = run.join("recipe.toml");
    if !path.is_file() {
        return Ok(false);
    }
    let text = atomic_file::read_to_string_limited(&path, MAX_BYTES)?;
    // A file that is not the recipe of a run of this program says nothing about the model.
    let recipe: Option<Recipe> = toml::from_str(&text).ok();
    Ok(recipe.and_then(|recipe| recipe.windows).is_some_and(|windows| windows.segment_ids))
}

/// Returns whether a `tokenizer_config.json` lists the inputs of the model.
fn has_input_names(path: &Path) -> Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    let text = atomic_file::read_limited(path, MAX_BYTES)?;
    let value: serde_json::Value = atomic_file::json::from_slice(path, &text)?;
    Ok(value.get(MODEL_INPUT_NAMES).is_some_and(|names| !names.is_null()))
}
