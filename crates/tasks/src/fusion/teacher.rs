//! Stored scores of a teacher model for training examples.
use std::path::Path;

use tch::Tensor;
use torch_ext::{TensorFile, to_i64, to_usize, write_tensors};
use trainer::Fingerprint;

use crate::{Error, Result};

/// A teacher's scores for N training examples.
///
/// There is one list per example and output of the head, such as `starts` and `ends`.
///
/// The scores are stored in one safetensors file: the concatenated lists of every output, float32;
/// their `offsets`, `[N + 1]` i64; and the metadata `fingerprint`, the SHA-256 of the teacher's
/// weights, the examples and the options.
#[derive(Clone, Debug, PartialEq)]
pub struct TeacherLogits {
    outputs: Vec<Vec<f32>>,
    offsets: Vec<usize>,
}

/// Key of the fingerprint in the file's metadata.
const FINGERPRINT: &str = "fingerprint";
const OFFSETS: &str = "offsets";

impl TeacherLogits {
    /// Creates the scores from `rows`, each of which has `output_count` lists of equal length.
    ///
    /// # Errors
    /// [`Error::Data`] naming the first row with another number of lists, or with lists of
    /// different lengths.
    pub(super) fn from_rows(rows: &[Vec<Vec<f32>>], output_count: usize) -> Result<Self> {
        let mut logits = Self { outputs: vec![Vec::new(); output_count], offsets: vec![0] };
        let mut end = 0;
        for (number, row) in rows.iter().enumerate() {
            let length = row.first().map_or(0, Vec::len);
            if row.len() != output_count || row.iter().any(|list| list.len() != length) {
                let actual = format!("{:?}", row.iter().map(Vec::len).collect::<Vec<_>>());
                let expected = format!("{output_count} lists of one length");
                return Err(Error::data(format!("logits of example {number}"), expected, actual));
            }
            for (output, list) in logits.outputs.iter_mut().zip(row) {
                output.extend(list);
            }
            end += length;
            logits.offsets.push(end);
        }
        Ok(logits)
    }

    /// Computes the mean of several teachers' scores for the same examples, as in FILTER's released
    /// code.
    ///
    /// # Errors
    /// [`Error::Empty`] without a teacher; [`Error::Data`] if the teachers' examples differ in
    /// number or length.
    pub fn mean(teachers: &[Self]) -> Result<Self> {
        let Some((first, others)) = teachers.split_first() else {
            return Err(Error::empty("teacher's logits to average"));
        };
        let shape = |teacher: &Self| (teacher.outputs.len(), teacher.offsets.clone());
        if let Some(k) = others.iter().position(|teacher| shape(teacher) != shape(first)) {
            let what = format!("logits of teacher {}", k + 2);
            return Err(Error::data(what, "the examples of the first teacher", "other examples"));
        }
        let mut mean = first.clone();
        for (k, output) in mean.outputs.iter_mut().enumerate() {
            for (index, value) in output.iter_mut().enumerate() {
                let score_of = |teacher: &Self| f64::from(teacher.outputs[k][index]);
                let sum: f64 = teachers.iter().map(score_of).sum();
                // Sums are float64 and rounded once.
                #[allow(clippy::cast_possible_truncation)]
                let rounded = (sum / teachers.len() as f64) as f32;
                *value = rounded;
            }
        }
        Ok(mean)
    }

