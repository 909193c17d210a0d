//! Facts about the machine, and about this process's place on it.

use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;

/// Facts about the machine. What cannot be read is absent, never guessed.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Operating system (`linux`).
    pub platform: String,
    /// Architecture (`x86_64`).
    pub architecture: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Distribution, from `os-release`.
    pub system: Option<String>,
    /// CPUs online, as a list (`0-3`).
    pub cpus_online: Option<String>,
    /// CPUs this process may use, as a list.
    pub cpus_allowed: Option<String>,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Memory nodes with memory, as a list.
    pub numa_nodes: Option<String>,
    /// Scheduler ticks per second (`CONFIG_HZ`).
    pub hz: Option<u32>,
    /// Whether the host counts pressure stall time.
    pub psi: bool,
    /// Whether each session has its own share of the CPU, so that nice acts only within it.
    pub autogroup: bool,
    /// Which cgroup versions are mounted.
    pub cgroups: CgroupLayout,
    /// Each hierarchy.
    pub hierarchies: Vec<Hierarchy>,
    /// Whether systemd manages the host.
    pub systemd: bool,
    /// The container this process is in, if it is in one.
    pub container: Option<String>,
    /// Effective user number.
    pub uid: u32,
    /// Capabilities that matter and are there.
    pub privileges: Vec<String>,
    /// Capabilities that matter and are missing.
    pub missing_privileges: Vec<String>,
}

/// Which cgroup versions are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupLayout {
    /// None.
    None,
    /// Only version 1.
    V1,
    /// Only version 2.
    V2,
    /// Both, each with some controllers.
    Hybrid,
}

/// A mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hierarchy {
    /// Where.
    pub mount: String,
    /// 1 or 2.
    pub version: u8,
    /// Its controllers, or its name if it has none.
    pub controllers: Vec<String>,
    /// Whether it is mounted read-write.
    pub writable: bool,
}

/// Capabilities that make a difference, with their numbers (`linux/capability.h`).
const PRIVILEGES: [(&str, u32); 6] = [
    ("CAP_KILL", 5),
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_NICE", 23),
    ("CAP_SYS_RESOURCE", 24),
];

impl Host {
    /// Looks round.
    pub fn read() -> Self {
        let status = text("/proc/self/status").unwrap_or_default();
        let hierarchies = hierarchies(&text("/proc/self/mountinfo").unwrap_or_default());
        let (privileges, missing_privileges) = privileges(&status);
        Self {
            platform: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            system: text("/etc/os-release").and_then(|text| quoted(&text, "PRETTY_NAME=")),
            cpus_online: text("/sys/devices/system/cpu/online"),
            cpus_allowed: field(&status, "Cpus_allowed_list:"),
            memory_bytes: text("/proc/meminfo").and_then(|text| {
                let kib: u64 = field(&text, "MemTotal:")?.split(' ').next()?.parse().ok()?;
                Some(kib * 1024)
            }),
            numa_nodes: text("/sys/devices/system/node/has_memory"),
            hz: hz(),
            psi: Path::new("/proc/pressure/cpu").exists(),
            autogroup: text("/proc/sys/kernel/sched_autogroup_enabled").as_deref() == Some("1"),
            cgroups: layout(&hierarchies),
            hierarchies,
            // What sd_booted(3) looks at.
            systemd: Path::new("/run/systemd/system").is_dir(),
            container: container(),
            uid: crate::paths::effective_uid(),
            privileges,
            missing_privileges,
        }
    }
}

fn text(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

fn quoted(text: &str, name: &str) -> Option<String> {
    Some(field(text, name)?.trim_matches('"').to_owned())
}

/// The resolution of the coarse clock is one tick (`clock_getres(2)`).
fn hz() -> Option<u32> {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `resolution` is a valid place for the answer.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut resolution) };
    let ns = u32::try_from(resolution.tv_nsec).ok().filter(|ns| result == 0 && *ns > 0)?;
    Some((1_000_000_000 + ns / 2) / ns)
}

/// From `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(4);
            let (mount, options) = (before.next()?, before.next()?);
            let mut after = after.split(' ');
            let (kind, super_options) = (after.next()?, after.nth(1)?);
            let is_writable = |options: &str| options.split(',').any(|option| option == "rw");
            let (version, controllers) = match kind {
                "cgroup" => (1, v1_controllers(super_options)),
                "cgroup2" => (2, v2_controllers(mount)),
                _ => return None,
            };
            Some(Hierarchy {
                mount: mount.to_owned(),
                version,
                controllers,
                writable: is_writable(options) && is_writable(super_options),
            })
        })
        .collect()
}

fn v1_controllers(options: &str) -> Vec<String> {
    const OTHERS: [&str; 6] = ["rw", "ro", "xattr", "noprefix", "clone_children", "release_agent"];
    let is_controller = |option: &&str| {
        let name = option.split('=').next().unwrap_or_default();
        !OTHERS.contains(&name)
    };
    options.split(',').filter(is_controller).map(str::to_owned).collect()
}

