//! The few things of GitHub's API that a comment on a pull request takes, and of GitLab's that one on a
//! merge request does, over real HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::workflow::TOKEN;

/// The name of the one repository.
pub const REPOSITORY: &str = "acme/fabric";

/// The user of GitLab's that the token is of.
pub const GITLAB_USER: u64 = 42;

/// The id of the one run that left an artifact.
pub const RUN: u64 = 77;

/// A forge with one repository.
#[derive(Debug)]
pub struct Forge {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct State {
    address: String,
    /// Pull requests by number.
    pulls: Vec<Value>,
    comments: Vec<Value>,
    notes: Vec<Value>,
    artifact: Option<Vec<u8>>,
    /// Requests that change something: method and path.
    written: Vec<String>,
}

// === impl Forge ===

impl Forge {
    /// A forge that listens on an address of its own.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("the system gives out a port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            address: format!("http://{address}"),
            ..State::default()
        }));
        runtime.spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _runtime: runtime,
        }
    }

    /// The API's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a pull request.
    pub fn open(&self, number: u64, head: &str, repository: &str) {
        self.state.lock().pulls.push(json!({
            "number": number,
            "state": "open",
            "base": {"repo": {"full_name": REPOSITORY}},
            "head": {"sha": head, "repo": {"full_name": repository}},
        }));
    }

    /// Sets the artifact of the run.
    pub fn upload(&self, zip: Vec<u8>) {
        self.state.lock().artifact = Some(zip);
    }

    /// Adds somebody's comment.
    pub fn comment(&self, number: u64, author: &str, body: &str) {
        let mut state = self.state.lock();
        let id = 100 + state.comments.len();
        let comment = json!({"id": id, "number": number, "user": {"login": author}, "body": body});
        state.comments.push(comment);
    }

    /// Adds somebody's note to the one merge request on GitLab.
    pub fn note(&self, author: u64, body: &str) {
        let mut state = self.state.lock();
        let id = 200 + state.notes.len();
        let note = json!({"id": id, "author": {"id": author}, "body": body});
        state.notes.push(note);
    }

    /// The text of every note on the merge request, with its author.
    pub fn notes(&self) -> Vec<(u64, String)> {
        let state = self.state.lock();
        let notes = state.notes.iter().map(|note| {
            let author = note["author"]["id"].as_u64().expect("it is a number");
            (
                author,
                note["body"].as_str().expect("it is text").to_owned(),
            )
        });
        notes.collect()
    }

    /// The text of every comment on a pull request, with its author.
    pub fn comments(&self, number: u64) -> Vec<(String, String)> {
        let state = self.state.lock();
        let text = |value: &Value| value.as_str().expect("it is text").to_owned();
        let comments = state.comments.iter().filter(|c| c["number"] == number);
        comments
            .map(|comment| (text(&comment["user"]["login"]), text(&comment["body"])))
            .collect()
    }

    /// The requests that changed something so far.
    pub fn written(&self) -> Vec<String> {
        self.state.lock().written.clone()
    }
}

// === impl State ===

impl State {
    #[expect(
        clippy::cmp_owned,
        reason = "a number of JSON has no text to compare with"
    )]
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let not_found = (StatusCode::NOT_FOUND, json!({"message": "Not Found"}));
        let prefix = format!("/repos/{REPOSITORY}/");
        let Some(rest) = path.strip_prefix(&prefix) else {
            return not_found;
        };
        let parts: Vec<_> = rest.split('/').collect();
        if *method != Method::GET {
            self.written.push(format!("{method} {rest}"));
            let text = body["body"].as_str().unwrap_or_default();
            if text.is_empty() || text.chars().count() > 65_536 {
                return (
                    StatusCode::UNPROCESSABLE_ENTITY,
                    json!({"message": "Validation Failed"}),
                );
            }
        }
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["actions", "runs", run, "artifacts"]) if *run == RUN.to_string() => {
                let url = format!("{}{prefix}actions/artifacts/5/zip", self.address);
                let artifacts = self.artifact.iter().map(|zip| {
                    json!({
                        "name": "weft-report",
                        "size_in_bytes": zip.len(),
                        "expired": false,
                        "archive_download_url": url,
                    })
                });
                let artifacts: Vec<_> = artifacts.collect();
                (StatusCode::OK, json!({"artifacts": artifacts}))
            }
            ("GET", ["pulls", number]) => {
                let pull = self
                    .pulls
                    .iter()
                    .find(|pull| pull["number"].to_string() == *number);
                pull.map_or(not_found, |pull| (StatusCode::OK, pull.clone()))
            }
            ("GET", ["issues", number, "comments"]) => {
                let page = query.split('&').find_map(|pair| pair.strip_prefix("page="));
                let page: usize = page.and_then(|page| page.parse().ok()).unwrap_or(1);
                let of = |comment: &&Value| comment["number"].to_string() == *number;
                let comments = self
                    .comments
                    .iter()
                    .filter(of)
                    .skip((page - 1) * 100)
                    .take(100);
                (StatusCode::OK, comments.cloned().collect())
            }
            ("POST", ["issues", number, "comments"]) => {
                let comment = json!({
                    "id": 100 + self.comments.len(),
                    "number": number.parse::<u64>().unwrap_or_default(),
                    "user": {"login": "github-actions[bot]"},
                    "body": body["body"],
                });
                self.comments.push(comment.clone());
                (StatusCode::CREATED, comment)
            }
            ("PATCH", ["issues", "comments", id]) => {
                match self
                    .comments
                    .iter_mut()
                    .find(|c| c["id"].to_string() == *id)
                {
                    Some(comment) => {
                        comment["body"] = body["body"].clone();
                        (StatusCode::OK, comment.clone())
                    }
                    None => not_found,
                }
            }
            _ => not_found,
        }
    }
}

