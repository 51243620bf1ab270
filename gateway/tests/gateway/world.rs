//! Two peers: `west` imports what `east` exports.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::common::authority::{Authority, Leaf};
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::Service;

/// Two peers of one fabric: `west` imports `shop/ledger` from `east`, which exports a service.
pub(crate) struct Pair {
    pub folder: TempDir,
    pub authority: Authority,
    pub west: Peer,
    pub east: Peer,
    pub west_leaf: Leaf,
    pub east_leaf: Leaf,
    pub service: Service,
    /// Where west's clients connect.
    pub import: SocketAddr,
}

impl Pair {
    /// Both peers started, and nothing in force.
    pub(crate) async fn started(service: Service) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("acme");
        let west_leaf = authority.leaf(folder.path(), &["west"]);
        let east_leaf = authority.leaf(folder.path(), &["east"]);
        Self {
            west: Peer::start(vec![west_leaf.files.clone()]).await,
            east: Peer::start(vec![east_leaf.files.clone()]).await,
            west_leaf,
            east_leaf,
            folder,
            authority,
            service,
            import: loopback(free_port()),
        }
    }

    /// Both peers with everything allowed.
    pub(crate) async fn open(service: Service) -> Self {
        let pair = Self::started(service).await;
        pair.east.apply(&pair.east_plan().allow_all()).await;
        pair.west.apply(&pair.west_plan().allow_all()).await;
        pair
    }

    /// West's plan, without policies.
    pub(crate) fn west_plan(&self) -> Planner {
        Planner::new("west", self.authority.certificate())
            .peer("east", &[self.east.address()])
            .import("ledger", self.import.port(), &[("east", "ledger")])
    }

    /// East's plan, without policies.
    pub(crate) fn east_plan(&self) -> Planner {
        Planner::new("east", self.authority.certificate())
            .peer("west", &[self.west.address()])
            .export("ledger", self.service.address)
    }
}
