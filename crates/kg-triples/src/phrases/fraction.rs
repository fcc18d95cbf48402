use std::fmt;
use std::str::FromStr;

use crate::Error;

/// An exact fraction from 0 to 1: 0.7 is 7/10.
///
/// Written as `0.7` or `7/10`.
///
/// ```
/// use kg_triples::phrases::Fraction;
///
/// let fraction: Fraction = "0.7".parse()?;
/// assert!(fraction.reached(7, 10) && !fraction.reached(6, 10));
/// # Ok::<(), kg_triples::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fraction {
    numerator: u64,
    denominator: u64,
}

impl Fraction {
    pub(super) const SEVEN_TENTHS: Self = Self { numerator: 7, denominator: 10 };

    /// Creates `numerator / denominator`.
    ///
    /// # Errors
    /// [`Error::Value`] unless `numerator <= denominator` and `denominator > 0`.
    pub fn new(numerator: u64, denominator: u64) -> Result<Self, Error> {
        if denominator == 0 || numerator > denominator {
            return Err(refuse(&format!("{numerator}/{denominator}")));
        }
        Ok(Self { numerator, denominator })
    }

    /// Returns whether `count / total` is at least this fraction; false for a `total` of 0.
    pub fn reached(self, count: usize, total: usize) -> bool {
        let (count, total) = (count as u128, total as u128);
        total > 0 && count * u128::from(self.denominator) >= total * u128::from(self.numerator)
    }
}

fn refuse(got: &str) -> Error {
    Error::Value {
        field: "fraction",
        expected: "a fraction from 0 to 1, such as 0.7 or 7/10".into(),
        got: format!("{got:?}"),
    }
}

impl FromStr for Fraction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten().ok_or_else(|| refuse(text))
        };
        if let Some((numerator, denominator)) = text.split_once('/') {
            return Self::new(number(numerator)?, number(denominator)?).map_err(|_| refuse(text));
        }
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let scale = u32::try_from(decimals.len()).ok().and_then(|n| 10u64.checked_pow(n));
        let scale = scale.ok_or_else(|| refuse(text))?;
        let units = number(units)?.checked_mul(scale).ok_or_else(|| refuse(text))?;
        let numerator = units.checked_add(number(decimals)?).ok_or_else(|| refuse(text))?;
        Self::new(numerator, scale).map_err(|_| refuse(text))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}
