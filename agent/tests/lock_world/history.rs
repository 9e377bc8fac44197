//! What clients of a counting lock saw, and whether some order explains it: whether there is one
//! moment for each call, between its begin and its end, such that nobody is let in beyond the max.
//!
//! A client asks for the lock, waits until it has it, and gives it back; a call that is never
//! answered may have had its effect at any later time, until the lock was given back for good. So
//! a turn surely lasts from the answer to the first try to give back. Turns that are sure must fit
//! into the max at each moment; every order that is not excluded by that exists.

/// Nanoseconds of the one clock of the host.
pub(crate) type Time = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Begins to wait for the lock.
    Asks,
    /// Has it.
    Has,
    /// Begins to give it back. Said again when the answer was lost.
    Gives,
    /// Whether there was anything to give back; whatever was on its way comes to nothing now.
    Gave { held: bool },
}

/// From the first word of a turn until it was given back for good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Turn {
    client: usize,
    asked: Option<Time>,
    has: Option<Time>,
    gives: Vec<Time>,
    gave: Option<(Time, bool)>,
}

fn turns(client: usize, said: &[(Time, Said)]) -> Vec<Turn> {
    let begin = || Turn {
        client,
        ..Turn::default()
    };
    let mut turns = Vec::new();
    let mut turn = begin();
    for (time, said) in said {
        match said {
            Said::Asks => turn.asked = turn.asked.or(Some(*time)),
            Said::Has => turn.has = Some(*time),
            Said::Gives => turn.gives.push(*time),
            Said::Gave { held } => {
                turn.gave = Some((*time, *held));
                turns.push(std::mem::replace(&mut turn, begin()));
            }
        }
    }
    turns.push(turn);
    turns
}

impl Turn {
    /// When it surely had the lock.
    fn sure(&self) -> Option<(Time, Time)> {
        let end = self.gives.iter().find(|gives| Some(**gives) > self.has);
        Some((self.has?, end.copied().unwrap_or(Time::MAX)))
    }
}

/// By client, what each said in its own order. An error says what no order explains.
pub(crate) fn check(said: &[Vec<(Time, Said)>], max: usize) -> Result<(), String> {
    let all = said.iter().enumerate();
    let turns: Vec<Turn> = all.flat_map(|(client, said)| turns(client, said)).collect();
    let sure: Vec<(Time, Time)> = turns.iter().filter_map(Turn::sure).collect();
    let inside = |at: Time| {
        let here = sure.iter().filter(|(from, to)| (*from..*to).contains(&at));
        here.count()
    };
    for (from, _) in &sure {
        let here = inside(*from);
        if here > max {
            return Err(format!("{here} had the lock at {from}, of {max}"));
        }
    }
    for turn in &turns {
        let Some((gave, held)) = turn.gave else {
            continue;
        };
        let client = turn.client;
        match (turn.asked, turn.has, held) {
            (None, _, true) => {
                return Err(format!(
                    "client {client} gave back at {gave} what it never asked for"
                ));
            }
            (Some(_), Some(_), false) if turn.gives.len() == 1 => {
                return Err(format!("client {client} had lost the lock at {gave}"));
            }
            (Some(asked), None, true) => {
                // It had it for a moment at least: was there one with a free place?
                let ends = sure.iter().map(|(_, to)| *to);
                let mut moments = ends
                    .filter(|end| (asked..gave).contains(end))
                    .chain([asked]);
                if !moments.any(|at| inside(at) < max) {
                    return Err(format!(
                        "client {client} had the lock before {gave}, beyond {max}"
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// How often a client surely had the lock after that time.
pub(crate) fn turns_after(client: usize, said: &[(Time, Said)], time: Time) -> usize {
    let turns = turns(client, said).into_iter();
    turns.filter(|turn| turn.has > Some(time)).count()
}
