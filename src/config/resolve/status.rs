//! The section `status`: where the page is served, and to whom.

use std::net::SocketAddr;

use super::feishu::from_file;
use crate::config::environment::Environment;
use crate::config::model::Status;
use crate::config::section::{Section, Value};

pub(super) fn resolve(section: &Section<'_>, env: &Environment) -> Option<Status> {
    let token = match section.get("token_file") {
        Some(value) => Some(from_file(&value, env)?),
        None => None,
    };
    let listen = match section.get("listen") {
        Some(value) => listen(&value)?,
        None => None,
    };
    if let Some(address) = listen
        && !address.ip().is_loopback()
        && token.is_none()
    {
        return section.get("listen")?.problem(
            format!("{address} can be reached by other machines, and no token keeps them out"),
            format!(
                "`127.0.0.1:{}` for this machine only; or beside it `token_file:` with a file that holds a \
                 password",
                address.port()
            ),
        );
    }
    Some(Status { listen, token })
}

/// The outer `None` has been noted as a problem; the inner one is `off`.
#[allow(clippy::option_option)] // As everywhere in this room: `None` is what cannot be used.
fn listen(value: &Value<'_>) -> Option<Option<SocketAddr>> {
    let text = value.text()?;
    // YAML 1.1 reads `off` as false; both spellings mean the same to people.
    if matches!(text.to_lowercase().as_str(), "off" | "false" | "no") {
        return Some(None);
    }
    if let Ok(address) = text.parse() {
        return Some(Some(address));
    }
    let port = text.trim_start_matches(':');
    let help = if port.parse::<u16>().is_ok() {
        format!("with the address: `127.0.0.1:{port}` for this machine only")
    } else if let Some(port) = text.strip_prefix("localhost:") {
        format!("as numbers: `127.0.0.1:{port}`")
    } else {
        "`off`, or an IP address and a port, as in `127.0.0.1:8484`".to_owned()
    };
    value.problem(format!("{text:?} is no address to listen on"), help)
}
