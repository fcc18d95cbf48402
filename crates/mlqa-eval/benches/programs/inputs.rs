//! Generates the inputs of the benchmark: question files, predictions and logits. Every run
//! generates equal files. The questions are copies of XQuAD's questions; by default, there are
//! about as many as in MLQA's English test set.
use std::fs;
use std::io;
use std::path::Path;

use mlqa_eval::{Dataset, Predictions};
use ndarray::Array2;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Names of the input files, relative to the benchmark's folder, and the number of questions.
pub struct Inputs {
    pub dataset: String,
    pub predictions: String,
    pub questions: usize,
}

/// A linear congruential generator, which is random enough for benchmark inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound.max(1)
    }
}

impl Inputs {
    /// Writes `copies` copies of XQuAD's questions with predictions, some of which are correct.
    ///
    /// Each question has a separate paragraph, like nearly all questions of MLQA. Non-ASCII
    /// characters are escaped, as in XQuAD.
    pub fn write(data: &Path, folder: &Path, language: &str, copies: usize) -> io::Result<Self> {
        let dataset =
            Dataset::read(data.join(format!("xquad.{language}.json"))).map_err(io::Error::other)?;
        let mut random = Random(7);
        let (mut articles, mut predictions) = (Vec::new(), Predictions::default());
        for copy in 0..copies {
            for article in dataset.articles() {
                let mut paragraphs = Vec::new();
                for question in article {
                    let id = format!("{}-{copy}", question.id);
                    let gold = question.answers.first().map_or("", |answer| &answer.text);
                    let words: Vec<&str> = question.context.split_whitespace().collect();
                    let start = random.below(words.len());
                    let answer = match random.below(4) {
                        0 => gold.to_owned(),
                        1 => format!("the {gold}."),
                        2 => gold.split_whitespace().skip(1).collect::<Vec<_>>().join(" "),
                        _ => words[start..words.len().min(start + 6)].join(" "),
                    };
                    predictions.0.insert(id.clone(), answer);
                    paragraphs.push(serde_json::json!({
                        "context": &*question.context,
                        "qas": [{"id": id, "question": question.question, "answers": question.answers}],
                    }));
                }
                articles.push(serde_json::json!({"title": "", "paragraphs": paragraphs}));
            }
        }
        let file = serde_json::json!({"version": "1.0", "data": articles});
        let inputs = Self {
            dataset: format!("{language}-{copies}.json"),
            predictions: format!("{language}-{copies}.predictions.json"),
            questions: dataset.questions.len() * copies,
        };
        fs::write(folder.join(&inputs.dataset), escape_non_ascii(&file.to_string()))?;
        let answers = serde_json::to_string(&predictions.0)?;
        fs::write(folder.join(&inputs.predictions), escape_non_ascii(&answers))?;
        Ok(inputs)
    }
}

/// Replaces the non-ASCII characters of a JSON text by `\uXXXX` escapes.
fn escape_non_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

/// Reads start and end logits `[rows, 384]` from a file written by [`write_logits`].
pub fn read_logits(path: &Path) -> [Array2<f32>; 2] {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    ["start_logits", "end_logits"].map(|name| {
        let tensor = file.tensor(name).unwrap();
        let values = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        let shape = [tensor.shape()[0], tensor.shape()[1]];
        Array2::from_shape_vec(shape, values.collect()).unwrap()
    })
}

/// Writes logits `[rows, 384]`: noise with a peak, similar to the logits of a trained model. The
/// values of a row are distinct.
pub fn write_logits(path: &Path, rows: usize) -> io::Result<()> {
    const LENGTH: usize = 384;
    let mut random = Random(11);
    let mut side_logits = || {
        let mut bytes = Vec::with_capacity(4 * LENGTH * rows);
        for _ in 0..rows {
            let peak = 30 + random.below(LENGTH - 30);
            for at in 0..LENGTH {
                let noise = random.next() as f32 / 2_f32.powi(29) - 2.0 + at as f32 * 1e-5;
                let value = if at == peak { noise + 8.0 } else { noise };
                bytes.extend(value.to_le_bytes());
            }
        }
        bytes
    };
    let (start, end) = (side_logits(), side_logits());
    let view =
        |bytes| TensorView::new(Dtype::F32, vec![rows, LENGTH], bytes).map_err(io::Error::other);
    let tensors = [("start_logits", view(&start)?), ("end_logits", view(&end)?)];
    let bytes = safetensors::serialize(tensors, None).map_err(io::Error::other)?;
    fs::write(path, bytes)
}
