use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::KgError;

/// A number from 0 to 1 as an exact fraction: 0.7 is 7 of 10, to the last digit.
///
/// Written as `0.7`, `"0.7"` or `"7/10"`.
///
/// ```
/// use kg_triples::phrases::Fraction;
///
/// let fraction: Fraction = "0.7".parse()?;
/// assert!(fraction.reached(7, 10) && !fraction.reached(6, 10));
/// assert_eq!(fraction, "7/10".parse()?);
/// # Ok::<(), kg_triples::KgError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fraction {
    numerator: u64,
    denominator: u64,
}

impl Fraction {
    /// `numerator / denominator`, reduced.
    ///
    /// # Errors
    /// [`KgError::Value`] unless `numerator <= denominator` and `denominator > 0`.
    pub fn new(numerator: u64, denominator: u64) -> Result<Self, KgError> {
        if denominator == 0 || numerator > denominator {
            return Err(refuse(&format!("{numerator}/{denominator}")));
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        Ok(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    pub(super) const fn seven_tenths() -> Self {
        Self { numerator: 7, denominator: 10 }
    }

    /// Whether `count` of `total` is this fraction or more; never of a `total` of 0.
    pub fn reached(self, count: usize, total: usize) -> bool {
        let (count, total) = (count as u128, total as u128);
        total > 0 && count * u128::from(self.denominator) >= total * u128::from(self.numerator)
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

fn refuse(got: &str) -> KgError {
    KgError::Value {
        field: "fraction",
        expected: "a fraction from 0 to 1, such as 0.7 or 7/10".into(),
        got: format!("{got:?}"),
    }
}

impl FromStr for Fraction {
    type Err = KgError;

    fn from_str(text: &str) -> Result<Self, KgError> {
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

impl fmt::Debug for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Fraction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a fraction from 0 to 1, such as 0.7 or \"7/10\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fraction, E> {
                text.parse().map_err(E::custom)
            }

            // The shortest decimal number that stands for the float is what somebody wrote.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Fraction, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Fraction, E> {
                Fraction::new(value, 1).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Fraction, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
