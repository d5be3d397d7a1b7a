//! What is done with all containers of a pod at once.

use std::time::Duration;

use runtime::{ErrorKind, Signal};

use super::{Pod, Pods};
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::life::{Patience, Started, StopRequest, Stopped};
use crate::paths::EnginePaths;
use crate::running::{Containers, Found};

impl Pods {
    /// Starts all containers of a pod that don't run, the one that keeps the namespaces first; what failed. Why one does not start is
    /// told on the standard error of this process.
    pub fn start(&self, pod: &Pod, paths: &EnginePaths) -> Vec<Error> {
        let mut failures = Vec::new();
        for kept in pod.infra().into_iter().chain(pod.ordinary()) {
            match self.containers.start(&kept.id, None, paths) {
                Ok(Started::Now | Started::Before) => {}
                Ok(Started::Failed(code)) => {
                    let operation = format!("start the pod `{}`", pod.name);
                    let reason =
                        format!("container `{}` does not start (exit code {code})", kept.shown_name());
                    failures.push(Error::new(ErrorKind::WrongStatus, operation, reason));
                    if kept.record.is_infra() {
                        break;
                    }
                }
                Err(error) => failures.push(error),
            }
        }
        if failures.is_empty() {
            self.tell(&pod.record, "start");
        }
        failures
    }

    /// Stops all containers of a pod, the one that keeps the namespaces last; what became of each that a person put there, and what
    /// failed.
    pub fn stop(
        &self,
        pod: &Pod,
        request: StopRequest,
        paths: &EnginePaths,
    ) -> (Vec<(Kept, Stopped)>, Vec<Error>) {
        let (mut stopped, mut failures) = (Vec::new(), Vec::new());
        let stop = |kept: &Kept| (kept.clone(), self.containers.stop(kept, request, paths));
        // All at once: each may take its seconds.
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let begun: Vec<_> = pod.ordinary().map(|kept| scope.spawn(move || stop(kept))).collect();
            begun.into_iter().map(|one| one.join().expect("it does not panic")).collect()
        });
        for (kept, outcome) in outcomes {
            match outcome {
                Ok(how) => stopped.push((kept, how)),
                // One that goes by itself.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => failures.push(error),
            }
        }
        if let Some(infra) = pod.infra().filter(|_| failures.is_empty()) {
            let ten = StopRequest { signal: None, patience: Some(Patience::For(Duration::from_secs(10))) };
            failures.extend(self.containers.stop(infra, ten, paths).err());
        }
        if failures.is_empty() {
            self.tell(&pod.record, "stop");
        }
        (stopped, failures)
    }

    /// Sends a signal to the first processes of all containers that run; what failed.
    pub fn kill(&self, pod: &Pod, signal: Signal, paths: &EnginePaths) -> Vec<Error> {
        self.each_running(pod, paths, "kill", |found| found.kill(signal))
    }

    /// Makes all processes of a pod stand still; what failed.
    pub fn pause(&self, pod: &Pod, paths: &EnginePaths) -> Vec<Error> {
        self.each_running(pod, paths, "pause", |found| if found.is_paused() { Ok(()) } else { found.pause() })
    }

    /// Lets them go on; what failed.
    pub fn unpause(&self, pod: &Pod, paths: &EnginePaths) -> Vec<Error> {
        self.each_running(
            pod,
            paths,
            "unpause",
            |found| if found.is_paused() { found.unpause() } else { Ok(()) },
        )
    }

    /// Those of its containers that run or are paused, those that were made first in front.
    pub fn running(&self, pod: &Pod, paths: &EnginePaths) -> Vec<Found> {
        let containers = Containers::of_kept(paths, self.containers.clone());
        // One that has gone meanwhile hides no others.
        let found = pod.containers.iter().filter_map(|kept| containers.find(&kept.id).ok());
        found.filter(Found::is_up).collect()
    }

    /// Does something with each that runs, and tells that by a word.
    fn each_running(
        &self,
        pod: &Pod,
        paths: &EnginePaths,
        action: &str,
        act: impl Fn(&Found) -> Result<()>,
    ) -> Vec<Error> {
        let running = self.running(pod, paths);
        let failures: Vec<Error> = running.iter().filter_map(|found| act(found).err()).collect();
        if failures.len() < running.len() {
            self.tell(&pod.record, action);
        }
        failures
    }
}
