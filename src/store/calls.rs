//! How many calls each app has made this month and this day, in a file beside the database: it outlives
//! a database that is built anew. Pure, but for reading and replacing that file.
//!
//! A month is a calendar month in UTC. The vendor counts by calendar month and does not say in which
//! time zone (open.feishu.cn, "Custom app API call limit").

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::envelope::{self, Damage};
use super::record::Timestamp;
use crate::durable::Replacement;

/// The file, in the state directory.
const NAME: &str = "calls";
/// What the checksum covers beside the content.
const KEY: &[u8] = b"calls";
/// Apps that are remembered: those that called last.
const APPS_MOST: usize = 8;
/// 2024-01-01: a clock before it was never set.
const CLOCK_SET: Timestamp = Timestamp(1_704_067_200_000);
const DAY_MS: u64 = 86_400_000;
/// Other months that an app's count remembers: a clock may be wrong more than once.
const OTHERS_MOST: usize = 3;

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Month(u32);

impl Month {
    /// The month that holds this moment; `None` while the clock was never set.
    pub fn of(now: Timestamp) -> Option<Self> {
        if now < CLOCK_SET {
            return None;
        }
        // RFC 3339 begins with year and month.
        let text = now.to_string();
        let (year, month) = (
            text.get(0..4)?.parse::<u32>(),
            text.get(5..7)?.parse::<u32>(),
        );
        Some(Self(year.ok()? * 12 + month.ok()? - 1))
    }

    /// The first moment of the month after it.
    pub fn end(self) -> Timestamp {
        let text = format!("{}-01T00:00:00Z", Self(self.0 + 1));
        // Beyond the year 9999 there is no end.
        let end = humantime::parse_rfc3339(&text).ok();
        let since = end.and_then(|end| end.duration_since(UNIX_EPOCH).ok());
        Timestamp(since.map_or(u64::MAX, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }))
    }
}

impl fmt::Display for Month {
    /// As `2026-11`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

/// One app's calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Which month is counted; `None` while the clock was never set. What was counted until then belongs
    /// to the first month that is known.
    pub month: Option<Month>,
    /// Calls that count against the quota.
    pub used: u64,
    /// All calls of the month, also those for tokens and those that were refused.
    pub calls: u64,
    /// Days since 1970.
    pub day: u64,
    /// All calls of the day.
    pub today: u64,
    /// Calls that may be made at once, as the pace had it at `at`. Below zero: owed.
    pub level: f64,
    /// When `level` was so.
    pub at: Timestamp,
    /// The warning of this month was given.
    pub warned: bool,
    /// Months counted before this one, the last first: a clock that was wrong for a while comes back to
    /// them. The file has them apart.
    #[serde(skip)]
    pub(crate) others: [Option<Other>; OTHERS_MOST],
}

/// A month that is not counted now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Other {
    month: Month,
    used: u64,
    calls: u64,
    warned: bool,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            month: None,
            used: 0,
            calls: 0,
            day: 0,
            today: 0,
            level: f64::INFINITY,
            at: Timestamp(0),
            warned: false,
            others: [None; OTHERS_MOST],
        }
    }
}

impl Count {
    /// Begins a new day and a new month when `now` is in one. A clock that was never set begins none, one
    /// that was set back takes nothing away, and a month that comes again goes on where it stood.
    pub fn turn(&mut self, now: Timestamp) {
        let Some(month) = Month::of(now) else {
            return;
        };
        let day = now.0 / DAY_MS;
        if day > self.day {
            self.today = if self.month.is_none() { self.today } else { 0 };
        }
        self.day = day;
        let Some(counted) = self.month.filter(|counted| *counted != month) else {
            self.month = Some(month);
            return;
        };
        let known = self.recall(month);
        // Set back over the turn of the month: it will come again, and is not counted anew then.
        if known.is_none() && month.0 + 1 == counted.0 {
            return;
        }
        self.others.rotate_right(1);
        self.others[0] = Some(Other {
            month: counted,
            used: self.used,
            calls: self.calls,
            warned: self.warned,
        });
        self.month = Some(month);
        if let Some(known) = known {
            (self.used, self.calls, self.warned) = (known.used, known.calls, known.warned);
        } else if month > counted {
            *self = Self {
                month: self.month,
                day,
                today: self.today,
                at: now,
                others: self.others,
                ..Self::default()
            };
        }
        // Otherwise the month counted was that of a wrong clock, and what was counted is this one's.
    }

    /// Takes a month out of the others.
    fn recall(&mut self, month: Month) -> Option<Other> {
        let is_it = |other: &Option<Other>| other.is_some_and(|other| other.month == month);
        let at = self.others.iter().position(is_it)?;
        let known = self.others[at].take();
        self.others[at..].rotate_left(1);
        known
    }

    /// How long the counted month lasts from `now`; a whole one while the clock was never set.
    pub fn left_of_month(&self, now: Timestamp) -> Duration {
        let whole = Duration::from_hours(31 * 24);
        match self.month {
            Some(month) if now >= CLOCK_SET => month.end().since(now),
            _ => whole,
        }
    }

