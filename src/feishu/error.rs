//! Why a call failed, in the words that a person gets, and whether it may have changed the cell.

use std::fmt;
use std::time::Duration;

use super::body::SourceFault;
use super::class::{Class, advice};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There was an answer, and it was no success.
    #[error(transparent)]
    Refused(Refusal),
    /// No answer came.
    #[error("{what}; pixcell tries again by itself")]
    Network {
        /// What happened, without URL queries or headers.
        what: String,
        /// Whether the request may have reached the server whole.
        outcome: Outcome,
        /// [`Class::Unreached`] when there was no connection, else [`Class::Busy`].
        class: Class,
    },
    /// The file is not what it was when it was hashed; the request was not completed.
    #[error(transparent)]
    Source(SourceFault),
    /// The call was not made: it could not be counted, or the month's calls are used up.
    #[error("{0}")]
    Withheld(String),
    /// The call was not made: when its turn came, calls had to wait.
    #[error("the call was not made: calls wait")]
    NotNow,
    /// There is no token to call with, and a person has to act: why, and what to do.
    #[error("{0}")]
    NoToken(String),
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it asks of us.
    pub class: Class,
    /// The HTTP status.
    pub status: u16,
    /// The API's code; `None` when the answer was not the API's JSON.
    pub code: Option<i64>,
    /// The API's message, or what was found in its place.
    pub msg: String,
    /// `x-tt-logid`: identifies the call for the vendor's support.
    pub log_id: Option<String>,
    /// How long the server asked us to wait.
    pub wait: Option<Duration>,
}

/// What a failed call may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Surely nothing.
    Untouched,
    /// Perhaps all of it.
    Unknown,
}

impl CallError {
    /// The answer, when there was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What the failed call may have done.
    pub fn outcome(&self) -> Outcome {
        match self {
            // The API said no. Anything else that answers (a gateway) may have passed the call on.
            Self::Refused(refusal) if refusal.code.is_some_and(|code| code != 0) => {
                Outcome::Untouched
            }
            Self::Refused(_) => Outcome::Unknown,
            Self::Network { outcome, .. } => *outcome,
            Self::Source(_) | Self::Withheld(_) | Self::NotNow | Self::NoToken(_) => {
                Outcome::Untouched
            }
        }
    }

    /// The class of the failure; a call that was not made is [`Class::Busy`], and one that failed for its
    /// file has none.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Refused(refusal) => Some(refusal.class),
            Self::Network { class, .. } => Some(*class),
            Self::Withheld(_) | Self::NotNow => Some(Class::Busy),
            Self::NoToken(_) => Some(Class::Credentials),
            Self::Source(_) => None,
        }
    }

    /// How long the server asked us to wait.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.wait,
            _ => None,
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// Whether the API says that the sheet or the cell is not there.
    pub fn names_no_place(&self) -> bool {
        let missing = [90_211, 1_310_211, 90_215, 1_310_215, 90_212];
        self.code.is_some_and(|code| missing.contains(&code))
    }

    /// What the API said, without what to do.
    pub fn said(&self) -> String {
        let code = self.code.map(|code| format!(", code {code}"));
        let log_id = self.log_id.as_ref().map(|id| format!(", logid {id}"));
        format!(
            "the API answered {:?} (HTTP {}{}{})",
            self.msg,
            self.status,
            code.unwrap_or_default(),
            log_id.unwrap_or_default()
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.said(), advice(self.class, self.code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: Option<i64>) -> CallError {
        CallError::Refused(Refusal {
            class: super::super::classify(status, code),
            status,
            code,
            msg: "no".into(),
            log_id: None,
            wait: None,
        })
    }

    #[test]
    fn only_the_apis_own_no_is_sure_to_have_changed_nothing() {
        assert_eq!(refusal(200, Some(90_212)).outcome(), Outcome::Untouched);
        assert_eq!(refusal(502, None).outcome(), Outcome::Unknown);
        assert_eq!(refusal(200, Some(0)).outcome(), Outcome::Unknown);
    }

    #[test]
    fn a_refusal_says_code_message_logid_and_what_to_do() {
        let refusal = Refusal {
            class: Class::Document,
            status: 403,
            code: Some(90_213),
            msg: "no permission".into(),
            log_id: Some("20260101".into()),
            wait: None,
        };
        insta::assert_snapshot!(refusal, @r#"the API answered "no permission" (HTTP 403, code 90213, logid 20260101); add the app to the document (… > More > Add document app; in a wiki on its wiki page) with permission to edit"#);
    }
}
