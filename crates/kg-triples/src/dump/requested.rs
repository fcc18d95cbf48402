//! The requested languages and tables of an extract.
use std::collections::BTreeMap;

use super::config::{ExtractConfig, MulRule, TermLookup};
use super::table::DumpTable;
use crate::wikidata::{LookupStep, Scripts, lookup_steps, mul, sites_of};
use crate::{LabelSource, Language};

/// Ids of sites that end in `wiki` but are not Wikipedias, without this suffix.
const NON_WIKIPEDIAS: [&str; 14] = [
    "commons",
    "foundation",
    "incubator",
    "mediawiki",
    "meta",
    "nostalgia",
    "outreach",
    "sources",
    "species",
    "strategy",
    "test",
    "wikidata",
    "wikifunctions",
    "wikimania",
];

/// A text that was chosen for a requested language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    pub(super) language: Language,
    pub(super) text: String,
    pub(super) source: LabelSource,
}

/// The requested languages and tables.
#[derive(Clone, Debug)]
pub(super) struct Requested {
    languages: Vec<RequestedLanguage>,
    /// The codes of labels, descriptions and aliases that are read, sorted.
    codes: Vec<String>,
    /// The number of `mul`, which only labels and aliases have.
    mul: usize,
    /// The ids of sites that are read, such as `zh_yuewiki`, sorted.
    sites: Vec<String>,
    /// The tables to write, sorted, without duplicates.
    tables: Vec<DumpTable>,
    lookup: TermLookup,
}

/// A requested language with the codes in which its texts are looked up.
#[derive(Clone, Debug)]
struct RequestedLanguage {
    language: Language,
    /// Indices into [`Requested::codes`], in order of preference. Texts of `mul` are last.
    steps: Vec<(usize, LabelSource)>,
    mul: MulTexts,
    /// Indices into [`Requested::sites`], in order of preference.
    sites: Vec<usize>,
}

/// The texts of `mul` that are used for a language.
#[derive(Clone, Debug)]
enum MulTexts {
    None,
    Any,
    InScripts(Scripts),
}

impl MulTexts {
    fn include(&self, text: &str) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::InScripts(scripts) => scripts.contain(text),
        }
    }
}

/// The result of choosing a text for a language.
pub(super) enum Choice<'t, T> {
    Text(&'t T, LabelSource),
    /// There is a text of `mul`, but it is not used for the language.
    UnusedMul,
    Missing,
}

impl Requested {
    /// Creates the requested languages and tables of a valid configuration.
    pub(super) fn new(config: &ExtractConfig) -> Self {
        let planned: Vec<(Language, Vec<LookupStep>)> =
            config.languages.iter().map(|language| (*language, steps(*language, config))).collect();
        let steps = planned.iter().flat_map(|(_, steps)| steps);
        let mut codes: Vec<String> = steps.map(|step| step.code.to_string()).collect();
        codes.push(mul().to_string());
        codes.sort_unstable();
        codes.dedup();
        let mut sites: Vec<String> =
            config.languages.iter().flat_map(|language| site_ids(*language)).collect();
        sites.sort_unstable();
        sites.dedup();
        let languages = planned.into_iter().map(|(language, steps)| RequestedLanguage {
            language,
            mul: mul_texts(language, &steps, config),
            steps: steps
                .iter()
                .map(|step| (index_of(&codes, step.code.as_str()), step.source))
                .collect(),
            sites: site_ids(language).map(|site| index_of(&sites, &site)).collect(),
        });
        Self {
            languages: languages.collect(),
            mul: index_of(&codes, mul().as_str()),
            codes,
            sites,
            tables: config.tables(),
            lookup: config.lookup,
        }
    }

    /// Whether a table is written.
    pub(super) fn has_table(&self, table: DumpTable) -> bool {
        self.tables.contains(&table)
    }

