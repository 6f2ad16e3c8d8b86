//! Repeated warnings folded, so that a fault that lasts does not fill the disk with its lines: within a minute
//! one line for each file and cause, at most [`LINES`] for each mapping and kind of line, and then how many
//! more there were. Nothing below a warning is folded. Bounded: see [`KINDS`].

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, error, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// What is repeated within this is folded.
const WITHIN: Duration = Duration::from_mins(1);
/// Lines of one kind in that time, whatever their files.
const LINES: usize = 20;
/// Kinds that are remembered; further ones are not folded.
const KINDS: usize = 4096;
/// How often it is looked for what is over.
const LOOK: Duration = Duration::from_secs(5);
/// Longest part of a line that says how many more there were, in bytes.
const LIKE_MOST: usize = 200;

/// The layer.
#[derive(Clone, Default)]
pub struct Fold(Arc<Mutex<Seen>>);

impl Fold {
    /// A layer whose counts are told by a thread of its own.
    pub fn start() -> Self {
        let fold = Self::default();
        let ours = fold.clone();
        // Without it repeats are folded all the same, and not counted.
        let _ = thread::Builder::new().name("fold".into()).spawn(move || {
            loop {
                thread::park_timeout(LOOK);
                ours.tell(Some(Instant::now()));
            }
        });
        fold
    }

    /// Tells what is over by now, or everything.
    pub fn tell(&self, now: Option<Instant>) {
        let over = self.seen(|seen| seen.over(now));
        for Over { level, like, more } in over {
            if level == Level::ERROR {
                error!("… {more} more in the last minute like: {like}");
            } else {
                warn!("… {more} more in the last minute like: {like}");
            }
        }
    }

