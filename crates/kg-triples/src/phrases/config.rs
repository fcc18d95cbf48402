use crate::Error;

/// Options of phrase mining; the defaults are the values of LAKM (Yuan et al. 2020, §3.2).
///
/// The paper does not define the number of titles N, the stop-word filter of n-grams, or which
/// passages are dropped to obtain an "equal" number of passages for each language. In this
/// implementation, an n-gram is excluded if it begins or ends with a stop word: `the myth` is
/// excluded, `bank of england` is not. A phrase that is part of a longer phrase is retained.
#[derive(Clone, Debug)]
pub struct PhraseConfig {
    /// Number N of search results that are used per query, if there are so many. The paper does not
    /// specify it.
    pub titles: usize,
    /// Fraction of the first N titles that must contain a phrase as contiguous words, from 0 to 1.
    pub title_fraction: f64,
    /// Minimum passage length in code points. The default is 500, as in SQuAD (Rajpurkar et al.
    /// 2016, §3.1), which the paper follows.
    pub min_chars: usize,
    /// Whether to draw an equal number of passages for each language. This number is the number of
    /// passages of the language with the fewest passages. The paper's text specifies equal numbers,
    /// but the numbers in its Table 4 are not equal.
    pub equalise: bool,
    /// Seed of the selection of passages.
    pub seed: u64,
}

impl Default for PhraseConfig {
    fn default() -> Self {
        Self { titles: 10, title_fraction: 0.7, min_chars: 500, equalise: true, seed: 42 }
    }
}

impl PhraseConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] with the first value that is out of its range.
    ///
    /// ```
    /// use kg_triples::phrases::PhraseConfig;
    ///
    /// let config = PhraseConfig { title_fraction: 70.0, ..PhraseConfig::default() };
    /// let error = config.validate().unwrap_err().to_string();
    /// assert_eq!(error, "title_fraction = 70: must be from 0 to 1");
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |key, value: String, rule| Err(Error::Config { key, value, rule });
        if self.titles == 0 {
            return invalid("titles", "0".into(), "1 or more");
        }
        if !(0.0..=1.0).contains(&self.title_fraction) {
            return invalid("title_fraction", self.title_fraction.to_string(), "from 0 to 1");
        }
        Ok(())
    }
}
