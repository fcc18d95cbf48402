//! SHA-256 of input files.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use shards::{FileDigest, Manifest};

use crate::files::entries;
use crate::recipe::Input;
use crate::{Error, Result};

/// Cache of file digests.
#[derive(Default)]
pub(crate) struct Digests {
    by_path: BTreeMap<PathBuf, String>,
}

impl Digests {
    /// The hexadecimal SHA-256 of a file. Headers of safetensors files are checked.
    pub(crate) fn of_file(&mut self, path: &Path) -> Result<String> {
        let canonical_path = atomic_file::fs::canonicalize(path)?;
        if let Some(digest) = self.by_path.get(&canonical_path) {
            return Ok(digest.clone());
        }
        // Checks the header first, because hashing a large damaged file takes minutes.
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            torch_ext::TensorFile::open(path)?;
        }
        let digest = FileDigest::of(path)?.sha256;
        self.by_path.insert(canonical_path, digest.clone());
        Ok(digest)
    }
}

/// Rejects an input that does not exist or is neither a file nor a folder.
pub(crate) fn check_input(key: &str, path: &Path) -> Result<()> {
    let invalid = |reason: &str| {
        Err(Error::setting(format!("{key} = {}", path.display()), reason.to_owned()))
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            invalid("no such file or folder")
        }
        Err(error) => Err(Error::file(path)(error)),
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => Ok(()),
        Ok(_) => invalid("neither a file nor a folder"),
    }
}

/// The files of an input, sorted by their names relative to the input. If the input is a single
/// file, the name is `None`. Errors name the recipe's `key`.
pub(crate) fn list_files(key: &str, input: &Input) -> Result<Vec<(Option<String>, PathBuf)>> {
    let folder = &input.path;
    if !folder.is_dir() {
        return Ok(vec![(None, folder.clone())]);
    }
    if let Some(manifest) = Manifest::read(folder)? {
        let named_file = |name: String| (Some(name.clone()), folder.join(name));
        return Ok(manifest.files.into_keys().map(named_file).collect());
    }
    let mut named_files = Vec::new();
    add_files(key, input, folder, "", &mut named_files)?;
    if named_files.is_empty() {
        let key = format!("{key} = {}", folder.display());
        return Err(Error::setting(key, format!("the folder holds no {}", input.expected)));
    }
    named_files.sort();
    Ok(named_files)
}

