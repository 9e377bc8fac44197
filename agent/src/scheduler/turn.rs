//! Whether a unit that ends is to be somewhere now, and for which run. Pure.

use super::keys::{Done, State, Unit};
use super::requirement::Course;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This run is to be done, or is being done.
    Now(u64),
    /// There is nothing to do before this time.
    At(u64),
    /// There is nothing to do any more.
    Over,
}

/// Times are milliseconds since 1970; a run of a calendar is called after the time that it is
/// for. `held` is the run for which the unit is on a machine.
///
/// A run that was missed is made up for, but only the first of several; and a time that comes
/// while the former run is still at work is left out.
pub fn turn(
    course: &Course,
    unit: &Unit,
    done: Option<&Done>,
    held: Option<u64>,
    now: u64,
) -> Turn {
    let asked = unit.run.max(1);
    let last = done.map_or(0, |done| done.run);
    let calendar = match course {
        Course::Calendar(calendar) if unit.state == State::Launched => calendar,
        Course::Once if unit.state == State::Launched && last >= asked => return Turn::Over,
        Course::Lasting => return Turn::Now(0),
        Course::Once | Course::Calendar(_) => return Turn::Now(asked),
    };
    if let Some(held) = held.filter(|held| *held > last.max(asked)) {
        return Turn::Now(held);
    }
    // The machine's clock may run ahead of the leader's.
    let ended = done.map_or(0, |done| done.ended.at.min(now));
    let after = asked.max(last).max(ended);
    let next = calendar.next_after((after / 1000) as i64);
    match next.and_then(|seconds| u64::try_from(seconds).ok()) {
        None => Turn::Over,
        Some(seconds) if seconds * 1000 <= now => Turn::Now(seconds * 1000),
        Some(seconds) => Turn::At(seconds * 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::calendar::Calendar;
    use crate::scheduler::keys::Ended;
    use crate::scheduler::text::Text;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    fn calendar(text: &str) -> Course {
        Course::Calendar(Box::new(Calendar::parse(text).expect(text)))
    }

    fn unit(state: State, run: u64) -> Unit {
        let digest = Text::parse("[Service]\n").expect("text").digest();
        Unit { digest, state, run }
    }

    fn done(run: u64, at: u64) -> Done {
        Done {
            run,
            digest: unit(State::Launched, 0).digest,
            machine: "m1".parse().expect("id"),
            ended: Ended {
                result: "success".to_string(),
                code: 0,
                at,
                log: Vec::new(),
            },
        }
    }

    #[test]
    fn a_batch_unit_runs_once_for_each_start() {
        let once = |state, run, last: Option<u64>| {
            let last = last.map(|run| done(run, 0));
            turn(&Course::Once, &unit(state, run), last.as_ref(), None, HOUR)
        };
        assert_eq!(once(State::Launched, 5, None), Turn::Now(5));
        assert_eq!(once(State::Launched, 5, Some(4)), Turn::Now(5));
        assert_eq!(once(State::Launched, 5, Some(5)), Turn::Over);
        assert_eq!(once(State::Launched, 0, Some(1)), Turn::Over);
        assert_eq!(once(State::Loaded, 5, Some(5)), Turn::Now(5));
        let lasting = turn(
            &Course::Lasting,
            &unit(State::Launched, 5),
            None,
            None,
            HOUR,
        );
        assert_eq!(lasting, Turn::Now(0));
    }

    #[test]
    fn a_calendar_unit_waits_runs_and_waits_again() {
        let hourly = calendar("hourly");
        let started = HOUR + MINUTE;
        let at = |done: Option<Done>, held, now| {
            turn(
                &hourly,
                &unit(State::Launched, started),
                done.as_ref(),
                held,
                now,
            )
        };
        assert_eq!(at(None, None, started), Turn::At(2 * HOUR));
        assert_eq!(at(None, None, 2 * HOUR), Turn::Now(2 * HOUR));
        // It is at work, longer than to the next time.
        assert_eq!(at(None, Some(2 * HOUR), 3 * HOUR + 5), Turn::Now(2 * HOUR));
        let long = || Some(done(2 * HOUR, 3 * HOUR + MINUTE));
        assert_eq!(
            at(long(), Some(2 * HOUR), 3 * HOUR + MINUTE),
            Turn::At(4 * HOUR)
        );
        // Nobody led for a while: the first that was missed, not all.
        let early = || Some(done(2 * HOUR, 2 * HOUR + MINUTE));
        assert_eq!(at(early(), None, 9 * HOUR + 5), Turn::Now(3 * HOUR));
        let late = Some(done(3 * HOUR, 9 * HOUR + 6));
        assert_eq!(at(late, None, 9 * HOUR + 7), Turn::At(10 * HOUR));
        // A machine whose clock is a day ahead does not delay the next run by a day.
        let ahead = Some(done(2 * HOUR, 26 * HOUR));
        assert_eq!(at(ahead, None, 2 * HOUR + MINUTE), Turn::At(3 * HOUR));
        // Started anew: what an earlier start still holds does not count.
        let again = unit(State::Launched, 5 * HOUR);
        let found = turn(&hourly, &again, None, Some(2 * HOUR), 5 * HOUR + 1);
        assert_eq!(found, Turn::At(6 * HOUR));
        let past = calendar("1999-01-01");
        assert_eq!(
            turn(&past, &again, None, None, 6 * HOUR),
            Turn::At(915_148_800_000)
        );
        let over = turn(
            &past,
            &unit(State::Launched, 1_000_000_000_000),
            None,
            None,
            1,
        );
        assert_eq!(over, Turn::Over);
    }
}
