//! The pages in a real browser, as wide as a phone. Only where there is one: `cargo lab test --full`.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use flate2::read::ZlibDecoder;

use crate::serving::{Serving, event, fell_back, shop};

const PHONE: usize = 390;
const HEIGHT: usize = 1800;

/// What a screenshot shows: rows of red, green and blue.
struct Picture {
    width: usize,
    rows: Vec<Vec<[u8; 3]>>,
}

impl Picture {
    /// Of a PNG with eight bits a channel, without interlace, which is what the browser writes.
    fn read(path: &Path) -> Self {
        let png = fs::read(path).unwrap();
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(16), number(20));
        let channels = match png[24..29] {
            [8, 2, 0, 0, 0] => 3,
            [8, 6, 0, 0, 0] => 4,
            ref other => panic!("a PNG of another form: {other:?}"),
        };
        let mut packed = Vec::new();
        let mut at = 8;
        while at < png.len() {
            let length = number(at);
            if &png[at + 4..at + 8] == b"IDAT" {
                packed.extend_from_slice(&png[at + 8..at + 8 + length]);
            }
            at += length + 12;
        }
        let mut bytes = Vec::new();
        ZlibDecoder::new(&packed[..])
            .read_to_end(&mut bytes)
            .unwrap();
        let stride = width * channels;
        assert_eq!(bytes.len(), height * (stride + 1));
        let mut above = vec![0; stride];
        let mut rows = Vec::new();
        for line in bytes.chunks(stride + 1) {
            let line = unfilter(line[0], &line[1..], &above, channels);
            rows.push(line.chunks(channels).map(|p| [p[0], p[1], p[2]]).collect());
            above = line;
        }
        Self { width, rows }
    }

    fn pixels(&self) -> impl Iterator<Item = [u8; 3]> {
        self.rows.iter().flatten().copied()
    }
}

/// The filters of the PNG specification, section 9.2.
fn unfilter(kind: u8, line: &[u8], above: &[u8], channels: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(line.len());
    for (at, byte) in line.iter().enumerate() {
        let (left, corner) = match at.checked_sub(channels) {
            Some(before) => (i16::from(out[before]), i16::from(above[before])),
            None => (0, 0),
        };
        let up = i16::from(above[at]);
        let predicted = match kind {
            0 => 0,
            1 => left,
            2 => up,
            3 => (left + up) / 2,
            4 => {
                let guess = left + up - corner;
                let near = |value: i16| (guess - value).abs();
                match (near(left), near(up), near(corner)) {
                    (a, b, c) if a <= b && a <= c => left,
                    (_, b, c) if b <= c => up,
                    _ => corner,
                }
            }
            other => panic!("filter {other}"),
        };
        out.push(byte.wrapping_add(predicted as u8));
    }
    out
}

/// Runs the browser of `strake-image tool --browser`.
fn browse(image: &str, arguments: &[&str]) -> String {
    let output = Command::new(image)
        .args(["tool", "--browser", "--", "chromium-headless-shell"])
        .args(["--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("CONSOLE"), "the page complains: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_are_readable_on_a_phone() {
    let (Ok(_), Ok(image)) = (
        std::env::var("STRAKE_BROWSER"),
        std::env::var("STRAKE_IMAGE"),
    ) else {
        println!("SKIPPED: there is no browser (`cargo lab test --full` fetches one)");
        return;
    };
    let workshop = shop();
    let server = Serving::start(&workshop, "--pause-per-address 0");
    server.report((0..30).map(|n| event(n, "blessed"))).await;
    server
        .report((30..60).map(|n| event(n, "downloading")))
        .await;
    server.report((60..90).map(|n| event(n, "checked"))).await;
    // One word as long as a cause may be must not push the page out of the screen.
    let word = "x".repeat(1000);
    let failures = (90..96).map(|n| fell_back(n, &format!("<b>unit</b> {word}")));
    server.report(failures).await;

    for path in ["/", "/rollout/stable/1.1.0"] {
        let url = format!("{}{path}", server.url);
        let dom = browse(&image, &["--dump-dom", &url]);
        assert!(dom.contains("machines that tried it fell back"), "{dom}");
        assert!(
            !dom.contains("<b>"),
            "a report became part of the page: {dom}"
        );
        let file = workshop.path("page.png");
        let shot = format!("--screenshot={}", file.display());
        browse(
            &image,
            &[&shot, &format!("--window-size={PHONE},{HEIGHT}"), &url],
        );
        let picture = Picture::read(&file);
        assert_eq!((picture.width, picture.rows.len()), (PHONE, HEIGHT));
        // Nothing reaches into the margin: the page is no wider than the screen.
        let back = picture.rows[0][0];
        let is_back = |row: &Vec<[u8; 3]>| row[PHONE - 12..].iter().all(|p| *p == back);
        let beyond = picture.rows.iter().position(|row| !is_back(row));
        assert_eq!(beyond, None, "{path} is wider than {PHONE} pixels");
        // The bars are there, in the colours of healthy and failed.
        for (name, colour) in [
            ("healthy", [0x2f, 0x7d, 0x4f]),
            ("failed", [0xb3, 0x37, 0x2f]),
        ] {
            let found = picture.pixels().filter(|pixel| *pixel == colour).count();
            assert!(found > 100, "{path}: {found} pixels are {name}");
        }
        if let Ok(kept) = std::env::var("STRAKE_BROWSER_SHOTS") {
            let name = path.trim_matches('/').replace('/', "-");
            fs::copy(&file, Path::new(&kept).join(format!("page-{name}.png"))).unwrap();
        }
    }
}
