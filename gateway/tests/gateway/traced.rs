//! Traces over both gateways, as a receiver of OpenTelemetry's protocol gets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::api::Action;
use gateway::{DecisionLog, TraceExport};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::common::authority::Authority;
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, talk};
use crate::common::until;

/// A receiver of spans.
struct Receiver {
    service: Service,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Receiver {
    async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let all = Arc::clone(&spans);
        let service = Service::start(move |socket| {
            let spans = Arc::clone(&all);
            async move {
                let mut socket = BufReader::new(socket);
                while let Some(body) = request(&mut socket).await {
                    let export = ExportTraceServiceRequest::decode(&body[..]).unwrap();
                    let scopes = export
                        .resource_spans
                        .into_iter()
                        .flat_map(|all| all.scope_spans);
                    spans.lock().extend(scopes.flat_map(|scope| scope.spans));
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        Self { service, spans }
    }

    fn export(&self) -> TraceExport {
        TraceExport {
            endpoint: format!("http://{}/", self.service.address).parse().unwrap(),
            per_mille: 1000,
        }
    }
}

/// The body of the next request to `/v1/traces`.
async fn request(socket: &mut BufReader<tokio::net::TcpStream>) -> Option<Vec<u8>> {
    let (mut line, mut length) = (String::new(), 0);
    socket
        .read_line(&mut line)
        .await
        .ok()
        .filter(|read| *read > 0)?;
    assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
    loop {
        line.clear();
        socket.read_line(&mut line).await.ok()?;
        let lower = line.trim().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(text) = lower.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_spans_both_gateways() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("acme");
    let log = folder.path().join("west.log");
    let start = |name: &'static str, decision_log: DecisionLog| {
        let leaf = authority.leaf(folder.path(), &[name]);
        let traces = receiver.export();
        Peer::start_configured(vec![leaf.files], |config| {
            config.traces = Some(traces);
            config.decision_log = decision_log;
        })
    };
    let west = start("west", DecisionLog::File(log.clone())).await;
    let east = start("east", DecisionLog::Events).await;
    let (service, port) = (Service::echo().await, free_port());
    let east_plan = Planner::new("east", authority.certificate())
        .peer("west", &[])
        .export("ledger", service.address);
    east.apply(&east_plan.clone().allow_all()).await;
    let west_plan = Planner::new("west", authority.certificate())
        .peer("east", &[east.address()])
        .import("ledger", port, &[("east", "ledger")])
        .allow_all();
    west.apply(&west_plan).await;
    assert_eq!(talk(loopback(port), "hello").await.unwrap(), "hello");
    // Ends, and so exports, what waits.
    west.running.drain(std::time::Duration::from_secs(20)).await;
    east.running.drain(std::time::Duration::from_secs(20)).await;

    let spans = receiver.spans.lock().clone();
    let by_name: BTreeMap<&str, &Span> = spans.iter().map(|span| (&*span.name, span)).collect();
    let names: Vec<_> = by_name.keys().copied().collect();
    assert_eq!(
        names,
        ["weft.connect", "weft.export", "weft.import", "weft.tunnel"]
    );
    let [connect, export, import, tunnel] = names.as_slice() else {
        panic!("{names:?}");
    };
    let span = |name: &str| by_name[name];
    assert!(span(import).parent_span_id.is_empty());
    for (child, parent) in [(tunnel, import), (export, tunnel), (connect, export)] {
        let (child, parent) = (span(child), span(parent));
        assert_eq!(
            child.trace_id, parent.trace_id,
            "{} of {}",
            child.name, parent.name
        );
        assert_eq!(
            child.parent_span_id, parent.span_id,
            "{} of {}",
            child.name, parent.name
        );
    }
    let text = |span: &Span, key: &str| {
        let found = span
            .attributes
            .iter()
            .find(|attribute| attribute.key == key);
        format!("{:?}", found.and_then(|found| found.value.clone()))
    };
    assert!(text(span(import), "weft.rule").contains("AccessPolicy shop/allow-all"));
    assert!(text(span(import), "weft.end").contains("complete"));
    assert_eq!(
        text(span(import), "weft.request"),
        text(span(export), "weft.request")
    );
    // And the decision log names the trace.
    let lines = std::fs::read_to_string(&log).unwrap();
    let trace = format!("\"trace\":\"{}\"", hex::encode(&span(import).trace_id));
    assert_eq!(lines.matches(&trace).count(), 2, "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_holds_up_nobody_and_a_refusal_is_told() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("acme");
    let away = TraceExport {
        endpoint: "http://127.0.0.1:9".parse().unwrap(),
        per_mille: 1000,
    };
    let start = |name: &'static str, export: TraceExport| {
        let leaf = authority.leaf(folder.path(), &[name]);
        Peer::start_configured(vec![leaf.files], |config| config.traces = Some(export))
    };
    let west = start("west", receiver.export()).await;
    let east = start("east", away).await;
    let (service, port) = (Service::echo().await, free_port());
    let east_plan = Planner::new("east", authority.certificate())
        .peer("west", &[])
        .export("ledger", service.address)
        .allow_all();
    east.apply(&east_plan).await;
    let west_plan = Planner::new("west", authority.certificate())
        .peer("east", &[east.address()])
        .import("ledger", port, &[("east", "ledger")])
        .allow_all();
    west.apply(&west_plan).await;
    for _ in 0..50 {
        assert_eq!(talk(loopback(port), "hello").await.unwrap(), "hello");
    }
    let denied = east_plan
        .revision("second")
        .policy("no", Action::Deny, &[], &[]);
    east.apply(&denied).await;
    assert!(talk(loopback(port), "hello").await.is_err());
    let spans = until("the spans", || async {
        let spans = receiver.spans.lock().clone();
        let is_refused = |span: &&Span| {
            let status = span.status.as_ref();
            status.is_some_and(|status| status.message == "peer_denied")
        };
        let names: Vec<_> = spans
            .iter()
            .filter(is_refused)
            .map(|span| span.name.clone())
            .collect();
        (names.len() == 2).then_some(names)
    })
    .await;
    assert!(spans.contains(&"weft.import".to_owned()), "{spans:?}");
}
