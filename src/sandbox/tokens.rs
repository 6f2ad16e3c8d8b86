//! Access tokens: who gets one, how long it lives, which are good. Pure: time is an argument,
//! counted from the stand-in's start.
//!
//! Source of the rules: open.feishu.cn, the pages of `tenant_access_token/internal` and of
//! `oauth/token`.

use std::time::Duration;

use super::rules::Refusal;

/// With this much life left, asking again returns the same tenant token.
pub const SAME_TOKEN_WHILE: Duration = Duration::from_mins(30);
/// How many tokens are remembered; the oldest is forgotten first and then counts as unknown.
const REMEMBERED: usize = 1_000;

/// Whose token it is; the API tells them apart by prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tenant,
    User,
}

#[derive(Debug, Clone)]
struct Issued {
    kind: Kind,
    text: String,
    ends: Duration,
}

/// A user's pair of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPair {
    /// The access token.
    pub access: String,
    /// The refresh token, good for one refresh.
    pub refresh: String,
    /// Life of the access token in seconds.
    pub expires_in: u64,
}

/// Everything handed out so far.
#[derive(Debug)]
pub struct Tokens {
    lifetime: Duration,
    issued: Vec<Issued>,
    refresh: Option<String>,
    count: u64,
    salt: u64,
}

impl Tokens {
    /// Nothing handed out. Tokens live `lifetime`; `salt` makes the texts differ between runs.
    pub fn new(lifetime: Duration, salt: u64) -> Self {
        Self {
            lifetime,
            issued: Vec::new(),
            refresh: None,
            count: 0,
            salt,
        }
    }

    /// A tenant token and its remaining life in whole seconds: the newest one while it has
    /// [`SAME_TOKEN_WHILE`] or more left, else a new one beside it.
    pub fn tenant(&mut self, now: Duration) -> (String, u64) {
        let newest = self
            .issued
            .iter()
            .rev()
            .find(|token| token.kind == Kind::Tenant);
        if let Some(token) = newest {
            let left = token.ends.saturating_sub(now);
            if left >= SAME_TOKEN_WHILE {
                return (token.text.clone(), left.as_secs());
            }
        }
        (self.issue(Kind::Tenant, now), self.lifetime.as_secs())
    }

    /// Lets a user in with this refresh token, as the consent page would have.
    pub fn admit_user(&mut self, refresh: &str) {
        self.refresh = Some(refresh.to_owned());
    }

    /// A new pair for a refresh token that was not used before.
    ///
    /// # Errors
    /// [`Refusal::RefreshSpent`] for any but the newest refresh token.
    pub fn refresh(&mut self, token: &str, now: Duration) -> Result<UserPair, Refusal> {
        if self.refresh.as_deref() != Some(token) {
            return Err(Refusal::RefreshSpent);
        }
        let access = self.issue(Kind::User, now);
        let refresh = format!("r-{}", self.text());
        self.refresh = Some(refresh.clone());
        Ok(UserPair {
            access,
            refresh,
            expires_in: self.lifetime.as_secs(),
        })
    }

    /// Checks the value of the header `Authorization`.
    ///
    /// # Errors
    /// The refusal that the API answers: missing, malformed, unknown or expired.
    pub fn check(&self, authorization: Option<&str>, now: Duration) -> Result<(), Refusal> {
        let text = authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .filter(|text| !text.is_empty())
            .ok_or(Refusal::TokenMissing)?;
        let kind = if text.starts_with("t-") {
            Kind::Tenant
        } else if text.starts_with("u-") {
            Kind::User
        } else {
            return Err(Refusal::TokenShape);
        };
        let known = self.issued.iter().find(|token| token.text == text);
        match (kind, known) {
            (_, Some(token)) if now < token.ends => Ok(()),
            (Kind::Tenant, _) => Err(Refusal::TenantTokenInvalid),
            (Kind::User, Some(_)) => Err(Refusal::UserTokenExpired),
            (Kind::User, None) => Err(Refusal::UserTokenInvalid),
        }
    }

    /// Ends the life of every token at `now`.
    pub fn expire_all(&mut self, now: Duration) {
        for token in &mut self.issued {
            token.ends = token.ends.min(now);
        }
    }

