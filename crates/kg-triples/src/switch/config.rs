use serde::Deserialize;

use crate::{Error, Language, check_unique_languages};

/// The languages into which a sentence can be switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageRule {
    /// Languages in which every mentioned entity has a label, as in the paper's released code.
    /// Entities without a label in any language are ignored.
    #[default]
    Shared,
    /// Languages in which at least one mentioned entity has a label. Mentions of entities without a
    /// label in the language are not replaced. This rule is not from the paper and is intended for
    /// graphs with few labels.
    PerMention,
}

/// Options of code switching; the defaults are the values of EntityCS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// The language of the texts.
    pub source: Language,
    /// Target languages. If the list contains the source language, it is ignored.
    pub languages: Vec<Language>,
    /// Additional languages that can be drawn for a sentence. If such a language is drawn, no
    /// switched sentence is created for it. The released corpus draws from all languages of XLM-R,
    /// although training uses only some of them.
    pub pool: Vec<Language>,
    /// Rule for the languages that can be drawn for a sentence.
    pub rule: LanguageRule,
    /// Maximum number of languages that are drawn per sentence, uniformly.
    pub count: usize,
    /// Maximum sentence length in words, which are separated by white space. Longer sentences are
    /// skipped.
    pub max_words: usize,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            source: Language::EN,
            languages: Vec::new(),
            pool: Vec::new(),
            rule: LanguageRule::Shared,
            count: 5,
            max_words: 128,
            seed: 42,
        }
    }
}

impl SwitchConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] with the first key whose value is invalid.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |key, value: String, rule| Err(Error::Config { key, value, rule });
        if self.count == 0 {
            return invalid("count", "0".into(), "at least 1");
        }
        if self.max_words == 0 {
            return invalid("max_words", "0".into(), "at least 1");
        }
        check_unique_languages("languages", &self.languages)?;
        check_unique_languages("pool", &self.pool)?;
        if self.languages.iter().all(|language| *language == self.source) {
            let languages: Vec<&str> = self.languages.iter().map(Language::as_str).collect();
            let rule = "at least one language other than the language of the texts";
            return invalid("languages", languages.join(","), rule);
        }
        Ok(())
    }
}
