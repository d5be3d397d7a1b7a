//! What networks carry: iperf3 and wrk out of a container to its host, and in by a published port from another "host", with
//! rabbitc, podman and docker, and over bare veth pairs without bridge or NAT; all in turn. Each has a host of its own, a network
//! namespace of the bench, and a client beside it.

mod site;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use serde_json::{Value, json};

use self::site::{Site, Tools, Who};
use super::contender::{median, paired};
use super::table::{Table, figures, shown, verdict, words};
use crate::process::{self, Failure, Naming, Result};

/// How long each measures.
const SECONDS: &str = "2";
/// How many wrk keeps open.
const CONNECTIONS: &str = "16";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    BitsOut,
    BitsIn,
    RequestsOut,
    RequestsIn,
}

const MEASURES: [Measure; 4] = [Measure::BitsOut, Measure::BitsIn, Measure::RequestsOut, Measure::RequestsIn];

impl Measure {
    fn name(self) -> String {
        match self {
            Measure::BitsOut => "iperf3, container to host".to_owned(),
            Measure::BitsIn => "iperf3, published port".to_owned(),
            Measure::RequestsOut => format!("wrk -c {CONNECTIONS}, container to host"),
            Measure::RequestsIn => format!("wrk -c {CONNECTIONS}, published port"),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Measure::BitsOut | Measure::BitsIn => "Gbit/s",
            Measure::RequestsOut | Measure::RequestsIn => "requests/s",
        }
    }

    fn once(self, site: &Site) -> Result<f64> {
        let iperf = ["iperf3", "--json", "--time", SECONDS, "--client"];
        let duration = format!("{SECONDS}s");
        let wrk = ["wrk", "--threads", "1", "--connections", CONNECTIONS, "--duration", &duration];
        match self {
            Measure::BitsOut => {
                bits(&process::read(&mut site.inside(&[&iperf[..], &[site.host_address()]].concat()))?)
            }
            Measure::BitsIn => {
                bits(&process::read(&mut site.client(&[&iperf[..], &[site.way_in()]].concat()))?)
            }
            Measure::RequestsOut => {
                let url = format!("http://{}:8081/index.html", site.host_address());
                requests(&process::read(&mut site.inside(&[&wrk[..], &[&url]].concat()))?)
            }
            Measure::RequestsIn => {
                let url = format!("http://{}:8080/index.html", site.way_in());
                requests(&process::read(&mut site.client(&[&wrk[..], &[&url]].concat()))?)
            }
        }
    }
}

/// Gigabits per second that the server received.
fn bits(text: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(text).naming("parse iperf3's report")?;
    let received = report["end"]["sum_received"]["bits_per_second"].as_f64();
    received.map(|bits| bits / 1e9).ok_or_else(|| Failure::new("iperf3 reports no figure"))
}

fn requests(text: &str) -> Result<f64> {
    let figure = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let figure = figure.and_then(|figure| figure.trim().parse().ok());
    figure.ok_or_else(|| Failure::new(format!("wrk reports no figure: {text}")))
}

/// What one carries.
struct Row {
    who: Who,
    /// None where it could not be had.
    site: Option<Site>,
    /// Why it was not measured to the end.
    failure: Option<String>,
    /// One figure a round.
    figures: [Vec<f64>; MEASURES.len()],
}

/// The figures of this part.
pub struct Figures {
    /// Bare veth pairs, ours, and others'.
    rows: Vec<Row>,
    rounds: usize,
}

/// Runs all rounds; `directory` is the bench's own.
pub fn measure(directory: &Path, rounds: usize) -> Result<Figures> {
    let tools = Tools::make(&directory.join("throughput"))?;
    let row = |who: Who| -> Result<Row> {
        let (mut site, mut failure) = (None, None);
        match Site::make(who, &tools) {
            Ok(made) => site = Some(made),
            Err(error) => failure = Some(who.owner().report(error)?),
        }
        Ok(Row { who, site, failure, figures: std::array::from_fn(|_| Vec::new()) })
    };
    let mut rows = Who::ALL.into_iter().map(row).collect::<Result<Vec<Row>>>()?;
    for _ in 0..rounds {
        for (number, measure) in MEASURES.into_iter().enumerate() {
            for row in &mut rows {
                let Some(site) = row.site.as_ref().filter(|_| row.failure.is_none()) else { continue };
                match measure.once(site) {
                    Ok(figure) => row.figures[number].push(figure),
                    Err(failure) => row.failure = Some(row.who.owner().report(failure)?),
                }
            }
        }
    }
    // Their servers end before what the bench measures next.
    rows.iter_mut().for_each(|row| row.site = None);
    Ok(Figures { rows, rounds })
}

