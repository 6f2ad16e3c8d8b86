//! The section `feishu`: endpoint, who calls, limits. The only place that looks for the secret.

use std::fs::File;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::mapping::Resolved;
use crate::config::environment::Environment;
use crate::config::model::{Feishu, Identity, ImageEncoding};
use crate::config::secret::{self, FileSecret, ProxyUrl, SecretError};
use crate::config::section::{Notes, Section, Value};
use crate::config::{defaults, units};

/// More than the API documents for an app, a second.
const DOCUMENTED_RATE: u64 = 100;
/// The most that may be configured, a second: in effect no limit.
const MOST_RATE: u64 = 1_000_000;
const CREDENTIAL: &str = "app_secret";

pub(super) fn resolve(section: &Section<'_>, env: &Environment) -> Option<Feishu> {
    let endpoint = match section.get("endpoint") {
        Some(value) => endpoint(&value),
        None => Url::parse(defaults::ENDPOINT).ok(),
    };
    let app_id = section
        .required("app_id", "the developer console shows it under the app's credentials, as in `app_id: cli_a1b2c3d4`")
        .and_then(|value| app_id(&value));
    let identity = identity(section, env);
    let words = [
        ("base64", ImageEncoding::Base64),
        ("array", ImageEncoding::Array),
    ];
    let image_encoding = match section.get("image_encoding") {
        Some(value) => value.word(&words),
        None => Some(defaults::IMAGE_ENCODING),
    };
    let requests_per_second = match section.get("requests_per_second") {
        Some(value) => rate(&value),
        None => Some(defaults::REQUESTS_PER_SECOND),
    };
    let monthly_calls = section
        .get("monthly_calls")
        .and_then(|value| value.whole(1, u64::MAX));
    let timeout = |key, default| match section.get(key) {
        Some(value) => value.duration(Duration::from_millis(1), units::LONGEST),
        None => Some(default),
    };
    let connect_timeout = timeout("connect_timeout", defaults::CONNECT_TIMEOUT);
    let request_timeout = timeout("request_timeout", defaults::REQUEST_TIMEOUT);
    let proxy = section.get("proxy").and_then(|value| {
        let text = value.text()?;
        // The message may not repeat the value, which can hold a password.
        let proxy: Option<ProxyUrl> = text.parse().map_or_else(
            |message: &str| value.problem(message, "as in `http://proxy.corp:3128`"),
            Some,
        );
        if proxy.as_ref().is_some_and(ProxyUrl::has_password) {
            private_itself(&value, "the proxy's password", None);
        }
        proxy
    });
    let ca_file = section
        .get("ca_file")
        .and_then(|value| readable(&value, env));

    Some(Feishu {
        endpoint: endpoint?,
        app_id: app_id?,
        identity: identity?,
        image_encoding: image_encoding?,
        requests_per_second: requests_per_second?,
        monthly_calls: monthly_calls.and_then(NonZeroU64::new),
        connect_timeout: connect_timeout?,
        request_timeout: request_timeout?,
        proxy,
        ca_file,
    })
}

fn endpoint(value: &Value<'_>) -> Option<Url> {
    let text = value.text()?;
    let example = format!(
        "`{}` for Feishu, `https://open.larksuite.com` for Lark",
        defaults::ENDPOINT
    );
    let Ok(url) = Url::parse(text.trim()) else {
        return value.problem("is no URL", example);
    };
    // No message repeats the value: it may hold a password that does not belong there.
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return value.problem("names no host", example),
    };
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => {
            return value.problem(
                "`http://` would send the app's secret in the clear",
                "`https://`; only this machine itself (127.0.0.1, localhost) may be called without",
            );
        }
        _ => return value.problem("does not start with `https://`", example),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return value.problem(
            "holds a name or password, which the API does not take",
            example,
        );
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let bare = url.origin().ascii_serialization();
        return value.problem(
            "has more than a host",
            format!("without what follows the host: `{bare}`"),
        );
    }
    Some(url)
}

fn app_id(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let text = text.trim();
    if text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    {
        return Some(text.to_owned());
    }
    value.problem(
        format!("{text:?} is no app id"),
        "the developer console shows it under the app's credentials, as in `cli_a1b2c3d4`",
    )
}

fn rate(value: &Value<'_>) -> Option<NonZeroU32> {
    let calls = value.whole(1, MOST_RATE)?;
    if calls > DOCUMENTED_RATE {
        value.warning(
            format!("{calls} is more than the {DOCUMENTED_RATE} a second that the API documents for an app"),
            "calls above its limit are refused and wait; several programs of one app share it",
        );
    }
    u32::try_from(calls).ok().and_then(NonZeroU32::new)
}

fn readable(value: &Value<'_>, env: &Environment) -> Option<PathBuf> {
    let path = value.path(env)?;
    match File::open(&path) {
        Ok(_) => Some(path),
        Err(error) => value.problem(format!("cannot read {}: {error}", path.display()), None),
    }
}

fn identity(section: &Section<'_>, env: &Environment) -> Option<Identity> {
    let user = section.has("user_token_file");
    let secret = secret(section, env, !user);
    if !user {
        return Some(Identity::App {
            secret: secret.ok()??,
        });
    }
    let value = section.get("user_token_file")?;
    let token_file = readable(&value, env)?;
    if let Ok(metadata) = token_file.metadata() {
        use std::os::unix::fs::MetadataExt;
        // It may hold a refresh token, which is good for a week: refused, where other secrets warn.
        if let Some((message, help)) = public(metadata.mode(), &token_file, env) {
            return value.problem(message, help);
        }
    }
    Some(Identity::User {
        token_file,
        secret: secret.ok()?,
    })
}

/// A problem that has been noted.
struct Noted;

