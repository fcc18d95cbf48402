//! Inputs of a forward pass, and their validation.
use tch::{Device, Kind, Tensor};
use torch_ext::{to_i64, to_usize};

use crate::batch::packing::Rows;
use crate::{Config, Error, Result};

/// A batch of B sequences padded to L tokens.
///
/// Tensors should be on the CPU, because ids are validated there before they are copied to the
/// model's device. Ids on a GPU are copied to the CPU first. Tensors of every integer dtype are
/// accepted. The mask may also be bool.
#[derive(Debug)]
pub struct Inputs {
    /// `[B, L]` integer, below `vocab_size`.
    pub input_ids: Tensor,
    /// `[B, L]` integer or bool: 1 for a token, 0 for padding. If absent, every position is a
    /// token, even `<pad>`. A row without any token attends to all its positions, so its output is
    /// finite, but meaningless.
    pub attention_mask: Option<Tensor>,
    /// `[B, L]` integer, below `type_vocab_size`. If absent, all token types are 0.
    pub token_type_ids: Option<Tensor>,
    /// `[B, L]` integer, below `max_position_embeddings`. If absent, positions are 0, 1, 2, …; for
    /// XLM-R and RoBERTa they are computed from `input_ids` by [`position_ids`].
    pub position_ids: Option<Tensor>,
    /// `[B, L, E]` float: embeddings that replace the token embeddings of `input_ids`. They are
    /// converted to the dtype of the parameters. Positions are still computed from `input_ids` (in
    /// transformers they would be sequential). The tensor receives gradient.
    pub inputs_embeds: Option<Tensor>,
    /// Language of each row, B names. A [mixture](crate::LoraMixtureConfig) of LoRA modules with a
    /// gate for each language requires them; without such a mixture, they have no effect.
    pub languages: Option<Vec<String>>,
}

impl Inputs {
    /// Creates inputs from `input_ids` only.
    pub fn new(input_ids: Tensor) -> Self {
        Self {
            input_ids,
            attention_mask: None,
            token_type_ids: None,
            position_ids: None,
            inputs_embeds: None,
            languages: None,
        }
    }

    /// Creates inputs from `input_ids` and `attention_mask`.
    pub fn masked(input_ids: Tensor, attention_mask: Tensor) -> Self {
        Self { attention_mask: Some(attention_mask), ..Self::new(input_ids) }
    }

    /// Pads rows of token ids to one batch, `[B, L]` i64 on the CPU; L is the length of the longest
    /// row.
    ///
    /// If no row needs padding, the mask is absent, so that attention can skip it. All programs of
    /// this workspace use this function for padding.
    ///
    /// # Errors
    /// [`Error::Torch`] if a tensor cannot be created.
    ///
    /// # Example
    /// ```
    /// use xlmr_model::Inputs;
    ///
    /// let inputs = Inputs::from_rows(&[&[0, 5, 6, 2], &[0, 7, 2]], 1)?;
    /// let ids = Vec::<Vec<i64>>::try_from(&inputs.input_ids).unwrap();
    /// assert_eq!(ids, [[0, 5, 6, 2], [0, 7, 2, 1]]);
    /// let mask = Vec::<Vec<i64>>::try_from(inputs.attention_mask.as_ref().unwrap()).unwrap();
    /// assert_eq!(mask, [[1, 1, 1, 1], [1, 1, 1, 0]]);
    /// assert!(Inputs::from_rows(&[&[0, 5, 2]], 1)?.attention_mask.is_none());
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn from_rows(rows: &[&[u32]], pad_token_id: i64) -> Result<Self> {
        let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let attention_mask = match rows.iter().all(|row| row.len() == length) {
            true => None,
            false => Some(pad_rows(rows, length, |_| 1, 0)?),
        };
        let input_ids = pad_rows(rows, length, i64::from, pad_token_id)?;
        Ok(Self { attention_mask, ..Self::new(input_ids) })
    }

