//! The `fleet` command: everything is in the library.

fn main() -> std::process::ExitCode {
    fleet::cli::main()
}
