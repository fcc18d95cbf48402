//! Settings from files.
use mlqa_eval::Language;
use qa_translate::{HttpConfig, MixConfig, Pairs, ProjectConfig, SearchConfig, TranslateConfig};
use serde::de::DeserializeOwned;

fn empty<T: DeserializeOwned>() -> T {
    toml::from_str("").unwrap()
}

#[test]
fn an_empty_file_holds_the_defaults() {
    assert_eq!(empty::<TranslateConfig>(), TranslateConfig::default());
    assert_eq!(empty::<SearchConfig>(), SearchConfig::default());
    assert_eq!(empty::<MixConfig>(), MixConfig::default());
    assert_eq!(empty::<ProjectConfig>(), ProjectConfig::default());
    assert_eq!(empty::<HttpConfig>(), HttpConfig::default());
}

#[test]
fn values_are_read_and_unknown_keys_refused() {
    let mix: MixConfig =
        toml::from_str("pairs = 'all_pairs'\nsource_language = 'de'\nrequire_pair = false")
            .unwrap();
    assert_eq!((mix.pairs, mix.source_language), (Pairs::AllPairs, Language::DE));
    assert!(!mix.require_pair);
    assert!(toml::from_str::<MixConfig>("pair = 'all_pairs'").is_err());
    assert!(toml::from_str::<TranslateConfig>("[search]\ncase = true").is_err());
}
