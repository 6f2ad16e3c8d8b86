//! A person's token, kept in a file and refreshed in place.
//!
//! The file holds a token alone, or JSON: `user_access_token`, and where they are known `refresh_token`
//! and `expiry` (RFC 3339). Other fields stay as they are. A refresh token works once, and the answer
//! that spends it brings its successor (open.feishu.cn, "Refresh `user_access_token`"): so before the call
//! the file is replaced by its own content, which proves that it can be, and the place for the new pair is
//! made; and the pair is on disk before it is used. Only a kill between
//! the answer and the disk, or an answer that never came, loses it; then the person has to consent again.
//!
//! Knows nothing of HTTP; how a pair is renewed is handed in. No secret is in any message.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tracing::{error, info, warn};

use super::error::CallError;
use super::token::{Fresh, RENEW_BEFORE};
use crate::blocking::off_runtime;
use crate::durable::Replacement;

/// The file is read again after this time, so that one that a person writes is taken.
const LOOK: Duration = Duration::from_mins(1);
/// Longer is no token file, in bytes.
const LARGEST: u64 = 64 * 1024;
/// Room on the disk for the next content, in bytes: tokens are of some hundred characters, and a file that
/// was made by hand may say more.
const ROOM: usize = 16 * 1024;
/// Who may not read it.
const OTHERS: u32 = 0o007;

/// What a refresh answers.
pub(super) struct Renewed {
    pub access: SecretString,
    /// Absent when the app lacks the scope `offline_access`.
    pub refresh: Option<SecretString>,
    /// How long the access token lives from now.
    pub lifetime: Duration,
}

/// The file's content.
struct Pair {
    access: SecretString,
    refresh: Option<SecretString>,
    expiry: Option<SystemTime>,
    /// All fields of the JSON; `None` for a token alone.
    fields: Option<Map<String, Value>>,
}

/// A pair that the disk did not take.
#[derive(Clone)]
struct Unsaved {
    /// The token that the file has in its place.
    before: SecretString,
    bytes: Vec<u8>,
}

/// The token of one file.
pub(super) struct UserToken {
    path: PathBuf,
    /// Whether there is an app's secret, which a refresh needs.
    can_refresh: bool,
    /// Shared by all that have the same file. Changed by whoever has the turn with the file.
    unsaved: Arc<Mutex<Option<Unsaved>>>,
    /// Whether the file was seen to be replaceable in this run.
    proved: AtomicBool,
    /// The last warning, so that it is told once.
    told: Mutex<String>,
    /// The refresh token that was not taken, and what was said of it. It will not be taken the next time.
    spent: Mutex<Option<(SecretString, CallError)>>,
}

impl UserToken {
    pub(super) fn new(path: PathBuf, can_refresh: bool) -> Self {
        Self {
            path,
            can_refresh,
            unsaved: Arc::default(),
            proved: AtomicBool::new(false),
            told: Mutex::default(),
            spent: Mutex::default(),
        }
    }

    /// Goes on where `former` stands, which may still be in use: a pair that the disk did not take is nowhere
    /// else.
    pub(super) fn follow(&mut self, former: &Self) {
        if self.path == former.path {
            self.unsaved = Arc::clone(&former.unsaved);
        }
    }

