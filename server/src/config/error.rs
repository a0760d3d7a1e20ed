//! What can be wrong with a configuration.

/// Why a configuration was refused. Every message is one sentence that names the key and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {reason}; check --config")]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// The parser's message with line and column.
        reason: String,
    },
    /// A key that does not exist.
    #[error("unknown setting {key} in {origin}, {remedy}")]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where it was written.
        origin: String,
        /// The nearest known key, or where to find all of them.
        remedy: String,
    },
    /// A value of the wrong kind or outside its type.
    #[error("{key} = {value} in {origin} is not valid, expected {expected}")]
    BadValue {
        /// The key as it was written.
        key: String,
        /// The value as it was written.
        value: String,
        /// Where it was written.
        origin: String,
        /// What the key takes.
        expected: String,
    },
    /// `--set` without `=`.
    #[error("--set {text} is not valid, expected --set section.key=value")]
    BadFlag {
        /// The flag's argument.
        text: String,
    },
    /// Values out of bounds or in contradiction.
    #[error("the configuration does not hold together: {}", .0.join("; "))]
    Conflict(
        /// One sentence per broken rule.
        Vec<String>,
    ),
    /// The configuration has no TOML form.
    #[error("the configuration cannot be written as TOML: {0}")]
    Render(
        /// The serializer's message.
        String,
    ),
}
