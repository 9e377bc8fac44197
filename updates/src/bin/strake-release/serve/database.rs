//! What machines reported, in SQLite. Nothing in here is trusted, and nothing that is published
//! depends on it but holds.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use strake_updates::channel::Channel;
use strake_updates::report::{Event, Kind};
use strake_updates::time::{Span, Timestamp};
use strake_updates::version::Version;

use super::judge::Outcome;

/// Machines kept at most; reports of more are refused until old ones are forgotten.
const MACHINES: u64 = 100_000;
/// What is older is forgotten.
pub(super) const KEPT: Span = Span(90 * 86_400);
pub(super) const DAY: u64 = 86_400;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS machines (
        machine TEXT PRIMARY KEY, channel TEXT NOT NULL, version TEXT NOT NULL,
        trouble TEXT, seen INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS attempts (
        channel TEXT NOT NULL, release TEXT NOT NULL, machine TEXT NOT NULL,
        kind TEXT NOT NULL, place INTEGER, cause TEXT,
        address TEXT NOT NULL, changed INTEGER NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (channel, release, machine)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS newest ON attempts (channel, release, number);
    CREATE INDEX IF NOT EXISTS last ON attempts (number);
    CREATE TABLE IF NOT EXISTS days (
        day INTEGER NOT NULL, channel TEXT NOT NULL, machine TEXT NOT NULL, version TEXT NOT NULL,
        PRIMARY KEY (day, channel, machine)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS holds (target TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS lifted (
        target TEXT PRIMARY KEY, number INTEGER NOT NULL
    ) WITHOUT ROWID;
";

pub(super) struct Database {
    connection: Connection,
}

/// One machine and one release.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) machine: String,
    pub(super) kind: Kind,
    pub(super) place: Option<u32>,
    pub(super) cause: Option<String>,
    pub(super) changed: Timestamp,
}

/// Machines of a channel on one day, by version.
pub(super) type Day = (u64, Vec<(String, u64)>);

/// Whether there is room for what a machine said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    TooManyMachines,
}

impl Database {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }

    pub(super) fn is_known(&self, event: &Event) -> rusqlite::Result<bool> {
        let known = "SELECT 1 FROM machines WHERE machine = ?1";
        let machine = event.machine.to_string();
        let found = self.connection.query_row(known, [machine], |_| Ok(()));
        Ok(found.optional()?.is_some())
    }

    pub(super) fn keep(
        &mut self,
        event: &Event,
        address: &str,
        now: Timestamp,
    ) -> rusqlite::Result<Kept> {
        if !self.is_known(event)? && self.count_machines()? >= MACHINES {
            return Ok(Kept::TooManyMachines);
        }
        let (machine, channel) = (event.machine.to_string(), event.channel.as_str());
        let runs = match event.kind {
            Kind::Blessed => event.release,
            _ => event.from,
        };
        let (runs, now) = (runs.to_string(), now.unix());
        let cause = event.cause.as_ref().map(|cause| cause.as_str());
        // What a machine cannot check for is no matter of any release.
        let is_idle = event.kind == Kind::Checked && event.release == event.from;
        let trouble = cause.filter(|_| is_idle);
        let write = self.connection.transaction()?;
        write.execute(
            "INSERT INTO machines VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (machine) DO UPDATE SET
             channel = ?2, version = ?3, trouble = ?4, seen = ?5",
            params![machine, channel, runs, trouble, now],
        )?;
        write.execute(
            "INSERT INTO days VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET version = ?4",
            params![now / DAY, channel, machine, runs],
        )?;
        if !is_idle {
            // A check says nothing new of a machine that is further already.
            write.execute(
                "INSERT INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
                     (SELECT COALESCE(MAX(number), 0) + 1 FROM attempts))
                 ON CONFLICT (channel, release, machine) DO UPDATE SET
                     kind = excluded.kind, place = COALESCE(excluded.place, place),
                     cause = excluded.cause, address = excluded.address,
                     changed = excluded.changed, number = excluded.number
                 WHERE excluded.kind <> 'checked' OR kind = 'checked'",
                params![
                    channel,
                    event.release.to_string(),
                    machine,
                    event.kind.as_str(),
                    event.place.map(|place| place.0),
                    cause,
                    address,
                    now
                ],
            )?;
        }
        write.commit()?;
        Ok(Kept::Yes)
    }

    /// What became of a release, newest first, leaving out what was before its hold was lifted.
    pub(super) fn outcomes(
        &self,
        channel: &Channel,
        release: Version,
        target: &str,
    ) -> rusqlite::Result<Vec<Outcome>> {
        let mut query = self.connection.prepare(
            "SELECT address, kind FROM attempts WHERE channel = ?1 AND release = ?2
             AND kind IN ('blessed', 'fell_back')
             AND number > COALESCE((SELECT number FROM lifted WHERE target = ?3), 0)
             ORDER BY number DESC LIMIT 10000",
        )?;
        let rows = query.query_map(
            params![channel.as_str(), release.to_string(), target],
            |row| {
                Ok(Outcome {
                    address: row.get(0)?,
                    fell_back: row.get::<_, String>(1)? == Kind::FellBack.as_str(),
                })
            },
        )?;
        rows.collect()
    }

    pub(super) fn attempts(
        &self,
        channel: &Channel,
        release: Version,
    ) -> rusqlite::Result<Vec<Attempt>> {
        let mut query = self.connection.prepare(
            "SELECT machine, kind, place, cause, changed FROM attempts
             WHERE channel = ?1 AND release = ?2 ORDER BY number DESC",
        )?;
        let rows = query.query_map([channel.as_str(), &release.to_string()], |row| {
            let kind: String = row.get(1)?;
            let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
            Ok(Attempt {
                machine: row.get(0)?,
                kind: known.unwrap_or(Kind::Checked),
                place: row.get(2)?,
                cause: row.get(3)?,
                changed: Timestamp::from_unix(row.get(4)?),
            })
        })?;
        rows.collect()
    }

    /// Machines of a channel per day, oldest day first, versions by number of machines.
    pub(super) fn days(&self, channel: &Channel, since: u64) -> rusqlite::Result<Vec<Day>> {
        let mut query = self.connection.prepare(
            "SELECT day, version, COUNT(*) FROM days WHERE channel = ?1 AND day >= ?2
             GROUP BY day, version ORDER BY day, COUNT(*) DESC, version",
        )?;
        let mut rows = query.query(params![channel.as_str(), since])?;
        let mut days: Vec<Day> = Vec::new();
        while let Some(row) = rows.next()? {
            let day = row.get(0)?;
            if days.last().is_none_or(|(last, _)| *last != day) {
                days.push((day, Vec::new()));
            }
            if let Some((_, versions)) = days.last_mut() {
                versions.push((row.get(1)?, row.get(2)?));
            }
        }
        Ok(days)
    }

    /// Why machines of a channel cannot check, by number of machines.
    pub(super) fn troubles(&self, channel: &Channel) -> rusqlite::Result<Vec<(String, u64)>> {
        let mut query = self.connection.prepare(
            "SELECT trouble, COUNT(*) FROM machines WHERE channel = ?1 AND trouble IS NOT NULL
             GROUP BY trouble ORDER BY COUNT(*) DESC LIMIT 20",
        )?;
        let rows = query.query_map([channel.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Compares the holds that are published with those that were: what failed before a hold was
    /// lifted does not bring it back.
    pub(super) fn note_holds(&mut self, published: &[&str]) -> rusqlite::Result<()> {
        let write = self.connection.transaction()?;
        let before: Vec<String> = write
            .prepare("SELECT target FROM holds")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for target in before.iter().filter(|t| !published.contains(&t.as_str())) {
            write.execute(
                "INSERT OR REPLACE INTO lifted SELECT ?1, COALESCE(MAX(number), 0) FROM attempts",
                [target],
            )?;
            write.execute("DELETE FROM holds WHERE target = ?1", [target])?;
        }
        for target in published {
            write.execute("INSERT OR IGNORE INTO holds VALUES (?1)", [target])?;
        }
        write.commit()
    }

    pub(super) fn forget(&self, now: Timestamp) -> rusqlite::Result<()> {
        let oldest = now.unix().saturating_sub(KEPT.0);
        for (delete, before) in [
            ("DELETE FROM machines WHERE seen < ?1", oldest),
            ("DELETE FROM attempts WHERE changed < ?1", oldest),
            ("DELETE FROM days WHERE day < ?1", oldest / DAY),
        ] {
            self.connection.execute(delete, [before])?;
        }
        Ok(())
    }

    fn count_machines(&self) -> rusqlite::Result<u64> {
        let count = "SELECT COUNT(*) FROM machines";
        self.connection.query_row(count, [], |row| row.get(0))
    }
}
