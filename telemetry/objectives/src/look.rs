//! A look at all objectives: counting on, reading, and what their planner asks.

use std::collections::{BTreeMap, HashMap, HashSet};

use lifecycle::{Command, World};
use meter::{Ledger, Meter, Providers};
use model::objective::Method;
use model::{Objective, ObjectiveName, Place, Timestamp};
use watch::burn::Rules;
use watch::{History, Memory, Range, Reading, Report, State};

use crate::blame;
use crate::charges;
use crate::counted::{Measuring, counted, counted_of, key};
use crate::counts::{Kept, history};

/// Days of minutes that are kept: a leap year, and a day more for windows that began in another zone.
const KEPT_DAYS: u32 = 368;

/// All objectives of one control.
pub struct Objectives {
    meter: Meter,
    /// What is counted now: changed only when this does.
    wanted: Vec<(String, Objective, Measuring)>,
    uncounted: HashMap<String, String>,
    memories: HashMap<String, Memory>,
    rules: HashMap<String, Rules>,
}

/// What came of a look.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// What is asked of control, together.
    pub command: Option<Command>,
    /// What is asked after that, each by itself: releases that are to blame for a page go back.
    pub back: Vec<Command>,
    /// How each objective stands.
    pub standings: Vec<Standing>,
}

/// How an objective stands at one place.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Where.
    pub place: Place,
    /// What is promised.
    pub objective: Objective,
    /// What its counts say; `None` when they could not be read.
    pub reading: Option<Reading>,
    /// Why its rules stand where they stand.
    pub report: Report,
    /// Why it is not counted, or not read.
    pub trouble: Option<String>,
    /// What its page says of the release that came last, while it fires.
    pub blame: Option<String>,
}

impl Objectives {
    /// Counts into this ledger.
    pub fn new(ledger: Ledger) -> Self {
        Self {
            meter: Meter::new(ledger, KEPT_DAYS),
            wanted: vec![],
            uncounted: HashMap::new(),
            memories: HashMap::new(),
            rules: HashMap::new(),
        }
    }

    /// Looks at the objectives of what is deployed; a server is asked for under the name of its place. `runs` says whether a service should run at a place now.
    ///
    /// # Errors
    /// When counts cannot be kept, with the reason; they are tried again with the next look.
    pub fn look(
        &mut self,
        world: &World,
        providers: &dyn Providers,
        runs: &dyn Fn(&Place) -> bool,
        at: Timestamp,
    ) -> Result<Look, String> {
        let declared: Vec<(Place, Objective)> = world
            .lanes
            .keys()
            .flat_map(|place| {
                lifecycle::objectives_at(world, place).into_iter().map(move |it| (place.clone(), it))
            })
            .collect();
        let burning = charges::open(world, &declared, at);
        self.want(world, &declared, &burning);
        let now = at.as_micros() / 1_000;
        let troubles = self.meter.round(providers, now).map_err(|error| error.to_string())?;
        let mut troubles: HashMap<String, String> =
            troubles.into_iter().map(|trouble| (trouble.objective, trouble.what)).collect();
        troubles.extend(self.uncounted.clone());
        let (mut commands, mut back) = (Vec::new(), Vec::new());
        let mut standings = Vec::with_capacity(declared.len());
        for (place, objective) in declared {
            let key = key(&place, &objective.name);
            let trouble = troubles.remove(&key);
            let state = state(world, &place, &objective.name);
            let taken = self.take(&key, &objective, &state, at, runs(&place));
            let (reading, trouble) = match taken {
                Ok(reading) => (Some(reading).filter(|_| trouble.is_none()), trouble),
                Err(error) => (None, Some(error.to_string())),
            };
            let (mut report, mut found) = (Report::default(), None);
            // What could not be counted is not known: nothing follows from it.
            if let Some(reading) = &reading {
                let memory = self.memories.entry(key.clone()).or_default();
                let (asked, why) = watch::plan(&state, memory, &objective, reading, at);
                report = why;
                if blame::pages(&state, &asked) {
                    let of = (&place, &objective);
                    found = blame::look(self.meter.ledger(), world, of, &state, &burning, at)
                        .map_err(|error| error.to_string())?;
                }
                commands.extend(asked.into_iter().map(|it| (place.clone(), objective.name.clone(), it)));
                for due in burning.iter().filter(|due| due.is_due(&place, &objective.name, at)) {
                    let charged = due.charge(self.meter.ledger(), &key, &objective, &reading.budget, &state);
                    let command = charged.map_err(|error| error.to_string())?;
                    commands.push((place.clone(), objective.name.clone(), command));
                }
            }
            let (command, blame) = found.map_or((None, None), |found| (found.command, Some(found.what)));
            back.extend(command);
            standings.push(Standing { place, objective, reading, report, trouble, blame });
        }
        commands.extend(retired(world, &standings));
        self.forget(&standings);
        let command = (!commands.is_empty()).then_some(Command::Objectives(commands));
        Ok(Look { command, back, standings })
    }

