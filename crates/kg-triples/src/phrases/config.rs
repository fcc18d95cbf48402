use super::Fraction;
use crate::Error;

/// Options of phrase mining; the defaults are those of LAKM (Yuan et al. 2020, §3.2).
///
/// The paper does not define the stop-word filter of n-grams, N, or which passages are dropped for
/// "equal" numbers. Here a candidate is excluded if it begins or ends with a stop word: `the myth`
/// is excluded, `bank of england` is not. Phrases nested in longer phrases are retained.
#[derive(Clone, Debug)]
pub struct PhraseConfig {
    /// Minimum number of units in a phrase.
    pub min_words: usize,
    /// Maximum number of units in a phrase.
    pub max_words: usize,
    /// N, the number of first results used per query; not stated in the paper.
    pub titles: usize,
    /// Minimum fraction of the first N titles that contain a phrase as contiguous units.
    pub title_fraction: Fraction,
    /// Minimum passage length in code points: 500, as SQuAD's paragraphs (Rajpurkar et al. 2016,
    /// §3.1), which the paper follows.
    pub min_chars: usize,
    /// Whether to draw equally many passages per language, as many as the smallest one has. The
    /// paper's text states this; its Table 4 contradicts it.
    pub equalise: bool,
    /// Seed of the selection of passages.
    pub seed: u64,
}

impl Default for PhraseConfig {
    fn default() -> Self {
        Self {
            min_words: 2,
            max_words: 4,
            titles: 10,
            title_fraction: Fraction::SEVEN_TENTHS,
            min_chars: 500,
            equalise: true,
            seed: 42,
        }
    }
}

/// Upper limit of `max_words`: each length costs a pass over the query.
const MAX_WORDS: usize = 1000;

impl PhraseConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value out of range.
    ///
    /// ```
    /// use kg_triples::phrases::PhraseConfig;
    ///
    /// let endless = PhraseConfig { max_words: 1_000_000_000_000, ..PhraseConfig::default() };
    /// let error = endless.validate().unwrap_err().to_string();
    /// assert_eq!(error, "max_words = 1000000000000: must be 1000 or less");
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let refuse =
            |key, value: usize, rule| Err(Error::Config { key, value: value.to_string(), rule });
        if self.min_words == 0 {
            return refuse("min_words", 0, "1 or more");
        }
        if self.max_words < self.min_words {
            return refuse("max_words", self.max_words, "min_words or more");
        }
        if self.max_words > MAX_WORDS {
            return refuse("max_words", self.max_words, "1000 or less");
        }
        if self.titles == 0 {
            return refuse("titles", 0, "1 or more");
        }
        Ok(())
    }
}
