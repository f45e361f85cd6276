//! Load: what users want over time, as Deployments that are created, scaled and deleted.
//!
//! Everything is drawn from the run's seed, from a stream of the load's own name; arithmetic is on
//! whole numbers, so that every machine draws the same.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_ports::Entropy;
use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde_json::{Value, json};

use crate::format::error::FormatError;
use crate::format::raw::{
    MODELS, RawBatch, RawDiurnal, RawFlash, RawLoad, RawPoisson, RawQuantity, Span,
};
use crate::format::scenario::read::{Reader, gather};
use crate::format::scenario::{Action, Manifest, ObjectRef, Step};

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
        let mut draw = Draw(entropy.stream(&self.name));
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

/// `part` of `whole` of the way from one number to another.
fn between(from: u32, to: u32, part: u64, whole: u64) -> u32 {
    let (from, to) = (u64::from(from), u64::from(to));
    let whole = whole.max(1);
    let value = if to >= from {
        from + ((to - from) * part + whole / 2) / whole
    } else {
        from - ((from - to) * part + whole / 2) / whole
    };
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Draws of one load.
struct Draw(ChaCha8Rng);

impl Draw {
    /// A number that differs from this one by at most so many per cent.
    fn around(&mut self, value: u64, percent: u32) -> u64 {
        if percent == 0 {
            return value;
        }
        let reach = u128::from(value) * u128::from(percent) / 100;
        let drawn = u128::from(self.0.next_u32()) * (2 * reach + 1) >> 32;
        u64::try_from(u128::from(value) + drawn - reach).unwrap_or(value)
    }

    /// A time that is exponentially distributed around this mean.
    ///
    /// Von Neumann's method (1951): only comparisons of uniform numbers, hence no logarithm, whose
    /// last bit differs between machines. A falling run of odd length accepts its first number;
    /// each rejected run adds one mean.
    fn exponential(&mut self, mean: Duration) -> Duration {
        let mut whole = 0_u128;
        let first = loop {
            let first = self.0.next_u32();
            let (mut last, mut length) = (first, 1_u32);
            loop {
                let next = self.0.next_u32();
                if next > last {
                    break;
                }
                last = next;
                length += 1;
            }
            if length % 2 == 1 {
                break first;
            }
            whole += 1;
        };
        let means = whole << 32 | u128::from(first);
        let millis = mean.as_millis().saturating_mul(means) >> 32;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl Reader<'_> {
    pub(super) fn loads(
        &self,
        raw: &[RawLoad],
        horizon: Duration,
    ) -> Result<Vec<Load>, FormatError> {
        let mut names = std::collections::BTreeSet::new();
        gather(raw.iter().enumerate().map(|(index, load)| {
            let path = format!("load[{index}]");
            if !names.insert((load.namespace.clone(), load.name.clone())) {
                let message = format!("a second load is called '{}'", load.name);
                return Err(self
                    .error(&format!("{path}.name"), message)
                    .help("give each load a name of its own"));
            }
            self.load(load, path, horizon)
        }))
    }

    fn load(&self, raw: &RawLoad, path: String, horizon: Duration) -> Result<Load, FormatError> {
        let legal = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
        };
        if raw.name.is_empty() || raw.name.len() > 40 || !raw.name.chars().all(legal) {
            let message = format!("'{}' cannot name Deployments", raw.name);
            return Err(self
                .error(&format!("{path}.name"), message)
                .help("use at most 40 lower-case letters, digits and dashes"));
        }
        let curve = self.curve(raw, &path)?;
        let from = self.optional(&path, "from", raw.from.as_ref())?;
        let until = self.optional(&path, "until", raw.until.as_ref())?;
        let load = Load {
            name: raw.name.clone(),
            namespace: raw
                .namespace
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            from: from.unwrap_or_default(),
            until,
            template: self.template(raw, &path)?,
            curve,
            path,
        };
        self.check_size(&load, horizon)?;
        Ok(load)
    }

    fn check_size(&self, load: &Load, horizon: Duration) -> Result<(), FormatError> {
        let lasts = load.until.unwrap_or(horizon).min(horizon).as_secs();
        let steps = match &load.curve {
            Curve::Poisson { per_hour, .. } => 2 * u64::from(*per_hour) * lasts / 3600,
            Curve::Batch { every, .. } => 2 * lasts / every.as_secs().max(1),
            Curve::Diurnal { every, .. } => lasts / every.as_secs().max(1),
            Curve::Constant(_) | Curve::Flash { .. } => 0,
        };
        if steps <= STEPS_MAX {
            return Ok(());
        }
        Err(self
            .error(
                &load.path,
                format!("asks for {steps} steps, at most {STEPS_MAX} are run"),
            )
            .help("make it rarer, or shorten 'horizon' or 'until'"))
    }

    fn optional(
        &self,
        path: &str,
        key: &str,
        text: Option<&Span>,
    ) -> Result<Option<Duration>, FormatError> {
        text.map(|text| self.duration(&format!("{path}.{key}"), &text.0))
            .transpose()
    }

    fn curve(&self, raw: &RawLoad, path: &str) -> Result<Curve, FormatError> {
        let mut curves = Vec::new();
        curves.extend(raw.constant.map(Curve::Constant));
        if let Some(diurnal) = &raw.diurnal {
            curves.push(self.diurnal(diurnal, &format!("{path}.diurnal"))?);
        }
        if let Some(flash) = &raw.flash {
            curves.push(self.flash(flash, &format!("{path}.flash"))?);
        }
        if let Some(poisson) = &raw.poisson {
            curves.push(self.poisson(poisson, &format!("{path}.poisson"))?);
        }
        if let Some(batch) = &raw.batch {
            curves.push(self.batch(batch, &format!("{path}.batch"))?);
        }
        let count = curves.len();
        match (curves.pop(), count) {
            (Some(curve), 1) => Ok(curve),
            _ => Err(self
                .error(
                    path,
                    format!("a load has exactly one model, this one has {count}"),
                )
                .help(format!("one of: {}", MODELS.join(", ")))),
        }
    }

    fn diurnal(&self, raw: &RawDiurnal, path: &str) -> Result<Curve, FormatError> {
        let text = raw.peak_at.as_deref().unwrap_or("14:00");
        let peak_at = time_of_day(text).ok_or_else(|| {
            self.error(
                &format!("{path}.peakAt"),
                format!("'{text}' is no time of day"),
            )
            .help("write hours and minutes in quotes, for example \"14:00\"")
        })?;
        let every = self.optional(path, "every", raw.every.as_ref())?;
        let every = every.unwrap_or(Duration::from_mins(30));
        self.positive(every, &format!("{path}.every"))?;
        Ok(Curve::Diurnal {
            low: raw.low,
            high: raw.high,
            peak_at,
            every,
            noise: raw.noise.unwrap_or_default(),
            weekend: raw.weekend.unwrap_or(100),
        })
    }

    fn flash(&self, raw: &RawFlash, path: &str) -> Result<Curve, FormatError> {
        let part = |key: &str, text: Option<&Span>| {
            self.optional(path, key, text)
                .map(Option::unwrap_or_default)
        };
        Ok(Curve::Flash {
            from: raw.from.unwrap_or_default(),
            to: raw.to,
            at: part("at", Some(&raw.at))?,
            rise: part("rise", raw.rise.as_ref())?,
            hold: part("hold", Some(&raw.hold))?,
            fall: part("fall", raw.fall.as_ref())?,
            steps: raw.steps.unwrap_or(10),
        })
    }

    fn poisson(&self, raw: &RawPoisson, path: &str) -> Result<Curve, FormatError> {
        let lifetime = self.duration(&format!("{path}.lifetime"), &raw.lifetime.0)?;
        self.positive(lifetime, &format!("{path}.lifetime"))?;
        Ok(Curve::Poisson {
            per_hour: raw.per_hour,
            lifetime,
            at_most: raw.at_most.unwrap_or(1000),
        })
    }

    fn batch(&self, raw: &RawBatch, path: &str) -> Result<Curve, FormatError> {
        let every = self.duration(&format!("{path}.every"), &raw.every.0)?;
        self.positive(every, &format!("{path}.every"))?;
        let lasts = self.duration(&format!("{path}.lasts"), &raw.lasts.0)?;
        Ok(Curve::Batch {
            every,
            pods: raw.pods,
            lasts,
            noise: raw.noise.unwrap_or_default(),
        })
    }

    fn positive(&self, duration: Duration, path: &str) -> Result<(), FormatError> {
        if duration >= Duration::from_secs(1) {
            return Ok(());
        }
        Err(self
            .error(path, "is shorter than a second")
            .help("write at least 1s"))
    }

    fn template(&self, raw: &RawLoad, path: &str) -> Result<Value, FormatError> {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        labels.extend(raw.labels.iter().map(|(key, value)| (&**key, &**value)));
        labels.insert("app", &raw.name);
        let mut spec = json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main",
                "image": "mcr.microsoft.com/oss/kubernetes/pause:3.9",
                "resources": {"requests": {
                    "cpu": quantity(raw.cpu.as_ref(), "1"),
                    "memory": quantity(raw.memory.as_ref(), "1Gi"),
                }},
            }],
        });
        match &raw.pod {
            None | Some(Value::Null) => {}
            Some(Value::Object(more)) => {
                for (key, value) in more {
                    spec[key] = value.clone();
                }
            }
            Some(_) => {
                return Err(self
                    .error(&format!("{path}.pod"), "is no part of a pod's spec")
                    .help("for example 'pod: {nodeSelector: {disk: ssd}}'"));
            }
        }
        Ok(json!({"metadata": {"labels": labels}, "spec": spec}))
    }
}

