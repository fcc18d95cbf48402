//! Incremental hash of a task's examples and options.
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The SHA-256 of named fields, which are hashed without being stored.
///
/// The hash input of a field contains the lengths of its name and value, so that different lists of
/// fields never have the same hash input.
///
/// A training task adds its examples and options. Together with the model's parameters, they
/// determine the losses. Paths are not included, so that a run can be resumed after its folder was
/// moved.
///
/// # Example
/// ```
/// use shards::Fingerprint;
///
/// let hash = |rows: &[&[u32]]| {
///     let mut fingerprint = Fingerprint::new();
///     fingerprint.add_json("dropout", &0.1);
///     for row in rows {
///         fingerprint.add_ids("input_ids", row);
///     }
///     fingerprint.finish()
/// };
/// assert_eq!(hash(&[&[1, 2], &[3]])?, hash(&[&[1, 2], &[3]])?);
/// assert_ne!(hash(&[&[1, 2], &[3]])?, hash(&[&[1], &[2, 3]])?);
/// # Ok::<(), shards::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fingerprint {
    hash: Sha256,
    /// The first field that could not be serialised, and the reason.
    serialization_error: Option<(String, String)>,
}

impl Fingerprint {
    /// Creates a fingerprint without fields.
    pub fn new() -> Self {
        Self::default()
    }

    fn start_field(&mut self, name: &str, value_bytes: u64) {
        self.hash.update((name.len() as u64).to_le_bytes());
        self.hash.update(name.as_bytes());
        self.hash.update(value_bytes.to_le_bytes());
    }

    /// Adds a field of bytes or text.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        let value = value.as_ref();
        self.start_field(name, value.len() as u64);
        self.hash.update(value);
        self
    }

    /// Adds a number.
    pub fn add_number(&mut self, name: &str, value: u64) -> &mut Self {
        self.add(name, value.to_le_bytes())
    }

    /// Adds a list of token ids or labels. The hash does not depend on the integer type of the ids.
    pub fn add_ids<I: Copy + Into<i64>>(&mut self, name: &str, ids: &[I]) -> &mut Self {
        self.start_field(name, 8 * ids.len() as u64);
        for &id in ids {
            let id: i64 = id.into();
            self.hash.update(id.to_le_bytes());
        }
        self
    }

    /// Adds a value as the SHA-256 of its JSON text. If JSON cannot represent the value (a map with
    /// keys other than strings), [`finish`](Self::finish) returns an error.
    pub fn add_json<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> &mut Self {
        let mut json_hash = Sha256::new();
        match serde_json::to_writer(&mut json_hash, value) {
            Ok(()) => self.add(name, json_hash.finalize()),
            Err(error) => self.record_error(name, &error),
        }
    }

    /// Records that a field could not be serialised, so that [`finish`](Self::finish) returns an
    /// error.
    pub fn record_error(&mut self, name: &str, reason: &dyn std::fmt::Display) -> &mut Self {
        self.serialization_error.get_or_insert_with(|| (name.to_owned(), reason.to_string()));
        self
    }

    /// Returns the hash as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Fingerprint`] naming the first field that could not be serialised.
    pub fn finish(self) -> Result<String> {
        match self.serialization_error {
            Some((field, reason)) => Err(Error::Fingerprint { field, reason }),
            None => Ok(to_hex(&self.hash.finalize())),
        }
    }
}

/// Formats bytes as hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hash(add_fields: impl Fn(&mut Fingerprint) -> &mut Fingerprint) -> String {
        let mut fingerprint = Fingerprint::new();
        add_fields(&mut fingerprint);
        fingerprint.finish().unwrap()
    }

    #[test]
    fn hashed_bytes_are_lengths_names_and_values() {
        let expected = Sha256::digest(b"\x02\0\0\0\0\0\0\0id\x03\0\0\0\0\0\0\0abc");
        assert_eq!(hash(|fingerprint| fingerprint.add("id", "abc")), to_hex(&expected));
        // The hash of an empty input (FIPS 180-2).
        assert!(hash(|fingerprint| fingerprint).starts_with("e3b0c44298fc1c14"));
    }

    #[test]
    fn a_field_that_json_cannot_represent_is_named() {
        let mut fingerprint = Fingerprint::new();
        let pairs = BTreeMap::from([(("en", "de"), 1)]);
        fingerprint.add_json("pairs", &pairs).add_number("n", 1);
        let error = fingerprint.finish().unwrap_err().to_string();
        assert!(error.starts_with("fingerprint, field pairs: "), "{error}");
    }
}
