#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::{self, LogFormat};
use crate::policy::{Class, Neighbours};
use std::fs;
use std::time::Duration;

struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("conf.d")).unwrap();
        for (name, text) in files {
            fs::write(place.0.path().join(name), text).unwrap();
        }
        place
    }
    fn main(&self) -> PathBuf {
        self.0.path().join("outrigger.toml")
    }
    fn sources(&self) -> Sources {
        Sources { candidates: vec![self.main()], ..Sources::default() }
    }
}

fn variable(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn nothing_given_is_the_default() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.origin("timing.tick"), "built-in default");
}

#[test]
fn what_is_named_and_is_no_file_is_refused_and_not_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let wrong = |path: &std::path::Path| {
        let sources = Sources { file: Some(path.to_owned()), ..Sources::default() };
        load(&sources).unwrap_err().to_string()
    };
    assert!(wrong(place.path()).contains("is a directory, not a file (given with --config)"));
    let fifo = place.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(wrong(&fifo).contains("is not a regular file"));
}

#[test]
fn later_layers_win_key_by_key() {
    let place = Place::new(&[
        (
            "outrigger.toml",
            "[timing]\ntick = \"1s\"\ndwell = \"2s\"\ncool_down = \"3s\"\ndown_after = 4\n",
        ),
        ("conf.d/20-b.toml", "[timing]\ncool_down = \"30s\"\n"),
        ("conf.d/10-a.toml", "[timing]\ndwell = \"20s\"\ncool_down = \"20s\"\n"),
        ("conf.d/ignored.txt", "x"),
    ]);
    let mut sources = place.sources();
    sources.environment = vec![
        variable("OUTRIGGER__TIMING__DOWN_AFTER", "5"),
        variable("OUTRIGGER__LOG__FORMAT", "text"),
    ];
    sources.options = vec![Given::option("--log-format", "log.format", "json")];

    let loaded = load(&sources).unwrap();

    let timing = loaded.config.policy.timing;
    assert_eq!(timing.tick, Duration::from_secs(1));
    assert_eq!(timing.dwell, Duration::from_secs(20));
    assert_eq!(timing.cool_down, Duration::from_secs(30));
    assert_eq!(timing.down_after, 5);
    assert_eq!(timing.flap_budget, Config::default().policy.timing.flap_budget);
    assert_eq!(loaded.config.log.format, LogFormat::Json);
    assert!(loaded.origin("timing.tick").ends_with("outrigger.toml:2:8"));
    assert!(loaded.origin("timing.cool_down").ends_with("20-b.toml:2:13"));
    assert_eq!(loaded.origin("timing.down_after"), "environment OUTRIGGER__TIMING__DOWN_AFTER");
    assert_eq!(loaded.origin("log.format"), "command line --log-format");
    assert_eq!(loaded.sources.len(), 6);
}

#[test]
fn a_tier_can_be_changed_in_part() {
    let place = Place::new(&[("outrigger.toml", "[tiers.2]\nshare = 30\n")]);
    let tiers = load(&place.sources()).unwrap().config.policy.tiers;
    assert_eq!((tiers[&2].share, tiers[&2].cap), (30, Some(50.0)));
    assert_eq!(tiers.len(), 4);
}

#[test]
fn a_workload_replaces_the_one_of_its_name() {
    let place = Place::new(&[
        (
            "outrigger.toml",
            "[[workload]]\nname = \"a\"\nclass = \"batch\"\nmatch = [{ name = \"a\" }]\n[[workload]]\nname = \"b\"\nclass = \"batch\"\nmatch = [{ name = \"b\" }]\n",
        ),
        (
            "conf.d/1.toml",
            "[[workload]]\nname = \"a\"\nclass = \"interactive\"\nmatch = [{ name = [\"a\", \"aa\"] }]\n[[workload]]\nname = \"c\"\nmatch = [{ uid = 7 }]\n",
        ),
    ]);
    let workloads = load(&place.sources()).unwrap().config.policy.workloads;
    let names: Vec<&str> = workloads.iter().map(|w| w.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(workloads[0].class, Some(Class::Interactive));
    assert_eq!(workloads[2].selectors[0].uid, [7]);
}

#[test]
fn problems_of_all_layers_come_together() {
    let place = Place::new(&[
        ("outrigger.toml", "nieghbours = \"untouched\"\n"),
        ("conf.d/1.toml", "[log]\nformat = \"xml\"\n"),
    ]);
    let mut sources = place.sources();
    sources.environment = vec![variable("OUTRIGGER__STATE__DIRECTORY", "/x")];
    let text = load(&sources).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("did you mean \"neighbours\""), "{text}");
    assert!(text.contains("1.toml:2:10: log.format: \"xml\" is not possible"), "{text}");
    assert!(text.contains("environment OUTRIGGER__STATE__DIRECTORY"), "{text}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let place = Place::new(&[(
        "outrigger.toml",
        "[timing]\ntick = \"fast\"\ndwel = \"1s\"\n[contention]\nclear_ms_per_s = 500\n\
         [[workload]]\nname = \"A b\"\n[[workload]]\nmatch = [{ name = \"[x\" }]\n\
         [tiers.4]\ncap = 200\n[log]\nlevel = \"lots=of=it\"\n",
    )]);
    let error = load(&place.sources()).unwrap_err();
    let mut keys: Vec<&str> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "contention.clear_ms_per_s",
            "log.level",
            "tiers.4.cap",
            "tiers.4.priority",
            "tiers.4.share",
            "timing.dwel",
            "timing.tick",
            "workload[0].match",
            "workload[0].name",
            "workload[1].match[0].name",
            "workload[1].name",
        ],
        "{error}"
    );
    let missing = "outrigger.toml:6:1: workload[0].match: is missing; allowed: an array of selec";
    assert!(error.to_string().contains(missing), "{error}");
}