    fn seen<T>(&self, work: impl FnOnce(&mut Seen) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Layer<S> for Fold {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let meta = event.metadata();
        if *meta.level() > Level::WARN || meta.target() == module_path!() {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let kind = (meta.callsite(), line.whose.finish());
        self.seen(|seen| seen.take(kind, *meta.level(), &line, Instant::now()))
    }
}

/// What tells one line from another.
#[derive(Default)]
struct Line {
    /// Mapping or spreadsheet.
    whose: DefaultHasher,
    /// And file and slot.
    what: DefaultHasher,
    /// Of one call, so never the same twice.
    logid: String,
    message: String,
}

impl Line {
    /// The file and the cause. What follows a semicolon says what is done about it, which varies.
    fn cause(&self) -> u64 {
        let mut cause = self.what.clone();
        let reason = self.message.split("; ").next().unwrap_or_default();
        match self.logid.as_str() {
            "" => reason.hash(&mut cause),
            logid => reason.replace(logid, "").hash(&mut cause),
        }
        cause.finish()
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = write!(text, "{value:?}");
        match field.name() {
            "message" => self.message = text,
            "mapping" | "spreadsheet" => {
                text.hash(&mut self.whose);
                text.hash(&mut self.what);
            }
            "file" | "slot" | "code" => text.hash(&mut self.what),
            "logid" => text.trim_matches('"').clone_into(&mut self.logid),
            _ => {}
        }
    }
}

/// Lines of one kind.
type Kind = (Identifier, u64);

/// What was told of late.
#[derive(Default)]
struct Seen(HashMap<Kind, Told>);

struct Told {
    since: Instant,
    /// The files and causes that had a line; at most [`LINES`].
    causes: Vec<u64>,
    more: u64,
    level: Level,
    like: String,
}

/// What was folded.
#[derive(Debug, PartialEq, Eq)]
struct Over {
    level: Level,
    like: String,
    more: u64,
}

impl Seen {
    /// Whether the line is told.
    fn take(&mut self, kind: Kind, level: Level, line: &Line, now: Instant) -> bool {
        if self.0.len() >= KINDS && !self.0.contains_key(&kind) {
            return true;
        }
        let told = self.0.entry(kind).or_insert_with(|| Told::new(level, now));
        // One that is over and has a count waits for that to be told.
        if told.more == 0 && now.duration_since(told.since) >= WITHIN {
            *told = Told::new(level, now);
        }
        let cause = line.cause();
        if told.causes.len() >= LINES || told.causes.contains(&cause) {
            if told.more == 0 {
                told.like.clone_from(&line.message);
                told.like.truncate(told.like.floor_char_boundary(LIKE_MOST));
            }
            told.more += 1;
            return false;
        }
        told.causes.push(cause);
        true
    }

    /// Forgets what is over by now, or everything, and says what was folded in it.
    fn over(&mut self, now: Option<Instant>) -> Vec<Over> {
        let is_over = |told: &Told| now.is_none_or(|now| now.duration_since(told.since) >= WITHIN);
        let over = self.0.extract_if(|_, told| is_over(told));
        over.filter(|(_, told)| told.more > 0)
            .map(
                |(
                    _,
                    Told {
                        level, like, more, ..
                    },
                )| Over { level, like, more },
            )
            .collect()
    }
}

impl Told {
    fn new(level: Level, since: Instant) -> Self {
        Self {
            since,
            causes: Vec::new(),
            more: 0,
            level,
            like: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap().push(line.message);
        }
    }

    /// The lines that are left, and then what is told at the end.
    fn lines(log: impl FnOnce()) -> (Vec<String>, Vec<String>) {
        let (kept, fold) = (Arc::<Mutex<Vec<String>>>::default(), Fold::default());
        let subscriber = tracing_subscriber::registry()
            .with(fold.clone())
            .with(Kept(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, || {
            log();
            let lines = std::mem::take(&mut *kept.lock().unwrap());
            fold.tell(None);
            (lines, std::mem::take(&mut *kept.lock().unwrap()))
        })
    }

    #[test]
    fn the_same_cause_of_the_same_file_has_one_line_and_a_count() {
        let (told, more) = lines(|| {
            for wait in 0..58 {
                warn!(
                    mapping = "lobby",
                    file = "B2.png",
                    "no answer; next try in {wait}s"
                );
            }
            warn!(
                mapping = "lobby",
                file = "B2.png",
                "throttled; next try in 1s"
            );
            warn!(
                mapping = "lobby",
                file = "B3.png",
                "no answer; next try in 1s"
            );
        });
        let expected = [
            "no answer; next try in 0s",
            "throttled; next try in 1s",
            "no answer; next try in 1s",
        ];
        assert_eq!(told, expected);
        let expected = "… 57 more in the last minute like: no answer; next try in 1s";
        assert_eq!(more, [expected]);
    }

    #[test]
    fn the_name_of_a_call_makes_no_other_cause() {
        let (told, more) = lines(|| {
            for call in 0..6 {
                let logid = format!("0179{call}");
                warn!(
                    mapping = "lobby",
                    file = "B2.png",
                    code = 90_235,
                    logid,
                    "the API said no (code 90235, logid {logid}); next try in {call}s"
                );
            }
        });
        assert_eq!(
            told,
            ["the API said no (code 90235, logid 01790); next try in 0s"]
        );
        assert_eq!(more.len(), 1);
        assert!(more[0].contains("5 more"), "{more:?}");
    }

    #[test]
    fn ten_thousand_files_have_a_few_lines_in_each_mapping() {
        let (told, more) = lines(|| {
            for number in 0..10_000 {
                for mapping in ["lobby", "hall"] {
                    warn!(mapping, file = %format_args!("{number}.png"), "rejected: no image");
                }
            }
        });
        assert_eq!(told.len(), 2 * LINES);
        assert_eq!(more.len(), 2);
        assert!(
            more.iter().all(|line| line.contains("9980 more")),
            "{more:?}"
        );
    }

    #[test]
    fn what_is_no_warning_is_never_folded() {
        let (told, more) = lines(|| {
            for _ in 0..1000 {
                tracing::info!(mapping = "lobby", file = "B2.png", "written");
            }
        });
        assert_eq!((told.len(), more.len()), (1000, 0));
    }

    #[test]
    fn a_minute_later_it_is_told_again() {
        let (mut seen, begun, line) = (Seen::default(), Instant::now(), Line::default());
        let kind = || {
            let event = tracing::callsite::Identifier(&SITE);
            (event, 0)
        };
        let mut take = |seconds| {
            let now = begun + Duration::from_secs(seconds);
            seen.take(kind(), Level::WARN, &line, now)
        };
        assert!(take(0));
        assert!(take(60), "nothing was folded before");
        assert!(!take(119));
        let over = seen.over(Some(begun + Duration::from_secs(119)));
        assert_eq!(over, []);
        let over = seen.over(Some(begun + Duration::from_mins(2)));
        assert_eq!(over.len(), 1);
        assert!(seen.0.is_empty());
    }

    struct Site;
    static SITE: Site = Site;

    impl tracing::Callsite for Site {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("no event comes from here")
        }
    }
}
