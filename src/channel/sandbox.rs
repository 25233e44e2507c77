//! Owns the provider `sandbox`: a far end that lives in this process, for training, drills and the demo.
//! Refuses to know real providers; nobody is told anything by it, and it says so when it starts.
//! Invariant: what becomes of a message depends on the seed and its delivery id alone, so a drill can be run again.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker, time::DelayQueue};
use toml::Table;

use super::{
    About, Batching, BuildError, Callback, Channel, Class, Concerns, Context, Driver, Failure, Kind, Meaning, News, Prepared, Proof, Reach,
    Reception, Report, ReportSink, Verdict,
    answers::{self, happens},
    callback, common, sms,
};
use crate::{
    fault::Fault,
    keys::Keys,
    message::{DeliveryId, Form, Outgoing},
    time::SharedClock,
};

pub const SMS: Driver =
    Driver { kind: Kind::Sms, provider: "sandbox", check: |name, table| check(Kind::Sms, name, table), answers: &[&ANSWERS] };
pub const EMAIL: Driver =
    Driver { kind: Kind::Email, provider: "sandbox", check: |name, table| check(Kind::Email, name, table), answers: &[&ANSWERS] };
pub const WECHAT: Driver =
    Driver { kind: Kind::Wechat, provider: "sandbox", check: |name, table| check(Kind::Wechat, name, table), answers: &[&ANSWERS] };

const ANSWERS: [Meaning; 3] = [
    happens("its share of throttled messages", Class::Throttled, Concerns::Provider, "throttled"),
    happens("its share of broken lines", Class::Retry, Concerns::Provider, "connect"),
    happens("its share of undelivered messages, by report", Class::Reject, Concerns::Recipient, "undeliverable"),
];

/// Messages handed over in one call; the pretended line is as long for one as for all of them.
const BATCH_MAX: usize = 500;
/// Reports that wait for their time; beyond it a send waits, as it would at a far end under load.
const WAITING_MAX: usize = 100_000;
/// Between senders and the task that keeps the reports.
const HANDOVER: usize = 1_024;
/// Of those who answer: a tenth asks for help, three in ten have already moved.
const HELP_SHARE: f64 = 0.1;
const MOVED_SHARE: f64 = 0.3;
const THROTTLED_FOR: Duration = Duration::from_secs(1);
/// A group robot's post, in bytes.
const POST_BYTES_MAX: u32 = 4_096;

