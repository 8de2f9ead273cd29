//! The rollout machine: strategies, steps, the judge, threshold rules, rollback.