    /// The token to use now: refreshed when it soon expires or is the one just `refused`. Called by one
    /// task at a time.
    ///
    /// # Errors
    /// [`CallError::NoToken`] when a person has to act; those of `renew`.
    pub(super) async fn fetch<F>(
        &self,
        refused: Option<&SecretString>,
        renew: impl FnOnce(SecretString) -> F,
    ) -> Result<Fresh, CallError>
    where
        F: Future<Output = Result<Renewed, CallError>>,
    {
        self.save_again().await;
        let pair = self.read().await?;
        let refused = refused.is_some_and(|refused| same(refused, &pair.access));
        let left = pair.left();
        let usable = !refused && left.is_none_or(|left| !left.is_zero());
        let due = refused || left.is_some_and(|left| left <= RENEW_BEFORE);
        let hint = match (&pair.refresh, self.can_refresh) {
            (None, _) => "it holds no refresh token",
            (Some(_), false) => "a refresh needs the app's secret (`app_secret_file`)",
            (Some(refresh), true) if due => {
                let access = pair.access.clone();
                let renewed = match self.spent(refresh) {
                    Some(why) => Err(why),
                    None => self.renew(&access, refresh.clone(), renew).await,
                };
                match renewed {
                    Ok(fresh) => return Ok(fresh),
                    Err(error) if usable && error != CallError::NotNow => {
                        self.warn(format!(
                            "the person's token is not refreshed and used until it expires: {error}"
                        ));
                        ""
                    }
                    Err(error) => return Err(error),
                }
            }
            (Some(_), true) => "",
        };
        if !usable {
            let what = if refused {
                "is refused by the API"
            } else {
                "has expired"
            };
            return Err(CallError::NoToken(format!(
                "the token in user_token_file {} {what}, and {hint}; let the person consent again and put the new \
                 token there",
                self.path.display()
            )));
        }
        if due && !hint.is_empty() {
            self.warn(format!(
                "the token in user_token_file {} soon expires, and {hint}",
                self.path.display()
            ));
        }
        Ok(Fresh {
            value: pair.access,
            lifetime: left.unwrap_or(LOOK).min(LOOK),
        })
    }

    async fn renew<F>(
        &self,
        access: &SecretString,
        refresh: SecretString,
        renew: impl FnOnce(SecretString) -> F,
    ) -> Result<Fresh, CallError>
    where
        F: Future<Output = Result<Renewed, CallError>>,
    {
        let path = self.path.clone();
        // Once, as a person may put another token there while it is tried.
        let to_prove = self.unsaved().is_none() && !self.proved.load(Ordering::Relaxed);
        let ready = off_runtime(move || {
            let (path, turn) = turn(&path)?;
            if to_prove {
                // A mount of the file alone refuses this, and nothing before it.
                place(&path)?.commit(&fs::read(&path)?)?;
            }
            place(&path).map(|place| (turn, place))
        });
        let (turn, place) = ready.await.map_err(|error| {
            CallError::NoToken(format!(
                "a refreshed token could not be stored beside user_token_file {}, so none is asked for: {error}; \
                 let the user that runs pixcell write that folder and the file, and in a container mount the folder, \
                 not the file alone",
                self.path.display()
            ))
        })?;
        self.proved.fetch_or(to_prove, Ordering::Relaxed);
        // Another process may have had its turn first.
        let pair = self.read().await?;
        if !same(&pair.access, access) {
            return Ok(Fresh {
                lifetime: pair.left().unwrap_or(LOOK).min(LOOK),
                value: pair.access,
            });
        }
        let renewed = renew(refresh.clone()).await.map_err(|error| {
            let error = self.of_refresh(error);
            if let CallError::NoToken(_) = error {
                *held(&self.spent) = Some((refresh, error.clone()));
            }
            error
        })?;
        let expiry = SystemTime::now() + renewed.lifetime;
        if renewed.refresh.is_none() {
            self.warn(format!(
                "the refresh brought no new refresh token, so {} is good until its expiry only; give the app the \
                 scope `offline_access` and let the person consent again",
                self.path.display()
            ));
        }
        let bytes = pair.with(&renewed, expiry);
        let (stored, turn) = {
            let bytes = bytes.clone();
            off_runtime(move || (place.commit(&bytes), turn)).await
        };
        match stored {
            Ok(()) => {
                *self.unsaved() = None;
                self.told
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clear();
                info!(
                    "the person's token was refreshed; it expires at {}",
                    humantime::format_rfc3339_seconds(expiry)
                );
            }
            Err(error) => {
                error!(
                    "the refreshed token could not be written to {}: {error}; it is kept in memory and written once \
                     the disk takes it; if pixcell is killed before, the person has to consent again",
                    self.path.display()
                );
                let mut unsaved = self.unsaved();
                // Whatever was refreshed since, the file still has the token from before the first failure.
                let before = unsaved
                    .take()
                    .map_or_else(|| access.clone(), |unsaved| unsaved.before);
                *unsaved = Some(Unsaved { before, bytes });
            }
        }
        drop(turn);
        Ok(Fresh {
            value: renewed.access,
            lifetime: renewed.lifetime.min(LOOK),
        })
    }

