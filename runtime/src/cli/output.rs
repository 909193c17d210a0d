//! Printing, and failing with the right exit code.

use super::{DONE, FAILED, HOST, USAGE};
use crate::config::ConfigError;
use crate::control::ClientError;
use crate::paths::PathError;
use crate::status::plain_lines;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// Why a command ends without having done what it was asked to.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    /// Something went wrong.
    pub fn failed(message: impl Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }
    /// What was given cannot be used.
    pub fn usage(message: impl Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }
    /// The host cannot do it.
    pub fn host(message: impl Display) -> Self {
        Self { code: HOST, message: message.to_string() }
    }
    /// Says so on standard error and answers with the exit code.
    pub fn tell(self) -> u8 {
        if !self.message.is_empty() {
            tell(&self.message);
        }
        self.code
    }
}

/// One message to the user, each line marked as ours: standard error may be shared.
pub(super) fn tell(message: &str) {
    let mut text = String::new();
    for line in plain_lines(message).lines() {
        text.push_str("outrigger: ");
        text.push_str(line);
        text.push('\n');
    }
    // Nothing can be told to somebody whose terminal is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::failed(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::failed(error)
    }
}

/// Prints to standard output, for people: what names of processes and files do to a terminal is
/// shown, not done. A reader that has gone away (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<u8, Failure> {
    print_as_is(&plain_lines(text))
}

fn print_as_is(text: &str) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(DONE),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(DONE),
        Err(error) => Err(Failure::failed(format!("cannot print: {error}"))),
    }
}

/// Prints JSON to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<u8, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print_as_is(&(text + "\n"))
}