/// The app's secret, from the first of the four places that has one.
fn secret(
    section: &Section<'_>,
    env: &Environment,
    required: bool,
) -> Result<Option<SecretString>, Noted> {
    if section.has("app_secret") && section.has("app_secret_file") {
        section.notes.problem_at_key(
            &section.path.key("app_secret"),
            0,
            "both `app_secret` and `app_secret_file` are given",
            "keep one of them; `app_secret_file` keeps the secret out of this file",
        );
        return Err(Noted);
    }
    if section.has("app_secret_file") {
        let found = section
            .get("app_secret_file")
            .and_then(|value| from_file(&value, env));
        return found.map(Some).ok_or(Noted);
    }
    if section.has("app_secret") {
        let found = section.get("app_secret").and_then(|value| inline(&value));
        return found.map(Some).ok_or(Noted);
    }
    let at = section.path.key("app_secret_file");
    if let Some(secret) = &env.app_secret {
        return secret::one_word(secret.expose_secret()).map(Some).map_err(|_| {
            let message = "is not given, and $PIXCELL_APP_SECRET holds no secret: it has several lines or words";
            section.notes.problem(&at, message, "set the variable to the app's secret alone");
            Noted
        });
    }
    if let Some(folder) = &env.credentials_directory {
        let path = folder.join(CREDENTIAL);
        match secret::read_file(&path) {
            Ok(FileSecret { secret, .. }) => return Ok(Some(secret)),
            Err(SecretError::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            }
            Err(error) => {
                let message = format!(
                    "is not given, and the systemd credential {}: {error}",
                    path.display()
                );
                section.notes.problem(&at, message, None);
                return Err(Noted);
            }
        }
    }
    if required && !(section.misses("app_secret") && section.misses("app_secret_file")) {
        return Err(Noted);
    }
    if required {
        section.notes.problem(
            &at,
            "the app's secret is missing",
            "one of four: a file that holds nothing else and `app_secret_file: /etc/pixcell/app_secret`; \
             `app_secret:` in this file; the variable $PIXCELL_APP_SECRET; \
             the systemd credential `app_secret` (`LoadCredential=app_secret:/etc/pixcell/app_secret`)",
        );
        return Err(Noted);
    }
    Ok(None)
}

/// The secret in the file that a value names.
pub(super) fn from_file(value: &Value<'_>, env: &Environment) -> Option<SecretString> {
    let path = value.path(env)?;
    match secret::read_file(&path) {
        Ok(FileSecret { secret, mode }) => {
            private(value, mode, &path, env);
            Some(secret)
        }
        Err(error) => value.problem(
            format!("no secret in {}: {error}", path.display()),
            "the file holds the secret and nothing else, on one line; the user that runs pixcell must be able to read it",
        ),
    }
}

fn inline(value: &Value<'_>) -> Option<SecretString> {
    let Ok(secret) = secret::one_word(&value.text()?) else {
        return value.problem("is no secret: it has several lines or words", None);
    };
    let other_way = "move the secret to a file of its own with `app_secret_file`";
    private_itself(value, "the secret", Some(other_way));
    Some(secret)
}

/// Warns of a secret in the configuration itself where others can read that.
fn private_itself(value: &Value<'_>, secret: &str, other_way: Option<&str>) {
    let source = value.notes.source();
    if source.readable_by_others() {
        let path = source.path().display();
        let help = match other_way {
            Some(way) => format!("`chmod 600 {path}`, or {way}"),
            None => format!("`chmod 600 {path}`"),
        };
        let message = format!("{secret} stands in a file that other users can read");
        value.warning(message, help);
    }
}

/// Warns of a file that others can read.
fn private(value: &Value<'_>, mode: u32, path: &std::path::Path, env: &Environment) {
    if let Some((message, help)) = public(mode, path, env) {
        value.warning(message, help);
    }
}

/// What to tell of a file that others can read. What systemd puts into its credentials folder belongs to
/// root, and the group's bit is how the service gets at it.
fn public(mode: u32, path: &std::path::Path, env: &Environment) -> Option<(String, String)> {
    let credential = env
        .credentials_directory
        .as_ref()
        .is_some_and(|folder| path.starts_with(folder));
    let others = if credential { 0o004 } else { 0o044 };
    (mode & others != 0).then(|| {
        let message = format!(
            "{} can be read by other users (mode {:04o})",
            path.display(),
            mode & 0o7777
        );
        let help = format!(
            "give it to the user that runs pixcell alone: `chmod 600 {}`",
            path.display()
        );
        (message, help)
    })
}

/// The product that a host belongs to, and the address of its API.
pub(in crate::config) fn product(host: &str) -> Option<(&'static str, &'static str)> {
    let ends = |domain: &str| {
        host == domain
            || host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    if ends("feishu.cn") {
        Some(("Feishu", defaults::ENDPOINT))
    } else if ends("larksuite.com") {
        Some(("Lark", "https://open.larksuite.com"))
    } else {
        None
    }
}

/// Feishu and Lark are two products with separate accounts: an app of one sees no document of the
/// other.
pub(super) fn one_product(notes: &Notes<'_>, endpoint: &Url, mappings: &[Resolved]) {
    let Some((ours, _)) = endpoint.host_str().and_then(product) else {
        return;
    };
    for resolved in mappings {
        let theirs = resolved.host.as_deref().and_then(product);
        let Some((theirs, right)) = theirs.filter(|(theirs, _)| *theirs != ours) else {
            continue;
        };
        notes.warning(
            &resolved.path.key("spreadsheet"),
            format!("is a spreadsheet of {theirs}, but the endpoint is that of {ours}"),
            format!("for {theirs}: `endpoint: {right}`, with an app made there"),
        );
    }
}