impl State {
    /// What GitLab answers.
    fn answer_gitlab(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let not_found = (StatusCode::NOT_FOUND, json!({"message": "404 Not found"}));
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        if *method != Method::GET {
            self.written.push(format!("{method} {path}"));
        }
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["user"]) => (StatusCode::OK, json!({"id": GITLAB_USER})),
            ("GET", ["projects", "3", "merge_requests", "7", "notes"]) => {
                let page = query.split('&').find_map(|pair| pair.strip_prefix("page="));
                let page: usize = page.and_then(|page| page.parse().ok()).unwrap_or(1);
                let notes = self.notes.iter().skip((page - 1) * 100).take(100);
                (StatusCode::OK, notes.cloned().collect())
            }
            ("POST", ["projects", "3", "merge_requests", "7", "notes"]) => {
                let id = 200 + self.notes.len();
                let author = json!({"id": GITLAB_USER});
                let note = json!({"id": id, "author": author, "body": body["body"]});
                self.notes.push(note.clone());
                (StatusCode::CREATED, note)
            }
            ("PUT", ["projects", "3", "merge_requests", "7", "notes", id]) => {
                let mut notes = self.notes.iter_mut();
                match notes.find(|note| note["id"].as_u64() == id.parse().ok()) {
                    Some(note) => {
                        note["body"] = body["body"].clone();
                        (StatusCode::OK, note.clone())
                    }
                    None => not_found,
                }
            }
            _ => not_found,
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &state));
            // A client that goes away is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: &Mutex<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let body = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or(Value::Null);
    let path = parts.uri.path();
    let authorization = parts.headers.get(http::header::AUTHORIZATION);
    let bearer = format!("Bearer {TOKEN}");
    let is_known = authorization.is_some_and(|value| value.as_bytes() == bearer.as_bytes());
    let mut response = Response::builder();
    if let Some(path) = path.strip_prefix("/api/v4") {
        let token = parts.headers.get("PRIVATE-TOKEN");
        let is_known = token.is_some_and(|token| token.as_bytes() == TOKEN.as_bytes());
        let query = parts.uri.query().unwrap_or_default();
        let (status, answer) = match is_known {
            true => state
                .lock()
                .answer_gitlab(&parts.method, path, query, &body),
            false => (
                StatusCode::UNAUTHORIZED,
                json!({"message": "401 Unauthorized"}),
            ),
        };
        let answer = Full::from(answer.to_string());
        return Ok(response
            .status(status)
            .body(answer)
            .expect("it is a response"));
    }
    let body = if path == "/blob" {
        // Where artifacts are kept, nobody's token of the API has business.
        assert!(authorization.is_none(), "the token went to another host");
        Full::from(state.lock().artifact.clone().unwrap_or_default())
    } else if !is_known {
        response = response.status(StatusCode::UNAUTHORIZED);
        Full::default()
    } else if path.ends_with("/zip") {
        // Another name of this machine, and so another host.
        let address = state.lock().address.replace("127.0.0.1", "localhost");
        response = response
            .status(StatusCode::FOUND)
            .header("Location", format!("{address}/blob"));
        Full::default()
    } else {
        let query = parts.uri.query().unwrap_or_default();
        let (status, value) = state.lock().answer(&parts.method, path, query, &body);
        response = response.status(status);
        Full::from(value.to_string())
    };
    Ok(response.body(body).expect("the response is well-formed"))
}
