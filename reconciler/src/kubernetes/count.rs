//! Counts the requests of a client, by what they ask for and what is answered.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tower::{Layer, Service};

/// How many requests there were.
pub type Requests = Family<RequestLabels, Counter>;

/// What a request asks for, and what is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// As Kubernetes names it: `get` stands for `list` too.
    pub verb: &'static str,
    /// The status; 0 where there was no answer.
    pub code: u16,
}

/// Puts the counting around a client's service.
#[derive(Clone, Debug)]
pub(super) struct Count(pub(super) Requests);

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub(super) struct Counting<S> {
    inner: S,
    requests: Requests,
}

// === impl Count ===

impl<S> Layer<S> for Count {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            requests: self.0.clone(),
        }
    }
}

// === impl Counting ===

impl<S, B, C> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb(&request);
        let requests = self.requests.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let result = answer.await;
            let code = result.as_ref().map_or(0, |answer| answer.status().as_u16());
            requests.get_or_create(&RequestLabels { verb, code }).inc();
            result
        })
    }
}

fn verb<B>(request: &Request<B>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET if query.contains("watch=true") => "watch",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}
