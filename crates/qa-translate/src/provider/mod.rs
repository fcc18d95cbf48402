//! Sources of translations.
//!
//! | source | type |
//! |---|---|
//! | a file of translations | [`FileTranslator`] |
//! | a LibreTranslate-compatible server | [`Cached`] around [`HttpTranslator`] |
//! | a language model behind an OpenAI-compatible server | [`Cached`] around [`ChatTranslator`] |
//! | any of these, with code, numbers and names left unchanged | [`Protected`] |
//! | existing translations of the data, such as XQuAD | [`align_by_id`](crate::align_by_id), no translator |
mod cached;
mod chat;
mod chat_rules;
mod clean;
mod client;
mod file;
mod http;
mod identity;
mod journal;
mod protected;
mod refusal;
mod report;
mod split;

pub use cached::Cached;
pub use chat::ChatTranslator;
pub use client::ServerConfig;
pub use file::{FileTranslator, MissingText};
pub use http::HttpTranslator;
pub use identity::Identity;
pub use protected::Protected;
pub use report::{RejectedText, Rejection, RemovedPart, ReplyReport};

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

    /// Returns a description of the translator and of all settings that affect its translations.
    ///
    /// [`Cached`] stores the description with each translation, and reuses only translations with
    /// an equal description.
    fn identity(&self) -> Option<String> {
        None
    }

    /// Returns the counts of cleaned and rejected replies since the last call.
    fn take_reply_report(&mut self) -> ReplyReport {
        ReplyReport::default()
    }
}

impl<T: Translator + ?Sized> Translator for &mut T {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        (**self).translate(texts, from, to)
    }

    fn batch_size(&self) -> usize {
        (**self).batch_size()
    }

    fn identity(&self) -> Option<String> {
        (**self).identity()
    }

    fn take_reply_report(&mut self) -> ReplyReport {
        (**self).take_reply_report()
    }
}
