//! What people are told of the month's calls: how many were made, how fast they may be made, and why.

use std::io;
use std::num::NonZeroU64;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::allowance::{self, Pace};
use crate::store::{CallsFile, Count, Month, Timestamp};

/// Calls made, and how fast they may be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// Calls of this day (UTC).
    pub today: u64,
    /// Calls of this month (UTC), also those that do not count against the quota.
    pub this_month: u64,
    /// Which month, as `2026-11`; unknown while the clock was never set.
    pub month: Option<String>,
    /// Calls of this month that count against the quota.
    pub used: u64,
    /// The configured budget, `monthly_calls`.
    pub budget: Option<u64>,
    /// When the month ends; unknown while the clock was never set.
    pub until: Option<Timestamp>,
    /// How fast calls may be made.
    pub pace: Pace,
    /// The pace and its reason in words; empty without a budget.
    pub why: String,
}

impl Calls {
    /// What was recorded in `state_dir` for an app with this budget, when no daemon runs.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn recorded(state_dir: &Path, app: &str, limit: Option<NonZeroU64>) -> io::Result<Self> {
        let count = CallsFile::read(state_dir)?.get(app);
        let limit = limit.map(NonZeroU64::get);
        Ok(Self::of(count, limit, 0, Timestamp::now()))
    }

    /// What a count means within a budget.
    pub(super) fn of(mut count: Count, limit: Option<u64>, granted: u64, now: Timestamp) -> Self {
        count.turn(now);
        let pace = limit.map_or(Pace::Unlimited, |limit| {
            allowance::refill(&mut count, limit, now);
            allowance::pace(&count, limit, granted, now)
        });
        let until = count.month.map(Month::end);
        let left = limit.map_or(0, |limit| allowance::left(&count, limit));
        Self {
            today: count.today,
            this_month: count.calls,
            month: count.month.map(|month| month.to_string()),
            used: count.used,
            budget: limit,
            until,
            why: why(&pace, left, count.used, until),
            pace,
        }
    }

    /// The part of the budget that is used, in hundredths.
    pub fn hundredths(&self) -> Option<u64> {
        let budget = self.budget.filter(|budget| *budget > 0)?;
        Some(u64::try_from(u128::from(self.used) * 100 / u128::from(budget)).unwrap_or(u64::MAX))
    }

    /// Whether most of the budget is used.
    pub fn is_scarce(&self) -> bool {
        self.hundredths()
            .is_some_and(|used| used >= allowance::WARN_AT)
    }

    /// The counts, in one line.
    pub fn line(&self) -> String {
        let Self {
            today,
            this_month,
            used,
            ..
        } = self;
        match (self.budget, self.hundredths()) {
            (Some(budget), Some(part)) => format!(
                "calls: {today} today, {this_month} this month; {used} of {budget} of the month's quota used ({part} %)"
            ),
            _ => format!("calls: {today} today, {this_month} this month"),
        }
    }

    pub(super) fn warning(&self) -> String {
        let part = self.hundredths().unwrap_or(0);
        format!(
            "{} of this month's {} calls are used ({part} %); {}",
            self.used,
            self.budget.unwrap_or(0),
            self.why
        )
    }
}

/// The pace and its reason.
fn why(pace: &Pace, left: u64, used: u64, until: Option<Timestamp>) -> String {
    let until = until.map_or("the month ends".to_owned(), |until| until.to_string());
    match pace {
        Pace::Unlimited => String::new(),
        Pace::Free { a_day } => {
            format!("writes are not slowed: {a_day} calls a day would last until {until}")
        }
        Pace::Spread { every_seconds } => format!(
            "writes are spread, one every {every_seconds} s, the newest pictures first: {left} calls are left \
             until {until}, and at the recent pace they would not last; raise `monthly_calls` if the app's \
             quota is larger, or set a longer `min_interval`"
        ),
        Pace::UsedUp { .. } => format!(
            "the {used} calls of this month are used up (`monthly_calls`): nothing is sent until {until}; raise \
             it if the app's quota is larger"
        ),
    }
}
