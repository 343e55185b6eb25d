//! How fast something may go on: a rate with a little to spare, kept as the moment at which all that was done will have been
//! paid for. Pure; for what waits when it comes too fast, not for what is refused.

use std::time::Duration;

use crate::time::Instant;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    paid_until: Instant,
}

impl Pace {
    /// Counts one more of at most `per_second`, of which `burst`'s share may come at once: the moment from which the next may.
    #[must_use]
    pub(crate) fn on_one(&mut self, now: Instant, per_second: u32, burst: Duration) -> Instant {
        let each = Duration::from_secs(1) / per_second.max(1);
        self.paid_until = self.paid_until.max(now) + each;
        now + self.paid_until.since(now).saturating_sub(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as many as there may be in `span`, each as soon as it may come.
    fn taken(per_second: u32, burst: Duration, span: Duration) -> u32 {
        let (mut pace, start) = (Pace::default(), Instant::from_micros(1_000_000));
        let (mut now, mut count) = (start, 0);
        while now.since(start) < span {
            count += 1;
            now = pace.on_one(now, per_second, burst);
        }
        count
    }

    #[test]
    fn a_rate_is_kept_whatever_its_size() {
        let burst = Duration::from_millis(20);
        let check = |per_second, ms, expected: std::ops::RangeInclusive<u32>| {
            let count = taken(per_second, burst, Duration::from_millis(ms));
            assert!(expected.contains(&count), "{count} of {per_second} a second in {ms} ms");
        };
        check(1, 5_000, 5..=6);
        check(10, 5_000, 50..=51);
        check(1_000, 1_000, 1_000..=1_021);
        check(1_000_000, 100, 100_000..=120_001);
        // A burst, and then nothing until some of it is paid for.
        check(1_000, 1, 20..=22);
    }

    #[test]
    fn what_was_not_used_does_not_add_up() {
        let (mut pace, burst) = (Pace::default(), Duration::from_millis(20));
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        assert_eq!(pace.on_one(at(10), 100, burst), at(10));
        // An hour later there is a burst, and no more.
        let mut now = at(3_600_000);
        let burst_count =
            std::iter::repeat_with(|| pace.on_one(now, 100, burst)).take_while(|next| *next == now).count();
        assert_eq!(burst_count, 2);
        now = at(3_600_030);
        assert_eq!(pace.on_one(now, 100, burst), at(3_600_030));
    }
}
