//! Sentences of people, to see how well a model predicts their words.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use kg_triples::Language;
use kg_triples::phrases::PhrasePassage;

/// The first `most` sentences of `<lang>.tsv` in `folder`, lines of an id, a tab and a text, each a
/// passage to mask tokens of.
pub fn read<'a>(
    folder: &Path,
    languages: impl IntoIterator<Item = &'a Language>,
    most: usize,
) -> Result<BTreeMap<Language, Vec<PhrasePassage>>> {
    let read = |&language: &Language| {
        let path = folder.join(format!("{language}.tsv"));
        let name = || path.display().to_string();
        let text = atomic_file::read_to_string(&path).with_context(name)?;
        let sentence = |(number, line): (usize, &str)| {
            let fault = || format!("{}, line {}: expected id, tab, text", name(), number + 1);
            let (_, text) = line.split_once('\t').with_context(fault)?;
            Ok(PhrasePassage::whole(language, text.to_owned()))
        };
        let lines = text.lines().enumerate().take(most);
        Ok((language, lines.map(sentence).collect::<Result<_>>()?))
    };
    languages.into_iter().map(read).collect()
}
