//! Sources of translations.
//!
//! | source | type |
//! |---|---|
//! | a file of translations | [`FileTranslator`] |
//! | a LibreTranslate-compatible server | [`Cached`] around [`HttpTranslator`] |
//! | a language model behind an OpenAI-compatible server | [`Cached`] around [`ChatTranslator`] |
//! | existing translations of the data, such as XQuAD | [`align_by_id`](crate::align_by_id), no translator |
mod cached;
mod chat;
mod client;
mod file;
mod http;
mod identity;
mod journal;

pub use cached::Cached;
pub use chat::ChatTranslator;
pub use client::ServerConfig;
pub use file::{FileTranslator, MissingText};
pub use http::HttpTranslator;
pub use identity::Identity;

use mlqa_eval::Language;

use crate::Error;

/// The translation of each text, in order; `None` for a text without a translation.
pub type Translations = Result<Vec<Option<String>>, Error>;

/// A translator of texts.
pub trait Translator {
    /// Translates `texts` in order.
    ///
    /// # Errors
    /// [`Error`] if the texts cannot be translated, for example because a server is not available.
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations;

    /// Returns the preferred number of texts in one call. Callers update progress bars, and
    /// [`Cached`] writes its file, after each call.
    fn batch_size(&self) -> usize {
        32
    }
}

impl<T: Translator + ?Sized> Translator for &mut T {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        (**self).translate(texts, from, to)
    }

    fn batch_size(&self) -> usize {
        (**self).batch_size()
    }
}
