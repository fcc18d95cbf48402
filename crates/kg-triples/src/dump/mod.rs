//! Reading dumps of whole knowledge bases, which are too large to unpack to disk first.

pub mod bzip2;
