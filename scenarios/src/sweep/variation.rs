//! What a run of a campaign does beside what its scenario says.

use std::fmt;
use std::str::FromStr;

use crate::faults::{FaultPlan, ProcessFault};
use crate::format::Scenario;
use crate::world::discrete::RunOptions;
use crate::world::ports::{CrashPoint, Moment};

/// A variation of a scenario; the command line spells it `--swarm`, `--crash before:12`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variation {
    /// Faults are drawn from the seed.
    pub swarm: bool,
    /// Something happens around one write.
    pub point: Option<CrashPoint>,
}

/// A variation that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no crash point: write before:N, after:N or ambiguous:N, N counting writes from 1"
)]
pub struct VariationError(String);

impl Variation {
    /// Exactly what the scenario says.
    pub const PLAIN: Self = Self {
        swarm: false,
        point: None,
    };

    /// Under faults that the seed draws.
    pub const SWARM: Self = Self {
        swarm: true,
        point: None,
    };

    /// Something happens around this write.
    pub fn at(point: CrashPoint) -> Self {
        Self {
            swarm: false,
            point: Some(point),
        }
    }

    /// Changes the options of a run.
    ///
    /// Scenarios that say they can be swept keep their own deadlines around a crash; others get the
    /// budget for convergence that runs under unknown faults get.
    #[must_use]
    pub fn applied(self, scenario: &Scenario, seed: u64, options: RunOptions) -> RunOptions {
        let mut options = RunOptions {
            seed: Some(seed),
            swarm: self.swarm,
            ..options
        };
        match self.point {
            Some(point) if !scenario.sweep && !self.swarm => {
                let mut plan = FaultPlan::of(scenario, seed);
                plan.process.push(ProcessFault::CrashAtWrite {
                    write: point.write,
                    moment: point.moment,
                    restart_after: options.restart_after,
                });
                options.faults = Some(plan);
            }
            point => options.crash = point,
        }
        options
    }

    /// Arguments of `nap sim` and `nap shrink` that say this; each begins with a space.
    pub fn arguments(&self) -> String {
        let swarm = if self.swarm { " --swarm" } else { "" };
        let point = self
            .point
            .map(|point| format!(" --crash {}", PointText(point)));
        format!("{swarm}{}", point.unwrap_or_default())
    }

    /// Reads a crash point as the command line spells it.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn point(text: &str) -> Result<CrashPoint, VariationError> {
        let wrong = || VariationError(text.to_owned());
        let (moment, write) = text.split_once(':').ok_or_else(wrong)?;
        let moment = match moment {
            "before" => Moment::Before,
            "after" => Moment::After,
            "ambiguous" => Moment::Ambiguous,
            _ => return Err(wrong()),
        };
        match write.parse() {
            Ok(write) if write > 0 => Ok(CrashPoint { write, moment }),
            _ => Err(wrong()),
        }
    }
}

struct PointText(CrashPoint);

impl fmt::Display for PointText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", moment(self.0.moment), self.0.write)
    }
}

pub(crate) fn moment(moment: Moment) -> &'static str {
    match moment {
        Moment::Before => "before",
        Moment::After => "after",
        Moment::Ambiguous => "ambiguous",
    }
}

/// For people, files and tasks: `plain`, `swarm`, `crash before:12`.
impl fmt::Display for Variation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.swarm, self.point) {
            (false, None) => f.write_str("plain"),
            (true, None) => f.write_str("swarm"),
            (false, Some(point)) => write!(f, "crash {}", PointText(point)),
            (true, Some(point)) => write!(f, "swarm crash {}", PointText(point)),
        }
    }
}

impl FromStr for Variation {
    type Err = VariationError;

    fn from_str(text: &str) -> Result<Self, VariationError> {
        let mut variation = Self::PLAIN;
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "plain" => {}
                "swarm" => variation.swarm = true,
                "crash" => variation.point = Some(Self::point(words.next().unwrap_or_default())?),
                _ => return Err(VariationError(text.to_owned())),
            }
        }
        Ok(variation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for text in [
            "plain",
            "swarm",
            "crash after:3",
            "swarm crash ambiguous:12",
        ] {
            let variation: Variation = text.parse().expect("it can be read");
            assert_eq!(variation.to_string(), text);
        }
        for text in [
            "crash",
            "crash after",
            "crash after:0",
            "crash never:1",
            "quick",
        ] {
            assert!(text.parse::<Variation>().is_err(), "{text}");
        }
        let point = Variation::point("before:7").expect("a point");
        assert_eq!(Variation::at(point).arguments(), " --crash before:7");
    }
}
