//! The wiring of objectives: looked at every few seconds, what their planner asks goes to control, and what they say to whoever
//! asks. Does not live here: counting (`meter`), what counts mean (`watch`), and where they come from (`collector`).

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use api::objectives::{AskBacktest, AskReport, BacktestReport, MonthReport, NoAnswer, ObjectiveStatus};
use model::Place;
use model::objective::{Objective, Window};
use objectives::{Look, Standing};
use ports::Clock as _;
use ports::Secrets;
use ports::fleet::Seen;
use runtime::{Handle, Snapshot};
use watch::minutes::minute_of;
use watch::{Range, State};

use crate::clock::SystemClock;
use crate::looks;
use crate::providers::Everywhere;

/// All that a backtest may ask for.
const MOST_DAYS: u32 = 366;

/// All objectives, shared between who looks and who asks.
pub(crate) struct Objectives {
    all: Mutex<objectives::Objectives>,
    standings: Mutex<Vec<Standing>>,
    control: Handle,
    secrets: Arc<dyn Secrets>,
}

impl Objectives {
    /// Opens what was counted before.
    pub(crate) fn open(home: &Path, control: Handle, secrets: Arc<dyn Secrets>) -> Result<Arc<Self>, String> {
        let ledger = meter::Ledger::open(&cli::home::objectives(home)).map_err(|error| error.to_string())?;
        let all = Mutex::new(objectives::Objectives::new(ledger));
        Ok(Arc::new(Self { all, standings: Mutex::default(), control, secrets }))
    }

    /// Looks at them again and again. Never returns.
    pub(crate) async fn follow(self: Arc<Self>, store: Arc<store::Store>) -> Infallible {
        let mut snapshots = self.control.snapshots();
        let (mut troubled, mut slow) = (false, looks::Slow::default());
        loop {
            let begun = Instant::now();
            let (here, store) = (Arc::clone(&self), Arc::clone(&store));
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let rollouts = looks::rollouts(&snapshot);
            let runtime = tokio::runtime::Handle::current();
            let looked = tokio::task::spawn_blocking(move || here.look(&store, &snapshot, &runtime)).await;
            let failed = match looked {
                Ok(Ok(Look { command, back, standings })) => {
                    *lock(&self.standings) = standings;
                    self.ask(command, back).await.err().map(|error| error.to_string())
                }
                Ok(Err(error)) => Some(error),
                Err(error) => Some(error.to_string()),
            };
            looks::told(&mut troubled, failed.as_deref(), "objectives");
            slow.looked("objectives", begun);
            if !looks::next(&mut snapshots, &rollouts).await {
                // Control ends; so will this.
                return std::future::pending().await;
            }
        }
    }

    /// Asks control for what follows from a look. Releases go back once their page is in the journal.
    async fn ask(
        &self,
        command: Option<lifecycle::Command>,
        back: Vec<lifecycle::Command>,
    ) -> Result<(), runtime::Error> {
        for command in command.into_iter().chain(back) {
            match self.control.watched(command).await {
                // Overtaken by what somebody has done meanwhile, and looked at again.
                Err(runtime::Error::Refused(refusal)) => tracing::debug!(%refusal, "not taken back"),
                asked => asked?,
            }
        }
        Ok(())
    }

