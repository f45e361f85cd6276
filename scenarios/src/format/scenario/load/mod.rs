//! Load: what users want over time, as Deployments that are created, scaled and deleted.
//!
//! Everything is drawn from the run's seed, from a stream of the load's own name; arithmetic is on
//! whole numbers, so that every machine draws the same.

mod draw;
mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

use controller_ports::Entropy;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::format::scenario::{Action, Manifest, ObjectRef, Step};
use draw::{Draw, between};

/// Steps of one load beyond which a run would never end.
const STEPS_MAX: u64 = 200_000;

/// One day.
const DAY: u64 = 86_400;

/// Demand at each hour after the peak, as thousandths of the way from the quietest to the busiest:
/// half a period of a raised cosine to either side.
const DAY_CURVE: [u64; 24] = [
    1000, 983, 933, 854, 750, 629, 500, 371, 250, 146, 67, 17, 0, 17, 67, 146, 250, 371, 500, 629,
    750, 854, 933, 983,
];

/// How demand moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Curve {
    /// This many pods.
    Constant(u32),
    /// A curve over each day.
    Diurnal {
        /// Pods at the quietest time.
        low: u32,
        /// Pods at the busiest time.
        high: u32,
        /// Time of day of the peak, UTC.
        peak_at: Duration,
        /// How often the number is set.
        every: Duration,
        /// Per cent by which each number may differ.
        noise: u32,
        /// Per cent of the way that is left on Saturdays and Sundays.
        weekend: u32,
    },
    /// A crowd.
    Flash {
        /// Pods before and after.
        from: u32,
        /// Pods while it is there.
        to: u32,
        /// When it begins to come.
        at: Duration,
        /// How long it takes to be complete.
        rise: Duration,
        /// How long it stays.
        hold: Duration,
        /// How long it takes to go.
        fall: Duration,
        /// In how many steps.
        steps: u32,
    },
    /// Independent arrivals.
    Poisson {
        /// On average.
        per_hour: u32,
        /// On average.
        lifetime: Duration,
        /// Those that find so many present go away.
        at_most: u32,
    },
    /// Batches.
    Batch {
        /// From one to the next.
        every: Duration,
        /// Pods of each.
        pods: u32,
        /// How long each runs.
        lasts: Duration,
        /// Per cent by which both may differ.
        noise: u32,
    },
}

/// One load.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Name of its Deployments, and their pods' label `app`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// How demand moves.
    pub curve: Curve,
    /// When it begins.
    pub from: Duration,
    /// When everything of it is deleted.
    pub until: Option<Duration>,
    /// Path of the entry in the file.
    pub path: String,
    /// Template of its pods.
    template: Value,
}

impl Load {
    /// Namespace and name of the Deployment that lives as long as the load does.
    pub(crate) fn object(&self) -> Option<(&str, &str)> {
        let single = !matches!(self.curve, Curve::Poisson { .. } | Curve::Batch { .. });
        single.then_some((&self.namespace, &self.name))
    }

    /// When it changes for the last time: a constant load is there from its start on.
    pub(crate) fn last_change(&self, horizon: Duration) -> Duration {
        match (&self.curve, self.until) {
            (_, Some(until)) => until.min(horizon),
            (Curve::Constant(_), None) => self.from,
            (
                Curve::Flash {
                    at,
                    rise,
                    hold,
                    fall,
                    ..
                },
                None,
            ) => *at + *rise + *hold + *fall,
            _ => horizon,
        }
    }

    /// What it does with this seed, in the order of time.
    pub(crate) fn steps(&self, seed: u64, epoch: Timestamp, horizon: Duration) -> Vec<Step> {
        let entropy = Entropy::from_seed(seed).child("load");
        let mut draw = Draw::new(entropy.stream(&self.name));
        let end = self.until.unwrap_or(horizon).min(horizon);
        let mut steps = match &self.curve {
            Curve::Poisson {
                per_hour,
                lifetime,
                at_most,
            } => self.arrivals(&mut draw, end, (*per_hour, *lifetime, *at_most)),
            Curve::Batch { .. } => self.batches(&mut draw, end),
            _ => self.levels(&mut draw, epoch, end),
        };
        steps.sort_by_key(|step| step.at);
        steps
    }

    /// One Deployment that is scaled.
    fn levels(&self, draw: &mut Draw, epoch: Timestamp, end: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut current = None;
        for (at, replicas) in self.points(draw, epoch, end) {
            let action = match current {
                None => self.create(&self.name, replicas),
                Some(same) if same == replicas => continue,
                Some(_) => Action::Scale {
                    target: self.target(&self.name),
                    replicas,
                },
            };
            current = Some(replicas);
            steps.push(self.step(at, action));
        }
        if let Some(until) = self.until.filter(|until| *until <= end) {
            steps.push(self.step(until, Action::Delete(self.target(&self.name))));
        }
        steps
    }

