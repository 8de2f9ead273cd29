//! Conditions that are as deep as they may be, read and judged where a thread has the stack that Rust gives it.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use condition::{Condition, LONGEST};

/// Why a text is no condition; `None` when it is one.
fn refused(text: String) -> Option<String> {
    let reading = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    reading.spawn(move || Condition::read(&text).err().map(|error| error.what)).unwrap().join().unwrap()
}

#[test]
fn a_chain_of_operators_as_long_as_a_condition_is_no_end() {
    for part in ["1.0 + ", "1.0+", "1 < ", "1<", "1 in ", "true&&", "true?1:", "!", "-", ".a", "[0]", "-1+"] {
        let text = part.repeat((LONGEST - 20) / part.len());
        let _ = refused(format!("{text}1.0 < result[0]"));
        let _ = refused(format!("result{text}"));
    }
    assert_eq!(refused("1.0+".repeat(240) + "1.0 < result[0]"), None);
}

#[test]
fn brackets_nest_only_so_deep_and_a_chain_may_stand_in_the_deepest() {
    assert!(refused("(".repeat(25) + "true" + &")".repeat(25)).unwrap().contains("nests deeper than 24"));
    let chain = "1.0+".repeat(200) + "1.0";
    assert_eq!(refused("(".repeat(24) + &chain + &")".repeat(24) + " < result[0]"), None);
}
