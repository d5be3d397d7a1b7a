//! Starts containers from a process whose other threads hold every lock of the allocator now and then.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rabbitc_runtime_core as runtime;
use runtime::ContainerId;
use runtime::launch::{BareHost, LaunchOptions, launch};
use runtime::lifecycle::{self, Force, Status};
use runtime::plan::Start;
use support::{Scratch, World};

/// That of the programs, without caches of its own: whoever allocates while another thread did at the clone waits for ever.
#[global_allocator]
static ALLOCATOR: sys::allocator::Allocator = sys::allocator::Allocator::new();

const BUSY: usize = 16;
const CONTAINERS: usize = 50;
const STARTERS: usize = 5;

/// Allocates and frees until told to stop.
fn allocate(stop: &AtomicBool, seed: usize) -> usize {
    let mut sum = 0;
    let mut kept: Vec<String> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        kept.push(format!("{seed} {sum} {}", "x".repeat(sum % 4096)));
        sum = sum.wrapping_mul(31).wrapping_add(kept.len());
        if kept.len() > 64 {
            kept.clear();
        }
    }
    sum
}

#[test]
fn fifty_containers_start_from_a_process_of_busy_threads() {
    let name = "fifty_containers_start_from_a_process_of_busy_threads";
    if !support::can_run(name) {
        return;
    }
    let scratch = Scratch::new("busy");
    std::fs::create_dir_all(scratch.path.join("state")).expect("made");
    let needle = format!("busy-{}-", std::process::id());
    let before = World::look(&scratch, &needle);
    let stop = AtomicBool::new(false);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A child that waits for a lock waits for ever; whoever looks at the test then should not.
        scope.spawn(|| {
            for _ in 0..1200 {
                if finished.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            eprintln!("a start hangs");
            std::process::abort();
        });
        for seed in 0..BUSY {
            let stop = &stop;
            scope.spawn(move || allocate(stop, seed));
        }
        let starters: Vec<_> = (0..STARTERS)
            .map(|starter| {
                let (scratch, needle) = (&scratch, &needle);
                scope.spawn(move || {
                    for number in 0..CONTAINERS / STARTERS {
                        start_one(scratch, &format!("{needle}{starter}-{number}"));
                    }
                })
            })
            .collect();
        for starter in starters {
            let result = starter.join();
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
                finished.store(true, Ordering::Relaxed);
            }
            result.expect("all starts succeed");
        }
        stop.store(true, Ordering::Relaxed);
        finished.store(true, Ordering::Relaxed);
        assert_eq!(scratch.state().list().expect("listed").len(), CONTAINERS);
        for id in scratch.state().list().expect("listed") {
            let view = lifecycle::view(&scratch.state(), &id).expect("readable");
            assert_eq!(view.status, Status::Running, "{id}");
            lifecycle::delete(&scratch.state(), &id, Force::Yes).expect("deleted");
        }
    });
    while rustix::process::waitid(rustix::process::WaitId::All, rustix::process::WaitIdOptions::EXITED)
        .is_ok()
    {}
    assert_eq!(before, World::look(&scratch, &needle));
}

fn start_one(scratch: &Scratch, name: &str) {
    let id = ContainerId::parse(name).expect("legal");
    let spec = support::spec(&["sleep", "1000"]);
    let plan = scratch.plan(&spec, &id, Start::Immediately).expect("legal here");
    launch(&plan, &scratch.state(), &mut BareHost, LaunchOptions::default())
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
}
