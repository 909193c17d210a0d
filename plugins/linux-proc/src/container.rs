//! Which container a process is in, judged by its cgroup path.
//!
//! Every runtime names the cgroups it makes in its own way; the name is all that can be seen from
//! outside without asking the runtime. A path that matches nothing means "not known to be in a
//! container", not "in none": inside a cgroup namespace the telling part is hidden.

/// A container, as its cgroup path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// Who made it: `docker`, `containerd`, `crio`, `podman`, `lxc`, `systemd-nspawn` or
    /// `kubernetes` (a pod whose runtime the path does not name).
    pub runtime: &'static str,
    /// Its id or name.
    pub id: &'a str,
    /// The pod's uid in Kubernetes, with dashes or underscores as the path has it.
    pub pod: Option<&'a str>,
}

/// Prefixes of the scopes that the systemd cgroup drivers make: `PREFIX-ID.scope`.
const SCOPES: [(&str, &str); 4] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("crio-", "crio"),
    ("libpod-", "podman"),
];

/// Directories whose child is a container in the `cgroupfs` drivers.
const PARENTS: [(&str, &str); 4] = [
    ("docker", "docker"),
    ("libpod_parent", "podman"),
    ("lxc", "lxc"),
    ("containerd", "containerd"),
];

/// Finds the innermost container in a cgroup path such as
/// `/kubepods/burstable/pod0f…/3a…` or `/system.slice/docker-3a….scope`.
pub fn of_path(path: &str) -> Option<Container<'_>> {
    let mut found: Option<Container<'_>> = None;
    let mut pod = None;
    let mut before = "";
    for part in path.split('/').filter(|part| !part.is_empty()) {
        pod = pod_uid(part, before).or(pod);
        if let Some((runtime, id)) = container(part, before, pod.is_some()) {
            found = Some(Container { runtime, id, pod });
        }
        before = part;
    }
    found
}

fn container<'a>(part: &'a str, parent: &str, in_pod: bool) -> Option<(&'static str, &'a str)> {
    if let Some(scope) = part.strip_suffix(".scope") {
        if let Some(id) = scope.strip_prefix("machine-") {
            return Some(("systemd-nspawn", id));
        }
        for (prefix, runtime) in SCOPES {
            match scope.strip_prefix(prefix) {
                // podman's monitor lives in `libpod-conmon-ID.scope`, outside the container.
                Some(id) if hex_id(id) => return Some((runtime, id)),
                _ => {}
            }
        }
        return None;
    }
    if let Some(id) = part.strip_prefix("lxc.payload.") {
        return Some(("lxc", id));
    }
    if let Some(id) = part.strip_prefix("libpod-").filter(|id| hex_id(id)) {
        return Some(("podman", id));
    }
    // containerd's `cgroupsPath` form is `slice:cri-containerd:ID`.
    if let Some((_, id)) = part.rsplit_once(":cri-containerd:") {
        return Some(("containerd", id));
    }
    if in_pod && hex_id(part) {
        return Some(("kubernetes", part));
    }
    let runtime = PARENTS.iter().find(|(name, _)| *name == parent)?.1;
    (runtime == "lxc" || hex_id(part)).then_some((runtime, part))
}

/// `pod<uid>` below `kubepods`, or `kubepods-burstable-pod<uid>.slice`.
fn pod_uid<'a>(part: &'a str, parent: &str) -> Option<&'a str> {
    if let Some(slice) = part.strip_prefix("kubepods").and_then(|part| part.strip_suffix(".slice"))
    {
        return slice.rsplit_once("-pod").map(|(_, uid)| uid);
    }
    let below = matches!(parent, "kubepods" | "burstable" | "besteffort" | "guaranteed");
    part.strip_prefix("pod").filter(|uid| below && !uid.is_empty())
}

/// A full container id: 64 hexadecimal digits, or the 32 of some runtimes.
fn hex_id(text: &str) -> bool {
    matches!(text.len(), 32 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: &str = "3f4f2a1b3f4f2a1b3f4f2a1b3f4f2a1b3f4f2a1b3f4f2a1b3f4f2a1b3f4f2a1b";

    fn found(pattern: &str) -> Option<(String, String, Option<String>)> {
        let path = pattern.replace("ID", ID);
        of_path(&path).map(|c| (c.runtime.into(), c.id.into(), c.pod.map(Into::into)))
    }

    #[test]
    fn each_runtime_by_its_own_names() {
        for (pattern, runtime, pod) in [
            ("/docker/ID", "docker", None),
            ("/system.slice/docker-ID.scope", "docker", None),
            ("/system.slice/docker-ID.scope/init.scope", "docker", None),
            ("/machine.slice/libpod-ID.scope/container", "podman", None),
            ("/libpod_parent/libpod-ID", "podman", None),
            ("/kubepods/besteffort/pod0f-1/ID", "kubernetes", Some("0f-1")),
            ("/kubepods/pod0f-1/ID", "kubernetes", Some("0f-1")),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f_1.slice/cri-containerd-ID.scope",
                "containerd",
                Some("0f_1"),
            ),
            ("/kubepods.slice/kubepods-pod0f_1.slice/crio-ID.scope", "crio", Some("0f_1")),
            ("/system.slice/kubepods-burstable-pod0f.slice:cri-containerd:ID", "containerd", None),
        ] {
            let expected = (runtime.to_string(), ID.to_string(), pod.map(str::to_string));
            assert_eq!(found(pattern), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn named_containers() {
        let name = |path| of_path(path).map(|c| (c.runtime, c.id));
        assert_eq!(name("/lxc/web"), Some(("lxc", "web")));
        assert_eq!(name("/lxc.payload.web/system.slice"), Some(("lxc", "web")));
        assert_eq!(
            name("/machine.slice/machine-web.scope/payload"),
            Some(("systemd-nspawn", "web"))
        );
    }

    #[test]
    fn the_innermost_one_counts() {
        let inner = "a".repeat(64);
        let path = format!("/docker/{ID}/docker/{inner}");
        assert_eq!(of_path(&path).unwrap().id, inner);
    }

    #[test]
    fn ordinary_places_are_no_containers() {
        for path in [
            "/",
            "/system.slice/docker.service",
            "/docker",
            "/docker/buildkit",
            "/user.slice/user-1000.slice/session-1.scope",
            "/system.slice/podman-tools/pod1",
            "/kubepods/burstable/pod0f-1",
        ] {
            assert_eq!(of_path(path), None, "{path}");
        }
        assert_eq!(found("/machine.slice/libpod-conmon-ID.scope"), None);
    }
}
