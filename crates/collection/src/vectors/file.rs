//! A file of vectors.
//!
//! The file has five sections: a header of 64 bytes, the passages' numbers (u64, ascending), the
//! scales (f32), the codes (i8, one row per vector) and the vectors (f32). Integers and floats are
//! little-endian.
use std::io::Write;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use super::PartView;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"polyqa-v";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// Returns the name of a file of vectors.
pub(crate) fn file_name(file: u64) -> String {
    format!("{file:06}.vectors")
}

/// Returns whether a file name is one of [`file_name`].
pub(crate) fn is_vector_file(name: &str) -> bool {
    name.strip_suffix(".vectors")
        .is_some_and(|number| number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A file of vectors, mapped or in memory.
#[derive(Debug)]
pub(crate) struct VectorFile {
    bytes: Bytes,
    rows: usize,
    width: usize,
    layout: Layout,
}

/// The content of a file.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    InMemory(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::InMemory(bytes) => bytes,
        }
    }
}

/// The start of sections, and the size of the file.
#[derive(Clone, Copy, Debug)]
struct Layout {
    scales: usize,
    codes: usize,
    vectors: usize,
    size: usize,
}

impl Layout {
    /// Returns `None` if the sizes are too large for any file.
    fn of(rows: usize, width: usize) -> Option<Self> {
        let elements = rows.checked_mul(width)?;
        let scales = rows.checked_mul(8)?.checked_add(HEADER_BYTES)?;
        let codes = rows.checked_mul(4)?.checked_add(scales)?;
        let vectors = codes.checked_add(elements)?;
        let size = elements.checked_mul(4)?.checked_add(vectors)?;
        Some(Self { scales, codes, vectors, size })
    }
}

impl VectorFile {
    /// Maps a file. `rows` and `width` are those of the manifest.
    ///
    /// # Errors
    /// [`Error::Folder`] if the file cannot be read, or is not a file of this number of vectors.
    pub fn open(path: &Path, rows: u64, width: usize) -> Result<Self> {
        let file = atomic_file::fs::open(path)?;
        // SAFETY: files of vectors are written once under a temporary name, renamed, and never
        // changed; programs that change them violate the contract of the folder.
        let map = unsafe { Mmap::map(&file) }.map_err(atomic_file::Error::new(path, "read"))?;
        let expected = header(rows, width);
        if map.get(..HEADER_BYTES) != Some(&expected) {
            let problem = format!(
                "not a file of {rows} vectors with {width} elements; the collection is damaged, so index \
                 the documents again"
            );
            return Err(Error::folder(path, problem));
        }
        let size = usize::try_from(rows).ok().and_then(|rows| Layout::of(rows, width));
        match size {
            Some(layout) if layout.size == map.len() => {
                let rows = (layout.scales - HEADER_BYTES) / 8;
                Ok(Self { bytes: Bytes::Mapped(map), rows, width, layout })
            }
            _ => {
                let problem = format!(
                    "{} bytes are not the size of {rows} vectors with {width} elements; the collection is \
                     damaged, so index the documents again",
                    map.len()
                );
                Err(Error::folder(path, problem))
            }
        }
    }

    /// Returns a file in memory with these vectors, which are in ascending order of their passages'
    /// numbers.
    pub fn in_memory(rows: &[(u64, Vec<f32>)], width: usize) -> Self {
        let layout = Layout::of(rows.len(), width).expect("vectors in memory have a size");
        let mut bytes = Vec::with_capacity(layout.size);
        write_rows(&mut bytes, rows, width).expect("writing to memory does not fail");
        Self { bytes: Bytes::InMemory(bytes), rows: rows.len(), width, layout }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn number(&self, row: usize) -> u64 {
        let start = HEADER_BYTES + 8 * row;
        u64::from_le_bytes(bytes(&self.bytes[start..start + 8]))
    }

    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.rows).map(|row| self.number(row))
    }

    /// Returns the row of a passage.
    pub fn find(&self, number: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low.midpoint(high);
            match self.number(middle).cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    pub fn scale(&self, row: usize) -> f32 {
        let start = self.layout.scales + 4 * row;
        f32::from_le_bytes(bytes(&self.bytes[start..start + 4]))
    }

    pub fn codes(&self, row: usize) -> &[u8] {
        let start = self.layout.codes + self.width * row;
        &self.bytes[start..start + self.width]
    }

    /// Returns the codes of consecutive rows.
    pub fn code_rows(&self, rows: std::ops::Range<usize>) -> &[u8] {
        let at = |row: usize| self.layout.codes + self.width * row;
        &self.bytes[at(rows.start)..at(rows.end)]
    }

    fn vector_bytes(&self, row: usize) -> &[u8] {
        let start = self.layout.vectors + 4 * self.width * row;
        &self.bytes[start..start + 4 * self.width]
    }

    pub fn vector(&self, row: usize) -> impl Iterator<Item = f32> + '_ {
        self.vector_bytes(row).chunks_exact(4).map(|chunk| f32::from_le_bytes(bytes(chunk)))
    }
}

