//! The access token: fetched once however many wait for it, renewed before it expires, dropped when
//! the API refuses it.
//!
//! Knows nothing of HTTP; how a token is fetched is handed in.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::sync::Mutex;

use super::error::CallError;
use crate::pulse::waiting;

/// Renewed with this much left. With 30 minutes or more left the API answers the same token again; with
/// less a new one, and both work (open.feishu.cn, "`tenant_access_token`, internal app").
const RENEW_BEFORE: Duration = Duration::from_mins(25);
/// A refused token that the API hands out again is not asked for more often than this.
const RETRY_SAME: Duration = Duration::from_mins(1);

/// A token as the API gave it.
pub(super) struct Fresh {
    pub value: SecretString,
    /// How long it lives from now.
    pub lifetime: Duration,
}

/// A token in use. Cheap to clone.
#[derive(Clone)]
pub(super) struct Token {
    pub value: Arc<SecretString>,
    /// Tells one token from its successor.
    pub serial: u64,
}

/// The token of one identity.
#[derive(Default)]
pub(super) struct Tokens(Mutex<State>);

#[derive(Default)]
struct State {
    serial: u64,
    current: Option<(Token, Instant)>,
    /// The last token that was refused, and when.
    refused: Option<(u64, Instant)>,
}

impl Tokens {
    /// The token to use now. While one caller fetches, the others wait for the outcome.
    pub async fn get<F>(&self, fetch: impl FnOnce() -> F) -> Result<Token, CallError>
    where
        F: Future<Output = Result<Fresh, CallError>>,
    {
        let mut state = waiting(self.0.lock()).await;
        if let Some((token, renew_at)) = &state.current
            && Instant::now() < *renew_at
        {
            return Ok(token.clone());
        }
        let asked = Instant::now();
        let fresh = fetch().await?;
        state.serial += 1;
        let token = Token {
            value: Arc::new(fresh.value),
            serial: state.serial,
        };
        // A short-lived token is used for most of its life rather than renewed at every call.
        let keep = fresh
            .lifetime
            .saturating_sub(RENEW_BEFORE)
            .max(fresh.lifetime * 4 / 5);
        state.current = Some((token.clone(), asked + keep));
        Ok(token)
    }

    /// The next call fetches one.
    pub async fn forget(&self) {
        self.0.lock().await.current = None;
    }

    /// The API refused `token`: unless another took its place already, the next call fetches one.
    /// `false` when that was tried just now, so that fetching again would only burn calls.
    pub async fn refuse(&self, token: &Token) -> bool {
        let mut state = waiting(self.0.lock()).await;
        let replaced = state
            .current
            .as_ref()
            .is_some_and(|(current, _)| current.serial != token.serial);
        let told = state
            .refused
            .is_some_and(|(serial, _)| serial >= token.serial);
        if replaced || told {
            // Others met the same refusal; what they were told holds for all.
            return true;
        }
        state.current = None;
        let now = Instant::now();
        let again = state
            .refused
            .is_some_and(|(_, at)| now.duration_since(at) < RETRY_SAME);
        state.refused = Some((token.serial, now));
        !again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn get(tokens: &Tokens, fetched: &AtomicU32, lifetime: u64) -> Token {
        let fetch = || async {
            fetched.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Fresh {
                value: "t-1".into(),
                lifetime: Duration::from_secs(lifetime),
            })
        };
        tokens.get(fetch).await.unwrap()
    }

    #[tokio::test]
    async fn many_who_wait_cost_one_call() {
        let (tokens, fetched) = (Tokens::default(), AtomicU32::new(0));
        let all: [Token; 3] = {
            let (a, b, c) = tokio::join!(
                get(&tokens, &fetched, 7200),
                get(&tokens, &fetched, 7200),
                get(&tokens, &fetched, 7200)
            );
            [a, b, c]
        };
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
        assert!(all.iter().all(|token| token.serial == 1));
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once_however_many_report_it() {
        let (tokens, fetched) = (Tokens::default(), AtomicU32::new(0));
        let first = get(&tokens, &fetched, 7200).await;
        assert!(tokens.refuse(&first).await);
        assert!(
            tokens.refuse(&first).await,
            "two lanes were refused at once"
        );
        let second = get(&tokens, &fetched, 7200).await;
        assert!(
            tokens.refuse(&first).await,
            "a late report must not drop the new token"
        );
        get(&tokens, &fetched, 7200).await;
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
        assert!(
            !tokens.refuse(&second).await,
            "the new one refused at once is no expiry"
        );
    }

    #[tokio::test]
    async fn a_token_without_lifetime_is_not_kept() {
        let (tokens, fetched) = (Tokens::default(), AtomicU32::new(0));
        get(&tokens, &fetched, 0).await;
        get(&tokens, &fetched, 0).await;
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
    }
}
