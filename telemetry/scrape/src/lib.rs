//! Asking services for their metrics: who is asked when, and how what they say becomes samples. How a page is fetched is
//! the caller's business ([`Fetch`]), and where samples are kept the store's.

mod exemplars;
mod intake;
mod rounds;
mod told;

pub use exemplars::{Exemplar, Exemplars};
pub use intake::{Intake, Outcome};
pub use rounds::{Fetch, Fetched, Target, run};
pub use told::{Health, Told};
