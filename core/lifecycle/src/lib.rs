//! The story: the only place where the acts meet. Today it tells of releases, rollouts, objectives and alerts;
//! incidents and evidence join it here, never by an arrow from one act to another.
//!
//! Lives here: the journal's events, the state they build up ([`World`]), and the rules that span releases, places
//! and rollouts. Does not live here: how a rollout goes (`ship`), how a budget burns (`watch`), how events are stored (`record`), who carries them
//! out (`runtime`).

mod alert;
pub mod blame;
pub mod calendar;
mod claims;
mod decide;
mod drift;
mod event;
mod group;
pub mod inbox;
mod lane;
mod lock;
mod objective;
mod request;
mod world;

pub use alert::{
    APP, Alert, Alerts, BLIND, BURN, Changed, DESCRIPTION, ENVIRONMENT, Key as AlertKey, MOST_ALERTS,
    OBJECTIVE, Origin, SUMMARY, alerts, firing, labels_at,
};
pub use decide::{Command, decide};
pub use drift::{DRIFT_QUIET, DriftKey, Noted};
pub use event::{Answer, Event};
pub use group::{Group, MOST_MEMBERS, Member, Stage};
pub use lane::{Lane, Rejected, Serving};
pub use lock::{Lock, Scope};
pub use objective::{Objectives, declared as objectives_at, limits as budget_limits, spec as spec_at, told};
pub use request::{Asked, Change, Kept, Request, Requests, Stand, Vote, Words};
pub use ship::Refusal;
pub use world::{Illegal, KEPT_RELEASES, Service, World};
