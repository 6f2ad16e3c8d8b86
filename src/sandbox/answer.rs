//! Answers: the JSON envelope, the bytes of a media, the wrong answers of faults. Every one carries
//! `x-tt-logid`. Decides nothing; `work` and `rules` say what to answer.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::faults::{Fault, FaultAnswer};
use super::rules::Refusal;

/// What a call that succeeds has to say.
#[derive(Debug)]
pub enum Done {
    /// Goes under `data`.
    Data(Value),
    /// Goes beside `code` and `msg`, as in the token calls.
    Beside(Value),
    /// A media's bytes and their type.
    Media(&'static str, Bytes),
}

/// An answer, ready to send.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The code of a JSON answer.
    pub code: Option<i64>,
    /// The revision in it.
    pub revision: Option<u64>,
    content_type: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Answer {
    fn json(status: u16, value: &Value) -> Self {
        Self {
            status,
            code: value["code"].as_i64(),
            revision: value["data"]["revision"].as_u64(),
            content_type: "application/json; charset=utf-8".to_owned(),
            headers: Vec::new(),
            body: value.to_string().into(),
        }
    }

    /// The answer to a call that succeeded, changed as a fault says.
    pub fn done(done: Done, fault: Option<&Fault>) -> Self {
        match done {
            Done::Media(content_type, body) => Self {
                status: 200,
                code: None,
                revision: None,
                content_type: content_type.to_owned(),
                headers: Vec::new(),
                body,
            },
            Done::Beside(mut value) => {
                value["code"] = 0.into();
                value["msg"] = "ok".into();
                Self::json(200, &value)
            }
            Done::Data(mut data) => {
                if let Some(fault) = fault {
                    change(&mut data, fault);
                }
                Self::json(200, &json!({"code": 0, "msg": "success", "data": data}))
            }
        }
    }

    /// The answer to a call that is refused. With `throttled_as_400` a throttled call gets the
    /// HTTP status of the older calls.
    pub fn refused(refusal: &Refusal, endpoint: Endpoint, throttled_as_400: bool) -> Self {
        let (status, code) = refusal.answer(endpoint);
        let mut answer = Self::json(
            status,
            &json!({"code": code, "msg": refusal.to_string(), "data": {}}),
        );
        if let Refusal::Throttled { limit, reset_secs } = refusal {
            if throttled_as_400 {
                answer.status = 400;
            }
            answer.header("x-ogw-ratelimit-limit", &limit.to_string());
            answer.header("x-ogw-ratelimit-reset", &reset_secs.to_string());
        }
        answer
    }

    /// The answer that a fault asks for.
    pub fn wrong(wrong: &FaultAnswer) -> Self {
        let mut answer = match &wrong.body {
            Some(body) => Self {
                status: wrong.status,
                code: None,
                revision: None,
                content_type: wrong.content_type.clone().unwrap_or("text/html".to_owned()),
                headers: Vec::new(),
                body: body.clone().into(),
            },
            None => Self::json(
                wrong.status,
                &json!({"code": wrong.code, "msg": wrong.msg, "data": {}}),
            ),
        };
        for (name, value) in &wrong.headers {
            answer.header(name, value);
        }
        answer
    }

    /// Adds a header.
    pub fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The HTTP answer. Headers that HTTP does not allow are left out.
    pub fn into_response(self, log_id: &str) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        let own = [
            (header::CONTENT_TYPE.as_str(), self.content_type.as_str()),
            ("x-tt-logid", log_id),
        ];
        let further = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        for (name, value) in own.into_iter().chain(further) {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

fn change(data: &mut Value, fault: &Fault) {
    let Some(fields) = data.as_object_mut() else {
        return;
    };
    if let Some(range) = &fault.update_range {
        for name in ["updateRange", "updatedRange"] {
            if let Some(field) = fields.get_mut(name) {
                *field = range.clone().into();
            }
        }
    }
    if fault.without_revision {
        fields.remove("revision");
    }
}
