//! The month's calls: counted durably, given out one permit a write, and shared fairly between mappings
//! once they are spread. The arithmetic is [`allowance`]'s.
//!
//! Counted in blocks: a block is recorded as made before its first call, so that what is recorded is
//! never less than what was made, and only every so many calls wait for the disk. A process that is
//! killed has counted less than a block too many: a thousandth of the budget, and no more than [`BLOCK_MOST`]
//! calls; without a budget, where nothing is lost by it, [`BLOCK_FREE`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::allowance::{self, Pace};
use super::calls::Calls;
use super::gate::Closed;
use crate::blocking::off_runtime;
use crate::config::MappingName;
use crate::feishu::{Kind, Meter};
use crate::store::{CallsFile, Count, Timestamp};

/// Calls recorded at a time: within a budget at most, and without one.
const BLOCK_MOST: u64 = 16;
const BLOCK_FREE: u64 = 64;
/// The clock is looked at again this often, since it may have been set, and the machine may have slept.
const LOOK: Duration = Duration::from_mins(1);
/// A single pass does not wait for calls that are spread more thinly than this.
const PASS_WAIT: Duration = Duration::from_secs(5);

/// The calls of one app.
pub struct Budget {
    state: Mutex<State>,
    file: Arc<tokio::sync::Mutex<CallsFile>>,
    /// A permit came back, or there is another limit.
    changed: Notify,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

struct State {
    app: String,
    limit: Option<u64>,
    count: Count,
    /// Calls that are recorded and not made yet.
    recorded: u64,
    /// Permits given out.
    granted: u64,
    /// Lanes that wait for a permit, with the mappings they have jobs of.
    waiting: BTreeMap<u64, BTreeSet<MappingName>>,
    /// When each mapping was served last, and how many were in all.
    served: HashMap<MappingName, u64>,
    turns: u64,
    told: Told,
    /// Since when no call of the month is left.
    used_up: Option<Timestamp>,
}

/// What the log was told last, so that it is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Free,
    Spread,
    UsedUp,
}

/// Leave to make the calls of one write. Given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Budget>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.granted = state.granted.saturating_sub(1);
        drop(state);
        self.0.changed.notify_waiters();
    }
}

/// A lane's place among those that wait; left when it is dropped.
struct Place<'a>(&'a Budget, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting.remove(&self.1);
        self.0.changed.notify_waiters();
    }
}

impl State {
    /// Brings count and bucket to `now`.
    fn turn(&mut self, now: Timestamp) {
        let before = (self.count.month, self.count.day);
        self.count.turn(now);
        if before != (self.count.month, self.count.day) {
            // What is recorded is of another day.
            self.recorded = 0;
        }
        if before.0 != self.count.month {
            self.relax();
        }
        if let Some(limit) = self.limit {
            allowance::refill(&mut self.count, limit, now);
            if self.told == Told::Spread && allowance::is_relaxed(&self.count, limit, now) {
                self.relax();
            }
        }
        self.used_up = self.is_used_up().then(|| self.used_up.unwrap_or(now));
    }

    /// What slowed the writes is over.
    fn relax(&mut self) {
        if std::mem::replace(&mut self.told, Told::Free) != Told::Free {
            info!("writes are no longer slowed by the month's calls");
        }
    }

    /// Tells the log once why writes wait.
    fn tell(&mut self, now: Timestamp) {
        let told = if self.is_used_up() {
            Told::UsedUp
        } else {
            Told::Spread
        };
        if std::mem::replace(&mut self.told, told) != told {
            warn!("{}", self.calls(now).why);
        }
    }

    fn calls(&self, now: Timestamp) -> Calls {
        Calls::of(self.count, self.limit, self.granted, now)
    }

    fn is_used_up(&self) -> bool {
        self.limit
            .is_some_and(|limit| allowance::left(&self.count, limit) == 0)
    }

    /// How long until a write may begin.
    fn wait(&self, now: Timestamp) -> Duration {
        self.limit.map_or(Duration::ZERO, |limit| {
            allowance::wait(&self.count, limit, self.granted, now)
        })
    }

    fn block(&self) -> u64 {
        self.limit
            .map_or(BLOCK_FREE, |limit| (limit / 1000).clamp(1, BLOCK_MOST))
    }

    /// The mapping that was served longest ago, of all that wait.
    fn next(&self) -> Option<&MappingName> {
        let waiting = self.waiting.values().flatten();
        waiting.min_by_key(|mapping| self.served.get(*mapping).copied().unwrap_or(0))
    }
}

