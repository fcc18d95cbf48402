//! Functions that require a tokenizer: windows, decoding and coverage.
mod compatible;
mod counts;
mod coverage;
mod cut;
mod decode;
mod decode_config;
mod highest;
mod run_qa;
mod spans;
mod tokens;
mod words;

pub use compatible::Compatible;
pub use counts::WindowCounts;
pub use coverage::{Coverage, coverage};
pub use cut::{
    Purpose, Separator, UnanswerableWindow, Window, WindowConfig, WindowCutter, WindowTokenizer,
    windows,
};
pub use decode::{decode, decode_answers, decode_candidates};
pub use decode_config::{DecodeConfig, WindowScore};
pub use tokens::load_tokenizer;
