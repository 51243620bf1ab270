//! The story of `weft demo`: two peers, one repository, and commits that change who may talk.

mod http;
mod peer;
mod service;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::stage::Stage;

/// How the demo is run.
#[derive(Debug)]
pub(crate) struct Options {
    /// Stay up at the end, until the user stops it.
    pub(crate) keep: bool,
    /// Where to lay everything down; none for a temporary directory.
    pub(crate) directory: Option<PathBuf>,
}

/// Runs the demo from end to end; an interrupt stops it and cleans up.
pub(crate) async fn run(options: Options) -> Result<()> {
    tokio::select! {
        result = tell(options) => result,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt.context("waiting for an interrupt")?;
            anstream::println!("\nStopped.");
            Ok(())
        }
    }
}

async fn tell(options: Options) -> Result<()> {
    chapter("Two peers and one repository");
    let mut stage = Stage::lay_down(options.directory).await?;
    say(&format!(
        "the repository is {}",
        stage.repository.path().display()
    ));
    let commit = stage
        .repository
        .commit("Two peers: west exports the ledger, east imports it")?;
    say(&format!(
        "commit {} says who is there and who may talk",
        &commit[..8]
    ));
    stage.start_peers().await?;
    stage.wait_for(&commit).await?;
    stage.wait_for_each_other().await?;
    for peer in &stage.peers {
        say(&format!(
            "{} is up: gateway {}, process {}",
            peer.name,
            peer.gateway,
            peer.id()
        ));
    }

    chapter("A request from east to west's ledger is allowed");
    let mut client = stage.client();
    let answer = client
        .get()
        .await
        .context("the first request through the gateways")?;
    say(&format!("GET http://{}/ -> {answer}", stage.import));
    say(&stage.last_decision("allow"));

    chapter("A commit denies it");
    stage
        .repository
        .write("peers/west/deny.yaml", &stage::deny())?;
    let took = stage.enforce("Close the ledger to the tills").await?;
    say(&format!(
        "in force on both peers {} after the commit",
        millis(took)
    ));
    let cut = client.get().await.is_err();
    ensure!(cut, "the connection that was open is still served");
    say("the connection that was open is cut");
    let refused = stage.client().get().await.is_err();
    ensure!(
        refused,
        "a new connection is served although the commit denies it"
    );
    say(&format!("GET http://{}/ -> refused", stage.import));
    say(&stage.last_decision("deny"));

    chapter("git revert brings it back");
    let took = stage.revert().await?;
    say(&format!(
        "in force on both peers {} after the commit",
        millis(took)
    ));
    let answer = stage
        .client()
        .get()
        .await
        .context("the request after the revert")?;
    say(&format!("GET http://{}/ -> {answer}", stage.import));

    chapter("A commit with a mistake is refused, and traffic goes on");
    let mut client = stage.client();
    client
        .get()
        .await
        .context("the request before the mistake")?;
    stage
        .repository
        .replace("peers/west/ledger.yaml", "port:", "prot:")?;
    stage
        .enforce("Move the ledger (with a typing error)")
        .await?;
    let (status, report) = stage.weft(&["validate", "--color", "never"]).await?;
    ensure!(!status.success(), "weft validate finds nothing wrong");
    for line in report.lines() {
        say(line);
    }
    let unit = stage.unit_revision("west").await?;
    say(&format!(
        "west's directory stays at {}, the last good commit",
        &unit[..8]
    ));
    let answer = client
        .get()
        .await
        .context("the request while west is frozen")?;
    say(&format!(
        "GET http://{}/ -> {answer} (on the connection that was open)",
        stage.import
    ));
    let answer = stage
        .client()
        .get()
        .await
        .context("a new request while west is frozen")?;
    say(&format!("GET http://{}/ -> {answer}", stage.import));

    if options.keep {
        chapter("Still running (--keep)");
        say(&format!("try:   curl http://{}/", stage.import));
        say(&format!("edit:  {}", stage.repository.path().display()));
        say("then:  commit, and watch it take force; Ctrl-C stops everything");
        std::future::pending::<()>().await;
    }
    chapter("The end");
    // A peer that ends lets its connections come to their end, so they are closed first.
    drop(client);
    stage.stop().await?;
    say("both peers drained and stopped");
    Ok(())
}

fn chapter(title: &str) {
    let bold = anstyle::Style::new().bold();
    anstream::println!("\n{bold}{title}{bold:#}");
}

fn say(line: &str) {
    anstream::println!("  {line}");
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
