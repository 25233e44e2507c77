//! Owns the steps of the drive: what each kind of person, device and office sees of one alert.

use super::*;

/// What warnings and all-clears have in common with nothing else: the county's own words.
const WARNING: &str = "预警";
const OVER: &str = "解除";

impl Drive {
    /// Loudspeakers of another maker say that they are there.
    pub(crate) async fn horns_are_online(&self) {
        for (id, _) in &self.county.speakers {
            let health = json!({ "online": true, "at": now(), "firmware": "peer-1", "volume": 60, "battery": null, "playing": null });
            self.mosquitto.publish(&format!("lastmile/v1/speaker/{id}/status"), &health.to_string(), true).await;
        }
    }

    pub(crate) async fn post(&mut self) {
        let text = county::alert();
        let file = self.dir.path().join("alert.xml");
        std::fs::write(&file, &text).unwrap();
        let judged = program::json(&["alert", "validate", file.to_str().unwrap(), "--json"], 0);
        self.identifier = judged[0]["alert"]["identifier"].as_str().unwrap().to_owned();
        let (status, said) = self.gateway.post(&self.bureau, "/v1/alerts", "application/cap+xml", text.clone()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
        self.alert = said["id"].as_str().unwrap().to_owned();
        let (status, again) = self.gateway.post(&self.bureau, "/v1/alerts", "application/cap+xml", text).await;
        assert_eq!((status, &again["id"]), (StatusCode::OK, &said["id"]), "the same alert again is the same alert: {again:#}");
    }

    pub(crate) async fn phones_are_told(&self) {
        until("every phone has its message at the centre", DEADLINE, async || {
            let told = self.told_phones(WARNING);
            self.county.people.iter().all(|person| told.contains(&person.phone))
        })
        .await;
        // The centre's reports, through Kannel, are what makes them reached.
        self.covers("/people/reached", self.county.people.len()).await;
        self.covers("/households/reached", self.county.people.iter().filter(|person| person.role == "household").count()).await;
        let covered = self.coverage().await;
        assert_eq!(covered["people"]["reached"], covered["people"]["targeted"], "{covered:#}");
    }

    pub(crate) async fn mails_are_told(&self) {
        let with_mail: Vec<&str> = self.county.people.iter().filter_map(|person| person.mail.as_deref()).collect();
        until("every mailbox has its letter", DEADLINE, async || {
            let letters = self.smtp.letters();
            with_mail.iter().all(|mail| letters.iter().any(|letter| letter.to == *mail))
        })
        .await;
        let event = self.gateway.get(&self.duty, &format!("/v1/alerts/{}", self.alert)).await;
        let name = event["event_name"].as_str().unwrap_or("预警").to_owned();
        for letter in self.smtp.letters() {
            assert!(letter.subject.starts_with('[') && letter.subject.contains(&name), "the subject is {:?}", letter.subject);
            assert!(letter.text.contains(&name), "the letter says {}", letter.text);
        }
    }

    pub(crate) async fn robot_is_told(&self) {
        until("the group has its post", DEADLINE, async || !self.robot.posts().is_empty()).await;
        let (path, post) = self.robot.posts().remove(0);
        assert!(path.starts_with("/cgi-bin/webhook/send?key="), "{path}");
        assert_eq!(post["msgtype"], "markdown", "{post}");
        assert!(post["markdown"]["content"].as_str().is_some_and(|text| text.contains(WARNING)), "{post}");
    }

    /// Each speaker hears its area's command, acknowledges, and reports that it has been said.
    pub(crate) async fn speakers_play(&self) {
        let areas = self.county.speakers.len();
        // One command for the whole township, or one for each village: both are right.
        until("the areas' commands are on the broker", DEADLINE, async || {
            let topics: Vec<String> = self.commands("play").into_iter().map(|(topic, _)| topic).collect();
            topics.len() >= areas || topics.iter().any(|topic| topic.contains(&format!("/{TOWNSHIP}/")))
        })
        .await;
        let mut heard = Vec::new();
        for (id, village) in &self.county.speakers {
            let topics = [village, TOWNSHIP, "510726"].map(|code| format!("lastmile/v1/area/{code}/cmd"));
            let command = self.commands("play").into_iter().find(|(topic, _)| topics.contains(topic));
            let (_, command) = command.unwrap_or_else(|| panic!("{id} hears nothing at {topics:?}\n{}", self.ear.tail()));
            assert_eq!(command["repeat"], 2, "{command}");
            let ack = json!({ "msg_id": command["msg_id"], "state": "accepted" });
            self.mosquitto.publish(&format!("lastmile/v1/speaker/{id}/ack"), &ack.to_string(), false).await;
            heard.push((id, command["msg_id"].clone()));
        }
        let all = heard.len();
        self.covers("/speakers/received", all).await;
        for (id, msg_id) in heard {
            let at = now();
            let report = json!({ "msg_id": msg_id, "state": "played", "started_at": at, "ended_at": at, "times": 2, "volume": 60 });
            self.mosquitto.publish(&format!("lastmile/v1/speaker/{id}/report"), &report.to_string(), false).await;
        }
        self.covers("/speakers/played", all).await;
    }

    /// Nobody has answered within three seconds: leader 2's substitute is asked.
    pub(crate) async fn silent_people_are_escalated(&self) {
        let went_on = |calls: &Value| {
            let items = calls["items"].as_array().unwrap().clone();
            let of = items.into_iter().find(|call| call["recipient"]["id"] == "leader-2");
            of.is_some_and(|call| call["went_on_to"].as_array().is_some_and(|next| next.iter().any(|one| one["id"] == "grid-2")))
        };
        until("leader 2's silence has gone on to the substitute", DEADLINE, async || went_on(&self.calls().await)).await;
        let phone = &self.county.person("grid-2").phone;
        until("the substitute is asked by message", DEADLINE, async || {
            self.kannel.taken().iter().filter(|(to, _)| to == phone).count() >= 2
        })
        .await;
    }

    async fn calls(&self) -> Value {
        self.gateway.get(&self.duty, &format!("/v1/alerts/{}/calls", self.alert)).await
    }

    pub(crate) async fn a_villager_answers_by_message(&self) {
        let before = self.coverage().await["by_role"]["household"]["acknowledged"].as_u64().unwrap();
        assert_eq!(before, 0, "no household has answered yet");
        self.kannel.reply(&self.county.person("house-3-1").phone, "1").await;
        self.covers("/by_role/household/acknowledged", 1).await;
    }

    pub(crate) async fn a_leader_answers_by_link(&self) {
        let phone = &self.county.person("leader-1").phone;
        let texts = self.kannel.taken();
        let link = texts
            .iter()
            .filter(|(to, _)| to == phone)
            .find_map(|(_, text)| link(text, &self.gateway.url))
            .expect("a link in the leader's message");
        assert!(link.rsplit('/').next().unwrap().len() <= 22, "{link}");
        let acknowledged = async || self.coverage().await["by_role"]["village_leader"]["acknowledged"].as_u64().unwrap();
        let page = http().get(&link).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        let page = page.text().await.unwrap();
        assert!(page.contains("收到") && page.contains("需要帮助"), "{page}");
        assert_eq!(acknowledged().await, 0, "looking at the page is no answer");
        let (name, value) = button(&page, "收到");
        let answer = http().post(&link).form(&[(name, value)]).send().await.unwrap();
        assert!(answer.status().is_success() || answer.status().is_redirection(), "{}", answer.status());
        assert_eq!(acknowledged().await, 1, "the button is an answer");
    }

    pub(crate) async fn the_cap_is_valid(&self) {
        let (status, cap) = self.gateway.text(&self.duty, &format!("/v1/alerts/{}/cap", self.alert)).await;
        assert_eq!(status, StatusCode::OK, "{cap}");
        assert!(cap.contains(&self.identifier), "{cap}");
        if !Path::new(SCHEMA).exists() {
            eprintln!("NOTE: the schema of CAP 1.2 is not beside the project: the document was NOT checked against it");
            return;
        }
        let file = self.dir.path().join("out.xml");
        std::fs::write(&file, &cap).unwrap();
        let done = Command::new("/usr/bin/xmllint").args(["--nonet", "--noout", "--schema", SCHEMA]).arg(&file).output().unwrap();
        assert!(done.status.success(), "{}\n{cap}", String::from_utf8_lossy(&done.stderr));
    }

    pub(crate) async fn a_cancel_reaches_everyone(&self) {
        run(&["alert", "cancel", &self.alert, "--reason", "雨停了", "--url", &self.gateway.url, "--key", &self.duty], 0);
        until("everyone who was told hears that it is over", DEADLINE, async || {
            let told = self.told_phones(OVER);
            self.county.people.iter().all(|person| told.contains(&person.phone))
        })
        .await;
        until("the speakers are stopped", DEADLINE, async || !self.commands("stop").is_empty()).await;
        until("the group is told", DEADLINE, async || self.robot.posts().len() >= 2).await;
        let state = self.gateway.get(&self.duty, &format!("/v1/alerts/{}", self.alert)).await;
        assert_eq!(state["state"], "cancelled", "{state:#}");
    }

    pub(crate) async fn sigterm_ends_it_well(&mut self) {
        assert_eq!(self.gateway.stop(STOP).await, Some(0), "SIGTERM drains and exits 0");
        program::verify(&self.dir.path().join("data"));
    }
}

fn now() -> String {
    use lastmile::time::Clock as _;
    lastmile::time::SystemClock.now().to_string()
}

fn link(text: &str, url: &str) -> Option<String> {
    let at = text.find(&format!("{url}/a/"))?;
    Some(text[at..].split_whitespace().next()?.to_owned())
}

/// Name and value that a browser sends for the button with these words.
fn button(page: &str, words: &str) -> (String, String) {
    let tags = page.split("<button").skip(1);
    let tag = tags.filter_map(|rest| rest.split_once("</button>")).map(|(tag, _)| tag).find(|tag| tag.contains(words));
    let tag = tag.unwrap_or_else(|| panic!("no button {words}: {page}"));
    let attribute =
        |name: &str| tag.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value.to_owned());
    (attribute("name").expect("a button has a name"), attribute("value").expect("a button has a value"))
}
