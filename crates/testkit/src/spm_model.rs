//! A SentencePiece model with the layout of DeBERTa's vocabulary.

/// The first pieces of DeBERTa's vocabulary, with their SentencePiece types.
const FIRST_PIECES: [(&[u8; 5], u8); 4] =
    [(b"[PAD]", 3), (b"[CLS]", 3), (b"[SEP]", 3), (b"[UNK]", 2)];

/// The fields of `trainer_spec` with the names and ids of [`FIRST_PIECES`]. Appending the bytes to
/// a serialised protobuf message adds the fields to the message.
const TRAINER_SPEC: &[u8] = b"\x12\x2c\xc0\x02\x03\xc8\x02\x01\xd0\x02\x02\xd8\x02\x00\
    \xea\x02\x05[UNK]\xf2\x02\x05[CLS]\xfa\x02\x05[SEP]\x82\x03\x05[PAD]";

/// Returns the bytes of an `spm.model`: the fixture `sentencepiece.bpe.model` with DeBERTa's first
/// pieces instead of XLM-R's.
///
/// # Panics
/// If the fixture cannot be read.
pub fn deberta_spm_model() -> Vec<u8> {
    let fixture = std::fs::read(crate::fixture("sentencepiece.bpe.model")).unwrap();
    let mut first_pieces = Vec::new();
    for (name, kind) in FIRST_PIECES {
        first_pieces.extend(b"\x0a\x0e\x0a\x05");
        first_pieces.extend(name);
        first_pieces.extend([0x15, 0, 0, 0, 0, 0x18, kind]);
    }
    let mut offset = 0;
    for _ in 0..3 {
        offset += 2 + usize::from(fixture[offset + 1]);
    }
    [&first_pieces, &fixture[offset..], TRAINER_SPEC].concat()
}
