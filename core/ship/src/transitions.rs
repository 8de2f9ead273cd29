//! Which event may follow in which phase: the one table that [`crate::Rollout::apply`] obeys and the diagram in
//! `docs/rollout-states.md` is drawn from.

/// `(phase, event, phase after it)`. What is not here is illegal.
pub const TRANSITIONS: &[(&str, &str, &str)] = &[
    ("progressing", "scaled", "progressing"),
    ("progressing", "shifted", "progressing"),
    ("progressing", "headerRouted", "progressing"),
    ("progressing", "readied", "progressing"),
    ("progressing", "stepEntered", "progressing"),
    ("progressing", "baselineFrozen", "progressing"),
    ("progressing", "clockStepped", "progressing"),
    ("progressing", "measured", "progressing"),
    ("progressing", "ruleMeasured", "progressing"),
    ("progressing", "hookBegun", "progressing"),
    ("progressing", "hookEnded", "progressing"),
    ("progressing", "paused", "paused"),
    ("progressing", "promoted", "promoted"),
    ("progressing", "rollbackBegun", "rollingBack"),
    ("paused", "paused", "paused"),
    ("paused", "clockStepped", "paused"),
    ("paused", "measured", "paused"),
    ("paused", "ruleMeasured", "paused"),
    ("paused", "hookEnded", "paused"),
    ("paused", "readied", "paused"),
    ("paused", "resumed", "progressing"),
    ("paused", "rollbackBegun", "rollingBack"),
    ("promoted", "scaled", "promoted"),
    ("promoted", "clockStepped", "promoted"),
    ("promoted", "measured", "promoted"),
    ("promoted", "ruleMeasured", "promoted"),
    ("promoted", "hookBegun", "promoted"),
    ("promoted", "hookEnded", "promoted"),
    ("promoted", "resumed", "promoted"),
    ("promoted", "paused", "paused"),
    ("promoted", "completed", "completed"),
    ("promoted", "rollbackBegun", "rollingBack"),
    ("rollingBack", "scaled", "rollingBack"),
    ("rollingBack", "clockStepped", "rollingBack"),
    ("rollingBack", "shifted", "rollingBack"),
    ("rollingBack", "rolledBack", "rolledBack"),
];

/// The phase after an event; `None` when the event is illegal there.
pub fn next(phase: &str, event: &str) -> Option<&'static str> {
    TRANSITIONS.iter().find(|(from, on, _)| *from == phase && *on == event).map(|(_, _, to)| *to)
}

/// The table as a Mermaid state diagram: events that stay in their phase are gathered on one arrow.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> progressing: started\n");
    let mut drawn: Vec<(&str, &str)> = Vec::new();
    for (from, _, to) in TRANSITIONS {
        if drawn.contains(&(*from, *to)) {
            continue;
        }
        drawn.push((from, to));
        let events: Vec<&str> =
            TRANSITIONS.iter().filter(|(f, _, t)| f == from && t == to).map(|(_, event, _)| *event).collect();
        text.push_str(&format!("    {from} --> {to}: {}\n", events.join(", ")));
    }
    text.push_str("    completed --> [*]\n    rolledBack --> [*]\n");
    text
}
