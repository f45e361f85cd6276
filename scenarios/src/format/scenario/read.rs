//! From text to a validated [`Scenario`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fake_arm_cloud::{CloudConfig, ClusterConfig, SystemPool};
use jiff::Timestamp;
use serde_json::Value;

use crate::format::check::check;
use crate::format::duration::{DurationError, parse_duration};
use crate::format::error::FormatError;
use crate::format::located::{Located, Place};
use crate::format::params::{Combination, Values, combinations, fill};
use crate::format::raw::{RawScenario, RawTimings, RawWorld, strict};
use crate::format::scenario::{
    Action, ClusterSettings, ControllerSettings, Scenario, Source, Step, World,
};

/// Wall time of a scenario that names none: a Monday morning in winter.
const EPOCH: &str = "2026-01-05T08:00:00Z";

/// How long a run goes on after the last thing that is written down: longer than one garbage
/// collection period of the controller, so that invariants about leftovers mean something.
pub(super) const AFTERMATH: Duration = Duration::from_mins(10);

/// The largest file that is read; a scenario is written by hand.
const SIZE_MAX: u64 = 4 << 20;

/// Where nothing in particular is wrong.
const NOWHERE: Place = Place {
    line: 1,
    column: 1,
    offset: 0,
    length: 1,
};

impl Scenario {
    /// Reads and checks a file that runs once.
    ///
    /// # Errors
    ///
    /// What is wrong, where, and how to mend it; or that the file has a matrix, of which
    /// [`Scenario::load_all`] reads every case.
    pub fn load(path: &Path) -> Result<Self, FormatError> {
        let cases = Self::load_all(path, &BTreeMap::new())?;
        only(cases)
    }

    /// Reads and checks a file: one scenario for each combination of its matrix. `set` overrides
    /// parameters.
    ///
    /// # Errors
    ///
    /// What is wrong, where, and how to mend it.
    pub fn load_all(path: &Path, set: &BTreeMap<String, String>) -> Result<Vec<Self>, FormatError> {
        let file = path.display().to_string();
        let fail = |message: String| FormatError::at(&file, "", NOWHERE, message);
        let size = std::fs::metadata(path)
            .map_err(|error| fail(format!("cannot be read: {error}")))?
            .len();
        if size > SIZE_MAX {
            return Err(fail(format!(
                "is too large for a scenario: {size} bytes, at most {SIZE_MAX}"
            )));
        }
        let bytes =
            std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let text = text_of(&file, bytes)?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        Self::parse_all(&file, &text, folder, set)
    }

    /// Reads and checks a text that runs once; paths in it are relative to `folder`.
    ///
    /// # Errors
    ///
    /// As for [`Scenario::load`].
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, FormatError> {
        let cases = Self::parse_all(file, text, folder, &BTreeMap::new())?;
        only(cases)
    }

    /// Reads and checks a text; paths in it are relative to `folder`.
    ///
    /// # Errors
    ///
    /// As for [`Scenario::load_all`].
    pub fn parse_all(
        file: &str,
        text: &str,
        folder: &Path,
        set: &BTreeMap<String, String>,
    ) -> Result<Vec<Self>, FormatError> {
        if text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            return Err(
                FormatError::at(file, text, NOWHERE, "the file holds no scenario")
                    .help("start with a comment that says what it proves, then 'name:'"),
            );
        }
        let tree = Located::parse(text).map_err(|error| FormatError::yaml(file, text, &error))?;
        combinations(file, text, &tree, set)?
            .into_iter()
            .map(|combination| read(file, text, folder, (tree.clone(), combination)))
            .collect()
    }
}

/// One case, with its parameters filled in.
fn read(
    file: &str,
    text: &str,
    folder: &Path,
    (mut tree, combination): (Located, Combination),
) -> Result<Scenario, FormatError> {
    fill(file, text, &mut tree, &combination.values)?;
    let mistakes = check(&tree, strict(), text);
    let mistakes = mistakes
        .into_iter()
        .map(|mistake| FormatError::mistake(file, text, mistake));
    if let Some(error) = FormatError::all(mistakes) {
        return Err(error);
    }
    let raw: RawScenario = serde_json::from_value(tree.value()).map_err(|error| {
        // The schema says more than types do; what only they find has no place.
        FormatError::at(file, text, NOWHERE, error.to_string())
    })?;
    let source = Source {
        file: file.to_owned(),
        text: text.to_owned(),
        tree: Some(tree),
    };
    let reader = Reader {
        source,
        folder,
        values: combination.values.clone(),
    };
    reader.scenario(&raw, combination)
}

fn only(cases: Vec<Scenario>) -> Result<Scenario, FormatError> {
    let count = cases.len();
    let mut cases = cases.into_iter();
    match (cases.next(), count) {
        (Some(one), 1) => Ok(one),
        (Some(first), _) => Err(first
            .source
            .error(
                "matrix",
                format!("the scenario runs {count} times, once is wanted here"),
            )
            .help("choose one value of each parameter with --set name=value")),
        (None, _) => unreachable!("a matrix without values is refused"),
    }
}

