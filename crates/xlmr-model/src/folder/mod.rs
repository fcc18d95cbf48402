//! Model folders: reading, writing and changing their files.
pub(crate) mod changed_copy;
pub(crate) mod checkpoint;
pub(crate) mod export;
pub(crate) mod four_bits;
pub(crate) mod load;
pub(crate) mod pretrained;
pub(crate) mod quantize;
pub(crate) mod save;
pub(crate) mod stored;
pub(crate) mod tokenizer;
pub(crate) mod tokenizer_files;
pub(crate) mod trim;
