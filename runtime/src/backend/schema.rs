//! Checks a plugin's configuration against the plugin's own JSON Schema, before its code sees it.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

/// Checks `config` (of the plugin `name`) against `schema`.
///
/// # Errors
/// One sentence with every place that is wrong, what was given there and what is allowed; or that
/// the schema itself is unusable, which is the plugin's fault.
pub fn check(name: &str, config: &Value, schema: &str) -> Result<(), String> {
    let parsed: Value = serde_json::from_str(schema)
        .map_err(|error| format!("its configuration schema is not JSON: {error}"))?;
    let validator = jsonschema::validator_for(&parsed)
        .map_err(|error| format!("its configuration schema is no JSON Schema: {error}"))?;
    let faults: Vec<String> = validator
        .iter_errors(config)
        .map(|error| {
            let place = place(name, &error.instance_path().to_string());
            let schema_of = error.schema_path().to_string();
            fault(&place, error.instance(), error.kind(), &parsed, &schema_of)
        })
        .collect();
    match faults.as_slice() {
        [] => Ok(()),
        some => Err(format!("its configuration is wrong: {}", some.join("; "))),
    }
}

/// The dotted key of a JSON pointer: `/limits/0` becomes `plugins.config.NAME.limits[0]`.
fn place(name: &str, pointer: &str) -> String {
    let mut key = format!("plugins.config.{name}");
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|b| b.is_ascii_digit()) {
            key += &format!("[{part}]");
        } else {
            key += &format!(".{}", part.replace("~1", "/").replace("~0", "~"));
        }
    }
    key
}

fn fault(place: &str, given: &Value, kind: &Kind, schema: &Value, schema_path: &str) -> String {
    let given = shortened(given);
    match kind {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let parent = schema_path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let known: Vec<_> = schema
                .pointer(&format!("{parent}/properties"))
                .and_then(Value::as_object)
                .map(|properties| properties.keys().cloned().collect())
                .unwrap_or_default();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("{place} has unknown keys {} (known: {known})", unexpected.join(", "))
        }
        Kind::Enum { options } => format!("{place} is {given}, allowed is one of {options}"),
        Kind::Constant { expected_value } => {
            format!("{place} is {given}, allowed is {expected_value}")
        }
        Kind::Minimum { limit } => format!("{place} is {given}, allowed is {limit} or more"),
        Kind::Maximum { limit } => format!("{place} is {given}, allowed is {limit} or less"),
        Kind::ExclusiveMinimum { limit } => {
            format!("{place} is {given}, allowed is more than {limit}")
        }
        Kind::ExclusiveMaximum { limit } => {
            format!("{place} is {given}, allowed is less than {limit}")
        }
        Kind::Pattern { pattern } => format!("{place} is {given}, which does not match {pattern}"),
        Kind::Required { property } => format!("{place} has no key {property}"),
        Kind::Type { kind: TypeKind::Single(kind) } => {
            format!("{place} is {given}, which is not of type {kind}")
        }
        other => format!("{place} is {given}, which breaks the rule `{}`", other.keyword()),
    }
}

/// A value as text, cut where nobody would read on.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{} ...", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const SCHEMA: &str = r#"{
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "discovery": { "enum": ["auto", "scan"] },
            "interval_ms": { "type": "integer", "minimum": 10 },
            "limits": { "type": "array", "items": { "type": "number", "maximum": 5 } }
        }
    }"#;

    #[test]
    fn what_fits_passes() {
        let config = json!({"discovery": "scan", "interval_ms": 10, "limits": [1, 2.5]});
        assert_eq!(check("p", &config, SCHEMA), Ok(()));
        assert_eq!(check("p", &json!({}), SCHEMA), Ok(()));
    }

    #[test]
    fn each_fault_names_place_given_and_allowed() {
        let wrong = |config: Value| check("p", &config, SCHEMA).unwrap_err();
        assert_eq!(
            wrong(json!({"discovery": "events"})),
            r#"its configuration is wrong: plugins.config.p.discovery is "events", allowed is one of ["auto","scan"]"#
        );
        assert!(
            wrong(json!({"interval_ms": 9})).contains("interval_ms is 9, allowed is 10 or more")
        );
        assert!(
            wrong(json!({"limits": [1, 7]})).contains("p.limits[1] is 7, allowed is 5 or less")
        );
        assert!(wrong(json!({"interval": 9})).contains(
            "plugins.config.p has unknown keys interval (known: discovery, interval_ms, limits)"
        ));
        assert!(
            wrong(json!({"interval_ms": "x"})).contains(r#""x", which is not of type integer"#)
        );
        assert!(wrong(json!([])).contains("plugins.config.p is [], which is not of type object"));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let refusal = check("p", &json!({"discovery": 1, "interval_ms": 1}), SCHEMA).unwrap_err();
        assert!(refusal.contains("discovery") && refusal.contains("interval_ms"), "{refusal}");
    }

    #[test]
    fn an_unusable_schema_is_the_plugins_fault() {
        assert!(check("p", &json!({}), "{").unwrap_err().contains("schema is not JSON"));
        let refusal = check("p", &json!({}), r#"{"type": "thing"}"#).unwrap_err();
        assert!(refusal.contains("no JSON Schema"), "{refusal}");
    }
}