/// An HTTP server on a port for wrk: one small page, connections kept, a thread each.
pub fn serve(port: Option<&str>) -> Result<()> {
    let port = port.unwrap_or("80");
    let listener =
        TcpListener::bind(format!("0.0.0.0:{port}")).naming(format_args!("listen on port {port}"))?;
    for stream in listener.incoming() {
        let stream = stream.naming("accept")?;
        // A client that goes away ends its thread.
        std::thread::spawn(move || answer(stream));
    }
    Ok(())
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let page = format!("HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n{}", "x".repeat(600));
    let mut writer = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            writer.write_all(page.as_bytes())?;
        }
    }
    Ok(())
}

impl Figures {
    fn of(&self, who: Who, measure: usize) -> &[f64] {
        let found = self.rows.iter().find(|row| row.who == who);
        found.map_or(&[], |row| &row.figures[measure])
    }

    /// The most that another engine carries, round by round.
    fn best(&self, measure: usize) -> Vec<f64> {
        let others = [Who::Podman, Who::Docker].map(|who| self.of(who, measure));
        let rounds = others.iter().map(|figures| figures.len()).max().unwrap_or(0);
        let of_round = |round: usize| others.iter().filter_map(move |figures| figures.get(round).copied());
        (0..rounds).map(|round| of_round(round).fold(0.0, f64::max)).collect()
    }

    /// The figures for machines.
    pub fn render_json(&self) -> Value {
        let row = |(number, measure): (usize, Measure)| {
            let ours = self.of(Who::Rabbitc, number);
            json!({
                "name": measure.name(),
                "unit": measure.unit(),
                "veth": median(self.of(Who::Bare, number).to_vec()),
                "rabbitc": median(ours.to_vec()),
                "podman": median(self.of(Who::Podman, number).to_vec()),
                "docker": median(self.of(Who::Docker, number).to_vec()),
                "rabbitc_to_veth": paired(ours, self.of(Who::Bare, number)),
                "rabbitc_to_best_engine": paired(ours, &self.best(number)),
            })
        };
        let failures = self.rows.iter().filter_map(|row| Some((row.who.name(), row.failure.as_ref()?)));
        json!({
            "rounds": self.rounds,
            "measures": MEASURES.into_iter().enumerate().map(row).collect::<Vec<Value>>(),
            "failures": failures.map(|(name, why)| json!({"name": name, "why": why})).collect::<Vec<_>>(),
        })
    }

    /// The figures for people.
    pub fn print_table(&self) {
        println!(
            "\nwhat networks carry, {} rounds in turn of {SECONDS} s each; ratios are medians of paired rounds\n",
            self.rounds
        );
        let columns = const {
            &[
                words(32),
                words(10),
                figures("veth", 9),
                figures("rabbitc", 9),
                figures("podman", 9),
                figures("docker", 9),
                figures("× veth", 6),
                figures("× best engine", 13),
            ]
        };
        let table = Table::begin(columns);
        for (number, measure) in MEASURES.into_iter().enumerate() {
            let medians = Who::ALL.map(|who| shown(median(self.of(who, number).to_vec()), 1));
            let ours = self.of(Who::Rabbitc, number);
            let ratios = [paired(ours, self.of(Who::Bare, number)), paired(ours, &self.best(number))];
            let cells = [measure.name(), measure.unit().to_owned()];
            table.row(cells.into_iter().chain(medians).chain(ratios.map(|ratio| shown(ratio, 2))));
        }
        for (number, measure) in MEASURES.into_iter().enumerate() {
            // The other way round, as less is better there.
            let reached = paired(&self.best(number), self.of(Who::Rabbitc, number));
            verdict(&format!("the best engine's {}", measure.name()), "rabbitc's", reached, 1.0);
        }
        for row in &self.rows {
            if let Some(why) = &row.failure {
                println!("{}: {why}", row.who.name());
            }
        }
    }
}
