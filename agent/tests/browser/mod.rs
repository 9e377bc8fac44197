//! A browser without a screen, told what to do over the DevTools protocol: JSON with a zero byte
//! behind each message, on two pipes.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

const AGAIN: Duration = Duration::from_millis(50);
const HEIGHT: u32 = 900;

/// The program `strake-image`, whose browser it is; nothing, with the reason printed, where none
/// is wanted.
pub(crate) fn wanted() -> Option<String> {
    match (
        std::env::var("STRAKE_BROWSER"),
        std::env::var("STRAKE_IMAGE"),
    ) {
        (Ok(_), Ok(image)) => Some(image),
        _ => {
            eprintln!("SKIPPED: there is no browser (`cargo lab test --full` fetches one)");
            None
        }
    }
}

pub(crate) struct Browser {
    child: Child,
    orders: File,
    messages: mpsc::UnboundedReceiver<Value>,
    session: Value,
    number: u64,
    complaints: Vec<String>,
    _dir: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    pub(crate) async fn start(image: &str) -> Browser {
        let dir = tempfile::tempdir().expect("temp dir");
        let pipe = |name: &str| {
            let path = dir.path().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
            // Both ways: opening it so waits for nobody.
            let both = OpenOptions::new().read(true).write(true).open(&path);
            (path, both.expect("a pipe"))
        };
        let (orders_path, orders) = pipe("orders");
        let (told_path, told) = pipe("told");
        // The protocol has its pipes at the numbers 3 and 4.
        let child = Command::new("bash")
            .args(["-c", "exec \"$0\" \"${@:3}\" 3<\"$1\" 4>\"$2\"", image])
            .args([&orders_path, &told_path])
            .args(["tool", "--browser", "--", "chromium-headless-shell"])
            .args(["--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .args(["--ignore-certificate-errors", "--remote-debugging-pipe"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let mut browser = Browser {
            child,
            orders,
            messages: listen(told),
            session: Value::Null,
            number: 0,
            complaints: Vec::new(),
            _dir: dir,
        };
        let target = browser
            .ask("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let id = &target["targetId"];
        let attached = browser.ask(
            "Target.attachToTarget",
            json!({"targetId": id, "flatten": true}),
        );
        let session = attached.await["sessionId"].clone();
        browser.session = session;
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.ask(domain, json!({})).await;
        }
        browser
    }

    pub(crate) async fn open(&mut self, url: &str, width: u32) {
        let screen = json!({"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 500});
        self.ask("Emulation.setDeviceMetricsOverride", screen).await;
        self.ask("Page.navigate", json!({"url": url})).await;
    }

    pub(crate) async fn open_without_script(&mut self, url: &str) {
        self.ask(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": true}),
        )
        .await;
        self.ask("Page.navigate", json!({"url": url})).await;
    }

    /// What the page and its script complained of.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }

    pub(crate) async fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(expression).await;
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{expression}: {value}"))
    }

    pub(crate) async fn until(&mut self, expression: &str) {
        while self.value(expression).await != true {
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", asked).await;
        answer["result"]["value"].clone()
    }

    /// Of the whole page; kept in the directory `STRAKE_BROWSER_SHOTS` when that is set.
    pub(crate) async fn screenshot(&mut self, name: &str) {
        let asked = json!({"captureBeyondViewport": true});
        let shot = self.ask("Page.captureScreenshot", asked).await;
        let png = STANDARD.decode(shot["data"].as_str().expect("a picture"));
        let png = png.expect("a picture");
        assert!(png.len() > 10_000, "{name}: an empty picture");
        if let Ok(kept) = std::env::var("STRAKE_BROWSER_SHOTS") {
            std::fs::write(format!("{kept}/{name}"), png).expect("a file");
        }
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut order = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_null() {
            order["sessionId"] = self.session.clone();
        }
        self.orders
            .write_all(format!("{order}\0").as_bytes())
            .expect("told");
        loop {
            let message = self.messages.recv().await.expect("the browser answers");
            if message["id"] == self.number {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            let complaint = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => message["params"]["entry"]["level"] == "error",
                _ => false,
            };
            if complaint {
                self.complaints.push(message["params"].to_string());
            }
        }
    }
}

fn listen(mut told: File) -> mpsc::UnboundedReceiver<Value> {
    let (sender, messages) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut read = Vec::new();
        let mut part = vec![0; 64 << 10];
        while let Ok(length @ 1..) = told.read(&mut part) {
            read.extend_from_slice(&part[..length]);
            while let Some(end) = read.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = read.drain(..=end).collect();
                let message = serde_json::from_slice(&message[..end]).expect("json");
                if sender.send(message).is_err() {
                    return;
                }
            }
        }
    });
    messages
}
