//! `shipshape completions`: scripts that complete verbs and options in a shell. Does not live here: the verbs.

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use crate::Done;
use crate::args::Cli;
use crate::context::Context;

/// Print what completes these verbs and options in a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape completions bash > ~/.local/share/bash-completion/completions/shipshape
  shipshape completions zsh > ~/.zfunc/_shipshape
  shipshape completions fish > ~/.config/fish/completions/shipshape.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Which,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Done {
    context.printer.bytes(&script(args.shell));
    Done::Well
}

fn script(shell: Which) -> Vec<u8> {
    let shell = match shell {
        Which::Bash => Shell::Bash,
        Which::Zsh => Shell::Zsh,
        Which::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "shipshape", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_verbs_and_options() {
        for (shell, name) in [(Which::Bash, "bash"), (Which::Zsh, "zsh"), (Which::Fish, "fish")] {
            let script = String::from_utf8(script(shell)).unwrap();
            for word in ["deploy", "rollback", "retry", "follow", "environment"] {
                assert!(script.contains(word), "{name} does not know {word}");
            }
        }
    }

    /// A shell reads its script without an error, where there is one.
    #[test]
    fn bash_takes_its_script() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let Ok(mut bash) = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn() else { return };
        bash.stdin.take().unwrap().write_all(&script(Which::Bash)).unwrap();
        assert!(bash.wait().unwrap().success());
    }
}