#[test]
fn what_everybody_may_write_root_does_not_obey() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new(&[("outrigger.toml", "neighbours = \"untouched\"\n")]);
    fs::set_permissions(place.main(), fs::Permissions::from_mode(0o666)).unwrap();
    let loaded = load(&place.sources());
    if crate::paths::effective_uid() == 0 {
        assert!(loaded.unwrap_err().to_string().contains("everybody may write to it"));
    } else {
        assert!(loaded.is_ok());
    }
}

#[test]
fn what_makes_no_sense_together_names_its_place() {
    let place = Place::new(&[("outrigger.toml", "[contention]\n\nclear_ms_per_s = 500\n")]);
    let text = load(&place.sources()).unwrap_err().to_string();
    assert!(text.contains("outrigger.toml:3:"), "{text}");
}

#[test]
fn a_tier_that_is_not_complete_names_its_place() {
    let place = Place::new(&[("outrigger.toml", "\n[tiers.4]\nshare = 1\n")]);
    let text = load(&place.sources()).unwrap_err().to_string();
    assert!(text.contains("outrigger.toml:") && text.contains("priority"), "{text}");
    let place = Place::new(&[("outrigger.toml", "[tiers.low]\nshare = 1\npriority = \"low\"\n")]);
    let text = load(&place.sources()).unwrap_err().to_string();
    assert!(text.contains("is not a number"), "{text}");
}

#[test]
fn a_log_filter_is_checked() {
    let place = Place::new(&[("outrigger.toml", "[log]\nlevel = \"lots=of=it\"\n")]);
    let text = load(&place.sources()).unwrap_err().to_string();
    assert!(text.contains("outrigger.toml:2:9: log.level"), "{text}");
}

#[test]
fn a_named_file_must_exist() {
    let sources = Sources { file: Some("/nonexistent/o.toml".into()), ..Sources::default() };
    let text = load(&sources).unwrap_err().to_string();
    assert!(text.contains("/nonexistent/o.toml: no such file"), "{text}");
    let candidates = vec!["/nonexistent/o.toml".into()];
    assert!(load(&Sources { candidates, ..Sources::default() }).is_ok());
}

#[test]
fn what_is_shown_is_what_is_in_force() {
    let place = Place::new(&[(
        "outrigger.toml",
        "neighbours = \"same-session\"\n[[workload]]\nname = \"a\"\nmatch = [{ command = \"x \\\"y\\\"\" }]\n[plugins.config.linux-proc]\ndiscovery = \"scan\"\n",
    )]);
    let loaded = load(&place.sources()).unwrap();
    assert_eq!(loaded.config.policy.neighbours, Neighbours::SameSession);

    let shown = config::text(&loaded);
    let again = Place::new(&[("outrigger.toml", &shown)]);
    assert_eq!(load(&again.sources()).unwrap().config, loaded.config, "{shown}");

    let json = config::json(&loaded);
    assert_eq!(json["config"]["neighbours"], "same-session");
    assert!(json["origins"]["workload[0].name"].as_str().unwrap().ends_with("outrigger.toml:3:8"));
}

#[test]
fn the_example_file_is_the_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/outrigger.toml");
    let loaded = load(&Sources { file: Some(path.clone()), ..Sources::default() }).unwrap();
    assert_eq!(loaded.config, Config::default());

    // What has no default stands there commented out; it must be right all the same.
    let text = fs::read_to_string(&path).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let everything = Place::new(&[("outrigger.toml", &uncommented)]);
    let loaded = load(&everything.sources()).unwrap();
    for key in keys(&ROOT) {
        assert!(
            place(&loaded.values, &key).contains("outrigger.toml:"),
            "{key} is not in the file"
        );
    }
}

/// Every key by itself, without those of workloads and selectors, of which one is enough.
fn keys(shape: &config::shape::Shape) -> Vec<String> {
    use config::shape::Shape;
    let Shape::Table(keys) = shape else { return Vec::new() };
    let mut all = Vec::new();
    for (key, shape) in *keys {
        match shape {
            Shape::Table(inner) => {
                all.extend(inner.iter().map(|(name, _)| format!("{key}.{name}")))
            }
            _ => all.push((*key).to_owned()),
        }
    }
    all
}
