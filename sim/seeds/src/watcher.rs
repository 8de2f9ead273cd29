//! Who watches beside control, in the life of a careful team: looks at rules of alerts, at an objective and at the tests of receivers,
//! by the product's own rules, and asks control. What it remembers dies with control. Does not live here: what there is to be seen (`sky`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alerting::{Answer, Asks, Blind, Found, Look, Rounds, Ruled};
use lifecycle::{Command, World as Journaled};
use model::alert::Labels;
use model::objective::Method;
use model::{ObjectiveName, Place, Timestamp};
use runtime::{Handle, Snapshot};
use watch::burn::Rules;
use watch::{Exclusions, History, Memory, Minute, Reading};

use crate::care::OBJECTIVE;
use crate::outside::{Wall, World};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(7);
/// The label that tells what a rule finds.
pub(crate) const QUEUE: &str = "queue";

/// Looks again and again. Never returns.
pub(crate) async fn watch(handle: Handle, world: World, wall: Wall) {
    let mut rounds = Rounds::default();
    let mut memories: BTreeMap<Place, Memory> = BTreeMap::new();
    world.now().referee.watcher_begins();
    loop {
        tokio::time::sleep(EVERY).await;
        let at = ports::Clock::now(&wall);
        let budgets = budgets(&handle.snapshot().world, &world, &mut memories, at);
        let tests = tests(&handle.snapshot().world, &world, at);
        for command in [budgets, tests].into_iter().flatten() {
            // What was not taken is asked for again at the next look.
            let _ = handle.watched(command).await;
        }
        let at = ports::Clock::now(&wall);
        if let Some(command) = alerts(&handle.snapshot(), &world, &mut rounds, at) {
            let _ = handle.watched(command).await;
        }
    }
}

fn budgets(
    journaled: &Journaled,
    world: &World,
    memories: &mut BTreeMap<Place, Memory>,
    at: Timestamp,
) -> Option<Command> {
    let name: ObjectiveName = OBJECTIVE.parse().ok()?;
    let mut commands = Vec::new();
    let mut outside = world.now();
    for place in journaled.lanes.keys() {
        let declared = lifecycle::objectives_at(journaled, place);
        let Some(objective) = declared.into_iter().find(|it| it.name == name) else { continue };
        outside.sky.count(place, at, EVERY);
        let Some(counts) = outside.sky.counts.get(place).cloned() else { continue };
        let known = journaled.objectives.get(place).and_then(|states| states.get(&name));
        let state = known.cloned().unwrap_or_default();
        outside.referee.counted(place, &counts, at);
        let history = history(&counts, state.exclusions.clone());
        let reading = Reading::take(&objective, &Rules::of(&objective), &history, at, true);
        let memory = memories.entry(place.clone()).or_default();
        let (asked, _) = watch::plan(&state, memory, &objective, &reading, at);
        commands.extend(asked.into_iter().map(|command| (place.clone(), name.clone(), command)));
    }
    (!commands.is_empty()).then_some(Command::Objectives(commands))
}

fn history(counts: &BTreeMap<u64, Minute>, exclusions: Exclusions) -> History {
    let first = counts.keys().next().copied().unwrap_or_default();
    let last = counts.keys().last().copied().unwrap_or_default();
    let minutes = (first..=last).map(|minute| counts.get(&minute).copied().unwrap_or_default());
    History::of(first, minutes.collect(), Method::Occurrences, exclusions)
}

/// Receivers take what they are told at once, or not at all.
fn tests(journaled: &Journaled, world: &World, at: Timestamp) -> Option<Command> {
    let takes = world.now().sky.takes;
    let open = journaled.paging.tests.iter().filter(|(_, test)| takes && test.open);
    let passed: BTreeSet<_> = open.map(|(way, test)| (way.clone(), test.begun.to_string())).collect();
    world.now().referee.receivers(passed.iter().map(|(way, _)| way.clone()).collect());
    let commands = paging::selftest::tests(&journaled.paging, &lifecycle::told(journaled), &passed, at);
    (!commands.is_empty()).then_some(Command::Paging(commands))
}

fn alerts(snapshot: &Snapshot, world: &World, rounds: &mut Rounds, at: Timestamp) -> Option<Command> {
    let rules = alerting::rules(&snapshot.world, snapshot.reachable.then_some(&*snapshot.seen), at);
    let mut outside = world.now();
    let blind = Blind { agent: outside.sky.blind, ..Blind::default() };
    let answers: Vec<(Answer, Duration)> =
        rules.iter().map(|ruled| (answer(&outside.sky, ruled), Duration::ZERO)).collect();
    let found = rules.iter().zip(&answers).filter_map(|(ruled, (answer, _))| {
        let of = |found: &Found| found.labels.get(QUEUE).cloned();
        let queues = answer.as_ref().ok().map(|all| all.iter().filter_map(of).collect());
        Some(((ruled.place.clone()?, ruled.rule.name.clone()), queues))
    });
    let found = found.collect();
    outside.referee.looked(at, blind.agent, found);
    drop(outside);
    let Look { command, .. } = rounds.look(&snapshot.world, rules, answers, &blind, at);
    command
}

/// What the team's own rules find is in the sky; of the ready-made ones only those that are known without metrics find anything.
fn answer(sky: &crate::sky::Sky, ruled: &Ruled) -> Answer {
    if let Asks::Known(_, answer) = &ruled.asks {
        return answer.clone();
    }
    let queues = ruled.place.as_ref().map(|place| sky.finds(place, &ruled.rule.name));
    let Some(queues) = queues.unwrap_or_default() else {
        return if ruled.place.is_some() { Err("nobody answers".to_owned()) } else { Ok(vec![]) };
    };
    let found = |queue: &str| Found {
        labels: Labels::from([(QUEUE.to_owned(), queue.to_owned())]),
        value: 7.0,
        notes: Labels::new(),
    };
    Ok(queues.into_iter().map(found).collect())
}
