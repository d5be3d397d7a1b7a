//! `rabbitc`: the engine's command line. Arguments as typed become options as meant, one engine call follows, and
//! what comes back is rendered.

mod archive;
mod args;
mod completion;
mod containers;
mod events;
mod explain;
mod given;
mod id_files;
mod images;
mod inspect;
mod kept;
mod life;
mod man;
mod manner;
mod networks;
mod plan;
mod pods;
mod render;
mod run;
mod secrets;
mod system;
mod template;
mod volumes;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: sys::allocator::Allocator = sys::allocator::Allocator::new();

/// Exit code of a failure of rabbitc itself, as docker has it.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| name == engine::reaper::NAME) {
        // Inside a container, as its pid 1.
        return ExitCode::from(engine::reaper::run(words, std::env::vars_os()) as u8);
    }
    if std::env::args_os().next().is_some_and(|name| name == engine::reaper::HOLDER) {
        return ExitCode::from(engine::reaper::hold() as u8);
    }
    let verb = words.next();
    if verb.as_deref().is_some_and(|verb| verb == engine::MONITOR_VERB) {
        // Behind a container for as long as that lives: nothing else is done before, so that little memory is touched.
        return ExitCode::from(engine::run_monitor(words, std::env::vars_os()) as u8);
    }
    if engine::is_unpack_verb(verb.as_deref()) {
        return ExitCode::from(engine::unpack_layer() as u8);
    }
    if engine::is_shift_verb(verb.as_deref()) {
        return ExitCode::from(engine::unpack_image_again() as u8);
    }
    if engine::is_copy_verb(verb.as_deref()) {
        return ExitCode::from(engine::copy_apart(std::env::args_os().nth(2)) as u8);
    }
    if verb.as_deref() == Some(man::MAN.as_ref()) {
        return man::write(words);
    }
    if verb.as_deref() == Some(completion::COMPLETE.as_ref()) {
        return completion::complete(words);
    }
    if verb.as_deref() == Some(containers::HOLD.as_ref()) {
        return containers::hold_terminal();
    }
    if engine::is_answer_verb(verb.as_deref()) {
        // Nobody reads what it would say.
        return if engine::answer_names(words).is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    }
    if engine::is_volume_verb(verb.as_deref()) {
        return ExitCode::from(engine::change_volume() as u8);
    }
    sys::signal::keep_children();
    if life::is_behind_verb(verb.as_deref()) {
        let arguments: Vec<_> = std::env::args_os().collect();
        let protected =
            engine::host_binary::protect(c"rabbitc", arguments.iter().cloned(), std::env::vars_os());
        return match protected {
            Ok(_) => life::stand(&arguments[1..]),
            Err(error) => images::failed(&error),
        };
    }
    let typed = args::take_log_format(std::env::args_os().collect()).and_then(args::take_output);
    let redirected = typed.and_then(|(typed, output)| output.redirect().map(|()| typed));
    let arguments = match redirected {
        Ok(typed) => args::behind_container(args::verb_first(typed)),
        Err(error) => {
            render::error(&error);
            return ExitCode::from(FAILED);
        }
    };
    // Before the command line is read, as it would be read a second time after.
    let protected = match args::may_start(&arguments) {
        true => {
            let again = args::with_level(&arguments);
            engine::host_binary::protect(c"rabbitc", again, std::env::vars_os()).map(drop)
        }
        false => Ok(()),
    };
    let command = match args::parse(arguments) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    match command {
        args::Command::Run(arguments) => match protected {
            Ok(()) => run::run(*arguments),
            Err(error) => images::failed(&error),
        },
        args::Command::Plan(arguments) => plan::plan(*arguments),
        args::Command::Images(command) => images::run(command),
        args::Command::Kept(command) => kept::run(&command),
        args::Command::Life(command) => life::run(command),
        args::Command::Containers(command) => match protected {
            Ok(()) => containers::run(&command),
            Err(error) => images::failed(&error),
        },
        args::Command::System(command) => system::run(&command),
        args::Command::Events(arguments) => events::events(&arguments),
        args::Command::Volumes(command) => volumes::run(&command),
        args::Command::Networks(command) => networks::run(&command),
        args::Command::Secrets(command) => secrets::run(&command),
        args::Command::Pods(command) => pods::run(&command),
        args::Command::Completion(arguments) => {
            completion::completion(&arguments).unwrap_or_else(|error| images::failed(&error))
        }
        args::Command::Tidy(paths) => run::tidy(&paths),
    }
}
