//! Answer normalisation of the official scorers.
use std::ops::Range;

use super::unicode::{is_punctuation, is_space, is_word, lower};
use crate::{Error, Language};

/// The normalisation of an official script.
///
/// ```
/// use mlqa_eval::{Language, Normalization};
///
/// let german = Normalization::Mlqa(Language::DE);
/// assert_eq!(german.tokens("Das Haus, 1870!"), ["haus", "1870"]);
/// let french = Normalization::Mlqa("fr".parse()?);
/// assert_eq!(french.tokens("La maison, 1870\u{a0}!"), ["la", "maison", "1870"]);
/// # Ok::<(), mlqa_eval::LanguageError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// MLQA's rules for the language of context and answer (Lewis et al. 2020). Script and region
    /// are ignored: `zh-Hans` is scored as `zh`.
    ///
    /// The official script rejects languages outside its seven. This crate scores such languages by
    /// the rules common to all languages: lower case, punctuation deleted, tokens split at white
    /// space, no articles removed (French `la` and `les` remain). The mixMRC paper, which has
    /// French data, uses SQuAD's metrics, that is, [`Normalization::SquadEn`]. Languages without
    /// spaces between words, other than Chinese, cannot be scored ([`check`](Self::check)).
    Mlqa(Language),
    /// SQuAD v1.1's English rules for every language, as XQuAD prescribes.
    SquadEn,
}

/// Languages whose words are not separated by spaces, and for which MLQA has no rules: Japanese, Thai,
/// Lao, Khmer, Burmese, Shan, Tibetan, Dzongkha, Yi, Okinawan and other languages written in Chinese
/// characters.
const WITHOUT_SPACES: [&str; 18] = [
    "ja", "th", "lo", "km", "my", "shn", "bo", "dz", "ii", "ryu", "yue", "wuu", "gan", "hak",
    "hsn", "lzh", "cdo", "cjy",
];

impl Normalization {
    /// Checks that the rules split an answer into words.
    ///
    /// # Errors
    /// [`Error::NoRules`] for MLQA's rules and a language whose words are not separated by spaces,
    /// such as Japanese or Thai: an answer would be a single token.
    pub fn check(self) -> Result<(), Error> {
        match self {
            Self::Mlqa(language) if WITHOUT_SPACES.contains(&language.base()) => {
                Err(Error::NoRules { language })
            }
            _ => Ok(()),
        }
    }

    /// Returns the range of `text` without the white space, punctuation and articles that
    /// normalisation deletes at both ends. The range is empty if nothing remains.
    pub(crate) fn content_range(self, text: &[char]) -> Range<usize> {
        let mut stripped: Vec<(usize, char)> =
            text.iter().copied().enumerate().filter(|&(_, c)| !self.deletes(c)).collect();
        loop {
            let length = stripped.len();
            let edge = stripped.iter().position(|&(_, c)| !is_space(c)).unwrap_or(stripped.len());
            stripped.drain(..edge);
            let edge = stripped.iter().rposition(|&(_, c)| !is_space(c)).map_or(0, |at| at + 1);
            stripped.truncate(edge);
            stripped.drain(..self.leading_article_length(&stripped));
            stripped.truncate(stripped.len() - self.trailing_article_length(&stripped));
            if stripped.len() == length {
                break;
            }
        }
        match (stripped.first(), stripped.last()) {
            (Some(&(from, _)), Some(&(to, _))) => from..to + 1,
            _ => 0..0,
        }
    }

    /// Returns the length in code points of the article at the beginning of a text, or 0.
    fn leading_article_length(self, text: &[(usize, char)]) -> usize {
        let end = match self.articles() {
            Articles::ArabicPrefix => text.len().min(2),
            Articles::Words(_) => text.iter().position(|&(_, c)| !is_word(c)).unwrap_or(text.len()),
        };
        self.article_length(&text[..end])
    }

    /// Returns the length in code points of the article at the end of a text, or 0.
    fn trailing_article_length(self, text: &[(usize, char)]) -> usize {
        let start = match self.articles() {
            Articles::ArabicPrefix => text.len().saturating_sub(2),
            Articles::Words(_) => {
                text.iter().rposition(|&(_, c)| !is_word(c)).map_or(0, |at| at + 1)
            }
        };
        self.article_length(&text[start..])
    }

    /// Returns the length of `word` in code points if it is an article, else 0.
    fn article_length(self, word: &[(usize, char)]) -> usize {
        let text: String = word.iter().map(|&(_, c)| c).collect();
        let is_article = match self.articles() {
            Articles::ArabicPrefix => text == ARABIC_ARTICLE,
            Articles::Words(words) => words.contains(&lower(&text).as_str()),
        };
        if is_article { word.len() } else { 0 }
    }

    pub(crate) fn deletes(self, c: char) -> bool {
        match self {
            Self::Mlqa(_) => is_punctuation(c),
            Self::SquadEn => c.is_ascii_punctuation(),
        }
    }

