//! What holds whatever happens: random readiness, deaths, operators, agents, at random times.

use model::Weight;
use model::check::Verdict;
use model::hook::Moment;
use model::strategy::{Amount, Kind, Metric, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use ship::checks::Begun;
use ship::rules::{Outcome, Run};
use ship::{Command, Event, Phase};

use super::support::{
    Plan, Scene, blue_green, canary, evidence, given, hold, hold_for, rolling, rule, seen, share, smoke, to,
};

/// Something that happens to a rolling update.
#[derive(Debug, Clone)]
enum Fate {
    NewReady,
    NewDies,
    OldDies,
    OldReturns,
    Confirmed,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::NewReady),
        1 => Just(Fate::NewDies),
        1 => Just(Fate::OldDies),
        1 => Just(Fate::OldReturns),
        2 => Just(Fate::Confirmed),
    ]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0u32..4).prop_map(Amount::Replicas),
        prop_oneof![Just(0), Just(25), Just(50), Just(100)].prop_map(share)
    ]
}

/// The most replicas that may be wanted, and the fewest that must be ready, told apart from the code: Kubernetes' rules.
fn limits(n: u32, surge: Amount, unavailable: Amount) -> (u32, u32) {
    let (surge, mut unavailable) = (surge.rounded_up(n), unavailable.rounded_down(n));
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    (n + surge, n.saturating_sub(unavailable))
}

/// Commands one by one, so that each event is judged by what was ready just before it.
fn roll(scene: &mut Scene, most: u32, least: u32) -> Result<(), TestCaseError> {
    for _ in 0..100 {
        let (commands, _) = ship::plan(&scene.rollout, &scene.seen, scene.now);
        let mut moved = false;
        for command in commands {
            let ready_before = scene.seen.stable.ready + scene.seen.candidate.ready;
            let (weight_before, sent) = (scene.weight(), scene.fresh().len());
            moved |= scene.carry_out(command).expect("the planner asks for nothing senseless");
            prop_assert!(scene.weight() >= weight_before, "the weight falls");
            let ready = scene.seen.stable.ready + scene.seen.candidate.ready;
            prop_assert!(
                ready >= least.min(ready_before),
                "{ready} of {ready_before} ready are left, {least} must be"
            );
            for event in &scene.fresh()[sent..] {
                if let Event::Scaled { stable, candidate } = event {
                    prop_assert!(stable + candidate <= most, "{stable} + {candidate} wanted, {most} allowed");
                }
            }
        }
        if !moved {
            return Ok(());
        }
    }
    Err(TestCaseError::fail("the planner goes in circles"))
}

fn suffer(scene: &mut Scene, fate: &Fate) {
    let (stable, candidate) = (scene.seen.stable.ready, scene.seen.candidate.ready);
    let change = match fate {
        Fate::NewReady => seen().candidate_ready((candidate + 1).min(scene.rollout.wanted_candidate)),
        Fate::NewDies => seen().candidate_ready(candidate.saturating_sub(1)),
        Fate::OldDies => seen().stable_ready(stable.saturating_sub(1)),
        Fate::OldReturns => seen().stable_ready((stable + 1).min(scene.rollout.wanted_stable)),
        Fate::Confirmed => seen().confirmed(),
    };
    scene.sees(&change);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_rolling_update_stays_within_its_limits_and_ends(
        n in 1u32..=6, old in 1u32..=6, surge in amount(), unavailable in amount(), fates in vec(fate(), 0..60),
    ) {
        let mut plan = rolling(0, 0).replicas(old, n);
        plan.strategy.kind = Kind::Rolling { max_surge: surge, max_unavailable: unavailable };
        let (most, least) = limits(n, surge, unavailable);
        let mut scene = given(plan);
        for fate in &fates {
            roll(&mut scene, most, least)?;
            suffer(&mut scene, fate);
        }
        for _ in 0..=2 * n {
            roll(&mut scene, most, least)?;
            suffer(&mut scene, &Fate::NewReady);
            suffer(&mut scene, &Fate::Confirmed);
        }
        roll(&mut scene, most, least)?;
        prop_assert_eq!(&scene.rollout.phase, &Phase::Completed);
        prop_assert_eq!((scene.weight(), scene.rollout.wanted_candidate, scene.rollout.wanted_stable), (Weight::ALL, n, 0));
    }
}

/// Something that happens to any rollout.
#[derive(Debug, Clone)]
enum Chance {
    Time(u64),
    Confirmed,
    New(u32),
    Old(u32),
    Requests { candidate: (u64, u64), stable: (u64, u64) },
    Crash,
    Unreachable,
    Reachable,
    AgentRestarts,
    Begin,
    Found(Verdict),
    Operator(Command),
}

