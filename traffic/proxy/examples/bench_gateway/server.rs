//! The gateway as it is measured: one worker, two releases with 90 % and 10 %, everything else by default.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use model::route::{Limits, Route, Timeouts};
use model::{Epoch, Place, ReleaseNumber, Weight};
use proxy::{Backend, Config, Gateway, PlaceRouting, Routing};

/// Serves until killed. Prints its address.
pub(crate) fn run(backends: [SocketAddr; 2]) -> Result<()> {
    let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.workers = 1;
    let points = |points| Weight::from_basis_points(points).context("a weight is above all traffic");
    let backend = |release, addr| Backend { release: ReleaseNumber(release), ordinal: 0, addr };
    let routing = Routing {
        places: vec![PlaceRouting {
            place: Place { service: "shop".parse()?, environment: "production".parse()? },
            route: route(),
            epoch: Epoch(1),
            shares: vec![(ReleaseNumber(1), points(9_000)?), (ReleaseNumber(2), points(1_000)?)],
            backends: vec![backend(1, backends[0]), backend(2, backends[1])],
            preview: None,
            aim: None,
            affinity: None,
            tracing: None,
        }],
    };
    let gateway = Gateway::start(config, &routing)?;
    println!("{}", gateway.listen_address());
    loop {
        std::thread::park();
    }
}

fn route() -> Route {
    Route {
        hosts: Vec::new(),
        path_prefixes: Vec::new(),
        templates: vec!["/orders/{id}".to_owned()],
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        },
        limits: Limits { body_bytes: 1 << 20, in_flight: 10_000 },
    }
}
