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

/// Three-letter codes of the standard form of a language that has a two-letter code, as in FLORES
/// and NLLB. Rules and data of these languages have the two-letter code. FLORES's `als` (Albanian)
/// is absent, because it is Alemannic in Wikipedia.
const STANDARD_FORMS: [(&str, &str); 18] = [
    ("arb", "ar"),
    ("ayr", "ay"),
    ("azj", "az"),
    ("cmn", "zh"),
    ("ekk", "et"),
    ("gaz", "om"),
    ("khk", "mn"),
    ("lvs", "lv"),
    ("npi", "ne"),
    ("ory", "or"),
    ("pbt", "ps"),
    ("pes", "fa"),
    ("plt", "mg"),
    ("quy", "qu"),
    ("swh", "sw"),
    ("uzn", "uz"),
    ("ydd", "yi"),
    ("zsm", "ms"),
];

impl Language {
    /// Creates a language from a code of the ISO 639 registry: a two-letter code of ISO 639-1, or a
    /// three-letter code of ISO 639-3 if the language has no two-letter code. Script, region and
    /// variant may follow, such as `zh-Hans` or `pt_BR`. The code of a standard form, such as `cmn`
    /// or `arb`, is not accepted for the language with the two-letter code.
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
    /// for three-letter codes of languages with a two-letter code or of their standard forms, and
    /// for some country codes.
    pub fn registered(code: &str) -> Result<Self, UnknownLanguage> {
        let unknown = |suggestion| UnknownLanguage { code: code.to_owned(), suggestion };
        let Ok(language) = Self::new(code) else {
            return Err(unknown(suggest(code)));
        };
        let base = language.base();
        let is_registered = match base.len() {
            2 => IsoLanguage::from_639_1(base).is_some(),
            3 => {
                IsoLanguage::from_639_3(base).is_some_and(|iso| iso.to_639_1().is_none())
                    && STANDARD_FORMS.iter().all(|(code, _)| *code != base)
            }
            _ => false,
        };
        if is_registered { Ok(language) } else { Err(unknown(suggest(code))) }
    }

    /// Creates a language from any code of [`Language::new`] that is not probably mistaken for
    /// another one, such as `cn`, `eng` or `german`.
    ///
    /// Use this function where a user names languages of data that may have codes of their own,
    /// such as Wikidata's `simple`.
    ///
    /// ```
    /// use language::Language;
    ///
    /// assert_eq!(Language::plausible("simple")?.as_str(), "simple");
    /// assert_eq!(Language::plausible("german").unwrap_err().suggestion, Some(Language::DE));
    /// # Ok::<(), language::UnknownLanguage>(())
    /// ```
    ///
    /// # Errors
    /// [`UnknownLanguage`] if [`registered`](Self::registered) suggests another code, or if the text
    /// is not a code.
    pub fn plausible(code: &str) -> Result<Self, UnknownLanguage> {
        match (Self::registered(code), Self::new(code)) {
            (Err(error), Ok(language)) if error.suggestion.is_none() => Ok(language),
            (registered, _) => registered,
        }
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
    let mut other_codes = MISTAKEN_CODES.iter().chain(&STANDARD_FORMS);
    let mistaken = other_codes.find(|(code, _)| *code == base).map(|&(_, code)| code);
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
