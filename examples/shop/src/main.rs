//! The stand-alone shop.

fn main() -> std::process::ExitCode {
    shop::main()
}
