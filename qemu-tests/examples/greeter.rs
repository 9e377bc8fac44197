//! The program of the container image that the lab serves: a web server with one answer.
//!
//! It keeps a count of its starts in /data when there is one, so that a test sees what survives.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 8080))?;
    let earlier = fs::read_to_string("/data/starts").unwrap_or_default();
    let starts = earlier.trim().parse().unwrap_or(0) + 1;
    let _ = fs::write("/data/starts", format!("{starts}\n"));
    let body = format!("greetings from a container, start {starts}\n");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.read(&mut [0; 1024]);
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    }
    Ok(())
}