    /// The same after `more` further calls that all count.
    #[must_use]
    pub fn ahead(self, more: u64) -> Self {
        #[allow(clippy::cast_precision_loss)] // A block is small.
        let level = self.level - more as f64;
        Self {
            used: self.used.saturating_add(more),
            calls: self.calls.saturating_add(more),
            today: self.today.saturating_add(more),
            level,
            ..self
        }
    }
}

/// What the file holds of each app.
type Apps = BTreeMap<String, (u64, Count)>;
/// And after that, of other months; a file of a version that knew of one month ends before it, and that
/// version reads no further.
type Others = BTreeMap<String, [Option<Other>; OTHERS_MOST]>;

/// The file.
#[derive(Debug)]
pub struct CallsFile {
    path: PathBuf,
    /// Each app with a number that grows with every change.
    apps: Apps,
}

impl CallsFile {
    /// Reads the counts of `state_dir`. One that is not there counts nothing.
    ///
    /// # Errors
    /// When it cannot be read; `InvalidData` when it does not prove itself.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(NAME);
        let apps = match fs::read(&path) {
            Ok(bytes) => decode(&bytes)
                .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, apps })
    }

    /// Counts of nothing, to take the place of what cannot be read.
    pub fn empty(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(NAME),
            apps: BTreeMap::new(),
        }
    }

    /// One app's.
    pub fn get(&self, app: &str) -> Count {
        self.apps
            .get(app)
            .map(|(_, count)| *count)
            .unwrap_or_default()
    }

    /// Records one app's. On disk when this returns.
    ///
    /// # Errors
    /// When the disk refuses; what was recorded before is there then.
    pub fn put(&mut self, app: &str, count: Count) -> io::Result<()> {
        let latest = self.apps.values().map(|(turn, _)| *turn).max();
        let turn = latest.unwrap_or(0) + 1;
        self.apps.insert(app.to_owned(), (turn, count));
        while self.apps.len() > APPS_MOST {
            let eldest = self.apps.iter().min_by_key(|(_, (turn, _))| *turn);
            let Some(eldest) = eldest.map(|(app, _)| app.clone()) else {
                break;
            };
            self.apps.remove(&eldest);
        }
        let others = self
            .apps
            .iter()
            .map(|(app, (_, count))| (app.clone(), count.others));
        let others: Others = others.collect();
        let sealed = envelope::seal(KEY, turn, &(&self.apps, others)).map_err(io::Error::other)?;
        Replacement::begin(&self.path)?.commit(&sealed)
    }
}