impl Budget {
    /// The budget whose count is in `state_dir`. Counts for nobody until it is configured.
    ///
    /// # Errors
    /// When the count is there and cannot be read; damage is no error.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let file = match CallsFile::read(state_dir) {
            Err(damage) if damage.kind() == io::ErrorKind::InvalidData => {
                error!(
                    "the count of this month's calls in {} is damaged ({damage}); it begins at 0 again, \
                     so more than `monthly_calls` may be made in this month",
                    state_dir.display()
                );
                CallsFile::empty(state_dir)
            }
            file => file?,
        };
        Ok(Self::new(file, Timestamp::now))
    }

    fn new(file: CallsFile, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let state = State {
            app: String::new(),
            limit: None,
            count: Count::default(),
            recorded: 0,
            granted: 0,
            waiting: BTreeMap::new(),
            served: HashMap::new(),
            turns: 0,
            told: Told::Free,
            used_up: None,
        };
        Self {
            state: Mutex::new(state),
            file: Arc::new(tokio::sync::Mutex::new(file)),
            changed: Notify::new(),
            clock: Box::new(clock),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts for this app from now on, within `limit` calls a month.
    pub async fn configure(&self, app: &str, limit: Option<NonZeroU64>) {
        self.settle().await;
        let count = self.file.lock().await.get(app);
        let mut state = self.lock();
        if state.app != app {
            (state.app, state.count, state.recorded) = (app.to_owned(), count, 0);
        }
        state.limit = limit.map(NonZeroU64::get);
        state.served.clear();
        state.told = Told::Free;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Records exactly what was made. A failure is told; the block stays counted.
    pub async fn settle(&self) {
        if !self.lock().app.is_empty()
            && let Err(error) = self.record(0).await
        {
            warn!("{error}");
        }
    }

    /// Records the count as if `ahead` further calls had been made.
    async fn record(&self, ahead: u64) -> Result<(), String> {
        let mut file = Arc::clone(&self.file).lock_owned().await;
        let (app, recorded) = {
            let state = self.lock();
            if ahead > 0 && state.recorded > 0 {
                // Another call waited for the same.
                return Ok(());
            }
            (state.app.clone(), state.count.ahead(ahead))
        };
        let done = off_runtime(move || {
            let done = file.put(&app, recorded);
            drop(file);
            done
        });
        done.await.map_err(|error| {
            format!("the call was not made: it cannot be counted in the state directory: {error}")
        })?;
        let mut state = self.lock();
        let count = state.count;
        // Calls that were made meanwhile are of those just recorded.
        let same = (count.month, count.day) == (recorded.month, recorded.day);
        state.recorded = if same {
            // A call that was taken back meanwhile is not one of those ahead.
            let calls = recorded.calls.saturating_sub(count.calls);
            calls.min(recorded.used.saturating_sub(count.used))
        } else {
            0
        };
        Ok(())
    }

    /// Leave to write, when nothing has to wait.
    pub fn free(self: &Arc<Self>) -> Option<Permit> {
        let now = (self.clock)();
        let mut state = self.lock();
        state.turn(now);
        if !state.waiting.is_empty() || !state.wait(now).is_zero() {
            return None;
        }
        state.granted += 1;
        Some(Permit(Arc::clone(self)))
    }

    /// Waits for leave to write, in a queue that is fair between mappings: of all mappings that have
    /// something to send, the one served longest ago is next. Tells which of `mappings` it is.
    pub async fn turn(self: &Arc<Self>, mappings: BTreeSet<MappingName>) -> (MappingName, Permit) {
        let place = {
            let mut state = self.lock();
            state.turns += 1;
            let place = state.turns;
            state.waiting.insert(place, mappings);
            Place(self, place)
        };
        loop {
            let changed = self.changed.notified();
            let wait = {
                let now = (self.clock)();
                let mut state = self.lock();
                state.turn(now);
                let ours = state.next().filter(|next| {
                    let ours = state.waiting.get(&place.1);
                    ours.is_some_and(|ours| ours.contains(*next))
                });
                let (ours, wait) = (ours.cloned(), state.wait(now));
                match ours {
                    Some(mapping) if wait.is_zero() => {
                        state.turns += 1;
                        let turn = state.turns;
                        state.served.insert(mapping.clone(), turn);
                        state.granted += 1;
                        return (mapping, Permit(Arc::clone(self)));
                    }
                    // Another's turn: it wakes us when it has taken it.
                    None if wait.is_zero() => LOOK,
                    _ => {
                        state.tell(now);
                        wait
                    }
                }
            };
            let _ = timeout(wait.min(LOOK), changed).await;
        }
    }

    /// Whether a write waits for nothing now.
    pub fn is_free(&self) -> bool {
        let now = (self.clock)();
        let mut state = self.lock();
        state.turn(now);
        state.waiting.is_empty() && state.wait(now).is_zero()
    }

    /// Whether calls that nobody waits for may be made now: there are enough for a while.
    pub fn is_relaxed(&self) -> bool {
        let now = (self.clock)();
        let mut state = self.lock();
        state.turn(now);
        let enough = |limit| allowance::is_relaxed(&state.count, limit, now);
        state.waiting.is_empty() && state.limit.is_none_or(enough)
    }

    /// Why a single pass does not wait for the next write.
    pub fn stuck(&self) -> Option<String> {
        let calls = self.calls();
        let wait = match calls.pace {
            Pace::Unlimited | Pace::Free { .. } => return None,
            Pace::Spread { every_seconds } => Duration::try_from_secs_f64(every_seconds).ok(),
            Pace::UsedUp { .. } => None,
        };
        let is_long = wait.is_none_or(|wait| wait > PASS_WAIT);
        is_long.then_some(calls.why)
    }

    /// Why nothing is sent at all: the month's calls are used up.
    pub fn closed(&self) -> Option<Closed> {
        let calls = self.calls();
        let Pace::UsedUp { until } = calls.pace else {
            return None;
        };
        Some(Closed {
            reason: calls.why,
            since: self.lock().used_up.unwrap_or_else(|| (self.clock)()),
            until,
            passing: false,
            failed: 0,
        })
    }

    /// What was made, and how fast.
    pub fn calls(&self) -> Calls {
        let now = (self.clock)();
        let mut state = self.lock();
        state.turn(now);
        state.calls(now)
    }
}

impl Meter for Budget {
    fn spend(&self, kind: Kind) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            loop {
                let (warn_of, block) = {
                    let now = (self.clock)();
                    let mut state = self.lock();
                    state.turn(now);
                    if kind == Kind::Counted && state.is_used_up() {
                        state.tell(now);
                        return Err(state.calls(now).why);
                    }
                    if state.recorded > 0 {
                        state.recorded -= 1;
                        state.count.calls += 1;
                        state.count.today += 1;
                        if kind == Kind::Counted {
                            state.count.used += 1;
                            state.count.level -= 1.0;
                        }
                        let scarce = state
                            .limit
                            .is_some_and(|limit| allowance::is_scarce(&state.count, limit));
                        if !scarce || std::mem::replace(&mut state.count.warned, true) {
                            return Ok(());
                        }
                        // Recorded at once, so that it is said once.
                        state.recorded = 0;
                        (Some(state.calls(now)), state.block())
                    } else {
                        (None, state.block())
                    }
                };
                self.record(block).await?;
                if let Some(calls) = warn_of {
                    warn!("{}", calls.warning());
                    return Ok(());
                }
            }
        })
    }

    fn refund(&self) {
        let mut state = self.lock();
        state.count.used = state.count.used.saturating_sub(1);
        state.count.level += 1.0;
    }

    fn unmade(&self, kind: Kind) {
        if kind == Kind::Counted {
            self.refund();
        }
        // What is recorded ahead stays as it is: more than was made, which does no harm.
        let mut state = self.lock();
        state.count.calls = state.count.calls.saturating_sub(1);
        state.count.today = state.count.today.saturating_sub(1);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Budget")
            .field("count", &state.count)
            .field("limit", &state.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// 2026-11-26T00:00:00Z: five days before the month ends.
    const BASE: u64 = 1_795_651_200_000;

    /// A budget in `dir` whose clock is tokio's, beginning at `base`.
    async fn budget_at(dir: &Path, limit: u64, base: u64) -> Arc<Budget> {
        let start = Instant::now();
        let clock = move || Timestamp(base).after(start.elapsed());
        let budget = Budget::new(CallsFile::read(dir).unwrap(), clock);
        budget.configure("cli_a", NonZeroU64::new(limit)).await;
        Arc::new(budget)
    }

    async fn budget(dir: &Path, limit: u64) -> Arc<Budget> {
        budget_at(dir, limit, BASE).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_month_is_used_up_since_its_last_call_and_not_since_somebody_asked() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 3).await;
        for _ in 0..3 {
            assert_eq!(budget.closed(), None);
            budget.spend(Kind::Counted).await.unwrap();
        }
        let since = budget.closed().unwrap().since;
        tokio::time::advance(Duration::from_hours(2)).await;
        assert_eq!(budget.closed().unwrap().since, since);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_nobody_waits_for_leave_half_of_a_day_to_writes() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 1000).await;
        let mut made = 0;
        while budget.is_relaxed() {
            budget.spend(Kind::Counted).await.unwrap();
            made += 1;
        }
        assert!(budget.is_free(), "writes go on");
        // Of 200 a day, which are fewer the more are made.
        assert!((111..=113).contains(&made), "{made}");
        let unlimited = tempfile::tempdir().unwrap();
        let file = CallsFile::read(unlimited.path()).unwrap();
        assert!(Budget::new(file, || Timestamp(BASE)).is_relaxed());
    }

    fn mapping(name: &str) -> MappingName {
        name.to_owned().try_into().unwrap()
    }

    /// A write as a lane makes it, with two mappings' jobs at hand.
    async fn write(budget: &Arc<Budget>, mappings: &[&str]) -> MappingName {
        let mappings: BTreeSet<_> = mappings.iter().map(|name| mapping(name)).collect();
        let (mapping, permit) = budget.turn(mappings).await;
        budget.spend(Kind::Counted).await.unwrap();
        drop(permit);
        mapping
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_kill_leaves_is_never_less_than_what_was_made_and_little_more() {
        let dir = tempfile::tempdir().unwrap();
        let counting = budget(dir.path(), 16_000).await;
        for made in 1..=100 {
            counting.spend(Kind::Counted).await.unwrap();
            let count = CallsFile::read(dir.path()).unwrap().get("cli_a");
            assert!(
                (made..made + BLOCK_MOST).contains(&count.used),
                "{made}: {count:?}"
            );
        }
        // Killed here: the next run goes on from what is recorded.
        let next = budget(dir.path(), 16_000).await;
        next.spend(Kind::Token).await.unwrap();
        next.settle().await;
        let count = CallsFile::read(dir.path()).unwrap().get("cli_a");
        assert!((100..100 + BLOCK_MOST).contains(&count.used), "{count:?}");
        assert_eq!(count.calls, count.used + 1, "a token is free and counted");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_at_once_are_all_counted_and_none_goes_beyond_the_budget() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 40).await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let budget = Arc::clone(&budget);
            calls.spawn(async move { budget.spend(Kind::Counted).await });
        }
        let done = calls.join_all().await;
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 40);
        let why = done.into_iter().find_map(Result::err).unwrap();
        insta::assert_snapshot!(why, @"the 40 calls of this month are used up (`monthly_calls`): nothing is sent until 2026-12-01T00:00:00Z; raise it if the app's quota is larger");
        assert!(budget.closed().is_some());
        // Tokens are free.
        budget.spend(Kind::Token).await.unwrap();
        assert_eq!((budget.calls().used, budget.calls().this_month), (40, 41));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_did_not_count_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 1).await;
        for _ in 0..5 {
            budget.spend(Kind::Counted).await.unwrap();
            budget.refund();
        }
        assert_eq!((budget.calls().used, budget.calls().this_month), (0, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_not_made_is_no_call_and_what_is_recorded_stays_enough() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 16_000).await;
        for made in 1..=2 * BLOCK_MOST {
            for kind in [Kind::Counted, Kind::Token] {
                budget.spend(kind).await.unwrap();
                budget.unmade(kind);
            }
            budget.spend(Kind::Counted).await.unwrap();
            let calls = budget.calls();
            let counts = (calls.used, calls.this_month, calls.today);
            assert_eq!(counts, (made, made, made));
            let recorded = CallsFile::read(dir.path()).unwrap().get("cli_a");
            assert!(recorded.calls >= made, "{made}: {recorded:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_on_one_mapping_leaves_every_second_call_to_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 1000).await;
        while let Some(permit) = budget.free() {
            budget.spend(Kind::Counted).await.unwrap();
            drop(permit);
        }
        insta::assert_snapshot!(budget.calls().why, @"writes are spread, one every 540 s, the newest pictures first: 800 calls are left until 2026-12-01T00:00:00Z, and at the recent pace they would not last; raise `monthly_calls` if the app's quota is larger, or set a longer `min_interval`");
        // Two lanes: one with the flood and a second mapping, one with a third.
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut lanes = tokio::task::JoinSet::new();
        for mappings in [&["flood", "second"][..], &["third"]] {
            let (budget, served) = (Arc::clone(&budget), Arc::clone(&served));
            lanes.spawn(async move {
                loop {
                    let mapping = write(&budget, mappings).await;
                    let mut served = served.lock().unwrap();
                    served.push((mapping, Instant::now()));
                    if served.len() >= 9 {
                        return;
                    }
                }
            });
        }
        while lanes.join_next().await.is_some() {}
        let served = served.lock().unwrap();
        for name in ["flood", "second", "third"] {
            let turns = served[..9].iter().filter(|(who, _)| *who == mapping(name));
            assert_eq!(turns.count(), 3, "{served:?}");
        }
        for pair in served.windows(2) {
            let gap = (pair[1].1 - pair[0].1).as_secs();
            assert!((500..=560).contains(&gap), "{gap} s in {served:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_go_on_by_themselves_when_the_month_turns() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 5).await;
        for _ in 0..5 {
            budget.spend(Kind::Counted).await.unwrap();
        }
        assert!(budget.free().is_none());
        let start = Instant::now();
        write(&budget, &["lobby"]).await;
        let waited = start.elapsed().as_secs();
        let month = 5 * 24 * 3600;
        assert!((month..=month + 60).contains(&waited), "{waited} s");
        assert_eq!(budget.calls().used, 1);
        assert_eq!(budget.calls().month.as_deref(), Some("2026-12"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_runs_over_the_turn_of_the_month_counts_the_new_one_from_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 1000).await;
        for _ in 0..900 {
            budget.spend(Kind::Counted).await.unwrap();
        }
        assert!(budget.lock().count.warned);
        tokio::time::sleep(Duration::from_hours(5 * 24) + LOOK).await;
        // Whoever asks before the first call of the month is told of that month.
        let calls = budget.calls();
        let told = (
            calls.month.as_deref(),
            calls.used,
            calls.this_month,
            calls.today,
        );
        assert_eq!(told, (Some("2026-12"), 0, 0, 0));
        assert!(matches!(calls.pace, Pace::Free { .. }), "{calls:?}");
        for _ in 0..3 {
            budget.spend(Kind::Counted).await.unwrap();
        }
        let calls = budget.calls();
        assert_eq!((calls.used, calls.this_month, calls.today), (3, 3, 3));
        assert!(
            !budget.lock().count.warned,
            "a warning is due again at 80 %"
        );
        // And so it is recorded, whatever was recorded ahead in the old month.
        let recorded = CallsFile::read(dir.path()).unwrap().get("cli_a");
        assert_eq!(recorded.month.unwrap().to_string(), "2026-12");
        assert!((3..3 + BLOCK_MOST).contains(&recorded.used), "{recorded:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_larger_budget_frees_whoever_waits() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 5).await;
        for _ in 0..5 {
            budget.spend(Kind::Counted).await.unwrap();
        }
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { write(&budget, &["lobby"]).await }
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        budget.configure("cli_a", NonZeroU64::new(10_000)).await;
        waiting.await.unwrap();
        // One every 43 s now, after the four that were made without leave.
        assert!(
            start.elapsed() < Duration::from_mins(4),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_app_has_its_own_count() {
        let dir = tempfile::tempdir().unwrap();
        let budget = budget(dir.path(), 0).await;
        for _ in 0..3 {
            budget.spend(Kind::Counted).await.unwrap();
        }
        budget.configure("cli_b", None).await;
        budget.spend(Kind::Counted).await.unwrap();
        assert_eq!(budget.calls().used, 1);
        budget.configure("cli_a", None).await;
        assert_eq!(budget.calls().used, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_damaged_count_is_told_and_begins_at_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("calls"), b"noise and noise and noise").unwrap();
        let budget = Budget::open(dir.path()).unwrap();
        budget.configure("cli_a", None).await;
        budget.spend(Kind::Counted).await.unwrap();
        budget.settle().await;
        assert_eq!(CallsFile::read(dir.path()).unwrap().get("cli_a").used, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_cannot_be_counted_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let budget = budget(&state, 0).await;
        std::fs::remove_dir_all(&state).unwrap();
        let why = budget.spend(Kind::Counted).await.unwrap_err();
        assert!(why.contains("cannot be counted"), "{why}");
    }
}
