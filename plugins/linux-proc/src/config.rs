//! The configuration of this backend and its schema.
//!
//! The host checks the text against the schema before it gets here; parsing refuses unknown keys
//! all the same, so that the two cannot drift apart unnoticed (a test compares them).

use outrigger_sdk::{Error, ErrorCode};
use serde::Deserialize;

/// JSON Schema (draft 2020-12) of [`Config`].
pub const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "linux-proc",
  "type": "object",
  "properties": {
    "discovery": {
      "description": "How new processes are found: by kernel events, by listing /proc at each sweep, or by events where they work.",
      "enum": ["auto", "events", "scan"],
      "default": "auto"
    },
    "allow_irreversible": {
      "description": "Also turn knobs that the privileges at hand cannot turn back.",
      "type": "boolean",
      "default": false
    }
  },
  "additionalProperties": false
}"#;

/// How processes are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Events if their self-test passes, else scans.
    #[default]
    Auto,
    /// Events, or fail.
    Events,
    /// Scans.
    Scan,
}

/// What can be configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How processes are found.
    pub discovery: Finding,
    /// Also turn knobs that cannot be turned back.
    pub allow_irreversible: bool,
}

impl Config {
    /// Reads the configuration; an empty text is the default.
    ///
    /// # Errors
    /// It is not JSON, has a key that does not exist, or a value of the wrong kind.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // By way of an object: a structure would also be read from an array.
        serde_json::from_str::<serde_json::Map<_, _>>(text)
            .and_then(|object| serde_json::from_value(object.into()))
            .map_err(|error| Error::new(ErrorCode::CONFIG, "configure", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_key_has_the_default_the_schema_states() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let stated: serde_json::Map<_, _> =
            properties.iter().map(|(key, value)| (key.clone(), value["default"].clone())).collect();
        let stated = serde_json::to_string(&stated).unwrap();
        assert_eq!(Config::parse(&stated).unwrap(), Config::default());
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn unknown_keys_and_values_are_refused() {
        for text in [r#"{"discovry":"scan"}"#, r#"{"discovery":"guess"}"#, "[]", "{"] {
            assert_eq!(Config::parse(text).unwrap_err().code, ErrorCode::CONFIG, "{text}");
        }
        assert_eq!(Config::parse(r#"{"discovery":"scan"}"#).unwrap().discovery, Finding::Scan);
    }
}
