//! Beside fleet's own paths: what a unit does and its journal, from whichever machine holds it.
//! `GET /strake/v1/units/NAME/status` and `/journal`, as machines ask each other, with `machine=ID`
//! for a unit that is on several. `GET /strake/v1/cluster` is for `strake status`.

use http_body_util::BodyExt as _;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{Answer, Refusal, bad, refuse};
use super::serve::Body;
use crate::peer::{Error, Reach, Wanted, asked};
use crate::scheduler::name::UnitName;
use crate::scheduler::summary::summarize;
use crate::store::Store;

/// The cluster as this machine sees it.
pub const CLUSTER: &str = "/strake/v1/cluster";

/// The unit and what is asked of it.
pub(super) fn parse(path: &str) -> Option<(UnitName, String)> {
    let (unit, what) = asked(path.strip_prefix("/strake")?)?;
    Some((unit, what.to_string()))
}

pub(super) async fn tell<B>(
    reach: &Reach<impl Store>,
    unit: &UnitName,
    what: String,
    request: &Request<B>,
) -> Result<Response<Body>, Refusal> {
    if request.method() != Method::GET {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET"));
    }
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let machine = pairs.find(|(name, _)| name == "machine");
    let machine = machine.as_ref().map(|(_, machine)| machine.as_ref());
    match what.as_str() {
        "status" => {
            let report = reach.status(unit, machine).await?;
            Answer::ok(&report).map(Answer::respond)
        }
        "journal" => {
            let wanted = Wanted::parse(query).map_err(|wrong| bad(wrong.to_string()))?;
            let stream = reach.journal(unit, machine, &wanted).await?;
            let mut response = Response::new(stream.boxed());
            let kind = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            Ok(response)
        }
        _ => Err(refuse(StatusCode::NOT_FOUND, "no such path")),
    }
}

pub(super) async fn cluster(reach: &Reach<impl Store>) -> Result<Response<Body>, Refusal> {
    let summary = summarize(&reach.store, &reach.local.machine).await?;
    Answer::ok(&summary).map(Answer::respond)
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let status = match &error {
            Error::NoUnit(_) | Error::Nowhere(_) | Error::NotThere { .. } => StatusCode::NOT_FOUND,
            Error::Several { .. } | Error::Away { .. } => StatusCode::CONFLICT,
            // Whoever asks may have another way there.
            Error::NoCredentials { .. } | Error::NoListener(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Peer { .. } => StatusCode::BAD_GATEWAY,
            Error::Own(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Error::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        refuse(status, error.to_string())
    }
}
