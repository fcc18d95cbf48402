#![doc = include_str!("../README.md")]

mod code;
mod error;
mod names;
mod registered;

pub use code::Language;
pub use error::{LanguageError, UnknownLanguage};
