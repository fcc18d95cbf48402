//! Answer normalisation of the official scorers.
use std::ops::Range;

use super::token_buffer::TokenBuffer;
use super::unicode::{is_punctuation, is_space, is_word, lower};
use crate::Language;

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
    /// MLQA's, by the language of context and answer (Lewis et al. 2020). Script and region are
    /// ignored: `zh-Hans` is scored as `zh`.
    ///
    /// The official script rejects languages outside its seven. Here they are scored by the rules
    /// common to all languages: lower case, punctuation deleted, tokens split at white space, no
    /// articles removed (French `la` and `les` remain). The mixMRC paper, which has French data,
    /// uses SQuAD's metrics, which corresponds to [`Normalization::SquadEn`]. In languages without
    /// spaces (Thai, Japanese) an answer is one token, so F1 is close to exact match.
    Mlqa(Language),
    /// SQuAD v1.1's English rules for every language, as XQuAD prescribes.
    SquadEn,
}

impl Normalization {
    /// Returns the tokens of the normalised text. The tokens joined by spaces are the normalised
    /// text.
    ///
    /// In order: lower case; every punctuation character deleted (Unicode P* and ASCII symbols for
    /// MLQA, ASCII alone for SQuAD); articles replaced by a space; split at white space, for
    /// Chinese also around every character of U+4E00..U+9FA5.
    pub fn tokens(self, text: &str) -> Vec<String> {
        let mut buffer = TokenBuffer::default();
        buffer.fill(self.steps(), text);
        buffer.iter().map(str::to_owned).collect()
    }

    /// The range of a text without the white space, punctuation and articles that normalisation
    /// deletes at its ends; empty if nothing remains.
    pub(crate) fn content_range(self, text: &[char]) -> Range<usize> {
        let mut stripped: Vec<(usize, char)> =
            text.iter().copied().enumerate().filter(|&(_, c)| !self.deletes(c)).collect();
        loop {
            let before = stripped.len();
            let edge = stripped.iter().position(|&(_, c)| !is_space(c)).unwrap_or(stripped.len());
            stripped.drain(..edge);
            let edge = stripped.iter().rposition(|&(_, c)| !is_space(c)).map_or(0, |at| at + 1);
            stripped.truncate(edge);
            stripped.drain(..self.leading_article(&stripped));
            stripped.truncate(stripped.len() - self.trailing_article(&stripped));
            if stripped.len() == before {
                break;
            }
        }
        match (stripped.first(), stripped.last()) {
            (Some(&(from, _)), Some(&(to, _))) => from..to + 1,
            _ => 0..0,
        }
    }

    /// Length in code points of the article at the beginning of a text, or 0.
    fn leading_article(self, text: &[(usize, char)]) -> usize {
        let end = match self.articles() {
            Articles::ArabicPrefix => text.len().min(2),
            Articles::Words(_) => text.iter().position(|&(_, c)| !is_word(c)).unwrap_or(text.len()),
        };
        self.article(text.get(..end).unwrap_or_default())
    }

    /// Length in code points of the article at the end of a text, or 0.
    fn trailing_article(self, text: &[(usize, char)]) -> usize {
        let start = match self.articles() {
            Articles::ArabicPrefix => text.len().saturating_sub(2),
            Articles::Words(_) => {
                text.iter().rposition(|&(_, c)| !is_word(c)).map_or(0, |at| at + 1)
            }
        };
        self.article(text.get(start..).unwrap_or_default())
    }

    /// Length in code points of a word that is an article, or 0.
    fn article(self, word: &[(usize, char)]) -> usize {
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

    /// Returns the `version` expected by the official script, which prints a warning otherwise.
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

    /// Looks up the language-dependent steps once for many texts.
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
        // Composed letters: as in the official script, articles in decomposed text are not removed.
        "vi" => &["c\u{1ee7}a", "l\u{e0}", "c\u{e1}i", "chi\u{1ebf}c", "nh\u{1eef}ng"],
        "ar" => return Articles::ArabicPrefix,
        // Hindi, Chinese, and languages that the script does not support.
        _ => &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(language: Language, text: &str) -> String {
        Normalization::Mlqa(language).tokens(text).join(" ")
    }

    #[test]
    fn articles_by_language() {
        assert_eq!(joined(Language::EN, "The cat, a dog & an Ant"), "cat dog ant");
        assert_eq!(joined(Language::EN, "An-the anthem"), "anthe anthem");
        assert_eq!(joined(Language::ES, "¿La casa de los Gómez?"), "casa de gómez");
        assert_eq!(joined(Language::DE, "Das Haus des Königs"), "haus königs");
        assert_eq!(joined(Language::VI, "cái nhà của tôi"), "nhà tôi");
        assert_eq!(joined(Language::AR, "والكتاب"), "و كتاب");
        assert_eq!(joined(Language::HI, "यह एक घर है।"), "यह एक घर है");
    }

    #[test]
    fn a_combining_mark_ends_a_word() {
        // "la" with a combining grave: \bla\b matches before the mark.
        assert_eq!(joined(Language::ES, "la\u{300}"), "\u{300}");
        // Decomposed là is not the composed article.
        assert_eq!(joined(Language::VI, "la\u{300} nha"), "la\u{300} nha");
    }

    #[test]
    fn chinese_characters_are_separate_tokens() {
        assert_eq!(joined(Language::ZH, "约1870年 New York，。"), "约 1870 年 new york");
        // U+9FA6 and U+3400 are beyond the official range.
        assert_eq!(joined(Language::ZH, "\u{9fa6}\u{3400}"), "\u{9fa6}\u{3400}");
    }

    #[test]
    fn white_space_is_split_as_in_python() {
        assert_eq!(joined(Language::EN, "x\u{1c}y\u{a0}z\u{3000}w"), "x y z w");
        // A zero-width space is no white space.
        assert_eq!(joined(Language::EN, "x\u{200b}y"), "x\u{200b}y");
    }

    #[test]
    fn other_languages_follow_the_common_rules() {
        let language = |code| Language::new(code).unwrap();
        // No articles, in particular not English or German ones.
        assert_eq!(
            joined(language("fr"), "La «maison» the die,  Ab\u{a0}!"),
            "la maison the die ab"
        );
        assert_eq!(joined(language("ja"), "約1870年"), "約1870年");
        assert_eq!(joined(language("th"), "ใน กรุง"), "ใน กรุง");
        // Script and region do not change a language's rules.
        assert_eq!(joined(language("zh-Hans"), "约1870年"), "约 1870 年");
        assert_eq!(joined(language("en_GB"), "the cat"), "cat");
        assert_eq!(joined(language("eng"), "the cat"), "the cat");
    }

    #[test]
    fn squad_rules_retain_non_ascii_punctuation() {
        assert_eq!(Normalization::SquadEn.tokens("The “cat” (1)").join(" "), "“cat” 1");
        assert_eq!(joined(Language::EN, "The “cat” (1)"), "cat 1");
    }
}
