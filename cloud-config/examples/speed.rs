//! Measures the bar of `docs/benchmarks.md`: check and plan a config of 1,000 files, 200 units
//! and 2 MB. Prints the median of ten rounds and the peak memory of the process.
//!
//! `cargo run --release -p strake-cloud-config --example speed`

use std::fmt::Write;
use std::time::Instant;

use strake_cloud_config::{Context, check, plan};

fn config() -> String {
    let mut text = String::from("#cloud-config\nwrite_files:\n");
    for file in 0..1000 {
        let _ = write!(
            text,
            "  - path: /etc/files/{file}\n    permissions: 0644\n    content: |\n"
        );
        for line in 0..50 {
            let _ = writeln!(text, "      line {line} of a file in the config");
        }
    }
    text.push_str("coreos:\n  units:\n");
    for unit in 0..200 {
        let _ = write!(
            text,
            "    - name: unit-{unit}.service\n      enable: true\n      content: |\n"
        );
        text.push_str("        [Service]\n        ExecStart=/bin/true\n");
        for line in 0..35 {
            let _ = writeln!(text, "        Environment=NAME{line}=some value");
        }
        text.push_str("        [Install]\n        WantedBy=multi-user.target\n");
    }
    text
}

fn main() {
    let text = config();
    let mut times: Vec<f64> = (0..10)
        .map(|_| {
            let start = Instant::now();
            let checked = check(text.as_bytes(), &Context::default());
            let config = checked.config.expect("the config is valid");
            let plan = plan(&config, &Context::default());
            assert!(plan.files.len() >= 1400 && plan.units.len() == 200);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or("VmHWM: unknown");
    println!(
        "{:.2} MB, check and plan {:.1} ms (median of 10, best {:.1}), {peak}",
        text.len() as f64 / 1e6,
        times[5],
        times[0]
    );
}