fn decode(bytes: &[u8]) -> Result<Apps, Damage> {
    let (mut apps, mut others) = match envelope::unseal::<(Apps, Others)>(KEY, bytes) {
        Err(Damage::Content) => (envelope::unseal::<Apps>(KEY, bytes)?, Others::new()),
        read => read?,
    };
    for (app, (_, count)) in &mut apps {
        count.others = others.remove(app).unwrap_or_default();
    }
    Ok(apps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(text: &str) -> Timestamp {
        let at = humantime::parse_rfc3339(text).unwrap();
        let since = at.duration_since(UNIX_EPOCH).unwrap();
        Timestamp(u64::try_from(since.as_millis()).unwrap())
    }

    fn counted(month: &str, used: u64) -> Count {
        let mut count = Count::default();
        count.turn(at(&format!("{month}-15T12:00:00Z")));
        count.ahead(used)
    }

    #[rstest]
    #[case("2026-11-26T01:30:00Z", "2026-11", "2026-12-01T00:00:00Z")]
    #[case("2026-12-31T23:59:59Z", "2026-12", "2027-01-01T00:00:00Z")]
    #[case("2028-02-29T12:00:00Z", "2028-02", "2028-03-01T00:00:00Z")]
    fn a_month_is_a_calendar_month(#[case] now: &str, #[case] month: &str, #[case] end: &str) {
        let found = Month::of(at(now)).unwrap();
        assert_eq!(found.to_string(), month);
        assert_eq!(found.end(), at(end));
    }

    /// From a count of 7 in November: month and calls after the clock says this.
    #[rstest]
    #[case::same("2026-11-30T23:59:59Z", "2026-11", 7)]
    #[case::next("2026-12-01T00:00:00Z", "2026-12", 0)]
    #[case::never_set("1970-01-01T00:10:00Z", "2026-11", 7)]
    #[case::before_2024("2023-12-31T23:59:59Z", "2026-11", 7)]
    #[case::set_back_a_little("2026-10-31T23:59:00Z", "2026-11", 7)]
    #[case::counted_in_a_wrong_year("2025-03-01T00:00:00Z", "2025-03", 7)]
    fn only_a_later_month_begins_at_nothing(
        #[case] now: &str,
        #[case] month: &str,
        #[case] used: u64,
    ) {
        let mut count = counted("2026-11", 7);
        count.turn(at(now));
        assert_eq!(count.month.unwrap().to_string(), month);
        assert_eq!((count.used, count.calls), (used, used));
    }

    #[test]
    fn a_month_is_counted_once_whatever_the_clock_said_before() {
        let mut count = Count::default();
        count.turn(at("1970-01-01T00:00:10Z"));
        count = count.ahead(5);
        assert_eq!(count.month, None);
        count.turn(at("2026-11-26T10:00:00Z"));
        assert_eq!((count.used, count.today), (5, 5));
        // Set back over the turn, and over it again.
        count.turn(at("2026-12-01T00:00:05Z"));
        count = count.ahead(3);
        count.turn(at("2026-11-30T23:59:58Z"));
        count.turn(at("2026-12-01T00:00:00Z"));
        assert_eq!(count.used, 3);
    }

    /// Each step: what the clock says, the calls of it so far, and those that are made then.
    #[rstest]
    #[case::one_month_ahead(&[("2026-11", 0, 900), ("2026-12", 0, 3), ("2026-11", 900, 5), ("2026-12", 3, 1)])]
    #[case::several_ahead(&[("2026-11", 0, 900), ("2027-03", 0, 3), ("2026-11", 900, 5), ("2026-12", 0, 1)])]
    #[case::ahead_twice(&[("2026-11", 0, 900), ("2027-03", 0, 3), ("2027-05", 0, 2), ("2026-11", 900, 0)])]
    #[case::ahead_again(&[("2026-11", 0, 900), ("2027-03", 0, 3), ("2026-11", 900, 5), ("2027-03", 3, 0), ("2026-11", 905, 0)])]
    #[case::one_month_back(&[("2026-11", 0, 900), ("2026-10", 900, 3), ("2026-11", 903, 0)])]
    #[case::several_back(&[("2026-11", 0, 900), ("2025-01", 900, 3), ("2026-11", 900, 0)])]
    #[case::back_to_one_counted(&[("2026-10", 0, 50), ("2026-11", 0, 900), ("2026-10", 50, 1), ("2026-11", 900, 0)])]
    fn a_month_that_comes_again_goes_on_where_it_stood(#[case] steps: &[(&str, u64, u64)]) {
        let dir = tempfile::tempdir().unwrap();
        let mut count = Count::default();
        for (month, so_far, more) in steps {
            count.turn(at(&format!("{month}-15T12:00:00Z")));
            assert_eq!((count.used, count.calls), (*so_far, *so_far), "{month}");
            count = count.ahead(*more);
            // As a start in between has it.
            let mut file = CallsFile::read(dir.path()).unwrap();
            file.put("cli_a", count).unwrap();
            count = CallsFile::read(dir.path()).unwrap().get("cli_a");
        }
    }

    #[test]
    fn of_many_months_the_last_ones_are_remembered() {
        let mut count = Count::default();
        for month in 1..=9 {
            count.turn(at(&format!("2026-0{month}-15T12:00:00Z")));
            count = count.ahead(month);
        }
        let known =
            |other: &Option<Other>| other.map(|other| (other.month.to_string(), other.used));
        let known: Vec<_> = count.others.iter().filter_map(known).collect();
        let expected = [("2026-08", 8), ("2026-07", 7), ("2026-06", 6)];
        assert_eq!(
            known,
            expected.map(|(month, used)| (month.to_owned(), used))
        );
    }

    #[test]
    fn a_file_of_one_month_an_app_is_read_and_reads_what_is_written_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let apps: Apps = (0..3)
            .map(|n| (format!("cli_{n}"), (n, counted("2026-11", n))))
            .collect();
        fs::write(&path, envelope::seal(KEY, 3, &apps).unwrap()).unwrap();
        let mut file = CallsFile::read(dir.path()).unwrap();
        assert_eq!(file.apps, apps);
        let mut count = file.get("cli_2");
        count.turn(at("2026-12-15T12:00:00Z"));
        file.put("cli_2", count).unwrap();
        let former: Apps = envelope::unseal(KEY, &fs::read(&path).unwrap()).unwrap();
        assert_eq!(former["cli_1"].1.used, 1);
        assert_eq!(former["cli_2"].1.month, count.month);
    }

    #[test]
    fn a_day_begins_at_nothing_and_the_month_goes_on() {
        let mut count = counted("2026-11", 7);
        count.turn(at("2026-11-16T00:00:00Z"));
        assert_eq!((count.today, count.used), (0, 7));
    }

    #[test]
    fn the_file_keeps_the_apps_that_called_last_and_proves_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = CallsFile::read(dir.path()).unwrap();
        for n in 0..12 {
            file.put(&format!("cli_{n}"), counted("2026-11", n))
                .unwrap();
        }
        file.put("cli_5", counted("2026-11", 55)).unwrap();
        let read = CallsFile::read(dir.path()).unwrap();
        assert_eq!(read.apps.len(), APPS_MOST);
        assert_eq!(read.get("cli_5").used, 55);
        assert_eq!(read.get("cli_0"), Count::default());
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = CallsFile::read(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
