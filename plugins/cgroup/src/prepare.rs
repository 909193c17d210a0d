//! From a desired state to operations: which cgroups it needs, and in which order.
//!
//! A context of ours spans some hierarchies always, the others only where a knob acts in them. A cgroup that somebody else made is adopted: its knobs may be turned, but
//! it is never made, never removed and never given tasks.

use crate::draft::Draft;
use crate::group::Group;
use crate::knobs::{self, Groups, Scope, asks_nothing};
use crate::mounts::Space;
use crate::place::{OUR_PREFIX, Places, check_name};
use crate::version::Version;
use crate::{error, owner};
use outrigger_sdk::{
    Capability, ContextId, Desired, Error, ErrorCode, PreparedOperation, Setting, SubjectKind,
    maker,
};
use std::collections::HashSet;

/// Says what would have to be written. `ours` gains the name of a context that is found to be
/// ours.
///
/// # Errors
/// The subject as a whole is gone or out of reach.
pub fn prepare<V: Version>(
    desired: &Desired,
    places: &Places,
    ours: &mut HashSet<String>,
) -> Result<Vec<PreparedOperation>, Error> {
    if desired.kind != SubjectKind::CONTEXT {
        return Err(Error::not_supported("prepare", "this backend turns knobs of contexts only"));
    }
    let mut draft = Draft::default();
    if desired.context.space.is_empty() {
        let name = desired.context.path.as_str();
        own::<V>(name, &desired.settings, places, ours, &mut draft)?;
    } else {
        adopted::<V>(&desired.context, &desired.settings, places, &mut draft)?;
    }
    Ok(draft.finish())
}

fn own<V: Version>(
    name: &str,
    settings: &[Setting],
    places: &Places,
    ours: &mut HashSet<String>,
    draft: &mut Draft,
) -> Result<(), Error> {
    check_name(name)?;
    let existence = settings.iter().rev().find(|setting| setting.knob == Capability::CONTEXT);
    let found: Vec<Group> = V::SPACES
        .iter()
        .filter_map(|space| places.get(*space))
        .filter_map(|place| Group::at(&place.hierarchy, &place.path(name)).ok())
        .collect();
    let exists = found.iter().any(|group| group.exists);
    if exists && !ours.contains(name) {
        if !name.starts_with(OUR_PREFIX) {
            return Err(Error::new(
                ErrorCode::EXISTS,
                "create",
                format!("a cgroup {name} exists and was not made by us; choose another name"),
            ));
        }
        if let Some(pid) = maker::another(name) {
            return Err(Error::new(
                ErrorCode::EXISTS,
                "create",
                format!("the cgroup {name} is process {pid}'s, another running sidecar"),
            ));
        }
        ours.insert(name.to_owned());
    }
    match existence.map(|setting| setting.value) {
        Some(0) => {
            remove(&found, draft);
            return Ok(());
        }
        Some(1) => {}
        Some(other) => {
            draft.refuse(
                Capability::CONTEXT,
                error::range("create", format!("existence {other} is neither 0 nor 1")),
            );
            return Ok(());
        }
        None if exists => {}
        None => {
            return Err(Error::new(
                ErrorCode::GONE,
                "prepare",
                format!("context {name} does not exist; set context to 1 to have it made"),
            ));
        }
    }
    let groups = spanned::<V>(settings, found, places, draft);
    knobs::prepare::<V>(settings, &groups, Scope { places, ours: Some(ours) }, draft);
    Ok(())
}

/// The cgroups of our context that are there or needed; those to be made are drafted.
fn spanned<V: Version>(
    settings: &[Setting],
    found: Vec<Group>,
    places: &Places,
    draft: &mut Draft,
) -> Groups {
    let mut groups = Groups::default();
    for group in found {
        let space = group.hierarchy.space;
        let asked = settings
            .iter()
            .find(|setting| V::space_of(setting.knob) == Some(space) && !asks_nothing(setting));
        let always = V::ALWAYS.contains(&space);
        if group.exists {
            groups.0.push(group);
        } else if always || asked.is_some() {
            match places.open(space) {
                Ok(_) => {
                    draft.context(Capability::CONTEXT, &group, true);
                    groups.0.push(group);
                }
                Err(error) => draft.refuse(Capability::CONTEXT, error),
            }
        }
    }
    groups
}

