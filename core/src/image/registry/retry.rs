//! When a request that failed is made again.

use std::time::Duration;

use super::failure::Failure;
use super::parallel::Stop;

/// The longest pause that a registry may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often is enough, and how long to wait between.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    left: u32,
    pause: Duration,
}

impl Retry {
    /// `attempts` in all; the first pause is `pause`, and each further one twice as long.
    pub(super) fn new(attempts: u32, pause: Duration) -> Self {
        Retry { left: attempts.saturating_sub(1), pause }
    }

    /// Waits until the request may be made again.
    ///
    /// # Errors
    /// `failure`, if it is for good, came too often, wants too long a pause, or `stop` says so.
    pub(super) fn wait(&mut self, failure: Failure, stop: &Stop) -> Result<(), Failure> {
        match self.next(&failure) {
            Some(pause) if !stop.wait(pause) => Ok(()),
            _ => Err(failure),
        }
    }

    fn next(&mut self, failure: &Failure) -> Option<Duration> {
        let asked = failure.after.unwrap_or_default();
        if !failure.transient || self.left == 0 || asked > MAX_PAUSE {
            return None;
        }
        self.left -= 1;
        let pause = self.pause.min(MAX_PAUSE);
        self.pause = pause.saturating_mul(2);
        // Those that failed together do not come back together: a random part of up to a half.
        let random = u32::from_str_radix(&crate::id::random()[..4], 16).unwrap_or_default();
        Some(asked.max(pause - pause * random / 0x2_0000))
    }
}

/// The pause that a `Retry-After` in seconds asks for; one with a date asks for none.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
pub(super) fn after(header: &str) -> Option<Duration> {
    let digits = header.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number holds are a long time, too.
    is_number.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failure(status: u16, after: Option<u64>) -> Failure {
        Failure::status("host", status, b"", after.map(Duration::from_secs))
    }

    #[test]
    fn pauses_double_within_their_half_and_end() {
        let mut retry = Retry::new(4, SECOND);
        for expected in [1, 2, 4] {
            let pause = retry.next(&failure(500, None)).unwrap();
            let expected = SECOND * expected;
            assert!(pause <= expected && pause >= expected / 2, "{pause:?} of {expected:?}");
        }
        assert_eq!(retry.next(&failure(500, None)), None);
        assert_eq!(Retry::new(9, SECOND).next(&failure(404, None)), None);
    }

    #[test]
    fn a_registry_may_ask_for_some_patience() {
        assert_eq!(Retry::new(2, SECOND).next(&failure(429, Some(7))), Some(SECOND * 7));
        assert_eq!(Retry::new(2, SECOND).next(&failure(429, Some(31))), None);
        let ages = Retry::new(2, SECOND * 9999).next(&failure(503, None)).unwrap();
        assert!(ages <= MAX_PAUSE);
        for (header, seconds) in [("7", Some(7)), (" 0 ", Some(0)), ("-1", None), ("", None)] {
            assert_eq!(after(header), seconds.map(Duration::from_secs), "{header:?}");
        }
        assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert!(after(&"9".repeat(99)).unwrap() > MAX_PAUSE);
    }
}
