//! Keys of a recipe as paths, and patterns of them.
use std::fmt::{self, Display, Formatter};

/// The parts of a key, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Vec<String>);

impl Key {
    /// The key of this part below `self`.
    pub(crate) fn below(&self, part: impl Into<String>) -> Self {
        let mut parts = self.0.clone();
        parts.push(part.into());
        Self(parts)
    }

    pub(crate) fn parts(&self) -> &[String] {
        &self.0
    }

    /// A key as TOML writes it. Parts that TOML would want quoted may stand without quotes.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        if let Ok(table) = toml::from_str::<toml::Table>(&format!("{text} = 0"))
            && table.len() == 1
        {
            let mut value = toml::Value::Table(table);
            while let toml::Value::Table(table) = value {
                let Some((part, inner)) = table.into_iter().next() else { break };
                parts.push(part);
                value = inner;
            }
        } else {
            parts.extend(text.split('.').map(|part| part.trim().to_owned()));
        }
        Self(parts)
    }

    /// Whether this is the key `pattern` or lies below it; `*` in it stands for one part. The parts
    /// for which it stands, and those below.
    pub(crate) fn below_pattern(&self, pattern: &str) -> Option<(Vec<&str>, &[String])> {
        let mut stars = Vec::new();
        let mut rest = self.0.as_slice();
        for expected in pattern.split('.') {
            let (part, after) = rest.split_first()?;
            if expected == "*" {
                stars.push(part.as_str());
            } else if expected != part {
                return None;
            }
            rest = after;
        }
        Some((stars, rest))
    }

    /// The new key of a renamed one.
    pub(crate) fn renamed(&self, renamed: &[(&str, &str)]) -> Option<Self> {
        renamed.iter().find_map(|(old, new)| {
            let (stars, rest) = self.below_pattern(old)?;
            let mut stars = stars.into_iter();
            let parts = new.split('.').map(|part| match part {
                "*" => stars.next().unwrap_or("*").to_owned(),
                _ => part.to_owned(),
            });
            Some(Self(parts.chain(rest.iter().cloned()).collect()))
        })
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, part) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(".")?;
            }
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !part.is_empty() && part.chars().all(bare) {
                f.write_str(part)?;
            } else {
                write!(f, "{part:?}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_written_as_toml_does() {
        for (text, parts) in [
            ("a", &["a"][..]),
            ("a.b", &["a", "b"]),
            ("arms.\"hl+aa-cl\".alpha", &["arms", "hl+aa-cl", "alpha"]),
            ("arms.\"z-0.5\".x", &["arms", "z-0.5", "x"]),
        ] {
            let key = Key::parse(text);
            assert_eq!(key.parts(), parts);
            assert_eq!(key.to_string(), text);
        }
        assert_eq!(Key::parse("arms.hl+aa-cl.alpha").parts(), ["arms", "hl+aa-cl", "alpha"]);
    }

    #[test]
    fn renamed_keys_keep_what_stands_below() {
        let renamed = [("reading", "qa"), ("arms.*.parts", "arms.*.losses")];
        let new = |key: &str| Key::parse(key).renamed(&renamed).map(|key| key.to_string());
        assert_eq!(new("reading.noise").as_deref(), Some("qa.noise"));
        assert_eq!(new("arms.base.parts.mlm").as_deref(), Some("arms.base.losses.mlm"));
        assert_eq!(new("reader"), None);
        assert_eq!(new("arms.base"), None);
    }
}
