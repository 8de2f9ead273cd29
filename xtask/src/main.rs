//! The project's own tasks, run as `cargo xtask TASK`. Here: reading the command line and the way out.
//! Each task lives in its own file; nothing of the product lives in this crate, and the product does not know it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a tool for people at a terminal; printing is what it is for"
)]

mod bench;
mod house;
mod needs;
mod test;
mod tidy;

use std::process::ExitCode;

use house::House;

const USAGE: &str = "\
cargo xtask TASK

  test            format, clippy with warnings denied, tidy, build, all tests; stops at the first failure
  tidy [--bless]  the rules that the compiler cannot hold; --bless rewrites xtask/graph.txt
  bench [NAME]    run all benchmarks or one, in release mode; each figure is a ratio measured in one run
  sim SEED        tells one simulated life line by line
  sim FROM..TO    lives many, and tells which broke a promise
  fuzz TARGET [SEED | FROM..TO]  hostile bytes for TARGET (docs/fuzzing.md); a finding replays by its number
  promqltest DIR [--verbose]  runs a folder of promqltest files; passed, refused and failed for each
  bench --list    the benchmarks and what each one measures

exit status: 0 done, 1 a check failed, 2 misuse
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let house = House::find();
    let outcome = match words.as_slice() {
        ["test"] => test::run(&house),
        ["tidy"] => tidy::run(&house, tidy::Snapshot::Compare),
        ["tidy", "--bless"] => tidy::run(&house, tidy::Snapshot::Rewrite),
        ["bench"] => bench::run_all(&house),
        ["bench", "--list"] => {
            print!("{}", bench::list());
            Ok(())
        }
        ["bench", name] => match bench::find(name) {
            Some(benchmark) => bench::run_one(&house, benchmark),
            None => return misuse(&format!("no benchmark is called `{name}`; known:\n{}", bench::list())),
        },
        ["sim", seeds] => {
            house::run(&mut house.cargo(["run", "--quiet", "--locked", "-p", "seeds", "--", seeds]))
        }
        ["fuzz", target @ ..] => {
            let run = ["run", "--quiet", "--locked", "-p", "fuzz", "--"];
            house::run(house.cargo(run).args(target))
        }
        ["promqltest", arguments @ ..] => {
            let run = ["run", "--quiet", "--locked", "-p", "promql", "--example", "promqltest", "--"];
            house::run(house.cargo(run).args(arguments))
        }
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        [] => return misuse(USAGE),
        other => return misuse(&format!("`cargo xtask {}` is not a task\n\n{USAGE}", other.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn misuse(message: &str) -> ExitCode {
    eprint!("{message}");
    ExitCode::from(2)
}
