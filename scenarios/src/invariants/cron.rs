//! When a budget with a schedule holds: five fields of cron, in UTC, read on our own.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Longer windows are looked at for this long only: a budget that always holds needs no schedule.
const WINDOW_MAX: Duration = Duration::from_hours(24 * 7);

/// Whether a window of `duration` that opens as `schedule` says is open at `now`. `None`: the
/// schedule is spelt in a way that is not read here.
pub(super) fn is_open(schedule: &str, duration: Duration, now: Timestamp) -> Option<bool> {
    let schedule = Schedule::parse(schedule)?;
    let minutes = duration.min(WINDOW_MAX).as_secs() / 60;
    let mut at = now.to_zoned(TimeZone::UTC).datetime();
    at = at.with().second(0).subsec_nanosecond(0).build().ok()?;
    for _ in 0..minutes {
        if schedule.matches(at) {
            return Some(true);
        }
        at = at.checked_sub(jiff::Span::new().minutes(1)).ok()?;
    }
    Some(false)
}

struct Schedule {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

/// The values that match, as bits; and whether it was a star.
struct Field(u64, bool);

impl Schedule {
    fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return None;
        };
        Some(Self {
            minute: Field::parse(minute, 0, 59)?,
            hour: Field::parse(hour, 0, 23)?,
            day: Field::parse(day, 1, 31)?,
            month: Field::parse(month, 1, 12)?,
            weekday: Field::parse(weekday, 0, 7)?,
        })
    }

    fn matches(&self, at: DateTime) -> bool {
        let weekday = at.weekday().to_sunday_zero_offset();
        let on_weekday = self.weekday.has(weekday) || (weekday == 0 && self.weekday.has(7));
        let on_day = self.day.has(at.day());
        // Where both days are restricted, either will do.
        let day = if self.day.1 || self.weekday.1 {
            on_day && on_weekday
        } else {
            on_day || on_weekday
        };
        day && self.minute.has(at.minute())
            && self.hour.has(at.hour())
            && self.month.has(at.month())
    }
}

impl Field {
    fn parse(text: &str, least: u8, most: u8) -> Option<Self> {
        let mut bits = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, step.parse::<u8>().ok().filter(|step| *step > 0)?),
                None => (part, 1),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (least, most),
                Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
                None if part.contains('/') => (range.parse().ok()?, most),
                None => {
                    let value = range.parse().ok()?;
                    (value, value)
                }
            };
            if from < least || to > most || from > to {
                return None;
            }
            for value in (from..=to).step_by(step.into()) {
                bits |= 1 << value;
            }
        }
        Some(Self(bits, text == "*"))
    }

    fn has(&self, value: i8) -> bool {
        u8::try_from(value).is_ok_and(|value| self.0 & (1 << value) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(schedule: &str, minutes: u64, now: &str) -> Option<bool> {
        let now = now.parse().expect("a time");
        is_open(schedule, Duration::from_mins(minutes), now)
    }

    #[test]
    fn windows_open_and_close() {
        // A Monday.
        let monday = |clock: &str| format!("2026-01-05T{clock}:00Z");
        for (schedule, minutes, now, expected) in [
            ("0 9 * * *", 60, monday("09:00"), Some(true)),
            ("0 9 * * *", 60, monday("09:59"), Some(true)),
            ("0 9 * * *", 60, monday("10:00"), Some(false)),
            ("0 9 * * *", 60, monday("08:59"), Some(false)),
            ("@daily", 24 * 60, monday("23:59"), Some(true)),
            ("*/15 * * * 1-5", 5, monday("12:34"), Some(true)),
            ("*/15 * * * 1-5", 5, monday("12:35"), Some(false)),
            ("0 0 * * 0", 60, monday("00:30"), Some(false)),
            ("0 0 5 * 0", 60, monday("00:30"), Some(true)),
            ("0 0 * * MON", 60, monday("00:30"), None),
            ("0 0 * *", 60, monday("00:30"), None),
        ] {
            assert_eq!(open(schedule, minutes, &now), expected, "{schedule} {now}");
        }
    }
}
