//! Writes a 4-bit encoder as a Hugging Face folder in float32.
use super::q4_file::Q4File;
use crate::files;
use anyhow::{Context, Result};
use safetensors::{Dtype, View, serialize_to_file};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// A tensor's name in the Hugging Face folder, its name in the 4-bit file, and its shape.
type TensorSpec = (String, String, Vec<usize>);

/// Returns the names and shapes of all tensors of the encoder.
fn tensor_specs(file: &Q4File) -> Vec<TensorSpec> {
    let sizes = file.sizes;
    let (hidden, inner) = (sizes.hidden_size, sizes.intermediate_size);
    let mut tensors: Vec<TensorSpec> = Vec::new();
    let mut add = |name: String, q4_name: String, shape: &[usize]| {
        tensors.push((name, q4_name, shape.to_vec()));
    };
    for (name, q4_name, rows) in [
        ("word_embeddings", "emb.word", sizes.vocab_size),
        ("position_embeddings", "emb.pos", sizes.max_position_embeddings),
        ("token_type_embeddings", "emb.type", sizes.type_vocab_size),
    ] {
        add(format!("embeddings.{name}.weight"), q4_name.to_owned(), &[rows, hidden]);
    }
    let parts = [("weight", "w"), ("bias", "b")];
    for (part, short) in parts {
        add(format!("embeddings.LayerNorm.{part}"), format!("emb.ln.{short}"), &[hidden]);
    }
    for layer in 0..sizes.num_hidden_layers {
        let prefix = format!("encoder.layer.{layer}.");
        for (name, q4_name, rows, columns) in [
            ("attention.self.query", "q", hidden, hidden),
            ("attention.self.key", "k", hidden, hidden),
            ("attention.self.value", "v", hidden, hidden),
            ("attention.output.dense", "ao", hidden, hidden),
            ("intermediate.dense", "fi", inner, hidden),
            ("output.dense", "fo", hidden, inner),
        ] {
            let q4_name = format!("l{layer}.{q4_name}");
            add(format!("{prefix}{name}.weight"), format!("{q4_name}.w"), &[rows, columns]);
            add(format!("{prefix}{name}.bias"), format!("{q4_name}.b"), &[rows]);
        }
        for (name, q4_name) in [("attention.output", "aln"), ("output", "oln")] {
            for (part, short) in parts {
                let q4_name = format!("l{layer}.{q4_name}.{short}");
                add(format!("{prefix}{name}.LayerNorm.{part}"), q4_name, &[hidden]);
            }
        }
    }
    tensors
}

/// Returns the `config.json` that was published with the model.
fn config(file: &Q4File) -> Value {
    let sizes = file.sizes;
    json!({
        "architectures": ["BertModel"],
        "model_type": "bert",
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": sizes.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": sizes.intermediate_size,
        "layer_norm_eps": file.layer_norm_eps,
        "max_position_embeddings": sizes.max_position_embeddings,
        "num_attention_heads": sizes.num_attention_heads,
        "num_hidden_layers": sizes.num_hidden_layers,
        // The published value, although `<pad>` has id 1.
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "tokenizer_class": "XLMRobertaTokenizer",
        "type_vocab_size": sizes.type_vocab_size,
        "vocab_size": sizes.vocab_size,
    })
}

fn tokenizer_config() -> Value {
    json!({
        "tokenizer_class": "XLMRobertaTokenizer",
        "model_max_length": 512,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    })
}

/// Tensor that is decoded when it is written, so that not all weights are in memory at once.
struct LazyTensor<'a> {
    file: &'a Q4File,
    q4_name: String,
    shape: Vec<usize>,
}

impl View for LazyTensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.file.float32_bytes(&self.q4_name).into()
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * 4
    }
}

/// Writes the encoder and `model_card` to `folder`, which must not exist. `tokenizer` is the path
/// of the file that is copied to `tokenizer.json`.
pub fn write(file: &Q4File, tokenizer: &Path, model_card: &str, folder: &Path) -> Result<()> {
    let tensors = tensor_specs(file);
    for (_, q4_name, shape) in &tensors {
        file.check_tensor(q4_name, shape.iter().product())?;
    }
    files::write(&folder.join("config.json"), &format!("{:#}\n", config(file)))?;
    let tokenizer_config = format!("{:#}\n", tokenizer_config());
    files::write(&folder.join("tokenizer_config.json"), &tokenizer_config)?;
    files::write(&folder.join("README.md"), model_card)?;
    let copy = folder.join("tokenizer.json");
    fs::copy(tokenizer, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    let views = tensors
        .into_iter()
        .map(|(name, q4_name, shape)| (name, LazyTensor { file, q4_name, shape }));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = folder.join("model.safetensors");
    serialize_to_file(views, Some(metadata), &path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    // safetensors creates a file that only its owner can read, so the file gets the permissions of
    // tokenizer.json.
    fs::set_permissions(&path, fs::metadata(&copy)?.permissions())?;
    for entry in folder.read_dir()? {
        fs::File::open(entry?.path())?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretrained::q4_file::Sizes;
    use crate::pretrained::q4_file::tests::create_file;
    use safetensors::SafeTensors;

    const SIZES: Sizes = Sizes {
        hidden_size: 32,
        num_hidden_layers: 1,
        num_attention_heads: 4,
        intermediate_size: 64,
        vocab_size: 3,
        max_position_embeddings: 2,
        type_vocab_size: 1,
    };

    /// Creates a complete encoder with layer matrices and token embeddings in 4 bits.
    fn create_q4_encoder() -> Q4File {
        let empty = Q4File::parse(create_file(SIZES, &[])).unwrap();
        let all = tensor_specs(&empty);
        let tensors: Vec<_> = all
            .iter()
            .map(|(_, q4_name, shape)| {
                let weights: usize = shape.iter().product();
                let rounded = shape.len() == 2 && !q4_name.starts_with("emb.pos");
                let bytes = if rounded { weights / 32 * 18 } else { weights * 4 };
                (q4_name.as_str(), rounded, weights, vec![0; bytes])
            })
            .collect();
        Q4File::parse(create_file(SIZES, &tensors)).unwrap()
    }

    #[test]
    fn the_folder_has_the_format_of_hugging_face_transformers() {
        let root = tempfile::tempdir().unwrap();
        let tokenizer = root.path().join("tokenizer");
        fs::write(&tokenizer, "{}").unwrap();
        let folder = root.path().join("model");
        write(&create_q4_encoder(), &tokenizer, "# Card\n", &folder).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let config: Value = serde_json::from_str(&read("config.json")).unwrap();
        assert_eq!(config["vocab_size"], 3);
        assert_eq!(config["layer_norm_eps"], 1e-12);
        assert_eq!(read("README.md"), "# Card\n");
        assert_eq!(read("tokenizer.json"), "{}");
        let bytes = fs::read(folder.join("model.safetensors")).unwrap();
        let weights = SafeTensors::deserialize(&bytes).unwrap();
        // Five tensors of the embeddings and 16 of a layer, as in BertModel without a pooler.
        assert_eq!(weights.names().len(), 21);
        let inner = weights.tensor("encoder.layer.0.intermediate.dense.weight").unwrap();
        assert_eq!((inner.dtype(), inner.shape()), (Dtype::F32, &[64, 32][..]));
    }

    #[test]
    fn missing_tensors_are_reported_before_writing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        let empty = Q4File::parse(create_file(SIZES, &[])).unwrap();
        let error = write(&empty, root.path(), "", &folder).unwrap_err().to_string();
        assert_eq!(error, "tensor emb.word is missing");
        assert!(!folder.exists());
    }
}
