//! Where translations come from.
//!
//! | you have | use |
//! |---|---|
//! | translations in a file | [`FileTranslator`] |
//! | a LibreTranslate-compatible server | [`Cached`] around [`HttpTranslator`] |
//! | a server with a language model | [`ChatTranslator`] over [`RecordedChat`] over [`HttpChat`] |
//! | code, placeholders or names in the texts | [`Protected`] around any of these |
//! | data that is translated already, as XQuAD | [`parallel`](crate::parallel()), no translator |
mod cached;
mod caller;
mod chat;
mod file;
mod http;
mod identity;
mod journal;
mod protected;
mod scorer;

pub use cached::Cached;
pub use chat::{
    Chat, ChatConfig, ChatMessage, ChatRequest, ChatTranslator, HttpChat, RecordedChat,
};
pub use file::{FileTranslator, MissingText};
pub use http::{HttpConfig, HttpTranslator};
pub use identity::Identity;
pub use protected::{OnFault, Protect, ProtectConfig, ProtectReport, Protected};
pub use scorer::HttpScorer;

use mlqa_eval::Language;

use crate::Error;

/// A translation for each text, in order; `None` stands for a text without one, which the caller
/// counts.
pub type Translations = Result<Vec<Option<String>>, Error>;

/// Anything that translates texts.
pub trait Translator {
    /// Translates `texts`.
    ///
    /// # Errors
    /// If the translator fails as a whole.
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations;

    /// The preferred number of texts in one call. Callers show progress, and a cache saves, after
    /// each call.
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
