//! Replicas that fail their requests are left out while others of their release do not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use proxy::Gateway;
use support::*;

/// A replica that answers 200, and 500 while it is told to; it counts.
struct Moody {
    addr: std::net::SocketAddr,
    ill: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Moody {
    async fn new() -> Self {
        let (ill, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_ill, counted) = (ill.clone(), asked.clone());
        let addr = backend(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let status = if is_ill.load(Ordering::SeqCst) { 500 } else { 200 };
            async move { text(status, "x") }
        })
        .await;
        Self { addr, ill, asked }
    }

    fn falls_ill(&self, ill: bool) {
        self.ill.store(ill, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

async fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(get(gateway, "/").await.status);
    }
    all
}

#[tokio::test]
async fn a_replica_that_answers_only_errors_is_left_out_and_taken_back_when_asked_to() {
    let gateway = gateway();
    let (well, ill) = (Moody::new().await, Moody::new().await);
    shop().share(1, 10_000).ready(1, 0, well.addr).ready(1, 1, ill.addr).on(&gateway);
    ill.falls_ill(true);
    let bad = statuses(&gateway, 200).await.into_iter().filter(|status| *status == 500).count();
    assert_eq!(bad, 10, "as many as eject it");
    let ejected = gateway.ejected();
    assert_eq!((ejected.len(), ejected[0].ordinal), (1, 1));
    assert!(ejected[0].until > Instant::now() && ejected[0].why.contains("5xx"), "{ejected:?}");
    let metrics = gateway.metrics_text();
    assert!(metrics.contains("shipshape_gateway_ejections_total 1"), "{metrics}");
    let out =
        "shipshape_gateway_ejected{app=\"shop\",environment=\"production\",version=\"1\",replica=\"1\"} 1";
    assert!(metrics.contains(out), "{metrics}");
    ill.falls_ill(false);
    ill.asked();
    statuses(&gateway, 50).await;
    assert_eq!(ill.asked(), 0, "being well again is for a probe to find out");
    gateway.readmit(&place(), model::ReleaseNumber(1), 1);
    assert!(gateway.ejected().is_empty());
    statuses(&gateway, 50).await;
    assert!(ill.asked() > 0);
}

#[tokio::test]
async fn one_that_takes_no_connection_is_left_out_before_a_request_is_lost_on_it() {
    let gateway = gateway();
    let well = Moody::new().await;
    shop().share(1, 10_000).ready(1, 0, well.addr).ready(1, 1, nobody().await).on(&gateway);
    assert!(statuses(&gateway, 100).await.iter().all(|status| *status == 200));
    let ejected = gateway.ejected();
    assert_eq!((ejected.len(), ejected[0].ordinal), (1, 1));
    let retries = "shipshape_gateway_retries_total 5\n";
    assert!(gateway.metrics_text().contains(retries), "no more than it took: {}", gateway.metrics_text());
}

#[tokio::test]
async fn one_that_closes_instead_of_answering_is_left_out() {
    let gateway = gateway();
    let well = Moody::new().await;
    let (closes, _) = raw(|_, mut socket| async move { drop(read_head(&mut socket).await) }).await;
    shop().share(1, 10_000).ready(1, 0, well.addr).ready(1, 1, closes).on(&gateway);
    let lost = statuses(&gateway, 100).await.into_iter().filter(|status| *status == 502).count();
    assert_eq!(lost, 5);
    assert_eq!(gateway.ejected().len(), 1);
    well.asked();
    statuses(&gateway, 20).await;
    assert_eq!(well.asked(), 20);
}

#[tokio::test]
async fn a_release_with_one_replica_keeps_its_share_however_bad_it_is() {
    let gateway = gateway();
    let (stable, canary) = (Moody::new().await, Moody::new().await);
    shop().share(1, 5_000).share(2, 5_000).ready(1, 0, stable.addr).ready(2, 0, canary.addr).on(&gateway);
    canary.falls_ill(true);
    statuses(&gateway, 200).await;
    assert!(canary.asked() > 50, "the judge has to see it");
    assert!(gateway.ejected().is_empty());
}

#[tokio::test]
async fn what_fails_everywhere_leaves_nobody_out() {
    let gateway = gateway();
    let replicas = [Moody::new().await, Moody::new().await, Moody::new().await];
    let mut table = shop().share(1, 10_000);
    for (ordinal, replica) in (0..).zip(&replicas) {
        replica.falls_ill(true);
        table = table.ready(1, ordinal, replica.addr);
    }
    table.on(&gateway);
    statuses(&gateway, 200).await;
    assert!(gateway.ejected().is_empty());
}

#[tokio::test]
async fn one_that_is_left_out_serves_when_it_is_the_last_and_comes_back_with_a_new_listing() {
    let gateway = gateway();
    let (well, ill) = (Moody::new().await, Moody::new().await);
    let both = || shop().share(1, 10_000).ready(1, 0, well.addr).ready(1, 1, ill.addr);
    both().on(&gateway);
    ill.falls_ill(true);
    statuses(&gateway, 200).await;
    assert_eq!(gateway.ejected().len(), 1);
    shop().share(1, 10_000).ready(1, 1, ill.addr).on(&gateway);
    ill.falls_ill(false);
    assert_eq!(get(&gateway, "/").await.status, 200, "rather one that is left out than none");
    assert_eq!(gateway.ejected().len(), 1, "which is no reason to trust it");
    shop().share(1, 10_000).ready(1, 0, well.addr).on(&gateway);
    both().on(&gateway);
    assert!(gateway.ejected().is_empty(), "it was listed anew by who had asked it");
}
