//! A service of the host on its loopback and on its own addresses: would carry bytes out for the command.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use harness::{
    canary::MARKER,
    hosts::{CANARY_V4, MACHINE_V4, MACHINE_V6},
};
use rustix::net::{Shutdown, shutdown};

use crate::outside::{Kept, Setting};

/// Redis's; no listener of awf-bpf has it.
const PORT: u16 = 6379;
/// How soon the UDP thread notices that it should stop; a datagram wakes it at once.
const TICK: Duration = Duration::from_millis(50);

/// Listens on [`PORT`], by TCP and UDP, and tells the canary whatever marked it gets.
struct HostService {
    stop: Arc<AtomicBool>,
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
}

pub(crate) fn service(setting: &mut Setting<'_>) -> Kept {
    let addresses: [IpAddr; 4] =
        [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), MACHINE_V4.into(), MACHINE_V6.into()];
    let started = setting.lab.machine().within(|| {
        let mut service = HostService { stop: Arc::default(), listeners: Vec::new(), threads: Vec::new() };
        addresses.iter().for_each(|addr| service.listen((*addr, PORT).into()));
        service
    });
    Box::new(started)
}

impl HostService {
    fn listen(&mut self, at: SocketAddr) {
        let listener = Arc::new(TcpListener::bind(at).unwrap_or_else(|e| panic!("listen on {at}: {e}")));
        self.listeners.push(Arc::clone(&listener));
        self.threads.push(thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                answer(stream);
            }
        }));
        let socket = UdpSocket::bind(at).unwrap_or_else(|e| panic!("bind {at}: {e}"));
        socket.set_read_timeout(Some(TICK)).expect("set a timeout");
        let stop = Arc::clone(&self.stop);
        self.threads.push(thread::spawn(move || {
            let mut datagram = vec![0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut datagram) {
                    carry_out(&datagram[..length]);
                }
            }
        }));
    }
}

impl Drop for HostService {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes each thread out of accept().
        for listener in &self.listeners {
            let _ = shutdown(listener.as_fd(), Shutdown::Both);
        }
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn answer(mut stream: TcpStream) {
    let mut bytes = vec![0; 2048];
    // Whoever says nothing keeps nobody waiting.
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
    let length = stream.read(&mut bytes).unwrap_or(0);
    carry_out(&bytes[..length]);
    let _ = stream.write_all(b"done\n");
}

fn carry_out(bytes: &[u8]) {
    if bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes()) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind a socket");
        socket.send_to(bytes, (CANARY_V4, PORT)).expect("tell the canary");
    }
}
