use flotilla_crds::MaintenanceWindow;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::{Date, Weekday};
use k8s_openapi::jiff::tz::Offset;

const MINUTE_S: i64 = 60;
const DAY_S: i64 = 86_400;
/// The 29th of February on a given weekday comes once in 28 years, and twelve years later around a century without a leap day.
const DAYS_AHEAD_MAX: i64 = 366 * 40;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A cron expression of five fields, in UTC: the minutes at which something begins. Each field is a set of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// With both fields of days restricted, either is enough, as cron has it.
    either_day: bool,
}

impl Schedule {
    /// Reads an expression: numbers, names of months and weekdays, `*`, ranges, steps and lists.
    ///
    /// # Errors
    /// Which field is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!(
                "`{text}` has {} fields; a schedule has five: minute, hour, day of the month, month, day of the week",
                fields.len()
            ));
        };
        let weekday_set = set("day of the week", weekdays, 0, 7, &WEEKDAYS)?;
        Ok(Self {
            minutes: set("minute", minutes, 0, 59, &[])?,
            hours: set("hour", hours, 0, 23, &[])?,
            days: set("day of the month", days, 1, 31, &[])?,
            months: set("month", months, 1, 12, &MONTHS)?,
            // Sunday is 0 and 7.
            weekdays: (weekday_set | weekday_set >> 7) & 0x7f,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        })
    }

    fn takes_day(&self, date: Date) -> bool {
        let weekday = match date.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        };
        let (day, weekday) = (has(self.days, date.day()), has(self.weekdays, weekday));
        let takes = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        takes && has(self.months, date.month())
    }

    /// The beginnings on a day, in seconds since 1970. `day` is the number of days since then.
    fn on_day(&self, day: i64) -> impl DoubleEndedIterator<Item = i64> + '_ {
        let takes = Timestamp::from_second(day * DAY_S)
            .is_ok_and(|midnight| self.takes_day(Offset::UTC.to_datetime(midnight).date()));
        (0..24)
            .filter(move |hour| takes && has(self.hours, *hour))
            .flat_map(move |hour| {
                (0..60)
                    .filter(|minute| has(self.minutes, *minute))
                    .map(move |minute| {
                        day * DAY_S + i64::from(hour) * 60 * MINUTE_S + i64::from(minute) * MINUTE_S
                    })
            })
    }

    /// The last beginning at a moment or before it, looking back as far as that.
    fn last(&self, now_unix_s: i64, since_unix_s: i64) -> Option<i64> {
        let (first, last) = (since_unix_s.div_euclid(DAY_S), now_unix_s.div_euclid(DAY_S));
        (first..=last)
            .rev()
            .find_map(|day| self.on_day(day).rev().find(|start| *start <= now_unix_s))
            .filter(|start| *start >= since_unix_s)
    }

    /// The first beginning after a moment.
    fn next(&self, now_unix_s: i64) -> Option<i64> {
        let today = now_unix_s.div_euclid(DAY_S);
        (today..today + DAYS_AHEAD_MAX).find_map(|day| self.on_day(day).find(|start| *start > now_unix_s))
    }
}

fn has(set: u64, number: i8) -> bool {
    set >> number & 1 == 1
}

fn set(field: &str, text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let wrong = |what: &str| format!("{field} `{text}`: {what}");
    let number = |word: &str| {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(word))
            .map(|place| place as u32 + least);
        named
            .or_else(|| word.parse().ok())
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| wrong(&format!("`{word}` is not between {least} and {most}")))
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<u32>().ok().filter(|step| (1..=most).contains(step)),
            ),
            None => (part, Some(1)),
        };
        let step = step.ok_or_else(|| wrong("a step is a number from 1"))?;
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(wrong("a range goes from the smaller to the larger"));
        }
        for number in (from..=to).step_by(step as usize) {
            set |= 1 << number;
        }
    }
    Ok(set)
}

/// Whether brokers may be restarted for changes, and if not, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Now.
    Open,
    /// Not before that: seconds since 1970. `None`: never, as the windows stand.
    Closed(Option<i64>),
}

