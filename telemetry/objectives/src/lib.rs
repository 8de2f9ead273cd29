//! The objectives of what is deployed: which counters each adds up, what its counts say now, and what its planner asks of
//! control. Lives here: from a release's configuration to countings, from countings to readings and commands. Does not live
//! here: how counters are counted (`meter`), what counts mean (`watch`), and who carries commands out (`runtime`).

mod blame;
mod charges;
mod counted;
mod counts;
mod look;

pub use look::{Look, Objectives, Standing};
