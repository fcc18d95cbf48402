//! Language codes.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LanguageError;
use crate::names::NAMES_BY_CODE;

/// Maximum length of a code in bytes.
const MAX_BYTES: usize = 23;

/// A language code such as `en`, `zh` or `nan-latn-pehoeji`.
///
/// A code has 1 to 23 ASCII letters, digits, `-` or `_`. It is stored inline, so that each of
/// millions of sequences can have a language without an allocation.
///
/// Codes are case-insensitive and stored in lower case, as in Wikidata: `EN` equals `en`, and
/// `zh-Hans` equals `zh-hans`. Codes are not normalised otherwise: `pt-br` and `pt_BR` are
/// different languages, but [`Language::base`] is `pt` for both. Codes are sorted as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Language {
    // Unused bytes are zero, so the derived order is the order of the text.
    bytes: [u8; MAX_BYTES],
    length: u8,
}

impl Language {
    /// Arabic.
    pub const AR: Self = Self::two_letters(*b"ar");
    /// German.
    pub const DE: Self = Self::two_letters(*b"de");
    /// English.
    pub const EN: Self = Self::two_letters(*b"en");
    /// Spanish.
    pub const ES: Self = Self::two_letters(*b"es");
    /// Hindi.
    pub const HI: Self = Self::two_letters(*b"hi");
    /// Vietnamese.
    pub const VI: Self = Self::two_letters(*b"vi");
    /// Chinese.
    pub const ZH: Self = Self::two_letters(*b"zh");

    const fn two_letters([first, second]: [u8; 2]) -> Self {
        let mut bytes = [0; MAX_BYTES];
        bytes[0] = first;
        bytes[1] = second;
        Self { bytes, length: 2 }
    }

    /// Creates a language from `code`, converted to lower case.
    ///
    /// # Errors
    /// [`LanguageError`] if the code is empty, longer than 23 bytes, or contains characters other
    /// than ASCII letters, digits, `-` and `_`.
    ///
    /// ```
    /// use language::Language;
    ///
    /// assert_eq!(Language::new("en")?, Language::EN);
    /// assert_eq!(Language::new("EN")?, Language::EN);
    /// assert!(Language::new("not a code").is_err());
    /// # Ok::<(), language::LanguageError>(())
    /// ```
    pub fn new(code: &str) -> Result<Self, LanguageError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=MAX_BYTES).contains(&code.len()) || !code.bytes().all(is_allowed) {
            return Err(LanguageError { code: code.to_owned() });
        }
        let mut bytes = [0; MAX_BYTES];
        bytes[..code.len()].copy_from_slice(code.as_bytes());
        bytes.make_ascii_lowercase();
        let length = u8::try_from(code.len()).expect("MAX_BYTES fits into u8");
        Ok(Self { bytes, length })
    }

    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        let code = &self.bytes[..usize::from(self.length)];
        std::str::from_utf8(code).expect("codes are ASCII")
    }

    /// Returns the code without script, region or variant, such as `zh` for `zh-Hans`.
    pub fn base(&self) -> &str {
        let code = self.as_str();
        code.split_once(['-', '_']).map_or(code, |(base, _)| base)
    }

    /// Returns XLM-R's language with the English name `name`, ignoring case, or `None` if there is
    /// no such language.
    ///
    /// ```
    /// use language::Language;
    ///
    /// assert_eq!(Language::by_name("arabic"), Some(Language::AR));
    /// ```
    pub fn by_name(name: &str) -> Option<Self> {
        let entry = NAMES_BY_CODE.iter().find(|(_, english)| english.eq_ignore_ascii_case(name));
        entry.map(|(code, _)| Self::new(code).expect("the codes of the table are valid"))
    }

    /// Returns the English name if the code is one of the two-letter codes of XLM-R's languages,
    /// otherwise the code.
    ///
    /// ```
    /// use language::Language;
    ///
    /// assert_eq!(Language::VI.name(), "Vietnamese");
    /// assert_eq!(Language::new("x-klingon")?.name(), "x-klingon");
    /// # Ok::<(), language::LanguageError>(())
    /// ```
    pub fn name(&self) -> &str {
        let code = self.as_str();
        let index = NAMES_BY_CODE.binary_search_by_key(&code, |(code, _)| code);
        index.map_or(code, |index| NAMES_BY_CODE[index].1)
    }
}

impl FromStr for Language {
    type Err = LanguageError;

    fn from_str(code: &str) -> Result<Self, LanguageError> {
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
