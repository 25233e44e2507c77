//! Load program: figures of the whole engine through real sockets, each with its reference in the same run.
//! `cargo bench --bench engine` runs every scene; `-- --only sms,receipts` some of them; `-- --households N --messages N` their sizes.
//! Invariant: a scene that cannot finish its work fails; no figure is printed for half of it.

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

mod bare;
mod batch;
mod fair;
mod first;
mod house;
mod life;
mod mail;
mod pace;
mod plan;
mod receipts;
mod sink;
mod sms;
mod speakers;
mod ten;
mod watched;

use std::path::Path;

/// The allocator that the program has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much each scene is given.
#[derive(Clone, Copy)]
struct Sizes {
    households: u32,
    messages: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|word| word == name).and_then(|place| arguments.get(place + 1));
    let number = |name: &str, default: u32| after(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let sizes = Sizes { households: number("--households", 1_000_000), messages: number("--messages", 200_000) };
    if let Some(home) = after("--write-county") {
        return house::write_county(Path::new(home), sizes.households, number("--speakers", 0));
    }
    let only: Vec<&str> = after("--only").map_or_else(Vec::new, |names| names.split(',').collect());
    let wanted = |name: &str| only.is_empty() || only.contains(&name);
    anyhow::ensure!(rustls::crypto::ring::default_provider().install_default().is_ok(), "a TLS provider was installed before");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if wanted("plan") {
            plan::run(sizes).await?;
        }
        if wanted("ten") {
            ten::run(sizes).await?;
        }
        if wanted("sms") {
            sms::run(sizes).await?;
        }
        if wanted("batch") {
            batch::run(sizes).await?;
        }
        if wanted("receipts") {
            receipts::run(sizes).await?;
        }
        if wanted("first") {
            first::run(sizes).await?;
        }
        if wanted("fair") {
            fair::run(sizes).await?;
        }
        if wanted("pace") {
            pace::run(sizes).await?;
        }
        if wanted("mail") {
            mail::run(sizes).await?;
        }
        if wanted("speakers") {
            speakers::run().await?;
        }
        if wanted("watched") {
            watched::run(sizes).await?;
        }
        if wanted("life") {
            life::run(sizes).await?;
        }
        Ok(())
    })
}