/// How the windows of a Cluster stand. Without any, it is open always; a schedule that cannot be read opens nothing.
#[must_use]
pub fn maintenance(windows: &[MaintenanceWindow], now_unix_s: i64) -> Maintenance {
    if windows.is_empty() {
        return Maintenance::Open;
    }
    let mut next: Option<i64> = None;
    for window in windows {
        let Ok(schedule) = Schedule::parse(&window.schedule) else {
            continue;
        };
        let lasts_s = i64::from(window.duration_minutes) * MINUTE_S;
        if schedule.last(now_unix_s, now_unix_s - lasts_s + 1).is_some() {
            return Maintenance::Open;
        }
        next = [next, schedule.next(now_unix_s)].into_iter().flatten().min();
    }
    Maintenance::Closed(next)
}

/// A moment as people read it.
#[must_use]
pub fn written(unix_s: i64) -> String {
    Timestamp::from_second(unix_s).map_or_else(|_| unix_s.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_second()
    }

    fn next(schedule: &str, now: &str) -> String {
        written(Schedule::parse(schedule).unwrap().next(at(now)).unwrap())
    }

    #[test]
    fn schedules_begin_when_cron_would() {
        let now = "2026-01-15T10:30:00Z"; // a Thursday
        for (schedule, time) in [
            ("* * * * *", "2026-01-15T10:31:00Z"),
            ("30 10 * * *", "2026-01-16T10:30:00Z"),
            ("0 2 * * sun", "2026-01-18T02:00:00Z"),
            ("0 2 * * 7", "2026-01-18T02:00:00Z"),
            ("*/20 1-3 * * *", "2026-01-16T01:00:00Z"),
            ("0 0 1 * *", "2026-02-01T00:00:00Z"),
            ("0 0 1 * fri", "2026-01-16T00:00:00Z"),
            ("0 0 29 feb *", "2028-02-29T00:00:00Z"),
            ("15,45 12/6 * jun,dec *", "2026-06-01T12:15:00Z"),
        ] {
            assert_eq!(next(schedule, now), time, "{schedule}");
        }
        assert_eq!(Schedule::parse("0 0 31 2 *").unwrap().next(at(now)), None);
    }

    #[test]
    fn schedules_that_cron_would_not_take_are_refused() {
        for (schedule, why) in [
            (
                "0 2 * *",
                "`0 2 * *` has 4 fields; a schedule has five: minute, hour, day of the month, month, day of the week",
            ),
            ("60 * * * *", "minute `60`: `60` is not between 0 and 59"),
            (
                "* 5-3 * * *",
                "hour `5-3`: a range goes from the smaller to the larger",
            ),
            ("*/0 * * * *", "minute `*/0`: a step is a number from 1"),
            ("* * 0 * *", "day of the month `0`: `0` is not between 1 and 31"),
            ("* * * foo *", "month `foo`: `foo` is not between 1 and 12"),
            ("* * * * 8", "day of the week `8`: `8` is not between 0 and 7"),
            ("* * * * ,", "day of the week `,`: `` is not between 0 and 7"),
        ] {
            assert_eq!(Schedule::parse(schedule).unwrap_err(), why);
        }
    }

    #[test]
    fn window_is_open_for_as_long_as_it_lasts() {
        let window = |schedule: &str, duration_minutes| MaintenanceWindow {
            schedule: schedule.into(),
            duration_minutes,
        };
        let windows = [window("0 22 * * sat", 240), window("0 3 * * wed", 30)];
        let look = |now: &str| maintenance(&windows, at(now));
        let closed = |until: &str| Maintenance::Closed(Some(at(until)));
        assert_eq!(look("2026-01-17T21:59:59Z"), closed("2026-01-17T22:00:00Z"));
        assert_eq!(look("2026-01-17T22:00:00Z"), Maintenance::Open);
        assert_eq!(look("2026-01-18T01:59:59Z"), Maintenance::Open);
        assert_eq!(look("2026-01-18T02:00:00Z"), closed("2026-01-21T03:00:00Z"));
        assert_eq!(maintenance(&[], 0), Maintenance::Open);
        assert_eq!(
            maintenance(&[window("nonsense", 5)], 0),
            Maintenance::Closed(None)
        );
    }
}
