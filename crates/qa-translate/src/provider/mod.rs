//! Where translations come from.
//!
//! | you have | use |
//! |---|---|
//! | translations in a file | [`FileTranslator`] |
//! | a LibreTranslate-compatible server | [`Cached`] around [`HttpTranslator`] |
//! | data that is translated already, as XQuAD | [`parallel`](crate::parallel()), no translator |
mod cached;
mod file;
mod http;
mod identity;

pub use cached::Cached;
pub use file::{FileTranslator, MissingText};
pub use http::{HttpConfig, HttpTranslator};
pub use identity::Identity;

use mlqa_eval::Language;

use crate::TranslateError;

/// Anything that translates texts.
pub trait Translator {
    /// Translates `texts`, in order; `None` stands for a text without translation, which the caller
    /// counts.
    ///
    /// # Errors
    /// If the translator fails as a whole.
    fn translate(
        &mut self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<Option<String>>, TranslateError>;

    /// The preferred number of texts in one call. Callers show progress, and a cache saves, after
    /// as many.
    fn batch_size(&self) -> usize {
        32
    }
}

impl<T: Translator + ?Sized> Translator for Box<T> {
    fn translate(
        &mut self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<Option<String>>, TranslateError> {
        (**self).translate(texts, from, to)
    }

    fn batch_size(&self) -> usize {
        (**self).batch_size()
    }
}

impl<T: Translator + ?Sized> Translator for &mut T {
    fn translate(
        &mut self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<Option<String>>, TranslateError> {
        (**self).translate(texts, from, to)
    }

    fn batch_size(&self) -> usize {
        (**self).batch_size()
    }
}
