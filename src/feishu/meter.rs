//! What is asked before a call and told after it: whether the app's quota has it, and whether it may go now.
//! Knows nothing of how calls are counted and of what they wait for.
//!
//! What counts, by the vendor's page "Custom app API call limit" (open.feishu.cn): every call but those
//! of authentication; not those that were answered with HTTP 4xx or 5xx.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use super::error::CallError;

/// A kind of call, as the quota has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For a token: is free.
    Token,
    /// Any other.
    Counted,
}

/// Keeps the books.
pub trait Meter: Debug + Send + Sync {
    /// A call is about to be made; it is recorded when this returns.
    ///
    /// # Errors
    /// With a sentence for people when it must not be made.
    fn spend(&self, kind: Kind) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;

    /// A call that was spent surely did not count.
    fn refund(&self);

    /// A call that was spent was not made.
    fn unmade(&self, kind: Kind);
}

/// Asked once more when a call's turn has come: what it was told before it waited may be over.
pub trait Leave: Debug + Send + Sync {
    /// Whether the request may go out now.
    fn may_go(&self) -> bool;

    /// What came of it; told of calls that count, whatever they ask. `writes`: it carried a picture.
    fn ended(&self, failed: Option<&CallError>, writes: bool);
}

/// Whether a call that failed like this surely did not count. An answer that is not the API's own may
/// come from a gateway that had passed the call on.
pub(super) fn is_free(error: &CallError) -> bool {
    match error {
        CallError::Refused(refusal) => refusal.status >= 400 && refusal.code.is_some(),
        CallError::Network { outcome, .. } => *outcome == super::Outcome::Untouched,
        CallError::Source(_)
        | CallError::Withheld(_)
        | CallError::NotNow
        | CallError::NoToken(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Outcome, Refusal};
    use super::*;
    use rstest::rstest;

    fn refused(status: u16, code: Option<i64>) -> CallError {
        CallError::Refused(Refusal {
            class: Class::Busy,
            status,
            code,
            msg: String::new(),
            log_id: None,
            wait: None,
        })
    }

    fn network(outcome: Outcome) -> CallError {
        CallError::Network {
            what: String::new(),
            outcome,
            class: Class::Busy,
        }
    }

    #[rstest]
    #[case(refused(429, Some(99_991_400)), true)]
    #[case(refused(500, Some(1_315_201)), true)]
    #[case(refused(200, Some(90_218)), false)]
    #[case(refused(502, None), false)]
    #[case(network(Outcome::Untouched), true)]
    #[case(network(Outcome::Unknown), false)]
    fn only_what_the_api_refused_or_never_saw_is_free(
        #[case] error: CallError,
        #[case] free: bool,
    ) {
        assert_eq!(is_free(&error), free);
    }
}