    /// The requested tables except redirects, in the order of [`DumpTable::ALL`].
    pub(super) fn entity_tables(&self) -> impl Iterator<Item = DumpTable> + '_ {
        self.tables.iter().copied().filter(|table| *table != DumpTable::Redirects)
    }

    /// The rule by which texts are looked up.
    pub(super) fn lookup(&self) -> TermLookup {
        self.lookup
    }

    /// The requested languages, in the order of the configuration.
    pub(super) fn languages(&self) -> impl Iterator<Item = Language> + '_ {
        self.languages.iter().map(|requested| requested.language)
    }

    /// The number of a code, if texts of this code are read. Codes are case-insensitive.
    pub(super) fn code_number(&self, code: &str) -> Option<usize> {
        let find = |code: &str| self.codes.binary_search_by(|known| (**known).cmp(code)).ok();
        match code.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => find(&code.to_ascii_lowercase()),
            false => find(code),
        }
    }

    /// The code with a number of [`Requested::code_number`].
    pub(super) fn code(&self, number: usize) -> &str {
        &self.codes[number]
    }

    /// The number of a site such as `dewiki` or `zh_yuewiki`, if it is a Wikipedia in a requested
    /// language.
    pub(super) fn site_number(&self, site: &str) -> Option<usize> {
        self.sites.binary_search_by(|known| known.as_str().cmp(site)).ok()
    }

    /// Chooses a text for each requested language, in the order of [`Requested::languages`].
    /// `texts` contains texts by the numbers of their codes.
    pub(super) fn choose<'t, T: AsRef<str>>(
        &self,
        texts: &'t BTreeMap<usize, T>,
    ) -> impl Iterator<Item = (Language, Choice<'t, T>)> {
        let mul = texts.get(&self.mul);
        self.languages.iter().map(move |requested| {
            let mut steps = requested.steps.iter();
            let found = steps.find_map(|(code, source)| Some((texts.get(code)?, *source)));
            let choice = match (found, mul) {
                (Some((text, source)), _) => Choice::Text(text, source),
                (None, Some(mul)) if requested.mul.include(mul.as_ref()) => {
                    Choice::Text(mul, LabelSource::Mul)
                }
                (None, Some(_)) => Choice::UnusedMul,
                (None, None) => Choice::Missing,
            };
            (requested.language, choice)
        })
    }

    /// Returns all texts for each requested language: of the language, its variants, its fallback
    /// languages and `mul`, in this order. `texts` contains lists of texts by the numbers of their
    /// codes.
    pub(super) fn choose_all<'t>(
        &'t self,
        texts: &'t BTreeMap<usize, Vec<String>>,
    ) -> impl Iterator<Item = (Language, &'t str, LabelSource)> {
        let mul = texts.get(&self.mul);
        self.languages.iter().flat_map(move |requested| {
            let steps = requested.steps.iter();
            let of_step =
                steps.flat_map(|(code, source)| texts.get(code).map(|texts| (texts, *source)));
            let of_step = of_step
                .flat_map(|(texts, source)| texts.iter().map(move |text| (text.as_str(), source)));
            let of_mul = mul.into_iter().flatten().map(String::as_str);
            let of_mul = of_mul.filter(|text| requested.mul.include(text));
            let all = of_step.chain(of_mul.map(|text| (text, LabelSource::Mul)));
            all.map(|(text, source)| (requested.language, text, source))
        })
    }

    /// Chooses a title for each requested language. `titles` contains titles by the numbers of
    /// their sites.
    pub(super) fn choose_titles<'t>(
        &'t self,
        titles: &'t BTreeMap<usize, String>,
    ) -> impl Iterator<Item = (Language, &'t str)> {
        self.languages.iter().filter_map(|requested| {
            let title = requested.sites.iter().find_map(|site| titles.get(site))?;
            Some((requested.language, title.as_str()))
        })
    }

    /// The number of a code of descriptions, which `mul` does not have.
    pub(super) fn description_number(&self, code: &str) -> Option<usize> {
        self.code_number(code).filter(|number| *number != self.mul)
    }
}

/// Returns the codes in which the texts of a language are looked up, in order of preference.
fn steps(language: Language, config: &ExtractConfig) -> Vec<LookupStep> {
    let fallback = config.fallback.iter().find(|(code, _)| *code == language);
    let looked_up = lookup_steps(language);
    match (config.lookup, fallback) {
        (TermLookup::Wikidata, None) => looked_up,
        (lookup, fallback) => {
            let is_own = |step: &&LookupStep| match lookup {
                TermLookup::Wikidata => step.source == LabelSource::Language,
                TermLookup::Exact => false,
            };
            let mut steps: Vec<LookupStep> = looked_up.iter().filter(is_own).copied().collect();
            if steps.is_empty() {
                steps.push(LookupStep { code: language, source: LabelSource::Language });
            }
            for code in fallback.into_iter().flat_map(|(_, codes)| codes) {
                let known = looked_up.iter().find(|step| step.code == *code);
                let source = match known {
                    _ if *code == mul() => LabelSource::Mul,
                    Some(step) if step.source == LabelSource::Variant => LabelSource::Variant,
                    _ => LabelSource::Fallback,
                };
                if steps.iter().all(|step| step.code != *code) {
                    steps.push(LookupStep { code: *code, source });
                }
            }
            steps
        }
    }
}

/// Returns the texts of `mul` that are used if the steps of a language have no text.
fn mul_texts(language: Language, steps: &[LookupStep], config: &ExtractConfig) -> MulTexts {
    let is_listed = steps.iter().any(|step| step.code == mul());
    match (config.lookup, config.mul) {
        _ if is_listed => MulTexts::None,
        (TermLookup::Exact, _) => MulTexts::None,
        (TermLookup::Wikidata, MulRule::AnyScript) => MulTexts::Any,
        (TermLookup::Wikidata, MulRule::SameScript) => {
            Scripts::of(language).map_or(MulTexts::None, MulTexts::InScripts)
        }
    }
}

/// Returns the ids of the Wikipedias in `language`, in order of preference.
fn site_ids(language: Language) -> impl Iterator<Item = String> {
    let sites = sites_of(language).into_iter();
    let sites = sites.filter(|site| !NON_WIKIPEDIAS.contains(&site.as_str()));
    sites.map(|site| format!("{}wiki", site.as_str().replace('-', "_")))
}

/// The index of a text in a sorted list that contains it.
#[expect(clippy::expect_used, reason = "the lists have the code of every step and every site")]
fn index_of(sorted: &[String], text: &str) -> usize {
    let found = sorted.binary_search_by(|known| (**known).cmp(text));
    found.expect("the list contains every text that is looked up")
}
