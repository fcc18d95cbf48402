//! Deserialisation of texts and titles.
use serde::de::MapAccess;
use serde::{Deserialize, Deserializer};

use super::values::{RawString, VisitEntries, from_entries};
use crate::dump::texts::{Text, Title};

impl<'de> VisitEntries<'de> for Text {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let field = match key {
            "language" => &mut self.language,
            "value" => &mut self.value,
            _ => return Ok(false),
        };
        *field = Some(map.next_value::<RawString<'de>>()?.0.into_owned());
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_entries(deserializer)
    }
}

impl<'de> VisitEntries<'de> for Title {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "title" {
            return Ok(false);
        }
        self.0 = Some(map.next_value::<RawString<'de>>()?.0.into_owned());
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for Title {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_entries(deserializer)
    }
}