/// Adds the files of `folder` that the input selects. Each name consists of `prefix` and the path
/// in `folder`.
fn add_files(
    key: &str,
    input: &Input,
    folder: &Path,
    prefix: &str,
    named_files: &mut Vec<(Option<String>, PathBuf)>,
) -> Result<()> {
    for entry in entries(folder)? {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_selected_folder = match prefix {
            "" => input.subfolder_file.is_some_and(|file| {
                file.split('/').next() == Some(&*name) && folder.join(file).is_file()
            }),
            // Includes the direct subfolders of the selected subfolder.
            _ => prefix.matches('/').count() < 2,
        };
        if name.starts_with('.') || !((input.is_read)(&name) || is_selected_folder && path.is_dir())
        {
            continue;
        }
        // `metadata` follows symbolic links, so a link to a file counts as a file.
        let reason = match fs::metadata(&path) {
            Err(error) => format!("{error}, although its name matches the files of {key}"),
            Ok(metadata) if metadata.is_dir() => {
                if is_selected_folder {
                    add_files(key, input, &path, &format!("{prefix}{name}/"), named_files)?;
                }
                continue;
            }
            Ok(metadata) if !metadata.is_file() => "neither a file nor a folder".to_owned(),
            Ok(_) if path.file_name().is_some_and(|name| name.to_str().is_none()) => {
                return Err(Error::content(path, "its name is not UTF-8; rename it"));
            }
            Ok(_) => {
                named_files.push((Some(format!("{prefix}{name}")), path));
                continue;
            }
        };
        return Err(Error::content(path, reason + "; restore it, or move it away"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{
        AllFiles, InputFiles, InputPath, ModelFolder, TsvFiles, TsvFolder, record,
    };

    fn to_input<F: InputFiles>(path: InputPath<F>) -> Input {
        record(&path).unwrap().1.remove(0)
    }

    #[test]
    fn digests_equal_the_example_of_the_standard() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digests::default().of_file(file.path()).unwrap(), expected);
        assert_eq!(crate::files::sha256(b"abc"), expected);
    }

    #[test]
    fn weights_without_a_header_are_rejected_before_hashing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        // A sparse file of 1 TiB, which uses no disk space but would take minutes to hash.
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = Digests::default().of_file(&path).unwrap_err().to_string();
        assert!(error.contains("model.safetensors") && error.contains("header"), "{error}");
    }

    #[test]
    fn only_files_of_the_selected_kind_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tsv", "a.tsv", "notes.txt", ".hidden.tsv"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::fs::create_dir(folder.path().join("below.tsv")).unwrap();
        let names = |input: &Input| -> Vec<String> {
            let files = list_files("data.kg", input).unwrap();
            files.into_iter().filter_map(|(name, _)| name).collect()
        };
        assert_eq!(names(&to_input::<TsvFiles>(folder.path().into())), ["a.tsv", "b.tsv"]);
        let all_files = to_input::<AllFiles>(folder.path().into());
        assert_eq!(names(&all_files), ["a.tsv", "b.tsv", "notes.txt"]);
        let subfolder = folder.path().join("below.tsv");
        let error = list_files("data.kg", &to_input(TsvFolder::from(subfolder))).unwrap_err();
        assert!(error.to_string().contains("holds no *.tsv"), "{error}");
    }

    #[test]
    fn saved_adapters_are_inputs_of_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let write_file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        };
        let names = || -> Vec<String> {
            let files =
                list_files("model.path", &to_input(ModelFolder::from(folder.path()))).unwrap();
            files.into_iter().filter_map(|(name, _)| name).collect()
        };
        let adapter_files = ["adapters/ep/adapter.safetensors", "adapters/ep/adapter_config.json"];
        let ignored_files =
            ["adapters/ep/notes.txt", "adapters/ep/.a.json", "adapters/ep/more/a.json"];
        for name in adapter_files
            .into_iter()
            .chain(ignored_files)
            .chain(["config.json", "1_Pooling/a.json"])
        {
            write_file(name);
        }
        // Without `adapters/active.json`, the folder `adapters` is not part of the model.
        assert_eq!(names(), ["config.json"]);
        write_file("adapters/active.json");
        assert_eq!(
            names(),
            [&["adapters/active.json"][..], &adapter_files, &["config.json"]].concat()
        );
    }

    #[test]
    fn unreadable_files_are_named_in_the_error() {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let path_of = |name: &str| folder.path().join(name);
        let invalid_name = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff.tsv"));
        std::fs::write(path_of("a.tsv"), "a").unwrap();
        let input = to_input::<TsvFiles>(folder.path().into());
        let assert_rejected = |path: &Path, expected: &str| {
            let error = list_files("data.kg", &input).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
            assert!(error.contains(expected), "{error}");
            std::fs::remove_file(path).unwrap();
        };
        symlink("/nowhere", path_of("z.tsv")).unwrap();
        assert_rejected(&path_of("z.tsv"), "No such file");
        symlink("z.tsv", path_of("z.tsv")).unwrap();
        assert_rejected(&path_of("z.tsv"), "symbolic links");
        symlink("/dev/zero", path_of("z.tsv")).unwrap();
        assert_rejected(&path_of("z.tsv"), "neither a file nor a folder");
        std::fs::write(&invalid_name, "b").unwrap();
        assert_rejected(&invalid_name, "not UTF-8; rename it");
        symlink("/nowhere", path_of("z.txt")).unwrap();
        assert_eq!(list_files("data.kg", &input).unwrap().len(), 1);
    }

    #[test]
    fn inputs_that_are_not_files_are_rejected() {
        assert!(check_input("k", Path::new("/nowhere")).unwrap_err().to_string().contains("k ="));
        assert!(check_input("k", Path::new("/dev/zero")).is_err());
    }
}
