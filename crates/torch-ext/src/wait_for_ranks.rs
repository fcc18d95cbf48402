//! Detection of missing ranks before processes connect, and of ended ranks later.
//!
//! Rank 0 first listens on the rendezvous port, and the other ranks send it their numbers. These
//! connections stay open; a closed connection means that the process ended.
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::Rendezvous;

/// Identifies the first line that a rank sends.
const PROGRAM: &str = "polyqa roll call 1";
/// Maximum length of a line in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Time between two polls.
const PAUSE: Duration = Duration::from_millis(20);

/// The first line of a rank: program, run, rank, number of ranks, process id.
type Hello = (String, String, usize, usize, u32);
/// The answer of rank 0: the names of all ranks, or the reason of a rejection.
type Answer = Result<Vec<String>, String>;

/// Progress messages of a waiting process, at growing intervals.
pub(crate) struct Notes {
    start: Instant,
    next: Duration,
}

impl Notes {
    pub(crate) fn new(first: Duration) -> Self {
        Self { start: Instant::now(), next: first }
    }

    /// Passes the message for the elapsed seconds to `tell` if one is due.
    fn tell(&mut self, tell: &mut dyn FnMut(String), text: impl FnOnce(u64) -> String) {
        let waited = self.start.elapsed();
        if waited >= self.next {
            self.next = waited * 6;
            tell(text(waited.as_secs()));
        }
    }
}

/// Connections to other processes: rank 0 is connected to every other rank, the others only to rank
/// 0.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    rank: usize,
    /// Process id and address of each rank; empty if a launcher listens instead of rank 0.
    names: Vec<String>,
    links: Vec<(usize, TcpStream)>,
}

/// Waits until all ranks are connected, with a timeout of `patience`. `tell` receives progress
/// messages.
pub(crate) fn wait_for_ranks(
    place: &Rendezvous,
    patience: Duration,
    mut notes: Notes,
    tell: &mut dyn FnMut(String),
) -> Result<Peers, String> {
    match place.rank {
        0 => listen(place, patience, &mut notes, tell),
        _ => answer(place, patience, &mut notes, tell),
    }
}

/// Rank 0: waits until all other ranks are connected.
fn listen(
    place: &Rendezvous,
    patience: Duration,
    notes: &mut Notes,
    tell: &mut dyn FnMut(String),
) -> Result<Peers, String> {
    let Rendezvous { size, host, port, .. } = place;
    let taken = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => "; another process has RANK = 0, or another program this port",
            _ => "",
        };
        format!("{error}{why}")
    };
    let listener = listener(*port).map_err(taken)?;
    listener.set_nonblocking(true).map_err(taken)?;
    let mut links: Vec<Option<(TcpStream, u32)>> = (0..*size).map(|_| None).collect();
    loop {
        for link in &mut links {
            link.take_if(|(stream, _)| is_closed(stream));
        }
        let missing: Vec<usize> =
            (1..*size).filter(|&rank| links.get(rank).is_none_or(Option::is_none)).collect();
        if missing.is_empty() {
            break;
        }
        notes.tell(tell, |seconds| {
            let come = size - missing.len();
            let missing = list(&missing);
            format!(
                "rank 0 of {size} waits at {host}:{port} since {seconds} s: {come} of {size} ranks \
                 have come, {missing} did not"
            )
        });
        if notes.start.elapsed() > patience {
            return Err(format!("{} did not come in {} s", list(&missing), patience.as_secs()));
        }
        match listener.accept() {
            Ok((stream, _)) => admit(place, stream, &mut links)?,
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    // The port must be free before the other ranks continue.
    drop(listener);
    let name = |process: u32, address: &str| format!("process {process} at {address}");
    let mut names = vec![name(std::process::id(), host)];
    for (stream, process) in links.iter().flatten() {
        let address = stream.peer_addr().map(|address| address.ip().to_canonical().to_string());
        names.push(name(*process, &address.unwrap_or_default()));
    }
    let links = (0..).zip(links).filter_map(|(rank, link)| Some((rank, link?.0)));
    let links: Vec<(usize, TcpStream)> = links.collect();
    for (_, stream) in &links {
        // A rank that has ended in the meantime is detected when the group connects.
        let _ = send(stream, &Answer::Ok(names.clone()));
    }
    Ok(Peers { rank: 0, names, links })
}

fn listener(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
        }
        bound => bound,
    }
}

