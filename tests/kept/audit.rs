//! Who did what is written down, whichever way it was done, and read by auditors and admins alone.

use std::fs;

use serde_json::{Value, json};

use crate::{
    county::{County, DEADLINE, verify},
    program::{self, process::until, run},
};

fn acts(page: &Value) -> Vec<String> {
    let word = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let line = |line: &Value| format!("{} {} {} {}", word(line, "who"), word(line, "what"), word(line, "object"), word(line, "result"));
    page["items"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_systems_and_commands_do_stands_in_the_audit_with_who_and_from_where() {
    let county = County::imported();
    let (bureau, duty, admin) = (county.key("met", "bureau"), county.key("night", "duty"), county.key("boss", "admin"));
    let (viewer, auditor) = (county.key("wall", "viewer"), county.key("watcher", "auditor"));
    let mut gateway = county.serve().await;
    let alert = county.told(&gateway, &bureau, &duty).await;
    let mut person = gateway.get(&admin, "/v1/subscribers/p1").await;
    person["people"] = json!(7);
    assert_eq!(gateway.put(&admin, "/v1/subscribers/p1", &person).await, 200);
    for _ in 0..3 {
        assert_eq!(gateway.text(&duty, "/v1/subscribers?q=13955501201").await.0, 200);
        assert_eq!(gateway.text(&viewer, "/v1/subscribers").await.0, 200);
    }
    assert_eq!(gateway.text(&duty, &format!("{alert}/report.csv")).await.0, 200);
    assert_eq!(program::http().get(format!("{}/v1/backup", gateway.url)).bearer_auth(&admin).send().await.unwrap().status(), 200);
    assert_eq!(gateway.text(&duty, "/v1/backup").await.0, 403);
    let form = [("name", "nobody"), ("password", "a guess of somebody")];
    let url = gateway.url.clone();
    let tried = program::http().post(format!("{url}/sign-in")).header("origin", &url).form(&form).send().await.unwrap();
    assert_eq!(tried.status(), 403);
    let wanted = [
        "key night registry-read /v1/subscribers shown",
        "key boss registry-put /v1/subscribers/p1 done",
        "key boss backup /v1/backup begun",
        "key night backup /v1/backup refused 403",
        "unknown sign-in  refused",
    ];
    until("commands' lines are taken", DEADLINE, async || {
        let seen = acts(&gateway.get(&auditor, "/v1/audit?limit=1000").await);
        seen.iter().filter(|line| line.contains("key-new")).count() == 5 && wanted.iter().all(|line| seen.iter().any(|seen| seen == line))
    })
    .await;
    let page = gateway.get(&admin, "/v1/audit?limit=1000").await;
    let seen = acts(&page);
    let count = |what: &str| seen.iter().filter(|line| line.contains(what)).count();
    assert_eq!(count("night registry-read /v1/subscribers shown"), 1, "the same look is one line: {seen:?}");
    assert_eq!((count("wall registry-read"), count("night report-export")), (0, 1), "{seen:?}");
    assert!(
        seen.iter().any(|line| line.starts_with("command ") && line.contains("registry-import areas.csv, subscribers.csv")),
        "{seen:?}"
    );
    assert!(!page.to_string().contains("13955501201"), "what was searched for is nobody's business");
    let put = page["items"].as_array().unwrap().iter().find(|line| line["what"] == "registry-put").unwrap();
    assert_eq!(put["from"], "127.0.0.1");
    for key in [&duty, &viewer, &bureau] {
        assert_eq!(gateway.text(key, "/v1/audit").await.0, 403);
    }
    assert_eq!(gateway.text(&auditor, "/v1/alerts").await.0, 403, "an auditor reads the audit alone");
    let filtered = gateway.get(&auditor, "/v1/audit?by=key%20night&what=backup").await;
    assert_eq!(filtered["items"].as_array().unwrap().len(), 2, "{filtered}");
    let first = gateway.get(&auditor, "/v1/audit?limit=2").await;
    let next = gateway.get(&auditor, &format!("/v1/audit?limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert!(next["items"][0]["seq"].as_u64() < first["items"][1]["seq"].as_u64());
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    let said: Value = serde_json::from_str(&verify(&county.data, 0)).unwrap();
    let head = said["store"]["head"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(head.len(), 64);
    // After the gateway has stopped, a command's line waits beside the trail and is shown all the same.
    county.key("late", "viewer");
    let data = county.data.to_str().unwrap();
    let listed = run(&["audit", "list", "--data", data], 0);
    assert!(listed.lines().next().unwrap().contains("key-new  late (viewer)  begun"), "{listed}");
    assert!(run(&["audit", "verify", "--data", data], 0).contains(&head));
    let mut gateway = county.serve().await;
    until("the head goes into the log", DEADLINE, async || gateway.lines().iter().any(|line| line.contains("the audit ends here"))).await;
    until("what waited is taken", DEADLINE, async || fs::read_dir(county.data.join("audit")).unwrap().count() == 0).await;
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
}
