//! Values of additional keys, by which questions are grouped.
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::squad::{Article, Extra, File, Paragraph, Qa};
use crate::Error;

/// The group of questions without a value.
const NO_VALUE: &str = "(none)";
/// The key of an article's title.
const TITLE: &str = "title";

impl File {
    /// Returns the keys by which questions can be grouped: additional keys of questions, paragraphs
    /// and articles with texts, numbers, true or false, and `title` if an article has a title.
    ///
    /// ```
    /// use mlqa_eval::squad::File;
    ///
    /// let text = r#"{"data": [{"title": "Rhine", "paragraphs": [{"context": "", "source": "web",
    ///     "qas": [{"id": "q1", "question": "", "type": "where"}]}]}]}"#;
    /// let file = File::parse(text, "test.json")?;
    /// assert!(file.group_keys().into_iter().eq(["source", "title", "type"]));
    /// assert_eq!(file.group_values("source", "test.json")?, ["web"]);
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    pub fn group_keys(&self) -> BTreeSet<&str> {
        let mut keys = BTreeSet::new();
        for (article, paragraph, qa) in self.with_parents() {
            for extra in [&article.extra, &paragraph.extra, &qa.extra] {
                let scalars = extra.entries().filter(|(_, value)| group_name(value).is_some());
                keys.extend(scalars.map(|(key, _)| key));
            }
            if !article.title.is_empty() {
                keys.insert(TITLE);
            }
        }
        keys
    }

    /// Returns the value of `key` for each question, in file order. A value of the question has
    /// precedence over a value of its paragraph, and that over a value of its article; null and an
    /// empty text count as absent. Numbers, true and false become text. Questions without a value have the value
    /// `(none)`.
    ///
    /// # Errors
    /// [`Error::NoKey`] if no question has a value; [`Error::Content`] naming the question if its
    /// value is a list or an object. `path` is used in messages.
    pub fn group_values(&self, key: &str, path: impl AsRef<Path>) -> Result<Vec<String>, Error> {
        let path = path.as_ref();
        let mut has_value = false;
        let mut values = Vec::new();
        for (article, paragraph, qa) in self.with_parents() {
            let extras = [&qa.extra, &paragraph.extra, &article.extra];
            let mut found = extras.into_iter().filter_map(|extra: &Extra| extra.get(key));
            let value = match found.find(|value| !value.is_null() && *value != "") {
                Some(value) => Some(group_name(value).ok_or_else(|| Error::Content {
                    path: path.to_path_buf(),
                    message: format!(
                        "question `{}`: `{key}` is {value}; questions can be grouped by a text, a \
                         number, true or false",
                        qa.id
                    ),
                })?),
                None if key == TITLE && !article.title.is_empty() => {
                    Some(article.title.to_string())
                }
                None => None,
            };
            has_value |= value.is_some();
            values.push(value.unwrap_or_else(|| NO_VALUE.to_owned()));
        }
        if has_value {
            return Ok(values);
        }
        let keys = self.group_keys().into_iter().map(str::to_owned).collect();
        Err(Error::NoKey { path: path.to_path_buf(), key: key.to_owned(), keys })
    }

    fn with_parents(&self) -> impl Iterator<Item = (&Article, &Paragraph, &Qa)> {
        self.data.iter().flat_map(|article| {
            article.paragraphs.iter().flat_map(move |paragraph| {
                paragraph.qas.iter().map(move |qa| (article, paragraph, qa))
            })
        })
    }
}

/// Returns the name of a value's group; `None` for null, empty texts, lists and objects.
pub(super) fn group_name(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
