//! Logs for journald: each event with its fields as the journal's own, so that `journalctl
//! PIXCELL_MAPPING=lobby` finds them, and with the same fields in its message, which is all that
//! `journalctl` shows by itself.

use std::fmt::{self, Write};

use libsystemd::logging::{Priority, connected_to_journal, journal_send};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Longest message and field in bytes: journald drops what is far larger, and nothing here needs it.
const TEXT_MOST: usize = 16 * 1024;

/// Whether stderr goes to the journal, as under systemd.
pub fn is_there() -> bool {
    connected_to_journal()
}

/// What one event becomes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    message: String,
    /// Names as the journal wants them.
    fields: Vec<(String, String)>,
}

impl Entry {
    fn of(event: &Event<'_>) -> Self {
        let mut entry = Self::default();
        event.record(&mut entry);
        for (_, value) in &mut entry.fields {
            shorten(value);
        }
        shorten(&mut entry.message);
        entry
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail. The message comes first, as the macros put it.
        if field.name() == "message" {
            let fields = std::mem::take(&mut self.message);
            let _ = write!(self.message, "{value:?}{fields}");
            return;
        }
        let text = format!("{value:?}");
        let _ = write!(self.message, " {}={text}", field.name());
        let name = format!("PIXCELL_{}", field.name().to_uppercase().replace('.', "_"));
        self.fields.push((name, text));
    }
}

fn shorten(text: &mut String) {
    if text.len() > TEXT_MOST {
        text.truncate(text.floor_char_boundary(TEXT_MOST));
        text.push('…');
    }
}

fn priority(level: Level) -> Priority {
    match level {
        Level::ERROR => Priority::Error,
        Level::WARN => Priority::Warning,
        Level::INFO => Priority::Info,
        _ => Priority::Debug,
    }
}

/// The layer.
pub struct Journal;

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Entry { message, fields } = Entry::of(event);
        let sent = journal_send(
            priority(*event.metadata().level()),
            &message,
            fields.into_iter(),
        );
        if sent.is_err() {
            // stderr is the journal's as well, only without fields.
            eprintln!("{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    struct Kept(Arc<Mutex<Vec<Entry>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Entry::of(event));
        }
    }

    fn entries(log: impl FnOnce()) -> Vec<Entry> {
        let kept = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, log);
        std::mem::take(&mut *kept.lock().unwrap())
    }

    #[test]
    fn the_message_says_what_the_fields_say() {
        let none: Option<i64> = None;
        let logged = entries(|| {
            tracing::info!(mapping = "lobby", file = %"B2.png", revision = 7_u64, code = none, "written");
        });
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = Entry {
            message: "written mapping=lobby file=B2.png revision=7".into(),
            fields: vec![
                field("PIXCELL_MAPPING", "lobby"),
                field("PIXCELL_FILE", "B2.png"),
                field("PIXCELL_REVISION", "7"),
            ],
        };
        assert_eq!(logged, [expected]);
    }

    #[test]
    fn no_text_is_longer_than_the_journal_takes() {
        let long = "ö".repeat(TEXT_MOST);
        let logged = entries(|| tracing::info!(file = %long, "{long}"));
        assert!(logged[0].message.len() < TEXT_MOST + 4);
        assert!(logged[0].fields[0].1.ends_with('…'));
    }
}
