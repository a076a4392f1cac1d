//! The canary: hears every frame that comes into the world, and answers whoever dials its address.
//!
//! It captures with AF_PACKET on all interfaces of the world, so it hears protocols nobody listens for. TCP listeners on
//! its addresses let a bypass succeed in full. Silence is only claimed after a barrier: a datagram sent from each
//! processor of the machine's side, through the same cable, has arrived, and the kernel dropped no frame.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::thread::{
    CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity, sched_setaffinity,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use crate::{Lab, hosts, seen::Seen};

pub use frame::{Filter, Packet};

#[path = "canary_frame.rs"]
mod frame;
#[path = "canary_listen.rs"]
mod listen;

/// Part of every payload of the probe; ASCII case does not matter (DNS 0x20).
pub const MARKER: &str = "awf-probe-marker";
/// What the canary's TCP listeners answer.
pub const ANSWER: &[u8] = b"the canary heard you\n";
/// The TCP ports on which it answers.
pub const PORTS: &[u16] = &[22, 53, 80, 443, 4444, 8080];
/// How long a frame may take through the cable; a guard against hangs.
const LIMIT: Duration = Duration::from_secs(10);
/// Sentinels of the barrier go to this port (discard).
const SENTINEL_PORT: u16 = 9;
/// Bound of the frames the kernel keeps for us, in bytes.
const BUFFER: i32 = 64 << 20;

/// A capture of the lab's world, with listeners on [`hosts::CANARY_V4`] and [`hosts::CANARY_V6`].
#[derive(Debug)]
pub struct Canary {
    heard: Seen<Packet>,
    capture: Arc<Socket>,
    stop: Arc<AtomicBool>,
    capturing: Option<JoinHandle<()>>,
    serving: Option<JoinHandle<()>>,
    end_serving: Option<oneshot::Sender<()>>,
    lost: AtomicU64,
}

impl Canary {
    /// Listens to the world of `lab` from now on.
    ///
    /// # Panics
    /// Without CAP_NET_RAW, or when its addresses cannot be listened on.
    #[must_use]
    pub fn new(lab: &Lab) -> Self {
        let (capture, listeners) = lab.world().within(|| (open_capture(), listen::open(PORTS)));
        let (capture, heard, stop) = (Arc::new(capture), Seen::default(), Arc::default());
        let capturing = {
            let (capture, heard, stop) = (Arc::clone(&capture), heard.clone(), Arc::clone(&stop));
            thread::spawn(move || listen_on(&capture, &heard, &stop))
        };
        let (end_serving, ended) = oneshot::channel();
        let serving = thread::spawn(move || listen::serve(listeners, ended));
        Self {
            heard,
            capture,
            stop,
            capturing: Some(capturing),
            serving: Some(serving),
            end_serving: Some(end_serving),
            lost: AtomicU64::new(0),
        }
    }

    /// Every packet heard so far that the filter matches.
    #[must_use]
    pub fn seen(&self, filter: &Filter) -> Vec<Packet> {
        self.heard.all().into_iter().filter(|packet| filter.matches(packet)).collect()
    }

    /// Waits for a packet; `None` if none came in time.
    #[must_use]
    pub fn wait_for(&self, filter: &Filter, limit: Duration) -> Option<Packet> {
        self.heard.wait_for(limit, |packet| filter.matches(packet))
    }

    /// Waits until everything the machine has sent up to now has been heard.
    ///
    /// # Panics
    /// If a sentinel does not arrive, or the kernel dropped a frame: silence would then prove nothing.
    #[track_caller]
    pub fn settle(&self, machine: BorrowedFd<'_>) {
        let send = || {
            move_into_link_name_space(machine, Some(LinkNameSpaceType::Network))
                .expect("enter the machine's network namespace");
            send_sentinels()
        };
        let tokens = thread::scope(|scope| scope.spawn(send).join().expect("send the sentinels"));
        for token in tokens {
            let heard = self.heard.wait_for(LIMIT, |packet| packet.carries(token.as_bytes()));
            assert!(heard.is_some(), "the canary did not hear {token:?} in {LIMIT:?}: it is deaf");
        }
        // Reading the statistics resets them.
        let now = dropped(&self.capture);
        let lost = now + self.lost.fetch_add(now, Ordering::Relaxed);
        assert!(lost == 0, "the kernel dropped {lost} frames before the canary could hear them");
    }

