//! Tensors stored by an outside reference, and a comparison that says where two tensors differ.
use std::collections::BTreeMap;
use std::ops::Index;
use std::path::Path;

use tch::{Kind, Tensor};

/// The named tensors of one safetensors file.
pub struct Golden {
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    /// Reads `path`; panics with the path if it cannot be read (tests only).
    pub fn load(path: &Path) -> Self {
        let tensors = Tensor::read_safetensors(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { tensors: tensors.into_iter().collect() }
    }

    /// The tensor called `name`, if the file holds it.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

impl Index<&str> for Golden {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        self.get(name).unwrap_or_else(|| panic!("no golden tensor called {name}"))
    }
}

/// The largest absolute difference, in float64; infinite where shapes differ or a value is not finite on one side only.
pub fn max_abs_error(got: &Tensor, want: &Tensor) -> f64 {
    if got.size() != want.size() {
        return f64::INFINITY;
    }
    if got.numel() == 0 {
        return 0.0;
    }
    let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
    let difference = (&got - &want).abs();
    let same = got.eq_tensor(&want);
    let difference = difference.masked_fill(&same, 0.0);
    let worst = difference.max().double_value(&[]);
    if worst.is_nan() { f64::INFINITY } else { worst }
}

/// Panics unless every element of `got` is within `tolerance` (absolute) of `want`; the message shows the worst elements.
#[track_caller]
pub fn assert_close(name: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.size(), want.size(), "{name}: shape differs (left got, right want)");
    let worst = max_abs_error(got, want);
    if worst <= tolerance {
        return;
    }
    let (got, want) = (
        got.to_kind(Kind::Double).contiguous().view([-1]),
        want.to_kind(Kind::Double).contiguous().view([-1]),
    );
    let difference = (&got - &want).abs().nan_to_num(f64::MAX, f64::MAX, f64::MAX);
    let count = difference.numel().min(5) as i64;
    let (_, order) = difference.topk(count, 0, true, true);
    let rows: Vec<String> = (0..count)
        .map(|k| {
            let at = order.int64_value(&[k]);
            format!(
                "  [{at}] got {:e}, want {:e}",
                got.double_value(&[at]),
                want.double_value(&[at])
            )
        })
        .collect();
    panic!(
        "{name}: off by {worst:e} where {tolerance:e} is allowed; worst elements:\n{}",
        rows.join("\n")
    );
}
