//! When something happened, as callers write it: ISO 8601, a date alone or with a clock, with a zone or without.

/// A moment read from text. Without a zone it is what a clock showed somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EventTime {
    /// Seconds since 1970-01-01T00:00 on that clock.
    clock: f64,
    /// Seconds that the clock is ahead of UTC.
    zone: Option<f64>,
}

impl EventTime {
    /// Date `YYYY-MM-DD` or date-time `YYYY-MM-DDTHH:MM[:SS[.f]]` with an optional zone `Z` or `±HH:MM`.
    pub fn parse(value: &str) -> Option<Self> {
        let (date, time) = match value.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (value, None),
        };
        let days = days_since_epoch(date)?;
        let (seconds, zone) = time.map_or(Some((0.0, None)), clock_and_zone)?;
        Some(Self { clock: days * 86_400.0 + seconds, zone })
    }

    /// Compares moments if both have a zone, else what the clocks show.
    pub fn is_before(self, other: Self) -> bool {
        match (self.zone, other.zone) {
            (Some(zone), Some(other_zone)) => self.clock - zone < other.clock - other_zone,
            _ => self.clock < other.clock,
        }
    }
}

fn days_since_epoch(date: &str) -> Option<f64> {
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return None;
    };
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let exists = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    exists.then(|| {
        let leap_days = |year: u32| i64::from(year / 4) - i64::from(year / 100) + i64::from(year / 400);
        let before = |year: u32| 365 * i64::from(year) + leap_days(year.saturating_sub(1));
        let months: u32 = (1..month).map(|month| days_in(year, month)).sum();
        // The year 0 is a leap year, and begins these counts.
        let leap_zero = |year: u32| i64::from(year > 0);
        let days = before(year) + leap_zero(year) + i64::from(months + day - 1);
        (days - before(1970) - leap_zero(1970)) as f64
    })
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

fn clock_and_zone(time: &str) -> Option<(f64, Option<f64>)> {
    let (clock, zone) = match (time.strip_suffix('Z'), time.find(['+', '-'])) {
        (Some(clock), _) => (clock, Some(0.0)),
        (None, None) => (time, None),
        (None, Some(at)) => {
            let (hours, minutes) = time[at + 1..].split_once(':')?;
            let ahead = hour_minute(hours, minutes)?;
            (&time[..at], Some(if time[at..].starts_with('-') { -ahead } else { ahead }))
        }
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let seconds = match parts.as_slice() {
        [hour, minute] => hour_minute(hour, minute)?,
        [hour, minute, second] => hour_minute(hour, minute)? + seconds(second)?,
        _ => return None,
    };
    Some((seconds, zone))
}

fn seconds(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let known =
        digits(whole, 2)? <= 60 && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    if known { text.parse().ok() } else { None }
}

fn hour_minute(hour: &str, minute: &str) -> Option<f64> {
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    (hour <= 23 && minute <= 59).then(|| f64::from(3600 * hour + 60 * minute))
}

fn digits(text: &str, width: usize) -> Option<u32> {
    if text.len() == width && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::EventTime;

    fn seconds(value: &str) -> f64 {
        let time = EventTime::parse(value).unwrap();
        time.clock - time.zone.unwrap_or(0.0)
    }

    #[test]
    fn moments_are_seconds_since_1970() {
        // 54 years of which 13 are leap years, then 31 + 28 days: 54 * 365 + 13 + 59 = 19782 days.
        assert_eq!(seconds("2024-02-29"), 19_782.0 * 86_400.0);
        assert_eq!(seconds("1970-01-02T01:02:03.5Z"), 86_400.0 + 3723.5);
        assert_eq!(seconds("1970-01-01T00:30+01:00"), -1800.0);
        assert_eq!(seconds("1969-12-31"), -86_400.0);
        assert_eq!(seconds("0000-01-01"), -719_528.0 * 86_400.0);
    }

    #[test]
    fn zones_count_only_where_both_have_one() {
        let before = |a, b| EventTime::parse(a).unwrap().is_before(EventTime::parse(b).unwrap());
        // 10:00 in Tokyo is 01:00 UTC.
        assert!(before("2024-05-01T10:00+09:00", "2024-05-01T02:00Z"));
        assert!(!before("2024-05-01T10:00+09:00", "2024-05-01T02:00"));
        assert!(before("2024-05-01", "2024-05-01T00:01"));
    }
}