fn v2_controllers(mount: &str) -> Vec<String> {
    let list = fs::read_to_string(Path::new(mount).join("cgroup.controllers")).unwrap_or_default();
    list.split_ascii_whitespace().map(str::to_owned).collect()
}

fn layout(hierarchies: &[Hierarchy]) -> CgroupLayout {
    let has = |version| hierarchies.iter().any(|hierarchy| hierarchy.version == version);
    match (has(1), has(2)) {
        (false, false) => CgroupLayout::None,
        (true, false) => CgroupLayout::V1,
        (false, true) => CgroupLayout::V2,
        (true, true) => CgroupLayout::Hybrid,
    }
}

/// The container, by the marks that the usual runtimes leave.
fn container() -> Option<String> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("kubernetes".to_owned());
    }
    for (mark, name) in [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")] {
        if Path::new(mark).exists() {
            return Some(name.to_owned());
        }
    }
    // systemd and LXC tell what they were started in.
    text("/run/systemd/container").filter(|name| !name.is_empty()).or_else(|| {
        let environment = fs::read("/proc/1/environ").ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables.find_map(|variable| variable.strip_prefix(b"container="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

fn privileges(status: &str) -> (Vec<String>, Vec<String>) {
    let effective = field(status, "CapEff:")
        .and_then(|hex| u64::from_str_radix(&hex, 16).ok())
        .unwrap_or_default();
    let (there, missing): (Vec<_>, Vec<_>) =
        PRIVILEGES.iter().partition(|(_, number)| effective & (1 << number) != 0);
    let names = |list: Vec<&(&str, u32)>| list.into_iter().map(|(n, _)| (*n).to_owned()).collect();
    (names(there), names(missing))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        let yes = |truth| if truth { "on" } else { "off" };
        let system = self.system.as_ref().map_or(String::new(), |system| format!(", {system}"));
        writeln!(
            f,
            "host        {} {}, kernel {}{system}",
            self.platform, self.architecture, self.kernel
        )?;
        writeln!(
            f,
            "CPUs        {} online, {} allowed, {} Hz tick",
            or(&self.cpus_online),
            or(&self.cpus_allowed),
            self.hz.map_or_else(|| "unknown".to_owned(), |hz| hz.to_string())
        )?;
        let memory = self.memory_bytes.map_or(0, |bytes| bytes >> 20);
        writeln!(f, "memory      {memory} MiB, nodes {}", or(&self.numa_nodes))?;
        writeln!(f, "scheduling  pressure {}, autogroup {}", yes(self.psi), yes(self.autogroup))?;
        let layout = match self.cgroups {
            CgroupLayout::None => "none mounted",
            CgroupLayout::V1 => "version 1",
            CgroupLayout::V2 => "version 2",
            CgroupLayout::Hybrid => "hybrid: versions 1 and 2 side by side",
        };
        let manager = if self.systemd { "managed by systemd" } else { "no systemd" };
        writeln!(f, "cgroups     {layout}, {manager}")?;
        for hierarchy in &self.hierarchies {
            writeln!(
                f,
                "            v{} {} {}{}",
                hierarchy.version,
                hierarchy.mount,
                if hierarchy.controllers.is_empty() {
                    "(no controllers)".to_owned()
                } else {
                    hierarchy.controllers.join(",")
                },
                if hierarchy.writable { "" } else { ", read-only" }
            )?;
        }
        if let Some(container) = &self.container {
            writeln!(f, "container   {container}")?;
        }
        let missing = match self.missing_privileges.as_slice() {
            [] => String::new(),
            missing => format!(", without {}", missing.join(" ")),
        };
        writeln!(f, "privileges  user {}{missing}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:1 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd";

    #[test]
    fn hierarchies_are_read() {
        let found = hierarchies(HYBRID);
        assert_eq!(found.len(), 4);
        assert_eq!((found[0].version, found[0].writable), (2, true));
        assert_eq!(found[1].controllers, ["cpu", "cpuacct"]);
        assert!(!found[2].writable);
        assert_eq!(found[3].controllers, ["name=systemd"]);
        assert_eq!(layout(&found), CgroupLayout::Hybrid);
        assert_eq!(layout(&found[1..2]), CgroupLayout::V1);
        assert_eq!(layout(&found[..1]), CgroupLayout::V2);
        assert_eq!(layout(&[]), CgroupLayout::None);
    }

    #[test]
    fn privileges_are_read() {
        let (there, missing) = privileges("Name:\tx\nCapEff:\t0000000000800020\n");
        assert_eq!(there, ["CAP_KILL", "CAP_SYS_NICE"]);
        assert_eq!(missing.len(), PRIVILEGES.len() - 2);
    }

    #[test]
    fn this_host_is_read() {
        let host = Host::read();
        assert!(!host.kernel.is_empty() && host.memory_bytes.is_some_and(|bytes| bytes > 0));
        assert!(host.hz.is_some_and(|hz| (100..=1000).contains(&hz)), "{:?}", host.hz);
        assert!(host.to_string().contains(&host.kernel));
    }
}
