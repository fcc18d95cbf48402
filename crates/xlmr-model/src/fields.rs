//! Typed values out of a JSON object, with errors that name file and key.
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Activation, Error, Result};

/// The keys of one `config.json`; what is taken leaves, the rest stays.
pub(crate) struct Fields<'a> {
    file: &'a str,
    left: BTreeMap<String, Value>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(value: Value, file: &'a str) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { file, left: map.into_iter().collect() }),
            other => Err(Error::Config {
                file: file.to_owned(),
                key: "(whole file)".into(),
                expected: "a JSON object".into(),
                got: brief(&other),
            }),
        }
    }

    pub(crate) fn refuse(&self, key: &str, expected: &str, got: String) -> Error {
        Error::Config {
            file: self.file.to_owned(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            got,
        }
    }

    /// The value of `key`, or `default` where the key is absent.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
        default: T,
    ) -> Result<T> {
        let Some(value) = self.left.remove(key) else { return Ok(default) };
        let got = brief(&value);
        serde_json::from_value(value).map_err(|_| self.refuse(key, expected, got))
    }

    pub(crate) fn activation(&mut self, key: &str) -> Result<Activation> {
        let name: String = self.take(key, "the name of an activation", "gelu".into())?;
        Activation::from_name(&name).ok_or_else(|| {
            self.refuse(key, "one of gelu, gelu_new, gelu_pytorch_tanh, relu", format!("{name:?}"))
        })
    }

    /// Labels by number; the ids must be 0, 1, 2, …
    pub(crate) fn labels(
        &mut self,
        labels: Option<BTreeMap<String, String>>,
    ) -> Result<Option<BTreeMap<i64, String>>> {
        // Rebuilt from id2label when written.
        let names = self.left.remove("label2id");
        let Some(labels) = labels else {
            if let Some(names) = names {
                self.left.insert("label2id".into(), names);
            }
            return Ok(None);
        };
        let mut by_id = BTreeMap::new();
        for (id, name) in labels {
            let number = id
                .parse::<i64>()
                .map_err(|_| self.refuse("id2label", "ids 0, 1, 2, …", format!("{id:?}")))?;
            by_id.insert(number, name);
        }
        if by_id.is_empty() || by_id.keys().copied().ne((0i64..).take(by_id.len())) {
            let got = format!("{:?}", by_id.keys().collect::<Vec<_>>());
            return Err(self.refuse("id2label", "ids 0, 1, 2, … without a gap", got));
        }
        Ok(Some(by_id))
    }

    pub(crate) fn rest(self) -> BTreeMap<String, Value> {
        self.left
    }
}

/// A value for a message, cut to 60 characters.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    text.chars().take(57).chain("...".chars()).collect()
}