fn bytes<const N: usize>(slice: &[u8]) -> [u8; N] {
    slice.try_into().expect("the slice has N bytes")
}

fn header(rows: u64, width: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&rows.to_le_bytes());
    header[24..32].copy_from_slice(&to_u64(width).to_le_bytes());
    header
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).expect("a size fits into 64 bits")
}

/// Returns the 8-bit codes of a vector and their scale.
pub(crate) fn quantise(vector: &[f32]) -> (Vec<i8>, f32) {
    let largest = vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = if largest == 0.0 { 1.0 } else { largest / 127.0 };
    // The values are in -127..=127.
    #[expect(clippy::cast_possible_truncation)]
    let codes = vector.iter().map(|x| (x / scale).round() as i8).collect();
    (codes, scale)
}

/// Writes a file of vectors in ascending order of their passages' numbers, and syncs it to disk.
/// Returns its number of rows.
pub(crate) fn write(folder: &Path, file: u64, rows: &[(u64, Vec<f32>)]) -> Result<u64> {
    let width = rows.first().map_or(0, |(_, vector)| vector.len());
    write_file(&folder.join(file_name(file)), |output| write_rows(output, rows, width))?;
    Ok(to_u64(rows.len()))
}

/// Writes the header and all sections of a file.
fn write_rows(
    output: &mut dyn Write,
    rows: &[(u64, Vec<f32>)],
    width: usize,
) -> std::io::Result<()> {
    let codes: Vec<(Vec<i8>, f32)> = rows.iter().map(|(_, vector)| quantise(vector)).collect();
    output.write_all(&header(to_u64(rows.len()), width))?;
    for (number, _) in rows {
        output.write_all(&number.to_le_bytes())?;
    }
    for (_, scale) in &codes {
        output.write_all(&scale.to_le_bytes())?;
    }
    for (codes, _) in &codes {
        let bytes: Vec<u8> = codes.iter().map(|code| code.cast_unsigned()).collect();
        output.write_all(&bytes)?;
    }
    for (_, vector) in rows {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        output.write_all(&bytes)?;
    }
    Ok(())
}

/// Writes the rows of several files whose passages are in the collection into one file, and syncs
/// it to disk. Returns its number of rows. The memory does not depend on the number of rows.
pub(crate) fn merge(folder: &Path, file: u64, parts: &[&PartView]) -> Result<u64> {
    let path = folder.join(file_name(file));
    // Rows of different files can be interleaved, because passages without a vector are embedded
    // later than the passages after them.
    let mut order: Vec<(u64, u32, u32)> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        for row in (0..part.file.rows()).filter(|&row| part.is_alive(row)) {
            let too_large = |_| Error::vectors("a file of vectors has more than 2^32 rows");
            let row_index = u32::try_from(row).map_err(too_large)?;
            let part_index = u32::try_from(index).map_err(too_large)?;
            order.push((part.file.number(row), part_index, row_index));
        }
    }
    order.sort_unstable();
    let location = |&(_, part, row): &(u64, u32, u32)| (&*parts[part as usize].file, row as usize);
    let width = parts.first().map_or(0, |part| part.file.width);
    let count = to_u64(order.len());
    write_file(&path, |output| {
        output.write_all(&header(count, width))?;
        for (number, ..) in &order {
            output.write_all(&number.to_le_bytes())?;
        }
        for (file, row) in order.iter().map(location) {
            output.write_all(&file.scale(row).to_le_bytes())?;
        }
        for (file, row) in order.iter().map(location) {
            output.write_all(file.codes(row))?;
        }
        for (file, row) in order.iter().map(location) {
            output.write_all(file.vector_bytes(row))?;
        }
        Ok(())
    })?;
    Ok(count)
}

/// Writes a file, and syncs it to disk.
fn write_file(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut output = atomic_file::AtomicFile::create(path)?;
    content(&mut output).map_err(atomic_file::Error::new(path, "write"))?;
    Ok(output.finish()?)
}
