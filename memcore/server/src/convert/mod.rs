//! Messages to the engine's nouns and back.
//!
//! `request` may fail: it refuses what the engine's types cannot hold. `reply` cannot fail.

mod reply;
pub mod request;

use memcore_engine::Error;

/// A refusal that names the parameter, the rule and the value.
pub fn refusal(reason: &'static str, parameter: &str, rule: &str, value: impl std::fmt::Display) -> Error {
    Error::invalid(reason, format!("{parameter} must be {rule}, got {value}"))
        .with("parameter", parameter)
        .with("rule", rule)
        .with("value", value)
}
