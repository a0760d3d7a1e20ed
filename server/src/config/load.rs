//! The layers: default < file < environment < flags.
//!
//! The default configuration, as a TOML table, is the register of known keys and of their types:
//! whatever a layer brings is looked up there, turned into the type found, and tried alone, so that
//! an error always names the one key, value and layer that is wrong.

use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError};

/// Prefix of the environment variables that are settings.
const ENV_PREFIX: &str = "COUPON__";

/// Where to look when no known key is near.
const ALL_KEYS: &str = "config/coupon.toml shows all settings";

/// One setting from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag, for messages: `--set`, `--listen`, ...
    pub name: &'static str,
    /// `section.key`.
    pub key: String,
    /// The value as typed.
    pub value: String,
}

impl Flag {
    /// Reads the argument of `--set`.
    ///
    /// # Errors
    /// [`ConfigError::BadFlag`] when there is no `=`.
    pub fn set(text: &str) -> Result<Self, ConfigError> {
        let Some((key, value)) = text.split_once('=') else {
            let text = text.to_owned();
            return Err(ConfigError::BadFlag { text });
        };
        Ok(Self { name: "--set", key: key.trim().to_owned(), value: value.trim().to_owned() })
    }
}

/// Everything a configuration is made of, read by the caller: nothing here asks the process.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file, if one is named. A named file must exist.
    pub file: Option<PathBuf>,
    /// All environment variables; those with another prefix are none of our business.
    pub environment: Vec<(String, String)>,
    /// Settings from the command line, the last one wins.
    pub flags: Vec<Flag>,
}

/// Lays the layers over each other.
pub(super) fn merge(sources: &Sources) -> Result<Config, ConfigError> {
    let mut layers = Layers::new()?;
    if let Some(path) = &sources.file {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: shown.clone(),
            reason: error.to_string(),
        })?;
        layers.file(&shown, &text)?;
    }
    layers.environment(&sources.environment)?;
    for flag in &sources.flags {
        layers.flag(flag)?;
    }
    layers.finish()
}

/// How a layer spells its keys, and its name in messages.
struct Origin {
    name: String,
    spell: fn(&str, &str) -> String,
}

/// The configuration under construction.
struct Layers {
    known: Table,
    merged: Table,
}

impl Layers {
    fn new() -> Result<Self, ConfigError> {
        let known = Table::try_from(Config::default())
            .map_err(|error| ConfigError::Render(error.to_string()))?;
        let merged = known.clone();
        Ok(Self { known, merged })
    }

