//! Functions that need a tokenizer: windows, decoding and coverage.
mod compatible;
mod counts;
mod coverage;
mod cut;
mod decode;
mod highest;
mod tokens;
mod words;

pub use compatible::Compatible;
pub use counts::WindowCounts;
pub use coverage::{Coverage, coverage};
pub use cut::{
    Purpose, Separator, UnanswerableWindow, Window, WindowConfig, WindowCutter, WindowTokenizer,
    windows,
};
pub use decode::{DecodeConfig, WindowScore, decode, decode_answers};
pub use tokens::load_tokenizer;
