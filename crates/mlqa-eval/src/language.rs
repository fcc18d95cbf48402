//! The seven languages of MLQA.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::EvalError;

/// A language of MLQA, in the order of its paper's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    En,
    /// Spanish.
    Es,
    /// German.
    De,
    /// Arabic.
    Ar,
    /// Hindi.
    Hi,
    /// Vietnamese.
    Vi,
    /// Simplified Chinese.
    Zh,
}

impl Language {
    /// All seven, in order.
    pub const ALL: [Self; 7] =
        [Self::En, Self::Es, Self::De, Self::Ar, Self::Hi, Self::Vi, Self::Zh];

    /// The ISO 639-1 code, as in file names.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Es => "es",
            Self::De => "de",
            Self::Ar => "ar",
            Self::Hi => "hi",
            Self::Vi => "vi",
            Self::Zh => "zh",
        }
    }

    /// The English name.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Es => "Spanish",
            Self::De => "German",
            Self::Ar => "Arabic",
            Self::Hi => "Hindi",
            Self::Vi => "Vietnamese",
            Self::Zh => "Chinese",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl FromStr for Language {
    type Err = EvalError;

    fn from_str(code: &str) -> Result<Self, EvalError> {
        Self::ALL
            .into_iter()
            .find(|language| language.code() == code)
            .ok_or_else(|| EvalError::UnknownLanguage { given: code.to_owned() })
    }
}
