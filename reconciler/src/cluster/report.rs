//! The report that a gateway writes of itself: one object, one request, on a change.

use std::time::Duration;

use fabric::api::GatewayReportStatus;
use fabric::crd::CustomKind;
use fabric::mark;
use kube::api::{Api, DeleteParams, DynamicObject};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::client::Connection;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::resource::api;
use crate::kubernetes::write::{Failure, Writer};

/// How often is looked whether there is something new to say: a glance at values in memory.
const LOOK: Duration = Duration::from_millis(250);
/// After a failed request.
const RETRY: Duration = Duration::from_secs(5);

/// Writes one gateway's report.
#[derive(Debug)]
pub struct Reporter {
    api: Api<DynamicObject>,
    writer: Writer,
    namespace: String,
    name: String,
    /// The Pod's uid, so that the report goes with the Pod.
    pod: Option<String>,
}

// === impl Reporter ===

impl Reporter {
    /// What writes the report `name`, which is the Pod's name.
    #[must_use]
    pub fn new(connection: &Connection, namespace: &str, name: &str, pod: Option<String>) -> Self {
        Self {
            api: api(
                &connection.client,
                CustomKind::GatewayReport,
                Some(namespace),
            ),
            writer: Writer::new(mark::REPORTER, &connection.server, Leadership::always()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pod,
        }
    }

    /// Writes what `report` says whenever it is otherwise, until `cancelled`; then takes it away.
    pub async fn run(
        self,
        report: impl Fn() -> GatewayReportStatus + Send,
        cancelled: CancellationToken,
    ) {
        let mut written = None;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let write = async {
            loop {
                look.tick().await;
                let report = report();
                if written.as_ref() == Some(&report) {
                    continue;
                }
                match self.write(&report).await {
                    Ok(()) => written = Some(report),
                    Err(wait) => tokio::time::sleep(wait).await,
                }
            }
        };
        cancelled.run_until_cancelled(write).await;
        let shown = || self.shown();
        let parameters = DeleteParams::default();
        let delete = self.api.delete(&self.name, &parameters);
        if let Err(error) = self.writer.request("delete", shown, delete).await {
            tracing::debug!(reason = error.reason(), "the report stays behind");
        }
    }

    async fn write(&self, report: &GatewayReportStatus) -> Result<(), Duration> {
        let mut body = json!({
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "GatewayReport",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "status": report,
        });
        if let Some(uid) = &self.pod {
            body["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "v1",
                "kind": "Pod",
                "name": self.name,
                "uid": uid,
            }]);
        }
        let Err(error) = self.writer.apply(&self.api, &body, true).await else {
            return Ok(());
        };
        tracing::warn!(reason = error.reason(), "the report can't be written");
        Err(match error.failure {
            Failure::Throttled(Some(after)) => after,
            _ => RETRY,
        })
    }

    fn shown(&self) -> String {
        format!("GatewayReport {}/{}", self.namespace, self.name)
    }
}
