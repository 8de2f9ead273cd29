//! What is counted over many lives: how much happened in them, and how often the judge was wrong.

/// What is counted over many lives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Rollouts of a release that is no worse than the one before, under the eye of the judge.
    pub healthy_judged: u64,
    /// Of those, rolled back by the judge.
    pub blamed: u64,
    /// Of those that were judged, the ones that were judged on latency, too.
    pub healthy_timed: u64,
    /// Of those, rolled back for it.
    pub blamed_timed: u64,
    /// Releases no worse than the one before that were watched, in peace, after they took all requests.
    pub healthy_baked: u64,
    /// Of those, rolled back by the judge.
    pub blamed_baked: u64,
    /// Rollouts that ended with the new release.
    pub completed: u64,
    /// Rollouts that went back.
    pub rolled_back: u64,
    /// Deaths of control.
    pub deaths: u64,
    /// Events in the journal.
    pub events: u64,
    /// How often a user came back to a release that was to be kept.
    pub returns: u64,
    /// Rollouts that went back and were tried again.
    pub retried: u64,
    /// Releases that were taken back because they burned a budget.
    pub taken_back: u64,
    /// Rollouts that somebody else had approved.
    pub approved: u64,
    /// Requests for change that came to nothing by themselves.
    pub voided: u64,
    /// Rollouts that began in a freeze, for a reason.
    pub through: u64,
    /// Rollouts that a freeze kept from beginning.
    pub kept_out: u64,
    /// Alerts of rules that fired.
    pub fired: u64,
    /// Alerts of rules that ended, or came to nothing.
    pub resolved: u64,
    /// How often a budget came to allow something else.
    pub levels: u64,
    /// Rollouts that began though a budget was spent, for a reason.
    pub overspent: u64,
    /// Decisions about errors, silences, and tests of receivers that were passed.
    pub said: u64,
}

impl Figures {
    /// Both added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            healthy_judged: self.healthy_judged + other.healthy_judged,
            blamed: self.blamed + other.blamed,
            healthy_timed: self.healthy_timed + other.healthy_timed,
            blamed_timed: self.blamed_timed + other.blamed_timed,
            healthy_baked: self.healthy_baked + other.healthy_baked,
            blamed_baked: self.blamed_baked + other.blamed_baked,
            completed: self.completed + other.completed,
            rolled_back: self.rolled_back + other.rolled_back,
            deaths: self.deaths + other.deaths,
            events: self.events + other.events,
            returns: self.returns + other.returns,
            retried: self.retried + other.retried,
            taken_back: self.taken_back + other.taken_back,
            approved: self.approved + other.approved,
            voided: self.voided + other.voided,
            through: self.through + other.through,
            kept_out: self.kept_out + other.kept_out,
            fired: self.fired + other.fired,
            resolved: self.resolved + other.resolved,
            levels: self.levels + other.levels,
            overspent: self.overspent + other.overspent,
            said: self.said + other.said,
        }
    }
}