    /// Why this refresh token is not to be sent again, until the file has another one.
    fn spent(&self, refresh: &SecretString) -> Option<CallError> {
        let spent = held(&self.spent);
        let (_, why) = spent.as_ref().filter(|(token, _)| same(token, refresh))?;
        Some(why.clone())
    }

    /// A person may have mended what it was refused for.
    pub(super) fn try_anew(&self) {
        *held(&self.spent) = None;
    }

    /// Tries to write a pair that the disk did not take before.
    async fn save_again(&self) {
        if self.unsaved().is_some() {
            let (path, unsaved) = (self.path.clone(), Arc::clone(&self.unsaved));
            off_runtime(move || save(&path, &unsaved)).await;
        }
    }

    /// The same for the last time, before the program ends.
    pub(super) async fn leave(&self) {
        self.save_again().await;
        if self.unsaved().is_some() {
            error!(
                "the refreshed token could not be written to {} to the end, and is lost; let the person consent again \
                 and put the new token there",
                self.path.display()
            );
        }
    }

    fn unsaved(&self) -> MutexGuard<'_, Option<Unsaved>> {
        held(&self.unsaved)
    }

    async fn read(&self) -> Result<Pair, CallError> {
        let unsaved = self.unsaved().clone();
        let path = self.path.clone();
        let read = off_runtime(move || match unsaved {
            Some(unsaved) => parse(&unsaved.bytes),
            None => from_file(&path),
        });
        read.await.map_err(|why| {
            CallError::NoToken(format!("user_token_file {}: {why}", self.path.display()))
        })
    }

    /// An answer of a code that is not the app's own fault is about the refresh token.
    fn of_refresh(&self, error: CallError) -> CallError {
        use super::Class::{Busy, Credentials, Quota, Throttled};
        match &error {
            CallError::Refused(refusal)
                if refusal.code.is_some()
                    && refusal.status < 500
                    && !matches!(refusal.class, Busy | Credentials | Quota | Throttled(_)) =>
            {
                CallError::NoToken(format!(
                    "the refresh token in user_token_file {} is not taken ({:?}, code {}, logid {}); let the person \
                     consent again and put the new tokens there",
                    self.path.display(),
                    refusal.msg,
                    refusal.code.unwrap_or_default(),
                    refusal.log_id.as_deref().unwrap_or("none"),
                ))
            }
            _ => error,
        }
    }

    fn warn(&self, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != text {
            warn!("{text}");
            *told = text;
        }
    }
}

impl Pair {
    /// How long the access token is good; `None` when that is not known.
    fn left(&self) -> Option<Duration> {
        let left = |expiry: SystemTime| expiry.duration_since(SystemTime::now());
        self.expiry.map(|expiry| left(expiry).unwrap_or_default())
    }

