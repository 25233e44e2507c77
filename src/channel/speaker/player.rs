//! Owns what a loudspeaker decides: what it says next, what it breaks off, what it reports.
//! Refuses to know MQTT, timers and programs that make sound; time is handed in, effects are handed out. Pure.
//! Invariant: no `msg_id` is ever said twice, nothing is begun after its end, and an alert that was cancelled is never begun.

use std::{collections::VecDeque, time::Duration};

use ed25519_dalek::VerifyingKey;
use serde::Serialize;

use super::{
    command::{Action, Command},
    heed::{Heed, Heeded},
};
use crate::{area::AreaCode, time::Timestamp};

/// How long a program may take beyond the time that it takes to read a text slowly; then it has hung.
const PROGRAM_OVER: Duration = Duration::from_secs(120);
/// Slower than anybody reads.
const SLOW_MS_PER_CHAR: u32 = 1_000;
/// Warnings that wait their turn; more than this and the oldest news is not worth the minutes.
const WAITING_MAX: usize = 16;

/// A command is seconds on its way; the gateway sends it anew to a loudspeaker that was away.
const AGE_USUAL: Duration = Duration::from_secs(5 * 60);

/// How a reference loudspeaker speaks and misbehaves.
#[derive(Clone, Debug)]
pub struct Voice {
    /// Any of these may have signed; without one, unsigned commands are taken.
    pub verify_keys: Vec<VerifyingKey>,
    /// How long ago a command may have been sent when it is first heard; `None` for a clock that cannot be trusted at all.
    pub age_max: Option<Duration>,
    /// A program makes the sound and says when it is done; else time passes, and nothing is heard.
    pub by_program: bool,
    /// Percent, unless the command sets its own.
    pub volume: u8,
    /// Time for one character; Mandarin is read at about four a second.
    pub ms_per_char: u32,
    /// Says nothing and reports a fault instead.
    pub broken: bool,
}