    fn file(&mut self, path: &str, text: &str) -> Result<(), ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let origin = Origin { name: path.to_owned(), spell: dotted };
        for (section, content) in table {
            match content {
                Value::Table(settings) if self.known.contains_key(&section) => {
                    for (key, value) in settings {
                        self.apply(&origin, &section, &key, value)?;
                    }
                }
                Value::Table(_) => {
                    let sections = self.known.keys().cloned();
                    return Err(unknown(format!("[{section}]"), &origin.name, sections, |name| {
                        format!("[{name}]")
                    }));
                }
                // A bare key: all settings live in sections.
                _ => return Err(self.unknown_key(&origin, section.clone(), &section)),
            }
        }
        Ok(())
    }

    fn environment(&mut self, variables: &[(String, String)]) -> Result<(), ConfigError> {
        let origin = Origin {
            name: "the environment".to_owned(),
            spell: |section, key| format!("{ENV_PREFIX}{section}__{key}").to_ascii_uppercase(),
        };
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let lower = rest.to_ascii_lowercase();
            let Some((section, key)) = lower.split_once("__") else {
                return Err(self.unknown_key(&origin, name.clone(), &lower));
            };
            self.apply_text(&origin, section, key, text)?;
        }
        Ok(())
    }

    fn flag(&mut self, flag: &Flag) -> Result<(), ConfigError> {
        let origin = Origin { name: flag.name.to_owned(), spell: dotted };
        let Some((section, key)) = flag.key.split_once('.') else {
            return Err(self.unknown_key(&origin, flag.key.clone(), &flag.key));
        };
        self.apply_text(&origin, section, key, &flag.value)
    }

    /// Applies a value that is text because its layer has no types.
    fn apply_text(
        &mut self,
        origin: &Origin,
        section: &str,
        key: &str,
        text: &str,
    ) -> Result<(), ConfigError> {
        let plain = || Value::String(text.to_owned());
        let value = match self.known.get(section).and_then(|table| table.get(key)) {
            Some(Value::Integer(_)) => {
                text.replace('_', "").parse().map_or_else(|_| plain(), Value::Integer)
            }
            Some(Value::Array(_)) => Value::Array(entries(text)),
            Some(Value::Boolean(_)) => text.parse().map_or_else(|_| plain(), Value::Boolean),
            _ => plain(),
        };
        self.apply(origin, section, key, value)
    }

    /// Applies one value: the key must be known and the value must fit it.
    fn apply(
        &mut self,
        origin: &Origin,
        section: &str,
        key: &str,
        value: Value,
    ) -> Result<(), ConfigError> {
        let spelled = (origin.spell)(section, key);
        if self.known.get(section).and_then(|table| table.get(key)).is_none() {
            return Err(self.unknown_key(origin, spelled, &dotted(section, key)));
        }
        let mut probe = Table::new();
        probe.insert(
            section.to_owned(),
            Value::Table(Table::from_iter([(key.to_owned(), value.clone())])),
        );
        if let Err(error) = Config::deserialize(probe) {
            return Err(ConfigError::BadValue {
                expected: expected(&dotted(section, key), error.message()),
                key: spelled,
                value: value.to_string(),
                origin: origin.name.clone(),
            });
        }
        if let Some(Value::Table(settings)) = self.merged.get_mut(section) {
            settings.insert(key.to_owned(), value);
        }
        Ok(())
    }

    fn finish(self) -> Result<Config, ConfigError> {
        Config::deserialize(self.merged)
            .map_err(|error| ConfigError::Conflict(vec![error.message().to_owned()]))
    }

    fn unknown_key(&self, origin: &Origin, written: String, wanted: &str) -> ConfigError {
        let nearest = nearest(wanted, self.keys());
        let remedy = match nearest.as_deref().and_then(|name| name.split_once('.')) {
            Some((section, key)) => format!("did you mean {}?", (origin.spell)(section, key)),
            None => ALL_KEYS.to_owned(),
        };
        ConfigError::UnknownKey { key: written, origin: origin.name.clone(), remedy }
    }

    /// All known keys as `section.key`.
    fn keys(&self) -> impl Iterator<Item = String> {
        self.known.iter().flat_map(|(section, content)| {
            let settings = content.as_table().into_iter().flat_map(Table::keys);
            settings.map(move |key| dotted(section, key))
        })
    }
}

/// A list where there are no types: with commas between its entries. An entry in between may be empty,
/// because its place counts; a comma at the end begins no further one.
fn entries(text: &str) -> Vec<Value> {
    let text = text.trim_end_matches([',', ' ']);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|entry| Value::String(entry.trim().to_owned())).collect()
}

fn dotted(section: &str, key: &str) -> String {
    format!("{section}.{key}")
}

fn unknown(
    written: String,
    origin: &str,
    names: impl Iterator<Item = String>,
    spell: impl Fn(&str) -> String,
) -> ConfigError {
    let wanted = written.trim_matches(['[', ']']);
    let remedy = match nearest(wanted, names) {
        Some(name) => format!("did you mean {}?", spell(&name)),
        None => ALL_KEYS.to_owned(),
    };
    ConfigError::UnknownKey { key: written, origin: origin.to_owned(), remedy }
}

/// The known name most like `wanted`, or none when nothing is close. The key without its section is
/// compared too, because forgetting or misremembering the section is the commonest slip.
fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let tail = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted_tail = tail(wanted);
    names
        .map(|name| {
            let whole = strsim::jaro_winkler(wanted, &name);
            let key = strsim::jaro_winkler(&wanted_tail, &tail(&name));
            (whole.max(key) + whole / 1_000.0, name)
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// What `key` takes, in plain words; `message` is what the deserializer said.
fn expected(key: &str, message: &str) -> String {
    if key == "server.listen" {
        return "an IP address and port such as 127.0.0.1:50051".to_owned();
    }
    let expected = message.rsplit_once("expected ").map_or(message, |(_, tail)| tail);
    match expected {
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i32" => format!("a whole number up to {}", i32::MAX),
        "i64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other => other.replace('`', ""),
    }
}