    /// Panics if anything came into the world but what the filters match, neighbour discovery and sentinels.
    #[track_caller]
    pub fn assert_silent_except(&self, lab: &Lab, expected: &[Filter]) {
        use std::os::fd::AsFd;
        self.settle(lab.machine().as_fd());
        let leaks: Vec<Packet> = self.leaks(expected);
        assert!(leaks.is_empty(), "the canary heard {} packets: {}", leaks.len(), Shown(&leaks));
    }

    fn leaks(&self, expected: &[Filter]) -> Vec<Packet> {
        let harmless = |packet: &Packet| {
            packet.is_housekeeping()
                || (addresses().iter().any(|addr| packet.is_to(*addr))
                    && packet.dst_port == SENTINEL_PORT
                    && !packet.marked)
                || packet.leaves_the_world()
                || expected.iter().any(|filter| filter.matches(packet))
        };
        self.heard.all().into_iter().filter(|packet| !harmless(packet)).collect()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.end_serving.take());
        for thread in [self.capturing.take(), self.serving.take()].into_iter().flatten() {
            // A panic of the thread has failed the test already, at the wait that missed its frame.
            let _ = thread.join();
        }
    }
}

/// One datagram from each processor in each family, through the same neighbour queues as everything before it.
fn send_sentinels() -> Vec<String> {
    static TOKEN: AtomicU64 = AtomicU64::new(0);
    let sockets = addresses().map(|addr| {
        let any: IpAddr =
            if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        (
            UdpSocket::bind((any, 0)).expect("bind the sentinel's socket"),
            SocketAddr::from((addr, SENTINEL_PORT)),
        )
    });
    let mut tokens = Vec::new();
    for processor in processors() {
        pin(processor);
        for (socket, to) in &sockets {
            let token = format!("sentinel {};", TOKEN.fetch_add(1, Ordering::Relaxed));
            socket.send_to(token.as_bytes(), to).unwrap_or_else(|e| panic!("send {token:?} to {to}: {e}"));
            tokens.push(token);
        }
    }
    tokens
}

fn open_capture() -> Socket {
    let all = Protocol::from(i32::from(u16::try_from(libc::ETH_P_ALL).expect("3").to_be()));
    let socket =
        Socket::new(Domain::PACKET, Type::RAW, Some(all)).expect("open AF_PACKET (the tests need root)");
    let (buffer, length) = (BUFFER, size_of_val(&BUFFER) as libc::socklen_t);
    let (fd, level) = (socket.as_raw_fd(), libc::SOL_SOCKET);
    // SAFETY: an int that outlives the call.
    let set =
        unsafe { libc::setsockopt(fd, level, libc::SO_RCVBUFFORCE, (&raw const buffer).cast(), length) };
    assert!(set == 0, "SO_RCVBUFFORCE: {}", std::io::Error::last_os_error());
    // How soon the thread notices that it should stop; frames wake it at once.
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("SO_RCVTIMEO");
    socket
}

fn listen_on(capture: &Socket, heard: &Seen<Packet>, stop: &AtomicBool) {
    let mut frame = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        match std::io::Read::read(&mut &*capture, &mut frame) {
            Ok(length) => heard.push(Packet::parse(Instant::now(), &frame[..length])),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Err(error) => panic!("read from the capture: {error}"),
        }
    }
}

/// Frames dropped since the last call (packet(7), PACKET_STATISTICS).
fn dropped(capture: &Socket) -> u64 {
    let mut statistics = [0_u32; 2];
    let mut length = size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: `tpacket_stats` is two words, as long as said.
    let got = unsafe {
        libc::getsockopt(
            capture.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert!(got == 0, "PACKET_STATISTICS: {}", std::io::Error::last_os_error());
    statistics[1].into()
}

fn processors() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("ask for this thread's processors");
    (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect()
}

/// Frames of one processor keep their order through a veth pair; those of two may overtake each other.
fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).expect("pin this thread to one processor");
}

/// The first packets of a list, for a panic.
struct Shown<'a>(&'a [Packet]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(20).try_for_each(|packet| write!(f, "\n  {packet}"))
    }
}

/// Both addresses of the canary.
#[must_use]
pub fn addresses() -> [IpAddr; 2] {
    [hosts::CANARY_V4.into(), hosts::CANARY_V6.into()]
}