impl Default for Voice {
    fn default() -> Self {
        Self { verify_keys: Vec::new(), age_max: Some(AGE_USUAL), by_program: false, volume: 60, ms_per_char: 250, broken: false }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ack {
    pub(super) msg_id: String,
    pub(super) state: &'static str,
    pub(super) reason: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Playback {
    pub(super) msg_id: String,
    pub(super) state: &'static str,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) times: u8,
    pub(super) volume: u8,
    pub(super) error: Option<&'static str>,
    /// Time passed, but no sound was made.
    pub(super) simulated: bool,
}

/// What a program is to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Speech {
    pub(super) msg_id: String,
    pub(super) text: String,
    pub(super) times: u8,
    pub(super) pause: Duration,
    pub(super) volume: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// This id is spent: to be kept before anything is said about it.
    Spend(String),
    Ack(Ack),
    Report(Playback),
    Say(Speech),
    /// What is being said ends now.
    Hush,
}

struct Playing {
    command: Command,
    since: Timestamp,
    until: Timestamp,
}

pub(super) struct Player {
    voice: Voice,
    heed: Heed,
    playing: Option<Playing>,
    waiting: VecDeque<Command>,
}

impl Player {
    /// `spent`: ids that were heard before the last restart, the oldest first.
    pub(super) fn new(voice: Voice, id: &str, area: AreaCode, spent: Vec<String>) -> Self {
        let heed = Heed::new(id, area, voice.verify_keys.clone(), voice.age_max, spent);
        Self { voice, heed, playing: None, waiting: VecDeque::new() }
    }

    pub(super) const fn volume(&self) -> u8 {
        self.voice.volume
    }

    pub(super) fn playing(&self) -> Option<&str> {
        self.playing.as_ref().map(|playing| playing.command.msg_id.as_str())
    }

    /// The time that this speaker goes by: its clock, unless what was signed has shown that the clock is behind.
    pub(super) fn time(&self, clock: Timestamp) -> Timestamp {
        self.heed.time(clock)
    }

    /// What a command leads to; `None` when it is none.
    pub(super) fn command(&mut self, payload: &[u8], clock: Timestamp) -> Option<Vec<Effect>> {
        let command = match self.heed.judge(payload, clock)? {
            Heeded::Refused { msg_id, state, reason } => return Some(vec![Effect::Ack(Ack { msg_id, state, reason: Some(reason) })]),
            Heeded::Taken(command) => *command,
        };
        let now = self.time(clock);
        let mut effects = Vec::new();
        self.spend(command.msg_id.clone(), &mut effects);
        effects.push(Effect::Ack(Ack { msg_id: command.msg_id.clone(), state: "accepted", reason: None }));
        match command.action {
            Action::Ping => {}
            Action::Config => self.voice.volume = command.volume.unwrap_or(self.voice.volume).min(100),
            Action::Play => self.play(command, now, &mut effects),
            Action::Stop => self.stop(command, now, &mut effects),
        }
        self.advance(now, &mut effects);
        Some(effects)
    }

    /// What time alone leads to: something ends, the next begins.
    pub(super) fn tick(&mut self, clock: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.advance(self.time(clock), &mut effects);
        effects
    }

    /// The program that says `msg_id` has ended.
    pub(super) fn ended(&mut self, msg_id: &str, error: Option<&'static str>, clock: Timestamp) -> Vec<Effect> {
        let (now, mut effects) = (self.time(clock), Vec::new());
        // One that was broken off has been reported.
        if let Some(Playing { command, since, .. }) = self.playing.take_if(|playing| playing.command.msg_id == msg_id) {
            let state = if error.is_some() { "failed" } else { "played" };
            effects.push(self.report(&command, state, Some(since), Some(now), error));
        }
        self.advance(now, &mut effects);
        effects
    }

    /// When `tick` next has something to do.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let begins = self.waiting.iter().filter_map(|command| command.not_before).min().filter(|_| self.playing.is_none());
        self.playing.as_ref().map(|playing| playing.until).or(begins)
    }

    fn spend(&mut self, id: String, effects: &mut Vec<Effect>) {
        if self.heed.spend(id.clone()) {
            effects.push(Effect::Spend(id));
        }
    }

    fn play(&mut self, command: Command, now: Timestamp, effects: &mut Vec<Effect>) {
        let due = command.not_before.is_none_or(|at| at <= now);
        let cuts_off = |playing: &Playing| {
            // The lower level is the more urgent one.
            command.level < playing.command.level || (command.preempt && command.level == playing.command.level)
        };
        if due && self.playing.as_ref().is_some_and(cuts_off) {
            // It is said again from its start afterwards, unless its time is over by then.
            if let Some(broken_off) = self.break_off(now, effects) {
                self.waiting.push_front(broken_off);
            }
        }
        self.wait(command, effects);
    }

    fn stop(&mut self, command: Command, now: Timestamp, effects: &mut Vec<Effect>) {
        let unnamed = command.alert == command.msg_id;
        let ended = |other: &Command| {
            other.alert == command.alert || command.also.contains(&other.alert) || (unnamed && other.event == command.event)
        };
        self.waiting.retain(|waiting| !ended(waiting));
        if self.playing.as_ref().is_some_and(|playing| ended(&playing.command)) {
            self.break_off(now, effects);
        }
        // A warning that arrives after its own cancellation, by whatever detour, is not to be said.
        self.spend(command.alert.clone(), effects);
        command.also.iter().for_each(|alert| self.spend(alert.clone(), effects));
        if !command.text.is_empty() {
            self.wait(command, effects);
        }
    }

    /// Puts a command in its place: the more urgent first, else in the order of arrival.
    fn wait(&mut self, command: Command, effects: &mut Vec<Effect>) {
        let place = self.waiting.iter().position(|other| command.level < other.level).unwrap_or(self.waiting.len());
        self.waiting.insert(place, command);
        if self.waiting.len() > WAITING_MAX
            && let Some(last) = self.waiting.pop_back()
        {
            effects.push(self.failed(&last, "too many warnings are waiting"));
        }
    }

    fn break_off(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Option<Command> {
        let Playing { command, since, .. } = self.playing.take()?;
        if self.voice.by_program {
            effects.push(Effect::Hush);
        }
        effects.push(self.report(&command, "stopped", Some(since), Some(now), None));
        Some(command)
    }

    fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(Playing { command, since, until }) = self.playing.take_if(|playing| playing.until <= now) {
            if self.voice.by_program {
                effects.push(Effect::Hush);
                effects.push(self.report(&command, "failed", Some(since), Some(until), Some("the player did not end")));
            } else {
                effects.push(self.report(&command, "played", Some(since), Some(until), None));
            }
        }
        while self.playing.is_none() {
            let Some(place) = self.waiting.iter().position(|command| command.not_before.is_none_or(|at| at <= now)) else { return };
            let Some(command) = self.waiting.remove(place) else { return };
            if command.expires <= now {
                effects.push(self.failed(&command, "expired while it waited"));
            } else if self.voice.broken {
                effects.push(self.failed(&command, "the amplifier does not answer"));
            } else {
                effects.push(self.report(&command, "playing", Some(now), None, None));
                if self.voice.by_program {
                    effects.push(Effect::Say(self.speech(&command)));
                }
                let until = now.plus(self.lasts(&command));
                self.playing = Some(Playing { command, since: now, until });
            }
        }
    }

    fn speech(&self, command: &Command) -> Speech {
        Speech {
            msg_id: command.msg_id.clone(),
            text: command.text.clone(),
            times: command.repeat.max(1),
            pause: Duration::from_secs(u64::from(command.interval_s)),
            volume: command.volume.unwrap_or(self.voice.volume),
        }
    }

    /// How long it is said; for a program, how long it may take at most.
    fn lasts(&self, command: &Command) -> Duration {
        if self.voice.by_program {
            return Duration::from_millis(speech_ms(command, SLOW_MS_PER_CHAR, 1_000)) + PROGRAM_OVER;
        }
        // Pauses shrink with the speech, so that a simulated hour is a simulated hour throughout.
        Duration::from_millis(speech_ms(command, self.voice.ms_per_char, u64::from(self.voice.ms_per_char) * 4))
    }

    fn failed(&self, command: &Command, error: &'static str) -> Effect {
        self.report(command, "failed", None, None, Some(error))
    }

    fn report(
        &self,
        command: &Command,
        state: &'static str,
        started_at: Option<Timestamp>,
        ended_at: Option<Timestamp>,
        error: Option<&'static str>,
    ) -> Effect {
        let times = if state == "played" { command.repeat.max(1) } else { 0 };
        let volume = command.volume.unwrap_or(self.voice.volume);
        let simulated = !self.voice.by_program;
        Effect::Report(Playback { msg_id: command.msg_id.clone(), state, started_at, ended_at, times, volume, error, simulated })
    }
}

fn speech_ms(command: &Command, ms_per_char: u32, ms_per_pause_second: u64) -> u64 {
    let times = u64::from(command.repeat.max(1));
    let once = command.text.chars().count() as u64 * u64::from(ms_per_char);
    once * times + u64::from(command.interval_s) * ms_per_pause_second * (times - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::alert::{Level, Status};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_784_772_900_000 + seconds * 1_000)
    }

