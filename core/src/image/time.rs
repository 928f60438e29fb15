//! Points in time, as image configs write them.

use std::time::{SystemTime, UNIX_EPOCH};

use super::tar::Time;

/// Seconds since the epoch and the nanoseconds that follow.
pub(super) fn since_epoch(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        // Neither overflows: the kernel's own times are of these types.
        Ok(since) => (since.as_secs() as i64, since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (-(before.as_secs() as i64), 0),
                nanoseconds => (-(before.as_secs() as i64) - 1, 1_000_000_000 - nanoseconds),
            }
        }
    }
}

/// RFC 3339 in UTC, to the second: `2023-11-14T22:13:20Z`. Years have four digits.
pub(super) fn rfc3339(seconds: i64) -> String {
    const LAST: i64 = 253_402_300_799;
    const FIRST: i64 = -62_167_219_200;
    let seconds = seconds.clamp(FIRST, LAST);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day, counted from 1 January 1970, in the Gregorian calendar. Years are counted
/// from March, so that the day that some of them have more is their last; 146,097 days are 400 years.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (year + 400 * era, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_as_date_writes_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }

    #[test]
    fn times_before_the_epoch_count_forward() {
        assert_eq!(since_epoch(UNIX_EPOCH + Duration::new(1, 5)), (1, 5));
        assert_eq!(since_epoch(UNIX_EPOCH - Duration::new(1, 0)), (-1, 0));
        assert_eq!(since_epoch(UNIX_EPOCH - Duration::from_millis(250)), (-1, 750_000_000));
    }
}
