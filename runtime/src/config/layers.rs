//! Reading the layers and making one configuration of them.

use super::Config;
use super::file;
use super::given::Given;
use super::problem::{ConfigError, Problem};
use super::required;
use super::shape::{POLICY_KEYS, ROOT};
use config::{Map, Source, Value, ValueKind};
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// What a configuration is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names: it must exist.
    pub file: Option<PathBuf>,
    /// Where a file may be when none is named; the first place with one counts.
    pub candidates: Vec<PathBuf>,
    /// Environment variables; those that are not ours are skipped.
    pub environment: Vec<(String, String)>,
    /// Options of the command line.
    pub options: Vec<Given>,
}

/// A configuration, and where each value comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The layers above the defaults that were found, lowest first.
    pub sources: Vec<String>,
    pub(super) values: Map<String, Value>,
}

/// Reads and merges all layers, and checks everything that can be checked without the OS.
///
/// # Errors
/// Every problem of every layer; if there are none, every problem of the whole.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    match examine(sources)? {
        Examined { loaded: Some(loaded), problems } if problems.is_empty() => Ok(loaded),
        Examined { problems, .. } => Err(ConfigError { problems }),
    }
}

/// A configuration that may be wrong.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What it would be without what is wrong with it, if that can be said.
    pub loaded: Option<Loaded>,
    /// Everything that is wrong, in the order of the sources.
    pub problems: Vec<Problem>,
}

/// The same, for whoever wants to look further although something is wrong.
///
/// # Errors
/// Files that cannot be read at all.
pub fn examine(sources: &Sources) -> Result<Examined, ConfigError> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    let mut layers = vec![defaults()?];

    for path in files(sources)? {
        if let Some(why) = untrusted(&path) {
            return Err(ConfigError::one(path.display().to_string(), "", why));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| {
            ConfigError::one(path.display().to_string(), "", format!("cannot be read: {error}"))
        })?;
        let (values, found) = file::read(Some(&path), &text, &ROOT);
        problems.extend(found);
        names.push(path.display().to_string());
        layers.push(values);
    }
    for given in Given::environment(sources.environment.clone()).iter().chain(&sources.options) {
        match given.read(&ROOT) {
            Ok(values) => layers.push(values),
            Err(problem) => problems.push(problem),
        }
        names.push(given.place.clone());
    }
    let mut values = merge(layers)?;
    required::complete(&mut values, &mut problems);
    // What was wrong by itself was left out, so that the rest can be looked at as well.
    let whole = assemble(&values).map(|config| Loaded { config, sources: names, values });
    let more = match &whole {
        Ok(loaded) => loaded.problems(),
        Err(error) => error.problems.clone(),
    };
    for problem in more {
        // Not again for what is missing only because it was wrong.
        if !problems.iter().any(|known: &Problem| is_within(&known.key, &problem.key)) {
            problems.push(problem);
        }
    }
    Ok(Examined { loaded: whole.ok(), problems })
}

/// Whether a dotted path is the other one or leads further.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The files to read, lowest first.
fn files(sources: &Sources) -> Result<Vec<PathBuf>, ConfigError> {
    let named = sources.file.as_deref();
    if let Some(path) = named {
        // A FIFO would keep us waiting for a writer.
        let wrong = match std::fs::metadata(path) {
            Ok(found) if found.is_file() => None,
            Ok(found) if found.is_dir() => Some("is a directory, not a file".to_owned()),
            Ok(_) => Some("is not a regular file".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some("no such file".to_owned())
            }
            Err(error) => Some(format!("cannot be read: {error}")),
        };
        if let Some(wrong) = wrong {
            let message = format!("{wrong} (given with --config)");
            return Err(ConfigError::one(path.display().to_string(), "", message));
        }
    }
    let main = named.map(Path::to_path_buf).or_else(|| {
        sources.candidates.iter().find(|path| path.is_file() || !drop_ins(path).is_empty()).cloned()
    });
    let Some(main) = main else { return Ok(Vec::new()) };
    let drop_ins = drop_ins(&main);
    Ok(std::iter::once(main).filter(|main| main.is_file()).chain(drop_ins).collect())
}

/// Why root should not do what is written there: anybody may have written it.
fn untrusted(path: &Path) -> Option<&'static str> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (crate::paths::effective_uid() == 0 && mode & 0o002 != 0)
        .then_some("everybody may write to it, so root does not obey it: chmod o-w")
}

