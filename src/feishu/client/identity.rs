//! Whose token the calls carry, and the calls that fetch one.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::super::answer::{as_credentials, no_token};
use super::super::error::CallError;
use super::super::meter::Kind;
use super::super::token::Fresh;
use super::super::user::{Renewed, UserToken};
use super::{Client, JSON, counted};
use crate::config::Identity;

/// Whose token the calls carry.
pub(super) enum Who {
    App {
        secret: SecretString,
    },
    User {
        token: UserToken,
        secret: Option<SecretString>,
    },
}

impl Who {
    pub(super) fn of(identity: &Identity) -> Self {
        match identity {
            Identity::App { secret } => Self::App {
                secret: secret.clone(),
            },
            Identity::User { token_file, secret } => Self::User {
                token: UserToken::new(token_file.clone(), secret.is_some()),
                secret: secret.clone(),
            },
        }
    }

    pub(super) fn follow(&mut self, former: &Self) {
        if let (Self::User { token, .. }, Self::User { token: former, .. }) = (self, former) {
            token.follow(former);
        }
    }

    pub(super) fn try_anew(&self) {
        if let Self::User { token, .. } = self {
            token.try_anew();
        }
    }

    pub(super) async fn leave(&self) {
        if let Self::User { token, .. } = self {
            token.leave().await;
        }
    }
}

impl Client {
    pub(super) async fn fetch_token(
        &self,
        refused: Option<Arc<SecretString>>,
    ) -> Result<Fresh, CallError> {
        let secret = match &self.0.identity {
            Who::App { secret } => secret,
            Who::User { token, secret } => {
                let renew = |refresh| self.renew_user_token(refresh, secret.as_ref());
                return token.fetch(refused.as_deref(), renew).await;
            }
        };
        let url = self.url(&["auth", "v3", "tenant_access_token", "internal"]);
        let body = json!({"app_id": self.0.app_id, "app_secret": secret.expose_secret()});
        let request = self
            .0
            .http
            .post(url)
            .header(CONTENT_TYPE, JSON)
            .body(body.to_string());
        let sent = self.send(Kind::Token, request, None).await;
        let (answer, log_id) = counted("token", sent).map_err(as_credentials)?;
        let value = answer.rest["tenant_access_token"]
            .as_str()
            .filter(|value| !value.is_empty());
        match value {
            Some(value) => Ok(Fresh {
                value: value.into(),
                lifetime: Duration::from_secs(answer.rest["expire"].as_u64().unwrap_or(0)),
            }),
            None => Err(no_token(log_id)),
        }
    }

    async fn renew_user_token(
        &self,
        refresh: SecretString,
        secret: Option<&SecretString>,
    ) -> Result<Renewed, CallError> {
        let body = json!({
            "grant_type": "refresh_token",
            "client_id": self.0.app_id,
            "client_secret": secret.map(ExposeSecret::expose_secret),
            "refresh_token": refresh.expose_secret(),
        });
        let url = self.url(&["authen", "v2", "oauth", "token"]);
        let request = self.0.http.post(url).header(CONTENT_TYPE, JSON);
        let request = request
            .body(body.to_string())
            .timeout(self.0.request_timeout);
        let sent = self.send(Kind::Token, request, None).await;
        let (answer, log_id) = counted("token", sent)?;
        let secret = |name: &str| answer.rest[name].as_str().filter(|value| !value.is_empty());
        let access = secret("access_token").ok_or_else(|| no_token(log_id))?;
        Ok(Renewed {
            access: access.into(),
            refresh: secret("refresh_token").map(SecretString::from),
            lifetime: Duration::from_secs(answer.rest["expires_in"].as_u64().unwrap_or(0)),
        })
    }
}
