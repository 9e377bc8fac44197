use super::*;
use crate::switch::{Control, Fault};
use std::thread;

/// A machine's end of a port.
struct Guest(UnixStream);

impl Guest {
    fn connect(directory: &Path, port: Port) -> Self {
        let stream = UnixStream::connect(port_socket(directory, port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self(stream)
    }

    fn send(&mut self, destination: u8, source: u8, text: &str) {
        let address = |last| [0, 0, 0, 0, 0, last];
        let mut frame = [address(destination), address(source)].concat();
        frame.extend([0x88, 0xb5]);
        frame.extend(text.as_bytes());
        self.0.write_all(&framed(&frame)).unwrap();
    }

    fn receive(&mut self) -> String {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        String::from_utf8(frame[14..].to_vec()).unwrap()
    }
}

fn running() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::bind(directory.path(), 1).unwrap();
    thread::spawn(move || while server.turn().is_ok() {});
    directory
}

#[test]
fn frames_cross_the_switch_unless_the_network_is_cut() {
    let directory = running();
    let mut control = Control::connect(directory.path()).unwrap();
    let (mut one, mut two) = (
        Guest::connect(directory.path(), 1),
        Guest::connect(directory.path(), 2),
    );
    one.send(2, 1, "first");
    assert_eq!(two.receive(), "first");

    let cut = control
        .send(&Request::Partition("1:2".parse().unwrap()))
        .unwrap();
    let Answer::State {
        connected,
        partition,
        ..
    } = cut
    else {
        panic!("{cut:?}")
    };
    assert_eq!((connected, partition.as_deref()), (vec![1, 2], Some("1:2")));
    one.send(2, 1, "lost");
    // The switch has taken the frame in, and so dropped it, once it counts two.
    loop {
        let Answer::State { frames, .. } = control.send(&Request::State).unwrap() else {
            panic!()
        };
        if frames == 2 {
            break;
        }
    }
    control.send(&Request::Heal).unwrap();
    one.send(2, 1, "second");
    assert_eq!(two.receive(), "second");
}

#[test]
fn a_delayed_frame_arrives_late_and_a_capture_holds_it_once() {
    let directory = running();
    let mut control = Control::connect(directory.path()).unwrap();
    let path = directory.path().join("lan.pcap");
    control.send(&Request::Capture(path.clone())).unwrap();
    let delay = Duration::from_millis(50);
    let fault = Fault {
        delay,
        duplicate_per_mille: 1000,
        ..Fault::default()
    };
    control
        .send(&Request::Fault {
            from: 1,
            to: 2,
            fault,
        })
        .unwrap();

    let (mut one, mut two) = (
        Guest::connect(directory.path(), 1),
        Guest::connect(directory.path(), 2),
    );
    let sent = Instant::now();
    one.send(2, 1, "late");
    assert_eq!([two.receive(), two.receive()], ["late", "late"]);
    assert!(sent.elapsed() >= delay);
    assert_eq!(std::fs::read(path).unwrap().len(), 24 + 16 + 18);
}

#[test]
fn nonsense_from_a_client_or_a_machine_harms_no_other() {
    let directory = running();
    let mut client = UnixStream::connect(socket(directory.path())).unwrap();
    client.write_all(b"nonsense\n").unwrap();
    let mut broken = Guest::connect(directory.path(), 3);
    broken.0.write_all(&[0xff; 8]).unwrap();
    assert!(matches!(broken.0.read(&mut [0; 1]), Ok(0) | Err(_)));

    let (mut one, mut two) = (
        Guest::connect(directory.path(), 1),
        Guest::connect(directory.path(), 2),
    );
    one.send(2, 1, "fine");
    assert_eq!(two.receive(), "fine");
}