    /// How many access tokens were made.
    pub fn made(&self) -> u64 {
        self.count
    }

    fn issue(&mut self, kind: Kind, now: Duration) -> String {
        self.count += 1;
        let prefix = match kind {
            Kind::Tenant => 't',
            Kind::User => 'u',
        };
        let text = format!("{prefix}-{}", self.text());
        if self.issued.len() >= REMEMBERED {
            self.issued.remove(0);
        }
        self.issued.push(Issued {
            kind,
            text: text.clone(),
            ends: now + self.lifetime,
        });
        text
    }

    fn text(&self) -> String {
        let seed = [self.salt.to_le_bytes(), self.count.to_le_bytes()].concat();
        blake3::hash(&seed).to_hex()[..40].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    fn bearer(token: &str) -> String {
        format!("Bearer {token}")
    }

    #[rstest]
    #[case::at_once(0, true, 7200)]
    #[case::half_way(60, true, 3600)]
    #[case::thirty_minutes_left(90, true, 1800)]
    #[case::less_than_thirty_left(91, false, 7200)]
    #[case::long_expired(600, false, 7200)]
    fn the_same_token_returns_while_thirty_minutes_remain(
        #[case] minutes: u64,
        #[case] same: bool,
        #[case] expire: u64,
    ) {
        let mut tokens = Tokens::new(2 * HOUR, 1);
        let (first, _) = tokens.tenant(Duration::ZERO);
        let (second, left) = tokens.tenant(at(minutes));
        assert_eq!((first == second, left), (same, expire));
    }

    #[test]
    fn old_and_new_token_both_work_until_each_expires() {
        let mut tokens = Tokens::new(2 * HOUR, 1);
        let (old, _) = tokens.tenant(Duration::ZERO);
        let (new, _) = tokens.tenant(at(100));
        assert_eq!(tokens.check(Some(&bearer(&old)), at(101)), Ok(()));
        assert_eq!(tokens.check(Some(&bearer(&new)), at(101)), Ok(()));
        assert_eq!(
            tokens.check(Some(&bearer(&old)), at(120)),
            Err(Refusal::TenantTokenInvalid)
        );
        assert_eq!(tokens.check(Some(&bearer(&new)), at(120)), Ok(()));
    }

    #[test]
    fn tokens_told_to_expire_are_refused_and_replaced() {
        let mut tokens = Tokens::new(2 * HOUR, 1);
        let (old, _) = tokens.tenant(at(1));
        tokens.expire_all(at(2));
        assert_eq!(
            tokens.check(Some(&bearer(&old)), at(2)),
            Err(Refusal::TenantTokenInvalid)
        );
        assert_ne!(tokens.tenant(at(2)).0, old);
    }

    #[rstest]
    #[case::none(None, Refusal::TokenMissing)]
    #[case::empty(Some("Bearer "), Refusal::TokenMissing)]
    #[case::other_scheme(Some("Basic t-1"), Refusal::TokenMissing)]
    #[case::no_prefix(Some("Bearer 1234"), Refusal::TokenShape)]
    #[case::unknown_tenant(Some("Bearer t-1234"), Refusal::TenantTokenInvalid)]
    #[case::unknown_user(Some("Bearer u-1234"), Refusal::UserTokenInvalid)]
    fn a_wrong_authorization_names_its_fault(
        #[case] header: Option<&str>,
        #[case] refusal: Refusal,
    ) {
        let tokens = Tokens::new(HOUR, 1);
        assert_eq!(tokens.check(header, Duration::ZERO), Err(refusal));
    }

    #[test]
    fn a_refresh_token_works_exactly_once() {
        let mut tokens = Tokens::new(2 * HOUR, 1);
        tokens.admit_user("r-first");
        let pair = tokens.refresh("r-first", at(0)).unwrap();
        assert_eq!(tokens.check(Some(&bearer(&pair.access)), at(119)), Ok(()));
        assert_eq!(
            tokens.check(Some(&bearer(&pair.access)), at(120)),
            Err(Refusal::UserTokenExpired)
        );
        assert_eq!(tokens.refresh("r-first", at(1)), Err(Refusal::RefreshSpent));
        assert!(tokens.refresh(&pair.refresh, at(1)).is_ok());
    }
}