fn remove(found: &[Group], draft: &mut Draft) {
    for group in found.iter().rev().filter(|group| group.exists) {
        match group.read("cgroup.procs") {
            Ok(tasks) if tasks.is_empty() => draft.context(Capability::CONTEXT, group, false),
            Ok(tasks) => draft.refuse(
                Capability::CONTEXT,
                Error {
                    os_code: libc::EBUSY.into(),
                    ..Error::new(
                        ErrorCode::OS,
                        "remove",
                        format!(
                            "{} of {} still holds {} processes; put them back first",
                            group.path,
                            group.hierarchy.space.name(),
                            tasks.lines().count()
                        ),
                    )
                },
            ),
            Err(error) => draft.refuse(Capability::CONTEXT, error),
        }
    }
}

fn adopted<V: Version>(
    context: &ContextId,
    settings: &[Setting],
    places: &Places,
    draft: &mut Draft,
) -> Result<(), Error> {
    let space = space_named::<V>(&context.space)?;
    let place = places.get(space).ok_or_else(|| crate::place::not_mounted(space))?;
    let group = Group::at(&place.hierarchy, &context.path)?;
    if !group.exists {
        return Err(Error::new(
            ErrorCode::GONE,
            "prepare",
            format!("there is no cgroup {} in {}", context.path, space.name()),
        ));
    }
    if group.is_root() {
        return Err(Error::not_supported(
            "prepare",
            format!("{} is the root of {}, which has no knobs", context.path, space.name()),
        ));
    }
    if !place.delegated(&group.path) && owner::is_systemds(&places.hierarchies, &group.path) {
        return Err(Error::new(
            ErrorCode::NOT_DELEGATED,
            "prepare",
            format!(
                "{} is a unit of systemd, which would write its own values back; ask systemd to \
                 set the unit's property",
                group.path
            ),
        ));
    }
    let groups = Groups(vec![group]);
    let (elsewhere, here): (Vec<_>, Vec<_>) = settings.iter().cloned().partition(|setting| {
        setting.knob != Capability::CONTEXT && V::space_of(setting.knob) != Some(space)
    });
    for setting in elsewhere {
        let message = match (setting.knob, V::space_of(setting.knob)) {
            (Capability::MEMBERS, _) => "tasks are put into contexts of ours only".to_owned(),
            (_, Some(other)) => format!("it acts in {}, not in {}", other.name(), space.name()),
            (knob, None) => format!("{knob} is no knob of a {}", V::GROUP),
        };
        draft.refuse(setting.knob, Error::not_supported("configure", message));
    }
    if let Some(removal) = here.iter().find(|s| s.knob == Capability::CONTEXT && s.value != 1) {
        draft.refuse(
            removal.knob,
            Error::new(
                ErrorCode::NOT_DELEGATED,
                "remove",
                format!("{} was not made by us and is never removed", context.path),
            ),
        );
    }
    knobs::prepare::<V>(&here, &groups, Scope { places, ours: None }, draft);
    Ok(())
}

/// The space of a name.
///
/// # Errors
/// The backend has none of that name.
pub fn space_named<V: Version>(name: &str) -> Result<Space, Error> {
    if name.is_empty() {
        return Ok(V::CPU);
    }
    V::SPACES.iter().copied().find(|space| space.name() == name).ok_or_else(|| {
        let known: Vec<&str> = V::SPACES.iter().map(|space| space.name()).collect();
        Error::not_supported(
            "open",
            format!("there is no space `{name}` here, only {}", known.join(", ")),
        )
    })
}
