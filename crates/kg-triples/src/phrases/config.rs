use crate::Error;

/// Options of phrase mining; the defaults are those of LAKM (Yuan et al. 2020, §3.2).
///
/// The paper does not define the stop-word filter of n-grams, N, or which passages are dropped for
/// "equal" numbers. Here a candidate is excluded if it begins or ends with a stop word: `the myth`
/// is excluded, `bank of england` is not. Phrases nested in longer phrases are retained.
#[derive(Clone, Debug)]
pub struct PhraseConfig {
    /// Maximum number of search results used per query, N; not stated in the paper.
    pub titles: usize,
    /// Minimum fraction of the first N titles that contain a phrase as contiguous words, from 0 to
    /// 1.
    pub title_fraction: f64,
    /// Minimum passage length in code points: 500, as SQuAD's paragraphs (Rajpurkar et al. 2016,
    /// §3.1), which the paper follows.
    pub min_chars: usize,
    /// Whether to draw equally many passages per language, as many as the smallest one has. The
    /// paper's text specifies equal numbers, but its Table 4 has unequal ones.
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
    /// [`Error::Config`] naming the first value out of range.
    ///
    /// ```
    /// use kg_triples::phrases::PhraseConfig;
    ///
    /// let percent = PhraseConfig { title_fraction: 70.0, ..PhraseConfig::default() };
    /// let error = percent.validate().unwrap_err().to_string();
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
