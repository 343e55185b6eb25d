//! The JSON schema of the config, from the types of `raw`, and what else is known about its keys from it.
//!
//! `config/schema.json` is this schema, for editors that complete and check TOML; a test holds the file to the types.
//! Beside JSON Schema's own words it uses `writeOnly` for what must never be shown, and `x-bounds` for bounds that JSON
//! Schema cannot state, those of durations and sizes.

use serde_json::Value;

use super::raw;

/// The schema of a config file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(raw::File).to_value();
    drop_null_defaults(&mut schema);
    schema
}

/// A key without default is optional or required, never null: TOML has no null.
fn drop_null_defaults(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, value| !(key == "default" && value.is_null()));
            if let Some(Value::Array(types)) = object.get("type").cloned()
                && let [only, Value::String(null)] = types.as_slice()
                && null == "null"
            {
                object.insert("type".to_owned(), only.clone());
            }
            object.values_mut().for_each(drop_null_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null_defaults),
        _ => {}
    }
}

/// The words that are keys, and which of them never hold a secret.
#[derive(Debug)]
pub(super) struct Vocabulary(Vec<(String, bool)>);

impl Vocabulary {
    pub(super) fn new() -> Self {
        let mut keys = Vec::new();
        collect_keys(&schema(), &mut keys);
        Self(keys)
    }

    pub(super) fn is_key(&self, word: &str) -> bool {
        self.0.iter().any(|(key, _)| key == word)
    }

    /// Everywhere a plain value, nowhere a secret one.
    pub(super) fn is_public(&self, word: &str) -> bool {
        self.is_key(word) && self.0.iter().all(|(key, public)| key != word || *public)
    }
}

fn collect_keys(value: &Value, keys: &mut Vec<(String, bool)>) {
    let Value::Object(object) = value else { return };
    if let Some(Value::Object(properties)) = object.get("properties") {
        for (key, value) in properties {
            let plain = matches!(value["type"].as_str(), Some("string" | "integer" | "number" | "boolean"));
            keys.push((key.clone(), plain && value["writeOnly"] != Value::Bool(true)));
        }
    }
    object.values().for_each(|value| collect_keys(value, keys));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// Set to write `config/schema.json` anew: `LIVECHAIN_WRITE_SCHEMA=1 cargo test config::schema`.
    const WRITE: &str = "LIVECHAIN_WRITE_SCHEMA";

    fn beside_the_example(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
    }

    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        let path = beside_the_example("schema.json");
        let written = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, &written).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == written,
            "config/schema.json is old: set {WRITE}=1 and test again"
        );
    }

    /// What the reference says of one key.
    #[derive(Debug)]
    struct Row {
        key: String,
        kind: String,
        /// None for an optional key without: the reference says in words what holds then.
        default: Option<String>,
        bounds: Option<String>,
    }

    #[test]
    fn the_reference_has_every_key_as_it_is() {
        let readme = fs::read_to_string(beside_the_example("README.md")).unwrap();
        let root = schema();
        let mut rows = Vec::new();
        collect_rows(&root, &root, "", &mut rows);
        assert!(rows.len() > 50, "{rows:#?}");
        for row in &rows {
            let start = format!("| `{}` |", row.key);
            let line = readme.lines().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("config/README.md has no row {row:?}"));
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [_, kind, default, bounds, reason] = cells[..] else { panic!("five cells: {line}") };
            assert_eq!(kind, row.kind, "{line}");
            assert!(row.default.as_deref().is_none_or(|expected| expected == default), "{row:?} {line}");
            assert!(row.bounds.as_deref().is_none_or(|expected| expected == bounds), "{row:?} {line}");
            assert!(!reason.is_empty(), "{line}");
        }
        let described = readme.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(described, rows.len(), "the reference has a row of no key, or two of one");
    }

    fn resolve<'v>(root: &'v Value, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str().or_else(|| value["anyOf"][0]["$ref"].as_str()) {
            Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or(value),
            None => value,
        }
    }

    fn collect_rows(root: &Value, table: &Value, prefix: &str, rows: &mut Vec<Row>) {
        let required = |key: &str| table["required"].as_array().is_some_and(|keys| keys.iter().any(|one| one == key));
        for (key, written) in table["properties"].as_object().into_iter().flatten() {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let value = resolve(root, written);
            let items = resolve(root, &value["items"]);
            let any = resolve(root, &value["additionalProperties"]);
            if value["properties"].is_object() {
                collect_rows(root, value, &path, rows);
            } else if items["properties"].is_object() {
                collect_rows(root, items, &path, rows);
            } else if any["properties"].is_object() {
                collect_rows(root, any, &format!("{path}.NAME"), rows);
            } else if any.is_object() {
                rows.push(row(format!("{path}.NAME"), any, any, false));
            } else {
                rows.push(row(path, value, written, required(key)));
            }
        }
    }

    fn row(key: String, value: &Value, written: &Value, required: bool) -> Row {
        let kind = |value: &Value| {
            let secret = if value["writeOnly"] == Value::Bool(true) { ", secret" } else { "" };
            let format = value["format"].as_str().filter(|format| *format != "uri-template");
            let name = format.or(value["type"].as_str()).unwrap_or("?");
            format!("{name}{secret}")
        };
        let bounded = if value["items"].is_object() { &value["items"] } else { value };
        let range = || Some(format!("{} to {}", bounded["minimum"].as_number()?, bounded["maximum"].as_number()?));
        Row {
            key,
            kind: if value["items"].is_object() { format!("array of {}", kind(&value["items"])) } else { kind(value) },
            default: match &written["default"] {
                Value::Null if required => Some("required".to_owned()),
                Value::Null => None,
                default => Some(format!("`{default}`")),
            },
            bounds: bounded["x-bounds"].as_str().map(str::to_owned).or_else(range),
        }
    }
}
