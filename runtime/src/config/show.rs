//! The configuration in force, with the origin of every value.

use super::file::join;
use super::layers::Loaded;
use config::{Map, Value, ValueKind};
use serde_json::json;
use std::fmt::Write as _;

/// As TOML; the comment after each value says where it comes from.
pub fn text(loaded: &Loaded) -> String {
    let mut out = String::from("# The configuration in force, and where each value comes from.\n");
    if loaded.sources.is_empty() {
        out.push_str("# No file, variable or option: everything is built in.\n");
    }
    for source in &loaded.sources {
        let _ = writeln!(out, "# read: {source}");
    }
    out.push('\n');
    table(&mut out, &loaded.values, "");
    out
}

/// The same for machines: `config`, `origins` by dotted path, `sources`.
pub fn json(loaded: &Loaded) -> serde_json::Value {
    let mut origins = serde_json::Map::new();
    for (key, value) in &loaded.values {
        collect(&mut origins, value, key);
    }
    let config: serde_json::Map<_, _> =
        loaded.values.iter().map(|(key, value)| (key.clone(), plain(value))).collect();
    json!({ "config": config, "origins": origins, "sources": loaded.sources })
}

fn table(out: &mut String, keys: &Map<String, Value>, path: &str) {
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_by(|a, b| a.0.cmp(b.0));
    let is_table = |value: &Value| match &value.kind {
        ValueKind::Table(_) => true,
        ValueKind::Array(items) => {
            path.is_empty() && items.iter().all(|item| matches!(item.kind, ValueKind::Table(_)))
        }
        _ => false,
    };
    // In TOML plain values come before tables, or they would belong to the table above them.
    for (key, value) in keys.iter().filter(|(_, value)| !is_table(value)) {
        let line = format!("{} = {}", join("", key), inline(value));
        let _ = writeln!(out, "{line:<44} # {}", value.origin().unwrap_or("unknown"));
    }
    for (key, value) in keys.iter().filter(|(_, value)| is_table(value)) {
        let at = join(path, key);
        match &value.kind {
            ValueKind::Table(inner) => {
                let only_tables = inner.values().all(|v| matches!(v.kind, ValueKind::Table(_)));
                if !only_tables || inner.is_empty() {
                    let _ = writeln!(out, "\n[{at}]");
                }
                table(out, inner, &at);
            }
            ValueKind::Array(items) => {
                for item in items {
                    let _ = writeln!(out, "\n[[{at}]]");
                    if let ValueKind::Table(inner) = &item.kind {
                        table(out, inner, &at);
                    }
                }
            }
            _ => {}
        }
    }
}

fn inline(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "\"\"".to_owned(),
        ValueKind::Boolean(truth) => truth.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::I128(number) => number.to_string(),
        ValueKind::U64(number) => number.to_string(),
        ValueKind::U128(number) => number.to_string(),
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::String(text) => toml::Value::String(text.clone()).to_string(),
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        ValueKind::Table(keys) => {
            let mut parts: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{} = {}", join("", key), inline(value)))
                .collect();
            parts.sort();
            if parts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
        }
    }
}

fn collect(origins: &mut serde_json::Map<String, serde_json::Value>, value: &Value, path: &str) {
    match &value.kind {
        ValueKind::Table(keys) => {
            for (key, value) in keys {
                collect(origins, value, &join(path, key));
            }
        }
        ValueKind::Array(items) if items.iter().any(|i| matches!(i.kind, ValueKind::Table(_))) => {
            for (i, item) in items.iter().enumerate() {
                collect(origins, item, &format!("{path}[{i}]"));
            }
        }
        _ => {
            origins.insert(path.to_owned(), value.origin().into());
        }
    }
}

fn plain(value: &Value) -> serde_json::Value {
    match &value.kind {
        ValueKind::Nil => serde_json::Value::Null,
        ValueKind::Boolean(truth) => json!(truth),
        ValueKind::I64(number) => json!(number),
        ValueKind::U64(number) => json!(number),
        ValueKind::I128(number) => json!(number.to_string()),
        ValueKind::U128(number) => json!(number.to_string()),
        ValueKind::Float(number) => json!(number),
        ValueKind::String(text) => json!(text),
        ValueKind::Array(items) => items.iter().map(plain).collect(),
        ValueKind::Table(keys) => {
            keys.iter().map(|(key, value)| (key.clone(), plain(value))).collect()
        }
    }
}
