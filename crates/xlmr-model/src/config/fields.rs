//! Typed access to values of a JSON object, with errors that name file and key.
use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Error, Result};

/// Descriptions of value types, for error messages.
pub(crate) const INTEGER: &str = "an integer";
pub(crate) const NUMBER: &str = "a number";
pub(crate) const BOOLEAN: &str = "true or false";

/// Reads or writes the values of keys. A single function that lists a configuration's keys can thus
/// both read and write the configuration.
pub(crate) trait Keys {
    /// A reader assigns the value of `key` to `value` if the key is present. A writer stores
    /// `value` under `key`. `expected` describes valid values in error messages.
    fn visit<T: DeserializeOwned + Serialize>(&mut self, key: &str, expected: &str, value: &mut T);
}

/// The keys of a `config.json` that have not been read yet.
pub(crate) struct Fields<'a> {
    file: &'a str,
    remaining: BTreeMap<String, Value>,
    /// The first error of [`Keys::visit`].
    first_error: Option<Error>,
}

impl Keys for Fields<'_> {
    fn visit<T: DeserializeOwned + Serialize>(&mut self, key: &str, expected: &str, value: &mut T) {
        match self.read(key, expected) {
            Ok(Some(stored)) => *value = stored,
            Ok(None) => {}
            Err(error) => _ = self.first_error.get_or_insert(error),
        }
    }
}

impl Keys for BTreeMap<String, Value> {
    fn visit<T: DeserializeOwned + Serialize>(&mut self, key: &str, _: &str, value: &mut T) {
        self.insert(key.to_owned(), json!(value));
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn new(value: Value, file: &'a str) -> Result<Self> {
        match value {
            Value::Object(map) => {
                Ok(Self { file, remaining: map.into_iter().collect(), first_error: None })
            }
            other => Err(Error::config(file, "(whole file)", "a JSON object", shorten(&other))),
        }
    }

    pub(crate) fn error(&self, key: &str, expected: &str, got: String) -> Error {
        Error::config(self.file, key, expected, got)
    }

    /// Removes and parses the value of `key`; `None` if the key is absent.
    fn read<T: DeserializeOwned>(&mut self, key: &str, expected: &str) -> Result<Option<T>> {
        let Some(value) = self.remaining.remove(key) else { return Ok(None) };
        let got = shorten(&value);
        let parsed = serde_json::from_value(value).map(Some);
        parsed.map_err(|_| self.error(key, expected, got))
    }

    /// Removes and parses the value of `key`; returns `default` if the key is absent.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
        default: T,
    ) -> Result<T> {
        Ok(self.read(key, expected)?.unwrap_or(default))
    }

    /// Reads labels by id; the ids must be 0, 1, 2, …
    pub(crate) fn take_labels(&mut self) -> Result<Option<BTreeMap<i64, String>>> {
        let expected = "an object of label names by id, or null";
        let Some(labels) =
            self.take::<Option<BTreeMap<String, String>>>("id2label", expected, None)?
        else {
            return Ok(None);
        };
        // `label2id` is rebuilt from `id2label` on writing.
        self.remaining.remove("label2id");
        let mut by_id = BTreeMap::new();
        for (id, name) in labels {
            let number = id
                .parse::<i64>()
                .map_err(|_| self.error("id2label", "ids 0, 1, 2, …", format!("{id:?}")))?;
            by_id.insert(number, name);
        }
        if by_id.is_empty() || by_id.keys().copied().ne((0i64..).take(by_id.len())) {
            let got = format!("{:?}", by_id.keys().collect::<Vec<_>>());
            return Err(self.error("id2label", "ids 0, 1, 2, … without a gap", got));
        }
        Ok(Some(by_id))
    }

    /// Returns the keys that were not read.
    ///
    /// # Errors
    /// The first error of [`Keys::visit`].
    pub(crate) fn remaining(self) -> Result<BTreeMap<String, Value>> {
        self.first_error.map_or(Ok(self.remaining), Err)
    }
}

/// Returns θ of rotary positions: `rope_theta` of the object `rotary`, or `default` if it is
/// absent. Returns an error if the object scales positions. `key` is the object's key, for error
/// messages.
pub(crate) fn read_theta(
    fields: &Fields,
    key: &str,
    rotary: Option<&Value>,
    default: f64,
) -> Result<f64> {
    let rotary = match rotary {
        None | Some(Value::Null) => return Ok(default),
        Some(Value::Object(rotary)) => rotary,
        Some(other) => return Err(fields.error(key, "an object", other.to_string())),
    };
    let refuse = |part: &str, expected: &str, got: &Value| {
        fields.error(&format!("{key}.{part}"), expected, got.to_string())
    };
    let mut theta = default;
    for (part, value) in rotary {
        match (part.as_str(), value) {
            (_, Value::Null) => {}
            ("rope_type" | "type", Value::String(name)) if name == "default" => {}
            ("rope_theta", value) => {
                theta = value.as_f64().ok_or_else(|| refuse(part, "a number", value))?;
            }
            ("rope_type" | "type", other) => return Err(refuse(part, "\"default\"", other)),
            (_, other) => return Err(refuse(part, "only rope_type and rope_theta", other)),
        }
    }
    Ok(theta)
}

/// Returns an error if a value is not from 0 to 1.
pub(crate) fn check_probability(file: &str, key: &str, value: f64) -> Result<()> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(Error::config(file, key, "a probability from 0 to 1", value)),
    }
}

/// Formats a value for a message, truncated to 60 characters.
pub(crate) fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    text.chars().take(57).chain("...".chars()).collect()
}
