//! Scene: letters to a mail server that takes everything, over 32 connections; beside a client that only says the words.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};

use crate::{
    Sizes,
    house::{House, alert, shelf, submit, until},
};

const CONNECTIONS: usize = 32;
const LETTER_END: &[u8] = b"\r\n.\r\n";

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let (address, letters) = server().await?;
    let channel = format!(
        r#"
[channel.post]
kind = "email"
provider = "smtp"
host = "127.0.0.1"
port = {}
tls = "none"
from = "alert@county.example"
pool = {CONNECTIONS}
concurrency = {CONNECTIONS}
letters_per_connection = 1000
"#,
        address.port()
    );
    let house = House::new(sizes.households, 0, &channel, "channels = [\"email\"]")?;
    let app = house.open().await?;
    let begun = Instant::now();
    let shelf = shelf(&app, submit(&app, &alert(1, "red", "")?).await?)?;
    until("all letters", || {
        let book = shelf.read();
        book.timeline.planned.is_some() && book.open == 0
    })
    .await?;
    let took = begun.elapsed();
    let sent = letters.load(Ordering::Relaxed);
    let ours = sent as f64 / took.as_secs_f64();
    let progress = app.gateway.view(&shelf, false).progress;
    anyhow::ensure!(progress.delivered == progress.deliveries, "{} of {} delivered", progress.delivered, progress.deliveries);
    drop(shelf);
    app.stop().await?;
    let bare = bare(address, sent).await?;
    println!(
        "letters, {CONNECTIONS} connections, durable        {ours:>12.0} /s ({sent} letters), bare {bare:.0} /s, ratio {:.2}",
        ours / bare
    );
    Ok(())
}

/// Takes every letter, at once.
async fn server() -> anyhow::Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let letters = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&letters);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&counted)));
        }
    });
    Ok((address, letters))
}

async fn serve(mut stream: TcpStream, letters: Arc<AtomicU64>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut kept, mut piece, mut is_letter) = (Vec::<u8>::new(), vec![0_u8; 64 << 10], false);
    let mut said = b"220 sink ESMTP\r\n".to_vec();
    loop {
        stream.write_all(&said).await?;
        said.clear();
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&piece[..read]);
        loop {
            let end: &[u8] = if is_letter { LETTER_END } else { b"\r\n" };
            let Some(at) = kept.windows(end.len()).position(|window| window == end) else { break };
            let word = kept[..at.min(4)].to_ascii_uppercase();
            kept.drain(..at + end.len());
            if is_letter {
                letters.fetch_add(1, Ordering::Relaxed);
                is_letter = false;
                said.extend_from_slice(b"250 taken\r\n");
                continue;
            }
            is_letter = word == b"DATA";
            said.extend_from_slice(match word.as_slice() {
                b"EHLO" => b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n".as_slice(),
                b"DATA" => b"354 go on\r\n",
                b"QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            });
        }
    }
}

async fn bare(address: SocketAddr, letters: u64) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut running = JoinSet::new();
    let share = letters.div_ceil(CONNECTIONS as u64);
    for _ in 0..CONNECTIONS {
        running.spawn(say(address, share));
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok((share * CONNECTIONS as u64) as f64 / begun.elapsed().as_secs_f64())
}

/// The words of a letter one by one, as a client says them that does not pipeline.
async fn say(address: SocketAddr, letters: u64) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    heard(&mut stream).await?;
    let letter = format!("Subject: warning\r\n\r\n{}\r\n.\r\n", "x".repeat(1_000));
    let words = ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "DATA\r\n", &letter];
    stream.write_all(b"EHLO bench\r\n").await?;
    heard(&mut stream).await?;
    for _ in 0..letters {
        for word in words {
            stream.write_all(word.as_bytes()).await?;
            heard(&mut stream).await?;
        }
    }
    Ok(())
}

async fn heard(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        anyhow::ensure!(stream.read_line(&mut line).await? > 0, "the server hung up");
        anyhow::ensure!(line.starts_with(['2', '3']), "refused: {line}");
        if line.as_bytes().get(3) == Some(&b' ') {
            return Ok(());
        }
    }
}
