//! The load of the soak, run behind the firewall: `churn V4 V6 DNS CONNECTIONS SECONDS`, told what to do by files in
//! its working directory (see `harness::soak`). It prints what came of it as one line of JSON.
//!
//! Most conversations must work to their last byte; those of [`hostile`] must be refused, or may end in any way that
//! harms nobody else.

mod conversation;
mod hostile;
mod tally;

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use harness::soak::wire::{HTTP_PORT, HTTP2_PORT, TLS_PORT};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::{Instant, interval, sleep, sleep_until},
};

use self::{conversation::Held, tally::Tally};

/// Connections opened a second at first; what is held is churned slower.
const OPENING: u32 = 1500;
/// Hostile conversations begun a second.
const HOSTILE: u32 = 40;
/// Of them at once.
const HOSTILE_AT_ONCE: usize = 120;

/// What all conversations share.
struct World {
    addrs: [IpAddr; 2],
    dns: SocketAddr,
    /// The proxy as CMD's environment names it.
    proxy: SocketAddr,
    end: std::cell::Cell<Instant>,
    tally: Tally,
}

impl World {
    fn tls(&self, number: usize) -> SocketAddr {
        (self.addrs[number % 2], TLS_PORT).into()
    }

    fn http(&self, number: usize) -> SocketAddr {
        (self.addrs[number % 2], HTTP_PORT).into()
    }

    fn http2(&self, number: usize) -> SocketAddr {
        (self.addrs[number % 2], HTTP2_PORT).into()
    }

    /// Where whoever dials may take long to say something.
    fn patient(&self, number: usize) -> SocketAddr {
        match number % 3 {
            0 => self.proxy,
            1 => (self.addrs[number % 2], 80).into(),
            _ => (self.addrs[number % 2], 443).into(),
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [v4, v6, dns, count, seconds] = &args[..] else {
        eprintln!("usage: churn V4 V6 DNS CONNECTIONS SECONDS");
        return ExitCode::from(2);
    };
    let proxy = std::env::var("https_proxy").expect("CMD's environment names the proxy");
    let proxy = proxy.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
    let ip = |text: &String| text.parse::<IpAddr>().expect("an address");
    let world = Rc::new(World {
        addrs: [ip(v4), ip(v6)],
        dns: (ip(dns), 53).into(),
        proxy,
        end: Instant::now().into(),
        tally: Tally::default(),
    });
    let (count, time) = (count.parse().expect("a number"), seconds.parse().expect("seconds"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(load(world, count, Duration::from_secs(time))));
    ExitCode::SUCCESS
}

async fn load(world: Rc<World>, count: usize, time: Duration) {
    say("ready");
    file("open").await;
    let begin = Instant::now();
    let held = open(&world, count).await;
    let per_second = held.len() as f64 / begin.elapsed().as_secs_f64();
    let number = held.len();
    say("held");
    file("go").await;

    world.end.set(Instant::now() + time);
    let mut tasks = JoinSet::new();
    for (number, held) in held {
        tasks.spawn_local(conversation::slot(Rc::clone(&world), held, number, time));
    }
    hostility(&world).await;
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a conversation panicked");
    }
    say(&world.tally.report(number, per_second));
    say("done");
    file("leave").await;
}

/// Opens that many connections, and no more a second than [`OPENING`].
async fn open(world: &Rc<World>, count: usize) -> Vec<(usize, Held)> {
    let mut tasks = JoinSet::new();
    let mut tick = interval(Duration::from_secs(1) / OPENING);
    let at_once = Arc::new(Semaphore::new(256));
    for number in 0..count {
        tick.tick().await;
        let permit = Arc::clone(&at_once).acquire_owned().await.expect("it stays open");
        let world = Rc::clone(world);
        tasks.spawn_local(async move {
            let opened = conversation::open_first(&world, number).await;
            drop(permit);
            world.tally.note("opened", opened.as_ref().map(drop));
            opened.ok().map(|held| (number, held))
        });
    }
    let mut held = Vec::with_capacity(count);
    while let Some(ended) = tasks.join_next().await {
        held.extend(ended.expect("opening panicked"));
    }
    held
}

/// Begins hostile conversations one after the other until the time is over; returns when the last has ended.
async fn hostility(world: &Rc<World>) {
    let mut tasks = JoinSet::new();
    let mut tick = interval(Duration::from_secs(1) / HOSTILE);
    let end = world.end.get();
    for number in 0.. {
        tokio::select! {
            _ = tick.tick() => {}
            () = sleep_until(end) => break,
        }
        while tasks.len() >= HOSTILE_AT_ONCE {
            tasks.join_next().await.expect("there are some").expect("a hostile conversation panicked");
        }
        tasks.spawn_local(hostile::one(Rc::clone(world), number));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a hostile conversation panicked");
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody listens");
}

/// Waits until the file is there.
async fn file(name: &str) {
    while !Path::new(name).exists() {
        sleep(Duration::from_millis(20)).await;
    }
}