    fn look(
        &self,
        store: &Arc<store::Store>,
        snapshot: &Snapshot,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Look, String> {
        let runs = |place: &Place| runs(&snapshot.seen, place);
        let everywhere = Everywhere::of(store, &snapshot.world, &*self.secrets, runtime);
        lock(&self.all).look(&snapshot.world, &everywhere, &runs, SystemClock.now())
    }

    /// The objective that is asked for, and what is known of it.
    fn find(&self, ask: &AskBacktest) -> Result<(Objective, State), NoAnswer> {
        let world = Arc::clone(&self.control.snapshot().world);
        let place = ask.place();
        let declared = lifecycle::objectives_at(&world, &place);
        let Some(objective) = declared.iter().find(|it| it.name == ask.objective) else {
            let known: Vec<&str> = declared.iter().map(|it| it.name.as_str()).collect();
            let instead = match known.as_slice() {
                [] => "`shipshape slo` lists what there is".to_owned(),
                known => format!("known there: {}", known.join(", ")),
            };
            let what = format!("there is no objective {} at {place}", ask.objective);
            return Err(NoAnswer { what, instead, unknown: true });
        };
        Ok((objective.clone(), state(&world, &place, objective)))
    }
}

impl api::objectives::Objectives for Objectives {
    fn all(&self) -> Vec<ObjectiveStatus> {
        let world = Arc::clone(&self.control.snapshot().world);
        let told = |it: &Standing| {
            let state = state(&world, &it.place, &it.objective);
            let Standing { place, objective, reading, report, trouble, blame } = it;
            let (trouble, blame) = (trouble.clone(), blame.clone());
            let told =
                views::objective::objective(place, objective, &state, reading.as_ref(), report, trouble);
            ObjectiveStatus { blame, ..told }
        };
        lock(&self.standings).iter().map(told).collect()
    }

    fn backtest(&self, ask: &AskBacktest) -> Result<BacktestReport, NoAnswer> {
        let (mut objective, state) = self.find(ask)?;
        let refused =
            |what: String, instead: &str| NoAnswer { what, instead: instead.to_owned(), unknown: false };
        let target = ask.target().map_err(|what| refused(what, "name it in percent, as in 99.95%"))?;
        objective.target = target.unwrap_or(objective.target);
        let days = ask.days.unwrap_or(MOST_DAYS).min(MOST_DAYS);
        let to = minute_of(SystemClock.now());
        let range = Range::last(u64::from(days) * 1_440, to);
        let history = lock(&self.all).history(&ask.place(), &objective, &state, range);
        let history = history.map_err(|what| refused(what, "see that control may read its home"))?;
        if history.range().is_empty() {
            let what = format!("nothing was counted for {} at {} yet", ask.objective, ask.place());
            return Err(NoAnswer { what, instead: "ask again after a minute".to_owned(), unknown: true });
        }
        Ok(watch::backtest::backtest(&objective, &history).into())
    }

    fn report(&self, ask: &AskReport) -> Result<Vec<MonthReport>, NoAnswer> {
        let snapshot = self.control.snapshot();
        let at = SystemClock.now();
        let which =
            api::objectives::Which { service: ask.service.clone(), environment: ask.environment.clone() };
        let mut all = Vec::new();
        for place in snapshot.world.lanes.keys().filter(|place| which.holds(place)) {
            for objective in lifecycle::objectives_at(&snapshot.world, place) {
                let zone = match &objective.window {
                    Window::Calendar { zone, .. } => zone.as_str(),
                    Window::Rolling(_) => "UTC",
                };
                let month =
                    watch::window::month(ask.month.as_deref(), zone, at).map_err(|what| NoAnswer {
                        what,
                        instead: "name a month that has begun, as in 2026-11".to_owned(),
                        unknown: false,
                    })?;
                let state = state(&snapshot.world, place, &objective);
                let history = lock(&self.all).history(place, &objective, &state, month.1);
                let history = history.map_err(|what| NoAnswer {
                    what,
                    instead: "see that control may read its home".to_owned(),
                    unknown: false,
                })?;
                let (name, range) = (month.0.as_str(), month.1);
                all.push(views::objective::month(place, &objective, &state, (name, range), &history, at));
            }
        }
        Ok(all)
    }
}

fn state(world: &lifecycle::World, place: &Place, objective: &Objective) -> State {
    let states = world.objectives.get(place);
    states.and_then(|states| states.get(&objective.name)).cloned().unwrap_or_default()
}

/// Whether something runs at a place, or should: then silence is no data.
fn runs(seen: &Seen, place: &Place) -> bool {
    seen.groups.iter().any(|group| group.id.place == *place && !group.replicas.is_empty())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
