//! MLQA's file names.
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Language, TableLanguage, UnknownLanguage};

/// A file name of the form `{split}-context-{context}-question-{question}.json`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatasetName {
    /// `dev`, `test`, or another word.
    pub split: String,
    /// Language of the context and of the answer.
    pub context: Language,
    /// Language of the question.
    pub question: Language,
}

/// Returns the path of the file `name` in `folder`. If no file has this name, the path of a file
/// whose name differs only in case is returned; without such a file, the path is `folder/name`.
///
/// ```
/// use std::path::Path;
///
/// let folder = Path::new("../../data/xquad");
/// assert_eq!(mlqa_eval::find_language_file(folder, "xquad.DE.json"), folder.join("xquad.de.json"));
/// assert_eq!(mlqa_eval::find_language_file(folder, "absent.json"), folder.join("absent.json"));
/// ```
pub fn find_language_file(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    if path.exists() {
        return path;
    }
    // If the folder cannot be read, opening the returned path reports the reason.
    let files = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    let matching = files.filter(|file| file.eq_ignore_ascii_case(name)).min();
    matching.map_or(path, |file| folder.join(file))
}

/// Returns the languages of contexts and of questions according to a file's name; `None` if the
/// name has none.
///
/// A language is the part of the name before the ending or before the split, if it is a two-letter
/// code of ISO 639-1: `xquad.de.json`, `queries.en.dev.jsonl.gz`. Names in MLQA's form
/// (`test-context-de-question-en.json`, also with other endings) have two languages.
///
/// ```
/// use mlqa_eval::{Language, languages_in_name};
///
/// assert_eq!(languages_in_name("xquad.de.json")?, Some((Language::DE, Language::DE)));
/// for name in ["dev-v1.1.json", "quiz.dev.json", "validation-00000-of-00001.parquet", "de.json"] {
///     assert_eq!(languages_in_name(name)?, None, "{name}");
/// }
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::DatasetName`] if the name has MLQA's form and a code is not in ISO 639.
pub fn languages_in_name(name: &str) -> Result<Option<(Language, Language)>, Error> {
    let stem = without_endings(name);
    if has_mlqa_form(stem) {
        let name: DatasetName = format!("{stem}.json").parse()?;
        return Ok(Some((name.context, name.question)));
    }
    let Some((_, parts)) = stem.split_once('.') else { return Ok(None) };
    let is_split = |part: &&str| SPLITS.iter().any(|split| part.eq_ignore_ascii_case(split));
    let part = parts.rsplit('.').find(|part| !is_split(part));
    Ok(part.and_then(Language::two_letter).map(|language| (language, language)))
}

/// Names of splits that may follow a language in a file name.
const SPLITS: [&str; 6] = ["train", "dev", "valid", "validation", "eval", "test"];

/// Returns a file name without `.json`, `.jsonl` or `.parquet`, optionally followed by the ending of
/// a compressed file.
pub(crate) fn without_endings(name: &str) -> &str {
    let plain = [".gz", ".zst"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let endings = [".json", ".jsonl", ".parquet"];
    endings.iter().find_map(|ending| plain.strip_suffix(ending)).unwrap_or(plain)
}

fn has_mlqa_form(name: &str) -> bool {
    name.contains("-context-") && name.contains("-question-")
}

/// Lists the question files of a folder that have MLQA's names and the given split. They are sorted
/// by context and question in the order of [`TableLanguage`].
///
/// # Errors
/// [`Error::File`]; [`Error::NothingFound`] if the folder has no such files; [`Error::DatasetName`]
/// if a name of the split has a language that is not in ISO 639; [`Error::Content`] if two names
/// differ only in case.
pub fn list_dataset_names(folder: &Path, split: &str) -> Result<Vec<DatasetName>, Error> {
    let mut names = Vec::new();
    for entry in atomic_file::fs::read_dir(folder)? {
        let file = entry?.file_name();
        let Some(file) = file.to_str().filter(|file| file.ends_with(".json")) else { continue };
        let is_in_split =
            file.strip_prefix(split).is_some_and(|rest| rest.starts_with("-context-"));
        if is_in_split && has_mlqa_form(file) {
            names.push(file.parse::<DatasetName>()?);
        }
    }
    names.sort_by_key(|name| (TableLanguage(name.context), TableLanguage(name.question)));
    if let Some((duplicate, _)) = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
        let message = format!("two files are named {duplicate} in different case; remove one");
        return Err(Error::Content { path: folder.to_path_buf(), message });
    }
    if names.is_empty() {
        let what = format!("{split}-context-…-question-….json");
        return Err(Error::NothingFound { what, path: folder.to_path_buf() });
    }
    Ok(names)
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-context-{}-question-{}.json", self.split, self.context, self.question)
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    /// Parses a file name without a folder.
    ///
    /// ```
    /// use mlqa_eval::{DatasetName, Language};
    ///
    /// let name: DatasetName = "test-context-en-question-de.json".parse()?;
    /// assert_eq!((name.context, name.question), (Language::EN, Language::DE));
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    fn from_str(name: &str) -> Result<Self, Error> {
        let name_error = |reason: String| Error::DatasetName { name: name.to_owned(), reason };
        let stem = name
            .strip_suffix(".json")
            .ok_or_else(|| name_error("the extension is not `.json`".into()))?;
        let (head, question) =
            stem.rsplit_once("-question-").ok_or_else(|| name_error("no `-question-`".into()))?;
        let (split, context) =
            head.rsplit_once("-context-").ok_or_else(|| name_error("no `-context-`".into()))?;
        if split.is_empty() || split.contains(['/', '\\']) {
            return Err(name_error("no split before `-context-`".into()));
        }
        if split.starts_with('.') {
            return Err(name_error("a hidden file".into()));
        }
        let language = |code: &str| {
            Language::registered(code)
                .map_err(|error: UnknownLanguage| name_error(error.to_string()))
        };
        Ok(Self { split: split.into(), context: language(context)?, question: language(question)? })
    }
}
