//! Reads the `load` section.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Curve, Load, STEPS_MAX};
use crate::format::error::FormatError;
use crate::format::raw::{
    MODELS, RawBatch, RawDiurnal, RawFlash, RawLoad, RawPoisson, RawQuantity, Span,
};
use crate::format::scenario::read::{Reader, gather};

impl Reader<'_> {
    pub(in crate::format::scenario) fn loads(
        &self,
        raw: &[RawLoad],
        horizon: Duration,
    ) -> Result<Vec<Load>, FormatError> {
        let mut names = BTreeSet::new();
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
