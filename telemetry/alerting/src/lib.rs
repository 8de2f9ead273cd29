//! Rules of alerts of what is deployed: which hold in each place and what they ask, what the answers mean, and what is asked
//! of control. Lives here: from configurations to questions, and from answers to alerts that begin and end. Does not live
//! here: the machine that an alert goes by (`watch`), who asks servers and when (`shipshape`), who carries commands out
//! (`runtime`), and who is told.

mod answer;
mod facts;
mod ready;
mod round;
mod rules;
mod series;

pub use answer::{Answer, Blind, Found, answer, blind};
pub use round::{Look, MOST_OF_A_RULE, Rounds, Standing, State};
pub use rules::{Asked, Asks, Ruled, rules};
pub use series::Series;