    /// Adds segment ids, one row for each row of `input_ids`, padded with 0.
    ///
    /// # Errors
    /// [`Error::Input`] if `rows` and `input_ids` differ in their number of rows, or a row is
    /// longer than the rows of `input_ids`; [`Error::Torch`].
    pub fn with_token_type_ids(self, rows: &[&[u32]]) -> Result<Self> {
        let size = self.input_ids.size();
        let &[n_rows, width] = size.as_slice() else {
            return Err(Error::input("input_ids", "shape [B, L]", format!("{size:?}")));
        };
        let (n_rows, width) = (to_usize(n_rows), to_usize(width));
        let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        if rows.len() != n_rows || length > width {
            let expected = format!("rows of input_ids, {size:?}");
            let got = format!("{} rows of at most {length}", rows.len());
            return Err(Error::input("token_type_ids", expected, got));
        }
        let token_type_ids = Some(pad_rows(rows, width, i64::from, 0)?);
        Ok(Self { token_type_ids, ..self })
    }

    /// Adds the language of each row.
    ///
    /// ```
    /// use xlmr_model::Inputs;
    ///
    /// let inputs = Inputs::from_rows(&[&[0, 5, 6, 2], &[0, 7, 2]], 1)?.with_languages(["en", "de"]);
    /// assert_eq!(inputs.languages.unwrap(), ["en", "de"]);
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn with_languages<T: Into<String>>(self, languages: impl IntoIterator<Item = T>) -> Self {
        let languages = Some(languages.into_iter().map(Into::into).collect());
        Self { languages, ..self }
    }

    /// Validates inputs as a forward pass does, for example once for all inputs of a data set.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first tensor whose shape, dtype or values are invalid for a
    /// model of this configuration, and the row and column of an invalid value.
    pub fn check(&self, config: &Config) -> Result<()> {
        CheckedInputs::new(self, config, Device::Cpu).map(drop)
    }
}

/// Creates a tensor `[rows, length]` i64. Each row has the results of `convert` for its ids, and is
/// filled with `pad`.
fn pad_rows(rows: &[&[u32]], length: usize, convert: fn(u32) -> i64, pad: i64) -> Result<Tensor> {
    let mut flat = Vec::with_capacity(rows.len() * length);
    for row in rows {
        flat.extend(row.iter().map(|&id| convert(id)));
        flat.resize(flat.len() + length - row.len(), pad);
    }
    let shape = [rows.len(), length].map(to_i64);
    Ok(Tensor::f_from_slice(&flat)?.f_view(shape)?)
}

/// Indices of the embedding lookups.
pub(crate) struct Ids<T> {
    pub(crate) token_ids: T,
    pub(crate) positions: T,
    /// Token type ids; absent if all are 0.
    pub(crate) types: Option<T>,
    /// Id of `<pad>`, whose embedding receives no gradient; absent if the batch does not contain
    /// this id.
    pub(crate) pad: Option<i64>,
}

/// Checked inputs for a model on a device.
pub(crate) struct CheckedInputs {
    /// Lists of B * L ids, row by row.
    pub(crate) ids: Ids<Vec<i64>>,
    pub(crate) rows: Rows,
}

/// Computes XLM-R's position ids as in transformers: the tokens of a row other than `<pad>` have
/// consecutive ids from `pad_token_id + 1`, and `<pad>` has `pad_token_id`.
///
/// `ids` contains rows of `length` ids; the result has one position id for each id.
pub fn position_ids(ids: &[i64], length: usize, pad_token_id: i64) -> Vec<i64> {
    let mut positions = Vec::with_capacity(ids.len());
    for row in ids.chunks(length.max(1)) {
        let mut position = pad_token_id;
        positions.extend(row.iter().map(|&id| {
            if id == pad_token_id {
                return pad_token_id;
            }
            position += 1;
            position
        }));
    }
    positions
}

