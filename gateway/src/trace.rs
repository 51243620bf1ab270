//! Traces of connections, for a receiver of OpenTelemetry's protocol over HTTP.
//!
//! ```text
//! weft.import (the client's connection)
//! └─ weft.tunnel (asking a peer)  ── OPEN carries the context ──▶  weft.export
//!                                                                  └─ weft.connect (to the service)
//! ```
//!
//! Without a receiver there is no tracer, and nothing of this costs more than a look at that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, SpanId, TraceFlags, TraceId, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use parking_lot::Mutex;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::{OtlpEndpoint, TraceExport};
use crate::decision::{End, Outcome, Record};
use crate::tunnel::frame::TraceContext;

/// One export, with its answer: the queue behind it holds some thousand spans meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer that is read: one says at most how many spans were refused.
const MAX_ANSWER: u64 = 64 * 1024;

/// What makes and exports the spans.
#[derive(Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A part of a connection's way; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    traces: &'a Traces,
    context: SpanContext,
    /// Boxed: a connection without a trace, which are most, has no room for it.
    span: Box<Mutex<opentelemetry_sdk::trace::Span>>,
}

/// The way to the receiver.
#[derive(Debug)]
struct Client {
    endpoint: OtlpEndpoint,
    agent: ureq::Agent,
    is_failing: AtomicBool,
}

// === impl Traces ===

impl Traces {
    /// Exports from now on, on a thread of its own; what doesn't fit in its queue is dropped.
    pub(crate) fn start(
        export: &TraceExport,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(&export.endpoint))
            .with_endpoint(format!("{}/v1/traces", export.endpoint))
            .with_timeout(TIMEOUT)
            .build()?;
        let ratio = f64::from(export.per_mille) / 1000.0;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let resource = Resource::builder()
            .with_service_name("weft-gateway")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Self {
            tracer: provider.tracer("weft"),
            provider,
        })
    }

    /// A connection's part on this gateway, below the one that a peer told of.
    pub(crate) fn begin(&self, name: &'static str, parent: Option<&TraceContext>) -> Span<'_> {
        let context = match parent.map(remote) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Span::new(self, name, SpanKind::Server, &context)
    }

    /// Exports what waits, and ends.
    pub(crate) fn close(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "the last spans can't be exported");
        }
    }
}

/// What a peer told of a trace.
fn remote(context: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace),
        SpanId::from_bytes(context.span),
        TraceFlags::new(context.flags),
        true,
        TraceState::default(),
    )
}

// === impl Span ===

impl<'a> Span<'a> {
    fn new(traces: &'a Traces, name: &'static str, kind: SpanKind, parent: &Context) -> Self {
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        let span = traces.tracer.build_with_context(builder, parent);
        Self {
            traces,
            context: span.span_context().clone(),
            span: Box::new(Mutex::new(span)),
        }
    }

    /// A step of the part, in which somebody else is asked.
    pub(crate) fn child(&self, name: &'static str) -> Self {
        let parent = Context::new().with_remote_span_context(self.context.clone());
        Self::new(self.traces, name, SpanKind::Client, &parent)
    }

    /// The trace.
    pub(crate) fn trace(&self) -> TraceId {
        self.context.trace_id()
    }

    /// What a peer is told of the trace.
    pub(crate) fn context(&self) -> TraceContext {
        TraceContext {
            trace: self.context.trace_id().to_bytes(),
            span: self.context.span_id().to_bytes(),
            flags: self.context.trace_flags().to_u8(),
        }
    }

    /// Says something of it.
    pub(crate) fn tell(&self, key: &'static str, value: impl Into<Value>) {
        if self.context.is_sampled() {
            self.span.lock().set_attribute(KeyValue::new(key, value));
        }
    }

    /// It came to nothing.
    pub(crate) fn fail(&self, outcome: Outcome) {
        if self.context.is_sampled() {
            self.span.lock().set_status(Status::error(outcome.as_str()));
        }
    }

    /// Says what was decided.
    pub(crate) fn decided(&self, record: &Record<'_>) {
        if !self.context.is_sampled() {
            return;
        }
        let rule = record.rule;
        let origin = rule.map(|rule| format!("{}:{}", rule.origin.path, rule.origin.line));
        let texts = [
            ("weft.request", Some(record.request.to_owned())),
            ("weft.reason", Some(record.outcome.as_str().to_owned())),
            ("weft.import", record.import.map(ToString::to_string)),
            ("weft.peer", record.peer.map(ToString::to_string)),
            ("weft.export", record.export.map(ToString::to_string)),
            ("weft.rule", rule.map(|rule| rule.key.to_string())),
            ("weft.origin", origin),
            (
                "weft.revision",
                record
                    .snapshot
                    .map(|snapshot| snapshot.revision.to_string()),
            ),
        ];
        let mut span = self.span.lock();
        for (key, text) in texts {
            if let Some(text) = text {
                span.set_attribute(KeyValue::new(key, text));
            }
        }
        if record.outcome != Outcome::Allowed {
            span.set_status(Status::error(record.outcome.as_str()));
        }
    }

    /// Says how it ended.
    pub(crate) fn ended(&self, end: End, (to_peer, from_peer): (u64, u64)) {
        self.tell("weft.end", end.as_str());
        let count = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.tell("weft.bytes_to_peer", count(to_peer));
        self.tell("weft.bytes_from_peer", count(from_peer));
    }
}

// === impl Client ===

impl Client {
    fn new(endpoint: &OtlpEndpoint) -> Self {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT));
        if endpoint.is_secure() {
            let found = rustls_native_certs::load_native_certs().certs;
            let own = found
                .iter()
                .map(|der| Certificate::from_der(der).to_owned());
            let roots: Vec<_> = own.collect();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            config = config.tls_config(
                TlsConfig::builder()
                    .root_certs(RootCerts::new_with_certs(&roots))
                    .unversioned_rustls_crypto_provider(provider)
                    .build(),
            );
        }
        Self {
            endpoint: endpoint.clone(),
            agent: config.build().new_agent(),
            is_failing: AtomicBool::new(false),
        }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, body.to_vec());
        let (parts, mut body) = self.agent.run(request)?.into_parts();
        let body = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

impl HttpClient for Client {
    // What the library's macro makes of an `async fn`. It runs on the exporter's own thread, which
    // may block.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let result = self.send(request);
            let why = match &result {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => Some(response.status().to_string()),
                Err(error) => Some(error.to_string()),
            };
            // Said once, until it works again.
            let was_failing = self.is_failing.swap(why.is_some(), Ordering::Relaxed);
            if let Some(error) = why.filter(|_| !was_failing) {
                let to = &self.endpoint;
                tracing::warn!(%to, error, "spans can't be exported");
            }
            result
        })
    }
}
