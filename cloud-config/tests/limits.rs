//! Input made to hurt: it ends soon, with a problem that names what was reached.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use strake_cloud_config::{Checked, Context, Rule, check};

/// Far more than any of these takes in a debug build, far less than a loop without end.
const BOUND: Duration = Duration::from_secs(20);

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn bounded(bytes: &[u8]) -> Checked {
    let start = Instant::now();
    let checked = check(bytes, &Context::default());
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    checked
}

#[track_caller]
fn refused(bytes: &[u8], rule: Rule, words: &str) {
    let checked = bounded(bytes);
    let found = checked.problems.iter().any(|problem| {
        problem.is_error() && problem.rule == rule && problem.message.contains(words)
    });
    assert!(found, "{:?}", checked.problems.first());
    assert!(checked.config.is_none());
}

#[test]
fn a_gzip_bomb_stops_at_16_mib() {
    let bomb = pack(&vec![b'#'; 64 << 20]);
    refused(&bomb, Rule::Limit, "16 MiB");
    let layered = pack(&pack(&vec![b'#'; 17 << 20]));
    refused(&layered, Rule::Limit, "16 MiB");
}

#[test]
fn packing_without_end_stops_at_depth_8() {
    let deep = (0..12).fold(b"#cloud-config\n".to_vec(), |inner, _| pack(&inner));
    refused(&deep, Rule::Limit, "8 levels");
    let fine = (0..8).fold(b"#cloud-config\n".to_vec(), |inner, _| pack(&inner));
    assert!(bounded(&fine).config.is_some());
}

#[test]
fn nested_multipart_stops_at_depth_8() {
    let nest = |levels: usize| {
        let mut text = String::from("Content-Type: multipart/mixed; boundary=B0\n\n");
        for level in 0..levels {
            let inner = level + 1;
            text += &format!("--B{level}\nContent-Type: multipart/mixed; boundary=B{inner}\n\n");
        }
        (0..=levels)
            .rev()
            .for_each(|level| text += &format!("--B{level}--\n"));
        text
    };
    refused(nest(20).as_bytes(), Rule::Limit, "8 levels");
    assert!(!bounded(nest(7).as_bytes()).has_errors());
}

#[test]
fn a_thousand_parts_stop_at_256() {
    let part = "--B\nContent-Type: text/cloud-config\n\n#cloud-config\n";
    let text = format!(
        "Content-Type: multipart/mixed; boundary=B\n\n{}--B--\n",
        part.repeat(1000)
    );
    refused(text.as_bytes(), Rule::Limit, "256 parts");
}

#[test]
fn packed_files_share_one_limit() {
    use base64::Engine as _;
    let packed = base64::engine::general_purpose::STANDARD.encode(pack(&vec![0; 6 << 20]));
    let file = |index: usize| {
        format!("  - {{path: /etc/{index}, encoding: gz+b64, content: \"{packed}\"}}\n")
    };
    let text: String = (0..3).map(file).collect();
    refused(
        format!("#cloud-config\nwrite_files:\n{text}").as_bytes(),
        Rule::Undecodable,
        "gz+b64",
    );
    let text: String = (0..2).map(file).collect();
    assert!(!bounded(format!("#cloud-config\nwrite_files:\n{text}").as_bytes()).has_errors());
}

#[test]
fn more_than_16_mib_is_not_read() {
    refused(&vec![b'\n'; (16 << 20) + 1], Rule::Limit, "16 MiB");
}

#[test]
fn ten_megabytes_of_keys_values_or_nonsense_end_with_a_limit() {
    let fill = |unit: &str| format!("#cloud-config\n{}", unit.repeat((10 << 20) / unit.len()));
    refused(fill("users: []\n").as_bytes(), Rule::Limit, "values");
    refused(
        format!("#cloud-config\nx:\n{}", "- a\n".repeat(2 << 20)).as_bytes(),
        Rule::Limit,
        "values",
    );
    let keys: String = (0..100_000)
        .map(|index| format!("key-{index}: x\n"))
        .collect();
    let checked = bounded(format!("#cloud-config\n{keys}").as_bytes());
    assert_eq!(
        checked.problems.len(),
        1001,
        "a thousand and one that says so"
    );
    let units: String = (0..60_000)
        .map(|index| format!("  - {{name: u{index}.service}}\n"))
        .collect();
    bounded(format!("#cloud-config\ncoreos:\n units:\n{units}").as_bytes());
    let open = "[".repeat(10 << 20);
    refused(
        format!("#cloud-config\na: {open}").as_bytes(),
        Rule::Limit,
        "",
    );
    bounded(fill("&a ").as_bytes());
    bounded(fill("$private_ipv4").as_bytes());
    bounded(format!("#cloud-config\nhostname: \"{}", "\\x41".repeat(2 << 20)).as_bytes());
}

#[test]
fn one_problem_too_many_still_counts_as_an_error() {
    let keys: String = (0..2000).map(|index| format!("key{index}: x\n")).collect();
    let checked = bounded(format!("#cloud-config\n{keys}hostname: [x]\n").as_bytes());
    assert!(checked.has_errors() && checked.config.is_none());
}

#[test]
fn thousands_of_problems_far_down_or_far_right_cost_no_more() {
    let good = "        # fine\n".repeat(400_000);
    let bad = "        bad\n".repeat(50_000);
    let head = "#cloud-config\ncoreos:\n  units:\n    - name: a.service\n      content: |\n        [Service]\n";
    let checked = bounded(format!("{head}{good}{bad}").as_bytes());
    let last = checked
        .problems
        .iter()
        .rfind(|problem| problem.snippet.is_some())
        .expect("many");
    assert_eq!((last.line, last.column), (401_006, 9));
    let keys: String = (0..3000).map(|index| format!(", key{index}: x")).collect();
    let wide = "x".repeat(8 << 20);
    let checked = bounded(format!("#cloud-config\n{{hostname: [\"{wide}\"]{keys}}}\n").as_bytes());
    let snippet = checked.problems[2].snippet.as_ref().expect("a line");
    assert!(snippet.text.contains("key1: x"), "{snippet:?}");
    let quoted = "bad\\n".repeat(2 << 20);
    bounded(
        format!("#cloud-config\ncoreos: {{units: [{{name: a.service, content: \"{quoted}\"}}]}}\n")
            .as_bytes(),
    );
}
