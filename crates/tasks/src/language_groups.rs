//! Assignment of languages to models.
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

/// Assignment of a list of languages to models; the first language is the source.
///
/// # Example
/// ```
/// use mlqa_eval::Language;
/// use tasks::LanguageGroups;
///
/// let languages = [Language::EN, Language::DE, Language::ZH];
/// let groups = LanguageGroups::PerPair;
/// assert_eq!(groups.names(&languages), ["en-de", "en-zh"]);
/// assert_eq!(groups.members(&languages, "en-zh"), [Language::EN, Language::ZH]);
/// assert_eq!(LanguageGroups::Joint.names(&languages), ["all"]);
/// assert_eq!(groups.members(&languages, "all"), languages);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageGroups {
    /// One model per pair of the source and another language, as in the experiments of *Bridging
    /// the Language Gap* (section V).
    #[default]
    PerPair,
    /// One model for all languages.
    Joint,
}

impl LanguageGroups {
    /// Returns the groups' names: `all`, or `en-de` and so on.
    pub fn names(self, languages: &[Language]) -> Vec<String> {
        match (self, languages.split_first()) {
            (Self::PerPair, Some((first, targets))) => {
                targets.iter().map(|target| format!("{first}-{target}")).collect()
            }
            _ => vec!["all".to_owned()],
        }
    }

    /// Returns the languages of a group, starting with the source; all languages if the name is not
    /// a pair.
    pub fn members(self, languages: &[Language], name: &str) -> Vec<Language> {
        let Some((&first, targets)) = languages.split_first() else { return Vec::new() };
        let is_pair = |target: &&Language| format!("{first}-{target}") == name;
        match targets.iter().find(is_pair) {
            Some(&target) => vec![first, target],
            None => languages.to_vec(),
        }
    }
}