fn text_of(file: &str, bytes: Vec<u8>) -> Result<String, FormatError> {
    let position = bytes.iter().position(|byte| *byte == 0);
    let invalid = match std::str::from_utf8(&bytes) {
        Ok(_) => None,
        Err(error) => Some(error.valid_up_to()),
    };
    let Some(offset) = position.or(invalid) else {
        return Ok(String::from_utf8(bytes).expect("checked above"));
    };
    let before = String::from_utf8_lossy(bytes.get(..offset).unwrap_or_default()).into_owned();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(1, |tail| tail.chars().count() + 1);
    let place = Place {
        line,
        column,
        ..NOWHERE
    };
    Err(FormatError::at(
        file,
        "",
        place,
        "is not a text file: found a byte that is no UTF-8 text",
    )
    .help("a scenario is a YAML file in UTF-8"))
}

pub(super) struct Reader<'a> {
    pub(super) source: Source,
    pub(super) folder: &'a Path,
    pub(super) values: Values,
}

/// Gathers what is right, or everything that is wrong.
pub(super) fn gather<T>(
    results: impl IntoIterator<Item = Result<T, FormatError>>,
) -> Result<Vec<T>, FormatError> {
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => right.push(value),
            Err(error) => wrong.push(error),
        }
    }
    FormatError::all(wrong).map_or(Ok(right), Err)
}

/// Keeps an error for later.
fn noted<T>(result: Result<T, FormatError>, wrong: &mut Vec<FormatError>) -> Option<T> {
    result.map_err(|error| wrong.push(error)).ok()
}

