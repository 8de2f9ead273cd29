//! A rolling update: how many of each, always. Not here: what ends it early.

use super::support::{given, rolling, seen};

#[test]
fn replica_by_replica_and_traffic_follows() {
    given(rolling(1, 0).replicas(3, 3))
        .when(seen())
        .then(["3 old, 1 new"])
        .waiting_for("0 of 3 replicas of release 2 are ready")
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "2 old, 2 new", "33.33%"])
        .when(seen().confirmed().candidate_ready(2))
        .then(["2 ready", "1 old, 3 new", "66.66%"])
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready", "0 old, 3 new", "100%"])
        .waiting_for("the gateway has not confirmed")
        .when(seen().confirmed())
        .then(["promoted", "completed"]);
}

#[test]
fn without_surge_the_old_ones_make_room_first() {
    given(rolling(0, 1).replicas(3, 3))
        .when(seen())
        .then(["2 old, 1 new"])
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "1 old, 2 new", "50%"])
        .when(seen().confirmed().candidate_ready(2))
        .then(["2 ready", "0 old, 3 new", "100%"])
        .when(seen().confirmed())
        .waiting_for("2 of 3 replicas")
        .when(seen().candidate_ready(3))
        .then(["3 ready", "promoted", "completed"]);
}

#[test]
fn one_old_replica_serves_until_a_new_one_can() {
    given(rolling(0, 3).replicas(3, 3)).when(seen()).then(["1 old, 2 new"]);
}

#[test]
fn one_replica_that_may_neither_be_doubled_is_replaced() {
    given(rolling(0, 1).replicas(1, 1))
        .when(seen())
        .then(["0 old, 1 new", "100%"])
        .when(seen().confirmed())
        .waiting_for("0 of 1 replicas")
        .when(seen().candidate_ready(1))
        .then(["1 ready", "promoted", "completed"]);
}

#[test]
fn when_neither_surge_nor_absence_is_allowed_one_may_be_absent() {
    given(rolling(0, 0).replicas(3, 3)).when(seen()).then(["2 old, 1 new"]);
}

#[test]
fn fewer_replicas_than_before_start_from_the_new_number() {
    given(rolling(1, 0).replicas(6, 2))
        .when(seen())
        .then(["2 old, 1 new"])
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "1 old, 2 new", "50%"]);
}

#[test]
fn more_replicas_than_before_fill_up_first() {
    given(rolling(1, 1).replicas(2, 6))
        .when(seen())
        .then(["2 old, 5 new"])
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready", "60%"])
        .when(seen().confirmed().candidate_ready(4))
        .then(["4 ready", "1 old, 6 new", "80%"]);
}

#[test]
fn the_weight_does_not_fall_when_a_new_replica_dies() {
    given(rolling(1, 1))
        .when(seen())
        .when(seen().confirmed().candidate_ready(2))
        .then(["2 ready", "1 old, 4 new", "66.66%"])
        .when(seen().candidate_ready(1))
        .then([])
        .when(seen().candidate_ready(0))
        .then([])
        .is("progressing");
}