    /// The minutes of an objective, corrections taken out, for looking back.
    ///
    /// # Errors
    /// When they cannot be read, with the reason.
    pub fn history(
        &mut self,
        place: &Place,
        objective: &Objective,
        state: &State,
        range: Range,
    ) -> Result<History, String> {
        let key = key(place, &objective.name);
        history(self.meter.ledger(), &key, range, &objective.method, &state.exclusions)
            .map_err(|error| error.to_string())
    }

    fn want(&mut self, world: &World, declared: &[(Place, Objective)], burning: &[charges::Burning]) {
        let measuring = |place: &Place| Measuring::of(lifecycle::spec_at(world, place).map(|it| &it.metrics));
        let all = declared.iter().map(|(place, it)| (key(place, &it.name), it.clone(), measuring(place)));
        let own = burning.iter().map(|it| (it.own.key.clone(), it.objective.clone(), Measuring::of(None)));
        let wanted: Vec<_> = all.chain(own).collect();
        if wanted == self.wanted {
            return;
        }
        self.uncounted.clear();
        let mut countings = Vec::with_capacity(wanted.len());
        for (place, objective) in declared {
            match counted(place, objective, &measuring(place)) {
                Ok(counted) => countings.push(counted),
                Err(why) => drop(self.uncounted.insert(key(place, &objective.name), why)),
            }
        }
        countings.extend(burning.iter().filter_map(|it| counted_of(&it.place, &it.objective, &it.own)));
        self.meter.want(countings);
        self.rules = declared.iter().map(|(place, it)| (key(place, &it.name), Rules::of(it))).collect();
        self.wanted = wanted;
    }

    fn take(
        &mut self,
        key: &str,
        objective: &Objective,
        state: &State,
        at: Timestamp,
        runs: bool,
    ) -> Result<Reading, meter::Error> {
        let rules = self.rules.get(key).cloned().unwrap_or_else(|| Rules::of(objective));
        let exclusions = &state.exclusions;
        let kept = Kept::of(self.meter.ledger(), key, exclusions)?;
        match &objective.method {
            Method::Occurrences => {
                let reading = Reading::take(objective, &rules, &kept, at, runs);
                kept.done().map(|()| reading)
            }
            Method::Timeslices { .. } => {
                kept.done()?;
                let range = charges::longest(objective, at);
                let history = history(self.meter.ledger(), key, range, &objective.method, exclusions)?;
                Ok(Reading::take(objective, &rules, &history, at, runs))
            }
        }
    }

    /// What was counted of rollouts that have been charged, and of nothing that is declared, is let go.
    fn forget(&mut self, standings: &[Standing]) {
        let declared: HashSet<String> =
            standings.iter().map(|it| key(&it.place, &it.objective.name)).collect();
        self.memories.retain(|key, _| declared.contains(key));
        let wanted: HashSet<&str> = self.wanted.iter().map(|(key, ..)| key.as_str()).collect();
        let names = self.meter.ledger().names();
        let own = names.filter(|name| charges::is_own(name) && !wanted.contains(name));
        let own: Vec<String> = own.map(str::to_owned).collect();
        for name in own {
            // One that cannot be forgotten now is forgotten with the next look.
            let _ = self.meter.ledger().forget(&name);
        }
    }
}

fn state(world: &World, place: &Place, objective: &ObjectiveName) -> State {
    world.objectives.get(place).and_then(|states| states.get(objective)).cloned().unwrap_or_default()
}

/// The alerts of objectives that are declared no longer end.
fn retired(world: &World, standings: &[Standing]) -> Vec<(Place, ObjectiveName, watch::Command)> {
    let mut declared: BTreeMap<&Place, Vec<&ObjectiveName>> = BTreeMap::new();
    for it in standings {
        declared.entry(&it.place).or_default().push(&it.objective.name);
    }
    let is_declared =
        |place: &Place, name: &ObjectiveName| declared.get(place).is_some_and(|names| names.contains(&name));
    let mut commands = Vec::new();
    for (place, states) in &world.objectives {
        for (name, state) in states.iter().filter(|(name, _)| !is_declared(place, name)) {
            let ends = watch::retire(state).into_iter();
            commands.extend(ends.map(|command| (place.clone(), name.clone(), command)));
        }
    }
    commands
}
