use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::KgError;

/// A share of a whole, from 0 to 1, as an exact fraction: 7 of 10 is 0.7, to the last digit.
///
/// Written as `0.7`, `"0.7"` or `"7/10"`.
///
/// ```
/// use kg_triples::phrases::Share;
///
/// let share: Share = "0.7".parse()?;
/// assert!(share.reached(7, 10) && !share.reached(6, 10));
/// assert_eq!(share, "7/10".parse()?);
/// # Ok::<(), kg_triples::KgError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    parts: u64,
    whole: u64,
}

impl Share {
    /// `parts` of `whole`.
    ///
    /// # Errors
    /// [`KgError::Value`] unless `parts <= whole` and `whole > 0`.
    pub fn new(parts: u64, whole: u64) -> Result<Self, KgError> {
        if whole == 0 || parts > whole {
            return Err(refuse(&format!("{parts}/{whole}")));
        }
        let divisor = greatest_common_divisor(parts, whole);
        Ok(Self { parts: parts / divisor, whole: whole / divisor })
    }

    pub(super) const fn seven_tenths() -> Self {
        Self { parts: 7, whole: 10 }
    }

    /// Whether `count` of `total` is this share or more; never of a `total` of 0.
    pub fn reached(self, count: usize, total: usize) -> bool {
        let wide = |count: usize| count as u128;
        total > 0 && wide(count) * u128::from(self.whole) >= wide(total) * u128::from(self.parts)
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
        field: "share",
        expected: "a share from 0 to 1, such as 0.7 or 7/10".into(),
        got: format!("{got:?}"),
    }
}

impl FromStr for Share {
    type Err = KgError;

    fn from_str(text: &str) -> Result<Self, KgError> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten().ok_or_else(|| refuse(text))
        };
        if let Some((parts, whole)) = text.split_once('/') {
            return Self::new(number(parts)?, number(whole)?).map_err(|_| refuse(text));
        }
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let scale = u32::try_from(decimals.len()).ok().and_then(|n| 10u64.checked_pow(n));
        let scale = scale.ok_or_else(|| refuse(text))?;
        let units = number(units)?.checked_mul(scale).ok_or_else(|| refuse(text))?;
        let parts = units.checked_add(number(decimals)?).ok_or_else(|| refuse(text))?;
        Self::new(parts, scale).map_err(|_| refuse(text))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.parts, self.whole)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share from 0 to 1, such as 0.7 or \"7/10\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }

            // The shortest decimal number that stands for the float is what somebody wrote.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Share, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Share, E> {
                Share::new(value, 1).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Share, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
