/// Options of the examples of masked entity prediction; the defaults are the values of XLM-K (§3.2,
/// §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MentionConfig {
    /// Maximum passage length in tokens, including special tokens. A passage that exceeds it is
    /// cropped around the mention.
    pub max_tokens: usize,
    /// Whether the description must be in another language than the passage. With `false`, both are
    /// in one language, as in the paper's ablation "w/o multilingual description".
    pub multilingual: bool,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for MentionConfig {
    fn default() -> Self {
        Self { max_tokens: 256, multilingual: true, seed: 42 }
    }
}
