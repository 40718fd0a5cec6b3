//! `sio`: a Socket.IO server for those who write no Rust.

mod args;
mod bench;
mod connect;
mod doctor;
mod emit;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            // A 2 of the doctor is a fault of the server.
            let is_doctor = std::env::args().nth(1).is_some_and(|word| word == "doctor");
            return match error.exit_code() {
                0 => ExitCode::SUCCESS,
                _ if is_doctor => doctor::CANNOT_RUN.into(),
                _ => 2.into(),
            };
        }
    };
    let command = args.command.unwrap_or(Command::Serve(args.serve));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sio: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match command {
        Command::Bench(options) => runtime.block_on(bench::run(options)),
        Command::Connect(options) => {
            let code = runtime.block_on(connect::run(options));
            // Who leaves does not wait for a name server that has not answered.
            runtime.shutdown_background();
            code
        }
        Command::Doctor(options) => {
            let code = runtime.block_on(doctor::run(*options));
            // It does not wait for a name server either.
            runtime.shutdown_background();
            code
        }
        Command::Emit(options) => runtime.block_on(emit::run(options)),
        Command::Serve(options) => runtime.block_on(serve::run(options)),
    }
}
