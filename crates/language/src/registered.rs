//! Codes in the ISO 639 registry.
use isolang::Language as IsoLanguage;

use crate::{Language, UnknownLanguage};

/// Codes that are often mistaken for the ISO 639-1 code of a language: country codes, and codes
/// that ISO 639 has withdrawn.
const MISTAKEN_CODES: [(&str, &str); 13] = [
    ("cn", "zh"),
    ("cz", "cs"),
    ("dk", "da"),
    ("gr", "el"),
    ("in", "id"),
    ("ir", "fa"),
    ("iw", "he"),
    ("ji", "yi"),
    ("jp", "ja"),
    ("jw", "jv"),
    ("kr", "ko"),
    ("ua", "uk"),
    ("vn", "vi"),
];

impl Language {
    /// Creates a language from a code of the ISO 639 registry: a two-letter code of ISO 639-1, or a
    /// three-letter code of ISO 639-3 if the language has no two-letter code. Script, region and
    /// variant may follow, such as `zh-Hans` or `pt_BR`.
    ///
    /// Use this function where a code selects rules. A code that no rule has would otherwise
    /// silently select the rules of unknown languages. [`Language::new`] accepts any code, for data
    /// with codes of its own.
    ///
    /// ```
    /// use language::Language;
    ///
    /// assert_eq!(Language::registered("zh-Hans")?.base(), "zh");
    /// assert_eq!(Language::registered("yue")?.as_str(), "yue");
    /// let error = Language::registered("eng").unwrap_err();
    /// assert_eq!(error.suggestion, Some(Language::EN));
    /// # Ok::<(), language::UnknownLanguage>(())
    /// ```
    ///
    /// # Errors
    /// [`UnknownLanguage`] for any other code, with a suggestion for English names of languages,
    /// for three-letter codes of languages with a two-letter code, and for some country codes.
    pub fn registered(code: &str) -> Result<Self, UnknownLanguage> {
        let unknown = |suggestion| UnknownLanguage { code: code.to_owned(), suggestion };
        let Ok(language) = Self::new(code) else {
            return Err(unknown(suggest(code)));
        };
        let base = language.base();
        let is_registered = match base.len() {
            2 => IsoLanguage::from_639_1(base).is_some(),
            3 => IsoLanguage::from_639_3(base).is_some_and(|iso| iso.to_639_1().is_none()),
            _ => false,
        };
        if is_registered { Ok(language) } else { Err(unknown(suggest(code))) }
    }

    /// Returns the language with a two-letter code of ISO 639-1, optionally with script, region or
    /// variant; `None` for any other text.
    ///
    /// Use this function for parts of file names. Three-letter words such as `dev` are codes of ISO
    /// 639-3, too.
    ///
    /// ```
    /// use language::Language;
    ///
    /// assert_eq!(Language::two_letter("de"), Some(Language::DE));
    /// assert_eq!(["1", "dev", "parquet", "xx"].map(Language::two_letter), [None; 4]);
    /// ```
    pub fn two_letter(code: &str) -> Option<Self> {
        Self::registered(code).ok().filter(|language| language.base().len() == 2)
    }
}

/// Returns the language that a text probably means.
fn suggest(text: &str) -> Option<Language> {
    let text = text.to_lowercase();
    let base = text.split_once(['-', '_']).map_or(&*text, |(base, _)| base);
    let mistaken = MISTAKEN_CODES.iter().find(|(code, _)| *code == base).map(|&(_, code)| code);
    let by_name = || {
        let mut letters = text.chars();
        let first = letters.next()?;
        IsoLanguage::from_name(&format!("{}{}", first.to_uppercase(), letters.as_str()))
    };
    let by_code = || IsoLanguage::from_639_3(base).or_else(by_name);
    let iso_code = |iso: IsoLanguage| iso.to_639_1().unwrap_or_else(|| iso.to_639_3());
    let code = mistaken.or_else(|| by_code().map(iso_code))?;
    Some(Language::new(code).expect("codes of ISO 639 are valid"))
}