    fn points(&self, draw: &mut Draw, epoch: Timestamp, end: Duration) -> Vec<(Duration, u32)> {
        let mut points = match &self.curve {
            Curve::Constant(pods) => vec![(self.from, *pods)],
            Curve::Flash {
                from,
                to,
                at,
                rise,
                hold,
                fall,
                steps,
            } => {
                let mut points = vec![(self.from, *from)];
                for step in 1..=*steps {
                    let part = |whole: Duration| whole * step / *steps;
                    let level = between(*from, *to, u64::from(step), u64::from(*steps));
                    points.push((*at + part(*rise), level));
                }
                let falls = *at + *rise + *hold;
                for step in 1..=*steps {
                    let level = between(*to, *from, u64::from(step), u64::from(*steps));
                    points.push((falls + *fall * step / *steps, level));
                }
                points
            }
            Curve::Diurnal { every, .. } => {
                let mut points = Vec::new();
                let mut at = self.from;
                while at < end {
                    points.push((at, self.of_day(draw, epoch, at)));
                    at += *every;
                }
                points
            }
            Curve::Poisson { .. } | Curve::Batch { .. } => Vec::new(),
        };
        points.sort_by_key(|(at, _)| *at);
        points.retain(|(at, _)| *at < end);
        // Of several at one time only the last matters.
        points.reverse();
        points.dedup_by_key(|(at, _)| *at);
        points.reverse();
        points
    }

    fn of_day(&self, draw: &mut Draw, epoch: Timestamp, at: Duration) -> u32 {
        let Curve::Diurnal {
            low,
            high,
            peak_at,
            noise,
            weekend,
            ..
        } = &self.curve
        else {
            return 0;
        };
        let second = u64::try_from(epoch.as_second()).unwrap_or_default() + at.as_secs();
        // 1970-01-01 was a Thursday.
        let weekday = (second / DAY + 3) % 7;
        let since_peak = (second % DAY + DAY - peak_at.as_secs() % DAY) % DAY;
        let (hour, rest) = (since_peak / 3600, since_peak % 3600);
        let of = |hour: u64| {
            let index = usize::try_from(hour % 24).unwrap_or_default();
            DAY_CURVE[index]
        };
        let mut share = (of(hour) * (3600 - rest) + of(hour + 1) * rest) / 3600;
        if weekday >= 5 {
            share = share * u64::from(*weekend) / 100;
        }
        let level = between(*low, *high, share, 1000);
        let wanted = draw.around(u64::from(level), *noise);
        u32::try_from(wanted)
            .unwrap_or(u32::MAX)
            .clamp(*low.min(high), *low.max(high))
    }

    /// A Deployment of one pod for each arrival.
    fn arrivals(
        &self,
        draw: &mut Draw,
        end: Duration,
        (per_hour, lifetime, at_most): (u32, Duration, u32),
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let mean = Duration::from_hours(1) / per_hour.max(1);
        let mut at = self.from;
        let mut present: Vec<Duration> = Vec::new();
        for number in 1_u64.. {
            at += draw.exponential(mean);
            if at >= end || number > STEPS_MAX {
                break;
            }
            let leaves = at + draw.exponential(lifetime);
            present.retain(|leaves| *leaves > at);
            if present.len() >= usize::try_from(at_most).unwrap_or(usize::MAX) {
                continue;
            }
            present.push(leaves);
            self.visit(&mut steps, number, (at, leaves, end), 1);
        }
        steps
    }

    fn batches(&self, draw: &mut Draw, end: Duration) -> Vec<Step> {
        let Curve::Batch {
            every,
            pods,
            lasts,
            noise,
        } = &self.curve
        else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        let mut at = self.from;
        for number in 1_u64.. {
            if at >= end || number > STEPS_MAX {
                break;
            }
            let wanted = draw.around(u64::from(*pods), *noise).max(1);
            let millis = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
            let leaves = at + Duration::from_millis(draw.around(millis, *noise));
            let wanted = u32::try_from(wanted).unwrap_or(*pods);
            self.visit(&mut steps, number, (at, leaves, end), wanted);
            at += *every;
        }
        steps
    }

    /// A Deployment that comes and goes.
    fn visit(
        &self,
        steps: &mut Vec<Step>,
        number: u64,
        (comes, leaves, end): (Duration, Duration, Duration),
        pods: u32,
    ) {
        let name = format!("{}-{number}", self.name);
        steps.push(self.step(comes, self.create(&name, pods)));
        // What the end of the load cuts short goes then; what the end of the run cuts short stays.
        let leaves = self.until.map_or(leaves, |until| leaves.min(until));
        if leaves <= end {
            steps.push(self.step(leaves, Action::Delete(self.target(&name))));
        }
    }

    fn step(&self, at: Duration, action: Action) -> Step {
        Step {
            at,
            latest: at,
            after_last: None,
            action,
            path: self.path.clone(),
        }
    }

    fn target(&self, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
            namespace: self.namespace.clone(),
        }
    }

    fn create(&self, name: &str, replicas: u32) -> Action {
        let mut template = self.template.clone();
        template["metadata"]["labels"]["load"] = json!(name);
        Action::Apply(vec![Manifest {
            object: json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": {"load": name}},
                    "template": template,
                },
            }),
            path: self.path.clone(),
            file: None,
        }])
    }
}
