//! A gateway whose descriptors are used up by connections that say nothing: it neither ends nor spins, keeps what it takes meanwhile,
//! and answers again when they have left. That it drops them by itself `http::hearing` shows.

use std::{fs, net::TcpStream};

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::{
    far_end::FarEnd,
    program::process::until,
    running::{DEADLINE, Running},
};

/// As few as it starts with; connections alone may then take all of them.
const DESCRIPTORS: usize = 64;
/// More than there are descriptors, fewer than wait in the kernel's queue at most.
const SILENT: usize = 100;
const HOUSEHOLDS: usize = 20;
/// Six seconds of them.
const TRIES_IN_VAIN: u32 = 3;
/// Ticks of a second in `/proc`: `USER_HZ`, which is the same on every Linux.
const TICKS: f64 = 100.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn used_up_descriptors_are_survived_and_what_was_taken_is_delivered() {
    let (home, far) = (TempDir::new().unwrap(), FarEnd::start().await);
    let data = home.path().join("data");
    let shell = format!("ulimit -n {DESCRIPTORS}; exec \"$@\"");
    let mut gateway = Running::start(home.path(), &data, HOUSEHOLDS, &far, &shell);
    // This also opens the connection over which the alert is posted later.
    gateway.until_ready_says(StatusCode::OK).await;
    let (pid, address) = (gateway.process.id(), gateway.address());
    let (cpu, began) = (cpu_s(pid), tokio::time::Instant::now());
    let silent: Vec<TcpStream> = (0..SILENT).map(|_| TcpStream::connect(address).unwrap()).collect();
    until("every descriptor is taken", DEADLINE, async || descriptors(pid) >= DESCRIPTORS).await;

    let alert = gateway.accepted(1).await;
    // Sending wants a descriptor too, and is put off, a little longer each time.
    let tries = format!("lastmile_alarms_total{{what=\"account-parked\"}} {TRIES_IN_VAIN}");
    until("it was tried in vain", DEADLINE, async || gateway.text("/metrics").await.1.contains(&tries)).await;
    assert_eq!(far.distinct(), 0);
    let (took, passed) = (cpu_s(pid) - cpu, began.elapsed().as_secs_f64());
    eprintln!("{took:.2} s of processor time in {passed:.1} s without descriptors");
    assert!(took < 0.5 * passed, "it spins: {took:.2} s of processor time in {passed:.1} s");
    drop(silent);
    gateway.until_ready_says(StatusCode::OK).await;
    gateway.until_told(&alert).await;
    let second = gateway.accepted(2).await;
    gateway.until_told(&second).await;
    gateway.stop_and_verify(&data).await;
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Processor time of a process, in its own and in the kernel's code (proc(5), fields 14 and 15 of `stat`).
fn cpu_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold anything; the third field comes after it.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |number: usize| fields[number - 3].parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) / TICKS
}
