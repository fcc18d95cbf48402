//! Site codes of Wikipedias, which differ from the codes of labels for some languages.
use std::collections::HashMap;
use std::sync::LazyLock;

use super::lookup::embedded;
use super::{codes, rows};
use crate::Language;

/// Columns: `site languages also`, sorted by site.
pub(super) const SITES: &str = include_str!("sites.tsv");

/// Returns the codes of labels in the language of a site: `yue` for `zh-yue`. The list is empty for
/// a code that is not in the table, whose labels have the same code.
pub(super) fn labels_of_site(site: Language) -> Vec<Language> {
    let row = rows::<3>(SITES).find(|[code, ..]| site == *code);
    row.map_or_else(Vec::new, |[_, languages, _]| codes(languages).map(embedded).collect())
}

/// Returns the codes of the Wikipedias in `language`, the most specific first. They are site codes
/// with hyphens: `no` for `nb`, and `zh-yue` for `yue`. The first code is `language` itself, because
/// a site may be renamed.
pub(crate) fn sites_of(language: Language) -> Vec<Language> {
    let mut sites = vec![language];
    for [site, languages, also] in rows::<3>(SITES) {
        let mut listed = codes(languages).chain(codes(also));
        if listed.any(|code| language == code) && language != site {
            sites.push(embedded(site));
        }
    }
    // A site code's own language may have a site in future, such as `nbwiki`.
    sites.extend(labels_of_site(language).into_iter().filter(|code| *code != language));
    sites
}

/// Returns one code for all codes of a Wikipedia: its site code, such as `no` for `no` and `nb`.
pub(crate) fn site_of(language: Language) -> Language {
    // The function is called for every title of a table, so the rows are parsed only once.
    static SITES_BY_CODE: LazyLock<HashMap<Language, Language>> = LazyLock::new(|| {
        let rows = rows::<3>(SITES).flat_map(|[site, languages, also]| {
            let listed = codes(languages).chain(codes(also));
            listed.map(move |code| (embedded(code), embedded(site)))
        });
        rows.collect()
    });
    SITES_BY_CODE.get(&language).copied().unwrap_or(language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(code: &str) -> Language {
        Language::new(code).unwrap()
    }

    #[test]
    fn codes_of_sites_and_labels_belong_together() {
        for (site, label) in [
            ("no", "nb"),
            ("zh-yue", "yue"),
            ("zh-min-nan", "nan"),
            ("zh-classical", "lzh"),
            ("be-x-old", "be-tarask"),
            ("als", "gsw"),
            ("bat-smg", "sgs"),
            ("fiu-vro", "vro"),
            ("roa-rup", "rup"),
            ("nrm", "nrf"),
            ("eml", "egl"),
            ("crh", "crh-latn"),
            ("bh", "bho"),
        ] {
            assert!(sites_of(language(label)).contains(&language(site)), "{label}");
            assert_eq!(site_of(language(label)), site);
            assert_eq!(site_of(language(site)), site);
        }
        for code in ["de", "simple", "mo", "zh"] {
            assert_eq!(sites_of(language(code)), [language(code)]);
            assert_eq!(site_of(language(code)), code);
        }
    }
}
