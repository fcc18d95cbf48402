use mlqa_eval::Language;

use crate::{Translations, Translator};

/// Returns every text as it is: for tests, and to see what marking alone does to a data set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl Translator for Identity {
    fn translate(&mut self, texts: &[&str], _: Language, _: Language) -> Translations {
        Ok(texts.iter().map(|&text| Some(text.to_owned())).collect())
    }
}