fn quantity(raw: Option<&RawQuantity>, usual: &str) -> String {
    match raw {
        None => usual.to_owned(),
        Some(RawQuantity::Text(text)) => text.clone(),
        Some(RawQuantity::Number(number)) => number.to_string(),
    }
}

fn time_of_day(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then(|| Duration::from_secs(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::format::Scenario;

    fn schedule(section: &str, seed: u64) -> Vec<Step> {
        let text = format!("# It proves.\nname: x\nhorizon: 2d\nload:\n  - {section}\n");
        let scenario = Scenario::parse("x.yaml", &text, Path::new("."));
        scenario.expect("a scenario").load_steps(seed)
    }

    fn scales(steps: &[Step]) -> Vec<u32> {
        let replicas = steps.iter().filter_map(|step| match &step.action {
            Action::Scale { replicas, .. } => Some(*replicas),
            Action::Apply(manifests) => {
                let replicas = manifests[0].object["spec"]["replicas"].as_u64()?;
                u32::try_from(replicas).ok()
            }
            _ => None,
        });
        replicas.collect()
    }

    #[test]
    fn a_crowd_comes_stays_and_goes() {
        let section = "{name: x, flash: {from: 2, to: 12, at: 1h, rise: 10m, hold: 1h, steps: 2}}";
        let steps = schedule(section, 1);
        assert_eq!(scales(&steps), [2, 7, 12, 2]);
        assert_eq!(steps[2].at, Duration::from_mins(70));
        assert_eq!(steps[3].at, Duration::from_mins(130));
    }

    #[test]
    fn a_day_has_its_peak_when_asked_for() {
        let section = "{name: x, diurnal: {low: 2, high: 40, peakAt: \"20:00\", every: 1h}}";
        let steps = schedule(section, 1);
        // The epoch is 08:00: the quietest hour of this curve.
        let levels = scales(&steps);
        assert_eq!(levels[0], 2);
        assert_eq!(steps[12].at, Duration::from_hours(12));
        assert_eq!(levels[12], 40);
    }

    #[test]
    fn arrivals_are_as_many_and_as_long_as_asked_for() {
        let section = "{name: x, poisson: {perHour: 60, lifetime: 10m}}";
        let steps = schedule(section, 7);
        assert_eq!(steps, schedule(section, 7));
        assert_ne!(steps, schedule(section, 8));
        let arrivals = scales(&steps).len();
        // 2,880 are expected; six standard deviations are 322.
        assert!((2558..=3202).contains(&arrivals), "{arrivals}");
        let mut born = BTreeMap::new();
        let mut lives = Vec::new();
        for step in &steps {
            match &step.action {
                Action::Apply(manifests) => {
                    let name = manifests[0].object["metadata"]["name"].to_string();
                    born.insert(name.replace('"', ""), step.at);
                }
                Action::Delete(target) => lives.push((step.at - born[&target.name]).as_secs()),
                _ => {}
            }
        }
        let mean = lives.iter().sum::<u64>() / u64::try_from(lives.len()).expect("few");
        assert!((530..=670).contains(&mean), "{mean} s");
    }

    #[test]
    fn batches_differ_and_end() {
        let section = "{name: x, batch: {every: 12h, pods: 10, lasts: 1h, noise: 20}, until: 1d}";
        let steps = schedule(section, 1);
        assert_eq!(steps.len(), 4);
        assert!(scales(&steps).iter().all(|pods| (8..=12).contains(pods)));
    }
}
