//! The tree of cgroups of one hierarchy, nearest the root first: where the levers are.

use crate::group::Group;
use crate::place::{OUR_PREFIX, Place, Places, check_name};
use crate::version::Version;
use crate::{owner, prepare, share};
use outrigger_sdk::{ContextId, ContextNode, Error, ErrorCode, SurveyRequest, maker};
use std::collections::{HashSet, VecDeque};

/// Weight of a group in a hierarchy in which weights do not act.
const DEFAULT_WEIGHT: u32 = 100;

/// Walks breadth-first from the root asked for. A cgroup that goes away meanwhile is left out.
///
/// # Errors
/// No such space or root.
pub fn survey<V: Version>(
    request: &SurveyRequest,
    places: &Places,
    ours: &HashSet<String>,
) -> Result<Vec<ContextNode>, Error> {
    let space = prepare::space_named::<V>(&request.space)?;
    let place = places.get(space).ok_or_else(|| crate::place::not_mounted(space))?;
    let root = match request.root.as_str() {
        "" | "/" => place.hierarchy.root.as_str(),
        root => root,
    };
    let root = Group::at(&place.hierarchy, root)?;
    if !root.exists {
        return Err(Error::new(
            ErrorCode::GONE,
            "survey",
            format!("there is no cgroup {} in {}", root.path, space.name()),
        ));
    }
    let limit = request.limit as usize;
    let mut nodes = Vec::new();
    let mut queue = VecDeque::from([root]);
    while let Some(group) = queue.pop_front() {
        if nodes.len() == limit {
            break;
        }
        let children = group.children();
        let Ok(tasks) = group.read("cgroup.procs") else { continue };
        let pids: Vec<u32> = tasks.lines().filter_map(|line| line.trim().parse().ok()).collect();
        let own = place.delegated(&group.path) || is_ours(&group.path, place, ours);
        let acts = space == V::CPU;
        nodes.push(ContextNode {
            context: ContextId::new(space.name(), &group.path),
            weight: match acts && !group.is_root() {
                true if !V::weighs(&group) => 0,
                true => share::weight::<V>(&group).unwrap_or(DEFAULT_WEIGHT),
                false => DEFAULT_WEIGHT,
            },
            idle: acts && share::is_idle(&group),
            limit: acts.then(|| V::limit(&group)).flatten().unwrap_or(-1),
            tasks_compete: acts && V::tasks_compete(&group, children.len(), pids.len()),
            managed: maker::another(&group.path).is_some()
                || !own
                    && (owner::is_runtimes(&group.path)
                        || owner::is_systemds(&places.hierarchies, &group.path)),
            pids: pids.into_iter().collect(),
        });
        queue.extend(children);
    }
    Ok(nodes)
}

/// A context we made, or one that bears a name only we give; whether whoever made it still lives
/// is asked before.
fn is_ours(path: &str, place: &Place, ours: &HashSet<String>) -> bool {
    let above = place.path("");
    let name = path.strip_prefix(above.as_str()).filter(|name| check_name(name).is_ok());
    name.is_some_and(|name| ours.contains(name) || name.starts_with(OUR_PREFIX))
}