    fn player(voice: Voice) -> Player {
        Player::new(voice, "S1", "510726102201".parse().expect("a code"), Vec::new())
    }

    /// Four characters said once: one second.
    fn play(id: &str, level: Level) -> Command {
        Command {
            msg_id: id.to_owned(),
            action: Action::Play,
            alert: id.to_owned(),
            also: Vec::new(),
            status: Status::Actual,
            level,
            event: serde_json::from_value(serde_json::json!("11B03")).expect("a code"),
            headline: String::new(),
            text: "立即转移".to_owned(),
            audio: None,
            repeat: 1,
            interval_s: 5,
            volume: None,
            not_before: None,
            expires: at(3_600),
            preempt: false,
            sent: Some(at(0)),
            areas: Vec::new(),
            speaker: Some("S1".to_owned()),
        }
    }

    fn stop(id: &str, alert: &str) -> Command {
        Command { action: Action::Stop, alert: alert.to_owned(), text: "解除".to_owned(), preempt: true, ..play(id, Level::Red) }
    }

    fn give(player: &mut Player, command: &Command, now: Timestamp) -> Vec<(String, &'static str)> {
        told(player.command(&serde_json::to_vec(command).expect("json"), now).expect("a command"))
    }

    fn told(effects: Vec<Effect>) -> Vec<(String, &'static str)> {
        let told = |effect| match effect {
            Effect::Ack(ack) => Some((ack.msg_id, ack.reason.unwrap_or(ack.state))),
            Effect::Report(report) => Some((report.msg_id, report.state)),
            Effect::Say(speech) => Some((speech.msg_id, "say")),
            Effect::Hush => Some((String::new(), "hush")),
            Effect::Spend(_) => None,
        };
        effects.into_iter().filter_map(told).collect()
    }

    fn pairs(list: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        list.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect()
    }

