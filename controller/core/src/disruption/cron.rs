//! Schedules of disruption budgets: five fields or a macro, in UTC.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Longest search for the next hit: February 29th on a given weekday recurs within 28 years, or
/// 40 across a century without a leap day.
const SEARCH_YEARS: i64 = 40;

/// A parsed schedule (the rules of `github.com/robfig/cron/v3` `ParseStandard`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day and weekday are both restricted: either of them is enough.
    either_day: bool,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field: its range and the names that stand for numbers.
struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

impl Cron {
    /// Parses a schedule; `None` when it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let expanded = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return None;
        };
        let star = |field: &str| field.starts_with(['*', '?']);
        Some(Self {
            minutes: parse_field(
                minutes,
                &Field {
                    low: 0,
                    high: 59,
                    names: &[],
                },
            )?,
            hours: parse_field(
                hours,
                &Field {
                    low: 0,
                    high: 23,
                    names: &[],
                },
            )?,
            days: parse_field(
                days,
                &Field {
                    low: 1,
                    high: 31,
                    names: &[],
                },
            )?,
            months: parse_field(
                months,
                &Field {
                    low: 1,
                    high: 12,
                    names: &MONTHS,
                },
            )?,
            weekdays: parse_field(
                weekdays,
                &Field {
                    low: 0,
                    high: 6,
                    names: &WEEKDAYS,
                },
            )?,
            either_day: !star(days) && !star(weekdays),
        })
    }

    /// The first hit strictly after `start`; `None` when there is none.
    pub(super) fn next(&self, start: Timestamp) -> Option<Timestamp> {
        let first = start.to_zoned(TimeZone::UTC);
        let last = first
            .date()
            .checked_add(Span::new().years(SEARCH_YEARS))
            .ok()?;
        let mut date = first.date();
        while date <= last {
            if self.hits_day(date) {
                for hour in (0..24_i8).filter(|&hour| has(self.hours, hour)) {
                    for minute in (0..60_i8).filter(|&minute| has(self.minutes, minute)) {
                        let time = date.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).ok()?;
                        if time.timestamp() > start {
                            return Some(time.timestamp());
                        }
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn hits_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let matches = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        has(self.months, date.month()) && matches
    }
}

fn has(set: u64, element: i8) -> bool {
    set >> element & 1 == 1
}

/// A comma-separated list of `*`, `a`, `a-b`, each with an optional `/step`.
fn parse_field(text: &str, field: &Field) -> Option<u64> {
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|&s| s > 0)?)),
            None => (part, None),
        };
        let (low, high) = match range {
            "*" | "?" => (field.low, field.high),
            _ => match range.split_once('-') {
                Some((low, high)) => (number(low, field)?, number(high, field)?),
                None => {
                    let low = number(range, field)?;
                    // `5/10` means from five on.
                    (low, if step.is_some() { field.high } else { low })
                }
            },
        };
        if low > high {
            return None;
        }
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        for element in (low..=high).step_by(step) {
            set |= 1 << element;
        }
    }
    Some(set)
}

fn number(text: &str, field: &Field) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let named = field.names.iter().position(|name| *name == lower);
    let value = match named {
        Some(index) => u32::try_from(index).ok()? + field.low,
        None => text.parse().ok()?,
    };
    (field.low..=field.high).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, start: &str) -> Option<String> {
        let start: Timestamp = start.parse().expect("a timestamp");
        Cron::parse(cron)
            .expect("a schedule")
            .next(start)
            .map(|hit| hit.to_string())
    }

    #[test]
    fn the_next_hit_is_strictly_later() {
        let rows = [
            (
                "0 9 * * mon-fri",
                "2026-11-24T09:00:00Z",
                Some("2026-11-25T09:00:00Z"),
            ),
            (
                "0 9 * * mon-fri",
                "2026-11-27T10:00:00Z",
                Some("2026-11-30T09:00:00Z"),
            ),
            (
                "*/15 * * * *",
                "2026-11-24T09:01:30Z",
                Some("2026-11-24T09:15:00Z"),
            ),
            (
                "@hourly",
                "2026-11-24T09:59:59Z",
                Some("2026-11-24T10:00:00Z"),
            ),
            (
                "@weekly",
                "2026-11-24T00:00:00Z",
                Some("2026-11-29T00:00:00Z"),
            ),
            (
                "0 0 13 * 5",
                "2026-11-10T00:00:00Z",
                Some("2026-11-13T00:00:00Z"),
            ),
            (
                "0 0 29 2 *",
                "2026-11-10T00:00:00Z",
                Some("2028-02-29T00:00:00Z"),
            ),
            ("0 0 31 2 *", "2026-11-10T00:00:00Z", None),
            (
                "5,7 1-3/2 1 JAN *",
                "2026-11-10T00:00:00Z",
                Some("2027-01-01T01:05:00Z"),
            ),
        ];
        for (cron, start, expected) in rows {
            assert_eq!(next(cron, start).as_deref(), expected, "{cron}");
        }
    }

    #[test]
    fn malformed_schedules_are_refused() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * * * 7",
            "5-2 * * * *",
            "*/0 * * * *",
            "@x",
        ] {
            assert_eq!(Cron::parse(text), None, "{text}");
        }
    }
}
