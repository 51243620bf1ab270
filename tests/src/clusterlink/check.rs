//! The messages of `envoy.service.auth.v3.Authorization/Check`, as far as they are used.

use std::collections::HashMap;

use prost::Message;

/// What Envoy asks.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
}

/// Whom it is about.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Attributes {
    #[prost(message, optional, tag = "4")]
    pub request: Option<Request>,
}

/// What it is about.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Request {
    #[prost(message, optional, tag = "2")]
    pub http: Option<HttpRequest>,
}

/// The request that waits.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HttpRequest {
    #[prost(string, tag = "2")]
    pub method: String,
    #[prost(map = "string, string", tag = "3")]
    pub headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    pub path: String,
    #[prost(string, tag = "11")]
    pub body: String,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    pub denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    pub allowed: Option<Allowed>,
}

/// A code of gRPC.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// The answer that the requester gets at once.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Denied {
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    pub body: String,
}

/// A status of HTTP.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HttpStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// The request goes on, with these headers.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Allowed {
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderOption>,
}

/// A header that takes the place of one that is there.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    /// 2 is "overwrite, or add".
    #[prost(int32, tag = "3")]
    pub action: i32,
}

/// A header.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Header {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

// === impl CheckResponse ===

impl CheckResponse {
    /// Lets a request go on with these headers.
    pub(super) fn allow(headers: &[(&str, &str)]) -> Self {
        Self {
            status: Some(Status { code: 0 }),
            denied: None,
            allowed: Some(Allowed {
                headers: options(headers),
            }),
        }
    }

    /// Answers a request.
    pub(super) fn answer(code: i32, headers: &[(&str, &str)], body: &str) -> Self {
        Self {
            // 7 is "permission denied": what isn't to go on, whatever its own status.
            status: Some(Status { code: 7 }),
            denied: Some(Denied {
                status: Some(HttpStatus { code }),
                headers: options(headers),
                body: body.to_owned(),
            }),
            allowed: None,
        }
    }
}

fn options(headers: &[(&str, &str)]) -> Vec<HeaderOption> {
    let option = |(key, value): &(&str, &str)| HeaderOption {
        header: Some(Header {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        }),
        action: 2,
    };
    headers.iter().map(option).collect()
}
