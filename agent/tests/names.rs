//! Names of units over real sockets and a real etcd: what machines tell each other, what is asked,
//! and what holds while the store is silent.

mod real_etcd;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use strake_agent::names::place::{self, Places};
use strake_agent::names::service::follow_and_serve;
use strake_agent::names::settings::Settings;
use strake_agent::names::status::Report;
use strake_agent::root::Root;
use strake_agent::scheduler::keys;
use strake_agent::scheduler::machine::MachineId;
use strake_agent::store::memory::Memory;
use strake_agent::store::{Lease, Store, Transaction, Write};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);
const A: u16 = 1;
const AAAA: u16 = 28;

fn free() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("address")
}

/// Somebody's resolver: all names are at one address, and each question is counted.
async fn resolver() -> SocketAddr {
    let streams = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = streams.local_addr().expect("address");
    let datagrams = UdpSocket::bind(at).await.expect("the same port");
    let answer = |asked: &[u8]| {
        let mut answer = asked.to_vec();
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
        answer
    };
    spawn_local(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = datagrams.recv_from(&mut buffer).await.expect("asked");
            let answer = answer(&buffer[..length]);
            datagrams.send_to(&answer, from).await.expect("sent");
        }
    });
    spawn_local(async move {
        loop {
            let (mut stream, _) = streams.accept().await.expect("a client");
            let length = stream.read_u16().await.expect("a length");
            let mut asked = vec![0; length.into()];
            stream.read_exact(&mut asked).await.expect("a question");
            let answer = answer(&asked);
            let length = u16::try_from(answer.len()).expect("short");
            stream.write_u16(length).await.expect("sent");
            stream.write_all(&answer).await.expect("sent");
        }
    });
    at
}

struct Machine {
    id: MachineId,
    listen: SocketAddr,
    own: watch::Sender<Option<Places>>,
    service: tokio::task::JoinHandle<()>,
    dir: TempDir,
}

impl Machine {
    fn start<S: Store>(id: &str, store: S, forward: SocketAddr) -> Machine {
        let dir = tempfile::tempdir().expect("temp dir");
        Machine::start_in(dir, id, store, forward)
    }

    fn start_in<S: Store>(dir: TempDir, id: &str, store: S, forward: SocketAddr) -> Machine {
        let id: MachineId = id.parse().expect(id);
        let settings = Settings {
            cluster: "lab".to_string(),
            listen: free(),
            forward,
        };
        let listen = settings.listen;
        let (own, told) = watch::channel(None);
        let report = Report::new(Root::new(dir.path()), "lab.strake".to_string());
        let report = Rc::new(RefCell::new(report));
        let store = async { Ok(store) };
        let running = follow_and_serve(id.clone(), settings, store, told, report);
        let service = spawn_local(async move {
            let Err(error) = running.await;
            eprintln!("{error:#}");
        });
        Machine {
            id,
            listen,
            own,
            service,
            dir,
        }
    }

    fn tell(&self, units: &[(&str, &[&str])]) {
        let places = units.iter().map(|(name, at)| {
            let at = at.iter().map(|one| one.parse().expect(one)).collect();
            (name.parse().expect(name), at)
        });
        let units = places.collect();
        self.own.send_replace(Some(Places { units }));
    }

    /// As the scheduler's agent does.
    async fn register(&self, store: &impl Store) -> Lease {
        let lease = store.grant(Duration::from_secs(60)).await.expect("a lease");
        let write = Write::Put {
            key: keys::machine(&self.id),
            value: b"{}".to_vec(),
            lease: Some(lease),
        };
        let transaction = Transaction {
            compares: Vec::new(),
            writes: vec![write],
        };
        store.commit(&transaction).await.expect("registered");
        lease
    }

    async fn ask(&self, name: &str, kind: u16) -> Result<(u8, Vec<IpAddr>), String> {
        let question = question(name, kind);
        let answer = ask_by_datagram(self.listen, &question).await?;
        read(&question, &answer)
    }