struct Sandbox {
    name: String,
    kind: Kind,
    reaches: Vec<Reach>,
    form: Form,
    manner: Manner,
    clock: SharedClock,
    reports: mpsc::Sender<Planned>,
    /// Taken by `start`.
    waiting: Mutex<Option<mpsc::Receiver<Planned>>>,
    /// Messages throttled once: a throttled try counts as none, so the message itself cannot tell the next from it.
    throttled: Mutex<HashSet<DeliveryId>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Beyond it the sandbox forgets whom it throttled, and may throttle them once more.
const THROTTLED_KEPT: usize = 100_000;

/// How the far end behaves; shares are of all messages.
#[derive(Clone, Debug)]
struct Manner {
    seed: Option<u64>,
    deliver: f64,
    fail: f64,
    throttle: f64,
    broken: f64,
    latency: Duration,
    receipt_after: Duration,
    answer: f64,
    answer_after: Duration,
    report_within: Duration,
}

/// A report and how long from now it comes.
struct Planned {
    after: Duration,
    delivery: DeliveryId,
    news: News,
}

fn check(kind: Kind, name: &str, table: &Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let manner = manner(&mut keys);
    let form = match kind {
        Kind::Email => Form::Letter,
        Kind::Wechat => Form::Post { bytes_max: POST_BYTES_MAX, markdown: true },
        Kind::Sms | Kind::Speaker => sms::form(&mut keys, false),
    };
    let name = name.to_owned();
    keys.finish((manner, form)).map(|(manner, form)| Prepared {
        name: name.clone(),
        kind,
        provider: "sandbox",
        common,
        build: Box::new(move |context| build(kind, name, manner, form, context)),
    })
}

fn manner(keys: &mut Keys<'_>) -> Manner {
    let seed = keys.has("seed").then(|| keys.number("seed", 0..=u64::MAX, 0));
    let manner = Manner {
        seed,
        deliver: keys.share("deliver", 0.94),
        fail: keys.share("fail", 0.03),
        throttle: keys.share("throttle", 0.005),
        broken: keys.share("break", 0.005),
        latency: keys.duration("latency", Duration::from_millis(5)),
        receipt_after: keys.duration("receipt_after", Duration::from_millis(400)),
        answer: keys.share("answer", 0.0),
        answer_after: keys.duration("answer_after", Duration::from_secs(2)),
        report_within: keys.duration("report_within", Duration::from_secs(10)),
    };
    // A little over one is the rounding of the shares themselves.
    if manner.deliver + manner.fail > 1.0 + 1e-9 {
        keys.fault("deliver", "shares", "deliver and fail together must not be more than 1");
    }
    if manner.throttle + manner.broken > 1.0 + 1e-9 {
        keys.fault("throttle", "shares", "throttle and break together must not be more than 1");
    }
    manner
}

fn build(kind: Kind, name: String, mut manner: Manner, form: Form, context: Context) -> Result<Arc<dyn Channel>, BuildError> {
    manner.seed = Some(manner.seed.unwrap_or(context.seed));
    let reach = match kind {
        Kind::Email => Reach::People("mail"),
        Kind::Wechat => Reach::Endpoints("wecom_robot"),
        Kind::Sms | Kind::Speaker => Reach::People("phone"),
    };
    let (reports, waiting) = mpsc::channel(HANDOVER);
    Ok(Arc::new(Sandbox {
        name,
        kind,
        reaches: vec![reach],
        form,
        manner,
        clock: context.clock,
        reports,
        waiting: Mutex::new(Some(waiting)),
        throttled: Mutex::default(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    }))
}

/// What becomes of one message.
#[derive(Debug, PartialEq)]
struct Fate {
    /// At the time of sending; a throttled or broken try is a matter of the attempt too, so that the next one may pass.
    refusal: Option<Class>,
    receipt: Option<(Duration, bool)>,
    answer: Option<(Duration, &'static str)>,
}

impl Manner {
    fn fate(&self, message: &Outgoing) -> Fate {
        let packed = (u64::from(message.id.alert.0) << 32) | u64::from(message.id.index);
        let seed = self.seed.unwrap_or_default() ^ packed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut tries = StdRng::seed_from_u64(seed.wrapping_add(u64::from(message.attempt) << 17).wrapping_add(1));
        let luck: f64 = tries.random();
        let refusal = if luck < self.throttle {
            Some(Class::Throttled)
        } else if luck < self.throttle + self.broken {
            Some(Class::Retry)
        } else {
            None
        };
        let mut chance = StdRng::seed_from_u64(seed);
        let (end, receipt_spread): (f64, f64) = (chance.random(), chance.random_range(0.5..2.0));
        let (answers, answer_spread, which): (f64, f64, f64) = (chance.random(), chance.random_range(0.5..2.0), chance.random());
        let delivered = end < self.deliver;
        let receipt = (end < self.deliver + self.fail).then(|| (self.receipt_after.mul_f64(receipt_spread), delivered));
        let asked = message.answer_url.is_some() && delivered && answers < self.answer;
        let word = match which {
            share if share < HELP_SHARE => "3",
            share if share < HELP_SHARE + MOVED_SHARE => "2",
            _ => "1",
        };
        // Nobody answers what they have not got yet.
        let after = self.receipt_after.mul_f64(receipt_spread) + self.answer_after.mul_f64(answer_spread);
        Fate { refusal, receipt, answer: asked.then_some((after, word)) }
    }
}

impl Sandbox {
    fn throttles(&self, id: DeliveryId) -> bool {
        let mut throttled = self.throttled.lock().expect("no code panics while it holds the throttled");
        if throttled.len() >= THROTTLED_KEPT {
            throttled.clear();
        }
        throttled.insert(id)
    }

    async fn take(&self, message: &Outgoing) -> Verdict {
        let fate = self.manner.fate(message);
        match fate.refusal {
            Some(Class::Throttled) if self.throttles(message.id) => {
                return Verdict::Failed(failure(Class::Throttled, "throttled", "the sandbox is throttling", Some(THROTTLED_FOR)));
            }
            Some(class) if class != Class::Throttled => {
                return Verdict::Failed(failure(class, "connect", "the sandbox broke the line", None));
            }
            _ => {}
        }
        if self.kind != Kind::Wechat {
            let receipt = fate.receipt.map(|(after, delivered)| (after, if delivered { News::Delivered } else { undelivered() }));
            let answer = fate.answer.filter(|_| self.kind == Kind::Sms).map(|(after, word)| (after, News::Reply(word.to_owned())));
            for (after, news) in receipt.into_iter().chain(answer) {
                if self.reports.send(Planned { after, delivery: message.id, news }).await.is_err() {
                    // The account is stopping: its far end goes silent, as a real one does for us then.
                    break;
                }
            }
        }
        Verdict::Accepted { provider_ref: None }
    }
}

fn undelivered() -> News {
    News::Failed(failure(Class::Reject, "undeliverable", "the sandbox could not deliver", None))
}

fn failure(class: Class, reason: &'static str, detail: &str, retry_after: Option<Duration>) -> Failure {
    Failure { retry_after, ..Failure::new(class, answers::concerns(&ANSWERS, reason), reason, detail) }
}

/// Holds reports until their time and hands them on. Ends when stopped or when nobody takes reports any more.
async fn keep(mut planned: mpsc::Receiver<Planned>, sink: ReportSink, clock: SharedClock) {
    let mut waiting = DelayQueue::new();
    loop {
        tokio::select! {
            Some(due) = waiting.next(), if !waiting.is_empty() => {
                let (delivery, news) = due.into_inner();
                if sink.send(Report { about: About::Delivery(delivery), news, at: Some(clock.now()) }).await.is_err() {
                    return;
                }
            }
            next = planned.recv(), if waiting.len() < WAITING_MAX => match next {
                Some(Planned { after, delivery, news }) => { waiting.insert((delivery, news), after); }
                None => return,
            },
        }
    }
}

impl Channel for Sandbox {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn reaches(&self) -> &[Reach] {
        &self.reaches
    }

    fn form(&self) -> Form {
        self.form.clone()
    }

    fn proof(&self) -> Proof {
        match self.kind {
            Kind::Wechat => Proof::AcceptedOnly,
            Kind::Sms | Kind::Email | Kind::Speaker => Proof::Report { within: self.manner.report_within },
        }
    }

    fn batching(&self) -> Batching {
        Batching::SameText { max: BATCH_MAX }
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            tokio::time::sleep(self.manner.latency).await;
            let mut verdicts = Vec::with_capacity(batch.len());
            for message in batch {
                verdicts.push(self.take(message).await);
            }
            verdicts
        })
    }

    fn receive(&self, _callback: &Callback) -> Result<Reception, Failure> {
        Err(callback::malformed("the sandbox reports from within"))
    }

    fn start(&self, reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        let planned = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(planned) = planned {
            tracing::warn!(channel = %self.name, "this account is a sandbox: nobody is told by it");
            let kept = self.stop.clone().run_until_cancelled_owned(keep(planned, reports, Arc::clone(&self.clock)));
            // If this task dies, deliveries of the sandbox are closed as unproven: its far end has gone silent.
            self.tasks.spawn(kept);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        })
    }
}

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;
