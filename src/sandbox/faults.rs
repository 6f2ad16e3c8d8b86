//! What the stand-in is told to do wrong. Pure: decides which call a fault takes; `exchange`
//! carries it out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use crate::a1::CellRef;

/// Faults that may wait at once.
pub const MAX_FAULTS: usize = 1_000;

/// One thing to do wrong: to which calls, how often, and what. The first fault that fits takes a
/// call; each call meets at most one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which calls; empty: all.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Only calls for this spreadsheet.
    #[serde(default)]
    pub spreadsheet: Option<String>,
    /// Only images for this cell, as `B2`. The cell stands in the body, so such a fault cannot act
    /// before the body is read.
    #[serde(default)]
    pub cell: Option<String>,
    /// How many calls it takes; `null`: all. Default: 1.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// How many fitting calls it lets pass first. Default: 0.
    #[serde(default)]
    pub after: u32,
    /// Answers this instead.
    #[serde(default)]
    pub answer: Option<FaultAnswer>,
    /// Drops the connection.
    #[serde(default)]
    pub cut: Option<Cut>,
    /// Reads the body no faster than this many bytes a second; at least 1.
    #[serde(default)]
    pub read_bytes_per_second: Option<u32>,
    /// Waits this many milliseconds before the call takes effect.
    #[serde(default)]
    pub delay_write_ms: u64,
    /// Waits this many milliseconds between the effect and the answer.
    #[serde(default)]
    pub delay_answer_ms: u64,
    /// Answers this as `updateRange`.
    #[serde(default)]
    pub update_range: Option<String>,
    /// Leaves `revision` out of the answer.
    #[serde(default)]
    pub without_revision: bool,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the type of the field it is the default of"
)]
fn once() -> Option<u32> {
    Some(1)
}

/// An answer to give instead of the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultAnswer {
    /// The HTTP status. Default: 200.
    #[serde(default = "ok")]
    pub status: u16,
    /// The code of a JSON answer. Default: 0.
    #[serde(default)]
    pub code: i64,
    /// The message beside the code.
    #[serde(default)]
    pub msg: String,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A body to send as it is, in place of JSON with code and message.
    #[serde(default)]
    pub body: Option<String>,
    /// The type of that body. Default: `text/html`.
    #[serde(default)]
    pub content_type: Option<String>,
    /// When it is given. Default: before the effect.
    #[serde(default)]
    pub when: AnswerWhen,
}

fn ok() -> u16 {
    200
}

/// When a wrong answer is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerWhen {
    /// At once, without reading the body, as a gateway may; the connection is closed.
    BeforeBody,
    /// After the body; the call has no effect.
    #[default]
    BeforeWrite,
    /// The call takes effect all the same.
    AfterWrite,
}

/// When a connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// After this many bytes of the body, or at its end if it is shorter; no effect.
    InBody {
        /// How many bytes are read.
        bytes: u64,
    },
    /// After the whole body; no effect.
    BeforeWrite,
    /// After the effect, instead of an answer.
    AfterWrite,
}

impl Fault {
    /// A fault of one kind of call, once, that does nothing yet.
    pub fn on(endpoint: Endpoint) -> Self {
        let mut fault = Self::on_every_call();
        fault.endpoints.push(endpoint);
        fault
    }

    /// A fault of all calls, once, that does nothing yet.
    pub fn on_every_call() -> Self {
        Self {
            endpoints: Vec::new(),
            spreadsheet: None,
            cell: None,
            times: once(),
            after: 0,
            answer: None,
            cut: None,
            read_bytes_per_second: None,
            delay_write_ms: 0,
            delay_answer_ms: 0,
            update_range: None,
            without_revision: false,
        }
    }

    /// Only for this spreadsheet.
    #[must_use]
    pub fn spreadsheet(mut self, token: impl Into<String>) -> Self {
        self.spreadsheet = Some(token.into());
        self
    }

    /// Only for images to this cell, as `B2`.
    #[must_use]
    pub fn cell(mut self, cell: impl Into<String>) -> Self {
        self.cell = Some(cell.into());
        self
    }

