//! Natural text for masked language modelling: sentences for scores, and paragraphs for training.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use experiment::read_json;
use kg_triples::Language;
use kg_triples::phrases::PhrasePassage;

/// Reads the first `max_lines` sentences of `<lang>.tsv` in `folder` as passages. A line has an id,
/// a tab and a text.
pub fn read<'a>(
    folder: &Path,
    languages: impl IntoIterator<Item = &'a Language>,
    max_lines: usize,
) -> Result<BTreeMap<Language, Vec<PhrasePassage>>> {
    let read_language = |&language: &Language| {
        let path = folder.join(format!("{language}.tsv"));
        let path_text = || path.display().to_string();
        let text = atomic_file::read_to_string(&path)?;
        let parse_line = |(index, line): (usize, &str)| {
            let message = || format!("{}, line {}: expected id, tab, text", path_text(), index + 1);
            let (_, text) = line.split_once('\t').with_context(message)?;
            Ok(PhrasePassage::single_phrase(language, text.to_owned()))
        };
        let lines = text.lines().enumerate().take(max_lines);
        Ok((language, lines.map(parse_line).collect::<Result<_>>()?))
    };
    languages.into_iter().map(read_language).collect()
}

/// Reads the paragraphs of `<lang>.json` in `folder`, a JSON list of texts as `demo-data text`
/// writes it.
pub fn read_paragraphs<'a>(
    folder: &Path,
    languages: impl IntoIterator<Item = &'a Language>,
) -> Result<BTreeMap<Language, Vec<PhrasePassage>>> {
    let read_language = |&language: &Language| {
        let texts: Vec<String> = read_json(folder.join(format!("{language}.json")))?;
        let passage = |text| PhrasePassage::single_phrase(language, text);
        Ok((language, texts.into_iter().map(passage).collect()))
    };
    languages.into_iter().map(read_language).collect()
}
