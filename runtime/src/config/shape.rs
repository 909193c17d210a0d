//! Every key a configuration may have, and what its value must look like.
//!
//! Needed beside the serde types because serde stops at the first error and knows no lines.
//! Limits that relate keys to one another are not checked here but by the policy's own
//! validation. A test holds this table and the serde types together.

/// What a value looks like.
#[derive(Debug)]
pub enum Shape {
    /// A table with these keys and no others.
    Table(&'static [(&'static str, Shape)]),
    /// A table whose keys are names; the text says of what.
    Map(&'static str, &'static Shape),
    /// An array.
    List(&'static Shape),
    /// A value or an array of such.
    OneOrMany(&'static Shape),
    /// Any text.
    Text,
    /// A whole number between the two, both included.
    Integer(i64, i64),
    /// A finite number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A length of time such as `"250ms"` or `"10s"`.
    Duration,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Whatever somebody else checks (a plugin's configuration: its schema does).
    Anything,
}

impl Shape {
    /// In words, for error messages.
    pub fn expected(&self) -> String {
        match self {
            Self::Table(keys) => {
                format!(
                    "a table with {}",
                    keys.iter().map(|(k, _)| *k).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Map(of, _) => format!("a table of {of}"),
            Self::List(item) => format!("an array, each item {}", item.expected()),
            Self::OneOrMany(item) => format!("{}, or an array of such", item.expected()),
            Self::Text => "a text".into(),
            Self::Integer(low, high) if *high == i64::from(u32::MAX) => {
                format!("a whole number, at least {low}")
            }
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Number => "a number".into(),
            Self::Bool => "true or false".into(),
            Self::Duration => "a length of time such as \"250ms\" or \"10s\"".into(),
            Self::OneOf(texts) => {
                texts.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(", ")
            }
            Self::Anything => "any value".into(),
        }
    }
}

const ANY_U32: Shape = Shape::Integer(0, u32::MAX as i64);
const TEXTS: Shape = Shape::OneOrMany(&Shape::Text);
const NUMBERS: Shape = Shape::OneOrMany(&ANY_U32);

/// Classes, as the policy spells them.
pub const CLASSES: &[&str] =
    &["latency-critical", "interactive", "batch", "background", "runaway", "unknown"];

/// A selector's keys; also those of selector expressions on the command line.
pub const SELECTOR: &[(&str, Shape)] = &[
    ("exe", TEXTS),
    ("name", TEXTS),
    ("command", TEXTS),
    ("thread", TEXTS),
    ("uid", NUMBERS),
    ("cgroup", TEXTS),
    ("parent", TEXTS),
    ("descendant_of", TEXTS),
    ("pid", NUMBERS),
];

const WORKLOAD: Shape = Shape::Table(&[
    ("name", Shape::Text),
    ("class", Shape::OneOf(CLASSES)),
    ("match", Shape::List(&Shape::Table(SELECTOR))),
    ("allow_irreversible", Shape::Bool),
]);

const TIER: Shape = Shape::Table(&[
    ("share", Shape::Integer(1, 10_000)),
    ("idle", Shape::Bool),
    ("cap", Shape::Number),
    ("when", Shape::OneOf(&["contended", "always", "never"])),
    ("priority", Shape::OneOf(&["realtime", "high", "normal", "low", "idle"])),
]);

const LADDER: Shape =
    Shape::Table(&[("rest", Shape::Integer(0, 255)), ("floor", Shape::Integer(0, 255))]);

const CONTENTION: Shape = Shape::Table(&[
    ("wait_ms_per_s", Shape::Number),
    ("clear_ms_per_s", Shape::Number),
    ("others_millicores", Shape::Number),
]);

const TIMING: Shape = Shape::Table(&[
    ("tick", Shape::Duration),
    ("down_after", ANY_U32),
    ("cool_down", Shape::Duration),
    ("dwell", Shape::Duration),
    ("flap_budget", ANY_U32),
    ("flap_window", Shape::Duration),
    ("cap_after", Shape::Integer(1, u32::MAX as i64)),
    ("cap_trial", Shape::Integer(2, u32::MAX as i64)),
]);

const PLUGINS: Shape = Shape::Table(&[
    ("directories", Shape::List(&Shape::Text)),
    ("allow", Shape::List(&Shape::Text)),
    ("deny", Shape::List(&Shape::Text)),
    ("grants", Shape::Map("plugin names", &Shape::List(&Shape::Text))),
    ("config", Shape::Map("plugin names", &Shape::Anything)),
    ("pins", Shape::Map("plugin names", &Shape::Text)),
]);

/// Log levels.
pub const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
/// Log formats.
pub const FORMATS: &[&str] = &["text", "json"];

/// The whole file.
pub const ROOT: Shape = Shape::Table(&[
    ("workload", Shape::List(&WORKLOAD)),
    ("tiers", Shape::Map("tier numbers", &TIER)),
    ("ladder", Shape::Map("classes", &LADDER)),
    ("contention", CONTENTION),
    ("timing", TIMING),
    ("neighbours", Shape::OneOf(&["untouched", "same-session"])),
    ("plugins", PLUGINS),
    ("state", Shape::Table(&[("dir", Shape::Text)])),
    ("log", Shape::Table(&[("level", Shape::Text), ("format", Shape::OneOf(FORMATS))])),
    ("control", Shape::Table(&[("socket", Shape::Text)])),
]);

/// The keys of [`ROOT`] that are the policy's.
pub const POLICY_KEYS: &[&str] =
    &["workload", "tiers", "ladder", "contention", "timing", "neighbours"];
