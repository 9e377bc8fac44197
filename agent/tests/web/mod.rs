//! A web server on a port of its own that behaves, or does not, as a test says.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use strake_agent::fetch::Policy;
use url::Url;

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Found(Vec<u8>),
    /// A page of HTML, whatever was asked for.
    Page,
    Status(u16),
    Redirect(String),
    /// Promises more than it sends.
    Truncated,
    /// Sends for as long as the client takes it.
    Endless,
    /// Sends nothing until the client goes.
    Hang,
    /// Begins an answer and sends nothing more until the client goes.
    Stall,
    /// Closes the connection at once.
    Close,
}

impl Reply {
    pub(crate) fn text(text: &str) -> Reply {
        Reply::Found(text.as_bytes().to_vec())
    }
}

pub(crate) struct Web {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    closing: Arc<AtomicBool>,
    /// PEM of the certificate the server shows, when it speaks TLS.
    pub(crate) certificate: String,
}

impl Web {
    /// What is not listed is not found.
    pub(crate) fn with(files: &[(&str, &str)]) -> Web {
        let files: Vec<(String, Reply)> = files
            .iter()
            .map(|(path, text)| (path.to_string(), Reply::text(text)))
            .collect();
        Web::new(move |asked| {
            let found = files.iter().find(|(path, _)| *path == asked.path);
            found.map_or(Reply::Status(404), |(_, reply)| reply.clone())
        })
    }

    pub(crate) fn new(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Web {
        Web::start(answer, None)
    }

    pub(crate) fn with_tls(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Web {
        let names = vec!["127.0.0.1".to_string()];
        let made = rcgen::generate_simple_self_signed(names).expect("certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("certificate and key");
        let mut web = Web::start(answer, Some(Arc::new(config)));
        web.certificate = made.cert.pem();
        web
    }

    fn start(
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let web = Web {
            address: listener.local_addr().expect("address"),
            scheme: if tls.is_some() { "https" } else { "http" },
            asked: Arc::default(),
            closing: Arc::default(),
            certificate: String::new(),
        };
        let (asked, closing) = (Arc::clone(&web.asked), Arc::clone(&web.closing));
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if closing.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, asked, tls) = (Arc::clone(&answer), Arc::clone(&asked), tls.clone());
                // A client that goes early is what some tests are about.
                thread::spawn(move || match tls {
                    None => serve(stream, &*answer, &asked),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("TLS");
                        serve(StreamOwned::new(connection, stream), &*answer, &asked)
                    }
                });
            }
        });
        web
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        let url = format!("{}://{}/{path}", self.scheme, self.address);
        url.parse().expect("URL")
    }

    /// `GET /path` for each request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("not poisoned").clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    mut stream: impl Read + Write,
    answer: &(impl Fn(&Asked) -> Reply + ?Sized),
    asked: &Mutex<Vec<Asked>>,
) {
    let Some(request) = read_head(&mut stream) else {
        return;
    };
    asked.lock().expect("not poisoned").push(request.clone());
    // Every error here is a client that has gone.
    let _ = send(&mut stream, &answer(&request));
}

fn read_head(stream: &mut impl Read) -> Option<Asked> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text).ok()?;
        Some(text.trim_end().to_string())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        match text.split_once(": ") {
            Some((name, value)) => headers.push((name.to_string(), value.to_string())),
            None => break,
        }
    }
    Some(Asked {
        method,
        path,
        headers,
    })
}

fn send(stream: &mut (impl Read + Write), reply: &Reply) -> std::io::Result<()> {
    let head = |status: u16, kind: &str, length: usize| {
        format!(
            "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    let page = "<html><body>Please log in.</body></html>";
    match reply {
        Reply::Found(body) => {
            stream.write_all(head(200, "text/plain", body.len()).as_bytes())?;
            stream.write_all(body)?;
        }
        Reply::Page => {
            stream.write_all((head(200, "text/html", page.len()) + page).as_bytes())?;
        }
        Reply::Status(status) => {
            stream.write_all((head(*status, "text/html", page.len()) + page).as_bytes())?;
        }
        Reply::Redirect(to) => {
            let text = format!(
                "HTTP/1.1 302 x\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(text.as_bytes())?;
        }
        Reply::Truncated => {
            let text = head(200, "text/plain", 1000) + "#cloud-config\n";
            stream.write_all(text.as_bytes())?;
        }
        Reply::Endless => {
            let text = "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n#cloud-config\n";
            stream.write_all(text.as_bytes())?;
            loop {
                stream.write_all(&[b'#'; 64 << 10])?;
            }
        }
        Reply::Hang => until_the_client_goes(stream)?,
        Reply::Stall => {
            stream.write_all(head(200, "text/plain", 1000).as_bytes())?;
            stream.flush()?;
            until_the_client_goes(stream)?;
        }
        Reply::Close => return Ok(()),
    }
    stream.flush()
}

fn until_the_client_goes(stream: &mut impl Read) -> std::io::Result<()> {
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(())
}

/// Of a test in which nothing goes wrong: slow machines have time.
pub(crate) fn patient() -> Policy {
    Policy::default()
}

/// Of a test in which a server misbehaves: soon over.
pub(crate) fn hasty() -> Policy {
    Policy {
        stall: Duration::from_millis(300),
        request: Duration::from_millis(400),
        overall: Duration::from_secs(20),
        tries: 3,
        first: Duration::from_millis(1),
        cap: Duration::from_millis(2),
    }
}