impl CheckedInputs {
    pub(crate) fn new(inputs: &Inputs, config: &Config, device: Device) -> Result<Self> {
        let size = inputs.input_ids.size();
        let &[batch, length] = size.as_slice() else {
            return Err(Error::input("input_ids", "shape [B, L]", format!("{size:?}")));
        };
        if batch == 0 || length == 0 {
            let expected = "at least one row and one column";
            return Err(Error::input("input_ids", expected, format!("{size:?}")));
        }
        let read = |name, tensor| read_integers(name, tensor, &size);
        let ids = read("input_ids", &inputs.input_ids)?;
        let expected_ids = format!("ids from 0 to vocab_size - 1 = {}", config.vocab_size - 1);
        check_range("input_ids", &ids, length, config.vocab_size, &expected_ids)?;

        let positions = match &inputs.position_ids {
            Some(tensor) => read("position_ids", tensor)?,
            None if config.architecture.is_roberta() => {
                position_ids(&ids, to_usize(length), config.pad_token_id)
            }
            None => (0..length).cycle().take(ids.len()).collect(),
        };
        let expected = format!(
            "positions below max_position_embeddings = {} (at most {} tokens in a row; \
             truncate the input or split it into windows)",
            config.max_position_embeddings,
            config.max_length()
        );
        check_range("position_ids", &positions, length, config.max_position_embeddings, &expected)?;

        let types = match &inputs.token_type_ids {
            None => None,
            Some(tensor) => {
                let types = read("token_type_ids", tensor)?;
                let names = config.architecture.names();
                let hint = match (names.token_type_embeddings, config.type_vocab_size) {
                    (None, _) => " (this architecture has no segments)",
                    (_, 1) => " (load with `Segments::Learned2` for a second segment)",
                    _ => "",
                };
                let max_type = config.type_vocab_size - 1;
                let expected = format!("ids from 0 to type_vocab_size - 1 = {max_type}{hint}");
                check_range("token_type_ids", &types, length, config.type_vocab_size, &expected)?;
                types.iter().any(|&id| id != 0).then_some(types)
            }
        };

        let mut token_mask = None;
        if let Some(tensor) = &inputs.attention_mask {
            let mask = read("attention_mask", tensor)?;
            check_range("attention_mask", &mask, length, 2, "1 for a token, 0 for padding")?;
            token_mask = Some(mask);
        }
        let rows = Rows::new(batch, length, device, token_mask);
        if let Some(embeds) = &inputs.inputs_embeds {
            let (expected, got) = (vec![batch, length, config.embedding_size()], embeds.size());
            if got != expected || !embeds.is_floating_point() {
                let got = format!("{got:?} {:?}", embeds.f_kind()?);
                return Err(Error::input("inputs_embeds", format!("{expected:?} float"), got));
            }
        }
        if let Some(languages) = &inputs.languages
            && languages.len() != to_usize(batch)
        {
            let expected = format!("one language for each of {batch} rows");
            return Err(Error::input("languages", expected, format!("{} names", languages.len())));
        }
        let pad = Some(config.pad_token_id);
        Ok(Self { ids: Ids { token_ids: ids, positions, types, pad }, rows })
    }
}

/// Returns the values of an integer tensor of `input_ids`' shape, row by row.
fn read_integers(name: &'static str, tensor: &Tensor, size: &[i64]) -> Result<Vec<i64>> {
    let kind = tensor.f_kind()?;
    let is_supported = match kind {
        Kind::Int64 | Kind::Int | Kind::Int16 | Kind::Int8 | Kind::Uint8 => true,
        Kind::Bool => name == "attention_mask",
        _ => false,
    };
    if !is_supported {
        return Err(Error::input(name, "an integer tensor, preferably int64", format!("{kind:?}")));
    }
    if tensor.size() != size {
        let (expected, got) =
            (format!("{size:?}, the shape of input_ids"), format!("{:?}", tensor.size()));
        return Err(Error::input(name, expected, got));
    }
    let flat = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Int64)?.f_reshape([-1i64])?;
    Ok(Vec::try_from(&flat.f_contiguous()?)?)
}

/// Returns an error with row and column of the first value outside `0..end`, if any.
fn check_range(
    name: &'static str,
    values: &[i64],
    length: i64,
    end: i64,
    expected: &str,
) -> Result<()> {
    let mut indexed = (0i64..).zip(values);
    let Some((index, value)) = indexed.find(|(_, value)| !(0..end).contains(*value)) else {
        return Ok(());
    };
    let got = format!("{value} in row {}, column {}", index / length, index % length);
    Err(Error::input(name, expected, got))
}
