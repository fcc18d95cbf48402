use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::KgError;

const CAPACITY: usize = 23;

/// A language code such as `en`, `zh` or `nan-latn-pehoeji`: 1 to 23 ASCII letters, digits, `-` or `_`, kept in place
/// so that millions of sequences can carry it without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Language {
    // Unused bytes are zero, so the derived order is that of the text.
    bytes: [u8; CAPACITY],
    length: u8,
}

impl Language {
    /// Takes `code` as it stands; upper and lower case differ.
    ///
    /// # Errors
    /// [`KgError::Value`] if it is empty, longer than 23 bytes, or holds another character.
    pub fn new(code: &str) -> Result<Self, KgError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let length = u8::try_from(code.len()).unwrap_or(u8::MAX);
        let mut bytes = [0; CAPACITY];
        match bytes.get_mut(..code.len()) {
            Some(target) if !code.is_empty() && code.bytes().all(allowed) => {
                target.copy_from_slice(code.as_bytes());
                Ok(Self { bytes, length })
            }
            _ => Err(KgError::Value {
                field: "language",
                expected: "a language code of 1 to 23 letters, digits or hyphens, such as `en`"
                    .into(),
                got: format!("{code:?}"),
            }),
        }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        let used = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(used).unwrap_or_default()
    }
}

impl FromStr for Language {
    type Err = KgError;

    fn from_str(code: &str) -> Result<Self, KgError> {
        Self::new(code)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl PartialEq<str> for Language {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Language {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Language;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a language code such as \"en\"")
            }

            fn visit_str<E: de::Error>(self, code: &str) -> Result<Language, E> {
                Language::new(code).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