    /// This many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Until the faults are cleared.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.times = None;
        self
    }

    /// Only after this many fitting calls.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.after = calls;
        self
    }

    /// Answers with a code and without an effect.
    #[must_use]
    pub fn answer(mut self, status: u16, code: i64, msg: impl Into<String>) -> Self {
        self.answer = Some(FaultAnswer {
            status,
            code,
            msg: msg.into(),
            headers: BTreeMap::new(),
            body: None,
            content_type: None,
            when: AnswerWhen::default(),
        });
        self
    }

    /// Answers as a throttled call: code 99991400, the wait in `x-ogw-ratelimit-reset`.
    #[must_use]
    pub fn throttle(self, status: u16, reset_secs: u64) -> Self {
        self.answer(status, 99_991_400, "request trigger frequency limit")
            .header("x-ogw-ratelimit-limit", "100")
            .header("x-ogw-ratelimit-reset", reset_secs.to_string())
    }

    /// Answers with a body that is no JSON, and without an effect.
    #[must_use]
    pub fn html(self, status: u16) -> Self {
        let mut fault = self.answer(status, 0, "");
        if let Some(answer) = &mut fault.answer {
            answer.body = Some("<html><body>Please log in to the network</body></html>".into());
        }
        fault
    }

    /// Adds a header to the answer; nothing without one.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(answer) = &mut self.answer {
            answer.headers.insert(name.into(), value.into());
        }
        self
    }

    /// Says when the answer is given; nothing without one.
    #[must_use]
    pub fn when(mut self, when: AnswerWhen) -> Self {
        if let Some(answer) = &mut self.answer {
            answer.when = when;
        }
        self
    }

    /// Drops the connection.
    #[must_use]
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut = Some(cut);
        self
    }

    /// Reads the body slowly.
    #[must_use]
    pub fn slow_read(mut self, bytes_per_second: u32) -> Self {
        self.read_bytes_per_second = Some(bytes_per_second);
        self
    }

    /// Waits before the effect.
    #[must_use]
    pub fn delay_write(mut self, delay: Duration) -> Self {
        self.delay_write_ms = millis(delay);
        self
    }

    /// Waits between the effect and the answer.
    #[must_use]
    pub fn delay_answer(mut self, delay: Duration) -> Self {
        self.delay_answer_ms = millis(delay);
        self
    }

    /// Answers another range than the one written.
    #[must_use]
    pub fn update_range(mut self, range: impl Into<String>) -> Self {
        self.update_range = Some(range.into());
        self
    }

    /// Leaves the revision out.
    #[must_use]
    pub fn without_revision(mut self) -> Self {
        self.without_revision = true;
        self
    }

    /// The answer, if it is given at this moment.
    pub(super) fn answer_at(&self, when: AnswerWhen) -> Option<&FaultAnswer> {
        self.answer.as_ref().filter(|answer| answer.when == when)
    }

    fn check(&self) -> Result<(), String> {
        let early = self.read_bytes_per_second.is_some()
            || matches!(self.cut, Some(Cut::InBody { .. }))
            || self.answer_at(AnswerWhen::BeforeBody).is_some();
        if self.cell.is_some() && early {
            return Err(
                "a fault that names a cell cannot act before the body, which names the cell, is read"
                    .into(),
            );
        }
        if let Some(cell) = &self.cell {
            let parsed = cell.parse::<CellRef>().map(|parsed| parsed.to_string());
            if parsed.as_ref() != Ok(cell) {
                return Err(format!("`cell` is a cell as `B2`, not {cell:?}"));
            }
        }
        if self.read_bytes_per_second == Some(0) || self.times == Some(0) {
            return Err("`read_bytes_per_second` and `times` are at least 1".into());
        }
        if let Some(answer) = &self.answer
            && !(200..=599).contains(&answer.status)
        {
            return Err(format!("there is no HTTP status {}", answer.status));
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A fault that waits, and how often it fitted.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    /// The fault.
    pub fault: Fault,
    /// Calls that fitted, those let pass included.
    pub fitted: u64,
}

/// The faults that wait, in the order they were added.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Waiting>);

impl Faults {
    /// Adds a fault behind the others.
    ///
    /// # Errors
    /// With a sentence for people when the fault cannot be carried out, or 1,000 wait already.
    pub fn add(&mut self, fault: Fault) -> Result<(), String> {
        fault.check()?;
        if self.0.len() >= MAX_FAULTS {
            return Err(format!("{MAX_FAULTS} faults wait already"));
        }
        self.0.push(Waiting { fault, fitted: 0 });
        Ok(())
    }

    /// Forgets all faults.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Those that wait.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.0.iter()
    }

    /// The fault for a call whose head has come; those that name a cell are left for
    /// [`Faults::take_for_cell`].
    pub fn take(&mut self, endpoint: Endpoint, spreadsheet: Option<&str>) -> Option<Fault> {
        self.take_where(|fault| fault.cell.is_none() && fits(fault, endpoint, spreadsheet))
    }

    /// The fault for an image whose body has come.
    pub fn take_for_cell(&mut self, spreadsheet: Option<&str>, cell: &str) -> Option<Fault> {
        self.take_where(|fault| {
            fault.cell.as_deref() == Some(cell) && fits(fault, Endpoint::ValuesImage, spreadsheet)
        })
    }

    fn take_where(&mut self, fits: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut taken = None;
        for waiting in self.0.iter_mut().filter(|waiting| fits(&waiting.fault)) {
            waiting.fitted += 1;
            if waiting.fitted > u64::from(waiting.fault.after) {
                taken = Some(waiting.fault.clone());
                break;
            }
        }
        self.0.retain(|waiting| {
            waiting.fault.times.is_none_or(|times| {
                waiting.fitted < u64::from(waiting.fault.after) + u64::from(times)
            })
        });
        taken
    }
}