    /// Returns the file `version` that the official script expects; the script warns about other
    /// versions.
    pub fn expected_version(self) -> &'static str {
        match self {
            Self::Mlqa(_) => "1.0",
            Self::SquadEn => "1.1",
        }
    }

    pub(crate) fn language(self) -> Language {
        match self {
            Self::Mlqa(language) => language,
            Self::SquadEn => Language::EN,
        }
    }

    pub(crate) fn articles(self) -> Articles {
        articles(self.language().base())
    }

    /// Returns the steps of this normalisation, so that a caller with many texts looks up the
    /// language-dependent parts only once.
    pub(crate) fn steps(self) -> Steps {
        let split_han = self.language().base() == "zh";
        Steps { rules: self, articles: self.articles(), split_han }
    }
}

/// The steps of a [`Normalization`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub rules: Normalization,
    pub articles: Articles,
    /// Whether every Chinese character is a separate token.
    pub split_han: bool,
}

pub(crate) const ARABIC_ARTICLE: &str = "\u{627}\u{644}";

/// The articles of a language that the official script removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Articles {
    /// Separate words.
    Words(&'static [&'static str]),
    /// The Arabic article, also as a prefix.
    ArabicPrefix,
}

impl Articles {
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Words(words) => words,
            Self::ArabicPrefix => &[],
        }
    }
}

fn articles(language: &str) -> Articles {
    Articles::Words(match language {
        "en" => &["a", "an", "the"],
        "es" => &["un", "una", "unos", "unas", "el", "la", "los", "las"],
        "de" => &[
            "ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem",
            "des",
        ],
        // The articles have composed letters. As in the official script, articles in decomposed
        // text are not removed.
        "vi" => &["c\u{1ee7}a", "l\u{e0}", "c\u{e1}i", "chi\u{1ebf}c", "nh\u{1eef}ng"],
        "ar" => return Articles::ArabicPrefix,
        // No articles are removed in Hindi, Chinese and languages that the script does not support.
        _ => &[],
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;

    #[test]
    fn languages_without_spaces_have_no_rules() {
        let check = |code: &str| Normalization::Mlqa(code.parse().unwrap()).check();
        for code in WITHOUT_SPACES.into_iter().chain(["ja-JP", "th_TH"]) {
            let (error, language) = (check(code).unwrap_err(), Language::new(code).unwrap());
            assert!(matches!(error, Error::NoRules { language: other } if other == language));
            assert!(Language::registered(code).is_ok(), "{code}");
        }
        for code in ["zh", "zh-Hant", "en", "fr", "ko", "ru", "vi"] {
            assert!(check(code).is_ok(), "{code}");
        }
        assert!(Normalization::SquadEn.check().is_ok());
    }

    #[test]
    fn texts_are_normalised_as_by_the_official_scripts() {
        let mlqa = |code: &str| Normalization::Mlqa(code.parse().unwrap());
        for (name, rules, text, expected) in [
            ("English articles", mlqa("en"), "The cat, a dog & an Ant", "cat dog ant"),
            ("no article within a word", mlqa("en"), "An-the anthem", "anthe anthem"),
            ("Spanish articles", mlqa("es"), "¿La casa de los Gómez?", "casa de gómez"),
            ("German articles", mlqa("de"), "Das Haus des Königs", "haus königs"),
            ("Vietnamese articles", mlqa("vi"), "cái nhà của tôi", "nhà tôi"),
            ("the Arabic article as a prefix", mlqa("ar"), "والكتاب", "و كتاب"),
            ("no articles in Hindi", mlqa("hi"), "यह एक घर है।", "यह एक घर है"),
            // "la" with a combining grave: \bla\b matches before the mark.
            ("a combining mark ends a word", mlqa("es"), "la\u{300}", "\u{300}"),
            ("a decomposed article", mlqa("vi"), "la\u{300} nha", "la\u{300} nha"),
            ("Chinese characters", mlqa("zh"), "约1870年 New York，。", "约 1870 年 new york"),
            // U+9FA6 and U+3400 are beyond the official range.
            ("other ideographs", mlqa("zh"), "\u{9fa6}\u{3400}", "\u{9fa6}\u{3400}"),
            ("Python's white space", mlqa("en"), "x\u{1c}y\u{a0}z\u{3000}w", "x y z w"),
            ("a zero-width space is not white space", mlqa("en"), "x\u{200b}y", "x\u{200b}y"),
            (
                "no English or German articles in other languages",
                mlqa("fr"),
                "La «maison» the die,  Ab\u{a0}!",
                "la maison the die ab",
            ),
            ("Japanese is not split", mlqa("ja"), "約1870年", "約1870年"),
            ("Thai is not split", mlqa("th"), "ใน กรุง", "ใน กรุง"),
            ("a script subtag", mlqa("zh-Hans"), "约1870年", "约 1870 年"),
            ("a region subtag", mlqa("en_GB"), "the cat", "cat"),
            ("no articles for a three-letter code", mlqa("eng"), "the cat", "the cat"),
            ("MLQA deletes all punctuation", mlqa("en"), "The “cat” (1)", "cat 1"),
            ("SQuAD deletes ASCII only", Normalization::SquadEn, "The “cat” (1)", "“cat” 1"),
            ("SQuAD has English articles", Normalization::SquadEn, "the la casa", "la casa"),
        ] {
            assert_eq!(rules.tokens(text).join(" "), expected, "{name}");
        }
    }
}
