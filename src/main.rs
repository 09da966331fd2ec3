//! The `pilotlight` binary.

fn main() -> std::process::ExitCode {
    pilotlight::server::cli::main()
}
