//! What a gateway tells of itself: metrics as documented, and a decision log of its own.

use std::collections::BTreeMap;

use fabric::api::Action;
use gateway::DecisionLog;
use serde_json::Value;

use crate::common::authority::Authority;
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, talk};
use crate::common::until;
use crate::world::Pair;

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last one may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_81_the_decision_log_names_who_what_why_and_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("acme");
    let (west_log, east_log) = (
        folder.path().join("west.log"),
        folder.path().join("east.log"),
    );
    let start = |name: &'static str, log: std::path::PathBuf| {
        let leaf = authority.leaf(folder.path(), &[name]);
        Peer::start_configured(vec![leaf.files], |config| {
            config.decision_log = DecisionLog::File(log);
        })
    };
    let west = start("west", west_log.clone()).await;
    let east = start("east", east_log.clone()).await;
    let (service, port) = (Service::echo().await, free_port());
    let tills = [("client.clusterlink.net/labels.app", "till")];
    let east_plan = Planner::new("east", authority.certificate()).revision("abc123");
    let east_plan = east_plan
        .peer("west", &[])
        .export("ledger", service.address);
    east.apply(&east_plan.policy("tills", Action::Allow, &tills, &[]))
        .await;
    let west_plan = Planner::new("west", authority.certificate())
        .revision("def456")
        .peer("east", &[east.address()])
        .import("ledger", port, &[("east", "ledger")])
        .allow_all();
    west.apply(&west_plan).await;
    assert_eq!(talk(loopback(port), "hello").await.unwrap(), "hello");

    let of = async |path: &std::path::Path, event: &str| {
        until(&format!("{event} in {}", path.display()), || async {
            lines(path).into_iter().find(|line| line["event"] == event)
        })
        .await
    };
    let mut ended = of(&west_log, "ended").await;
    let decided = of(&west_log, "decided").await;
    let request = ended["request"].as_str().unwrap().to_owned();
    assert_eq!(request.len(), 32);
    assert_eq!(decided["request"], request);
    assert!(
        ended["time"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
    assert!(
        ended["client"]["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    assert!(ended["durationMs"].is_u64());
    for varying in ["time", "request", "durationMs"] {
        ended.as_object_mut().unwrap().remove(varying);
    }
    ended["client"].as_object_mut().unwrap().remove("address");
    let expected = serde_json::json!({
        "event": "ended", "side": "import", "action": "allow", "reason": "allowed",
        "client": { "namespace": "shop", "serviceAccount": "till" },
        "import": "shop/ledger", "peer": "east", "export": "shop/ledger",
        "rule": "AccessPolicy shop/allow-all", "origin": "peers/x/allow-all.yaml:7",
        "commit": "def456", "revision": "def456",
        "end": "complete", "bytesToPeer": 5, "bytesFromPeer": 5,
    });
    assert_eq!(ended, expected);
    // The other side is joined by the request.
    let other = of(&east_log, "ended").await;
    assert_eq!(other["request"], request);
    assert_eq!(other["rule"], "AccessPolicy shop/tills");
    assert_eq!(other["commit"], "abc123");
    assert_eq!(other["peer"], "west");
    assert_eq!(other["detail"], service.address.to_string());

    // Moved away and opened anew, as logrotate does it.
    let moved = folder.path().join("west.log.1");
    std::fs::rename(&west_log, &moved).unwrap();
    west.running.reload();
    until("a new file", || async { west_log.exists().then_some(()) }).await;
    let denied = west_plan.revision("789");
    west.apply(&denied.policy("no-tills", Action::Deny, &tills, &[]))
        .await;
    assert!(talk(loopback(port), "hello").await.is_err());
    let refused = of(&west_log, "decided").await;
    assert_eq!(refused["action"], "deny");
    assert_eq!(refused["rule"], "AccessPolicy shop/no-tills");
    assert_eq!(lines(&moved).len(), 2);
    // What waits is written before the end.
    assert!(talk(loopback(port), "hello").await.is_err());
    west.running.drain(std::time::Duration::from_secs(10)).await;
    assert_eq!(lines(&west_log).len(), 2);
}

/// The metrics of a gateway by their names, with type, unit and help.
fn described(exposition: &str) -> BTreeMap<String, (String, String)> {
    let mut described: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in exposition.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let entry = described.entry(name.to_owned()).or_default();
        match what {
            "TYPE" => entry.0 = rest.to_owned(),
            "HELP" => entry.1 = rest.trim_end_matches('.').to_owned(),
            _ => {}
        }
    }
    described
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let pair = Pair::open(Service::echo().await).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    pair.west.sees("east", true).await;
    let (_, exposition) = pair.west.admin("/metrics").await;
    let described = described(&exposition);
    let mut table = String::from("| metric | type | |\n|---|---|---|\n");
    for (name, (kind, help)) in &described {
        // Counters and infos are asked for by another name than they are described by.
        let name = match kind.as_str() {
            "counter" => format!("{name}_total"),
            _ => name.clone(),
        };
        table.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    if !page.contains(&table) {
        let begin = page.find("| metric | type | |").unwrap_or(page.len());
        let end = page[begin..]
            .find("\n\n")
            .map_or(page.len(), |at| begin + at + 1);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let page = format!("{}{table}{}", &page[..begin], &page[end..]);
            std::fs::write(path, page).unwrap();
        } else {
            panic!("docs/metrics.md isn't up to date (UPDATE_DOCS=1 makes it so):\n{table}");
        }
    }
    // Names of few values: nothing that grows with traffic.
    let series = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    for _ in 0..50 {
        assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    }
    let (_, later) = pair.west.admin("/metrics").await;
    let more = later.lines().filter(|line| !line.starts_with('#')).count();
    assert!(
        more <= series + 4,
        "{series} series, {more} after 50 connections"
    );
}

/// All the metrics that an expression looks at; an error where it is none.
fn metrics_of(expression: &str) -> Vec<String> {
    use promql_parser::parser::{Expr, parse};
    fn collect(expression: &Expr, found: &mut Vec<String>) {
        match expression {
            Expr::VectorSelector(selector) => found.extend(selector.name.clone()),
            Expr::MatrixSelector(selector) => found.extend(selector.vs.name.clone()),
            Expr::Aggregate(aggregate) => collect(&aggregate.expr, found),
            Expr::Unary(unary) => collect(&unary.expr, found),
            Expr::Binary(binary) => {
                collect(&binary.lhs, found);
                collect(&binary.rhs, found);
            }
            Expr::Paren(inner) => collect(&inner.expr, found),
            Expr::Subquery(inner) => collect(&inner.expr, found),
            Expr::Call(call) => call.args.args.iter().for_each(|arg| collect(arg, found)),
            _ => {}
        }
    }
    // What Grafana puts in.
    let plain = expression
        .replace("$__rate_interval", "5m")
        .replace("$__interval", "5m");
    let parsed = parse(&plain).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut found = Vec::new();
    collect(&parsed, &mut found);
    found
}

/// Every `expr` in a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("expr", Value::String(text)) => found.push(text.clone()),
                    (_, value) => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboard_and_alerts_look_at_metrics_that_are_there() {
    let pair = Pair::open(Service::echo().await).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    pair.west.sees("east", true).await;
    let (_, exposition) = pair.west.admin("/metrics").await;
    let described = described(&exposition);
    let is_there = |name: &str| {
        let of = |suffix: &str, kind: &str| {
            let stem = name.strip_suffix(suffix);
            stem.is_some_and(|stem| described.get(stem).is_some_and(|(own, _)| own == kind))
        };
        of("", "gauge") || of("_total", "counter") || of("_bucket", "histogram")
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/observability/");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}{name}")).unwrap();
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let alerts: Value = serde_yaml::from_str(&read("alerts.yaml")).unwrap();
    let mut all = Vec::new();
    expressions(&dashboard, &mut all);
    let panels = all.len();
    assert!(panels >= 15, "{panels}");
    expressions(&alerts, &mut all);
    assert!(all.len() >= panels + 10, "{}", all.len());
    for expression in &all {
        let metrics = metrics_of(expression);
        assert!(!metrics.is_empty(), "{expression} looks at nothing");
        for metric in metrics {
            assert!(is_there(&metric), "{metric} of {expression}");
        }
    }
    // What a person is told of each alert.
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        assert!(rule["annotations"]["summary"].is_string(), "{rule}");
        assert!(rule["labels"]["severity"].is_string(), "{rule}");
    }
}