fn fits(fault: &Fault, endpoint: Endpoint, spreadsheet: Option<&str>) -> bool {
    let right_call = fault.endpoints.is_empty() || fault.endpoints.contains(&endpoint);
    let right_document = fault.spreadsheet.is_none() || fault.spreadsheet.as_deref() == spreadsheet;
    right_call && right_document
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const IMAGE: Endpoint = Endpoint::ValuesImage;

    fn faults(list: impl IntoIterator<Item = Fault>) -> Faults {
        let mut faults = Faults::default();
        for fault in list {
            faults.add(fault).unwrap();
        }
        faults
    }

    /// Which of six calls in a row meet the fault.
    #[rstest]
    #[case::once(Fault::on(IMAGE), "x.....")]
    #[case::twice(Fault::on(IMAGE).times(2), "xx....")]
    #[case::for_ever(Fault::on(IMAGE).forever(), "xxxxxx")]
    #[case::later(Fault::on(IMAGE).after(2).times(2), "..xx..")]
    #[case::late_for_ever(Fault::on(IMAGE).after(4).forever(), "....xx")]
    fn a_fault_takes_as_many_calls_as_it_says(#[case] fault: Fault, #[case] expected: &str) {
        let mut faults = faults([fault]);
        let met: String = (0..6)
            .map(|_| faults.take(IMAGE, None).map_or('.', |_| 'x'))
            .collect();
        assert_eq!(met, expected);
    }

    #[rstest]
    #[case::same(Fault::on(IMAGE), true)]
    #[case::other_call(Fault::on(Endpoint::SheetsQuery), false)]
    #[case::every_call(Fault::on_every_call(), true)]
    #[case::same_document(Fault::on(IMAGE).spreadsheet("d"), true)]
    #[case::other_document(Fault::on(IMAGE).spreadsheet("e"), false)]
    #[case::cell_not_known_yet(Fault::on(IMAGE).cell("B2"), false)]
    fn a_fault_fits_by_call_and_document(#[case] fault: Fault, #[case] fits: bool) {
        assert_eq!(faults([fault]).take(IMAGE, Some("d")).is_some(), fits);
    }

    #[test]
    fn a_fault_for_a_cell_takes_only_that_cell() {
        let mut faults = faults([Fault::on(IMAGE).cell("B2").answer(400, 90_204, "x")]);
        assert!(faults.take_for_cell(Some("d"), "B3").is_none());
        assert!(faults.take_for_cell(Some("d"), "B2").is_some());
        assert!(faults.take_for_cell(Some("d"), "B2").is_none());
    }

    #[test]
    fn the_first_fault_that_fits_takes_the_call() {
        let mut faults = faults([
            Fault::on(IMAGE).answer(500, 1, "first"),
            Fault::on(IMAGE).answer(500, 2, "second"),
        ]);
        let mut code = || faults.take(IMAGE, None)?.answer.map(|answer| answer.code);
        assert_eq!([code(), code(), code()], [Some(1), Some(2), None]);
    }

    #[rstest]
    #[case(r#"{"endpoints":["values_image"],"times":null,"answer":{"status":429,"code":99991400,"headers":{"x-ogw-ratelimit-reset":"3"}}}"#)]
    #[case(r#"{"cut":{"in_body":{"bytes":100}}}"#)]
    #[case(r#"{"cut":"after_write","spreadsheet":"d","cell":"B2"}"#)]
    #[case(r#"{"answer":{"body":"<html>","when":"after_write"}}"#)]
    fn the_json_form_is_read(#[case] json: &str) {
        let fault: Fault = serde_json::from_str(json).unwrap();
        assert!(Faults::default().add(fault).is_ok());
    }

    #[rstest]
    #[case(Fault::on(IMAGE).cell("B2").cut(Cut::InBody { bytes: 1 }))]
    #[case(Fault::on(IMAGE).cell("B2").slow_read(1))]
    #[case(Fault::on(IMAGE).cell("b2"))]
    #[case(Fault::on(IMAGE).slow_read(0))]
    #[case(Fault::on(IMAGE).times(0))]
    #[case(Fault::on(IMAGE).answer(99, 0, ""))]
    fn a_fault_that_cannot_be_carried_out_is_refused(#[case] fault: Fault) {
        assert!(Faults::default().add(fault).is_err());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(serde_json::from_str::<Fault>(r#"{"time":3}"#).is_err());
    }
}
