//! Owns what a monitor promises to a container that lives on, to its clients and to readers of its log: on real processes,
//! FIFOs and terminals. Monitors and clients are this file's program once more, each a process of its own.

mod adoption;
mod attachment;
mod checks;
mod clients;
mod disk;
mod ending;
mod log;
mod reading;
mod support;
mod terminal;