    /// Reads `path` if it exists; otherwise computes the scores and writes the file atomically. The
    /// returned flag is true if the file was read. `names` are the names of the outputs in the
    /// file.
    ///
    /// # Errors
    /// [`Error::File`] naming a file of another teacher, other examples or other options;
    /// [`Error::TorchExt`] naming a file that cannot be read or written; errors of `compute`.
    pub(super) fn read_or_compute(
        path: &Path,
        names: &[&str],
        fingerprint: &str,
        compute: impl FnOnce() -> Result<Self>,
    ) -> Result<(Self, bool)> {
        if path.exists() {
            return Ok((Self::read(path, names, fingerprint)?, true));
        }
        let computed = compute()?;
        let tensors: Vec<Tensor> = computed
            .outputs
            .iter()
            .map(|output| Ok(Tensor::f_from_slice(output)?))
            .collect::<Result<_>>()?;
        let offsets: Vec<i64> = computed.offsets.iter().copied().map(to_i64).collect();
        let offsets = Tensor::f_from_slice(&offsets)?;
        let named_tensors = names.iter().copied().zip(&tensors).chain([(OFFSETS, &offsets)]);
        write_tensors(path, named_tensors, &[(FINGERPRINT, fingerprint)])?;
        Ok((computed, false))
    }

    fn read(path: &Path, names: &[&str], fingerprint: &str) -> Result<Self> {
        let file = TensorFile::open(path)?;
        match file.metadata(FINGERPRINT) {
            Some(stored) if stored == fingerprint => {}
            stored => {
                let shorten = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
                let stored = stored.map_or_else(|| "none".into(), |hash| shorten(hash.as_ref()));
                let reason = format!(
                    "the scores of another teacher, other examples or other options (fingerprint \
                     {stored}, expected {}); remove the file to compute them again",
                    shorten(fingerprint)
                );
                return Err(Error::file(path, reason));
            }
        }
        let offsets = Vec::<i64>::try_from(file.read(OFFSETS)?)?;
        let offsets = offsets.into_iter().map(usize::try_from);
        let offsets: Vec<usize> = offsets
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| Error::file(path, format!("{OFFSETS}: a negative offset")))?;
        let mut outputs = Vec::with_capacity(names.len());
        for name in names {
            let values = Vec::<f32>::try_from(file.read(name)?)?;
            if Some(&values.len()) != offsets.last() || !offsets.is_sorted() {
                let reason =
                    format!("{name}: {} scores, which do not match {OFFSETS}", values.len());
                return Err(Error::file(path, reason));
            }
            outputs.push(values);
        }
        Ok(Self { outputs, offsets })
    }

    /// Returns N, the number of examples.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Returns whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the scores of an example and output.
    ///
    /// # Panics
    /// If there is no such output or example.
    pub fn row(&self, output: usize, example: usize) -> &[f32] {
        &self.outputs[output][self.offsets[example]..self.offsets[example + 1]]
    }

    /// Adds all scores to the fingerprint.
    pub(super) fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for output in &self.outputs {
            let bytes: Vec<u8> = output.iter().flat_map(|score| score.to_le_bytes()).collect();
            fingerprint.add("teacher", bytes);
        }
    }

    /// Returns an error if there are not stored scores of `count` examples.
    pub(super) fn check_count(&self, count: usize) -> Result<()> {
        if self.len() != count {
            return Err(Error::data("teacher's examples", count.to_string(), self.len()));
        }
        Ok(())
    }

    /// Returns an error if the stored scores do not have the lengths of the examples; `lengths` has
    /// one entry for each example.
    pub(super) fn check_lengths(&self, lengths: &[usize]) -> Result<()> {
        self.check_count(lengths.len())?;
        for (example, &length) in lengths.iter().enumerate() {
            let actual = self.row(0, example).len();
            if actual != length {
                let what = format!("teacher's scores of example {example}");
                return Err(Error::data(what, length.to_string(), actual));
            }
        }
        Ok(())
    }

    /// `[B, length]` f32 on the CPU: one output's scores for some examples, padded with 0.
    pub(super) fn padded(&self, output: usize, examples: &[usize], length: i64) -> Result<Tensor> {
        let width = to_usize(length);
        let mut flat = Vec::with_capacity(examples.len() * width);
        for &example in examples {
            let row = self.row(output, example);
            assert!(row.len() <= width, "scores are padded to the longest example");
            flat.extend(row);
            flat.resize(flat.len() + (width - row.len()), 0.0);
        }
        Ok(Tensor::f_from_slice(&flat)?.f_view([to_i64(examples.len()), length])?)
    }
}
