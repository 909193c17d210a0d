//! The backend: its parts behind the one trait.

use crate::mounts::{Hierarchies, Space};
use crate::observe::Reader;
use crate::place::Places;
use crate::version::Version;
use crate::{prepare, survey};
use outrigger_sdk::undo::{Kind, Operation, knob};
use outrigger_sdk::{
    Backend, CapabilityReport, ContextNode, Description, Desired, Error, ErrorCode, Host, LogLevel,
    Observation, ObserveRequest, Permit, PreparedOperation, SurveyRequest,
};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::Path;

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "base": {
      "type": "string",
      "pattern": "^/",
      "description": "cgroup below which contexts are made, in every hierarchy; the root, or our own cgroup, if absent"
    }
  },
  "additionalProperties": false
}"#;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    base: Option<String>,
}

/// A backend for one version of cgroups.
#[derive(Debug)]
pub struct Cgroups<V> {
    host: Host,
    places: Places,
    /// Names of contexts we made, or found and know to be ours.
    ours: HashSet<String>,
    reader: Reader<V>,
    base: Option<String>,
}

impl<V: Version> Backend for Cgroups<V> {
    fn describe() -> Description {
        Description {
            name: V::NAME.into(),
            version: V::VERSION.into(),
            summary: V::SUMMARY.into(),
            platforms: vec!["linux".into()].into(),
            capabilities: V::at_best().into(),
            config_schema: SCHEMA.into(),
            preference: V::PREFERENCE,
        }
    }

    fn create(host: Host, config: &str) -> Result<Self, Error> {
        let text = if config.trim().is_empty() { "{}" } else { config };
        let wrong = |message: String| Error::new(ErrorCode::CONFIG, "create", message);
        let config: Config = serde_json::from_str(text)
            .map_err(|error| wrong(format!("the configuration does not fit: {error}")))?;
        let base = config.base.map(|base| match base.trim_end_matches('/') {
            "" => "/".to_owned(),
            base => base.to_owned(),
        });
        if let Some(bad) = base.as_deref().filter(|base| !base.starts_with('/')) {
            return Err(wrong(format!("`base` is `{bad}`; it must be an absolute cgroup path")));
        }
        let places = Places::find(base.as_deref())?;
        Ok(Self { host, places, ours: HashSet::new(), reader: Reader::default(), base })
    }

    fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error> {
        // Mounts and permissions may have changed since.
        self.places = Places::find(self.base.as_deref())?;
        Ok(V::probe(&self.places))
    }

    fn observe(&mut self, request: &ObserveRequest, into: &mut Observation) -> Result<(), Error> {
        into.at_ns = self.host.now_ns();
        let contexts = &mut into.contexts;
        self.reader.read(request.contexts.iter(), &self.places, |reading| contexts.push(reading));
        Ok(())
    }

    fn survey(&mut self, request: &SurveyRequest) -> Result<Vec<ContextNode>, Error> {
        survey::survey::<V>(request, &self.places, &self.ours)
    }

    fn prepare(&mut self, desired: &Desired) -> Result<Vec<PreparedOperation>, Error> {
        prepare::prepare::<V>(desired, &self.places, &mut self.ours)
    }

    fn commit(&mut self, permit: Permit<'_>) -> Result<String, Error> {
        let operation = permit.operation();
        let made = check(operation, &self.places)?;
        unchanged(operation)?;
        let Operation { kind, task, locator, after, .. } = operation;
        let read_back =
            knob::write(*kind, *task, locator, after).map_err(|error| told(&error, *kind))?;
        if let Some(name) = made {
            self.host.log(LogLevel::DEBUG, &format!("context {locator}: {after}"));
            if after == "present" {
                self.ours.insert(name);
            }
        }
        Ok(read_back)
    }
}

/// Whether an operation lies in our hierarchies; the name, if it is about a context of ours.
fn check(operation: &Operation, places: &Places) -> Result<Option<String>, Error> {
    let outside = || {
        Error::new(
            ErrorCode::NOT_DELEGATED,
            "commit",
            format!("{} is not in a cgroup hierarchy of this backend", operation.locator),
        )
    };
    let locator = Path::new(&operation.locator);
    let held = |hierarchies: &Hierarchies| {
        hierarchies.holding(locator).filter(|found| found.space != Space::Systemd).cloned()
    };
    let hierarchy = held(&places.hierarchies).ok_or_else(outside)?;
    match operation.kind {
        Kind::File => Ok(None),
        Kind::Membership if locator == hierarchy.mount => Ok(None),
        Kind::Context => {
            let name = locator.file_name().and_then(|name| name.to_str()).ok_or_else(outside)?;
            crate::place::check_name(name)?;
            let place = places.open(hierarchy.space)?;
            let ours = place.dir(name).is_some_and(|dir| dir == locator);
            if ours { Ok(Some(name.to_owned())) } else { Err(outside()) }
        }
        _ => Err(Error::not_supported(
            "commit",
            format!("{:?} is not written by this backend", operation.kind),
        )),
    }
}

/// Somebody may have decided otherwise between reading and writing; theirs stays. What is
/// already as it shall be is no obstacle.
fn unchanged(operation: &Operation) -> Result<(), Error> {
    let Operation { kind, task, locator, before, after } = operation;
    if *kind == Kind::Context {
        // Making what exists is an error of its own.
        return Ok(());
    }
    let now = knob::read(*kind, *task, locator).map_err(|error| told(&error, *kind))?;
    if now == *before || now == *after {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::FOREIGN,
        "commit",
        format!("{locator} was `{before}` when this was prepared and is `{now}` now"),
    ))
}

fn told(error: &knob::KnobError, kind: Kind) -> Error {
    use knob::KnobErrorCode as From;
    let code = match error.code() {
        From::Gone => ErrorCode::GONE,
        From::Privilege => ErrorCode::PRIVILEGE,
        From::Range => ErrorCode::RANGE,
        From::NotSupported => ErrorCode::NOT_SUPPORTED,
        From::Refused => ErrorCode::NOT_DELEGATED,
        From::Exists => ErrorCode::EXISTS,
        _ => ErrorCode::OS,
    };
    let step = match kind {
        Kind::Context => "create",
        Kind::Membership => "assign",
        _ => "configure",
    };
    Error { os_code: error.os_code().into(), ..Error::new(code, step, error.message()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_schema_is_json_and_closed() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn operations_elsewhere_are_refused() {
        let places = Places::find(None).unwrap();
        let operation = |kind, locator: &str| Operation {
            kind,
            task: None,
            locator: locator.into(),
            before: String::new(),
            after: String::new(),
        };
        assert!(check(&operation(Kind::File, "/etc/passwd"), &places).is_err());
        assert!(check(&operation(Kind::Nice, ""), &places).is_err());
        let Some(cpu) = places.hierarchies.get(Space::Cpu) else {
            outrigger_skip::skip("no v1 cpu controller is mounted");
            return;
        };
        let below = |path: &str| cpu.mount.join(path).to_str().unwrap().to_owned();
        assert!(check(&operation(Kind::Nice, &below("x")), &places).is_err());
        assert!(check(&operation(Kind::Membership, &below("x")), &places).is_err());
        assert!(check(&operation(Kind::Context, &below("a/b/c")), &places).is_err());
        assert!(check(&operation(Kind::Membership, cpu.mount.to_str().unwrap()), &places).is_ok());
    }
}
