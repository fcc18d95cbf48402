//! TensorBoard's event files: protocol buffers in records with length and checksums.
//!
//! Sources: `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/util/event.proto`.
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::{Error, Result};

/// The fields of `event.proto` that are written.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// `summary.proto`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.SessionStatus.START`: readers discard values of earlier files from this step on.
const START: i32 = 1;

/// The file of one part of a stage, from a start or resumption to the next one.
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Creates a file in `folder` for the steps after `step`.
    pub(crate) fn create(folder: &Path, step: u64) -> Result<Self> {
        let (seconds, process) = (now(), std::process::id());
        // Files are read in the order of their names.
        let mut open = OpenOptions::new();
        open.append(true).create_new(true);
        let mut number = 0u64;
        let (path, file) = loop {
            let name = format!("events.out.tfevents.{seconds:017.6}.{process}.{number}");
            let path = folder.join(name);
            match open.open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::file(path, error)),
            }
        };
        let mut file = Self { path, file };
        file.append(0, What::FileVersion("brain.Event:2".into()))?;
        if step > 0 {
            file.append(step.saturating_add(1), What::SessionLog(SessionLog { status: START }))?;
        }
        Ok(file)
    }

    /// Appends the values of a step by their tags.
    pub(crate) fn scalars<'v>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (&'v str, f64)>,
    ) -> Result<()> {
        let value = |(tag, value): (&str, f64)| Value {
            tag: tag.to_owned(),
            simple_value: Some(value as f32),
        };
        self.append(step, What::Summary(Summary { value: values.into_iter().map(value).collect() }))
    }

    fn append(&mut self, step: u64, what: What) -> Result<()> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = Event { wall_time: now(), step, what: Some(what) };
        let bytes = record(&event.encode_to_vec());
        self.file.write_all(&bytes).map_err(|error| Error::file(&self.path, error))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A record: length, checksum of the length, data, checksum of the data.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(bytes);
    record.extend(masked(bytes).to_le_bytes());
    record
}

/// CRC-32C, rotated and offset, because the data may contain checksums.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let data = &rest[12..12 + length];
            assert_eq!(rest[8..12], masked(&rest[..8]).to_le_bytes());
            assert_eq!(rest[12 + length..16 + length], masked(data).to_le_bytes());
            events.push(Event::decode(data).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn a_record_is_that_of_tensorboard() {
        // `tensorboard.compat.tensorflow_stub.pywrap_tensorflow.masked_crc32c` of b"123456789".
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // The first record of any file of tensorboard's, at 1.5 s.
        let what = Some(What::FileVersion("brain.Event:2".into()));
        let event = Event { wall_time: 1.5, step: 0, what }.encode_to_vec();
        assert_eq!(event[..9], [9, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
        assert_eq!(event[9..11], [0x1a, 13]);
        assert_eq!(&event[11..], b"brain.Event:2");
    }

    #[test]
    fn a_resumed_part_begins_where_readers_forget_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 0).unwrap();
        file.scalars(3, [("loss", 0.0), ("loss/span", 2.5)]).unwrap();
        let first = events(&file.path);
        assert_eq!(first.len(), 2);
        let Some(What::Summary(summary)) = &first[1].what else { panic!("{first:?}") };
        let values: Vec<_> =
            summary.value.iter().map(|value| (value.tag.as_str(), value.simple_value)).collect();
        assert_eq!(values, [("loss", Some(0.0)), ("loss/span", Some(2.5))]);
        let resumed = events(&EventFile::create(folder.path(), 2).unwrap().path);
        assert_eq!(resumed[1].what, Some(What::SessionLog(SessionLog { status: START })));
        assert_eq!(resumed[1].step, 3);
    }
}
