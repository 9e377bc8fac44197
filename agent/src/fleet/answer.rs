//! Replies, and fleet's form of an error.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::serve::Body;
use crate::scheduler::orders;
use crate::scheduler::text::Problem;
use crate::store::{self, Kind};

#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Option<String>,
}

/// Why a request gets nothing.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

pub(super) type Answered = Result<Answer, Refusal>;

impl Answer {
    pub(super) fn ok(value: &impl Serialize) -> Answered {
        let text = serde_json::to_string(value).map_err(|error| Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: error.to_string(),
        })?;
        Ok(Answer {
            status: StatusCode::OK,
            body: Some(text),
        })
    }

    pub(super) fn empty(status: StatusCode) -> Answered {
        Ok(Answer { status, body: None })
    }

    pub(super) fn respond(self) -> Response<Body> {
        let body = Full::new(Bytes::from(self.body.unwrap_or_default()));
        let body = body.map_err(|never| match never {});
        let mut response = Response::new(body.boxed());
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

impl Refusal {
    pub(super) fn respond(self) -> Response<Body> {
        let code = self.status.as_u16();
        let body = json!({"error": {"code": code, "message": self.message}});
        let answer = Answer {
            status: self.status,
            body: Some(body.to_string()),
        };
        answer.respond()
    }
}

pub(super) fn refuse(status: StatusCode, message: impl Into<String>) -> Refusal {
    Refusal {
        status,
        message: message.into(),
    }
}

pub(super) fn bad(message: impl Into<String>) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, message)
}

/// Everything that is wrong, each with its line.
pub(super) fn problems(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("; ")
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        let status = match error.kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unreachable | Kind::LeaseGone => StatusCode::SERVICE_UNAVAILABLE,
        };
        refuse(status, error.to_string())
    }
}

impl From<orders::Error> for Refusal {
    fn from(error: orders::Error) -> Refusal {
        match error {
            orders::Error::Store(error) => error.into(),
            orders::Error::NoUnit(_) => refuse(StatusCode::NOT_FOUND, error.to_string()),
            orders::Error::Wrong { problems: all, .. } => bad(problems(&all)),
            orders::Error::Template(_) => bad(error.to_string()),
            _ => refuse(StatusCode::CONFLICT, error.to_string()),
        }
    }
}
