//! The `faults:` section.

use std::time::Duration;

use serde::Deserialize;

use crate::faults::{FaultKind, Faults, ProcessFault, Rule, usual};
use crate::format::error::FormatError;
#[cfg(feature = "schema")]
use crate::format::raw::Span;
use crate::format::scenario::read::Reader;
use crate::world::ports::{Moment, Target};

/// What goes wrong on purpose.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawFaults {
    /// When faults stop; absent: five minutes after the last step of the timeline.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Span>"))]
    pub(crate) until: Option<String>,
    /// Virtual time for everything to come right after that; absent: 30m.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Span>"))]
    pub(crate) budget: Option<String>,
    /// Whether a second replica of the controller runs.
    pub(crate) standby: bool,
    /// Requests that go wrong at a rate.
    pub(crate) requests: Vec<RawRule>,
    /// What happens to the controller's process.
    pub(crate) process: Vec<RawProcess>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawRule {
    /// What goes wrong.
    pub(crate) kind: RawKind,
    /// In how many of a hundred requests for which it is legal: 1 to 100.
    pub(crate) percent: Option<u32>,
    /// The same, of a thousand, instead of `percent`: 1 to 1000.
    pub(crate) per_mille: Option<u32>,
    /// At which server; absent: both.
    pub(crate) at: Option<RawTarget>,
    /// Only requests about this: `nodeclaims`, `leases`, `virtualMachines`, `pods/eviction`.
    pub(crate) resource: Option<String>,
    /// Only writes (true), only others (false).
    pub(crate) writes: Option<bool>,
    /// From when, since the start.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Span>"))]
    pub(crate) from: Option<String>,
    /// Until when; absent: as long as there are faults.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Span>"))]
    pub(crate) until: Option<String>,
    /// The longest delay, hold or `Retry-After`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Span>"))]
    pub(crate) up_to: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawKind {
    Latency,
    ServerError,
    Throttle,
    ResetBefore,
    ResetAfter,
    StaleRead,
    WatchCut,
    WatchDelay,
    Expired,
    SlowConsumer,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawTarget {
    Kube,
    Arm,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawProcess {
    /// It dies around a write.
    pub(crate) crash_at_write: Option<RawCrashAtWrite>,
    /// It dies between two polls of its tasks.
    pub(crate) crash_at_await: Option<RawCrashAtAwait>,
    /// It stands still for a while.
    pub(crate) pause: Option<RawPause>,
    /// The leader stands still until another replica has taken over.
    pub(crate) failover: Option<RawFailover>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawCrashAtWrite {
    /// Counted from 1 over all incarnations.
    pub(crate) write: u64,
    /// Before the server sees it, or after it is committed.
    pub(crate) moment: RawMoment,
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Span>"))]
    pub(crate) restart_after: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawMoment {
    Before,
    After,
    /// It lives, but never hears that the write was committed.
    Ambiguous,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawCrashAtAwait {
    /// Of tasks whose name begins so; absent: of any.
    #[serde(default)]
    pub(crate) task: String,
    /// Counted from 1 over all incarnations.
    pub(crate) poll: u64,
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Span>"))]
    pub(crate) restart_after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawPause {
    /// Since the start.
    #[cfg_attr(feature = "schema", schemars(with = "Span"))]
    pub(crate) at: String,
    /// For how long.
    #[cfg_attr(feature = "schema", schemars(with = "Span"))]
    pub(crate) lasts: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawFailover {
    /// Since the start.
    #[cfg_attr(feature = "schema", schemars(with = "Span"))]
    pub(crate) at: String,
}

/// How long a killed controller stays away: what a Deployment needs to start a container again.
const RESTART_AFTER: Duration = Duration::from_secs(10);

impl Reader<'_> {
    pub(super) fn faults(&self, raw: &RawFaults) -> Result<Faults, FormatError> {
        let optional = |name: &str, text: &Option<String>| {
            let read = |text: &String| self.duration(&format!("faults.{name}"), text);
            text.as_ref().map(read).transpose()
        };
        let mut faults = Faults {
            until: optional("until", &raw.until)?,
            budget: optional("budget", &raw.budget)?,
            standby: raw.standby,
            ..Faults::default()
        };
        for (index, rule) in raw.requests.iter().enumerate() {
            faults
                .rules
                .push(self.rule(rule, &format!("faults.requests[{index}]"))?);
        }
        for (index, fault) in raw.process.iter().enumerate() {
            let path = format!("faults.process[{index}]");
            let fault = self.process(fault, &path)?;
            let needs_standby = matches!(fault, ProcessFault::Failover { .. });
            if needs_standby && !raw.standby {
                return Err(self
                    .error(&path, "a failover needs a second replica")
                    .help("add 'standby: true' to 'faults'"));
            }
            faults.process.push(fault);
        }
        Ok(faults)
    }

    fn rule(&self, raw: &RawRule, path: &str) -> Result<Rule, FormatError> {
        let per_mille = self.share(raw, path)?;
        let optional = |name: &str, text: &Option<String>| {
            let read = |text: &String| self.duration(&format!("{path}.{name}"), text);
            text.as_ref().map(read).transpose()
        };
        let kind = kind_of(raw.kind);
        let target = raw.at.map(|target| match target {
            RawTarget::Kube => Target::Kube,
            RawTarget::Arm => Target::Arm,
        });
        if !crate::faults::legal_at(kind, target) {
            let message = format!("no request to this server may suffer '{kind}'");
            return Err(self
                .error(&format!("{path}.at"), message)
                .help("leave 'at' out, or name the other server"));
        }
        Ok(Rule {
            kind,
            per_mille,
            target,
            resource: raw.resource.clone(),
            writes: raw.writes,
            from: optional("from", &raw.from)?.unwrap_or_default(),
            until: optional("until", &raw.until)?,
            amount: optional("upTo", &raw.up_to)?.unwrap_or_else(|| usual(kind)),
        })
    }

    /// How many in a thousand.
    fn share(&self, raw: &RawRule, path: &str) -> Result<u32, FormatError> {
        let (key, share, most) = match (raw.percent, raw.per_mille) {
            (Some(percent), None) => ("percent", percent, 100),
            (None, Some(per_mille)) => ("perMille", per_mille, 1000),
            _ => {
                return Err(self
                    .error(path, "a rule has one share of requests".to_owned())
                    .help("write either 'percent' or 'perMille'"));
            }
        };
        if !(1..=most).contains(&share) {
            let message = format!("{share} is no share of requests");
            return Err(self
                .error(&format!("{path}.{key}"), message)
                .help(format!("write a whole number from 1 to {most}")));
        }
        Ok(share * (1000 / most))
    }

    fn process(&self, raw: &RawProcess, path: &str) -> Result<ProcessFault, FormatError> {
        let restart = |verb: &str, text: &Option<String>| {
            let path = format!("{path}.{verb}.restartAfter");
            text.as_ref()
                .map_or(Ok(RESTART_AFTER), |text| self.duration(&path, text))
        };
        let mut given = Vec::new();
        if let Some(crash) = &raw.crash_at_write {
            given.push(ProcessFault::CrashAtWrite {
                write: crash.write,
                moment: match crash.moment {
                    RawMoment::Before => Moment::Before,
                    RawMoment::After => Moment::After,
                    RawMoment::Ambiguous => Moment::Ambiguous,
                },
                restart_after: restart("crash-at-write", &crash.restart_after)?,
            });
        }
        if let Some(crash) = &raw.crash_at_await {
            given.push(ProcessFault::CrashAtAwait {
                task: crash.task.clone(),
                poll: crash.poll,
                restart_after: restart("crash-at-await", &crash.restart_after)?,
            });
        }
        if let Some(pause) = &raw.pause {
            given.push(ProcessFault::Pause {
                at: self.duration(&format!("{path}.pause.at"), &pause.at)?,
                lasts: self.duration(&format!("{path}.pause.lasts"), &pause.lasts)?,
            });
        }
        if let Some(failover) = &raw.failover {
            let at = self.duration(&format!("{path}.failover.at"), &failover.at)?;
            given.push(ProcessFault::Failover { at });
        }
        let count = given.len();
        match (given.pop(), count) {
            (Some(fault), 1) => Ok(fault),
            _ => Err(self
                .error(
                    path,
                    format!("an entry names exactly one fault, this one names {count}"),
                )
                .help("one of: crash-at-write, crash-at-await, pause, failover")),
        }
    }
}

fn kind_of(raw: RawKind) -> FaultKind {
    match raw {
        RawKind::Latency => FaultKind::Latency,
        RawKind::ServerError => FaultKind::ServerError,
        RawKind::Throttle => FaultKind::Throttle,
        RawKind::ResetBefore => FaultKind::ResetBefore,
        RawKind::ResetAfter => FaultKind::ResetAfter,
        RawKind::StaleRead => FaultKind::StaleRead,
        RawKind::WatchCut => FaultKind::WatchCut,
        RawKind::WatchDelay => FaultKind::WatchDelay,
        RawKind::Expired => FaultKind::Expired,
        RawKind::SlowConsumer => FaultKind::SlowConsumer,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::format::Scenario;

    fn read(section: &str) -> Result<Faults, String> {
        let text = format!("# It proves.\nname: x\nfaults:\n{section}");
        Scenario::parse("x.yaml", &text, Path::new("."))
            .map(|scenario| scenario.faults)
            .map_err(|error| {
                let help = error.help.as_deref().unwrap_or_default();
                format!(
                    "{}:{} {error} ({help})",
                    error.place.line, error.place.column
                )
            })
    }

    #[test]
    fn a_section_says_what_goes_wrong() {
        let faults = read(
            "  until: 10m\n  standby: true\n  requests:\n    - {kind: reset-after, percent: 20, at: arm, \
             resource: virtualMachines}\n    - {kind: watch-cut, percent: 50, upTo: 30s}\n  process:\n    \
             - crash-at-write: {write: 5, moment: after}\n    - failover: {at: 2m}\n",
        )
        .expect("it can be read");
        assert_eq!(faults.until, Some(Duration::from_mins(10)));
        assert_eq!(faults.rules[0].kind, FaultKind::ResetAfter);
        assert_eq!(faults.rules[0].per_mille, 200);
        assert_eq!(faults.rules[1].amount, Duration::from_secs(30));
        assert_eq!(faults.process.len(), 2);
    }

    #[test]
    fn mistakes_point_at_their_place() {
        let mistakes = [
            "  requests: [{kind: reset-aftr, percent: 1}]\n",
            "  requests: [{kind: throttle, percent: 101}]\n",
            "  requests: [{kind: watch-cut, percent: 5, at: arm}]\n",
            "  requests: [{kind: latency, percent: 5, upTo: soon}]\n",
            "  process: [{pause: {at: 1m, lasts: 10}}]\n",
            "  process: [{failover: {at: 1m}}]\n",
            "  process: [{}]\n",
        ];
        let errors: Vec<String> = mistakes
            .iter()
            .map(|text| read(text).expect_err("a mistake"))
            .collect();
        insta::assert_snapshot!(errors.join("\n"), @r"
        4:21 unknown value 'reset-aftr' (did you mean 'reset-after'? known: latency, server-error, throttle, reset-before, reset-after, stale-read, watch-cut, watch-delay, expired, slow-consumer)
        4:40 101 is no share of requests (write a whole number from 1 to 100)
        4:48 no request to this server may suffer 'watch-cut' (leave 'at' out, or name the other server)
        4:48 'soon' is not a duration (write a whole number with a unit, for example 90s, 10m, 1h30m, 30d or 250ms)
        4:37 '10' is not a duration (write a whole number with a unit, for example 90s, 10m, 1h30m, 30d or 250ms)
        4:13 a failover needs a second replica (add 'standby: true' to 'faults')
        4:13 an entry names exactly one fault, this one names 0 (one of: crash-at-write, crash-at-await, pause, failover)
        ");
    }
}
