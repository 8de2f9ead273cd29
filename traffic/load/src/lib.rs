//! Open-loop load with a ledger of sequence numbers.
