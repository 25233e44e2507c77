//! Crashes and failing disks: what was promised is there afterwards, and nothing is promised that is not.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use super::{super::*, *};

#[test]
fn frames_of_an_interrupted_commit_are_taken_from_the_trail() {
    let data = tempfile::tempdir().expect("temporary directory");
    let options = Options { checkpoint_after_bytes: u64::MAX, ..Options::default() };
    let before = open_at(data.path(), november(), options.clone()).expect("opened");
    runtime().block_on(before.journal.append(vec![entry(1, 50, true), entry(2, 50, false)])).expect("appended");
    crash(before, data.path());
    // The power fails after the trail's fsync and before the journal's.
    let path = trail_file(data.path());
    let read = trail::TrailRead::open(&path).expect("readable").expect("there");
    let mut writing = trail::Trail::resume(&path, &read).expect("resumed");
    writing.append(3, [(4, &b"accepted"[..])].into_iter()).expect("appended");
    let again = open_at(data.path(), november(), options).expect("opened");
    assert_eq!((again.opened.alarms.len(), again.opened.notes.len(), again.opened.end), (0, 1, Seq(4)));
    assert_eq!(again.kept.entries()[&4], b"accepted");
    crash(again, data.path());
    assert!(verify(data.path()).expect("verified").ok);
}

#[test]
fn a_directory_that_cannot_be_written_is_told_as_such() {
    // A place where not even the superuser can make a directory.
    let error = open_at(Path::new("/proc/lastmile"), november(), Options::default()).map(|_| ()).expect_err("refused");
    assert!(matches!(error, OpenError::Lock(LockError::Io { .. })), "{error}");
    let data = tempfile::tempdir().expect("temporary directory");
    fs::write(data.path().join("journal"), b"in the way").expect("written");
    let error = open_at(data.path(), november(), Options::default()).map(|_| ()).expect_err("refused");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

const CHILD: &str = "LASTMILE_STORE_CHILD";

/// Not a test of its own: what the killed and the starved child do. It says each number once it is promised.
#[test]
fn child_that_appends_until_it_ends() {
    let Some(data) = std::env::var_os(CHILD) else { return };
    let open = open_store(Path::new(&data));
    let first = open.opened.end.0 + 1;
    let answered = runtime().block_on(async {
        for number in first..first + 100_000 {
            let size = usize::try_from(number * 37 % 20_000).expect("small");
            match open.journal.append(vec![entry(number, size, number % 3 == 0)]).await {
                Ok(seq) => say(&format!("kept {}", seq.into_inner())),
                Err(error) => {
                    let again = open.journal.append(vec![entry(0, 0, false)]).await;
                    return format!("ended {} {}", matches!(error, AppendError::Unavailable { .. }), again == Err(error));
                }
            }
        }
        "ended without an error".to_owned()
    });
    say(&answered);
    say(&format!("health {}", matches!(open.journal.health(), Health::Failed { .. })));
}

#[expect(clippy::print_stdout, reason = "the parent test reads it")]
fn say(line: &str) {
    println!("{line}");
}

fn child(data: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh"]).arg(std::env::current_exe().expect("known"));
    command.args(["--exact", "store::conformance::crash::child_that_appends_until_it_ends", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, data).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn kept_number(line: &str) -> Option<u64> {
    // The harness writes the name of the test into the first line.
    line.split_once("kept ").and_then(|(_, number)| number.trim().parse().ok())
}

#[test]
fn everything_promised_before_a_kill_is_there_after_it() {
    let data = tempfile::tempdir().expect("temporary directory");
    let mut promised = 0;
    for lines in [5, 60, 23, 140] {
        let mut running = child(data.path(), r#"exec "$@""#).spawn().expect("started");
        let mut seen = 0;
        for line in BufReader::new(running.stdout.take().expect("piped")).lines() {
            if let Some(seq) = kept_number(&line.expect("text")) {
                promised = seq;
                seen += 1;
            }
            if seen == lines {
                running.kill().expect("killed");
            }
        }
        running.wait().expect("ended");
        assert!(seen >= lines, "the child was to be killed after {lines} promises, it made {seen}");
        let again = open_store(data.path());
        assert_eq!(again.opened.alarms, Vec::<String>::new());
        let kept = again.kept.entries();
        assert!(again.opened.end.0 >= promised, "{promised} was promised, the journal ends with {}", again.opened.end);
        for seq in 1..=promised {
            assert!(kept[&seq].starts_with(format!("{seq}:").as_bytes()), "entry {seq} is another");
        }
        crash(again, data.path());
    }
    let report = verify(data.path()).expect("verified");
    assert!(report.ok, "{:?}", report.faults);
}

#[test]
fn a_disk_that_takes_no_more_ends_in_unavailable_and_breaks_no_promise() {
    let data = tempfile::tempdir().expect("temporary directory");
    // No file may grow over 4 MB, and the signal for it is ignored, so that writes fail as on a full disk.
    let limited = r#"trap '' XFSZ; ulimit -f 8192; exec "$@""#;
    let output = child(data.path(), limited).output().expect("ran");
    let text = String::from_utf8_lossy(&output.stdout);
    let promised = text.lines().filter_map(kept_number).max().expect("some were kept before the disk was full");
    assert!(text.contains("ended true true"), "{text}");
    assert!(text.contains("health true"), "{text}");
    assert!(promised > 100, "the disk was full before anything could be kept: {promised}");
    let again = open_store(data.path());
    assert_eq!(again.opened.alarms, Vec::<String>::new());
    for seq in 1..=promised {
        assert!(again.kept.entries()[&seq].starts_with(format!("{seq}:").as_bytes()), "entry {seq} is another");
    }
}
