//! Text with linked mentions of entities, from several sources.
//!
//! | your text | reader |
//! |---|---|
//! | already linked | [`JsonlReader`](crate::jsonl::JsonlReader)`<`[`LinkedText`]`>` |
//! | Wikipedia, through WikiExtractor with `--links --json` | [`WikiReader`] with [`Sitelinks`] |
//! | without links | [`LabelMatcher`], which finds labels of entities |
//! | pages of entities, `entities.<lang>.jsonl` | [`EntityPage`], [`page_files`] |
mod labels;
mod pages;
mod text;
mod wiki;

pub use labels::{LabelMatcher, LabelReport, LinkReport};
pub use pages::{EntityPage, PageText, page_files, read_pages};
pub(crate) use text::JoinedText;
pub use text::{LinkedText, Mention, Passage, passages};
pub(crate) use wiki::string_or_number;
pub use wiki::{Sitelinks, WikiReader, WikiReport};
