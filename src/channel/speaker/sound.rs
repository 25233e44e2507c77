//! Owns the program that makes a loudspeaker's sound: it is run once for each time that a text is said, and its end is awaited.
//! Refuses to know commands and reports. Invariant: at most one text is said at a time, and what is broken off is silent at once.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncWriteExt as _, process::Command, sync::mpsc, task::JoinHandle};

use super::player::Speech;

/// How a program ended.
pub(super) struct Ended {
    pub(super) msg_id: String,
    pub(super) error: Option<&'static str>,
}

pub(super) struct Sound {
    program: String,
    ended: mpsc::Sender<Ended>,
    saying: Option<(JoinHandle<()>, CurrentGroup)>,
}

/// Process group of the program that runs now.
type CurrentGroup = std::sync::Arc<std::sync::Mutex<Option<Pid>>>;

impl Sound {
    /// `program` is a shell's command line; `{text}` and `{volume}` stand in it, and the text is also its input.
    pub(super) fn new(program: &str, ended: mpsc::Sender<Ended>) -> Self {
        // The text is never part of the command line: whoever writes a warning must not run commands in a village.
        let program =
            ["\"{text}\"", "'{text}'", "{text}"].iter().fold(program.to_owned(), |line, place| line.replace(place, "\"$LASTMILE_TEXT\""));
        let program = program.replace("{volume}", "\"$LASTMILE_VOLUME\"");
        Self { program, ended, saying: None }
    }

    pub(super) fn say(&mut self, speech: Speech) {
        self.hush();
        let (program, ended, group) = (self.program.clone(), self.ended.clone(), CurrentGroup::default());
        let running = std::sync::Arc::clone(&group);
        let task = tokio::spawn(async move {
            let error = say_all(&program, &speech, &running).await;
            // The speaker has ended when nobody takes this.
            drop(ended.send(Ended { msg_id: speech.msg_id, error }).await);
        });
        self.saying = Some((task, group));
    }

    pub(super) fn hush(&mut self) {
        let Some((task, group)) = self.saying.take() else { return };
        task.abort();
        let group = group.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(group) = group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "the player had ended already");
        }
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.hush();
    }
}

async fn say_all(program: &str, speech: &Speech, group: &CurrentGroup) -> Option<&'static str> {
    for time in 0..speech.times {
        if time > 0 {
            tokio::time::sleep(speech.pause.min(Duration::from_secs(600))).await;
        }
        if let Err(error) = say_once(program, speech, group).await {
            return Some(error);
        }
    }
    None
}

async fn say_once(program: &str, speech: &Speech, group: &CurrentGroup) -> Result<(), &'static str> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", program]).env("LASTMILE_TEXT", &speech.text).env("LASTMILE_VOLUME", speech.volume.to_string());
    command.stdin(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        tracing::error!(%error, program, "the player cannot be started");
        "the player cannot be started"
    })?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    *group.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = pid;
    if let Some(mut input) = child.stdin.take()
        && let Err(error) = input.write_all(speech.text.as_bytes()).await
    {
        tracing::debug!(%error, "the player did not read its input");
    }
    let status = child.wait().await;
    group.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            tracing::error!(%status, program, "the player failed");
            Err("the player failed")
        }
        Err(error) => {
            tracing::error!(%error, "the player's end cannot be awaited");
            Err("the player failed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(program: &str, text: &str, times: u8) -> Option<&'static str> {
        let (ended, mut ends) = mpsc::channel(4);
        let mut sound = Sound::new(program, ended);
        sound.say(Speech { msg_id: "a".to_owned(), text: text.to_owned(), times, pause: Duration::ZERO, volume: 60 });
        ends.recv().await.expect("it ends").error
    }

    #[tokio::test]
    async fn a_text_is_given_as_input_and_as_an_argument_and_never_as_a_command() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let (out, bad) = (folder.path().join("out"), folder.path().join("bad"));
        let text = format!("立即转移\"; touch {}; $(touch {})", bad.display(), bad.display());
        for program in ["cat", "printf %s {text}", "printf %s \"{text}\"", "printf %s '{text}'"] {
            assert_eq!(said(&format!("{program} >> {}", out.display()), &text, 2).await, None);
            assert_eq!(std::fs::read_to_string(&out).expect("said"), format!("{text}{text}"), "{program}");
            std::fs::remove_file(&out).expect("removed");
        }
        assert!(!bad.exists(), "a text was run");
    }

    #[tokio::test]
    async fn a_program_that_fails_or_is_not_there_is_a_failure() {
        assert_eq!(said("exit 3", "x", 1).await, Some("the player failed"));
        assert_eq!(said("/nowhere/player", "x", 1).await, Some("the player failed"));
        assert_eq!(said("true", &"长".repeat(10_000), 1).await, None, "it need not read its input");
    }

    #[tokio::test]
    async fn what_is_broken_off_is_silent_at_once_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let (begun, done) = (folder.path().join("begun"), folder.path().join("done"));
        let (ended, mut ends) = mpsc::channel(4);
        let mut sound = Sound::new(&format!("(echo $$ > {}; sleep 60; echo > {}) & wait", begun.display(), done.display()), ended);
        sound.say(Speech { msg_id: "a".to_owned(), text: "x".to_owned(), times: 1, pause: Duration::ZERO, volume: 60 });
        let mut look = tokio::time::interval(Duration::from_millis(5));
        let pid = loop {
            look.tick().await;
            if let Some(pid) = std::fs::read_to_string(&begun).ok().and_then(|text| text.trim().parse::<i32>().ok()) {
                break pid;
            }
        };
        sound.hush();
        while rustix::process::test_kill_process_group(Pid::from_raw(pid).expect("a process")).is_ok() {
            look.tick().await;
        }
        assert!(!done.exists() && ends.try_recv().is_err());
    }
}
