#![doc = include_str!("../README.md")]

mod code;
mod error;
mod fold;
mod names;
pub mod plausible;
mod registered;
mod terms;

pub use code::Language;
pub use error::{LanguageError, UnknownLanguage};
pub use fold::{Folded, fold, fold_retaining_case, is_invisible};
pub use terms::{TERMS_VERSION, for_each_term};
