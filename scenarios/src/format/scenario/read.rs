//! From text to a validated [`Scenario`].

use std::path::Path;
use std::time::Duration;

use fake_arm_cloud::{CloudConfig, ClusterConfig, SystemPool};
use jiff::Timestamp;
use serde_json::Value;

use crate::format::duration::{DurationError, parse_duration};
use crate::format::error::FormatError;
use crate::format::expression::Expression;
use crate::format::located::{Located, Place};
use crate::format::raw::{RawExpectation, RawScenario, RawTimings, RawWorld};
use crate::format::scenario::{
    ClusterSettings, ControllerSettings, Expectation, Modality, Scenario, Source, World,
};

/// Wall time of a scenario that names none: a Monday morning in winter.
const EPOCH: &str = "2026-01-05T08:00:00Z";

/// How long a run goes on after the last thing that is written down: longer than one garbage
/// collection period of the controller, so that invariants about leftovers mean something.
const AFTERMATH: Duration = Duration::from_mins(10);

/// The largest file that is read; a scenario is written by hand.
const SIZE_MAX: u64 = 4 << 20;

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// What is wrong, where, and how to mend it.
    pub fn load(path: &Path) -> Result<Self, FormatError> {
        let file = path.display().to_string();
        let nowhere = Place {
            line: 1,
            column: 1,
            offset: 0,
            length: 1,
        };
        let fail = |message: String| FormatError::at(&file, "", nowhere, message);
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
        Self::parse(&file, &text, folder)
    }

    /// Reads and checks a text; paths in it are relative to `folder`.
    ///
    /// # Errors
    ///
    /// As for [`Scenario::load`].
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, FormatError> {
        if text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            let place = Place {
                line: 1,
                column: 1,
                offset: 0,
                length: 1,
            };
            return Err(
                FormatError::at(file, text, place, "the file holds no scenario")
                    .help("start with a comment that says what it proves, then 'name:'"),
            );
        }
        let raw: RawScenario =
            serde_saphyr::from_str(text).map_err(|error| FormatError::yaml(file, text, &error))?;
        let source = Source {
            file: file.to_owned(),
            text: text.to_owned(),
            tree: Located::parse(text),
        };
        Reader { source, folder }.scenario(raw)
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
        offset: 0,
        length: 1,
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

    fn scenario(self, raw: RawScenario) -> Result<Scenario, FormatError> {
        let proves = self.proves()?;
        self.check_name(&raw.name)?;
        let epoch = raw.epoch.as_deref().unwrap_or(EPOCH);
        let epoch: Timestamp = epoch.parse().map_err(|_unreadable: jiff::Error| {
            self.error("epoch", format!("'{epoch}' is no point in time"))
                .help("write RFC 3339, for example 2026-01-05T08:00:00Z")
        })?;
        let cloud = self.cloud(&raw)?;
        let manifests = self.manifests(&raw.manifests, "manifests")?;
        let timeline = self.timeline(raw.timeline)?;
        let last = timeline
            .iter()
            .map(|step| step.at)
            .max()
            .unwrap_or_default();
        let ends = self.ends(&raw.expect)?;
        let horizon = match &raw.horizon {
            Some(text) => self.duration("horizon", text)?,
            None => last.max(ends) + AFTERMATH,
        };
        if let Some(late) = timeline.iter().find(|step| step.at > horizon) {
            return Err(self
                .error(
                    &format!("{}.at", late.path),
                    "happens after the end of the run",
                )
                .help("move it before 'horizon', or raise 'horizon'"));
        }
        let expect = self.expectations(&raw.expect, horizon)?;
        let faults = self.faults(&raw.faults)?;
        let heartbeat = raw
            .cluster
            .heartbeat
            .as_deref()
            .map(|text| self.duration("cluster.heartbeat", text))
            .transpose()?;
        Ok(Scenario {
            name: raw.name,
            proves,
            seed: raw.seed.unwrap_or(1),
            epoch,
            horizon,
            sweep: raw.sweep,
            worlds: worlds(raw.worlds.as_deref()),
            cloud,
            cluster: ClusterSettings {
                realistic: matches!(raw.cluster.timings, RawTimings::Realistic),
                heartbeat,
            },
            controller: ControllerSettings {
                enabled: raw.controller.enabled.unwrap_or(true),
                settings: raw.controller.settings.iter().map(setting).collect(),
            },
            faults,
            manifests,
            timeline,
            expect,
            source: self.source,
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
                    line: 1,
                    column: 1,
                    offset: 0,
                    length: first.len().max(1),
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

    fn ends(&self, expect: &[RawExpectation]) -> Result<Duration, FormatError> {
        let mut latest = Duration::ZERO;
        for (index, entry) in expect.iter().enumerate() {
            let path = format!("expect[{index}]");
            let part = |key: &str, text: Option<&String>| {
                text.map_or(Ok(Duration::ZERO), |text| {
                    self.duration(&format!("{path}.{key}"), text)
                })
            };
            let after = part("after", entry.after.as_ref())?;
            let end = after + part("within", entry.within.as_ref())?;
            latest = latest.max(end).max(part("until", entry.until.as_ref())?);
        }
        Ok(latest)
    }

    fn expectations(
        &self,
        raw: &[RawExpectation],
        horizon: Duration,
    ) -> Result<Vec<Expectation>, FormatError> {
        raw.iter()
            .enumerate()
            .map(|(index, entry)| self.expectation(entry, &format!("expect[{index}]"), horizon))
            .collect()
    }

    fn expectation(
        &self,
        raw: &RawExpectation,
        path: &str,
        horizon: Duration,
    ) -> Result<Expectation, FormatError> {
        let given = [
            (Modality::Eventually, "eventually", &raw.eventually),
            (Modality::Always, "always", &raw.always),
            (Modality::Never, "never", &raw.never),
        ];
        let mut chosen = given
            .iter()
            .filter_map(|(modality, key, text)| text.as_ref().map(|text| (*modality, *key, text)));
        let (Some((modality, key, text)), None) = (chosen.next(), chosen.next()) else {
            return Err(self
                .error(
                    path,
                    "an expectation has exactly one of eventually, always, never",
                )
                .help("for example 'eventually: pods.running == 10' with 'within: 5m'"));
        };
        let at = |name: &str, text: &Option<String>| {
            text.as_ref()
                .map(|text| self.duration(&format!("{path}.{name}"), text))
                .transpose()
        };
        let from = at("after", &raw.after)?.unwrap_or_default();
        let within = at("within", &raw.within)?;
        let until = at("until", &raw.until)?;
        let to = match (modality, within, until) {
            (Modality::Eventually, Some(within), None) => from + within,
            (Modality::Eventually, ..) => {
                return Err(self
                    .error(path, "'eventually' needs 'within' and takes no 'until'")
                    .help("add for example 'within: 5m'"));
            }
            (_, None, until) => until.unwrap_or(horizon),
            (_, Some(_), _) => {
                return Err(self
                    .error(
                        &format!("{path}.within"),
                        format!("'{key}' takes no 'within'"),
                    )
                    .help("bound it with 'after' and 'until'"));
            }
        };
        if to > horizon || from > to {
            return Err(self
                .error(
                    path,
                    "the window of the expectation does not lie inside the run",
                )
                .help("raise 'horizon' or shorten the window"));
        }
        let expression = self.expression(&format!("{path}.{key}"), text)?;
        Ok(Expectation {
            modality,
            expression,
            from,
            to,
            path: path.to_owned(),
        })
    }

    fn expression(&self, path: &str, text: &str) -> Result<Expression, FormatError> {
        Expression::parse(text).map_err(|error| {
            let whole = self.source.place(path);
            let place = whole.inside(error.at.0, error.at.1, &self.source.text);
            FormatError::at(&self.source.file, &self.source.text, place, error.message)
                .help(error.help)
        })
    }
}

impl Source {
    /// Where a value stands.
    pub fn place(&self, path: &str) -> Place {
        self.tree.as_ref().map_or(
            Place {
                line: 1,
                column: 1,
                offset: 0,
                length: 1,
            },
            |tree| tree.find(path, &self.text),
        )
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

fn worlds(raw: Option<&[RawWorld]>) -> Vec<World> {
    // Where nothing is said, every world of virtual time without a simulated network is allowed,
    // and `live`, which runs only when asked for.
    let Some(raw) = raw else {
        return vec![World::Discrete, World::Pipes, World::Live];
    };
    raw.iter()
        .map(|world| match world {
            RawWorld::Discrete => World::Discrete,
            RawWorld::Pipes => World::Pipes,
            RawWorld::Turmoil => World::Turmoil,
            RawWorld::Live => World::Live,
        })
        .collect()
}