impl Reader<'_> {
    pub(super) fn error(&self, path: &str, message: impl Into<String>) -> FormatError {
        self.source.error(path, message)
    }

    pub(super) fn duration(&self, path: &str, text: &str) -> Result<Duration, FormatError> {
        parse_duration(text).map_err(|error| {
            self.error(path, error.to_string())
                .help(DurationError::HELP)
        })
    }

    fn scenario(
        self,
        raw: &RawScenario,
        combination: Combination,
    ) -> Result<Scenario, FormatError> {
        let mut wrong = Vec::new();
        let proves = noted(self.proves(), &mut wrong);
        let name = format!("{}{}", raw.name, combination.suffix);
        noted(self.check_name(&name), &mut wrong);
        let epoch = noted(self.epoch(raw.epoch.as_deref()), &mut wrong);
        let cloud = noted(self.cloud(raw), &mut wrong);
        let manifests = noted(self.manifests(&raw.manifests, "manifests"), &mut wrong);
        let timeline = noted(self.timeline(&raw.timeline), &mut wrong).unwrap_or_default();
        let last = timeline.iter().map(|step| step.latest).max();
        let horizon = noted(
            self.horizon(raw.horizon.as_ref(), &raw.expect, last.unwrap_or_default()),
            &mut wrong,
        );
        let end = horizon.unwrap_or(Duration::MAX);
        if let Some(late) = timeline.iter().find(|step| step.at > end) {
            wrong.push(
                self.error(
                    &format!("{}.at", late.path),
                    "happens after the end of the run",
                )
                .help("move it before 'horizon', or raise 'horizon'"),
            );
        }
        let expect = noted(self.expectations(&raw.expect, end), &mut wrong);
        let load = noted(self.loads(&raw.load, end), &mut wrong).unwrap_or_default();
        let faults = noted(self.faults(&raw.faults), &mut wrong);
        let heartbeat = raw.cluster.heartbeat.as_ref();
        let heartbeat = heartbeat.map(|text| self.duration("cluster.heartbeat", &text.0));
        let heartbeat = noted(heartbeat.transpose(), &mut wrong);
        let worlds = noted(self.worlds(raw.worlds.as_deref(), &timeline), &mut wrong);
        let worlds = worlds.unwrap_or_default();
        if let (Some(manifests), Some(cloud)) = (&manifests, &cloud) {
            let pools = cloud.clusters.iter().any(|it| it.default_node_pools);
            wrong.extend(self.unknown_objects(manifests, &load, &timeline, pools));
        }
        if let Some(error) = FormatError::all(wrong) {
            return Err(error);
        }
        Ok(Scenario {
            name,
            proves: proves.unwrap_or_default(),
            seed: raw.seed.unwrap_or(1),
            epoch: epoch.unwrap_or_default(),
            horizon: end,
            sweep: raw.sweep,
            worlds,
            cloud: cloud.unwrap_or_default(),
            cluster: ClusterSettings {
                realistic: matches!(raw.cluster.timings, RawTimings::Realistic),
                heartbeat: heartbeat.flatten(),
            },
            controller: ControllerSettings {
                enabled: raw.controller.enabled.unwrap_or(true),
                settings: raw.controller.settings.iter().map(setting).collect(),
            },
            faults: faults.unwrap_or_default(),
            manifests: manifests.unwrap_or_default(),
            load,
            timeline,
            expect: expect.unwrap_or_default(),
            set: combination.chosen,
            source: self.source,
        })
    }

    fn epoch(&self, text: Option<&str>) -> Result<Timestamp, FormatError> {
        let text = text.unwrap_or(EPOCH);
        text.parse().map_err(|_unreadable: jiff::Error| {
            self.error("epoch", format!("'{text}' is no point in time"))
                .help("write RFC 3339, for example 2026-01-05T08:00:00Z")
        })
    }

    /// What the first comment line says.
    fn proves(&self) -> Result<String, FormatError> {
        let first = self
            .source
            .text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("");
        match first.trim().strip_prefix('#').map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => {
                let place = Place {
                    length: first.len().max(1),
                    ..NOWHERE
                };
                Err(FormatError::at(
                    &self.source.file,
                    &self.source.text,
                    place,
                    "the first line must be a comment that says what the scenario proves",
                )
                .help("for example '# Ten pods get the cheapest node that holds them.'"))
            }
        }
    }

    fn check_name(&self, name: &str) -> Result<(), FormatError> {
        let legal = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
        };
        if name.is_empty() || name.len() > 63 || !name.chars().all(legal) {
            return Err(self
                .error("name", format!("'{name}' cannot be a folder name"))
                .help("use at most 63 lower-case letters, digits and dashes"));
        }
        Ok(())
    }

    /// Where the scenario may run.
    fn worlds(
        &self,
        raw: Option<&[RawWorld]>,
        timeline: &[Step],
    ) -> Result<Vec<World>, FormatError> {
        let cuts = timeline
            .iter()
            .any(|step| matches!(step.action, Action::Partition { .. }));
        // Where nothing is said, every world of virtual time without a simulated network is
        // allowed, and `live`, which runs only when asked for.
        let Some(raw) = raw else {
            return Ok(if cuts {
                vec![World::Pipes]
            } else {
                vec![World::Discrete, World::Pipes, World::Live]
            });
        };
        let worlds = raw.iter().map(|world| match world {
            RawWorld::Discrete => World::Discrete,
            RawWorld::Pipes => World::Pipes,
            RawWorld::Turmoil => World::Turmoil,
            RawWorld::Live => World::Live,
        });
        let worlds: Vec<World> = worlds.collect();
        let without = [World::Discrete, World::Live]
            .into_iter()
            .find(|world| cuts && worlds.contains(world));
        match without {
            Some(world) => {
                let message = format!(
                    "the world '{}' has no links that 'partition' could cut",
                    world.as_str()
                );
                Err(self
                    .error("worlds", message)
                    .help("write 'worlds: [pipes]', or 'worlds: [pipes, turmoil]'"))
            }
            None => Ok(worlds),
        }
    }

    /// The cloud's configuration: `azure`, with what `region` and `cluster` say about it.
    fn cloud(&self, raw: &RawScenario) -> Result<CloudConfig, FormatError> {
        let mut cloud = raw.azure.clone().unwrap_or_else(|| CloudConfig {
            clusters: Vec::new(),
            ..CloudConfig::default()
        });
        if let Some(region) = &raw.region {
            let default = CloudConfig::default().region;
            if raw.azure.is_some() && cloud.region != default && cloud.region != *region {
                return Err(self
                    .error("region", "differs from 'azure.region'")
                    .help("name the region once"));
            }
            cloud.region.clone_from(region);
        }
        let default = CloudConfig::default().clusters;
        if cloud.clusters.is_empty() || cloud.clusters == default {
            let mut cluster = ClusterConfig {
                default_node_pools: raw.cluster.default_node_pools,
                ..ClusterConfig::default()
            };
            if let Some(version) = &raw.cluster.version {
                cluster.kubernetes_version.clone_from(version);
            }
            if let Some(pool) = &raw.cluster.system_pool {
                cluster.system_pool = SystemPool::clone(pool);
            }
            cloud.clusters = vec![cluster];
        }
        Ok(cloud)
    }
}

impl Source {
    /// Where a value stands.
    pub fn place(&self, path: &str) -> Place {
        self.tree
            .as_ref()
            .map_or(NOWHERE, |tree| tree.find(path, &self.text))
    }

    /// The file as this case has it: parameters are filled in and no longer declared.
    pub fn filled(&self) -> Value {
        let mut value = self.tree.as_ref().map(Located::value).unwrap_or_default();
        if let Some(root) = value.as_object_mut() {
            root.remove("params");
            root.remove("matrix");
        }
        value
    }

    /// An error at a value.
    pub fn error(&self, path: &str, message: impl Into<String>) -> FormatError {
        FormatError::at(&self.file, &self.text, self.place(path), message)
    }
}

fn setting((key, value): (&String, &Value)) -> (String, String) {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    (key.clone(), text)
}