fn counts() -> impl Strategy<Value = (u64, u64)> {
    (0u64..2_000, 0u64..20).prop_map(|(fine, errors)| (fine + errors, errors))
}

fn chance() -> impl Strategy<Value = Chance> {
    let operator = prop_oneof![
        3 => any::<bool>().prop_map(|full| Command::Promote { full }),
        1 => Just(Command::Pause),
        1 => Just(Command::Abort),
        1 => Just(Command::Complete),
        1 => Just(Command::LoseHooks),
    ];
    prop_oneof![
        4 => (0u64..700).prop_map(Chance::Time),
        6 => Just(Chance::Confirmed),
        6 => (0u32..7).prop_map(Chance::New),
        2 => (0u32..7).prop_map(Chance::Old),
        4 => (counts(), counts()).prop_map(|(candidate, stable)| Chance::Requests { candidate, stable }),
        1 => Just(Chance::Crash),
        1 => Just(Chance::Unreachable),
        3 => Just(Chance::Reachable),
        1 => Just(Chance::AgentRestarts),
        2 => Just(Chance::Begin),
        3 => prop_oneof![5 => Just(Verdict::Passed), 1 => Just(Verdict::Failed), 1 => Just(Verdict::Error)]
            .prop_map(Chance::Found),
        3 => operator.prop_map(Chance::Operator),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let analysis = |count| Step::Analysis {
        metrics: vec![Metric { count: Some(count), ..rule() }, Metric { count: Some(count), ..smoke() }],
    };
    prop_oneof![
        (0u16..=100).prop_map(to),
        Just(hold()),
        (0u64..100).prop_map(hold_for),
        (1u32..4).prop_map(analysis),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let kind = prop_oneof![
        4 => vec(step(), 0..5).prop_map(|steps| Kind::Canary { steps, session_affinity: None }),
        2 => (0u32..9, proptest::option::of(0u64..100)).prop_map(|(count, seconds)| {
            let passed = Metric { count: Some(2), ..rule() };
            let plan = blue_green().previewed(count, seconds).checked_by(smoke());
            plan.passed_by(passed).passed_by(smoke()).strategy.kind
        }),
        1 => (amount(), amount())
            .prop_map(|(max_surge, max_unavailable)| Kind::Rolling { max_surge, max_unavailable }),
    ];
    (kind, 1u32..7, 1u32..7, any::<bool>(), any::<bool>(), 0u32..8).prop_map(
        |(kind, old, new, by_evidence, ruled, first)| {
            let mut plan = canary([]).replicas(old, new);
            plan.strategy.kind = kind;
            if by_evidence {
                plan = plan.promoted_by(evidence());
            }
            if ruled {
                plan = plan.ruled_by(rule()).ruled_by(Metric { count: None, ..smoke() }).freezing();
            }
            if new % 2 == 0 {
                plan = plan.judged_on_latency().baking(300);
            }
            if old % 3 == 0 {
                plan = plan
                    .hooked(Moment::Before, ["migrate", "warm"])
                    .hooked(Moment::After, ["tidy", "announce"]);
                plan.strategy.hooks.after[0].on_failure = model::hook::OnFailure::Rollback;
            }
            if first == 0 { plan.first() } else { plan }
        },
    )
}

/// Nothing here may be refused or illegal but an operator's wish: `carry_out` and `settle` see to it, and to the replay.
fn happen(scene: &mut Scene, chance: &Chance) {
    let change = match chance {
        Chance::Time(seconds) => seen().after(*seconds),
        Chance::Confirmed => seen().confirmed(),
        Chance::New(ready) => seen().candidate_ready((*ready).min(scene.rollout.wanted_candidate)),
        Chance::Old(ready) => seen().stable_ready((*ready).min(scene.rollout.wanted_stable)),
        Chance::Requests { candidate, stable } => {
            seen().candidate(candidate.0, candidate.1).stable(stable.0, stable.1)
        }
        Chance::Crash => seen().crash_loop("it exits with status 1"),
        Chance::Unreachable => seen().unreachable(),
        Chance::Reachable => seen().reachable_again(),
        Chance::AgentRestarts => seen().agent_restarted(),
        Chance::Begin => {
            let begun = |it: ship::checks::Wanted| Begun { ticket: it.ticket, since: scene.now };
            let wanted = ship::checks::wanted(&scene.rollout, &scene.seen, scene.now);
            scene.seen.checks = wanted.into_iter().map(begun).collect();
            seen()
        }
        Chance::Found(verdict) => {
            // Twice, and also when nobody wants it any more: it counts once, or for nothing.
            for begun in std::mem::take(&mut scene.seen.checks) {
                scene.ends(begun.ticket, *verdict, Some(0.0));
                assert!(!scene.ends(begun.ticket, *verdict, Some(0.0)), "it counts twice");
            }
            seen()
        }
        Chance::Operator(command) => {
            if let Err(refusal) = scene.carry_out(command.clone()) {
                assert!(!refusal.what.is_empty() && !refusal.instead.is_empty());
            }
            seen()
        }
    };
    scene.sees(&change);
}

fn holds_always(scene: &Scene, before: &Earlier) -> Result<(), TestCaseError> {
    let rollout = &scene.rollout;
    prop_assert!(
        rollout.weight == Weight::NONE || rollout.wanted_candidate > 0,
        "traffic without wanted replicas"
    );
    if rollout.awaits_hooks() {
        prop_assert_eq!(
            (rollout.weight, rollout.wanted_candidate),
            (Weight::NONE, 0),
            "it moves before its hooks"
        );
        prop_assert!(rollout.phase != Phase::Promoted && rollout.phase != Phase::Completed);
    }
    let back = rollout.phase.is_terminal() || matches!(rollout.phase, Phase::RollingBack(_));
    prop_assert!(!(back && rollout.previews()), "a preview of what goes back or has ended");
    if matches!(rollout.strategy.kind, Kind::BlueGreen { .. }) {
        prop_assert!(
            [Weight::NONE, Weight::ALL].contains(&rollout.weight)
                || matches!(rollout.phase, Phase::RollingBack(_)),
            "all or nothing"
        );
    }
    if rollout.phase.is_terminal() {
        prop_assert_eq!(ship::plan(rollout, &scene.seen, scene.now).0, vec![]);
    }
    if before.terminal || !scene.seen.reachable {
        prop_assert_eq!(rollout.weight, before.weight);
        prop_assert_eq!((rollout.wanted_stable, rollout.wanted_candidate), before.wanted);
    }
    if matches!(rollout.phase, Phase::Paused(_)) {
        prop_assert!(scene.report.wait.is_some(), "a pause says what it waits for");
    }
    Ok(())
}

/// What is compared with afterwards.
struct Earlier {
    weight: Weight,
    wanted: (u32, u32),
    terminal: bool,
}

/// Whether the smoke test of a preview was ever passed.
fn has_passed(scene: &Scene) -> bool {
    scene.fresh().iter().any(|event| {
        matches!(event, Event::RuleMeasured(it) if it.run == Run::PrePromotion && it.outcome == Outcome::Successful)
    })
}

/// Every shift rests on ready replicas: forward on the new release's, back on the old one's.
fn shifts_rest_on_capacity(scene: &mut Scene, accepted: bool) -> Result<(), TestCaseError> {
    for _ in 0..200 {
        let (commands, report) = ship::plan(&scene.rollout, &scene.seen, scene.now);
        scene.report = report;
        let mut moved = false;
        for command in commands {
            let before = scene.weight();
            let back = matches!(scene.rollout.phase, Phase::RollingBack(_));
            let (old, new) = (scene.seen.stable.ready, scene.seen.candidate.ready);
            moved |= scene.carry_out(command).expect("the planner asks for nothing senseless");
            let (weight, full) = (scene.weight(), scene.rollout.candidate_replicas);
            let canary = !matches!(scene.rollout.strategy.kind, Kind::Rolling { .. });
            let switches = matches!(scene.rollout.strategy.kind, Kind::BlueGreen { .. }) && weight > before;
            if switches && scene.rollout.from.is_some() {
                prop_assert!(accepted || has_passed(scene), "the switch came before the preview had passed");
            }
            if canary && weight > before {
                prop_assert!(!back && new >= weight.of_replicas(full), "{weight} on {new} of {full}");
            }
            if back && weight < before && scene.rollout.from.is_some() {
                let stable = scene.rollout.stable_replicas;
                let bears = old >= weight.rest().of_replicas(stable);
                prop_assert!(bears || (new == 0 && old > 0), "{} back on {old} of {stable}", weight.rest());
            }
        }
        if !moved {
            return Ok(());
        }
    }
    Err(TestCaseError::fail("the planner goes in circles"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(plan in any_plan(), chances in vec(chance(), 0..50)) {
        let mut scene = given(plan);
        let mut accepted = false;
        for chance in &chances {
            happen(&mut scene, chance);
            accepted |= matches!(chance, Chance::Operator(Command::Promote { .. }));
            let before = Earlier {
                weight: scene.weight(),
                wanted: (scene.rollout.wanted_stable, scene.rollout.wanted_candidate),
                terminal: scene.rollout.phase.is_terminal(),
            };
            shifts_rest_on_capacity(&mut scene, accepted)?;
            holds_always(&scene, &before)?;
        }
        scene.settle();
    }
}
