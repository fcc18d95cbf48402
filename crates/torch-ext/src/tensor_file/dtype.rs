//! Dtypes that both safetensors and libtorch support.
use safetensors::tensor::Dtype;
use tch::Kind;

const DTYPES: [(Dtype, Kind); 10] = [
    (Dtype::BOOL, Kind::Bool),
    (Dtype::U8, Kind::Uint8),
    (Dtype::I8, Kind::Int8),
    (Dtype::I16, Kind::Int16),
    (Dtype::I32, Kind::Int),
    (Dtype::I64, Kind::Int64),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
];

pub(super) fn kind_of(dtype: Dtype) -> Option<Kind> {
    DTYPES.iter().find(|pair| pair.0 == dtype).map(|pair| pair.1)
}

pub(super) fn dtype_of(kind: Kind) -> Option<Dtype> {
    DTYPES.iter().find(|pair| pair.1 == kind).map(|pair| pair.0)
}