    /// The file's next content.
    fn with(self, renewed: &Renewed, expiry: SystemTime) -> Vec<u8> {
        let mut fields = self.fields.unwrap_or_default();
        let text = |secret: &SecretString| Value::from(secret.expose_secret());
        fields.insert("user_access_token".into(), text(&renewed.access));
        match &renewed.refresh {
            Some(refresh) => fields.insert("refresh_token".into(), text(refresh)),
            None => fields.remove("refresh_token"),
        };
        let expiry = humantime::format_rfc3339_seconds(expiry).to_string();
        fields.insert("expiry".into(), expiry.into());
        format!("{:#}\n", Value::from(fields)).into_bytes()
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

fn held<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a pair that the disk did not take before, unless it fails again.
fn save(path: &Path, unsaved: &Mutex<Option<Unsaved>>) {
    let Ok((path, _turn)) = turn(path) else {
        return;
    };
    // Another may have had its turn first.
    let Some(Unsaved { before, bytes }) = held(unsaved).clone() else {
        return;
    };
    // What a person has put there meanwhile stays.
    let theirs = matches!(from_file(&path), Ok(pair) if !same(&pair.access, &before));
    if theirs || place(&path).and_then(|place| place.commit(&bytes)).is_ok() {
        *held(unsaved) = None;
    }
}

/// Waits for this process' turn with the file; tells where it is, whatever links to it.
fn turn(path: &Path) -> io::Result<(PathBuf, File)> {
    let path = fs::canonicalize(path)?;
    let folder = File::open(path.parent().ok_or(ErrorKind::InvalidInput)?)?;
    folder.lock()?;
    Ok((path, folder))
}

/// Makes the place for the file's next content.
fn place(path: &Path) -> io::Result<Replacement> {
    Replacement::begin(path)?.reserve(ROOM)
}

/// Reads the file.
fn from_file(path: &Path) -> Result<Pair, String> {
    use std::io::Read;
    let unreadable = |error: io::Error| format!("cannot read it: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & OTHERS != 0 {
        return Err(format!(
            "other users can read it (mode {:04o}), so it is not used; `chmod 600` it, and better have the token \
             made anew",
            mode & 0o7777
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    parse(&bytes)
}

/// Reads the file's content. A message never repeats any of it.
fn parse(bytes: &[u8]) -> Result<Pair, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "it is not text")?
        .trim();
    if !text.starts_with('{') {
        return match text {
            "" => Err("it is empty".into()),
            text if text.contains(char::is_whitespace) => {
                Err("it holds neither a token alone nor JSON".into())
            }
            token => Ok(Pair {
                access: token.into(),
                refresh: None,
                expiry: None,
                fields: None,
            }),
        };
    }
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        format!(
            "it is no JSON, at line {} column {}",
            error.line(),
            error.column()
        )
    })?;
    let word = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if !word.trim().is_empty() => Ok(Some(word.trim().to_owned())),
        Some(_) => Err(format!("its field `{name}` is no text")),
    };
    let access = word("user_access_token")?.ok_or("it has no field `user_access_token`")?;
    let expiry = word("expiry")?.map(|text| {
        humantime::parse_rfc3339(&text)
            .map_err(|_| "its field `expiry` is no time as `2026-01-31T12:00:00Z`".to_owned())
    });
    Ok(Pair {
        access: access.into(),
        refresh: word("refresh_token")?.map(SecretString::from),
        expiry: expiry.transpose()?,
        fields: Some(fields),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;
    use rstest::rstest;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn expiring(seconds: u64) -> String {
        let expiry = SystemTime::now() + Duration::from_secs(seconds);
        let expiry = humantime::format_rfc3339_seconds(expiry);
        format!(
            r#"{{"user_access_token":"u-1","refresh_token":"r-1","expiry":"{expiry}","who":"Li"}}"#
        )
    }

    async fn renewed(refresh: SecretString) -> Result<Renewed, CallError> {
        assert_eq!(refresh.expose_secret(), "r-1");
        Ok(Renewed {
            access: "u-2".into(),
            refresh: Some("r-2".into()),
            lifetime: Duration::from_hours(2),
        })
    }

    async fn never(_: SecretString) -> Result<Renewed, CallError> {
        panic!("a refresh was not due");
    }

    async fn fetch<F>(
        token: &UserToken,
        refused: Option<&str>,
        renew: impl FnOnce(SecretString) -> F,
    ) -> Result<String, String>
    where
        F: Future<Output = Result<Renewed, CallError>>,
    {
        let refused = refused.map(SecretString::from);
        let fresh = token.fetch(refused.as_ref(), renew).await;
        fresh
            .map(|fresh| fresh.value.expose_secret().to_owned())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_pair_is_refreshed_before_it_expires_and_stored_with_all_its_fields() {
        let (_dir, path) = file(&expiring(600), 0o600);
        let token = UserToken::new(path.clone(), true);
        assert_eq!(fetch(&token, None, renewed).await.unwrap(), "u-2");
        let stored = parse(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(stored.access.expose_secret(), "u-2");
        assert_eq!(stored.refresh.as_ref().unwrap().expose_secret(), "r-2");
        assert!(stored.left().unwrap() > Duration::from_mins(110));
        assert_eq!(stored.fields.unwrap()["who"], "Li");
        assert_eq!(fetch(&token, None, never).await.unwrap(), "u-2");
    }

    #[rstest]
    #[case::long_good(&expiring(7000), None, Ok("u-1"))]
    #[case::alone("u-9\n", None, Ok("u-9"))]
    #[case::alone_and_refused(
        "u-9",
        Some("u-9"),
        Err("is refused by the API, and it holds no refresh token")
    )]
    #[case::another_was_refused("u-9", Some("u-8"), Ok("u-9"))]
    #[case::expired(
        r#"{"user_access_token":"u-1","expiry":"2024-01-01T00:00:00Z"}"#,
        None,
        Err("has expired, and it holds no refresh token")
    )]
    #[tokio::test]
    async fn what_cannot_be_refreshed_is_used_while_it_is_good(
        #[case] text: &str,
        #[case] refused: Option<&str>,
        #[case] expected: Result<&str, &str>,
    ) {
        let (_dir, path) = file(text, 0o600);
        let found = fetch(&UserToken::new(path, true), refused, never).await;
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[tokio::test]
    async fn a_refused_pair_is_refreshed_however_long_it_should_live() {
        let (_dir, path) = file(&expiring(7000), 0o600);
        let token = UserToken::new(path, true);
        assert_eq!(fetch(&token, Some("u-1"), renewed).await.unwrap(), "u-2");
    }

    #[tokio::test]
    async fn a_refresh_token_that_is_not_taken_is_sent_once_until_there_is_another() {
        use super::super::{Class, Refusal};
        let (_dir, path) = file(&expiring(600), 0o600);
        let token = UserToken::new(path.clone(), true);
        let refused = async |_| {
            Err(CallError::Refused(Refusal {
                class: Class::Unknown,
                status: 400,
                code: Some(20_026),
                msg: "spent".into(),
                log_id: None,
                wait: None,
            }))
        };
        assert_eq!(fetch(&token, None, refused).await.unwrap(), "u-1");
        assert_eq!(fetch(&token, None, never).await.unwrap(), "u-1");
        let told = fetch(&token, Some("u-1"), never).await.unwrap_err();
        assert!(told.contains("is not taken"), "{told}");
        // A person says that something was mended, or puts another pair there.
        token.try_anew();
        assert_eq!(fetch(&token, None, refused).await.unwrap(), "u-1");
        let other = expiring(600).replace("r-1", "r-9");
        fs::write(&path, other).unwrap();
        let asked = async |refresh: SecretString| {
            assert_eq!(refresh.expose_secret(), "r-9");
            renewed("r-1".into()).await
        };
        assert_eq!(fetch(&token, None, asked).await.unwrap(), "u-2");
    }

    #[tokio::test]
    async fn without_a_place_for_the_answer_nothing_is_asked_and_the_old_token_serves() {
        let (dir, path) = file(&expiring(600), 0o600);
        // Stands in the way for root as well.
        fs::create_dir(dir.path().join(".token.new")).unwrap();
        let token = UserToken::new(path, true);
        assert_eq!(fetch(&token, None, never).await.unwrap(), "u-1");
        assert!(token.told.lock().unwrap().contains("could not be stored"));
        let why = fetch(&token, Some("u-1"), never).await.unwrap_err();
        assert!(
            why.contains("could not be stored beside user_token_file"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn an_answer_that_the_disk_does_not_take_is_kept_and_written_later() {
        let (dir, path) = file(&expiring(600), 0o600);
        let token = UserToken::new(path.clone(), true);
        let new = dir.path().join(".token.new");
        let breaking = async |refresh| {
            // The rename finds nothing.
            fs::remove_file(&new).unwrap();
            fs::create_dir(&new).unwrap();
            renewed(refresh).await
        };
        assert_eq!(fetch(&token, None, breaking).await.unwrap(), "u-2");
        assert!(fs::read_to_string(&path).unwrap().contains("r-1"));
        fs::remove_dir(&new).unwrap();
        assert_eq!(fetch(&token, None, never).await.unwrap(), "u-2");
        assert!(fs::read_to_string(&path).unwrap().contains("r-2"));
    }

    #[tokio::test]
    async fn of_two_answers_that_the_disk_does_not_take_the_second_is_written_later() {
        let (dir, path) = file(&expiring(600), 0o600);
        let token = UserToken::new(path.clone(), true);
        let new = dir.path().join(".token.new");
        let block = || {
            // The rename finds nothing.
            fs::remove_file(&new).unwrap();
            fs::create_dir(&new).unwrap();
        };
        let first = async |refresh| {
            block();
            renewed(refresh).await
        };
        assert_eq!(fetch(&token, None, first).await.unwrap(), "u-2");
        // The place can be made again, and what is put there cannot.
        fs::remove_dir(&new).unwrap();
        let second = async |refresh: SecretString| {
            block();
            assert_eq!(refresh.expose_secret(), "r-2");
            Ok(Renewed {
                access: "u-3".into(),
                refresh: Some("r-3".into()),
                lifetime: Duration::from_hours(2),
            })
        };
        let fresh = token.renew(&"u-2".into(), "r-2".into(), second).await;
        assert_eq!(fresh.unwrap().value.expose_secret(), "u-3");
        fs::remove_dir(&new).unwrap();
        assert_eq!(fetch(&token, None, never).await.unwrap(), "u-3");
        assert!(fs::read_to_string(&path).unwrap().contains("r-3"));
    }

    #[tokio::test]
    async fn whoever_follows_on_the_same_file_has_the_answer_that_the_disk_did_not_take() {
        let (dir, path) = file(&expiring(600), 0o600);
        let former = UserToken::new(path.clone(), true);
        let new = dir.path().join(".token.new");
        let mut next = UserToken::new(path.clone(), true);
        let mut other = UserToken::new(dir.path().join("other"), true);
        // While the former's call is in flight.
        let breaking = async |refresh| {
            next.follow(&former);
            other.follow(&former);
            fs::remove_file(&new).unwrap();
            fs::create_dir(&new).unwrap();
            renewed(refresh).await
        };
        assert_eq!(fetch(&former, None, breaking).await.unwrap(), "u-2");
        assert_eq!(fetch(&next, None, never).await.unwrap(), "u-2");
        assert!(other.unsaved().is_none());
        fs::remove_dir(&new).unwrap();
        assert_eq!(fetch(&next, None, never).await.unwrap(), "u-2");
        assert!(fs::read_to_string(&path).unwrap().contains("r-2"));
        assert!(former.unsaved().is_none());
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused() {
        let (_dir, path) = file("u-1", 0o604);
        let why = fetch(&UserToken::new(path, true), None, never)
            .await
            .unwrap_err();
        assert!(why.contains("other users can read it (mode 0604)"), "{why}");
    }

    #[rstest]
    #[case("", "it is empty")]
    #[case("u-1 u-2", "neither a token alone nor JSON")]
    #[case("{", "no JSON, at line 1 column 1")]
    #[case("{}", "no field `user_access_token`")]
    #[case(r#"{"user_access_token": 7}"#, "`user_access_token` is no text")]
    #[case(
        r#"{"user_access_token": "u-1", "expiry": "soon"}"#,
        "`expiry` is no time"
    )]
    fn what_is_no_token_file_is_told(#[case] text: &str, #[case] why: &str) {
        let found = parse(text.as_bytes()).err().unwrap();
        assert!(found.contains(why), "{found}");
    }

    proptest! {
        #[test]
        fn any_content_is_read_or_told_and_never_repeated(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(why) = parse(&bytes) {
                prop_assert!(why.len() < 100);
            }
        }
    }
}
