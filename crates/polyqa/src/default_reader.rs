//! The reader that is used if no model is given.
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Environment variable with the model that is used if none is given.
pub const MODEL_VARIABLE: &str = "POLYQA_MODEL";

/// Returns the model that is used if none is given, by its folder or its name on the hub.
///
/// It is the first of:
///
/// 1. the value of the environment variable `POLYQA_MODEL`,
/// 2. the folder `reader` in `package`, such as the folder of the Python package,
/// 3. the folder `reader` next to the program,
/// 4. the folder `../share/polyqa/reader`, counted from the program's folder,
/// 5. the folder `data/reader` of the checkout from which the program was compiled.
///
/// A folder counts if it contains a `config.json`.
///
/// # Errors
/// [`Error::NoModel`] if there is none, with the folders that were searched.
pub fn default_model(package: Option<&Path>) -> Result<String> {
    let program = std::env::current_exe().ok();
    let program_folder = program.as_deref().and_then(Path::parent);
    find(variable(), &folders(package, program_folder))
}

/// Returns the value of [`MODEL_VARIABLE`], unless it is not set or empty.
pub(crate) fn variable() -> Option<OsString> {
    std::env::var_os(MODEL_VARIABLE).filter(|value| !value.is_empty())
}

/// Returns the folders that may contain the reader that comes with the program, in the order of the
/// search.
fn folders(package: Option<&Path>, program_folder: Option<&Path>) -> Vec<PathBuf> {
    let parent = program_folder.and_then(Path::parent);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    [
        package.map(|folder| folder.join("reader")),
        program_folder.map(|folder| folder.join("reader")),
        parent.map(|folder| folder.join("share/polyqa/reader")),
        checkout.map(|folder| folder.join("data/reader")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn find(variable: Option<OsString>, folders: &[PathBuf]) -> Result<String> {
    if let Some(value) = variable {
        let to_error = |value: OsString| {
            Error::NoModel(format!("{MODEL_VARIABLE}={}: must be UTF-8", value.to_string_lossy()))
        };
        return value.into_string().map_err(to_error);
    }
    let has_config = |folder: &&PathBuf| folder.join("config.json").is_file();
    if let Some(folder) = folders.iter().find(has_config) {
        let name = folder.to_str().map(str::to_owned);
        let message = || format!("the reader in {}: the path must be UTF-8", folder.display());
        return name.ok_or_else(|| Error::NoModel(message()));
    }
    let searched: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(Error::NoModel(format!(
        "no model given, and the reader that comes with polyqa is not installed (searched {}); give a \
         model folder or a repository of the hub, such as deepset/xlm-roberta-base-squad2, or set \
         {MODEL_VARIABLE} to it",
        searched.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_with_a_model_is_used() {
        let root = tempfile::tempdir().unwrap();
        let [package, program] = ["package", "usr/bin"].map(|name| root.path().join(name));
        let folders = folders(Some(&package), Some(&program));
        let expected = ["package/reader", "usr/bin/reader", "usr/share/polyqa/reader"];
        assert_eq!(folders[..3], expected.map(|name| root.path().join(name)));
        assert!(folders.len() == 4 && folders[3].ends_with("data/reader"), "{folders:?}");
        assert!(folders[3].parent().unwrap().join("xquad").is_dir());

        let folders = &folders[..3];
        let message = find(None, folders).unwrap_err().to_string();
        for folder in folders {
            assert!(message.contains(folder.to_str().unwrap()), "{message}");
        }
        // From the last folder to the first.
        for (folder, next) in folders.iter().rev().zip(folders.iter().rev().skip(1)) {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("config.json"), "{}").unwrap();
            // A folder without a model does not count.
            std::fs::create_dir_all(next).unwrap();
            assert_eq!(Path::new(&find(None, folders).unwrap()), folder);
        }
        assert_eq!(find(Some("someone/reader".into()), folders).unwrap(), "someone/reader");
    }

    #[test]
    #[cfg(unix)]
    fn a_name_that_is_not_utf_8_is_an_error() {
        use std::os::unix::ffi::OsStringExt;

        let message = find(Some(OsString::from_vec(b"caf\xe9".into())), &[]).unwrap_err();
        assert!(message.to_string().starts_with("POLYQA_MODEL=caf"), "{message}");
    }
}