/// Registers a process that connected to rank 0, or rejects it.
fn admit(
    place: &Rendezvous,
    stream: TcpStream,
    links: &mut [Option<(TcpStream, u32)>],
) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let _ = stream.set_nonblocking(false);
    // Connections of other programs are ignored.
    let Ok(Some(line)) = read_line(&stream, deadline) else { return Ok(()) };
    let Ok((program, prefix, rank, size, process)) = serde_json::from_slice::<Hello>(&line) else {
        return Ok(());
    };
    if program != PROGRAM || prefix != place.prefix {
        let _ = send(&stream, &Answer::Err("it belongs to another run".into()));
        return Ok(());
    }
    if size != place.size {
        let ours = place.size;
        let text = format!("rank {rank} has WORLD_SIZE = {size}, and rank 0 {ours}");
        let _ = send(&stream, &Answer::Err(text.clone()));
        return Err(text);
    }
    let Some(link) = links.get_mut(rank) else { return Ok(()) };
    if rank > 0 && link.is_none() {
        *link = Some((stream, process));
    } else {
        let other = link.as_ref().map_or(std::process::id(), |(_, process)| *process);
        let text = format!("another process has RANK = {rank}, process {other} of its machine");
        let _ = send(&stream, &Answer::Err(text));
    }
    Ok(())
}

/// Other ranks: send their numbers to rank 0, and wait until all ranks are connected.
fn answer(
    place: &Rendezvous,
    patience: Duration,
    notes: &mut Notes,
    tell: &mut dyn FnMut(String),
) -> Result<Peers, String> {
    let Rendezvous { rank, size, host, port, prefix, .. } = place;
    let late = |why: &str| format!("{why}, for {} s", patience.as_secs());
    let stream = loop {
        let why = match connect(host, *port) {
            Ok(stream) => break stream,
            Err(error) => error.to_string(),
        };
        notes.tell(tell, |seconds| {
            format!(
                "rank {rank} of {size} waits for rank 0 at {host}:{port} since {seconds} s: {why}"
            )
        });
        if notes.start.elapsed() > patience {
            return Err(late(&why));
        }
        std::thread::sleep(PAUSE * 10);
    };
    let no_answer = |error: std::io::Error| format!("rank 0 does not answer: {error}");
    let hello: Hello = (PROGRAM.into(), prefix.clone(), *rank, *size, std::process::id());
    send(&stream, &hello).map_err(no_answer)?;
    loop {
        let deadline = Instant::now() + PAUSE * 10;
        if let Some(line) = read_line(&stream, deadline).map_err(no_answer)? {
            let names = serde_json::from_slice::<Answer>(&line)
                .map_err(|_| "another program answers there".to_owned())??;
            return Ok(Peers { rank: *rank, names, links: vec![(0, stream)] });
        }
        notes.tell(tell, |seconds| {
            format!(
                "rank {rank} of {size} has come to {host}:{port} and waits since {seconds} s for \
                 the others; rank 0 says which"
            )
        });
        if notes.start.elapsed() > patience {
            return Err(late("not all ranks came, or another program answers there"));
        }
    }
}

fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut failed = std::io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            // Connecting to a local port without a listener can connect the socket to itself.
            Ok(stream) if stream.local_addr()? == stream.peer_addr()? => {
                failed = ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn send<T: serde::Serialize>(mut stream: &TcpStream, value: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads a line without its line end; `None` if no byte arrives before the deadline.
fn read_line(mut stream: &TcpStream, deadline: Instant) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte == *b"\n" => return Ok(Some(line)),
            Ok(_) if line.len() < MAX_BYTES => line.extend(byte),
            Ok(_) => return Err(ErrorKind::InvalidData.into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                match line.is_empty() {
                    true => return Ok(None),
                    false => return Err(error),
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let _ = stream.set_nonblocking(false);
    match looked {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// `rank 1` or `ranks 1, 2`, with at most 8 ranks.
fn list(ranks: &[usize]) -> String {
    let first: Vec<String> = ranks.iter().take(8).map(usize::to_string).collect();
    let more = if ranks.len() > first.len() { ", …" } else { "" };
    format!("{} {}{more}", if ranks.len() == 1 { "rank" } else { "ranks" }, first.join(", "))
}

impl Peers {
    /// Description of the ranks that an operation waits for.
    pub(crate) fn others(&self) -> String {
        match self.names.as_slice() {
            [first, second] => {
                let (other, name) = if self.rank == 0 { (1, second) } else { (0, first) };
                format!("rank {other} ({name})")
            }
            _ => "the other ranks".into(),
        }
    }

    /// Description of the processes that ended, detected by rank 0 within `patience` after a failed
    /// operation.
    pub(crate) fn ended(&self, patience: Duration) -> Option<String> {
        let start = Instant::now();
        let size = self.names.len();
        let named = |rank: usize| {
            let name = self.names.get(rank).map_or("", String::as_str);
            format!("rank {rank} of {size} ({name}) ended")
        };
        while !self.links.is_empty() && start.elapsed() < patience {
            if let Some((_, stream)) = self.links.first().filter(|_| self.rank > 0) {
                match read_line(stream, Instant::now() + PAUSE) {
                    Ok(None) => {}
                    Ok(Some(line)) => return serde_json::from_slice(&line).ok(),
                    Err(_) => return Some(named(0)),
                }
                continue;
            }
            let (gone, left): (Vec<_>, Vec<_>) =
                self.links.iter().partition(|(_, stream)| is_closed(stream));
            if !gone.is_empty() {
                let gone: Vec<String> = gone.into_iter().map(|(rank, _)| named(*rank)).collect();
                let text = gone.join(", ");
                for (_, stream) in left {
                    // Ignores errors, because this rank may have ended as well.
                    let _ = send(stream, &text);
                }
                return Some(text);
            }
            std::thread::sleep(PAUSE);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn place(rank: usize, size: usize, port: u16) -> Rendezvous {
        Rendezvous {
            rank,
            size,
            local_rank: 0,
            local_size: 1,
            host: "127.0.0.1".into(),
            port,
            rank_0_serves: true,
            prefix: "test".into(),
            interface: None,
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// The roll call of one rank, and its messages.
    fn call(
        place: Rendezvous,
        seconds: u64,
    ) -> thread::JoinHandle<(Result<Peers, String>, String)> {
        thread::spawn(move || {
            let mut said = String::new();
            let notes = Notes::new(Duration::from_millis(300));
            let mut tell = |text: String| said += &(text + "\n");
            let met = wait_for_ranks(&place, Duration::from_secs(seconds), notes, &mut tell);
            (met, said)
        })
    }

    #[test]
    fn missing_and_ended_ranks_are_named() {
        let port = free_port();
        let early = [call(place(0, 3, port), 60), call(place(1, 3, port), 60)];
        thread::sleep(Duration::from_millis(800));
        let last = call(place(2, 3, port), 60);
        let [lead, first] = early.map(|rank| rank.join().unwrap());
        let third = last.join().unwrap().0.unwrap();
        let waits = format!("rank 0 of 3 waits at 127.0.0.1:{port} since 0 s: ");
        assert!(lead.1.starts_with(&waits), "{}", lead.1);
        assert!(lead.1.contains("2 of 3 ranks have come, rank 2 did not"), "{}", lead.1);
        assert!(first.1.contains("rank 1 of 3 has come to 127.0.0.1"), "{}", first.1);
        let (lead, first) = (lead.0.unwrap(), first.0.unwrap());
        let second = Duration::from_secs(1);
        assert_eq!(lead.ended(Duration::from_millis(50)), None);
        drop(first);
        let named = format!("rank 1 of 3 (process {} at 127.0.0.1) ended", std::process::id());
        assert_eq!(lead.ended(second).unwrap(), named);
        // Rank 0 informs the others before it ends itself.
        assert_eq!(third.ended(second).unwrap(), named);
        drop(lead);
        assert!(third.ended(second).unwrap().starts_with("rank 0 of 3 ("));
    }

    #[test]
    fn a_duplicate_rank_and_another_size_are_rejected() {
        let port = free_port();
        let lead = call(place(0, 3, port), 60);
        let first = call(place(1, 3, port), 60);
        thread::sleep(Duration::from_millis(500));
        let again = call(place(1, 3, port), 60).join().unwrap().0.unwrap_err();
        assert!(again.starts_with("another process has RANK = 1"), "{again}");
        let zero = call(place(0, 3, port), 60).join().unwrap().0.unwrap_err();
        assert!(zero.contains("another process has RANK = 0"), "{zero}");
        let other = call(place(2, 4, port), 60).join().unwrap().0.unwrap_err();
        assert_eq!(other, "rank 2 has WORLD_SIZE = 4, and rank 0 3");
        assert_eq!(lead.join().unwrap().0.unwrap_err(), other);
        assert!(first.join().unwrap().0.is_err());
    }

    #[test]
    fn rank_0_is_missed_by_the_others_and_they_by_it() {
        let port = free_port();
        let (met, said) = call(place(1, 2, port), 1).join().unwrap();
        let waits = format!("rank 1 of 2 waits for rank 0 at 127.0.0.1:{port} since 0 s: ");
        assert!(said.starts_with(&waits) && said.lines().count() == 1, "{said}");
        assert!(met.unwrap_err().contains("refused"));
        let (met, _) = call(place(0, 2, free_port()), 1).join().unwrap();
        assert_eq!(met.unwrap_err(), "rank 1 did not come in 1 s");
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let (met, _) = call(place(1, 2, port), 1).join().unwrap();
        assert!(met.unwrap_err().contains("another program answers there"));
    }
}
