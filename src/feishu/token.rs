//! The access token: fetched once however many wait for it, renewed before it expires, dropped when
//! the API refuses it.
//!
//! Knows nothing of HTTP; how a token is fetched is handed in.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::error::CallError;
use crate::pulse::waiting;

/// Renewed with this much left. With 30 minutes or more left the API answers the same token again; with
/// less a new one, and both work (open.feishu.cn, "`tenant_access_token`, internal app").
pub(super) const RENEW_BEFORE: Duration = Duration::from_mins(25);
/// A token that is refused although it is fresh is tried again as it is for so long: asking for another
/// would give the same one.
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
pub(super) struct Tokens {
    state: Mutex<State>,
    /// Held while a token is fetched, so that the others wait for what comes of it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    current: Option<Held>,
    /// Fetches that have ended.
    fetches: u64,
    /// How the last of them failed.
    failed: Option<CallError>,
    /// A token was refused, and none has been accepted since.
    refused: bool,
    /// The last token that was refused, and when.
    last_refused: Option<(Token, Instant)>,
}

struct Held {
    token: Token,
    fetched: Instant,
    renew_at: Instant,
    /// It was refused, and it came in place of one that was refused.
    refused: bool,
}

impl State {
    fn usable(&self) -> Option<Token> {
        let held = self.current.as_ref()?;
        let worn = held.refused && held.fetched.elapsed() >= RETRY_SAME;
        (Instant::now() < held.renew_at && !worn).then(|| held.token.clone())
    }
}

impl Tokens {
    /// The token to use now. While one caller fetches, the others wait for the outcome, and share it when it
    /// is a failure. `fetch` is told which token was refused a moment ago.
    pub async fn get<F>(
        &self,
        fetch: impl FnOnce(Option<Arc<SecretString>>) -> F,
    ) -> Result<Token, CallError>
    where
        F: Future<Output = Result<Fresh, CallError>>,
    {
        let (usable, before) = self.with(|state| (state.usable(), state.fetches));
        if let Some(token) = usable {
            return Ok(token);
        }
        let _fetching = waiting(self.fetching.lock()).await;
        let meanwhile = self.with(|state| match (state.usable(), &state.failed) {
            (Some(token), _) => Some(Ok(token)),
            (None, Some(failed)) if state.fetches != before => Some(Err(failed.clone())),
            _ => None,
        });
        if let Some(outcome) = meanwhile {
            return outcome;
        }
        let asked = Instant::now();
        let refused = self.with(|state| {
            let last = state.last_refused.as_ref();
            last.filter(|(_, at)| asked.duration_since(*at) < RETRY_SAME)
                .map(|(token, _)| Arc::clone(&token.value))
        });
        let fetched = fetch(refused).await;
        self.with(|state| {
            state.fetches += 1;
            state.failed = fetched.as_ref().err().cloned();
            let fresh = fetched?;
            let token = Token {
                value: Arc::new(fresh.value),
                serial: state.fetches,
            };
            // A short-lived token is used for most of its life rather than renewed at every call.
            let keep = fresh
                .lifetime
                .saturating_sub(RENEW_BEFORE)
                .max(fresh.lifetime * 4 / 5);
            state.current = Some(Held {
                token: token.clone(),
                fetched: asked,
                renew_at: asked + keep,
                refused: false,
            });
            Ok(token)
        })
    }

    /// The next call fetches one.
    pub fn forget(&self) {
        self.with(|state| state.current = None);
    }

    /// The API refused `token`: unless another took its place already, the next call fetches one. `false` when
    /// it came in place of one that was refused and none was accepted since: then no other would do.
    pub fn refuse(&self, token: &Token) -> bool {
        self.with(|state| {
            let again = state.refused;
            let current = state.current.as_mut();
            let Some(held) = current.filter(|held| held.token.serial == token.serial) else {
                // Others met the same refusal; the token that took its place holds for all.
                return true;
            };
            held.refused = again;
            state.last_refused = Some((token.clone(), Instant::now()));
            if !again {
                state.refused = true;
                state.current = None;
            }
            !again
        })
    }

    /// The API accepted `token`.
    pub fn accepted(&self, token: &Token) {
        self.with(|state| {
            let current = state.current.as_mut();
            if let Some(held) = current.filter(|held| held.token.serial == token.serial) {
                held.refused = false;
                state.refused = false;
            }
        });
    }

    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        // Held for the length of a comparison, never over an await.
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::super::class::Class;
    use super::super::error::Outcome;
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn get(tokens: &Tokens, fetched: &AtomicU32, lifetime: u64) -> Token {
        let fetch = |_| async {
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
        assert!(tokens.refuse(&first));
        assert!(tokens.refuse(&first), "two lanes were refused at once");
        let second = get(&tokens, &fetched, 7200).await;
        assert!(
            tokens.refuse(&first),
            "a late report must not drop the new token"
        );
        get(&tokens, &fetched, 7200).await;
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
        assert!(
            !tokens.refuse(&second),
            "the new one refused at once is no expiry"
        );
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_all_who_waited_for_it() {
        let (tokens, fetched) = (Tokens::default(), AtomicU32::new(0));
        let fail = || async {
            let fetch = |_| async {
                fetched.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Err(CallError::Network {
                    what: "no connection".into(),
                    outcome: Outcome::Untouched,
                    class: Class::Unreached,
                })
            };
            tokens.get(fetch).await.map(|token| token.serial)
        };
        let (a, b, c) = tokio::join!(fail(), fail(), fail());
        assert!(a.is_err() && a == b && b == c);
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
        // Whoever comes later asks again.
        assert!(fail().await.is_err());
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
    }

    /// A call with a token that is never accepted: the token, and once more when another may do.
    async fn refused_call(tokens: &Tokens, fetched: &AtomicU32) {
        let token = get(tokens, fetched, 7200).await;
        if tokens.refuse(&token) {
            let token = get(tokens, fetched, 7200).await;
            assert!(!tokens.refuse(&token));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_never_accepted_costs_fewer_than_five_calls_in_five_minutes() {
        let (tokens, fetched) = (Tokens::default(), AtomicU32::new(0));
        // Then the probes of the closed gate.
        for wait in [0, 30, 60, 120] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            refused_call(&tokens, &fetched).await;
        }
        assert_eq!(fetched.load(Ordering::SeqCst), 4);
        // Once one is accepted, the next refusal is an expiry again.
        tokio::time::advance(Duration::from_mins(4)).await;
        let token = get(&tokens, &fetched, 7200).await;
        tokens.accepted(&token);
        assert!(tokens.refuse(&token));
    }

    #[tokio::test]
    async fn a_token_without_lifetime_is_not_kept() {
        let (tokens, fetched) = (Tokens::default(), AtomicU32::new(0));
        get(&tokens, &fetched, 0).await;
        get(&tokens, &fetched, 0).await;
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
    }
}