/// `conf.d/*.toml` beside a file, in the order of their names.
fn drop_ins(main: &Path) -> Vec<PathBuf> {
    let directory = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let Ok(entries) = std::fs::read_dir(&directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml") && path.is_file())
        .collect();
    paths.sort();
    paths
}

/// The built-in defaults, as a layer like any other.
fn defaults() -> Result<Map<String, Value>, ConfigError> {
    let config = Config::default();
    let mut text = String::new();
    let broken = |error: toml::ser::Error| {
        ConfigError::one("built-in default", "", format!("cannot be written: {error}"))
    };
    text.push_str(&toml::to_string(&config.policy).map_err(broken)?);
    for section in [
        section("plugins", &config.plugins),
        section("state", &config.state),
        section("log", &config.log),
        section("control", &config.control),
    ] {
        text.push_str(&section.map_err(broken)?);
    }
    match file::read(None, &text, &ROOT) {
        (values, problems) if problems.is_empty() => Ok(values),
        (_, problems) => Err(ConfigError { problems }),
    }
}

fn section(name: &str, value: &impl Serialize) -> Result<String, toml::ser::Error> {
    let table = std::collections::BTreeMap::from([(name, value)]);
    toml::to_string(&table)
}

/// One layer for the `config` crate.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn merge(layers: Vec<Map<String, Value>>) -> Result<Map<String, Value>, ConfigError> {
    let mut workloads: Vec<Value> = Vec::new();
    let mut builder = config::Config::builder();
    for mut layer in layers {
        for workload in
            layer.remove("workload").and_then(|w| w.into_array().ok()).unwrap_or_default()
        {
            let name = name_of(&workload);
            match workloads.iter_mut().find(|known| name.is_some() && name_of(known) == name) {
                // The same name twice in one file is a mistake, which the validation reports;
                // in two files it is an override.
                Some(known) if file_of(known) != file_of(&workload) => *known = workload,
                _ => workloads.push(workload),
            }
        }
        builder = builder.add_source(Layer(layer));
    }
    let last = Map::from([("workload".to_owned(), Value::new(None, ValueKind::Array(workloads)))]);
    builder
        .add_source(Layer(last))
        .build()
        .and_then(|merged| merged.collect())
        .map_err(|error| ConfigError::one("configuration", "", error.to_string()))
}

fn name_of(workload: &Value) -> Option<String> {
    match &workload.kind {
        ValueKind::Table(keys) => keys.get("name")?.clone().into_string().ok(),
        _ => None,
    }
}

fn file_of(value: &Value) -> Option<&str> {
    Some(value.origin()?.rsplitn(3, ':').last().unwrap_or_default())
}

fn assemble(values: &Map<String, Value>) -> Result<Config, ConfigError> {
    let mut policy = values.clone();
    policy.retain(|key, _| POLICY_KEYS.contains(&key.as_str()));
    Ok(Config {
        policy: typed(Value::new(None, ValueKind::Table(policy)), "", values)?,
        plugins: part(values, "plugins")?,
        state: part(values, "state")?,
        log: part(values, "log")?,
        control: part(values, "control")?,
    })
}

fn part<T: DeserializeOwned + Default>(
    values: &Map<String, Value>,
    key: &str,
) -> Result<T, ConfigError> {
    values.get(key).map_or_else(|| Ok(T::default()), |value| typed(value.clone(), key, values))
}

fn typed<T: DeserializeOwned>(
    value: Value,
    prefix: &str,
    values: &Map<String, Value>,
) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let key = match (prefix, path.as_str()) {
            ("", path) => path.to_owned(),
            (prefix, ".") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        ConfigError::one(place(values, &key), &key, error.into_inner().to_string())
    })
}

impl Loaded {
    /// Where the value of a key comes from.
    pub fn origin(&self, key: &str) -> String {
        place(&self.values, key)
    }

    /// What does not make sense although every value is possible by itself.
    fn problems(&self) -> Vec<Problem> {
        let policy = self.config.policy.problems().into_iter().map(|p| (p.key, p.given, p.allowed));
        let plugins =
            self.config.plugins.problems().into_iter().map(|p| (p.key, p.given, p.allowed));
        let mut problems: Vec<Problem> = policy
            .chain(plugins)
            .map(|(key, given, allowed)| Problem {
                place: self.origin(&key),
                message: format!("{given} is not possible"),
                allowed: Some(allowed),
                key,
            })
            .collect();
        if let Err(message) = crate::telemetry::filter(&self.config.log.level) {
            problems.push(Problem {
                place: self.origin("log.level"),
                key: "log.level".to_owned(),
                message,
                allowed: Some(
                    super::LEVELS.join(", ")
                        + ", or a filter such as info,outrigger::backend=debug",
                ),
            });
        }
        problems
    }
}

/// Follows a dotted path as far as it goes and tells where what is there comes from.
fn place(values: &Map<String, Value>, key: &str) -> String {
    let steps = key.split(['.', '[']).map(|step| step.trim_end_matches(']').trim_matches('"'));
    let mut best = None;
    let mut here: Option<&Value> = None;
    for step in steps.filter(|step| !step.is_empty()) {
        let next = match here.map(|value| &value.kind) {
            None => values.get(step),
            Some(ValueKind::Table(keys)) => keys.get(step),
            Some(ValueKind::Array(items)) => step.parse().ok().and_then(|i: usize| items.get(i)),
            Some(_) => None,
        };
        let Some(next) = next else { break };
        best = first_origin(next).or(best);
        here = Some(next);
    }
    best.unwrap_or("configuration").to_owned()
}

/// The origin of a value, or of the first one inside it that has one (merged tables have none).
pub(super) fn first_origin(value: &Value) -> Option<&str> {
    value.origin().or_else(|| match &value.kind {
        ValueKind::Table(keys) => {
            let mut origins: Vec<&str> = keys.values().filter_map(first_origin).collect();
            // Somebody's own value says more than a default beside it.
            origins.sort_by_key(|origin| *origin == file::BUILT_IN);
            origins.first().copied()
        }
        ValueKind::Array(items) => items.iter().find_map(first_origin),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
