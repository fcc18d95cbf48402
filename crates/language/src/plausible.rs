//! Deserialisation of languages in configurations, where a mistaken code is an error.
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use crate::Language;

/// A language of [`Language::plausible`].
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Plausible(Language);

impl<'de> Deserialize<'de> for Plausible {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Language::plausible(&code).map(Self).map_err(de::Error::custom)
    }
}

/// Deserialises a list of languages by [`Language::plausible`], for serde's attribute
/// `deserialize_with`.
///
/// # Errors
/// The deserialiser's error, or that of the first mistaken code.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Recipe {
///     #[serde(deserialize_with = "language::plausible::list")]
///     languages: Vec<language::Language>,
/// }
///
/// let recipe: Recipe = serde_json::from_str(r#"{"languages": ["de", "zh"]}"#)?;
/// assert_eq!(recipe.languages.len(), 2);
/// let error = serde_json::from_str::<Recipe>(r#"{"languages": ["german"]}"#).err().unwrap();
/// assert!(error.to_string().contains("did you mean `de`"));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Language>, D::Error> {
    let languages = Vec::<Plausible>::deserialize(deserializer)?;
    Ok(languages.into_iter().map(|Plausible(language)| language).collect())
}

/// Deserialises a table with languages as keys by [`Language::plausible`], for serde's attribute
/// `deserialize_with`.
///
/// # Errors
/// As [`list`], and those of the values.
pub fn keys<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Language, V>, D::Error> {
    let table = BTreeMap::<Plausible, V>::deserialize(deserializer)?;
    Ok(table.into_iter().map(|(Plausible(language), value)| (language, value)).collect())
}