    async fn knows(&self, name: &str, kind: u16, expected: (u8, &[&str])) {
        let (code, at) = expected;
        let expected: Vec<IpAddr> = at.iter().map(|one| one.parse().expect(one)).collect();
        let start = Instant::now();
        loop {
            let found = self.ask(name, kind).await;
            if found == Ok((code, expected.clone())) {
                return;
            }
            let late = start.elapsed() > LIMIT;
            assert!(
                !late,
                "{} on {name}: {found:?} and not {code} {expected:?}",
                self.id
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("short"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

async fn ask_by_datagram(at: SocketAddr, question: &[u8]) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(told)?;
    socket.connect(at).await.map_err(told)?;
    socket.send(question).await.map_err(told)?;
    let mut answer = vec![0; 2000];
    let received = timeout(Duration::from_secs(2), socket.recv(&mut answer)).await;
    let length = received
        .map_err(|_| "no answer".to_string())?
        .map_err(told)?;
    answer.truncate(length);
    Ok(answer)
}

async fn ask_by_stream(at: SocketAddr, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await.expect("connected");
    let mut answers = Vec::new();
    for question in questions {
        let length = u16::try_from(question.len()).expect("short");
        stream.write_u16(length).await.expect("sent");
        stream.write_all(question).await.expect("sent");
        let length = stream.read_u16().await.expect("a length");
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.expect("an answer");
        answers.push(answer);
    }
    answers
}

/// Code and addresses, sorted.
fn read(question: &[u8], answer: &[u8]) -> Result<(u8, Vec<IpAddr>), String> {
    if answer.len() < question.len() || answer[..2] != question[..2] || answer[2] & 0x80 == 0 {
        return Err(format!("{answer:?} is no answer"));
    }
    let mut rest = &answer[question.len()..];
    let mut found = Vec::new();
    for _ in 0..u16::from_be_bytes([answer[6], answer[7]]) {
        let length = usize::from(rest[11]);
        found.push(match <[u8; 4]>::try_from(&rest[12..12 + length]) {
            Ok(v4) => IpAddr::from(v4),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(&rest[12..28]).expect("IPv6")),
        });
        rest = &rest[12 + length..];
    }
    found.sort();
    Ok((answer[3] & 15, found))
}

#[tokio::test]
async fn units_of_all_machines_are_found_from_each() {
    let Some(etcd) = real_etcd::Server::start().await else {
        return;
    };
    let body = async {
        let forward = resolver().await;
        let store = etcd.store().await;
        let one = Machine::start("m1", etcd.store().await, forward);
        let two = Machine::start("m2", etcd.store().await, forward);
        one.tell(&[
            ("web@1.container", &["10.5.1.2"]),
            ("db.service", &["10.5.1.0", "fd00:5:0:1::"]),
        ]);
        two.tell(&[("web@2.container", &["10.5.2.2"]), ("down.service", &[])]);
        // Until it is registered, a machine tells nobody else.
        one.knows("db.lab.strake", A, (0, &["10.5.1.0"])).await;
        assert_eq!(two.ask("db.lab.strake", A).await, Ok((3, Vec::new())));
        let lease = one.register(&store).await;
        two.register(&store).await;
        for machine in [&one, &two] {
            machine
                .knows("web.lab.strake", A, (0, &["10.5.1.2", "10.5.2.2"]))
                .await;
            machine
                .knows("2.web.lab.strake", A, (0, &["10.5.2.2"]))
                .await;
            machine
                .knows("db.lab.strake", AAAA, (0, &["fd00:5:0:1::"]))
                .await;
            machine.knows("web.lab.strake", AAAA, (0, &[])).await;
            machine.knows("down.lab.strake", A, (0, &[])).await;
            machine.knows("nobody.lab.strake", A, (3, &[])).await;
            machine.knows("example.com", A, (0, &["192.0.2.1"])).await;
        }
        // A unit that is no longer well.
        one.tell(&[("web@1.container", &[])]);
        two.knows("web.lab.strake", A, (0, &["10.5.2.2"])).await;
        two.knows("db.lab.strake", A, (3, &[])).await;
        one.tell(&[("web@1.container", &["10.5.1.9"])]);
        two.knows("1.web.lab.strake", A, (0, &["10.5.1.9"])).await;
        // The machine's lease is another one: what it tells is under that one, then.
        let other = one.register(&store).await;
        let own = place::key(&one.id);
        let start = Instant::now();
        while store
            .read(&own)
            .await
            .expect("read")
            .and_then(|entry| entry.lease)
            != Some(other)
        {
            assert!(start.elapsed() < LIMIT, "it is under the old lease");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        store.revoke(lease).await.expect("revoked");
        two.knows("1.web.lab.strake", A, (0, &["10.5.1.9"])).await;
        // And with it gone, so is what it told; to itself its units are there.
        store.revoke(other).await.expect("revoked");
        two.knows("1.web.lab.strake", A, (3, &[])).await;
        one.knows("1.web.lab.strake", A, (0, &["10.5.1.9"])).await;
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn a_silent_store_keeps_the_last_answers_also_over_a_new_start() {
    let Some(etcd) = real_etcd::Server::start().await else {
        return;
    };
    let body = async {
        let forward = resolver().await;
        let store = etcd.store().await;
        let one = Machine::start("m1", etcd.store().await, forward);
        let two = Machine::start("m2", etcd.store().await, forward);
        two.register(&store).await;
        two.tell(&[("db.service", &["10.5.2.0"])]);
        one.knows("db.lab.strake", A, (0, &["10.5.2.0"])).await;
        etcd.signal(Signal::SIGSTOP);
        one.tell(&[("new.service", &["10.5.1.0"])]);
        one.knows("new.lab.strake", A, (0, &["10.5.1.0"])).await;
        one.knows("db.lab.strake", A, (0, &["10.5.2.0"])).await;
        one.service.abort();
        let client = strake_agent::store::etcd::Etcd::connect(&etcd.settings()).await;
        let again = Machine::start_in(one.dir, "m1", client.expect("a client"), forward);
        again.knows("db.lab.strake", A, (0, &["10.5.2.0"])).await;
        again.knows("example.com", A, (0, &["192.0.2.1"])).await;
        etcd.signal(Signal::SIGCONT);
        two.tell(&[("db.service", &["10.5.2.7"])]);
        again.knows("db.lab.strake", A, (0, &["10.5.2.7"])).await;
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn what_is_too_long_for_a_datagram_comes_over_a_stream() {
    let body = async {
        let forward = resolver().await;
        let store = Memory::default();
        let one = Machine::start("m1", store, forward);
        let many: Vec<String> = (1..=200).map(|last| format!("10.5.0.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        one.tell(&[("everywhere.service", &many)]);
        let asked = question("everywhere.lab.strake", A);
        let start = Instant::now();
        let cut = loop {
            let answer = ask_by_datagram(one.listen, &asked).await;
            match answer {
                Ok(answer) if answer[3] & 15 == 0 => break answer,
                other => assert!(start.elapsed() < LIMIT, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(cut.len() <= 512 && cut[2] & 2 == 2, "{} bytes", cut.len());
        // Several questions of one connection, also one for somebody else.
        let questions = [asked.clone(), question("example.com", A), asked.clone()];
        let answers = ask_by_stream(one.listen, &questions).await;
        for answer in [&answers[0], &answers[2]] {
            let (code, found) = read(&asked, answer).expect("an answer");
            assert_eq!((code, found.len(), answer[2] & 2), (0, 200, 0));
        }
        let elsewhere = read(&questions[1], &answers[1]).expect("an answer");
        assert_eq!(
            elsewhere,
            (0, vec![IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))])
        );
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn a_resolver_that_is_down_is_told_at_once_and_garbage_is_passed_over() {
    let body = async {
        let one = Machine::start("m1", Memory::default(), free());
        one.knows("lab.strake", A, (0, &[])).await;
        assert_eq!(one.ask("example.com", A).await, Ok((2, Vec::new())));
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("socket");
        for garbage in [&b"x"[..], &[0xff; 512], &[0; 12]] {
            socket.send_to(garbage, one.listen).await.expect("sent");
        }
        let mut stream = TcpStream::connect(one.listen).await.expect("connected");
        stream.write_all(&[0, 3, 1, 2, 3]).await.expect("sent");
        let closed = timeout(LIMIT, stream.read_u16()).await.expect("closed");
        assert!(closed.is_err(), "{closed:?}");
        assert_eq!(one.ask("lab.strake", A).await, Ok((0, Vec::new())));
    };
    LocalSet::new().run_until(body).await;
}
