//! Reading-aloud builders for the tests: strategies, observations and a scene to play them in. The rules under test
//! are not repeated here.

mod random;
mod scene;
mod strategies;

pub(crate) use random::Random;
pub(crate) use scene::{Scene, given};
pub(crate) use strategies::{
    Change, Plan, blue_green, canary, evidence, hold, hold_for, hook, led_by, not_led_by, rolling, rule,
    scaled, seen, share, smoke, to, weight,
};
