//! Wikidata's rules for names: the languages in which a name is looked up, the scripts of languages,
//! and the sites of languages.
mod lookup;
mod scripts;
mod sites;

use crate::Language;

pub(crate) use lookup::{LookupStep, lookup_steps};
pub(crate) use scripts::Scripts;
pub(crate) use sites::{site_of, sites_of};

/// Returns the code of names that are equal in many languages ("default for all languages").
pub(crate) fn mul() -> Language {
    lookup::embedded("mul")
}

/// Returns the rows of an embedded table, split into cells, without comments and the header.
#[expect(clippy::expect_used, reason = "the tables are constants, whose rows a test checks")]
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    let lines = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines.map(|line| {
        let mut cells = line.split('\t');
        std::array::from_fn(|_| {
            cells.next().expect("a row of an embedded table has a cell for each column")
        })
    })
}

/// Splits a cell into language codes.
fn codes(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split(',').filter(|code| !code.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::Language;

    #[test]
    fn every_row_of_the_tables_is_valid() {
        for (table, columns) in [(super::lookup::LANGUAGES, 4), (super::sites::SITES, 3)] {
            let lines = table.lines().filter(|line| !line.starts_with('#'));
            let mut previous = "";
            for line in lines.skip(1) {
                assert_eq!(line.split('\t').count(), columns, "{line}");
                let code = line.split('\t').next().unwrap();
                assert!(previous < code, "{line}");
                previous = code;
            }
        }
        for [code, _, variants, fallbacks] in super::rows(super::lookup::LANGUAGES) {
            for code in
                [code].into_iter().chain(super::codes(variants)).chain(super::codes(fallbacks))
            {
                assert_eq!(Language::new(code).unwrap().as_str(), code);
            }
        }
        for [site, languages, also] in super::rows(super::sites::SITES) {
            for code in [site].into_iter().chain(super::codes(languages)).chain(super::codes(also))
            {
                assert_eq!(Language::new(code).unwrap().as_str(), code);
            }
        }
    }
}
