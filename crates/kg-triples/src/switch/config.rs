use serde::Deserialize;

use crate::{Error, Language, each_once};

/// The languages into which a sentence can be switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageRule {
    /// Those in which every mention has a label, as in the released code; mentions of entities
    /// without any label, in the texts' language neither, do not count.
    #[default]
    Shared,
    /// Those in which at least one mention has a label; the others keep their text. Ours, for small
    /// graphs.
    PerMention,
}

/// What is switched as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextUnit {
    /// Sentences, by the rules of Unicode's annex 29; a mention is never cut.
    #[default]
    Sentence,
    /// Lines.
    Line,
}

/// How text is switched; the defaults are the values of EntityCS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// The language of the texts.
    pub source: Language,
    /// Languages to switch into; the source is left out.
    pub languages: Vec<Language>,
    /// Languages that are drawn from beside them, but not switched into: the released corpus draws
    /// from XLM-R's, of which training takes some.
    pub pool: Vec<Language>,
    /// Into which of them a sentence is switched.
    pub rule: LanguageRule,
    /// Languages a sentence is switched into at most; of more, as many are drawn evenly.
    pub count: usize,
    /// What is switched as one.
    pub unit: TextUnit,
    /// Longest sentence in words with white space between them.
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
            unit: TextUnit::Sentence,
            max_words: 128,
            seed: 42,
        }
    }
}

impl SwitchConfig {
    /// Whether the values can be used.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |key, value: String, rule| Err(Error::Config { key, value, rule });
        if self.count == 0 {
            return wrong("count", "0".into(), "at least 1");
        }
        if self.max_words == 0 {
            return wrong("max_words", "0".into(), "at least 1");
        }
        each_once("languages", &self.languages)?;
        each_once("pool", &self.pool)?;
        if self.languages.iter().all(|language| *language == self.source) {
            let languages: Vec<&str> = self.languages.iter().map(Language::as_str).collect();
            let rule = "at least one language that is not the texts'";
            return wrong("languages", languages.join(","), rule);
        }
        Ok(())
    }
}