    #[test]
    fn a_warning_is_said_once_however_often_it_arrives() {
        let mut player = player(Voice::default());
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "accepted"), ("a", "playing")]));
        assert_eq!(player.next_at(), Some(at(1)));
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "heard-before")]));
        assert_eq!(told(player.tick(at(1))), pairs(&[("a", "played")]));
        assert_eq!(give(&mut player, &play("a", Level::Red), at(2)), pairs(&[("a", "heard-before")]));
        assert_eq!(player.next_at(), None);
    }

    #[test]
    fn repeats_and_their_pauses_take_their_time() {
        let mut player = player(Voice::default());
        give(&mut player, &Command { repeat: 3, ..play("a", Level::Red) }, at(0));
        assert_eq!(player.next_at(), Some(at(13)));
    }

    #[test]
    fn the_more_urgent_cuts_off_and_what_was_cut_off_is_said_afterwards() {
        let mut player = player(Voice::default());
        give(&mut player, &play("blue", Level::Blue), at(0));
        assert_eq!(give(&mut player, &play("yellow", Level::Blue), at(0)), pairs(&[("yellow", "accepted")]));
        assert_eq!(
            give(&mut player, &play("red", Level::Red), at(0)),
            pairs(&[("red", "accepted"), ("blue", "stopped"), ("red", "playing")])
        );
        assert_eq!(told(player.tick(at(1))), pairs(&[("red", "played"), ("blue", "playing")]));
        assert_eq!(told(player.tick(at(2))), pairs(&[("blue", "played"), ("yellow", "playing")]));
    }

    #[test]
    fn one_cancel_stops_and_keeps_out_all_that_it_ends() {
        let mut player = player(Voice::default());
        give(&mut player, &play("a", Level::Red), at(0));
        give(&mut player, &play("b", Level::Red), at(0));
        let both = Command { also: vec!["b".into(), "c".into()], ..stop("z", "a") };
        assert_eq!(give(&mut player, &both, at(0)), pairs(&[("z", "accepted"), ("a", "stopped"), ("z", "playing")]));
        assert_eq!(give(&mut player, &play("c", Level::Red), at(0)), pairs(&[("c", "heard-before")]));
        assert_eq!(told(player.tick(at(100))), pairs(&[("z", "played")]), "what waited is forgotten");
    }

    #[test]
    fn a_cancel_stops_what_plays_and_says_the_all_clear_once() {
        let mut player = player(Voice::default());
        give(&mut player, &play("a", Level::Red), at(0));
        assert_eq!(give(&mut player, &stop("c", "a"), at(0)), pairs(&[("c", "accepted"), ("a", "stopped"), ("c", "playing")]));
        assert_eq!(give(&mut player, &stop("c", "a"), at(0)), pairs(&[("c", "heard-before")]));
        assert_eq!(told(player.tick(at(1))), pairs(&[("c", "played")]));
        assert_eq!(player.next_at(), None);
    }

    #[test]
    fn a_warning_that_comes_after_its_own_cancel_is_never_said() {
        let mut player = player(Voice::default());
        give(&mut player, &stop("c", "a"), at(0));
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "heard-before")]));
    }

    #[test]
    fn what_is_over_is_refused_or_reported_and_never_begun() {
        let mut player = player(Voice::default());
        assert_eq!(give(&mut player, &Command { expires: at(0), ..play("a", Level::Red) }, at(0)), pairs(&[("a", "expired")]));
        give(&mut player, &play("b", Level::Red), at(0));
        give(&mut player, &Command { expires: at(1), ..play("c", Level::Blue) }, at(0));
        assert_eq!(told(player.tick(at(1))), pairs(&[("b", "played"), ("c", "failed")]));
    }

    #[test]
    fn what_is_for_later_waits() {
        let mut player = player(Voice::default());
        assert_eq!(give(&mut player, &Command { not_before: Some(at(60)), ..play("a", Level::Red) }, at(0)), pairs(&[("a", "accepted")]));
        assert_eq!(player.next_at(), Some(at(60)));
        assert_eq!(told(player.tick(at(60))), pairs(&[("a", "playing")]));
    }

    #[test]
    fn a_broken_speaker_takes_the_command_and_reports_that_it_cannot_say_it() {
        let mut player = player(Voice { broken: true, ..Voice::default() });
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "accepted"), ("a", "failed")]));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut player = player(Voice::default());
        for number in 0..50 {
            give(&mut player, &play(&number.to_string(), Level::Blue), at(0).plus(Duration::from_millis(1)));
        }
        assert_eq!(player.waiting.len(), WAITING_MAX);
    }

    #[test]
    fn with_a_program_it_is_played_only_when_the_program_has_ended_well() {
        let by_program = || player(Voice { by_program: true, ..Voice::default() });
        let mut well = by_program();
        let command = Command { repeat: 3, ..play("a", Level::Red) };
        assert_eq!(give(&mut well, &command, at(0)), pairs(&[("a", "accepted"), ("a", "playing"), ("a", "say")]));
        assert_eq!(told(well.tick(at(60))), pairs(&[]), "time alone ends nothing");
        assert_eq!(told(well.ended("a", None, at(61))), pairs(&[("a", "played")]));
        let mut badly = by_program();
        give(&mut badly, &command, at(0));
        assert_eq!(told(badly.ended("a", Some("the player failed"), at(1))), pairs(&[("a", "failed")]));
        let mut hung = by_program();
        give(&mut hung, &command, at(0));
        assert_eq!(told(hung.tick(at(600))), pairs(&[("", "hush"), ("a", "failed")]));
        assert_eq!(told(hung.ended("a", None, at(601))), pairs(&[]), "what it says then is late");
        let mut ended = by_program();
        give(&mut ended, &command, at(0));
        let stopped = [("c", "accepted"), ("", "hush"), ("a", "stopped"), ("c", "playing"), ("c", "say")];
        assert_eq!(give(&mut ended, &stop("c", "a"), at(1)), pairs(&stopped));
        assert_eq!(told(ended.ended("a", Some("the player failed"), at(1))), pairs(&[]), "it was broken off");
    }
}
