//! Keys of a recipe as paths, and patterns for keys.
use std::fmt::{self, Display, Formatter};

/// The parts of a key, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Vec<String>);

impl Key {
    /// The key of `part` in the section `self`.
    pub(crate) fn child(&self, part: impl Into<String>) -> Self {
        let mut parts = self.0.clone();
        parts.push(part.into());
        Self(parts)
    }

    pub(crate) fn parts(&self) -> &[String] {
        &self.0
    }

    /// Parses a key in TOML syntax, in which quotes may be omitted.
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

    /// Whether `pattern` matches this key or a section that contains this key; `*` matches one
    /// part.
    pub(crate) fn is_below(&self, pattern: &str) -> bool {
        let mut parts = self.0.iter();
        pattern
            .split('.')
            .all(|expected| parts.next().is_some_and(|part| expected == "*" || expected == part))
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !part.is_empty() && part.chars().all(is_bare) {
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
    fn keys_are_parsed_and_formatted_as_in_toml() {
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
    fn patterns_include_all_keys_below() {
        let is_below = |key: &str, pattern: &str| Key::parse(key).is_below(pattern);
        assert!(is_below("reading.noise", "reading") && is_below("reading", "reading"));
        assert!(is_below("arms.base.parts.mlm", "arms.*.parts"));
        assert!(!is_below("reader", "reading") && !is_below("arms.base", "arms.*.parts"));
    }
}
