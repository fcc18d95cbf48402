use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LinkedText;
use crate::jsonl::{JsonlReader, Record};
use crate::{Error, Language};

/// An entity in one language: a line of `entities.<lang>.jsonl[.gz]`. A label, description or
/// extract that is unknown is `null` or missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EntityPage {
    /// Id of the entity, such as `Q42`.
    pub id: String,
    /// The name of the entity.
    #[serde(default)]
    pub label: Option<String>,
    /// Wikidata's short description.
    #[serde(default)]
    pub description: Option<String>,
    /// The beginning of the Wikipedia page.
    #[serde(default)]
    pub extract: Option<String>,
}

impl Record for EntityPage {
    const NAME: &'static str = "entity";

    fn invalid_reason(&self) -> Option<String> {
        self.id.is_empty().then(|| "an empty id".into())
    }
}

/// Selects the text of a page that is used as description of the entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PageText {
    /// The beginning of the Wikipedia page, as in XLM-K.
    #[default]
    Extract,
    /// Wikidata's short description.
    Description,
    /// The extract if there is one, otherwise the description.
    Either,
}

impl EntityPage {
    /// Returns the text that `page_text` selects, or `None` if it is missing or blank.
    pub fn text(&self, page_text: PageText) -> Option<&str> {
        let is_not_blank = |text: &'_ &String| !text.trim().is_empty();
        let (extract, description) = (
            self.extract.as_ref().filter(is_not_blank),
            self.description.as_ref().filter(is_not_blank),
        );
        match page_text {
            PageText::Extract => extract,
            PageText::Description => description,
            PageText::Either => extract.or(description),
        }
        .map(String::as_str)
    }

    /// Converts the page to a text without mentions. Returns `None` if [`Self::text`] returns
    /// `None`.
    pub fn into_text(self, language: Language, page_text: PageText) -> Option<LinkedText> {
        let text = self.text(page_text)?.to_owned();
        let entity = Some(self.id.clone());
        Some(LinkedText {
            id: self.id,
            language,
            entity,
            text,
            mentions: Vec::new(),
            switched_from: None,
        })
    }
}

/// Lists the files `entities.<lang>.jsonl` and `entities.<lang>.jsonl.gz` of a folder, by language.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read; [`Error::Empty`] if the folder has no such file;
/// [`Error::Value`] for two files of one language or an invalid language code.
///
/// ```
/// use kg_triples::entity_linking::{PageText, page_files, read_pages};
/// # let folder = tempfile::tempdir().unwrap();
/// let line = r#"{"id":"Q70","label":"Bern","extract":"Bern ist eine Stadt."}"#;
/// std::fs::write(folder.path().join("entities.de.jsonl"), line).unwrap();
/// let files = page_files(folder.path())?;
/// let mut described = 0;
/// read_pages(&files, |language, page| {
///     assert_eq!(language, "de");
///     described += usize::from(page.text(PageText::Extract).is_some());
///     Ok(())
/// })?;
/// assert_eq!(described, 1);
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn page_files(dir: impl AsRef<Path>) -> Result<Vec<(Language, PathBuf)>, Error> {
    let dir = dir.as_ref();
    let mut files = Vec::new();
    for entry in atomic_file::fs::read_dir(dir)? {
        let path = entry?.path();
        // Files with other names, such as names that are not UTF-8, are no pages.
        let code = path.file_name().and_then(|name| {
            let name = name.to_str()?;
            let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".jsonl")?;
            stem.strip_prefix("entities.")
        });
        if let Some(code) = code {
            files.push((Language::new(code)?, path));
        }
    }
    files.sort_unstable();
    for pair in files.windows(2) {
        if let [(language, first), (other, second)] = pair
            && language == other
        {
            return Err(Error::Value {
                field: "entities",
                expected: format!("one file for language {language:?}"),
                got: format!("{} and {}", first.display(), second.display()),
            });
        }
    }
    if files.is_empty() {
        return Err(Error::Empty {
            what: format!("files entities.<lang>.jsonl[.gz] in {}", dir.display()),
            hint: "use the folder that contains them".into(),
        });
    }
    Ok(files)
}

/// Passes every page of the files to `visit`, in order, until `visit` returns an error.
///
/// # Errors
/// Errors of [`JsonlReader`]. An error of `visit` is returned as [`Error::Json`] with its message
/// and the file and line of the page.
pub fn read_pages(
    files: &[(Language, PathBuf)],
    mut visit: impl FnMut(Language, EntityPage) -> Result<(), Error>,
) -> Result<(), Error> {
    for (language, path) in files {
        let mut reader = JsonlReader::<EntityPage>::open(path)?;
        while let Some(page) = reader.next() {
            visit(*language, page?).map_err(|error| reader.record_error(error.to_string()))?;
        }
    }
    Ok(())
}
