//! MLQA's file names.
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Language, LanguageError, TableLanguage};

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
    let files = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    let matching = files.filter(|file| file.eq_ignore_ascii_case(name)).min();
    matching.map_or(path, |file| folder.join(file))
}

/// Lists the question files of a folder that have MLQA's names and the given split. They are sorted
/// by context and question in the order of [`TableLanguage`].
///
/// # Errors
/// [`Error::Read`]; [`Error::NothingFound`] if the folder has no such files; [`Error::Content`] if
/// two names differ only in case.
pub fn list_dataset_names(folder: &Path, split: &str) -> Result<Vec<DatasetName>, Error> {
    let read_error = |source| Error::Read { path: folder.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read_error)? {
        let file = entry.map_err(read_error)?.file_name();
        let name = file.to_str().and_then(|file| file.parse::<DatasetName>().ok());
        names.extend(name.filter(|name| name.split == split));
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
        let language = |code: &str| {
            code.parse::<Language>().map_err(|error: LanguageError| name_error(error.to_string()))
        };
        Ok(Self { split: split.into(), context: language(context)?, question: language(question)? })
    }
}
